"""The rooms put together: run a study, fit what is there, plan, validate, report. What the command line calls, and a script may."""

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol

import numpy as np

from tdscale.analysis.data import DataPoints
from tdscale.analysis.fit import fit_laws_and_points, measure_data
from tdscale.analysis.laws import ScalingLaws
from tdscale.analysis.laws_file import FILE_NAME, read_laws, write_laws
from tdscale.analysis.options import FitOptions
from tdscale.errors import UserError
from tdscale.execution.crew import Crew
from tdscale.execution.engine import Engine
from tdscale.execution.jobs import CellJob
from tdscale.execution.pool import Event, StageFailure, run_with
from tdscale.folder import STUDY_FILE as STUDY_FILE
from tdscale.folder import StudyFiles as StudyFiles
from tdscale.folder import open_study as open_study
from tdscale.folder import place_study as place_study
from tdscale.folder import replace_study, sole_runner
from tdscale.ledger import Ledger
from tdscale.planning import Confirmation, Plan, plan_budget, plan_compute, plan_data
from tdscale.runs.cells import load_cells
from tdscale.runs.diagnostics import load_diagnostics
from tdscale.runs.types import RETURN, Cell
from tdscale.stages import (
    FITTED,
    Method,
    RunFailure,
    cells_to_go,
    chosen_hyperparameters,
    constant_hyperparameters,
    fit_options,
    refuse_divergence,
    scaling_hyperparameters,
)
from tdscale.study import RunSpec, expected_stages, is_smoke, with_scale
from tdscale.study.spec import Stage
from tdscale.validation import Validation, validate


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
        RunFailure: if stage 1 gives no B and η to go on with, or all of its runs diverged.
    """
    with sole_runner(files.directory), closing(crew_of(files, engine, display)) as crew:

        def stage(name: Stage, specs: Sequence[RunSpec], later: Sequence[RunSpec]) -> list[str]:
            return run_stage(files, name, specs, cells_to_go(files, specs), engine, crew, display, cells_to_go(files, later))

        after = [spec for specs in expected_stages(files.study).values() for spec in specs]
        failures = stage("sweep", files.study.sweep_specs(), after)
        if is_smoke(files.study):
            files = _with_scale(files)
        refuse_divergence(files)
        if files.study.scaling is not None:
            choose = chosen_hyperparameters(files)
            constant = files.study.baseline_specs(constant_hyperparameters(files.study, choose))
            scaling = files.study.scaling_specs(scaling_hyperparameters(files.study, choose))
            failures += stage("scaling", scaling, constant)
            if constant:
                failures += stage("baseline", constant, [])
    return failures


def crew_of(files: StudyFiles, engine: Engine, display: Display) -> Crew:
    """What trains a study's runs; the caller closes it."""
    crew = engine.crew(files.directory, own=files.trainer is not None, quick=is_smoke(files.study))
    if crew.place:
        display.note(crew.place)
    return crew


def _with_scale(files: StudyFiles) -> StudyFiles:
    curves = files.store.curves(None, (RETURN,), problems=[])
    specs = files.store.specs(problems=[])
    returns: dict[str, list[float]] = {}
    for run_id, curve in curves.items():
        if specs[run_id].stage == "sweep":
            returns.setdefault(specs[run_id].task, []).extend(curve[RETURN].tolist())
    return replace_study(files, with_scale(files.study, returns))


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
    ledger = Ledger(files, stage, specs, jobs, display.note)
    display.stage(stage, jobs, n_cells - len(jobs), later)
    failures: list[str] = []

    def on_event(event: Event) -> None:
        if event.kind == "failed":
            failures.append(f"{event.job.describe()}: {event.message}")
        display.event(event)
        ledger.event(event)

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
        ledger.pack()
    return failures


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
    try:
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
    except OSError as error:
        where = error.filename or files.directory / "report.html"
        raise UserError(f"{where}: the report can't be written ({error.strerror or error}); see to space and permissions") from None


def library_versions() -> dict[str, str]:
    """Of what decides the laws' digits."""
    versions = {name: metadata.version(name) for name in ("tdscale", "numpy", "scipy")}
    return versions | {"python": ".".join(map(str, sys.version_info[:3]))}


def _round(value: float) -> float:
    """To two digits: a limit as a person would give it."""
    return float(f"{value:.1e}")
