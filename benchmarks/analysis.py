"""Speed and memory of the analysis, against the authors' procedure written plainly with scikit-learn and scipy (plain_analysis.py).

sweep: dmc_sweep's 840 cells to B*(σ) and η*(σ). gym: gym_ours and gym_baseline_utd2 through the whole chain, curves to σ*(F). large:
100,000 simulated runs of 1000 points, read and fitted. One process and one thread each; CPU seconds from the opened study on, imports of
modules apart.

    python benchmarks/analysis.py --data DIR --peers .venv-bench/bin/python
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PARTS = ("sweep", "gym", "large")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS"), "1")
DRAWS = {"sweep": 100, "gym": 1000, "large": 100}
SOURCES = {"sweep": ("dmc_sweep",), "gym": ("gym_ours", "gym_baseline_utd2"), "large": ("large",)}


def prepare(part: str, data: Path, folder: Path, runs: int) -> None:
    """Put the part's studies into `folder`; not timed."""
    from tdscale.importers import import_runs

    if part != "large":
        for name in SOURCES[part]:
            import_runs(data / f"{name}.zip", "qscaled", folder / name)
        return
    from dataclasses import replace

    import numpy as np

    from tdscale.simulate import NOISE, SweepDesign, random_truth, write_simulation

    truth = random_truth(np.random.default_rng(0), n_tasks=10)
    utd = tuple(2.0**k for k in range(-2, 5))
    grid = SweepDesign(
        utd=utd[1:6],
        seeds=5,
        stage="sweep",
        batch_size=(64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536),
        learning_rate=tuple(1e-4 * 1.35**k for k in range(40)),
        length=None,
        env_steps=1_000_000,
    )
    share = runs / 100_000
    grid = replace(grid, learning_rate=grid.learning_rate[: max(round(40 * share), 1)])
    scaling = SweepDesign(utd=utd, seeds=5, length=None, env_steps=1_000_000, first_seed=10_000)
    write_simulation(
        folder / "large", truth, [grid, scaling], replace(NOISE["low"], fluctuation=0.0), thresholds=(400, 600, 800), data_cost=4e9
    )


def measure(part: str, folder: Path) -> dict[str, float]:
    """CPU and wall seconds, peak MiB, of the fit alone."""
    from tdscale.running.fitting import fit_options
    from tdscale.running.folder import open_study

    if part == "sweep":
        from tdscale.analysis.fit import fit_hyperparameters
        from tdscale.analysis.fit import measure as crossings_of
        from tdscale.runs.cells import load_cells

        files = open_study(folder / SOURCES[part][0])
        cells, _ = load_cells(files.store, files.study)
        started = time.process_time(), time.perf_counter()
        fit_hyperparameters(crossings_of(cells, fit_options(files.study, "default", n_draws=DRAWS[part])))
    else:
        from tdscale.running.fitting import fit_study

        started = time.process_time(), time.perf_counter()
        for name in SOURCES[part]:
            fit_study(open_study(folder / name), n_draws=DRAWS[part], write=False)
    cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
    return {"cpu_seconds": cpu, "wall_seconds": wall, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _child(*arguments: str, python: str = sys.executable) -> dict[str, Any]:
    done = subprocess.run([python, *arguments], check=True, stdout=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TDSCALE_PUBLISHED_DATA", "../shared/data")))
    parser.add_argument("--peers", help="a Python with numpy, scipy and scikit-learn, for the comparison")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runs", type=int, default=100_000, help="of the part `large`")
    parser.add_argument("--only", nargs=2, metavar=("PART", "DIR"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only[0], Path(options.only[1]))))
        return
    print("| part | draws | CPU s, median | CPU s | peak MiB | plain scikit-learn + scipy, CPU s | times faster |")
    print("|---|---|---|---|---|---|---|")
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            prepare(part, options.data, Path(folder), options.runs)
            repeats = [_child(__file__, "--only", part, folder) for _ in range(options.repeats if part != "large" else 1)]
        seconds = [one["cpu_seconds"] for one in repeats]
        median = statistics.median(seconds)
        plain, ratio = "–", "–"
        if options.peers and part != "large":
            draws = DRAWS[part] if part == "sweep" else DRAWS[part] // 50
            peer = _child(
                str(Path(__file__).with_name("plain_analysis.py")),
                part,
                "--data",
                str(options.data),
                "--draws",
                str(draws),
                python=options.peers,
            )
            # draw by draw, so that its time grows with their number
            scaled = peer["cpu_seconds"] * DRAWS[part] / draws
            note = "" if draws == DRAWS[part] else f" (from {draws} draws)"
            plain, ratio = f"{scaled:.0f}{note}", f"{scaled / median:.0f}"
        peak = max(one["peak_mib"] for one in repeats)
        print(
            f"| {part} | {DRAWS[part]} | {median:.2f} | {', '.join(f'{s:.2f}' for s in seconds)} | {peak:.0f} | {plain} | {ratio} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
