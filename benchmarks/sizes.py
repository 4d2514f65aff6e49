"""How well D at σ and N that were left out is predicted, on published learning curves: the law with model size against simpler ones.

From each file the largest and the smallest N, the largest and the smallest σ, and each corner of both are left out in turn, the laws
are fitted to the rest, and D there is predicted at ten thresholds from 10 to 85 % of each task's own range. *domain*: the mean of
|predicted − seen| of the tasks' mean log D; *single*: of each task's. `sum`, `product` and `power law` are single forms with the default's
own prior; `nearest` is D at the nearest (σ, N) that reached the threshold. `held` says how many single D lie in their 80 % interval,
widened by the noise of the measurement it is compared with.

simbav2 is taken at each B by itself: its points are a task at one B.

    TDSCALE_PUBLISHED_DATA=DIR python benchmarks/sizes.py
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from prediction import _relative, _spans
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.data_law import DataPoints, collect_points
from tdscale.analysis.method import DEFAULT
from tdscale.analysis.sizes import find_sizes
from tdscale.importers import import_runs
from tdscale.running.folder import open_study
from tdscale.runs.cells import load_cells
from tdscale.validation import SIZE_PREDICTORS, HeldOutSize
from tdscale.validation.sizes import leave_sizes_out, size_plans

FILES = ("dmc_bro_ablations", "simbav2")
KINDS = ("domain", "single")
DRAWS = 100


def load(directory: Path, archive: Path) -> DataPoints:
    """D of every task, σ and size; a task at each B by itself."""
    import_runs(archive, "qscaled", directory)
    files = open_study(directory)
    cells, _ = load_cells(files.store, files.study)
    spans = _spans(cells)
    several = len({cell.spec.batch_size for cell in cells}) > 1
    named = []
    for cell in cells:
        task = f"{cell.spec.task} B={cell.spec.batch_size}" if several else cell.spec.task
        named.append(replace(_relative(cell, *spans[cell.spec.task]), spec=replace(cell.spec, task=task)))
    crossings = find_crossings(named, np.linspace(100, 850, 10), n_draws=DRAWS, seed=0)
    return collect_points(named, crossings, tuple(sorted({cell.spec.task for cell in named})), find_sizes(named))


def compare(points: DataPoints) -> Iterator[HeldOutSize]:
    """Each end of each axis and each corner left out in turn."""
    for plan in size_plans(points):
        if plan[0] != "inside":
            # a task that reaches the threshold at fewer points tells little of anything
            found = leave_sizes_out(points, DEFAULT, 0, plan, least_points=6)
            if isinstance(found, str):
                raise ValueError(found)
            yield found


def ratio(rows: list[dict[str, Any]], kind: str) -> float:
    """Error of the law over that of the sum form, geometric mean over what was left out."""
    return float(np.exp(np.mean([np.log(row[kind]["law"] / row[kind]["sum"]) for row in rows])))


def mean(rows: list[dict[str, Any]], kind: str, predictor: str) -> float:
    return float(np.mean([row[kind][predictor] for row in rows]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TDSCALE_PUBLISHED_DATA", "../shared/data")))
    parser.add_argument("--files", nargs="*", default=FILES, choices=FILES)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    started = time.process_time()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.files:
            for found in compare(load(Path(folder) / name, options.data / f"{name}.zip")):
                errors = {"domain": found.errors, "single": found.single_errors}
                rows.append({"file": name, "left out": found.name, **errors, "covered": found.covered, "compared": found.compared})
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| file | left out | " + " | ".join(SIZE_PREDICTORS) + " | single: " + " | ".join(SIZE_PREDICTORS) + " | held |")
    print("|" + "---|" * (2 * len(SIZE_PREDICTORS) + 3))
    for row in rows:
        errors = " | ".join(f"{row[kind][key]:.3f}" for kind in KINDS for key in SIZE_PREDICTORS)
        print(f"| {row['file']} | {row['left out']} | {errors} | {row['covered'] / row['compared']:.0%} of {row['compared']} |")
    groups = {name: [row for row in rows if row["file"] == name] for name in options.files} | {"both": rows}
    for name, group in groups.items():
        means = " | ".join(f"{mean(group, kind, key):.3f}" for kind in KINDS for key in SIZE_PREDICTORS)
        compared = sum(row["compared"] for row in group)
        print(f"| {name} | mean | {means} | {sum(row['covered'] for row in group) / compared:.0%} of {compared} |")
    print()
    for name, group in groups.items():
        for kind in KINDS:
            best = min(SIZE_PREDICTORS[1:4], key=lambda form: mean(group, kind, form))
            above = mean(group, kind, "law") - mean(group, kind, best)
            print(f"{name}, {kind}: law / sum {ratio(group, kind):.2f} (geometric mean); law − {best}, the best single form: {above:+.3f}")
    print(f"{time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
