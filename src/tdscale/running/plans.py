"""What a study knows that its laws do not, added to a plan: returns in a task's own units, and how constant B and η did."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tdscale.analysis.estimate import short
from tdscale.analysis.fit import Fitted
from tdscale.planning import Plan
from tdscale.planning.plan import name_of_ratio
from tdscale.running.fitting import fitted_study
from tdscale.running.folder import StudyFiles
from tdscale.study import Study
from tdscale.validation.baseline import BaselineRatio, compare_baseline

_NEAR = float(np.log(1.5))  # how far from the plan's σ runs at constant B and η may be to say anything of it, in log σ


def in_raw_units(plan: Plan, study: Study) -> Plan:
    """The plan with its return in the task's own units, where it is about one task and they are not the normalised ones."""
    task = plan.task if plan.task is not None else next(iter(study.tasks)) if len(study.tasks) == 1 else None
    if task is None or plan.threshold is None:
        return plan
    raw = study.raw_return(task, plan.threshold)
    return plan if np.isclose(raw, plan.threshold) else replace(plan, raw_threshold=raw)


def constant_ratios(files: StudyFiles) -> Sequence[BaselineRatio]:
    """D and C of constant B and η over those of the fitted ones, as `tdscale validate` has them; none where no such runs are there."""
    stages = {spec.stage for spec in files.store.specs(problems=[]).values()}
    if not {"baseline", "scaling"} <= stages:
        return ()
    return fitted_ratios(fitted_study(files))


def fitted_ratios(fitted: Fitted) -> Sequence[BaselineRatio]:
    """The same of a fit. With sizes there are none: plans are of one size, runs at constant values of another."""
    measured = fitted.measured
    if measured.baseline is None or fitted.laws.sizes is not None:
        return ()
    return compare_baseline(measured.points, measured.baseline, measured.baseline_cells, fitted.laws)


def with_constant(plan: Plan, ratios: Sequence[BaselineRatio]) -> Plan:
    """The plan with a note where constant B and η needed less of what was to be least, at the σ nearest to the plan's.

    Args:
        plan: feasible or not.
        ratios: of a study with runs at constant B and η, as `tdscale validate` shows them.
    """
    if plan.utd is None or not ratios:
        return plan
    distances = [abs(float(np.log(ratio.utd / plan.utd))) for ratio in ratios]
    near = ratios[int(np.argmin(distances))]
    pairs = (("compute", near.compute), ("data", near.data))
    found = [(name, ratio) for name, ratio in pairs if ratio is not None and ratio.high < 1]
    if not found or min(distances) > _NEAR:
        return plan
    less = " and ".join(f"{1 - r.value:.0%} less {name} (ratio {short(r.value)}, {short(r.low)} to {short(r.high)})" for name, r in found)
    note = f"at UTD {name_of_ratio(near.utd)} the runs with constant B and η (stage baseline) needed {less} than those with the fitted ones"
    return replace(plan, notes=(*plan.notes, note))
