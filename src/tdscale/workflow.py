"""The rooms put together: run a study, fit what is there, plan, validate, report. What the command line calls, and a script may."""

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from tdscale.analysis.data import DataPoints
from tdscale.analysis.fit import fit_hyperparameters, fit_laws_and_points, measure_data
from tdscale.analysis.laws import PowerLaw, ScalingLaws
from tdscale.analysis.laws_file import FILE_NAME, read_laws, write_laws
from tdscale.analysis.options import FitOptions
from tdscale.errors import UserError
from tdscale.execution.crew import Crew
from tdscale.execution.engine import Engine
from tdscale.execution.jobs import CellJob, Target, pending_jobs
from tdscale.execution.pool import Event, StageFailure, run_with
from tdscale.folder import STUDY_FILE as STUDY_FILE
from tdscale.folder import StudyFiles as StudyFiles
from tdscale.folder import open_study as open_study
from tdscale.folder import place_study as place_study
from tdscale.folder import replace_study, sole_runner
from tdscale.planning import Confirmation, Plan, plan_budget, plan_compute, plan_data, round_batch
from tdscale.published import power_law, published_laws
from tdscale.runs.cells import load_cells
from tdscale.runs.diagnostics import load_diagnostics
from tdscale.runs.types import RETURN, Cell, RunWarning
from tdscale.study import RunSpec, Study, is_smoke, with_scale
from tdscale.study.spec import Stage
from tdscale.validation import Validation, validate

Method = Literal["default", "paper"]
FITTED: tuple[Stage, ...] = ("sweep", "scaling", "baseline")  # what runs that check a plan saw changes no law
PAPERS_CONSTANT_UTD = 2.0  # whose B and η the paper keeps constant for its baseline


class RunFailure(Exception):
    """Something that stopped a study, not through a mistake of the user's: one sentence, exit code 1."""


class Display(Protocol):
    """What shows a study's progress."""

    def stage(self, name: str, jobs: Sequence[CellJob], cells_done: int, later: Sequence[CellJob]) -> None:
        """A stage begins with these jobs left; so many of its cells are done already; `later` stands for the stages after it."""

    def event(self, event: Event) -> None:
        """Something happened to a job."""

    def note(self, text: str) -> None:
        """A line to be read."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit had and found. `baseline_cells` are those that `baseline` was measured on."""

    laws: ScalingLaws
    options: FitOptions
    cells: tuple[Cell, ...]
    points: DataPoints
    baseline: DataPoints | None
    baseline_cells: tuple[Cell, ...] = ()


def run_study(files: StudyFiles, *, engine: Engine, display: Display) -> list[str]:
    """Do everything of a study that is not done yet: stage 1, the fit of B*(σ), η*(σ), stage 2 at them, the baseline where it is asked for.

    A smoke run's study is replaced after stage 1 by one whose thresholds can be reached.

    Returns:
        A sentence for each cell that failed.

    Raises:
        RunFailure: if stage 1 gives no B and η to go on with.
    """
    with sole_runner(files.directory), closing(crew_of(files, engine)) as crew:

        def stage(name: Stage, specs: Sequence[RunSpec], later: Sequence[RunSpec]) -> list[str]:
            return run_stage(files, name, specs, cells_to_go(files, specs), engine, crew, display, cells_to_go(files, later))

        failures = stage("sweep", files.study.sweep_specs(), expected_scaling(files.study))
        if is_smoke(files.study):
            files = _with_scale(files)
        if files.study.scaling is not None:
            choose = chosen_hyperparameters(files)
            constant = files.study.baseline_specs(constant_hyperparameters(files.study, choose))
            scaling = files.study.scaling_specs(scaling_hyperparameters(files.study, choose))
            failures += stage("scaling", scaling, constant)
            if constant:
                failures += stage("baseline", constant, [])
    return failures


def crew_of(files: StudyFiles, engine: Engine) -> Crew:
    """What trains a study's runs; the caller closes it."""
    return engine.crew(files.directory, own=files.trainer is not None, quick=is_smoke(files.study))


def _with_scale(files: StudyFiles) -> StudyFiles:
    curves = files.store.curves(None, (RETURN,), problems=[])
    specs = files.store.specs(problems=[])
    returns: dict[str, list[float]] = {}
    for run_id, curve in curves.items():
        if specs[run_id].stage == "sweep":
            returns.setdefault(specs[run_id].task, []).extend(curve[RETURN].tolist())
    return replace_study(files, with_scale(files.study, returns))


def expected_scaling(study: Study) -> list[RunSpec]:
    """Stage 2 as far as it can be told before stage 1: with the middle of the sweep's B and η."""
    if study.scaling is None or study.sweep is None:
        return []
    batch_sizes, learning_rates = sorted(study.sweep.batch_size), sorted(study.sweep.learning_rate)
    middle = (batch_sizes[len(batch_sizes) // 2], learning_rates[len(learning_rates) // 2])
    return study.scaling_specs({(task, utd): middle for task in study.tasks for utd in study.scaling.utd})


def expected_baseline(study: Study) -> list[RunSpec]:
    """The baseline, like `expected_scaling`."""
    middle = {spec.task: (spec.batch_size, spec.learning_rate) for spec in expected_scaling(study)}
    return study.baseline_specs(middle) if middle else []


def wanted_specs(files: StudyFiles) -> dict[Stage, list[RunSpec]]:
    """The runs a study asks for, stage by stage, as far as they are known: stage 2's B and η need stage 1."""
    wanted: dict[Stage, list[RunSpec]] = {"sweep": files.study.sweep_specs()}
    if files.study.scaling is not None and not cells_to_go(files, wanted["sweep"]):
        try:
            choose = chosen_hyperparameters(files)
            wanted["scaling"] = files.study.scaling_specs(scaling_hyperparameters(files.study, choose))
            if constant := files.study.baseline_specs(constant_hyperparameters(files.study, choose)):
                wanted["baseline"] = constant
        except RunFailure:
            pass
    return wanted


Choose = Callable[[str, float], tuple[int, float]]


def chosen_hyperparameters(files: StudyFiles) -> Choose:
    """B (rounded) and η (three digits) for (task, σ), by the laws that stage 1's runs give.

    Raises:
        RunFailure: if they give none; here, or when called with a task and σ of which they say nothing.
    """
    study = files.study
    assert study.scaling is not None
    assert study.sweep is not None
    sweep, multiple = study.sweep, study.scaling.batch_multiple
    stages: tuple[Stage, ...] = ("sweep",)
    cells, _ = load_cells(files.store, study, stages=stages)
    if not cells:
        raise RunFailure("stage 1 left no run to choose B and η by; `tdscale status` lists what failed")
    options = fit_options(study, "default")
    batch_law, rate_law, warnings = fit_hyperparameters(cells, options)

    def choose(task: str, utd: float) -> tuple[int, float]:
        room = min(study.env_step_limit(task), study.full_settings.get("replay_capacity", math.inf))
        largest = max(room // multiple, 1) * multiple
        batch = _value(batch_law, sweep.batch_size, utd, task, warnings)
        rate = _value(rate_law, sweep.learning_rate, utd, task, warnings)
        return min(round_batch(batch, multiple), largest), min(float(f"{rate:.3g}"), 0.5)

    return choose


def scaling_hyperparameters(study: Study, choose: Choose) -> dict[tuple[str, float], tuple[int, float]]:
    """(B, η) of stage 2, for each (task, σ)."""
    assert study.scaling is not None
    return {(task, utd): choose(task, utd) for task in study.tasks for utd in study.scaling.utd}


def constant_hyperparameters(study: Study, choose: Choose) -> dict[str, tuple[int, float]]:
    """(B, η) of the baseline, for each task: those of one σ (METHOD.md section 5)."""
    assert study.sweep is not None
    if study.baseline is None:
        return {}
    utd = study.baseline.utd or min(study.sweep.utd, key=lambda swept: abs(math.log(swept / PAPERS_CONSTANT_UTD)))
    return {task: choose(task, utd) for task in study.tasks}


def _cautious(law: PowerLaw, utd: float, task: str) -> float:
    """By the flattest law that agrees with the sweep: an uncertain slope must not decide what is run far from the swept σ.

    The exponent is the one nearest to 0 in its interval; the law turns about the middle of the swept σ.
    """
    interval = law.exponent_estimate
    exponent = float(np.clip(0.0, interval.low, interval.high))
    middle = float(np.exp(np.log(law.utd).mean()))
    return float(law.predict([middle], task)[0] * (utd / middle) ** exponent)


def _value(law: PowerLaw | None, grid: Sequence[float], utd: float, task: str, warnings: Sequence[RunWarning]) -> float:
    if law is not None:
        value = _cautious(law, utd, task)
        if np.isfinite(value):
            # nor must it lead far from what was tried: one step of the grid beyond its ends
            values = sorted(grid)
            return min(max(value, values[0] ** 2 / values[1]), values[-1] ** 2 / values[-2])
    elif len(grid) == 1:
        return float(grid[0])
    reason = next((w.message for w in warnings if w.code in ("not-identified", "no-best-value")), "the sweep gives no best value")
    raise RunFailure(f"B and η of stage 2 can't be chosen for {task}: {reason}; raise limits.env_steps or lower return_thresholds")


def run_stage(
    files: StudyFiles,
    stage: Stage,
    specs: Sequence[RunSpec],
    jobs: Sequence[CellJob],
    engine: Engine,
    crew: Crew,
    display: Display,
    later: Sequence[CellJob],
) -> list[str]:
    """Train a stage's jobs.

    Args:
        files: the study, whose folder the caller holds.
        stage: its name.
        specs: every run of it.
        jobs: what is left of them.
        engine: of `crew`.
        crew: what trains.
        display: shows how far it is.
        later: stands for the stages after it.

    Returns:
        A sentence for each cell that failed.

    Raises:
        RunFailure: if nothing works.
    """
    n_cells = len({spec.cell_id for spec in specs})
    display.stage(stage, jobs, n_cells - len(jobs), later)
    failures: list[str] = []

    def on_event(event: Event) -> None:
        if event.kind == "failed":
            failures.append(f"{event.job.describe()}: {event.message}")
        display.event(event)

    if files.study.checkpoints is None or not files.study.checkpoints.keep:
        left = {spec.run_id for job in jobs for spec in job.specs}
        # of runs that are done: whoever stored them was killed before it could remove these
        files.store.discard_checkpoints(spec.run_id for spec in specs if spec.run_id not in left)
    if jobs:
        try:
            run_with(
                crew,
                jobs,
                files.directory,
                on_event=on_event,
                runs_together=engine.runs_together if engine.gpu else 1,
                checkpoints=files.study.checkpoints,
                trainer=files.trainer,
                retries=engine.retries,
            )
        except StageFailure as failure:
            raise RunFailure(f"{failure}; logs in {files.directory / 'logs'}") from None
    return failures


def cells_to_go(files: StudyFiles, specs: Sequence[RunSpec]) -> list[CellJob]:
    """What is to be trained so that all of these runs are there."""
    study = files.study
    assert study.limits is not None
    limits = {task: study.env_step_limit(task) for task in study.tasks}
    top = study.return_thresholds[-1]
    targets = {task: Target(return_threshold=study.raw_return(task, top), margin=study.limits.margin) for task in study.tasks}
    return pending_jobs(specs, files.store.statuses(problems=[]), limits, targets)


def fit_options(study: Study, method: Method, *, n_draws: int = 200, seed: int = 0) -> FitOptions:
    """What a study's file says of the fit. Raises UserError if it names published laws that there are not, or not for its tasks."""
    published = None
    if study.published_laws is not None:
        try:
            laws, tasks = published_laws(study.published_laws), tuple(study.tasks)
            published = (power_law(laws, "batch_size", tasks, n_draws), power_law(laws, "learning_rate", tasks, n_draws))
        except UserError as error:
            raise UserError(f"{STUDY_FILE}, published_laws: {error}") from None
    return FitOptions(
        study=study.name,
        tasks=tuple(study.tasks),
        thresholds=study.return_thresholds,
        method=method,
        data_cost=study.data_cost,
        accounting=study.accounting,
        compute_unit=study.compute_unit,
        model_size=study.model_size,
        published=published,
        n_draws=n_draws,
        seed=seed,
    )


def fit_study(files: StudyFiles, method: Method = "default", *, n_draws: int = 200, write: bool = True) -> Fitted:
    """Fit the laws to all runs there and write laws.json. Raises UserError where there is nothing to fit."""
    cells, warnings = load_cells(files.store, files.study, stages=FITTED)
    if not cells:
        what = "; ".join(w.message for w in warnings[:3]) or "there are no runs"
        raise UserError(f"{files.directory}: nothing to fit: {what}")
    options = fit_options(files.study, method, n_draws=n_draws)
    laws, points = fit_laws_and_points(cells, options, inputs=files.store.fingerprint(), versions=library_versions(), found=warnings)
    apart = [cell for cell in cells if cell.spec.stage == "baseline"]
    has_scaling = any(cell.spec.stage == "scaling" for cell in cells)
    baseline_cells, baseline, _ = measure_data(apart, options) if apart and has_scaling else ([], None, [])
    if write:
        write_laws(laws, files.directory / FILE_NAME)
    return Fitted(
        laws=laws,
        options=options,
        cells=tuple(cells),
        points=points,
        baseline=baseline,
        baseline_cells=tuple(baseline_cells),
    )


def current_laws(files: StudyFiles, *, times: bool = False) -> ScalingLaws:
    """The laws on disk if they are of these runs, else newly fitted ones by the same method.

    Args:
        files: the study.
        times: whether measured seconds are needed; laws.json holds them only where the study asks for them.
    """
    path = files.directory / FILE_NAME
    if not path.exists():
        return fit_study(files).laws
    laws = read_laws(path)
    if laws.inputs != files.store.fingerprint() or laws.asked != fit_options(files.study, laws.method).asked:
        return fit_study(files, laws.method).laws
    if times and not laws.asks_for_times:
        return fit_study(files, laws.method, write=False).laws
    return laws


def last_method(files: StudyFiles) -> Method:
    """The method of the last fit; "default" before the first. Raises UserError where laws.json is damaged."""
    path = files.directory / FILE_NAME
    return read_laws(path).method if path.exists() else "default"


def validate_study(fitted: Fitted) -> Validation:
    """Predictions against runs the fit did not see."""
    return validate(fitted.points, fitted.options, fitted.laws, fitted.baseline, baseline_cells=fitted.baseline_cells)


def example_plans(laws: ScalingLaws) -> list[Plan]:
    """One plan of each kind with limits within what the study saw, for the report and the demo."""
    if not laws.data or not laws.knows_compute:
        return []
    law = laws.data[-1]
    seen = law.utd[np.isfinite(law.data).any(axis=0)]
    middle = float(np.exp(np.mean(np.log([seen.min(), seen.max()]))))
    data = float(law.predict([2 * middle])[0])
    # half as much again, since C may be least just there
    compute = 1.5 * float(laws.flops(np.array([middle]), law.predict([middle]))[0])
    plans = [plan_data(laws, _round(data))]
    if compute > 0:  # it is 0 where warm-up alone reaches the threshold
        plans.append(plan_compute(laws, _round(compute)))
    if laws.budget is not None and len(laws.budget.points) > 1:
        below, top = (point.budget.value for point in laws.budget.points[-2:])
        plans.append(plan_budget(laws, _round(float(np.sqrt(below * top)))))
    return plans


def report_study(files: StudyFiles, fitted: Fitted, confirmations: Sequence[Confirmation] = ()) -> Path:
    """Write report.html, figures and tables, with the plans that were run; the page's path."""
    from tdscale.report import write_report

    study = files.study
    summary = {
        "algorithm": study.algorithm,
        "tasks": ", ".join(study.tasks),
        "cells": str(len(fitted.cells)),
        "runs": str(sum(len(cell.seeds) for cell in fitted.cells)),
        "env steps": f"{sum(len(cell.seeds) * cell.last_step for cell in fitted.cells):,}",
    }
    if study.origin:
        summary["origin"] = study.origin
    return write_report(
        files.directory,
        fitted.laws,
        fitted.cells,
        plans=example_plans(fitted.laws),
        validation=validate_study(fitted),
        study_summary=summary,
        diagnostics=load_diagnostics(files.store, study, problems=[]),
        confirmations=confirmations,
    )


def library_versions() -> dict[str, str]:
    """Of what decides the laws' digits."""
    versions = {name: metadata.version(name) for name in ("tdscale", "numpy", "scipy")}
    return versions | {"python": ".".join(map(str, sys.version_info[:3]))}


def _round(value: float) -> float:
    """To two digits: a limit as a person would give it."""
    return float(f"{value:.1e}")
