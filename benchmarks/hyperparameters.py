"""Is the response surface a better estimate of B*(σ), η*(σ) than the best cells of the grid?

Three estimators: the response surface (the default method); "authors", the arithmetic mean over bootstrap draws of the first best cell;
"logs", the same with ties shared and means in logarithms. All three then have one slope and an intercept for each task.

*Simulated sweeps* with a known truth: 5 B × 4 η × 6 σ, bowls of several shapes, best values within the grid or also beyond it. Told are
the errors of the slope and of log best value (of the law at the mean log σ, and at each (task, σ)), those of the range that costs 5 % more
data, and how often 80 % intervals hold the truth.

*Published runs* (dmc_sweep.zip in the folder that TDSCALE_PUBLISHED_DATA names): slopes, one task left out, σ left out (with offsets of the
laws, too), halves of the seeds, the
regret of choosing B and η with one half of the seeds by the D of the other half, CPU time.

    python benchmarks/hyperparameters.py --simulations 40
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.crossings import Crossings, bootstrap_weights, find_crossings
from tdscale.analysis.estimate import short
from tdscale.analysis.fit import FitOptions, fit_hyperparameters, fit_laws, measure
from tdscale.analysis.fitted_laws import MORE_DATA
from tdscale.analysis.hyperparameters import find_places, fit_shared_slope, fit_surface_laws, surface_input
from tdscale.analysis.method import DEFAULT, OFFSETS
from tdscale.analysis.response_surface import SweepCells
from tdscale.analysis.surface_fit import fit_surface
from tdscale.importers import import_runs
from tdscale.paper import METHODS, PAPER
from tdscale.running.fitting import fit_options
from tdscale.running.folder import open_study
from tdscale.running.rehearsal import FittedTruth
from tdscale.runs.cells import load_cells
from tdscale.runs.types import Cell
from tdscale.simulate import Bowl, SweepDesign, simulate_cells

Floats = NDArray[np.float64]
QUANTITIES = ("batch_size", "learning_rate")
GRIDS = (np.array([32.0, 64, 128, 256, 512]), np.array([1.5e-4, 3e-4, 6e-4, 1.2e-3]))
UTD = np.array([1.0, 2, 3, 4, 5, 8])
DRAWS = 100
_METHODS = {"surface": DEFAULT, "authors": PAPER}

SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "parabola": lambda u, c: c * u**2 / 2,
    "steep to the left": lambda u, c: c * np.where(u < 0, 2.0, 0.6) * u**2 / 2,
    "cliff to the right": lambda u, c: c * (np.exp(1.2 * u) - 1 - 1.2 * u) / 1.44,
    "pointed": lambda u, c: c * np.abs(u) ** 1.5 / 2,
}
# tasks, seeds, sd of log D of a seed, best values beyond the grid as well, sd of best values about their law
REGIMES = (
    (7, 5, 0.2, True, 0.1),
    (7, 10, 0.1, False, 0.1),
    (7, 3, 0.3, True, 0.2),
    (2, 5, 0.2, True, 0.1),
    (2, 3, 0.3, False, 0.1),
)


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A sweep with its truth. D has shape (n_tasks, n_utds, n_B, n_η), draws one axis more in front; infinite where censored."""

    slopes: Floats  # (2,)
    middle: Floats  # log best value of the law at the mean log σ, (2, n_tasks)
    best: Floats  # (2, n_tasks, n_utds)
    widths: Floats  # log distances below and above the best value at which log D is log 1.05 higher, (2, n_tasks, 2)
    data: Floats
    draws: Floats
    plain_draws: Floats
    bound: Floats


def simulate(rng: np.random.Generator, shape: str, n_tasks: int, n_seeds: int, noise: float, beyond: bool, deviation: float) -> Simulated:
    """Slopes −0.8…0 (B) and −0.5…0.1 (η); D read from a logged grid of steps, censored above e times the best."""
    x = np.log(UTD) - np.log(UTD).mean()
    axes = [np.log(grid) for grid in GRIDS]
    slopes = np.array([rng.uniform(-0.8, 0.0), rng.uniform(-0.5, 0.1)])
    reach = 1.15 if beyond else 0.4
    middle = np.stack([(a[0] + a[-1]) / 2 + reach * (a[-1] - a[0]) / 2 * rng.uniform(-1, 1, n_tasks) for a in axes])
    best = middle[:, :, None] + slopes[:, None, None] * x + deviation * rng.standard_normal((2, n_tasks, len(x)))
    curvatures = np.array([[0.15], [0.3]]) * np.exp(0.4 * rng.standard_normal((2, n_tasks)))
    rising = np.geomspace(1e-3, 20.0, 4000)
    heights = [[[SHAPES[shape](side * rising, c) for side in (-1, 1)] for c in row] for row in curvatures]
    widths = np.array([[[np.interp(np.log(1.05), height, rising) for height in sides] for sides in row] for row in heights])
    bowls = [SHAPES[shape](a - b[..., None], c[:, None, None]) for a, b, c in zip(axes, best, curvatures, strict=True)]
    clean = 11 + 2 * rng.random((n_tasks, 1, 1, 1)) - 0.3 * x[:, None, None] + bowls[0][..., :, None] + bowls[1][..., None, :]
    seeds = np.exp(clean[..., None] + noise * rng.standard_normal((*clean.shape, n_seeds)))
    bound = np.broadcast_to(np.exp(clean.min(axis=(-2, -1), keepdims=True) + 1), clean.shape)
    step = np.exp(clean.min()) / 25

    def logged(values: Floats, within: Floats | float) -> Floats:
        crossed = (np.ceil(np.maximum(values, 1e-3 * step) / step) - within) * step
        return np.where(crossed > bound, np.inf, crossed)

    def resampled(*, correct: bool) -> Floats:
        weights = np.stack([bootstrap_weights(n_seeds, DRAWS, rng, correct=correct) for _ in range(clean.size)], axis=1)
        return (weights.reshape(DRAWS, *seeds.shape) * seeds).sum(axis=-1)

    return Simulated(
        slopes=slopes,
        middle=middle,
        best=best,
        widths=widths,
        data=logged(seeds.mean(axis=-1), 0.5),
        draws=logged(resampled(correct=True), rng.random((DRAWS, *clean.shape))),
        plain_draws=logged(resampled(correct=False), 0.0),
        bound=bound,
    )


def as_sweep(data: Floats, bound: Floats) -> SweepCells:
    """The surface's input; data of shape (..., n_tasks, n_utds, n_B, n_η)."""
    n_tasks, n_utds = bound.shape[:2]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*map(np.log, GRIDS), indexing="ij")], axis=-1)
    flat = data.reshape(*data.shape[:-4], n_tasks * n_utds, -1)
    censored = ~np.isfinite(flat)
    return SweepCells(
        task=np.repeat(np.arange(n_tasks), n_utds),
        log_utd=np.tile(np.log(UTD), n_tasks),
        values=np.broadcast_to(grid, (n_tasks * n_utds, *grid.shape)),
        log_data=np.log(np.where(censored, bound.reshape(n_tasks * n_utds, -1), flat)),
        censored=censored,
        present=np.ones(flat.shape[-2:], dtype=bool),
        n_tasks=n_tasks,
    )


def best_cells(draws: Floats, quantity: int, *, logs: bool) -> Floats:
    """Mean best value over draws and over the other hyperparameter's values, from D of shape (n_draws, n_tasks, n_utds, n_B, n_η)."""
    grid, data = GRIDS[quantity], np.moveaxis(draws, 3 + quantity, -1)
    least = (data == data.min(axis=-1, keepdims=True)) & np.isfinite(data)
    first = grid[np.argmax(least, axis=-1)]
    shared = (least * np.log(grid)).sum(axis=-1) / np.maximum(least.sum(axis=-1), 1)
    value = np.where(least.any(axis=-1), shared if logs else first, np.nan)
    mean = np.nanmean(np.nanmean(value, axis=-1), axis=0)
    return np.asarray(np.exp(mean) if logs else mean)


def one_simulation(rng: np.random.Generator, **regime: Any) -> tuple[dict[str, Floats], Floats, Floats]:
    """Squared errors of slope, law and best value by estimator, shape (2, 4) with the slope's signed error last; held, shape (2, 4).

    And the squared error of the ends of the range that costs 5 % more data, about the law at the mean log σ, shape (2,).
    """
    sweep = simulate(rng, **regime)
    x = np.log(UTD).mean()
    surface = fit_surface(as_sweep(sweep.data, sweep.bound), as_sweep(sweep.draws, sweep.bound), rng)
    estimates = {"surface": (surface.slopes, surface.intercepts + surface.slopes[:, None] * x, surface.best.reshape(sweep.best.shape))}
    for name, draws in (("authors", sweep.plain_draws), ("logs", sweep.draws)):
        values = np.log([best_cells(draws, q, logs=name == "logs") for q in range(len(GRIDS))])
        lines = [fit_shared_slope(np.log(UTD), of_quantity) for of_quantity in values]
        slopes = np.array([float(line.slope) for line in lines])
        estimates[name] = (slopes, np.stack([line.intercepts for line in lines]) + slopes[:, None] * x, values)
    errors = {}
    for name, (slopes, middle, best) in estimates.items():
        wrong = slopes - sweep.slopes
        errors[name] = np.stack(
            [wrong**2, ((middle - sweep.middle) ** 2).mean(axis=-1), np.nanmean((best - sweep.best) ** 2, axis=(-2, -1)), wrong], axis=-1
        )
    truths = (sweep.slopes, sweep.middle, sweep.best.reshape(2, -1))
    middle_draws = surface.intercept_draws + surface.slope_draws[..., None] * x
    held = []
    for truth, draws in zip(truths, (surface.slope_draws, middle_draws, surface.best_draws), strict=True):
        low, high = np.quantile(draws, [0.1, 0.9], axis=0)
        inside = (low <= truth) & (truth <= high)
        held.append(inside if inside.ndim == 1 else inside.mean(axis=-1))
    n_tasks, signs = regime["n_tasks"], np.array([-1.0, 1.0])
    ends = sweep.middle[..., None] + signs * sweep.widths
    middle = surface.intercepts + surface.slopes[:, None] * x
    wrong = middle[..., None] + signs * surface.widths[:, :n_tasks] - ends
    low, high = np.quantile(middle_draws[..., None] + signs * surface.width_draws[:, :, :n_tasks], [0.1, 0.9], axis=0)
    held.append(((low <= ends) & (ends <= high)).mean(axis=(-2, -1)))
    return errors, np.stack(held, axis=-1), (wrong**2).mean(axis=(-2, -1))


def simulations(number: int, seed: int) -> list[dict[str, Any]]:
    """One row for each shape and regime."""
    rows = []
    print("Simulated sweeps: root mean square errors for B and η (bias of the slope in brackets); what 80 % intervals hold")
    for number_of_shape, shape in enumerate(SHAPES):
        for index, (n_tasks, n_seeds, noise, beyond, deviation) in enumerate(REGIMES):
            # truths and noise of their own: the same ones in each shape would be a fourth of the evidence
            rng = np.random.default_rng([seed, number_of_shape, index])
            regime = {"n_tasks": n_tasks, "n_seeds": n_seeds, "noise": noise, "beyond": beyond, "deviation": deviation}
            results = [one_simulation(rng, shape=shape, **regime) for _ in range(number)]
            held = np.mean([h for _, h, _ in results], axis=0)
            ends = np.sqrt(np.mean([e for _, _, e in results], axis=0))
            row: dict[str, Any] = {"shape": shape, **regime, "sweeps": number, "held": np.round(held, 3).tolist()}
            row["range_rms"] = np.round(ends, 3).tolist()
            print(f"{shape}, {n_tasks} tasks, {n_seeds} seeds, noise {noise}, best {'also beyond' if beyond else 'within'} the grid")
            for name in results[0][0]:
                mean = np.mean([e[name] for e, _, _ in results], axis=0)
                root = np.sqrt(mean[:, :3])
                row[name] = {"rms": np.round(root, 4).tolist(), "slope_bias": np.round(mean[:, 3], 4).tolist()}
                text = "; ".join(
                    f"slope {root[q, 0]:.3f} ({mean[q, 3]:+.3f}), law {root[q, 1]:.3f}, best {root[q, 2]:.3f}" for q in range(len(GRIDS))
                )
                print(f"  {name:8} {text}")
            told = (
                f"{what} {b:.2f} {rate:.2f}" for what, b, rate in zip(("slope", "law", "best", "5 % range"), held[0], held[1], strict=True)
            )
            print(f"  ends of the range that costs 5 % more data: {ends[0]:.3f}, {ends[1]:.3f}")
            print(f"  held     {', '.join(told)}", flush=True)
            rows.append(row)
    every = {name: np.sqrt(np.mean([np.square(row[name]["rms"]) for row in rows], axis=0)) for name in ("surface", "authors", "logs")}
    bias = {name: np.mean([row[name]["slope_bias"] for row in rows], axis=0) for name in every}
    held, ends = (np.mean([row[name] for row in rows], axis=0) for name in ("held", "range_rms"))
    for name, root in every.items():
        told = (f"slope {root[q, 0]:.3f} ({bias[name][q]:+.3f}), law {root[q, 1]:.3f}, best {root[q, 2]:.3f}" for q in range(len(GRIDS)))
        print(f"all {len(rows)} rows: {name:8} {'; '.join(told)}")
    print(f"all: held {np.round(held, 2).tolist()}; ends of the 5 % range {np.round(ends, 3).tolist()}")
    return rows


# Published runs


def estimate(name: str, cells: Sequence[Cell], crossings: Crossings, options: FitOptions) -> list[tuple[Floats, Floats]]:
    """For each quantity: slope with intercepts at σ = 1, shape (1 + n_tasks,), and best value at each (task, σ), logarithms."""
    if name == "surface":
        laws = fit_surface_laws(cells, crossings, options.tasks, options.seed)[:2]
        return [(np.concatenate([[law.exponent], np.log(law.coefficients)]), np.log(law.points)) for law in laws if law is not None]
    draws = np.full((len(crossings.draws), len(options.tasks), len(UTD), *(len(g) for g in GRIDS)), np.inf)
    highest = dict.fromkeys({(c.spec.task, c.spec.utd) for c in cells}, 0)
    for index, cell in enumerate(cells):
        reached = np.flatnonzero(~crossings.censored[index])
        place = (cell.spec.task, cell.spec.utd)
        highest[place] = max(highest[place], int(reached[-1]) if reached.size else 0)
    for index, cell in enumerate(cells):
        where = (options.tasks.index(cell.spec.task), int(np.searchsorted(UTD, cell.spec.utd)))
        at = tuple(int(np.argmin(np.abs(np.log(g / getattr(cell.spec, q))))) for g, q in zip(GRIDS, QUANTITIES, strict=True))
        draws[(slice(None), *where, *at)] = crossings.draws[:, index, highest[cell.spec.task, cell.spec.utd]]
    found = []
    for quantity in range(len(GRIDS)):
        points = np.log(best_cells(draws, quantity, logs=name == "logs"))
        line = fit_shared_slope(np.log(UTD), points)
        found.append((np.concatenate([[line.slope], line.intercepts]), points))
    return found


def half(cells: Sequence[Cell], seeds: NDArray[np.intp]) -> list[Cell]:
    """The same cells with some of their seeds."""
    return [
        replace(c, seeds=c.seeds[seeds], returns=c.returns[seeds], diverged=c.diverged[seeds], duplicate=c.duplicate[seeds]) for c in cells
    ]


def regret(chosen: list[tuple[Floats, Floats]], cells: Sequence[Cell], crossings: Crossings, options: FitOptions) -> tuple[float, float]:
    """Mean over (task, σ) of log D at the cell nearest to the law's B and η, and to the best values', over the best cell's."""
    places = find_places(cells, crossings)
    totals = np.zeros(2)
    for task, utd, members, threshold in zip(places.task, places.utd, places.members, places.threshold, strict=True):
        data = np.where(crossings.censored[members, threshold], crossings.bound[members], crossings.data[members, threshold])
        row, column = options.tasks.index(places.tasks[task]), int(np.searchsorted(UTD, utd))
        for kind in range(2):
            distance = np.zeros(len(members))
            for quantity, (law, points) in zip(QUANTITIES, chosen, strict=True):
                wanted = law[1 + row] + law[0] * np.log(utd) if kind == 0 else points[row, column]
                distance += np.abs(np.log([getattr(cells[i].spec, quantity) for i in members]) - wanted)
            totals[kind] += np.log(data[np.argmin(distance)] / data.min())
    return float(totals[0] / len(places.task)), float(totals[1] / len(places.task))


def published(path: Path, splits: int) -> dict[str, Any]:
    """All that is told of the published sweep."""
    with tempfile.TemporaryDirectory() as folder:
        import_runs(path, "qscaled", folder)
        files = open_study(Path(folder))
        cells, _ = load_cells(files.store, files.study)
    options = fit_options(files.study, "default", n_draws=DRAWS)
    started = time.process_time()
    crossings = find_crossings(cells, options.thresholds, n_draws=DRAWS, seed=0)
    crossed = time.process_time()
    laws = fit_surface_laws(cells, crossings, options.tasks, options.seed)
    fitted = time.process_time()
    result: dict[str, Any] = {"cpu_seconds": {"crossings": round(crossed - started, 3), "surface": round(fitted - crossed, 3)}}
    print(f"\nPublished DMC sweep, {len(cells)} cells: CPU seconds {result['cpu_seconds']}")
    plain = find_crossings(cells, options.thresholds, n_draws=DRAWS, seed=0, rule=PAPER.crossing)
    for law in laws[:2]:
        if law is not None:
            at_one = ", ".join(f"{task} {short(float(value))}" for task, value in zip(law.tasks, law.coefficients, strict=True))
            print(f"  {law.quantity}: exponent {law.exponent_estimate}; at σ = 1 {at_one}")
    for warning in laws[2]:
        print(f"  {warning.message}")
    for name in ("surface", "authors", "logs"):
        used = plain if name == "authors" else crossings
        whole = estimate(name, cells, used, options)
        without = []
        for task in options.tasks:
            kept = [i for i, c in enumerate(cells) if c.spec.task != task]
            reduced = replace(used, **{k: getattr(used, k)[kept] for k in ("data", "lower", "upper", "bound")}, draws=used.draws[:, kept])
            others = replace(options, tasks=tuple(t for t in options.tasks if t != task))
            without.append([law[0] for law, _ in estimate(name, [cells[i] for i in kept], reduced, others)])
        slopes = [float(law[0]) for law, _ in whole]
        spans = [(float(min(w)), float(max(w))) for w in zip(*without, strict=True)]
        result[name] = {"slopes": slopes, "one_task_left_out": spans}
        told = ", ".join(f"{slope:.3f} ({low:.3f}…{high:.3f})" for slope, (low, high) in zip(slopes, spans, strict=True))
        print(f"  {name:8} slopes (one task left out) {told}")
    result["left_out"] = left_out(cells, crossings, options)
    result["evidence"] = evidences(cells, crossings, options)
    result["each_as_the_truth"] = each_as_the_truth(cells, options, splits)
    result["halves"] = halves(cells, options, splits)
    return result


def left_out(cells: Sequence[Cell], crossings: Crossings, options: FitOptions) -> list[dict[str, Any]]:
    """Laws fitted without the smallest or the largest σ choose B and η there, with offsets and without.

    Told are the exponents, the root mean square error of log B*, log η* against the same method's best values there from all cells, and the
    regret of the nearest cell.
    """
    rows = []
    methods = _METHODS | {f"{name}{OFFSETS}": METHODS[f"{method.name}{OFFSETS}"] for name, method in _METHODS.items()}
    best = {
        name: [np.log(law.points) for law in fit_hyperparameters(measure(cells, replace(options, method=method)))[:2] if law is not None]
        for name, method in methods.items()
        if not method.offsets
    }
    print("  σ left out: exponents of B, η fitted to the rest; errors of log B*, log η* there; regret in log D of their choice there")
    for out in ((1.0,), (1.0, 2.0), (8.0,), (5.0, 8.0)):
        kept = [c for c in cells if c.spec.utd not in out]
        asked = [i for i, c in enumerate(cells) if c.spec.utd in out]
        there = replace(
            crossings, **{k: getattr(crossings, k)[asked] for k in ("data", "lower", "upper", "bound")}, draws=crossings.draws[:, asked]
        )
        for name, method in methods.items():
            laws = [law for law in fit_hyperparameters(measure(kept, replace(options, method=method)))[:2] if law is not None]
            predicted = [np.stack([np.log(law.predict(UTD, task)) for task in options.tasks]) for law in laws]
            known = best[name.removesuffix(OFFSETS)]
            errors = [float(np.sqrt(np.nanmean((p - b)[:, np.isin(UTD, out)] ** 2))) for p, b in zip(predicted, known, strict=True)]
            cost = regret([(np.zeros(1 + len(p)), p) for p in predicted], [cells[i] for i in asked], there, options)[1]
            exponents = [law.exponent for law in laws]
            rows.append({"left_out": out, "estimator": name, "exponents": exponents, "errors": errors, "regret": cost})
            told = f"exponents {exponents[0]:.3f}, {exponents[1]:.3f}; errors {errors[0]:.3f}, {errors[1]:.3f}; regret {cost:.3f}"
            print(f"  {name:15} σ = {', '.join(f'{u:g}' for u in out):5} {told}")
    return rows


def evidences(cells: Sequence[Cell], crossings: Crossings, options: FitOptions) -> dict[str, float]:
    """Log probability of the data under the surface, by Laplace's approximation, with offsets and without."""
    places = find_places(cells, crossings)
    values = np.stack([np.log([getattr(c.spec, q) for c in cells])[places.members] for q in QUANTITIES], axis=-1)
    sweep, draws = (surface_input(data, crossings.bound, places, values) for data in (crossings.data, crossings.draws[:2]))
    found = {
        name: fit_surface(sweep, draws, np.random.default_rng(0), offsets=offsets).evidence
        for name, offsets in (("surface", False), (f"surface{OFFSETS}", True))
    }
    print(f"  log evidence: {', '.join(f'{name} {value:.1f}' for name, value in found.items())}")
    return found


def each_as_the_truth(cells: Sequence[Cell], options: FitOptions, number: int) -> dict[str, Any]:
    """Which truth makes both ways find what they find on the published sweep? Each one's laws are the truth of simulated sweeps.

    Of the same tasks, grid and number of seeds, with bowls of the mean curvature and the middle noise; D is as fitted to the sweep.
    """
    fitted = fit_laws(cells, replace(options, n_draws=20))
    laws = {name: fit_hyperparameters(measure(cells, replace(options, method=method)))[:2] for name, method in _METHODS.items()}
    n_seeds = max(len(c.seeds) for c in cells)
    grid = {q: tuple(sorted({getattr(c.spec, q) for c in cells})) for q in ("utd", *QUANTITIES)}
    limits = {task: max(c.last_step for c in cells if c.spec.task == task) for task in options.tasks}
    design = SweepDesign(seeds=n_seeds, stage="sweep", log_interval=1000, env_steps=limits, length=None, **grid)
    found: dict[str, Any] = {}
    print(f"  simulated from each one's laws, {number} sweeps: exponents of B, η that each way finds, with their standard deviation")
    for truth_name, (batch, rate) in laws.items():
        assert batch is not None
        assert rate is not None
        bowls = {}
        for law, known in ((batch, fitted.batch_size), (rate, fitted.learning_rate)):
            assert known is not None
            assert known.leeway is not None
            # the parabola as wide as the domain's bowl
            width = np.log(known.leeway.above[-1] / known.leeway.below[-1]) / 2
            coefficients = dict(zip(law.tasks, map(float, law.coefficients), strict=True))
            bowls[law.quantity] = Bowl(
                coefficient=float(law.predict([1.0])[0]),
                exponent=law.exponent,
                curvature=float(np.log1p(MORE_DATA) / width**2),
                coefficients=coefficients,
            )
        truth = replace(FittedTruth.of(fitted), **bowls)
        slopes: dict[str, list[list[float]]] = {name: [] for name in _METHODS}
        for seed in range(number):
            simulated = simulate_cells(truth, design, seed=seed)
            for name, method in _METHODS.items():
                given = replace(options, method=method, thresholds=options.thresholds[-1:], n_draws=50)
                slopes[name].append([law.exponent for law in fit_hyperparameters(measure(simulated, given))[:2] if law is not None])
        found[truth_name] = {name: np.round(np.mean(rows, axis=0), 3).tolist() for name, rows in slopes.items()}
        for name, rows in slopes.items():
            mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0)
            told = f"{mean[0]:.3f} ± {spread[0]:.3f}, {mean[1]:.3f} ± {spread[1]:.3f}"
            print(f"  truth by {truth_name:8} ({batch.exponent:.3f}, {rate.exponent:.3f})  found by {name:8} {told}")
    return found


def halves(cells: Sequence[Cell], options: FitOptions, splits: int) -> dict[str, Any]:
    """Half of the seeds against the other half; the first split is the first five against the last five."""
    n_seeds = min(len(c.seeds) for c in cells)
    rng = np.random.default_rng(0)
    orders = [np.arange(n_seeds), *(rng.permutation(n_seeds) for _ in range(splits - 1))]
    told: dict[str, list[list[float]]] = {name: [] for name in ("surface", "authors", "logs")}
    for order in orders:
        parts = [half(cells, np.sort(part)) for part in (order[: n_seeds // 2], order[n_seeds // 2 :])]
        default, plain = (
            [find_crossings(part, options.thresholds, n_draws=DRAWS // 2, seed=i, rule=rule) for i, part in enumerate(parts)]
            for rule in (DEFAULT.crossing, PAPER.crossing)
        )
        for name, rows in told.items():
            used = plain if name == "authors" else default
            fits = [estimate(name, part, crossings, options) for part, crossings in zip(parts, used, strict=True)]
            row: list[float] = []
            for (law, points), (other_law, other_points) in zip(*fits, strict=True):
                middle = np.log(UTD).mean()
                levels = [each[1:] + each[0] * middle for each in (law, other_law)]
                row += [
                    float(abs(law[0] - other_law[0])),
                    float(np.sqrt(np.mean((levels[0] - levels[1]) ** 2))),
                    float(np.sqrt(np.nanmean((points - other_points) ** 2))),
                ]
            row += np.mean([regret(fits[i], parts[1 - i], default[1 - i], options) for i in range(2)], axis=0).tolist()
            rows.append(row)
    result = {}
    print(
        f"  halves of the seeds, {splits} splits: differences of slope, law at the mean log σ, best value, for B, then η;"
        " regret in log D of the law's, then of the best values' choice"
    )
    for name, rows in told.items():
        mean, error = np.mean(rows, axis=0), np.std([r[6:] for r in rows], axis=0, ddof=1) / np.sqrt(splits) if splits > 1 else (0.0, 0.0)
        result[name] = {"mean": np.round(mean, 4).tolist()}
        print(f"  {name:8} {' '.join(f'{v:.3f}' for v in mean[:6])}; regret {mean[6]:.4f} ± {error[0]:.4f}, {mean[7]:.4f} ± {error[1]:.4f}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=40, help="sweeps of each shape and regime; 0 for none")
    parser.add_argument("--seed", type=int, default=0, help="of the simulations")
    parser.add_argument("--splits", type=int, default=5, help="ways to halve the published seeds; 0 leaves the published runs out")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    if options.splits:
        default = Path(__file__).resolve().parents[2] / "shared" / "data"
        path = Path(os.environ.get("TDSCALE_PUBLISHED_DATA", default)) / "dmc_sweep.zip"
        if path.is_file():
            result["published"] = published(path, options.splits)
        else:
            print(f"{path} is not there; set TDSCALE_PUBLISHED_DATA to the folder that holds it")
    if options.simulations:
        result["simulations"] = simulations(options.simulations, options.seed)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
