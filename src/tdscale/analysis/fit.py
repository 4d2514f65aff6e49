"""The whole chain, cells to laws: crossings, B*(σ) and η*(σ), D_J(σ), C_J(σ), σ*(F) (METHOD.md section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tdscale.analysis.budget import fit_budget_law
from tdscale.analysis.compute import UNIT_NAMES, ComputeUnit
from tdscale.analysis.compute_models import compute_models
from tdscale.analysis.crossings import Crossings, find_crossings
from tdscale.analysis.data import DataPoints, collect_points, fit_data_laws
from tdscale.analysis.hyperparameters import fit_sweep_laws, used_values_law
from tdscale.analysis.laws import PowerLaw, ScalingLaws
from tdscale.analysis.options import FitOptions
from tdscale.analysis.power_law import Quantity
from tdscale.errors import UserError
from tdscale.runs.types import Cell, RunWarning


def fit_laws(
    cells: Sequence[Cell],
    options: FitOptions,
    *,
    inputs: str = "",
    versions: Mapping[str, str] | None = None,
    found: Sequence[RunWarning] = (),
) -> ScalingLaws:
    """Fit every law that the cells support; what they don't support is None or absent, and a warning says why.

    Args:
        cells: of the stages "sweep" (chooses B and η) and "scaling" (measures D_J at them); either may be absent.
        options: what is asked for.
        inputs: fingerprint of the curves, kept in the result.
        versions: of the libraries, kept in the result.
        found: warnings of earlier steps, put before this one's.

    Raises:
        ValueError: if there is no cell at all.
    """
    return fit_laws_and_points(cells, options, inputs=inputs, versions=versions, found=found)[0]


def fit_laws_and_points(
    cells: Sequence[Cell],
    options: FitOptions,
    *,
    inputs: str = "",
    versions: Mapping[str, str] | None = None,
    found: Sequence[RunWarning] = (),
) -> tuple[ScalingLaws, DataPoints]:
    """As `fit_laws`, and the D_J that the data laws were fitted to."""
    if not cells:
        raise ValueError("there is no cell to fit")
    # equal D are told apart by their order, so that it must not be the caller's
    cells = sorted(cells, key=lambda c: (c.spec.task, c.spec.utd, c.spec.batch_size, c.spec.learning_rate, c.spec.cell_id))
    warnings = list(found)
    sweep = [cell for cell in cells if cell.spec.stage == "sweep"]
    sweep_crossings = _crossings(sweep, options) if sweep else None
    batch_size, learning_rate, remarks = fit_hyperparameters(cells, options, sweep_crossings)
    warnings += remarks
    measured, points, remarks = measure_data(cells, options, batch_size, learning_rate, sweep_crossings)
    warnings += remarks
    batch_size = _with_used_values(batch_size, measured, "batch_size", options)
    learning_rate = _with_used_values(learning_rate, measured, "learning_rate", options)
    data, remarks = fit_data_laws(points, options)
    warnings += remarks
    models, remarks = compute_models(cells, measured, options)
    warnings += remarks
    laws = ScalingLaws(
        study=options.study,
        method=options.method,
        tasks=options.tasks,
        thresholds=options.thresholds,
        batch_size=batch_size,
        learning_rate=learning_rate,
        data=tuple(data),
        budget=None,
        compute=models.get(options.compute_unit, {}),
        data_cost=None if options.data_cost == "measured" else options.data_cost,
        data_cost_source="measured" if options.data_cost == "measured" else "given",
        unit=options.compute_unit,
        other_units=models,
        used_batch_size=_used_batch_sizes(measured, options.tasks),
        asked=options.asked,
        inputs=inputs,
        warnings=tuple(warnings),
        versions=dict(versions or {}),
    )
    return _with_budget(laws), points


def fit_hyperparameters(
    cells: Sequence[Cell], options: FitOptions, crossings: Crossings | None = None
) -> tuple[PowerLaw | None, PowerLaw | None, list[RunWarning]]:
    """B*(σ) and η*(σ) from the cells of the stage "sweep", and their crossings if known; both None where there are none."""
    sweep = [cell for cell in cells if cell.spec.stage == "sweep"]
    # runs at constant B and η, a baseline alone, do not follow the published laws
    if not sweep and options.paper and options.published is not None and any(cell.spec.stage == "scaling" for cell in cells):
        message = "there is no sweep over B and η: B*(σ), η*(σ) are the published laws that the study names, known without intervals"
        return *options.published, [RunWarning("published-laws", message, "sweep")]
    if not sweep:
        message = "there is no sweep over B and η: the laws B*(σ), η*(σ) shown are those the runs used, not the best ones"
        return None, None, [RunWarning("no-sweep", message, "sweep")]
    return fit_sweep_laws(sweep, crossings or _crossings(sweep, options), options)


def measure_data(
    cells: Sequence[Cell],
    options: FitOptions,
    batch_size: PowerLaw | None = None,
    learning_rate: PowerLaw | None = None,
    sweep_crossings: Crossings | None = None,
) -> tuple[list[Cell], DataPoints, list[RunWarning]]:
    """The cells that measure D_J(σ), one for each (task, σ), and their crossings.

    Stage "scaling" where there is one: fresh seeds at the fitted B and η. Else the baseline's runs, else the sweep's best
    cells, whose D is flattered by the choice.
    """
    for stage in ("scaling", "baseline"):
        chosen = [cell for cell in cells if cell.spec.stage == stage]
        if chosen:
            kept, remarks = _one_per_place(chosen, batch_size, learning_rate)
            return kept, collect_points(kept, _crossings(kept, options), options.tasks), remarks
    sweep = [cell for cell in cells if cell.spec.stage == "sweep"]
    crossings = sweep_crossings or _crossings(sweep, options)
    best = _best_cells(sweep, crossings)
    message = (
        "D_J is taken from the sweep's own best cells: the seeds that chose them flatter it (by"
        " 0.1 to 0.2 in log D with 3 to 5 seeds); fresh seeds would not"
    )
    warning = RunWarning("no-fresh-seeds", message, "scaling")
    kept = [sweep[i] for i in best]
    reduced = replace(
        crossings, **{name: getattr(crossings, name)[best] for name in ("data", "lower", "upper", "bound")}, draws=crossings.draws[:, best]
    )
    return kept, collect_points(kept, reduced, options.tasks), [warning]


def _with_used_values(law: PowerLaw | None, cells: Sequence[Cell], quantity: Quantity, options: FitOptions) -> PowerLaw | None:
    """Without a sweep the law through the values that the runs used, or the published law with those values as its points."""
    if law is not None and law.source == "sweep":
        return law
    used = used_values_law(cells, quantity, options)
    if law is None or used is None:
        return law or used
    return replace(law, utd=used.utd, points=used.points, points_low=used.points_low, points_high=used.points_high)


def _crossings(cells: Sequence[Cell], options: FitOptions) -> Crossings:
    return find_crossings(cells, options.thresholds, n_draws=options.n_draws, seed=options.seed, paper=options.paper)


def _best_cells(cells: Sequence[Cell], crossings: Crossings) -> list[int]:
    """Index of the cell with the least D at the highest threshold reached, for each (task, σ)."""
    places: dict[tuple[str, float], list[int]] = {}
    for index, cell in enumerate(cells):
        places.setdefault((cell.spec.task, cell.spec.utd), []).append(index)
    best = []
    for members in places.values():
        data = crossings.data[members]
        reached = np.isfinite(data).any(axis=0)
        column = int(np.flatnonzero(reached)[-1]) if reached.any() else 0
        best.append(members[int(np.argmin(data[:, column]))])
    return sorted(best)


def _one_per_place(
    cells: Sequence[Cell], batch_size: PowerLaw | None, learning_rate: PowerLaw | None
) -> tuple[list[Cell], list[RunWarning]]:
    """Where several cells stand at one (task, σ), as after a refitted sweep, the one nearest the present laws."""
    places: dict[tuple[str, float], list[Cell]] = {}
    for cell in cells:
        places.setdefault((cell.spec.task, cell.spec.utd), []).append(cell)

    def distance(cell: Cell) -> float:
        total = 0.0
        for law, value in ((batch_size, cell.spec.batch_size), (learning_rate, cell.spec.learning_rate)):
            if law is not None:
                total += abs(float(np.log(value / law.predict([cell.spec.utd], cell.spec.task)[0])))
        return total

    kept, spare = [], 0
    for members in places.values():
        spare += len(members) - 1
        kept.append(min(members, key=distance) if len(members) > 1 else members[0])
    if not spare:
        return kept, []
    message = f"{spare} cells of stage 2 stand at a (task, σ) that has another one nearer the fitted B and η; they are left out"
    return kept, [RunWarning("spare-cells", message, "scaling")]


def _used_batch_sizes(cells: Sequence[Cell], tasks: Sequence[str]) -> dict[str, tuple[tuple[float, float], ...]]:
    """By task, (σ, B) of the cells that measure D_J."""
    return {task: tuple(sorted((c.spec.utd, float(c.spec.batch_size)) for c in cells if c.spec.task == task)) for task in tasks}


def in_unit(laws: ScalingLaws, unit: ComputeUnit) -> ScalingLaws:
    """The laws with C, F and δ told in another unit. A δ that was given belongs to its unit and is dropped, a measured one goes along.

    Raises:
        UserError: if compute isn't known in that unit.
    """
    if unit == laws.unit:
        return laws
    if unit not in laws.other_units:
        known = " or ".join(f"--unit {name}" for name in laws.other_units)
        missing = {
            "seconds": "the runs recorded no times (imported curves have none)",
            "flops": "the networks' sizes are not known (model_size in study.toml)",
        }[unit]
        raise UserError(f"--unit {unit}: compute can't be told in {UNIT_NAMES[unit]}, since {missing}; there is {known}")
    return _with_budget(replace(laws, unit=unit, compute=laws.other_units[unit], data_cost=None, budget=None, warnings=()))


def _with_budget(laws: ScalingLaws) -> ScalingLaws:
    """The laws with δ, where it is measured, and with σ*(F), where δ and the compute are known."""
    if laws.data_cost_source == "measured" and laws.data_cost is None and laws.compute:
        laws = replace(laws, data_cost=measured_data_cost(laws))
    if not laws.data or not laws.knows_compute:
        return laws
    if laws.data_cost is None:
        message = "data_cost (δ) is not given, so there is no budget law; add data_cost = … to study.toml"
        if laws.data_cost_source == "measured":
            message = 'data_cost = "measured", but the runs recorded no times (imported curves have none), so there is no budget law'
        return replace(laws, warnings=(*laws.warnings, RunWarning("no-data-cost", message, "data_cost")))
    budget = fit_budget_law(laws.data, laws.flops, laws.data_cost, paper=laws.method == "paper")
    warnings = list(laws.warnings)
    edge = [point.threshold for point in budget.points if point.at_edge]
    if edge:
        message = (
            f"at J = {', '.join(f'{j:.4g}' for j in edge)} the cheapest σ lies at an end of the σ that"
            " were run; the true optimum may lie beyond"
        )
        warnings.append(RunWarning("budget-at-edge", message, "budget"))
    if not budget.fitted:
        message = "σ*(F) is not fitted: fewer than two thresholds have their cheapest σ inside the σ that were run"
        warnings.append(RunWarning("not-identified", message, "budget"))
    return replace(laws, budget=budget, warnings=tuple(warnings))


def measured_data_cost(laws: ScalingLaws, task: str | None = None) -> float | None:
    """δ as the runs measured it, in the laws' unit per env step: a task's, or the mean over tasks. None where no time was recorded."""
    names = [task] if task is not None else list(laws.tasks)
    costs = [laws.compute[name].measured_data_cost for name in names if name in laws.compute]
    known = [cost for cost in costs if cost is not None]
    return float(np.mean(known)) if known and len(known) == len(names) else None
