"""What figures show beside the laws: laws fitted to fewer σ, to constant hyperparameters, and one step of choosing B and η."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.data import DataPoints, fit_data_laws
from tdscale.analysis.fit import measure_data
from tdscale.analysis.laws import DataLaw, ScalingLaws
from tdscale.analysis.options import FitOptions
from tdscale.runs.types import Cell
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
class Selection:
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


def options_of(laws: ScalingLaws, **changes: object) -> FitOptions:
    """The options that laws were fitted with, as far as crossings and data laws need them."""
    return replace(FitOptions(study=laws.study, tasks=laws.tasks, thresholds=laws.thresholds, method=laws.method), **changes)  # type: ignore[arg-type]


def extrapolations(laws: ScalingLaws, points: DataPoints | None) -> list[Extrapolation]:
    """Laws without the σ that need most data, then without those that need most compute, at the J nearest to 700; none from too few σ."""
    measured = _nearest(laws.data)
    if points is None or measured is None:
        return []
    found = []
    first = {side: out for side, out in reversed(ends(list(points.utd))) if side != "both"}  # two σ where there are enough
    for side in ("smallest", "largest"):
        if side not in first:
            continue
        out = first[side]
        law = _nearest(fit_data_laws(points.subset(~out), options_of(laws))[0])
        if law is not None and law.threshold == measured.threshold:
            found.append(Extrapolation(law=law, measured=measured, left_out=points.utd[out]))
    return found


def hyperparameter_comparison(laws: ScalingLaws, cells: Sequence[Cell]) -> HyperparameterComparison | None:
    """The data laws of fitted and of constant B, η at the J nearest to 700; None where either's runs are missing."""
    constant = [cell for cell in cells if cell.spec.stage == "baseline" and cell.spec.task in laws.tasks]
    fitted = _nearest(laws.data)
    if not constant or fitted is None or not any(cell.spec.stage == "scaling" for cell in cells):
        return None
    options = options_of(laws)
    law = _nearest(fit_data_laws(measure_data(constant, options)[1], options)[0])
    if law is None or law.threshold != fitted.threshold:
        return None
    return HyperparameterComparison(fitted=fitted, constant=law)


def selection(laws: ScalingLaws, cells: Sequence[Cell], n_draws: int = 100) -> Selection | None:
    """The sweep at the middle σ of the task whose grid reaches the top threshold most often; None without a sweep over B or η."""
    by_place: dict[tuple[str, float], list[Cell]] = {}
    for cell in cells:
        if cell.spec.stage == "sweep" and cell.spec.task in laws.tasks:
            by_place.setdefault((cell.spec.task, cell.spec.utd), []).append(cell)
    if not by_place:
        return None
    utds = sorted({utd for _, utd in by_place})
    middle = utds[(len(utds) - 1) // 2]
    places = [place for place in by_place if place[1] == middle]
    top = laws.thresholds[-1]
    reaching = {place: sum(float(cell.returns.mean(axis=0).max()) >= top for cell in by_place[place]) for place in places}
    task, utd = max(places, key=lambda place: (reaching[place], -laws.tasks.index(place[0])))
    chosen = by_place[task, utd]
    batch_sizes = np.array(sorted({float(cell.spec.batch_size) for cell in chosen}))
    learning_rates = np.array(sorted({cell.spec.learning_rate for cell in chosen}))
    if len(batch_sizes) < 2 and len(learning_rates) < 2:
        return None
    crossings = find_crossings(chosen, laws.thresholds, n_draws=n_draws, seed=0, paper=laws.method == "paper")
    reached = np.flatnonzero(np.isfinite(crossings.data).any(axis=0))
    if not reached.size:
        return None
    column = int(reached[-1])
    data = np.full((1 + n_draws, len(batch_sizes), len(learning_rates)), np.nan)
    for index, cell in enumerate(chosen):
        i, j = np.searchsorted(batch_sizes, cell.spec.batch_size), np.searchsorted(learning_rates, cell.spec.learning_rate)
        data[0, i, j], data[1:, i, j] = crossings.data[index, column], crossings.draws[:, index, column]
    threshold = float(crossings.thresholds[column])
    return Selection(task=task, utd=utd, threshold=threshold, batch_sizes=batch_sizes, learning_rates=learning_rates, data=data)


def typical_cell(laws: ScalingLaws, kept: Sequence[Cell]) -> Cell | None:
    """The cell at the middle σ of the first task that reaches the top threshold there, else of the first task; None without cells."""
    utds = sorted({cell.spec.utd for cell in kept})
    middle = [cell for cell in kept if cell.spec.utd == utds[(len(utds) - 1) // 2] and len(cell.env_steps) > 1]
    reaching = [cell for cell in middle if float(cell.returns.mean(axis=0).max()) >= laws.thresholds[-1]]
    return next(iter(reaching or middle), None)


def _nearest(laws: Sequence[DataLaw]) -> DataLaw | None:
    return min(laws, key=lambda law: abs(law.threshold - EXTRAPOLATION_RETURN)) if laws else None
