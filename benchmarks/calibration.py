"""Do 80 % intervals hold the truth in 80 of 100 cases? Sweeps with a known truth, simulated curve by curve, fitted, and asked for D.

For every noise regime and number of seeds as many sweeps of each shape of truth: inside the fitted family (the offset law, a power law)
and outside it (a broken power law, a minimum in σ, tasks that differ in α). σ = 0.5 to 8 are run; asked are σ between them and 2 and 4
times beyond either end, at three thresholds. The true D is what infinitely many seeds would give.

    python benchmarks/calibration.py --simulations 200
"""

import argparse
import json
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.simulate import NOISE, SweepDesign, random_truth, simulate_cells

INSIDE, OUTSIDE = ("offset", "power"), ("broken", "minimum", "task-alphas")
UTD = (0.5, 1.0, 2.0, 4.0, 8.0)
ASKED = {"between": (0.71, 1.41, 2.83, 5.66), "2x beyond": (0.25, 16.0), "4x beyond": (0.125, 32.0)}
THRESHOLDS = (500.0, 650.0, 800.0)


def simulate(index: int, *, noise: str, seeds: int, shape: str, draws: int) -> list[tuple[str, bool, float]]:
    """Of one sweep: (where, whether the interval holds the true D, its width in log D), for every task and threshold."""
    truth = random_truth(np.random.default_rng([20, index]), shape)
    cells = simulate_cells(truth, SweepDesign(utd=UTD, seeds=seeds), noise, seed=index)
    laws = fit_laws(cells, FitOptions(study=shape, tasks=truth.tasks, thresholds=THRESHOLDS, n_draws=draws, seed=index))
    found = []
    for law in laws.data:
        for where, asked in ASKED.items():
            for task in truth.tasks:
                true = truth.data(task, asked, [law.threshold])[:, 0]
                for utd, value in zip(asked, true, strict=True):
                    if np.isfinite(value):
                        interval = law.estimate(utd, task)
                        width = float(np.log(interval.high / interval.low)) if np.isfinite(interval.high) else np.inf
                        found.append((where, interval.low <= value <= interval.high, width))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=200, help="sweeps for each noise regime and number of seeds")
    parser.add_argument("--draws", type=int, default=100, help="bootstrap draws of each fit")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    options = parser.parse_args()
    started = time.perf_counter()
    each = -(-options.simulations // (len(INSIDE) + len(OUTSIDE)))
    rows = []
    with ProcessPoolExecutor(options.workers) as pool:
        for noise in NOISE:
            for seeds in (3, 5, 10):
                row: dict[str, object] = {"noise": noise, "seeds": seeds, "sweeps": each * 5}
                held = defaultdict(list)
                for shape in INSIDE + OUTSIDE:
                    family = "inside" if shape in INSIDE else "outside"
                    ask = partial(simulate, noise=noise, seeds=seeds, shape=shape, draws=options.draws)
                    for found in pool.map(ask, range(each), chunksize=4):
                        for where, holds, width in found:
                            for key in ((family, where), (family, "all"), (shape, "all"), ("all", where), ("all", "all")):
                                held[key].append((holds, width))
                row["coverage"] = {" ".join(key): round(float(np.mean([h for h, _ in values])), 3) for key, values in held.items()}
                row["factor"] = {where: round(float(np.exp(np.median([w for _, w in held["all", where]]))), 2) for where in ASKED}
                rows.append(row)
                if not options.json:
                    _show(row, first=len(rows) == 1)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print(f"{time.perf_counter() - started:.0f} s; factor: median of the interval's upper end over its lower one")


def _show(row: dict[str, object], *, first: bool) -> None:
    coverage, factor = row["coverage"], row["factor"]
    assert isinstance(coverage, dict)
    assert isinstance(factor, dict)
    columns = [f"{family} {where}" for family in ("inside", "outside") for where in ASKED] + ["all all"]
    if first:
        print("| noise | seeds | " + " | ".join(columns) + " | factors |")
        print("|" + "---|" * (len(columns) + 3))
    shares = [f"{100 * coverage[key]:.0f} %" for key in columns]
    print(f"| {row['noise']} | {row['seeds']} | " + " | ".join(shares) + " | " + ", ".join(map(str, factor.values())) + " |", flush=True)


if __name__ == "__main__":
    main()
