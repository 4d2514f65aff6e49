"""What the command line calls, and a script may: run a study, then validate and report what was fitted (`running.fitting`).

A run goes from here through `stages` (what a stage runs), `dispatch` (jobs handed out), `pool` (where) and `worker` (a process
that trains).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tdscale.analysis.fit import Fitted
from tdscale.analysis.fitted_laws import BudgetLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.views import at_size
from tdscale.errors import UserError
from tdscale.planning import Confirmation, Plan, plan_budget, plan_compute, plan_data, plan_sizes
from tdscale.running.adaptive import adaptive_sweep, next_of_scaling, next_of_sweep
from tdscale.running.choosing import choose_by_size, refuse_divergence
from tdscale.running.dispatch import Engine
from tdscale.running.fitting import StudyFit
from tdscale.running.folder import StudyFiles, replace_study
from tdscale.running.model_sizes import model_sizes
from tdscale.running.plans import fitted_ratios, in_raw_units, with_constant
from tdscale.running.rounds import run_rounds, step_prices
from tdscale.running.stages import Display, later_specs_by_size, stage_runner
from tdscale.runs.cells import load_diagnostics
from tdscale.runs.types import RETURN
from tdscale.study import Study, is_smoke, with_scale
from tdscale.validation import Validation, validate


def run_study(files: StudyFiles, *, engine: Engine, display: Display, rechoose: bool = False) -> list[str]:
    """Do everything of a study that is not done yet: stage 1, the fit of B*(σ), η*(σ), stage 2 at them, the baseline where it is asked for.

    Each stage is run for all of the study's sizes before the next one.

    A smoke run's study is replaced after stage 1 by one whose thresholds can be reached. The B and η of stage 2 are chosen once,
    when stage 2 begins, and stored in choice.json.

    Args:
        files: an open study that can be trained.
        engine: what trains.
        display: shows how far it is.
        rechoose: choose the B and η of stage 2 again, by today's sweep.

    Returns:
        A sentence for each cell that failed.

    Raises:
        RunFailure: if stage 1 gives no B and η for stage 2, or all of its runs diverged.
    """
    with stage_runner(files, engine, display) as runner:
        later = [spec for specs in files.study.expected_stages().values() for spec in specs]
        if files.study.in_rounds("sweep"):
            prices = step_prices(files, engine, display.note)
            next_round = partial(next_of_sweep, prices=prices, sizes=model_sizes(files))
            failures = run_rounds(runner, "sweep", next_round, later=later)
        else:
            failures = runner.run("sweep", files.study.sweep_specs(), later=later)
        if is_smoke(files.study):
            files = _with_scale(files)
            runner = replace(runner, files=files)
        if files.study.scaling is None:
            refuse_divergence(files)
            return failures
        chosen = choose_by_size(files, again=rechoose, store=True)
        for name, one in chosen.items():
            for note in one.notes:
                display.note(f"size {name}: {note}" if name else note)
        choices = {name: one.choices for name, one in chosen.items()}
        wanted = later_specs_by_size(files.study, choices)
        constant = wanted.get("baseline", [])
        if files.study.in_rounds("scaling"):
            failures += run_rounds(runner, "scaling", partial(next_of_scaling, choices=choices), later=constant)
        else:
            failures += runner.run("scaling", wanted["scaling"], later=constant)
        if constant:
            failures += runner.run("baseline", constant)
    return failures


def _with_scale(files: StudyFiles) -> StudyFiles:
    curves = files.store.curves(None, (RETURN,), problems=[])
    specs = files.store.specs(problems=[])
    returns: dict[str, list[float]] = {}
    for run_id, curve in curves.items():
        if specs[run_id].stage == "sweep":
            returns.setdefault(specs[run_id].task, []).extend(curve[RETURN].tolist())
    return replace_study(files, with_scale(files.study, returns))


def validate_study(fitted: Fitted) -> Validation:
    """Predictions against runs the fit did not see."""
    measured = fitted.measured
    return validate(measured.points, measured.options, fitted.laws, measured.baseline, baseline_cells=measured.baseline_cells)


def example_plans(fitted: StudyFit, study: Study) -> list[Plan]:
    """One plan of each kind with limits within what the study saw, for the report and the demo; over all sizes of a study with some."""
    ratios = fitted_ratios(fitted)
    return [with_constant(in_raw_units(plan, study), ratios) for plan in _examples(fitted.laws)]


def _examples(laws: ScalingLaws) -> list[Plan]:
    if not laws.data or not laws.knows_compute:
        return []
    law = laws.data[-1]
    middle = float(np.exp(np.mean(np.log(law.range))))
    data = float(law.predict([2 * middle])[0])
    # half as much again, since C may be least just there
    compute = 1.5 * float(laws.compute_for(np.array([middle]), law.predict([middle]))[0])
    plans = [plan_sizes(laws, partial(plan_data, data=_round(data)))]
    if compute > 0:  # it is 0 where warm-up alone reaches the threshold
        plans.append(plan_sizes(laws, partial(plan_compute, compute=_round(compute))))
    spending = min(
        (found.budget for found in _by_size(laws) if found.budget and len(found.budget.points) > 1), key=_top_budget, default=None
    )
    if spending is not None:
        below, top = (point.budget.value for point in spending.points[-2:])
        plans.append(plan_sizes(laws, partial(plan_budget, budget=_round(float(np.sqrt(below * top))))))
    return plans


def _by_size(laws: ScalingLaws) -> list[ScalingLaws]:
    """The laws at each size that was run; without sizes as they are."""
    return [laws] if laws.sizes is None else [at_size(laws, size) for size in laws.sizes.sizes.model_size]


def _top_budget(law: BudgetLaw) -> float:
    return law.points[-1].budget.value


def report_study(files: StudyFiles, fitted: StudyFit, confirmations: Sequence[Confirmation] = ()) -> Path:
    """Write report.html, figures and tables, with the plans that were run; the page's path."""
    from tdscale.report import write_report

    study = files.study
    summary = {
        "algorithm": study.algorithm,
        "tasks": ", ".join(study.tasks),
        "cells": str(len(fitted.measured.cells)),
        "runs": str(sum(len(cell.seeds) for cell in fitted.measured.cells)),
        "env steps": f"{sum(len(cell.seeds) * cell.last_step for cell in fitted.measured.cells):,}",
    }
    if study.sizes:
        summary["sizes"] = ", ".join(study.sizes)
    if fitted.laws.where:
        summary["runs with"] = ", ".join(fitted.laws.where)
    if study.origin:
        summary["origin"] = study.origin
    try:
        return write_report(
            files.directory,
            fitted.laws,
            fitted.measured,
            plans=example_plans(fitted, study),
            validation=validate_study(fitted),
            study_summary=summary,
            diagnostics=load_diagnostics(files.store, study, selection=fitted.selection, problems=[]),
            confirmations=confirmations,
            # its figure shows one size
            adaptive=None if files.study.sizes else adaptive_sweep(files),
            scales={task: (study.raw_return(task, 0.0), study.raw_return(task, 1000.0)) for task in study.tasks},
        )
    except OSError as error:
        where = error.filename or files.directory / "report.html"
        raise UserError(f"{where}: the report can't be written ({error.strerror or error}); check disk space and permissions") from None


def _round(value: float) -> float:
    """To two digits: a limit as a person would give it."""
    return float(f"{value:.1e}")
