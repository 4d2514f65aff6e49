"""The laws of a study seen otherwise: in another unit, at another model size, with σ*(F) for what they then are."""

from dataclasses import replace

import numpy as np

from tdscale.analysis.budget import fit_budget_law
from tdscale.analysis.compute import UNIT_NAMES, ComputeUnit
from tdscale.analysis.fitted_laws import PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.size_family import SizeFamily
from tdscale.errors import UserError
from tdscale.runs.types import RunWarning


def at_size(laws: ScalingLaws, model_size: float, *, with_budgets: bool = True) -> ScalingLaws:
    """The laws of a study with sizes at one N, parameters of the critics: D_J(σ, N), B*(σ, N), η*(σ, N) and C as functions of σ alone.

    Laws without sizes are returned as they are. `with_budgets`: whether σ*(F) is fitted, too.
    """
    family = laws.sizes
    if family is None:
        return laws
    name = family.ran(model_size)
    models = family.models_at(model_size)
    seen = replace(
        laws,
        model_size=model_size,
        data=tuple(law.at_size(model_size) for law in family.data),
        batch_size=law_at(family.batch_size, model_size),
        learning_rate=law_at(family.learning_rate, model_size),
        compute=models.get(laws.unit, {}),
        other_units=models,
        data_cost=None if laws.data_cost_source == "measured" else laws.data_cost,
        used_batch_size={} if name is None else family.used_batch_size[name],
        budget=None,
        warnings=(),
    )
    return with_budget(seen) if with_budgets else seen


def law_at(law: PowerLaw | None, model_size: float) -> PowerLaw | None:
    """B*(σ) or η*(σ) at one N; as it is where it has no part for N."""
    return law if law is None or law.size is None else law.at_size(model_size)


def sized(laws: ScalingLaws, family: SizeFamily) -> ScalingLaws:
    """Laws with a family: at its middle size, where they stand until asked for another."""
    seen = at_size(replace(laws, sizes=family), family.middle)
    return replace(seen, warnings=(*laws.warnings, *seen.warnings))


def in_unit(laws: ScalingLaws, unit: ComputeUnit) -> ScalingLaws:
    """The laws with C, F and δ in another unit. A δ that was given belongs to its unit and is dropped, a measured one goes along.

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
    return with_budget(replace(laws, unit=unit, compute=laws.other_units[unit], data_cost=None, budget=None, warnings=()))


def with_budget(laws: ScalingLaws) -> ScalingLaws:
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
    budget = fit_budget_law(laws.data, laws.compute_for, laws.data_cost, laws.method.budget)
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
