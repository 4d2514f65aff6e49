"""The laws B*(σ) and η*(σ): from a sweep's response surface, or through the values that the runs used (equations 4.6, 4.7).

docs/method.md. The surface itself is in `response_surface.py`; the authors' way is in `tdscale.paper`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.crossings import Crossings
from tdscale.analysis.estimate import LEVEL, short
from tdscale.analysis.fitted_laws import SYMBOLS, LeastValue, Leeway, PowerLaw, Quantity
from tdscale.analysis.forms import grid_points
from tdscale.analysis.response_surface import SweepCells
from tdscale.analysis.size_part import SizePart
from tdscale.analysis.sizes import Sizes, find_sizes
from tdscale.analysis.surface_fit import SizeLaws, Surface, fit_surface
from tdscale.runs.types import Cell, RunWarning

QUANTITIES: tuple[Quantity, ...] = ("batch_size", "learning_rate")
# of `fit_shared_offset`: bounds, the first grid's size, how often it gets finer
_STEEPEST, _OFFSETS, _OFFSET_GRID, _OFFSET_ROUNDS = 4.0, (-6.0, 3.0), (65, 37), 120
# B*(σ), η*(σ), and what a reader should know
SweepLaws = tuple[PowerLaw | None, PowerLaw | None, list[RunWarning]]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Which cells stand at which (task, σ), or (task, σ, size) with sizes, and which threshold decides there.

    Attributes:
        tasks: names of the tasks with a place, sorted.
        task: index into `tasks`, shape (n_places,).
        utd: shape (n_places,).
        members: index of the cells, sorted by B and η, shape (n_places, n_cells); −1 where padded.
        threshold: index of the highest threshold that a cell of the place reaches, shape (n_places,).
        model_size: N of each place's size, shape (n_places,); None where the cells are not of several sizes.
    """

    tasks: tuple[str, ...]
    task: NDArray[np.intp]
    utd: Floats
    members: NDArray[np.intp]
    threshold: NDArray[np.intp]
    model_size: Floats | None = None


def find_places(cells: Sequence[Cell], crossings: Crossings) -> Places:
    """Gather a sweep's cells by (task, σ, size); places where no cell reaches any threshold are left out.

    Raises:
        ValueError: as `find_sizes`.
    """
    sizes = find_sizes(cells)
    order = sorted(range(len(cells)), key=lambda i: _place_key(cells[i], sizes))
    groups: dict[tuple[str, float, str], list[int]] = {}
    for index in order:
        groups.setdefault((cells[index].spec.task, cells[index].spec.utd, cells[index].size), []).append(index)
    reached = ~crossings.censored
    kept = {place: members for place, members in groups.items() if reached[members].any()}
    tasks = tuple(sorted({task for task, _, _ in kept}))
    members = np.full((len(kept), max(map(len, kept.values()), default=0)), -1, dtype=np.intp)
    for row, found in enumerate(kept.values()):
        members[row, : len(found)] = found
    return Places(
        tasks=tasks,
        task=np.array([tasks.index(task) for task, _, _ in kept], dtype=np.intp),
        utd=np.array([utd for _, utd, _ in kept], dtype=np.float64),
        members=members,
        threshold=np.array([np.flatnonzero(reached[found].any(axis=0))[-1] for found in kept.values()], dtype=np.intp),
        model_size=np.array([sizes.of_cell(cells[found[0]]) for found in kept.values()], dtype=np.float64) if sizes else None,
    )


def _place_key(cell: Cell, sizes: Sizes | None) -> tuple[str, float, float, float, float]:
    spec = cell.spec
    return spec.task, spec.utd, 0.0 if sizes is None else sizes.of_cell(cell), spec.batch_size, spec.learning_rate


def fit_surface_laws(cells: Sequence[Cell], crossings: Crossings, tasks: tuple[str, ...], seed: int, *, offsets: bool = False) -> SweepLaws:
    """B*(σ) and η*(σ), with offsets or without, from the response surface of a sweep's cells and their crossings.

    With networks of several sizes they are laws over σ and N: B* levels off at large N, η* has a slope in log N.

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
        seeds = np.array([np.count_nonzero(~cell.duplicate) for cell in cells], dtype=np.float64)
        rng = np.random.default_rng([seed, 101])
        surface = fit_surface(
            surface_input(crossings.data, crossings.bound, places, values, seeds),
            surface_input(crossings.draws, crossings.bound, places, values, seeds),
            rng,
            offsets=offsets,
            levels=[name == "batch_size" for name in fitted],
        )
        for index, name in enumerate(fitted):
            law = _law(name, index, surface, places, swept[name], tasks, cells)
            if offsets:
                law = replace(law, offset=LeastValue(ratio=float(surface.offsets[index]), draws=surface.offset_draws[:, index]))
            laws[name] = law
            warnings += law_remarks(laws[name], _beyond_grid(laws[name], np.unique(grids[name])))
    return laws.get("batch_size"), laws.get("learning_rate"), warnings


def _is_swept(values: Floats, present: Bools) -> Bools:
    """Places with two different values of a quantity, shape (n_places,)."""
    if not values.size:
        return np.zeros(len(values), dtype=bool)
    return np.asarray(np.where(present, values, -np.inf).max(axis=1) > np.where(present, values, np.inf).min(axis=1))


def _no_slope(quantity: Quantity, swept: Bools, places: Places) -> str:
    """Why there is no law for a quantity; empty where there is one."""
    if not len(swept):
        return "no cell of the sweep reaches any threshold"
    if not swept.any():
        return f"the sweep holds one value of {quantity} at each (task, σ), so it doesn't tell which is best"
    if not any(len(set(places.utd[swept & (places.task == task)])) > 1 for task in range(len(places.tasks))):
        return "no task has a best value at two different σ, so there is no slope to fit"
    return ""


def surface_input(data: Floats, bound: Floats, places: Places, values: Floats, seeds: Floats | None = None) -> SweepCells:
    """The surface's input.

    Args:
        data: D of the cells, shape (..., n_cells, n_thresholds), infinite where censored.
        bound: last env step of each cell, shape (n_cells,).
        places: where the cells stand.
        values: log of the swept hyperparameters at `places.members`, shape (n_places, n_cells of a place, n_quantities).
        seeds: of the cells, shape (n_cells,); None: the same number in every cell.
    """
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
        seeds=None if seeds is None else seeds[places.members],
        log_size=None if places.model_size is None else np.log(places.model_size),
    )


def _law(
    quantity: Quantity,
    index: int,
    surface: Surface,
    places: Places,
    swept: Bools,
    tasks: tuple[str, ...],
    cells: Sequence[Cell],
) -> PowerLaw:
    """One quantity's law, with the tasks in the asked order; NaN where the sweep says nothing."""
    n_draws = len(surface.slope_draws)
    widths, width_draws = np.full((len(tasks) + 1, 2), np.nan), np.full((n_draws, len(tasks) + 1, 2), np.nan)
    widths[-1], width_draws[:, -1] = surface.widths[index, -1], surface.width_draws[:, index, -1]
    utd = np.array(sorted({cell.spec.utd for cell in cells}))
    known = None if surface.sizes is None else find_sizes(cells)
    sizes = None if known is None else np.array(known.model_size)
    points, low, high = (np.full((len(tasks), len(utd), *(() if sizes is None else (len(sizes),))), np.nan) for _ in range(3))
    intercepts, intercept_draws = np.full(len(tasks), np.nan), np.full((n_draws, len(tasks)), np.nan)
    edges = np.quantile(surface.best_draws[:, index], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    for place in np.flatnonzero(swept):
        row, column = tasks.index(places.tasks[places.task[place]]), int(np.searchsorted(utd, places.utd[place]))
        value = surface.best[index, place]
        at: tuple[int, ...] = (row, column)
        if sizes is not None and places.model_size is not None:
            at = (row, column, int(np.searchsorted(sizes, places.model_size[place])))
        points[at] = np.exp(value)
        low[at], high[at] = np.exp(min(edges[0, place], value)), np.exp(max(edges[1, place], value))
        intercepts[row] = surface.intercepts[index, places.task[place]]
        intercept_draws[:, row] = surface.intercept_draws[:, index, places.task[place]]
        widths[row], width_draws[:, row] = surface.widths[index, places.task[place]], surface.width_draws[:, index, places.task[place]]
    values = [getattr(cell.spec, quantity) for cell in cells]
    leeway = Leeway(
        below=np.exp(-widths[:, 0]),
        above=np.exp(widths[:, 1]),
        below_draws=np.exp(-width_draws[..., 0]),
        above_draws=np.exp(width_draws[..., 1]),
        swept=(float(min(values)), float(max(values))),
    )
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
        leeway=leeway,
        size=None if sizes is None or surface.sizes is None else _size_part(surface.sizes, index, sizes),
    )


def _size_part(laws: SizeLaws, index: int, sizes: Floats) -> SizePart:
    return SizePart(
        exponent=float(laws.exponents[index]),
        exponent_draws=laws.exponent_draws[:, index],
        level=float(laws.levels[index]),
        level_draws=laws.level_draws[:, index],
        reference=float(np.exp(laws.centre)),
        model_sizes=sizes,
    )


def _beyond_grid(law: PowerLaw, grid: Floats) -> str:
    """A sentence about best values beyond the grid, of shape (n,), rising; empty where there are none."""
    known = law.points[np.isfinite(law.points)]
    outside = known[(known < grid[0]) | (known > grid[-1])]
    if not outside.size:
        return ""
    farthest = outside[np.argmax(np.abs(np.log(outside / np.sqrt(grid[0] * grid[-1]))))]
    return (
        f"{outside.size} of {known.size} best values of {SYMBOLS[law.quantity]} lie beyond the grid ({short(grid[0])} to"
        f" {short(grid[-1])}), the farthest at {short(farthest)}:"
        " the surface through all cells puts them there, no run was made there; a wider grid would tell"
    )


def law_remarks(law: PowerLaw, at_edge: str) -> list[RunWarning]:
    """What to know about a law: an open sign, best values at the grid's ends (a sentence, or empty), places without an answer."""
    symbol, where = SYMBOLS[law.quantity], law.quantity
    found = []
    if not law.identified:
        message = f"the exponent of {symbol}(σ) is not identified: {law.exponent_estimate} holds 0; a constant value does as well"
        found.append(RunWarning("not-identified", message, where))
    if law.size is not None and not law.size.identified:
        message = f"how {symbol}(σ, N) changes with N is not identified: its slope in log N, {law.size.slope}, holds 0"
        found.append(RunWarning("not-identified", message, where))
    if at_edge:
        found.append(RunWarning("grid-edge", at_edge, where))
    missing = int((~np.isfinite(law.points)).sum())
    if missing:
        places = "(task, σ)" if law.size is None else "(task, σ, size)"
        message = f"{missing} of {law.points.size} {places} have no best {symbol}: no cell there reaches any threshold, or there is none"
        found.append(RunWarning("no-best-value", message, where))
    return found


def law_as_run(quantity: Quantity, tasks: tuple[str, ...], cells: Sequence[Cell], n_draws: int) -> PowerLaw:
    """The law through the values that the runs used, where there was no sweep to choose them. Nothing chose them, so it has no interval.

    Args:
        quantity: which law.
        tasks: names.
        cells: at most one for each (task, σ), or (task, σ, size) with sizes: where their values differ the law has a slope in log N.
        n_draws: draws beside which the law is to stand; they are NaN, for unknown.

    Raises:
        ValueError: if no task has two different σ.
    """
    utd, sizes = np.array(sorted({cell.spec.utd for cell in cells})), find_sizes(cells)
    by_size = np.full((len(tasks), len(utd), 1 if sizes is None else len(sizes.names)), np.nan)
    for cell in cells:
        at = (tasks.index(cell.spec.task), np.searchsorted(utd, cell.spec.utd), 0 if sizes is None else sizes.names.index(cell.size))
        by_size[at] = getattr(cell.spec, quantity)
    values, part = np.fmax.reduce(by_size, axis=-1), None
    if sizes is None or (values == np.fmin.reduce(by_size, axis=-1))[np.isfinite(values)].all():
        line = fit_shared_slope(np.log(utd), np.log(values))
    else:
        log_size = np.log(sizes.model_size)
        line, slope = fit_shared_slopes(np.log(utd), log_size - log_size.mean(), np.log(by_size))
        values, unknown = by_size, np.full(n_draws, np.nan)
        part = SizePart(
            exponent=round(slope, 9),
            exponent_draws=unknown,
            level=0.0,
            level_draws=unknown,
            reference=float(np.exp(log_size.mean())),
            model_sizes=np.exp(log_size),
        )
    return PowerLaw(
        quantity=quantity,
        tasks=tasks,
        # a value kept constant has an exponent of 0, not of rounding's dust
        exponent=round(float(line.slope), 9),
        exponent_draws=np.full(n_draws, np.nan),
        coefficients=np.exp(line.intercepts),
        coefficient_draws=np.full((n_draws, len(tasks)), np.nan),
        utd=utd,
        points=values,
        points_low=values,
        points_high=values,
        source="as-run",
        size=part,
    )


def law_through(
    quantity: Quantity, tasks: tuple[str, ...], utd: Floats, points: Floats, draws: Floats, *, offsets: bool = False
) -> PowerLaw:
    """The law of one exponent for all tasks through best values.

    Args:
        quantity: which law.
        tasks: names.
        utd: σ, shape (n_utds,).
        points: best values, shape (n_tasks, n_utds), NaN where there is none; draws: of them, shape (n_draws, n_tasks, n_utds).
        offsets: whether the law has an offset (equations D.2, D.3).

    Raises:
        ValueError: if no task has two different σ.
    """
    log_utd = np.log(utd)
    log_points, log_draws = np.log(points), np.where(np.isfinite(points), np.log(draws), np.nan)
    offset = None
    if offsets:
        point, ratio = fit_shared_offset(log_utd, log_points)
        drawn, ratios = fit_shared_offset(log_utd, log_draws)
        offset = LeastValue(ratio=float(ratio), draws=ratios)
    else:
        point, drawn = fit_shared_slope(log_utd, log_points), fit_shared_slope(log_utd, log_draws)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return PowerLaw(
        quantity=quantity,
        tasks=tasks,
        exponent=float(point.slope),
        exponent_draws=drawn.slope,
        coefficients=np.exp(point.intercepts),
        coefficient_draws=np.exp(drawn.intercepts),
        utd=utd,
        points=points,
        points_low=low,
        points_high=high,
        offset=offset,
    )


@dataclass(frozen=True, kw_only=True)
class SharedSlope:
    """A line in log–log space: one slope for all tasks, one intercept each. Leading axes are those of the input."""

    slope: Floats
    intercepts: Floats


def fit_shared_slope(log_utd: Floats, log_values: Floats) -> SharedSlope:
    """Least squares of log y = intercept[task] + slope · log σ (fixed effects).

    Args:
        log_utd: shape (n_utds,).
        log_values: shape (..., n_tasks, n_utds); NaN where missing (the same places on all leading axes).

    Raises:
        ValueError: if no task has two different σ: then there is no slope.
    """
    present = np.isfinite(log_values).reshape(-1, *log_values.shape[-2:]).all(axis=0)
    counts = present.sum(axis=-1)
    if (counts >= 2).sum() == 0:
        raise ValueError("no task has a best value at two different σ, so there is no slope to fit")
    used = counts > 0
    safe = np.where(present, log_values, 0.0)
    weight = np.maximum(counts, 1)
    mean_x = (present * log_utd).sum(axis=-1) / weight
    mean_y = safe.sum(axis=-1) / weight
    centred = np.where(present, log_utd - mean_x[:, None], 0.0)
    spread = (centred**2).sum()
    slope = (centred * safe).sum(axis=(-2, -1)) / spread
    intercepts = np.where(used, mean_y - slope[..., None] * mean_x, np.nan)
    return SharedSlope(slope=slope, intercepts=intercepts)


def fit_shared_slopes(log_utd: Floats, log_size: Floats, log_values: Floats) -> tuple[SharedSlope, float]:
    """Least squares of log y = intercept[task] + slope · log σ + slope_N · log N (fixed effects): the line over σ at log N = 0, slope_N.

    Args:
        log_utd: shape (n_utds,).
        log_size: shape (n_sizes,).
        log_values: shape (n_tasks, n_utds, n_sizes); NaN where missing. Somewhere two sizes stand at one (task, σ).

    Raises:
        ValueError: if no task has two different σ.
    """
    present = np.isfinite(log_values)
    fit_shared_slope(log_utd, np.where(present.any(axis=-1), 0.0, np.nan))  # refuses where there is no slope
    task, utd, size = np.nonzero(present)
    columns = np.stack([log_utd[utd], log_size[size], log_values[present]])
    count = np.bincount(task, minlength=len(log_values))
    means = np.stack([np.bincount(task, column, len(log_values)) for column in columns]) / np.maximum(count, 1)
    centred = columns - means[:, task]
    slope, slope_size = np.linalg.lstsq(centred[:2].T, centred[2], rcond=None)[0]
    intercepts = np.where(count > 0, means[2] - slope * means[0] - slope_size * means[1], np.nan)
    return SharedSlope(slope=np.asarray(slope), intercepts=intercepts), float(slope_size)


def fit_shared_offset(log_utd: Floats, log_values: Floats) -> tuple[SharedSlope, Floats]:
    """Least squares of log y = intercept[task] + log(σ^slope + ratio): B_min + β·σ^(−α) with B_min/β and α shared (D.2, D.3).

    Over a grid of slope and ratio first, then over ever finer grids about its best point. At the middle of log σ the offset is between
    e^−6 and e^3 of the rest, and slopes are within ±4: few σ tell no more.

    Args:
        log_utd: shape (n_utds,).
        log_values: shape (..., n_tasks, n_utds); NaN where missing (the same places on all leading axes).

    Returns:
        slope and intercepts, and the ratio of shape (...).

    Raises:
        ValueError: if no task has two different σ.
    """
    fit_shared_slope(log_utd, log_values)
    shape = log_values.shape
    flat = log_values.reshape(-1, *shape[-2:])
    present = np.isfinite(flat).all(axis=0)
    count = np.maximum(present.sum(axis=-1), 1)
    centre = log_utd.mean()
    x = log_utd - centre

    def centred(values: Floats) -> Floats:
        """Less each task's mean, 0 where missing."""
        safe = np.where(present, values, 0.0)
        return np.where(present, safe - (safe.sum(axis=-1) / count)[..., None], 0.0)

    def curve(slope: Floats, log_ratio: Floats) -> Floats:
        return np.asarray(np.logaddexp(slope[..., None] * x, log_ratio[..., None]))

    wanted = centred(flat)
    low, high = np.array([-_STEEPEST, _OFFSETS[0]]), np.array([_STEEPEST, _OFFSETS[1]])
    axes = [np.linspace(a, b, n) for a, b, n in zip(low, high, _OFFSET_GRID, strict=True)]
    grid = grid_points(axes).T
    tried = centred(curve(grid[:, 0], grid[:, 1])[:, None]).reshape(len(grid), -1)
    # squared errors but for what does not depend on the grid
    best = grid[np.argmin((tried**2).sum(axis=-1) - 2 * wanted.reshape(len(flat), -1) @ tried.T, axis=-1)]
    step = np.tile([axis[1] - axis[0] for axis in axes], (len(flat), 1))
    around = grid_points([np.linspace(-1, 1, 5)] * 2).T
    for _ in range(_OFFSET_ROUNDS):
        near = np.clip(best[:, None] + around * step[:, None], low, high)
        error = ((centred(curve(near[..., 0], near[..., 1])[:, :, None]) - wanted[:, None]) ** 2).sum(axis=(-2, -1))
        chosen = np.argmin(error, axis=-1)
        best = near[np.arange(len(flat)), chosen]
        step = np.where((chosen == len(around) // 2)[:, None], 0.4, 1.0) * step
    slope, log_ratio = best.reshape(*shape[:-2], 2)[..., 0], best.reshape(*shape[:-2], 2)[..., 1]
    rest = np.where(present, log_values - curve(slope, log_ratio)[..., None, :], 0.0).sum(axis=-1) / count
    # σ^slope + ratio = e^(slope·centre)·(e^(slope·x) + e^log_ratio)
    intercepts = np.where(present.any(axis=-1), rest - (slope * centre)[..., None], np.nan)
    return SharedSlope(slope=slope, intercepts=intercepts), np.asarray(np.exp(log_ratio + slope * centre))
