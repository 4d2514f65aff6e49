"""How well D at σ and N that were left out is predicted, on published learning curves: the law with model size against simpler ones.

From each file the largest and the smallest N, the largest and the smallest σ, and each corner of both are left out in turn, the laws
are fitted to the rest, and D there is predicted at ten thresholds from 10 to 85 % of each task's own range. *domain*: the mean of
|predicted − seen| of the tasks' mean log D; *single*: of each task's. `sum`, `product` and `power` are single forms with the default's
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
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction import _relative, _spans
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.data_law import DataPoints, collect_points
from tdscale.analysis.form_fit import Prior, fit_form
from tdscale.analysis.size_fit import fit_size_laws
from tdscale.analysis.size_forms import PRODUCT, SIZE_POWER, SUM
from tdscale.analysis.sizes import find_sizes
from tdscale.importers import import_runs
from tdscale.running.folder import open_study
from tdscale.runs.cells import load_cells

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FILES = ("dmc_bro_ablations", "simbav2")
FORMS = {"sum": SUM, "product": PRODUCT, "power": SIZE_POWER}
PREDICTORS = ("law", *FORMS, "nearest")
DRAWS = 100
_NOISE = 0.2  # of the points about a single form, against its prior


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


def ends(points: DataPoints) -> Iterator[tuple[str, Bools]]:
    """What is left out: each end of each axis, each corner."""
    assert points.model_size is not None
    axes = {"σ": points.utd, "N": points.model_size}
    sides = {
        f"{side} {name}": axis == end(axis) for name, axis in axes.items() for side, end in (("smallest", np.min), ("largest", np.max))
    }
    yield from sides.items()
    for one, of_utd in sides.items():
        for other, of_size in sides.items():
            if one.endswith("σ") and other.endswith("N"):
                yield f"{one}, {other}", of_utd & of_size


def nearest(data: Floats, at: Floats, wanted: Floats) -> Floats:
    """log D of each task at the nearest point, in log σ and log N, that reached the threshold; several as near count alike."""
    apart = np.abs(np.log(at)[:, None] - np.log(wanted)[:, :, None]).sum(axis=0)
    found = np.empty((len(data), wanted.shape[1]))
    for task, values in enumerate(data):
        known = np.isfinite(values)
        near = np.where(known, apart, np.inf)
        closest = near <= near.min(axis=1, keepdims=True) + 1e-9
        found[task] = (closest * np.where(known, np.log(np.where(known, values, 1.0)), 0.0)).sum(axis=1) / closest.sum(axis=1)
    return found


def compare(points: DataPoints, out: Bools) -> dict[str, Any]:
    """Errors and coverage with some points left out."""
    assert points.model_size is not None
    rest = points.subset(~out)
    at, wanted = np.stack([rest.utd, rest.model_size]), np.stack([points.utd, points.model_size])[:, out]
    domain: dict[str, list[float]] = defaultdict(list)
    single: dict[str, list[float]] = defaultdict(list)
    inside: list[bool] = []
    laws = {law.threshold: law for law in fit_size_laws(rest, 0)[0]}
    for index, threshold in enumerate(points.thresholds):
        law = laws.get(float(threshold))
        data, bound = rest.data[0, ..., index], rest.bound
        # a task that reaches the threshold at fewer points tells little of anything
        tasks = np.flatnonzero(np.isfinite(data).sum(axis=1) >= 6)
        if law is None or not tasks.size:
            continue
        truth = np.log(points.data[0][tasks][:, out, index])
        known = np.isfinite(truth)
        if not known.any():
            continue
        predicted = {
            name: fit_form(form, at, data[tasks][None], bound[tasks], Prior(noise=_NOISE)).log_data(np.log(wanted))[0]
            for name, form in FORMS.items()
        }
        predicted["nearest"] = nearest(data[tasks], at, wanted)
        predicted["law"] = np.empty(truth.shape)
        for column, (utd, size) in enumerate(wanted.T):
            at_size = law.at_size(size)
            for row, task in enumerate(tasks):
                name = points.tasks[task]
                predicted["law"][row, column] = np.log(at_size.predict([utd], name)[0])
                if known[row, column]:
                    draws = np.log(at_size.predict_draws([utd], name)[:, 0])
                    measured = np.log(points.data[1:, task, np.flatnonzero(out)[column], index])
                    measured = measured[np.isfinite(measured)]
                    noise = np.resize(measured - measured.mean(), draws.shape) if measured.size else 0.0
                    low, high = np.quantile(draws + noise, [0.1, 0.9], method="nearest")
                    inside.append(bool(low <= truth[row, column] <= high))
        for name, values in predicted.items():
            error = np.where(known, values - truth, np.nan)
            domain[name] += [abs(float(np.nanmean(error[:, column]))) for column in range(truth.shape[1]) if known[:, column].any()]
            single[name] += np.abs(error[known]).tolist()
    return {
        "domain": {name: float(np.mean(values)) for name, values in domain.items()},
        "single": {name: float(np.mean(values)) for name, values in single.items()},
        "held": float(np.mean(inside)),
        "compared": len(inside),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TDSCALE_PUBLISHED_DATA", "../shared/data")))
    parser.add_argument("--files", nargs="*", default=FILES, choices=FILES)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    started = time.perf_counter()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.files:
            points = load(Path(folder) / name, options.data / f"{name}.zip")
            rows += [{"file": name, "left out": side, **compare(points, out)} for side, out in ends(points)]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| file | left out | " + " | ".join(PREDICTORS) + " | single: " + " | ".join(PREDICTORS) + " | held |")
    print("|" + "---|" * (2 * len(PREDICTORS) + 3))
    for row in rows:
        errors = " | ".join(f"{row[kind][key]:.3f}" for kind in ("domain", "single") for key in PREDICTORS)
        print(f"| {row['file']} | {row['left out']} | {errors} | {row['held']:.0%} of {row['compared']} |")
    for name in (*options.files, "both"):
        of_file = [row for row in rows if name in (row["file"], "both")]
        means = " | ".join(f"{np.mean([row[kind][key] for row in of_file]):.3f}" for kind in ("domain", "single") for key in PREDICTORS)
        share = np.average([row["held"] for row in of_file], weights=[row["compared"] for row in of_file])
        print(f"| {name} | mean | {means} | {share:.0%} |")
        ratios = (np.exp(np.mean([np.log(row[kind]["law"] / row[kind]["sum"]) for row in of_file])) for kind in ("domain", "single"))
        print(f"\n{name}: law / sum, geometric mean over what was left out: domain {next(ratios):.2f}, single {next(ratios):.2f}\n")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
