"""Does the 80 % interval of a ratio hold 1 in 80 of 100 cases where two studies are the same? Pairs with a known truth.

Each pair is one algorithm, simulated curve by curve twice with different seeds, fitted, and compared: env steps at equal compute, compute
at equal data, return at equal budgets, budget for equal returns, over four tasks and on each, at five budgets along what the two share. The
truths are those of benchmarks/calibration.py. σ = 0.5 to 8 are run.

    python benchmarks/comparison.py --pairs 100
"""

import argparse
import json
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.planning import MEASURES, Contestant, compare_laws
from tdscale.simulate import SHAPES, SweepDesign, random_truth, simulate_cells

UTD = (0.5, 1.0, 2.0, 4.0, 8.0)
THRESHOLDS = (500.0, 650.0, 800.0)
# (noise, seeds of each cell)
CASES = (("low", 3), ("medium", 3), ("medium", 5), ("medium", 10), ("high", 5))
Found = list[tuple[str, str, bool, float]]


def compare_copies(index: int, *, noise: str, seeds: int, draws: int) -> Found:
    """Of one pair: (measure, scope, whether the interval holds "the same", the interval's width in log), for each point."""
    truth = random_truth(np.random.default_rng([22, index]), SHAPES[index % len(SHAPES)])
    sides = []
    for copy in range(2):
        cells = simulate_cells(truth, SweepDesign(utd=UTD, seeds=seeds), noise, seed=2 * index + copy)
        options = FitOptions(study=f"copy {copy}", tasks=truth.tasks, thresholds=THRESHOLDS, n_draws=draws, data_cost=2e9)
        sides.append(Contestant(name=f"copy {copy}", laws=fit_laws(cells, options)))
    found: Found = []
    for one in compare_laws(sides).compared:
        scope = "tasks" if one.task is None else "each task"
        for place in one.shown:
            ratio = one.points[place].ratio[1]
            same = 0.0 if one.measure == "return" else 1.0
            width = ratio.high - ratio.low if one.measure == "return" else float(np.log(ratio.high / max(ratio.low, 1e-9)))
            found.append((one.measure, scope, bool(ratio.low <= same <= ratio.high), width))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100, help="pairs for each noise regime and number of seeds")
    parser.add_argument("--draws", type=int, default=200, help="bootstrap draws of each fit")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    options = parser.parse_args()
    started, rows = time.perf_counter(), []
    keys = [(measure, scope) for scope in ("tasks", "each task") for measure in MEASURES]
    if not options.json:
        print("| noise | seeds | " + " | ".join(f"{measure}, {scope}" for measure, scope in keys) + " | all | ratio of D, half width |")
        print("|" + "---|" * (len(keys) + 4))
    with ProcessPoolExecutor(options.workers) as pool:
        for noise, seeds in CASES:
            held = defaultdict(list)
            widths = []
            for found in pool.map(partial(compare_copies, noise=noise, seeds=seeds, draws=options.draws), range(options.pairs)):
                for measure, scope, holds, width in found:
                    held[measure, scope].append(holds)
                    if (measure, scope) == ("data", "tasks"):
                        widths.append(width)
            shares = [float(np.mean(held[key])) for key in keys]
            whole = float(np.mean([holds for values in held.values() for holds in values]))
            factor = float(np.exp(np.median(widths) / 2))
            rows.append({"noise": noise, "seeds": seeds, "pairs": options.pairs, "all": whole, "factor": factor})
            rows[-1] |= {f"{measure}, {scope}": share for (measure, scope), share in zip(keys, shares, strict=True)}
            if not options.json:
                cells = " | ".join(f"{100 * share:.0f} %" for share in [*shares, whole])
                print(f"| {noise} | {seeds} | {cells} | ×÷ {factor:.2f} |", flush=True)
    print(json.dumps(rows, indent=1) if options.json else f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
