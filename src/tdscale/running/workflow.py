"""The rooms put together: run a study, fit what is there, plan, validate, report. What the command line calls, and a script may."""

import sys
from collections.abc import Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Protocol

import numpy as np

from tdscale.analysis.fit import FitOptions, Measured, fit_measured, measure, with_times
from tdscale.analysis.fit import Fitted as Fitted
from tdscale.analysis.laws_file import FILE_NAME, load_laws, write_laws
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.errors import UserError
from tdscale.paper import METHODS
from tdscale.planning import Confirmation, Plan, plan_budget, plan_compute, plan_data
from tdscale.running.dispatch import Event, StageFailure, run_with
from tdscale.running.engine import Engine
from tdscale.running.folder import STUDY_FILE as STUDY_FILE
from tdscale.running.folder import StudyFiles as StudyFiles
from tdscale.running.folder import open_study as open_study
from tdscale.running.folder import place_study as place_study
from tdscale.running.folder import replace_study, sole_runner
from tdscale.running.ledger import Ledger
from tdscale.running.pool import Pool
from tdscale.running.stages import (
    FITTED,
    RunFailure,
    cells_to_go,
    choose,
    fit_options,
    later_specs,
    refuse_divergence,
)
from tdscale.runs.cells import load_cells
from tdscale.runs.diagnostics import load_diagnostics
from tdscale.runs.selection import select_runs
from tdscale.runs.types import RETURN, RunWarning
from tdscale.runs.where import Where, parse_where
from tdscale.study import CellJob, RunSpec, expected_stages, is_smoke, with_scale
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


def run_study(files: StudyFiles, *, engine: Engine, display: Display, rechoose: bool = False) -> list[str]:
    """Do everything of a study that is not done yet: stage 1, the fit of B*(σ), η*(σ), stage 2 at them, the baseline where it is asked for.

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
        RunFailure: if stage 1 gives no B and η to go on with, or all of its runs diverged.
    """
    with sole_runner(files.directory), closing(pool_of(files, engine, display)) as pool:

        def stage(name: Stage, specs: Sequence[RunSpec], later: Sequence[RunSpec]) -> list[str]:
            return run_stage(files, name, specs, cells_to_go(files, specs), engine, pool, display, cells_to_go(files, later))

        after = [spec for specs in expected_stages(files.study).values() for spec in specs]
        failures = stage("sweep", files.study.sweep_specs(), after)
        if is_smoke(files.study):
            files = _with_scale(files)
        if files.study.scaling is None:
            refuse_divergence(files)
        else:
            chosen = choose(files, again=rechoose, store=True)
            for note in chosen.notes:
                display.note(note)
            wanted = later_specs(files.study, chosen.choices)
            constant = wanted.get("baseline", [])
            failures += stage("scaling", wanted["scaling"], constant)
            if constant:
                failures += stage("baseline", constant, [])
    return failures


def pool_of(files: StudyFiles, engine: Engine, display: Display) -> Pool:
    """What trains a study's runs; the caller closes it."""
    pool = engine.pool(files.directory, own=files.trainer is not None, quick=is_smoke(files.study))
    if pool.place:
        display.note(pool.place)
    return pool


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
    pool: Pool,
    display: Display,
    later: Sequence[CellJob],
) -> list[str]:
    """Train a stage's jobs.

    Args:
        files: the study, whose folder the caller holds.
        stage: its name.
        specs: every run of it.
        jobs: what is left of them.
        engine: of `pool`.
        pool: what trains.
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
                pool,
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


def fit_study(
    files: StudyFiles, method: str = "default", *, n_draws: int = 200, seed: int = 0, where: Where | None = None, write: bool = True
) -> Fitted:
    """Fit the laws to the runs that answer the study's question, and write laws.json.

    Args:
        files: the study.
        method: "default", or "paper" for the authors' procedure.
        n_draws, seed: of the bootstrap.
        where: conditions on settings that the runs must meet.
        write: whether laws.json is written.

    Raises:
        UserError: where there is nothing to fit, or the runs differ in settings and `where` does not say which are meant.
    """
    return _Asked(files, fit_options(files.study, method, n_draws=n_draws, seed=seed, where=where)).fit(write=write)


def fitted_study(files: StudyFiles) -> Fitted:
    """The laws on disk with what they were fitted to, where runs and question are the same; else fitted again in the same way.

    The way: method, draws, seed and `where` of the last fit; of a first fit the defaults. laws.json is written only where the
    laws were fitted.

    Raises:
        UserError: as `fit_study`, or where laws.json is damaged.
    """
    asked = _asked_before(files)
    laws = asked.current()
    return asked.fit() if laws is None else Fitted(laws=laws, measured=asked.measured()[0])


def current_laws(files: StudyFiles, *, times: bool = False) -> ScalingLaws:
    """As `fitted_study`, the laws alone: curves are read only for their fingerprint where nothing has changed.

    Args:
        files: the study.
        times: whether measured seconds are needed; laws.json holds them only where the study asks for them.
    """
    asked = _asked_before(files)
    laws = asked.current()
    if laws is None:
        return asked.fit().laws
    return with_times(laws, asked.measured()[0]) if times and not laws.asks_for_times else laws


class _Asked:
    """A fit that is asked for: the options, and the runs that answer."""

    def __init__(self, files: StudyFiles, options: FitOptions, last: ScalingLaws | None = None) -> None:
        self._files, self._options, self._last = files, options, last
        self._problems: list[RunWarning] = []
        self._selection = select_runs(files.store, files.study, where=parse_where(options.where), problems=self._problems)
        self._inputs = files.store.fingerprint(self._selection.fitted())

    def current(self) -> ScalingLaws | None:
        """The last fit's laws, if they are of these runs and this question."""
        laws = self._last
        return laws if laws is not None and laws.inputs == self._inputs and laws.asked == self._options.asked else None

    def measured(self) -> tuple[Measured, list[RunWarning]]:
        """The cells and their crossings, and what a person should know about the runs."""
        cells, warnings = load_cells(self._files.store, self._files.study, stages=FITTED, selection=self._selection)
        if not cells:
            what = "; ".join(w.message for w in [*self._problems, *warnings][:3]) or "there are no runs"
            raise UserError(f"{self._files.directory}: nothing to fit: {what}")
        try:
            measured = measure(cells, self._options)
        except ValueError as error:  # stage 2 has one B and η at each task and σ
            cure = "import them apart" if self._files.study.sweep is None else "`tdscale run` on the study's file records which are meant"
            raise UserError(f"{self._files.directory}: {error}, of different batch size or learning rate; {cure}") from None
        return measured, list(dict.fromkeys([*self._problems, *warnings]))

    def fit(self, *, write: bool = True) -> Fitted:
        """Fit, and write laws.json."""
        measured, warnings = self.measured()
        laws = fit_measured(measured, inputs=self._inputs, versions=library_versions(), found=warnings)
        if write:
            write_laws(laws, self._files.directory / FILE_NAME)
        return Fitted(laws=laws, measured=measured)


def _asked_before(files: StudyFiles) -> _Asked:
    path = files.directory / FILE_NAME
    if not path.exists():
        return _Asked(files, fit_options(files.study, "default"))
    last = read_laws(path)
    where = parse_where(last.where)
    return _Asked(files, fit_options(files.study, last.method.name, n_draws=last.n_draws, seed=last.seed, where=where), last)


def read_laws(path: Path) -> ScalingLaws:
    """Read a laws.json back, draws and all, fitted by any method. Raises UserError if it is missing, broken, or of another schema."""
    return load_laws(path, METHODS)


def validate_study(fitted: Fitted) -> Validation:
    """Predictions against runs the fit did not see."""
    measured = fitted.measured
    return validate(measured.points, measured.options, fitted.laws, measured.baseline, baseline_cells=measured.baseline_cells)


def example_plans(laws: ScalingLaws) -> list[Plan]:
    """One plan of each kind with limits within what the study saw, for the report and the demo."""
    if not laws.data or not laws.knows_compute:
        return []
    law = laws.data[-1]
    seen = law.utd[np.isfinite(law.data).any(axis=0)]
    middle = float(np.exp(np.mean(np.log([seen.min(), seen.max()]))))
    data = float(law.predict([2 * middle])[0])
    # half as much again, since C may be least just there
    compute = 1.5 * float(laws.compute_for(np.array([middle]), law.predict([middle]))[0])
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
        "cells": str(len(fitted.measured.cells)),
        "runs": str(sum(len(cell.seeds) for cell in fitted.measured.cells)),
        "env steps": f"{sum(len(cell.seeds) * cell.last_step for cell in fitted.measured.cells):,}",
    }
    if fitted.laws.where:
        summary["runs with"] = ", ".join(fitted.laws.where)
    selection = select_runs(files.store, study, where=parse_where(fitted.laws.where), problems=[])
    if study.origin:
        summary["origin"] = study.origin
    try:
        return write_report(
            files.directory,
            fitted.laws,
            fitted.measured,
            plans=example_plans(fitted.laws),
            validation=validate_study(fitted),
            study_summary=summary,
            diagnostics=load_diagnostics(files.store, study, selection=selection, problems=[]),
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
