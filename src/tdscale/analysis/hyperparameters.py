"""From the sweep's cells to the laws B*(σ) and η*(σ) (METHOD.md section 4, steps 2 and 3)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.crossings import Crossings
from tdscale.analysis.estimate import LEVEL
from tdscale.analysis.laws import PowerLaw
from tdscale.analysis.options import FitOptions
from tdscale.analysis.paper_sweep import best_of_rows
from tdscale.analysis.power_law import SYMBOLS, Quantity, fit_shared_slope, widen_for_misfit
from tdscale.analysis.surface_laws import fit_surface_laws
from tdscale.runs.types import Cell, RunWarning


def fit_sweep_laws(
    cells: Sequence[Cell], crossings: Crossings, options: FitOptions
) -> tuple[PowerLaw | None, PowerLaw | None, list[RunWarning]]:
    """B*(σ) and η*(σ) from a sweep's cells and their crossings; None, with a warning, where there is no slope to fit.

    By default from a response surface through all cells; the paper's method takes the best cells.
    """
    if not options.paper:
        return fit_surface_laws(cells, crossings, options)
    utd, batch_sizes, learning_rates, values = _tensor(cells, crossings, options.tasks)
    warnings: list[RunWarning] = []
    laws: list[PowerLaw | None] = []
    # axes of `values`: draw (the point estimate first), task, σ, B, η, threshold
    cases: tuple[tuple[Quantity, Floats, Floats], ...] = (
        ("batch_size", batch_sizes, values),
        ("learning_rate", learning_rates, np.swapaxes(values, 3, 4)),
    )
    for index, (quantity, grid, data) in enumerate(cases):
        per_draw = best_of_rows(data[..., -1], grid)
        try:
            law = _law(quantity, options, utd, per_draw[1:], stream=index)
        except ValueError as error:
            laws.append(None)
            warnings.append(RunWarning("not-identified", f"{SYMBOLS[quantity]}(σ) can't be fitted: {error}", quantity))
            continue
        laws.append(law)
        warnings += _remarks(law, grid)
    return laws[0], laws[1], warnings


def used_values_law(cells: Sequence[Cell], quantity: Quantity, options: FitOptions) -> PowerLaw | None:
    """The law through the values that the runs used, where there was no sweep to choose them; None with fewer than two σ."""
    utd = np.array(sorted({cell.spec.utd for cell in cells}))
    points = np.full((len(options.tasks), len(utd)), np.nan)
    for cell in cells:
        row, column = options.tasks.index(cell.spec.task), int(np.searchsorted(utd, cell.spec.utd))
        points[row, column] = getattr(cell.spec, quantity)
    per_draw = np.broadcast_to(points, (options.n_draws, *points.shape))
    try:
        law = _law(quantity, options, utd, per_draw, stream=2 + (quantity == "learning_rate"), source="as-run")
    except ValueError:
        return None
    # a value kept constant has an exponent of 0, not of rounding's dust
    return replace(law, exponent=round(law.exponent, 9), exponent_draws=np.round(law.exponent_draws, 9))


def _law(
    quantity: Quantity,
    options: FitOptions,
    utd: Floats,
    per_draw: Floats,
    *,
    stream: int,
    source: Literal["sweep", "as-run"] = "sweep",
) -> PowerLaw:
    """The shared-slope law through best values of shape (n_draws, n_tasks, n_utds)."""
    # the paper (D.1) takes the arithmetic mean over the bootstrap's draws
    points = per_draw.mean(axis=0) if options.paper else np.exp(np.log(per_draw).mean(axis=0))
    log_utd = np.log(utd)
    point = fit_shared_slope(log_utd, np.log(points))
    draws = fit_shared_slope(log_utd, np.where(np.isfinite(points), np.log(per_draw), np.nan))
    slopes, intercepts = draws.slope, draws.intercepts
    if not options.paper:
        rng = np.random.default_rng([options.seed, 101, stream])
        slopes, intercepts = widen_for_misfit(draws, point, log_utd, rng)
    low, high = np.quantile(per_draw, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return PowerLaw(
        quantity=quantity,
        tasks=options.tasks,
        exponent=float(point.slope),
        exponent_draws=slopes,
        coefficients=np.exp(point.intercepts),
        coefficient_draws=np.exp(intercepts),
        utd=utd,
        points=points,
        points_low=low,
        points_high=high,
        source=source,
    )


def _tensor(cells: Sequence[Cell], crossings: Crossings, tasks: tuple[str, ...]) -> tuple[Floats, Floats, Floats, Floats]:
    """D_J on the sweep's grid: σ, B, η values, and D of shape (1 + n_draws, n_tasks, n_utds, n_B, n_η, n_thresholds)."""
    axes = [
        np.array(sorted({getattr(cell.spec, name) for cell in cells}), dtype=np.float64) for name in ("utd", "batch_size", "learning_rate")
    ]
    n_draws, n_thresholds = crossings.draws.shape[0], crossings.thresholds.size
    values = np.full((1 + n_draws, len(tasks), *(len(axis) for axis in axes), n_thresholds), np.nan)
    for index, cell in enumerate(cells):
        spec = cell.spec
        row = tasks.index(spec.task)
        i, j, k = (
            int(np.searchsorted(axis, value)) for axis, value in zip(axes, (spec.utd, spec.batch_size, spec.learning_rate), strict=True)
        )
        values[0, row, i, j, k] = crossings.data[index]
        values[1:, row, i, j, k] = crossings.draws[:, index]
    return axes[0], axes[1], axes[2], values


def _remarks(law: PowerLaw, grid: Floats) -> list[RunWarning]:
    """What to know about a fitted law: an open sign, best values at the grid's ends, places without an answer."""
    symbol, where = SYMBOLS[law.quantity], law.quantity
    remarks = []
    if not law.identified:
        message = f"the exponent of {symbol}(σ) is not identified: {law.exponent_estimate} holds 0; a constant value does as well"
        remarks.append(RunWarning("not-identified", message, where))
    known = law.points[np.isfinite(law.points)]
    # in logarithms, a best value nearer to an end than to the next point of the grid
    near = np.sqrt(grid[[0, -2]] * grid[[1, -1]]) if len(grid) > 1 else grid[[0, 0]]
    at_edge = int(((known < near[0]) | (known > near[1])).sum())
    if at_edge:
        message = (
            f"{at_edge} of {known.size} best values of {symbol} lie at an end of the grid ({grid[0]:g}"
            f" to {grid[-1]:g}); a wider grid would tell"
        )
        remarks.append(RunWarning("grid-edge", message, where))
    missing = int((~np.isfinite(law.points)).sum())
    if missing:
        message = f"{missing} of {law.points.size} (task, σ) have no best {symbol}: no cell there reaches any threshold, or there is none"
        remarks.append(RunWarning("no-best-value", message, where))
    return remarks
