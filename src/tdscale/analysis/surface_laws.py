"""B*(σ) and η*(σ) from the response surface of a sweep: the default method (METHOD.md section 4, steps 2 and 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.arrays import Floats
from tdscale.analysis.crossings import Crossings
from tdscale.analysis.estimate import LEVEL, short
from tdscale.analysis.laws import PowerLaw
from tdscale.analysis.options import FitOptions
from tdscale.analysis.power_law import SYMBOLS, Quantity
from tdscale.analysis.response_surface import Surface, fit_surface
from tdscale.analysis.surface_model import SweepCells
from tdscale.runs.types import Cell, RunWarning

QUANTITIES: tuple[Quantity, ...] = ("batch_size", "learning_rate")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Which cells stand at which (task, σ), and which threshold decides there.

    Attributes:
        tasks: names of the tasks with a place, sorted.
        task: index into `tasks`, shape (n_places,).
        utd: shape (n_places,).
        members: index of the cells, sorted by B and η, shape (n_places, n_cells); −1 where padded.
        threshold: index of the highest threshold that a cell of the place reaches, shape (n_places,).
    """

    tasks: tuple[str, ...]
    task: NDArray[np.intp]
    utd: Floats
    members: NDArray[np.intp]
    threshold: NDArray[np.intp]


def find_places(cells: Sequence[Cell], crossings: Crossings) -> Places:
    """Gather a sweep's cells by (task, σ); places where no cell reaches any threshold are left out."""
    order = sorted(range(len(cells)), key=lambda i: _place_key(cells[i]))
    groups: dict[tuple[str, float], list[int]] = {}
    for index in order:
        groups.setdefault((cells[index].spec.task, cells[index].spec.utd), []).append(index)
    reached = ~crossings.censored
    kept = {place: members for place, members in groups.items() if reached[members].any()}
    tasks = tuple(sorted({task for task, _ in kept}))
    members = np.full((len(kept), max(map(len, kept.values()), default=0)), -1, dtype=np.intp)
    for row, found in enumerate(kept.values()):
        members[row, : len(found)] = found
    return Places(
        tasks=tasks,
        task=np.array([tasks.index(task) for task, _ in kept], dtype=np.intp),
        utd=np.array([utd for _, utd in kept], dtype=np.float64),
        members=members,
        threshold=np.array([np.flatnonzero(reached[found].any(axis=0))[-1] for found in kept.values()], dtype=np.intp),
    )


def _place_key(cell: Cell) -> tuple[str, float, float, float]:
    return cell.spec.task, cell.spec.utd, cell.spec.batch_size, cell.spec.learning_rate


def fit_surface_laws(
    cells: Sequence[Cell], crossings: Crossings, options: FitOptions
) -> tuple[PowerLaw | None, PowerLaw | None, list[RunWarning]]:
    """B*(σ) and η*(σ) from a sweep's cells and their crossings.

    None, with a warning, for a hyperparameter of which no (task, σ) has two values, or where no task has two σ.
    """
    places = find_places(cells, crossings)
    present = places.members >= 0
    grids = {name: np.array([getattr(cell.spec, name) for cell in cells], dtype=np.float64) for name in QUANTITIES}
    # where a quantity was swept, place by place
    swept = {name: _is_swept(grid[places.members], present) for name, grid in grids.items()}
    reasons = {name: _no_slope(name, swept[name], places) for name in QUANTITIES}
    fitted = [name for name in QUANTITIES if not reasons[name]]
    warnings = [
        RunWarning("not-identified", f"{SYMBOLS[name]}(σ) can't be fitted: {reason}", name) for name, reason in reasons.items() if reason
    ]
    laws: dict[Quantity, PowerLaw] = {}
    if fitted:
        values = np.stack([np.log(grids[name][places.members]) for name in fitted], axis=-1)
        rng = np.random.default_rng([options.seed, 101])
        surface = fit_surface(
            _sweep(crossings.data, crossings.bound, places, values),
            _sweep(crossings.draws, crossings.bound, places, values),
            rng,
        )
        for index, name in enumerate(fitted):
            laws[name] = _law(name, index, surface, places, swept[name], options.tasks, cells)
            warnings += remarks(laws[name], np.unique(grids[name]))
    return laws.get("batch_size"), laws.get("learning_rate"), warnings


def _is_swept(values: Floats, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Places with two different values of a quantity, shape (n_places,)."""
    if not values.size:
        return np.zeros(len(values), dtype=bool)
    return np.asarray(np.where(present, values, -np.inf).max(axis=1) > np.where(present, values, np.inf).min(axis=1))


def _no_slope(quantity: Quantity, swept: NDArray[np.bool_], places: Places) -> str:
    """Why there is no law for a quantity; empty where there is one."""
    if not len(swept):
        return "no cell of the sweep reaches any threshold"
    if not swept.any():
        return f"the sweep holds one value of {quantity} at each (task, σ), so it doesn't tell which is best"
    if not any(len(set(places.utd[swept & (places.task == task)])) > 1 for task in range(len(places.tasks))):
        return "no task has a best value at two different σ, so there is no slope to fit"
    return ""


def _sweep(data: Floats, bound: Floats, places: Places, values: Floats) -> SweepCells:
    """The surface's input from D of shape (..., n_cells, n_thresholds)."""
    at = data[..., places.members, places.threshold[:, None]]
    censored = ~np.isfinite(at)
    return SweepCells(
        task=places.task,
        log_utd=np.log(places.utd),
        values=values,
        log_data=np.log(np.where(censored, bound[places.members], at)),
        censored=censored,
        present=places.members >= 0,
        n_tasks=len(places.tasks),
    )


def _law(
    quantity: Quantity,
    index: int,
    surface: Surface,
    places: Places,
    swept: NDArray[np.bool_],
    tasks: tuple[str, ...],
    cells: Sequence[Cell],
) -> PowerLaw:
    """One quantity's law, with the tasks in the asked order; NaN where the sweep says nothing."""
    n_draws = len(surface.slope_draws)
    utd = np.array(sorted({cell.spec.utd for cell in cells}))
    points, low, high = (np.full((len(tasks), len(utd)), np.nan) for _ in range(3))
    intercepts, intercept_draws = np.full(len(tasks), np.nan), np.full((n_draws, len(tasks)), np.nan)
    edges = np.quantile(surface.best_draws[:, index], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    for place in np.flatnonzero(swept):
        row, column = tasks.index(places.tasks[places.task[place]]), int(np.searchsorted(utd, places.utd[place]))
        value = surface.best[index, place]
        points[row, column] = np.exp(value)
        low[row, column], high[row, column] = np.exp(min(edges[0, place], value)), np.exp(max(edges[1, place], value))
        intercepts[row] = surface.intercepts[index, places.task[place]]
        intercept_draws[:, row] = surface.intercept_draws[:, index, places.task[place]]
    return PowerLaw(
        quantity=quantity,
        tasks=tasks,
        exponent=float(surface.slopes[index]),
        exponent_draws=surface.slope_draws[:, index],
        coefficients=np.exp(intercepts),
        coefficient_draws=np.exp(intercept_draws),
        utd=utd,
        points=points,
        points_low=low,
        points_high=high,
    )


def remarks(law: PowerLaw, grid: Floats) -> list[RunWarning]:
    """What to know about a law: an open sign, best values beyond the grid, places without an answer."""
    symbol, where = SYMBOLS[law.quantity], law.quantity
    found = []
    if not law.identified:
        message = f"the exponent of {symbol}(σ) is not identified: {law.exponent_estimate} holds 0; a constant value does as well"
        found.append(RunWarning("not-identified", message, where))
    known = law.points[np.isfinite(law.points)]
    outside = known[(known < grid[0]) | (known > grid[-1])]
    if outside.size:
        farthest = outside[np.argmax(np.abs(np.log(outside / np.sqrt(grid[0] * grid[-1]))))]
        message = (
            f"{outside.size} of {known.size} best values of {symbol} lie beyond the grid ({short(grid[0])} to {short(grid[-1])}), the"
            f" farthest at {short(farthest)}: the surface through all cells puts them there, no run was made there; a wider grid would tell"
        )
        found.append(RunWarning("grid-edge", message, where))
    missing = int((~np.isfinite(law.points)).sum())
    if missing:
        message = f"{missing} of {law.points.size} (task, σ) have no best {symbol}: no cell there reaches any threshold, or there is none"
        found.append(RunWarning("no-best-value", message, where))
    return found
