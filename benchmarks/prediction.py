"""How well D at σ that were left out is predicted, on published learning curves: the default method against simpler predictors.

For every file the one or two smallest and the one or two largest σ are left out, the laws are fitted to the rest, and the mean over
tasks of log D is predicted at ten thresholds. The error is |predicted − seen|. `authors` is their own fit (`method="paper"`). `held`
says how many single D (task, σ, threshold) lie in their 80 % interval, widened by the noise of the measurement it is compared with.

dmc_sweep is taken at each (B, η) by itself, dmc_bro_ablations at each model size, with thresholds from 10 to 85 % of each task's own range.

    TDSCALE_PUBLISHED_DATA=DIR python benchmarks/prediction.py
"""

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.data import DataPoints, collect_points, fit_data_laws
from tdscale.analysis.laws import DataLaw
from tdscale.analysis.options import FitOptions
from tdscale.importers import import_runs
from tdscale.running.folder import open_study
from tdscale.runs.cells import load_cells
from tdscale.runs.selection import Selection
from tdscale.runs.types import Cell
from tdscale.validation.predictors import simple_predictions

Floats = NDArray[np.float64]
FILES = ("gym_ours", "gym_baseline_utd2", "dmc_sweep", "dmc_bro_ablations")
PREDICTORS = ("default", "authors", "power law", "nearest σ", "constant")
DRAWS = 100


def groups(directory: Path, archive: Path) -> Iterator[DataPoints]:
    """What is predicted by itself: all of a Gym file, a (B, η) of the sweep, a model size of the ablations."""
    import_runs(archive, "qscaled", directory)
    files = open_study(directory)
    # every size at once: they are put into groups here
    cells, _ = load_cells(files.store, files.study, selection=Selection(specs=files.store.specs()))
    members: dict[Any, list[Cell]] = defaultdict(list)
    for cell in cells:
        spec = cell.spec
        key = (spec.batch_size, spec.learning_rate) if spec.stage == "sweep" else spec.settings.get("model_size")
        members[key].append(cell)
    relative = archive.stem == "dmc_bro_ablations"
    spans = _spans(cells) if relative else {}
    for group in members.values():
        scaled = [_relative(cell, *spans[cell.spec.task]) if relative else cell for cell in group]
        thresholds = np.linspace(100, 850, 10) if relative else files.study.return_thresholds
        tasks = tuple(sorted({cell.spec.task for cell in group}))
        yield collect_points(scaled, find_crossings(scaled, thresholds, n_draws=DRAWS, seed=0), tasks)


def _spans(cells: Sequence[Cell]) -> dict[str, tuple[float, float]]:
    """Of each task: the least first value and the highest value of all its mean curves."""
    spans: dict[str, tuple[float, float]] = {}
    for cell in cells:
        mean = cell.returns.mean(axis=0)
        low, high = spans.get(cell.spec.task, (np.inf, -np.inf))
        spans[cell.spec.task] = (min(low, float(mean[0])), max(high, float(mean.max())))
    return spans


def _relative(cell: Cell, low: float, high: float) -> Cell:
    return replace(cell, returns=1000 * (cell.returns - low) / (high - low))


def predict(points: DataPoints, at: Floats) -> dict[str, Floats]:
    """log D predicted, by predictor: each of shape (n_tasks, n_at, n_thresholds), NaN where it can't."""
    options = FitOptions(study="", tasks=points.tasks, thresholds=tuple(points.thresholds), n_draws=DRAWS)
    shape = (len(points.tasks), len(at), len(points.thresholds))
    found = {name: np.full(shape, np.nan) for name in PREDICTORS}
    with np.errstate(all="ignore"):
        for name, method in (("default", "default"), ("authors", "paper")):
            for law in fit_data_laws(points, replace(options, method=method))[0]:
                _fill(found[name], law, points, at)
    for index in range(shape[2]):
        data = points.data[0, ..., index]
        seen = np.isfinite(data).any(axis=1)
        if not seen.any():
            continue
        for column, utd in enumerate(at):
            for name, values in simple_predictions(data[seen], points.bound[seen], points.utd, float(utd)).items():
                found[name][seen, column, index] = values
    return found


def _fill(target: Floats, law: DataLaw, points: DataPoints, at: Floats) -> None:
    index = int(np.argmin(np.abs(points.thresholds - law.threshold)))
    for row, task in enumerate(law.tasks):
        target[row, :, index] = np.log(law.predict(at, task))


def held(points: DataPoints, out: NDArray[np.bool_]) -> Iterator[bool]:
    """Whether each D that was left out lies in its interval."""
    rest = points.subset(~out)
    options = FitOptions(study="", tasks=points.tasks, thresholds=tuple(points.thresholds), n_draws=DRAWS)
    for law in fit_data_laws(rest, options)[0]:
        index = int(np.argmin(np.abs(points.thresholds - law.threshold)))
        for column in np.flatnonzero(out):
            for row, task in enumerate(law.tasks):
                seen, known = points.data[0, row, column, index], np.isfinite(rest.data[0, row, :, index]).any()
                if not (np.isfinite(seen) and known):
                    continue
                draws = np.log(law.predict_draws(points.utd[[column]], task)[:, 0])
                measured = np.log(points.data[1:, row, column, index])
                measured = measured[np.isfinite(measured)]
                noise = (measured - measured.mean())[np.arange(len(draws)) % len(measured)] if measured.size else 0.0
                low, high = np.quantile(draws + noise, [0.1, 0.9], method="nearest")
                yield bool(low <= np.log(seen) <= high)


def measure(name: str, folder: Path, archive: Path) -> list[dict[str, Any]]:
    """A row for each side and number of σ left out."""
    rows = []
    every = list(groups(folder, archive))
    for side in ("smallest", "largest"):
        for count in (1, 2):
            errors: dict[str, list[float]] = defaultdict(list)
            inside: list[bool] = []
            for points in every:
                n = len(points.utd)
                if n - count < 3:
                    continue
                out = np.arange(n) < count if side == "smallest" else np.arange(n) >= n - count
                rest = points.subset(~out)
                with np.errstate(all="ignore"):
                    found = predict(rest, points.utd[out])
                    inside += held(points, out)
                truth = np.log(points.data[0][:, out])
                enough = np.isfinite(rest.data[0]).any(axis=0).sum(axis=0) >= 3  # three σ that reach the threshold
                for place in np.ndindex(truth.shape[1:]):
                    known = np.isfinite(truth[(slice(None), *place)]) & np.isfinite(found["nearest σ"][(slice(None), *place)])
                    if known.any() and enough[place[1]]:
                        at = (known, *place)
                        for predictor, values in found.items():
                            errors[predictor].append(abs(float(np.mean(values[at]) - np.mean(truth[at]))))
            mean = {key: float(np.nanmean(values)) for key, values in errors.items()}
            rows.append({"file": name, "side": side, "left out": count, "held": float(np.mean(inside)), "compared": len(inside), **mean})
    return rows


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
            archive = options.data / f"{name}.zip"
            if not archive.exists():
                raise SystemExit(f"{archive}: no such file; give the folder of the published zips by --data or TDSCALE_PUBLISHED_DATA")
            rows += measure(name, Path(folder) / name, archive)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| file | left out | " + " | ".join(PREDICTORS) + " | held |")
    print("|" + "---|" * (len(PREDICTORS) + 3))
    for name in options.files:
        of_file = [row for row in rows if row["file"] == name]
        for row in of_file:
            errors = " | ".join(f"{row[key]:.2f}" if row[key] < 100 else f"{row[key]:.1e}" for key in PREDICTORS)
            print(f"| {name} | {row['left out']} {row['side']} | {errors} | {row['held']:.0%} of {row['compared']} |")
        means = " | ".join(f"{np.mean([row[key] for row in of_file]):.2f}" for key in PREDICTORS)
        share = np.average([row["held"] for row in of_file], weights=[row["compared"] for row in of_file])
        print(f"| {name} | mean | {means} | {share:.0%} |")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
