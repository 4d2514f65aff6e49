"""The proof: predictions of a study for UTD ratios that it has not run, written before those runs, and their score after them.

`predict` writes predictions.json into the study's folder, once: it refuses to write over one. `score` reads it and the runs that came
after it, and prints what was predicted, what was seen, and how simpler predictors did. Values of one cell at several thresholds are
not independent: intervals are counted by cells, at the highest threshold, and by (cell, threshold) beside it.

    python benchmarks/proof.py predict studies/mujoco-sac --beyond 0.125 0.25 8 16 --constant 0.25 8
    python benchmarks/proof.py score studies/mujoco-sac
"""

import argparse
import json
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.bowls import bowl
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.estimate import Estimate, round_digits, short
from tdscale.analysis.fit import Measured
from tdscale.analysis.hyperparameters import find_places, surface_input
from tdscale.analysis.laws_file import laws_to_dict
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.surface_fit import Surface, fit_surface
from tdscale.planning import Plan, plan_budget, plan_compute, plan_data
from tdscale.running.confirm import confirmations
from tdscale.running.fitting import StudyFit, fitted_study, library_versions
from tdscale.running.folder import open_study
from tdscale.runs.cells import load_cells
from tdscale.validation.predictors import simple_predictions

Floats = NDArray[np.float64]
NAME = "predictions.json"
SIMPLE = ("power law", "nearest σ", "constant")


def predict(directory: Path, beyond: Sequence[float], kept: float, constant: Sequence[float]) -> dict[str, Any]:
    """All predictions, made before the runs."""
    fit = fitted_study(open_study(directory))
    laws, measured = fit.laws, fit.measured
    return {
        "about": "written before the runs at these UTD ratios; never rewritten",
        "date": date.today().isoformat(),
        "commit": _commit(),
        "versions": library_versions(),
        "data": _data(laws, measured, beyond),
        "top_threshold": _top(laws, beyond),
        "hyperparameters": _hyperparameters(laws, beyond),
        "plans": [plan.to_dict() for plan in _plans(laws, beyond)],
        "constant": _constant(fit, kept, constant),
        "laws": laws_to_dict(laws),
    }


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    return found.stdout.strip()


def _data(laws: ScalingLaws, measured: Measured, beyond: Sequence[float]) -> list[dict[str, Any]]:
    """D and C at each new σ for every threshold, of tasks and domain; D as a cell of fresh seeds would measure it; simple predictors."""
    rows = []
    for law in laws.data:
        index = int(np.argmin(np.abs(measured.points.thresholds - law.threshold)))
        for utd in beyond:
            simple = simple_predictions(measured.points.data[0, ..., index], measured.points.bound, measured.points.utd, utd)
            for task in (None, *laws.tasks):
                draws, value = law.predict_draws([utd], task)[:, 0], law.predict([utd], task)
                at = np.array([utd])
                compute = laws.compute_for(at, value, task)[0], laws.compute_for(at, draws[:, None], task)[:, 0]
                row = {
                    "task": task,
                    "utd": utd,
                    "threshold": round_digits(law.threshold),
                    "data": Estimate.from_draws(float(value[0]), draws).to_dict(),
                    "compute": Estimate.from_draws(float(compute[0]), compute[1]).to_dict(),
                    "extrapolation": round_digits(law.extrapolation(utd), 4),
                    "refused": law.refusal(utd, task),
                }
                if task is not None:
                    place = laws.tasks.index(task)
                    row["measured_data"] = _as_measured(measured, place, index, float(value[0]), draws, utd).to_dict()
                    row["simple"] = {name: round_digits(float(np.exp(simple[name][place]))) for name in SIMPLE}
                rows.append(row)
    return rows


def _as_measured(measured: Measured, task: int, threshold: int, value: float, draws: Floats, utd: float) -> Estimate:
    """The law's interval and the noise of one more cell, taken from the nearest σ that reached the threshold."""
    points = measured.points
    seen = np.flatnonzero(np.isfinite(points.data[0, task, :, threshold]))
    noise = np.zeros(1)
    if seen.size:
        nearest = seen[np.argmin(np.abs(np.log(points.utd[seen] / utd)))]
        drawn = points.data[1:, task, nearest, threshold]
        drawn = np.log(drawn[np.isfinite(drawn)])
        noise = drawn - drawn.mean() if drawn.size else noise
    return Estimate.from_draws(value, draws * np.exp(np.resize(noise, draws.shape)))


def _top(laws: ScalingLaws, beyond: Sequence[float]) -> dict[str, Any]:
    """The highest threshold from fits without it: log D along the line through the two below."""
    if len(laws.data) < 3:
        return {}
    low, below, top = laws.data[-3:]
    share = (top.threshold - below.threshold) / (below.threshold - low.threshold)

    def at(utd: float, task: str | None) -> dict[str, Any]:
        ends = [(np.log(law.predict([utd], task)[0]), np.log(law.predict_draws([utd], task)[:, 0])) for law in (low, below)]
        with np.errstate(invalid="ignore"):  # draws that never reach J
            value, draws = (ends[1][part] + share * (ends[1][part] - ends[0][part]) for part in (0, 1))
        return {"task": task, "utd": utd, "data": Estimate.from_draws(float(np.exp(value)), np.exp(draws)).to_dict()}

    utds = sorted({*beyond, *(float(utd) for utd in top.utd)})
    rows = [at(utd, task) for utd in utds for task in (None, *laws.tasks)]
    return {"threshold": top.threshold, "from": [low.threshold, below.threshold], "data": rows}


def _hyperparameters(laws: ScalingLaws, beyond: Sequence[float]) -> list[dict[str, Any]]:
    rows = []
    for task in laws.tasks:
        for utd in beyond:
            row: dict[str, Any] = {"task": task, "utd": utd}
            for law in (laws.batch_size, laws.learning_rate):
                if law is not None:
                    row[law.quantity] = law.estimate(utd, task).to_dict()
            rows.append(row)
    return rows


def _plans(laws: ScalingLaws, beyond: Sequence[float]) -> list[Plan]:
    """One for each kind of limit, with limits that lead beyond what was run."""
    law = laws.data[-1]
    _, high = law.range
    far = float(np.sqrt(max(beyond) * high))
    data = float(law.predict([far])[0])
    compute = float(laws.compute_for(np.array([far]), law.predict([far]))[0])
    plans = [plan_data(laws, float(f"{data:.2e}")), plan_compute(laws, float(f"{compute:.2e}"))]
    # env steps so dear, or so cheap, that the σ for a total budget lies beyond what was run
    for price in np.geomspace(1e-3, 1e3, 61) * (laws.data_cost or 1.0):
        grid = np.geomspace(min(beyond), max(beyond), 200)
        need = law.predict(grid)
        total = laws.compute_for(grid, need) + price * need
        plan = plan_budget(laws, float(f"{1.03 * total.min():.3e}"), float(f"{price:.3g}"))
        if plan.feasible and plan.threshold is not None and plan.extrapolation > 1.1:
            plans.append(plan)
            break
    return plans


def _constant(fit: StudyFit, kept: float, constant: Sequence[float]) -> list[dict[str, Any]]:
    """D with the B and η of one σ kept over D with the fitted ones, by the response surface."""
    laws, measured = fit.laws, fit.measured
    assert measured.sweep_crossings is not None
    surface, tasks = _surface(measured)
    rows = []
    for task in laws.tasks:
        for utd in constant:
            height, draws = 0.0, np.zeros(laws.n_draws)
            for index, law in enumerate(filter(None, (laws.batch_size, laws.learning_rate))):
                curvatures = surface.curvatures[index, tasks.index(task)] * surface.shape[index]
                value = float(law.predict([kept], task)[0])
                height += float(bowl(np.log([value / law.predict([utd], task)[0]]), curvatures)[0][0])
                best = law.predict_draws([kept, utd], task)
                draws += bowl(np.log(best[:, 0] / best[:, 1]), curvatures)[0]
            ratio = Estimate.from_draws(float(np.exp(height)), np.exp(draws))
            rows.append({"task": task, "utd": utd, "kept": kept, "ratio": ratio.to_dict()})
    return rows


def _surface(measured: Measured) -> tuple[Surface, tuple[str, ...]]:
    crossings = measured.sweep_crossings
    assert crossings is not None
    places = find_places(measured.sweep, crossings)
    grids = [np.array([getattr(cell.spec, name) for cell in measured.sweep], dtype=np.float64) for name in ("batch_size", "learning_rate")]
    values = np.stack([np.log(grid[places.members]) for grid in grids], axis=-1)
    seeds = np.array([np.count_nonzero(~cell.duplicate) for cell in measured.sweep], dtype=np.float64)
    point, draws = (surface_input(data, crossings.bound, places, values, seeds) for data in (crossings.data, crossings.draws))
    return fit_surface(point, draws, np.random.default_rng(0)), places.tasks


def score(directory: Path) -> dict[str, Any]:
    """How the predictions came out. A cell that never reaches a threshold is outside an interval that ends below its last step."""
    said = json.loads((directory / NAME).read_text(encoding="utf-8"))
    fit = fitted_study(open_study(directory))
    points = fit.measured.points
    top = max(row["threshold"] for row in said["data"])
    errors: dict[str, dict[float, list[float]]] = {name: defaultdict(list) for name in ("law", *SIMPLE)}
    inside: dict[str, list[bool]] = defaultdict(list)
    cells = []
    for row in said["data"]:
        column = np.flatnonzero(np.isclose(points.utd, row["utd"]))
        if row["task"] is None or not column.size:
            continue
        threshold = int(np.argmin(np.abs(points.thresholds - row["threshold"])))
        place = points.tasks.index(row["task"])
        seen, bound = float(points.data[0, place, column[0], threshold]), float(points.bound[place, column[0]])
        if np.isnan(seen):
            continue
        for kind in ("data", "measured_data"):
            interval = row[kind]
            low, high = interval["low"] or 0.0, interval["high"] or np.inf
            held = low <= seen <= high if np.isfinite(seen) else high > bound
            inside[f"{kind}, every threshold"].append(held)
            if row["threshold"] == top:
                inside[f"{kind}, cells"].append(held)
        if row["threshold"] == top:
            cells.append(row | {"seen": seen if np.isfinite(seen) else None, "bound": bound})
        if np.isfinite(seen):
            for name in errors:
                value = row["data"]["value"] if name == "law" else row["simple"][name]
                errors[name][row["utd"]].append(float(np.log(value / seen)))
    return {
        "cells": cells,
        "errors": {name: {utd: float(np.mean(np.abs(values))) for utd, values in by.items()} for name, by in errors.items()},
        "bias": {utd: float(np.mean(values)) for utd, values in errors["law"].items()},
        "inside": {name: [int(sum(values)), len(values)] for name, values in inside.items()},
        "top_threshold": _top_score(said, fit),
        "constant": _constant_score(said, fit, directory),
        "plans": _plan_score(said, fit, directory),
        "price": _price(said, directory),
    }


def _seen(fit: StudyFit, task: str, utd: float, threshold: float) -> float:
    """D of a cell of stage 2; NaN where none was run."""
    points = fit.measured.points
    column, place = np.flatnonzero(np.isclose(points.utd, utd)), points.tasks.index(task)
    level = int(np.argmin(np.abs(points.thresholds - threshold)))
    return float(points.data[0, place, column[0], level]) if column.size else np.nan


def _top_score(said: dict[str, Any], fit: StudyFit) -> dict[str, Any]:
    """The highest threshold from fits without it: error of log D, and intervals that held, over cells."""
    top = said["top_threshold"]
    errors, held = [], []
    for row in top.get("data", []):
        if row["task"] is None:
            continue
        seen = _seen(fit, row["task"], row["utd"], top["threshold"])
        if np.isfinite(seen):
            errors.append(abs(float(np.log(row["data"]["value"] / seen))))
            held.append((row["data"]["low"] or 0.0) <= seen <= (row["data"]["high"] or np.inf))
    return {"error": float(np.mean(errors)) if errors else None, "inside": [int(sum(held)), len(held)]}


def _constant_score(said: dict[str, Any], fit: StudyFit, directory: Path) -> list[dict[str, Any]]:
    """D of the baseline's cells over D of stage 2's, beside what was predicted."""
    files = open_study(directory)
    cells, _ = load_cells(files.store, files.study, stages=("baseline",))
    level = float(max(fit.measured.points.thresholds))
    rows = []
    for row in said["constant"]:
        mine = [cell for cell in cells if cell.spec.task == row["task"] and np.isclose(cell.spec.utd, row["utd"])]
        if mine:
            kept = float(find_crossings(mine, [level], n_draws=1, seed=0).data[0, 0])
            rows.append(row | {"seen": kept / _seen(fit, row["task"], row["utd"], level), "seeds": len(mine[0].seeds)})
    return rows


def _plan_score(said: dict[str, Any], fit: StudyFit, directory: Path) -> list[dict[str, Any]]:
    """What was predicted of each plan, what `tdscale confirm` saw, and how its σ did beside those of stage 2."""
    seen = {(one.problem, round_digits(one.limit)): one for one in confirmations(directory)}
    rows = []
    for plan in said["plans"]:
        found = seen.get((plan["problem"], round_digits(plan["limit"])))
        if found is None:
            continue
        rows.append(
            {"problem": plan["problem"], "limit": plan["limit"], "utd": plan["utd"], "chance": plan["chance"], "reached": found.reached}
        )
        for one in found.compared:
            rows[-1][one.quantity] = {"predicted": one.predicted.to_dict(), "seen": one.seen and one.seen.to_dict(), "inside": one.inside}
        rows[-1]["neighbours"] = _neighbours(fit, said["laws"]["budget"]["data_cost"], plan["threshold"])
    return rows


def _neighbours(fit: StudyFit, price: float, threshold: float) -> list[dict[str, float]]:
    """D, C and F as the cells of stage 2 saw them, geometric means over the tasks, at each σ that all of them were run at."""
    laws, rows = fit.laws, []
    for utd in fit.measured.points.utd:
        needs = np.array([_seen(fit, task, utd, threshold) for task in laws.tasks])
        if np.isfinite(needs).all():
            costs = np.array(
                [laws.compute_for(np.array([utd]), np.array([need]), task)[0] for task, need in zip(laws.tasks, needs, strict=True)]
            )
            means = [float(np.exp(np.mean(np.log(values)))) for values in (needs, costs, costs + price * needs)]
            rows.append({"utd": float(utd), "data": means[0], "compute": means[1], "budget": means[2]})
    return rows


def _price(said: dict[str, Any], directory: Path) -> dict[str, dict[str, float]]:
    """Runs, env steps and core hours of each stage, and of the runs that the predictions are about."""
    store = open_study(directory).store
    statuses, total = store.statuses(), defaultdict(lambda: defaultdict(float))
    beyond = {row["utd"] for row in said["data"]}
    for run_id, spec in store.specs().items():
        name = f"{spec.stage}, predicted" if spec.stage == "scaling" and spec.utd in beyond else spec.stage
        for key, value in (
            ("runs", 1.0),
            ("env steps", statuses[run_id].last_step),
            ("core hours", (statuses[run_id].wall_seconds or 0) / 3600),
        ):
            total[name][key] += value
    return {name: dict(values) for name, values in total.items()}


def show(result: dict[str, Any]) -> None:
    print("| task | UTD | predicted D | 80 % interval, as measured | seen | error |\n|---|---|---|---|---|---|")
    for row in result["cells"]:
        interval = row["measured_data"]
        seen = f"more than {short(row['bound'])}" if row["seen"] is None else short(row["seen"])
        error = "–" if row["seen"] is None else f"{100 * (row['data']['value'] / row['seen'] - 1):+.0f} %"
        held = f"{short(interval['low'])} to {short(interval['high'])}"
        print(f"| {row['task']} | {row['utd']:g} | {short(row['data']['value'])} | {held} | {seen} | {error} |")
    print("\n| mean of the error of log D | " + " | ".join(f"UTD {utd:g}" for utd in sorted(result["bias"])) + " | all |")
    print("|---|" + "---|" * (len(result["bias"]) + 1))
    for name, by in result["errors"].items():
        values = [by[utd] for utd in sorted(by)]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in [*values, float(np.mean(values))]) + " |")
    for name, (held, compared) in result["inside"].items():
        print(f"in their interval ({name}): {held} of {compared}")
    top = result["top_threshold"]
    if top["error"] is not None:
        print(f"the highest threshold from fits without it: error of log D {top['error']:.3f}; in their interval: {top['inside']}")
    for row in result["constant"]:
        interval = row["ratio"]
        predicted = f"{short(interval['value'])} [{short(interval['low'])}, {short(interval['high'])}]"
        print(
            f"constant over fitted, {row['task']}, UTD {row['utd']:g}: predicted {predicted}, seen {row['seen']:.2f} ({row['seeds']} seeds)"
        )
    for row in result["plans"]:
        print(json.dumps(row, ensure_ascii=False))
    for name, values in result["price"].items():
        print(f"{name}: {', '.join(f'{key} {value:,.1f}' for key, value in values.items())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("predict", "score"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--beyond", type=float, nargs="+", default=[0.125, 0.25, 8, 16], help="UTD ratios that are still to be run")
    parser.add_argument(
        "--constant", type=float, nargs="+", default=[0.25, 8], help="UTD ratios at which the B and η of --kept are run, too"
    )
    parser.add_argument("--kept", type=float, default=2.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    path = options.directory / NAME
    if options.step == "score":
        result = score(options.directory)
        print(json.dumps(result, indent=1)) if options.json else show(result)
        return
    if path.exists():
        raise SystemExit(f"{path}: is there already; predictions are not rewritten")
    content = predict(options.directory, options.beyond, options.kept, options.constant)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path}: {len(content['data'])} predictions; commit it before the runs")


if __name__ == "__main__":
    main()
