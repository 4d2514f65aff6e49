"""What figures show beside the laws: one size's runs, laws fitted to fewer σ, to constant hyperparameters, one step of choosing B and η."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.crossings import Crossings
from tdscale.analysis.data_law import DataPoints
from tdscale.analysis.fit import Measured
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.runs.types import Cell, over_seeds
from tdscale.validation.held_out import ends

# the return at which the paper shows its extrapolations
EXTRAPOLATION_RETURN = 700.0


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """A data law fitted without some σ (`left_out`, shape (n,)), and the law that holds what was measured at all of them."""

    law: DataLaw
    measured: DataLaw
    left_out: Floats


@dataclass(frozen=True, kw_only=True)
class HyperparameterComparison:
    """Data laws at one J: with the fitted B*(σ), η*(σ), and with B and η kept constant."""

    fitted: DataLaw
    constant: DataLaw


@dataclass(frozen=True, kw_only=True)
class GridChoice:
    """How B and η were chosen at one (task, σ).

    Attributes:
        threshold: J that D is of.
        batch_sizes, learning_rates: the grid, shapes (n_B,), (n_η,).
        data: D on the grid, the point estimate first, then draws; shape (1 + n_draws, n_B, n_η), infinite where J is not
            reached, NaN where there is no cell.
    """

    task: str
    utd: float
    threshold: float
    batch_sizes: Floats
    learning_rates: Floats
    data: Floats


def at_size(measured: Measured, model_size: float | None) -> Measured:
    """What was measured at one size of a study's networks, the nearest to an N: as of a study of that size alone.

    Of a study without sizes everything.
    """
    sizes = measured.sizes
    if sizes is None or model_size is None:
        return measured
    name = sizes.nearest(model_size)
    known = dict(zip(sizes.names, sizes.model_size, strict=True))[name]
    of_size = [index for index, cell in enumerate(measured.sweep) if cell.size == name]
    crossings = measured.sweep_crossings
    return replace(
        measured,
        options=replace(measured.options, model_size=known),
        cells=_of_size(measured.cells, name),
        sweep=tuple(measured.sweep[index] for index in of_size),
        sweep_crossings=_of_cells(crossings, of_size) if crossings is not None and of_size else None,
        measuring=_of_size(measured.measuring, name),
        points=measured.points.at_size(known),
        sizes=None,
        baseline_cells=_of_size(measured.baseline_cells, name),
        baseline=None if measured.baseline is None else measured.baseline.at_size(known),
    )


def _of_size(cells: Sequence[Cell], name: str) -> tuple[Cell, ...]:
    return tuple(cell for cell in cells if cell.size == name)


def _of_cells(crossings: Crossings, chosen: Sequence[int]) -> Crossings:
    kept = {name: getattr(crossings, name)[chosen] for name in ("data", "lower", "upper", "bound")}
    return replace(crossings, **kept, draws=crossings.draws[:, chosen])


def measuring_cells(measured: Measured | None) -> list[Cell]:
    """The cells that measured D_J(σ), by task and σ."""
    if measured is None:
        return []
    tasks = measured.options.tasks
    return sorted(measured.measuring, key=lambda cell: (tasks.index(cell.spec.task), cell.spec.utd))


def extrapolations(laws: ScalingLaws, measured: Measured | None) -> list[Extrapolation]:
    """Laws without the σ that need most data, then without those that need most compute, at the J nearest to 700; none from too few σ.

    Of a study with sizes (`measured` of all of them) they are laws of σ and N both, seen at the size at which the laws stand.
    """
    all_there = _nearest(laws.data)
    if measured is None or all_there is None:
        return []
    points = measured.points
    utds = np.unique(points.utd)
    found = []
    first = {side: out for side, out in reversed(ends(list(utds))) if side != "both"}  # two σ where there are enough
    for side in ("smallest", "largest"):
        if side not in first:
            continue
        left_out = utds[first[side]]
        law = _nearest(_without(measured, left_out, all_there.threshold, laws.model_size))
        if law is not None and np.isclose(law.threshold, all_there.threshold):
            found.append(Extrapolation(law=law, measured=all_there, left_out=left_out))
    return found


def _without(measured: Measured, left_out: Floats, threshold: float, model_size: float | None) -> list[DataLaw]:
    """The data laws fitted without some σ."""
    points = measured.points.subset(~np.isin(measured.points.utd, left_out))
    if points.model_size is None or model_size is None:
        return _data_laws(measured, points)
    options = measured.options
    one = np.isclose(points.thresholds, threshold)  # the others would take their time
    points = replace(points, thresholds=points.thresholds[one], data=points.data[..., one])
    return [law.at_size(model_size) for law in options.method.size_laws(points, options.seed)[0]]


def hyperparameter_comparison(laws: ScalingLaws, measured: Measured | None) -> HyperparameterComparison | None:
    """The data laws of fitted and of constant B, η at the J nearest to 700; None where either's runs are missing."""
    fitted = _nearest(laws.data)
    if measured is None or measured.baseline is None or fitted is None:
        return None
    law = _nearest(_data_laws(measured, measured.baseline))
    if law is None or not np.isclose(law.threshold, fitted.threshold):
        return None
    return HyperparameterComparison(fitted=fitted, constant=law)


def selection(measured: Measured | None, n_draws: int = 100) -> GridChoice | None:
    """The sweep at the middle σ of the task whose grid reaches the top threshold most often; None without a sweep over B or η.

    At most `n_draws` of the draws are kept.
    """
    if measured is None or measured.sweep_crossings is None:
        return None
    tasks, crossings = measured.options.tasks, measured.sweep_crossings
    utds = sorted({cell.spec.utd for cell in measured.sweep})
    middle = utds[(len(utds) - 1) // 2]
    by_place: dict[tuple[str, float], list[int]] = {}
    for index, cell in enumerate(measured.sweep):
        if cell.spec.utd == middle:
            by_place.setdefault((cell.spec.task, middle), []).append(index)
    reaching = {place: int(np.isfinite(crossings.data[members, -1]).sum()) for place, members in by_place.items()}
    task, utd = max(by_place, key=lambda place: (reaching[place], -tasks.index(place[0])))
    chosen = by_place[task, utd]
    batch_sizes = np.array(sorted({float(measured.sweep[index].spec.batch_size) for index in chosen}))
    learning_rates = np.array(sorted({measured.sweep[index].spec.learning_rate for index in chosen}))
    if len(batch_sizes) < 2 and len(learning_rates) < 2:
        return None
    reached = np.flatnonzero(np.isfinite(crossings.data[chosen]).any(axis=0))
    if not reached.size:
        return None
    column = int(reached[-1])
    draws = crossings.draws[:n_draws]
    data = np.full((1 + len(draws), len(batch_sizes), len(learning_rates)), np.nan)
    for index in chosen:
        spec = measured.sweep[index].spec
        i, j = np.searchsorted(batch_sizes, spec.batch_size), np.searchsorted(learning_rates, spec.learning_rate)
        data[0, i, j], data[1:, i, j] = crossings.data[index, column], draws[:, index, column]
    threshold = float(crossings.thresholds[column])
    return GridChoice(task=task, utd=utd, threshold=threshold, batch_sizes=batch_sizes, learning_rates=learning_rates, data=data)


def typical_cell(laws: ScalingLaws, kept: Sequence[Cell]) -> Cell | None:
    """The cell at the middle σ of the first task that reaches the top threshold there, else of the first task; None without cells."""
    utds = sorted({cell.spec.utd for cell in kept})
    middle = [cell for cell in kept if cell.spec.utd == utds[(len(utds) - 1) // 2] and len(cell.env_steps) > 1]
    reaching = [cell for cell in middle if float(over_seeds(cell.returns, cell.aggregate).max()) >= laws.thresholds[-1]]
    return next(iter(reaching or middle), None)


def _data_laws(measured: Measured, points: DataPoints) -> list[DataLaw]:
    options = measured.options
    return options.method.data_laws(points, options.seed)[0]


def _nearest(laws: Sequence[DataLaw]) -> DataLaw | None:
    return min(laws, key=lambda law: abs(law.threshold - EXTRAPOLATION_RETURN)) if laws else None
