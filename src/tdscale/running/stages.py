"""The stages of a study: which runs each asks for, what is left of them, and their training on a pool (`running.dispatch`)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from tdscale.errors import RunFailure
from tdscale.running.choosing import choose_by_size
from tdscale.running.dispatch import Engine, Event, StageFailure, run_jobs
from tdscale.running.folder import StudyFiles, sole_runner
from tdscale.running.ledger import Ledger
from tdscale.running.pool import Pool
from tdscale.running.rounds_file import read_rounds
from tdscale.running.usual_ends import UsualEnds
from tdscale.runs.choice import Choice
from tdscale.runs.sizes import Sizes
from tdscale.runs.types import RunStatus
from tdscale.study import CellJob, Checkpoints, RunSpec, Stage, StopTarget, Study, is_smoke
from tdscale.study.sizes import update_weight


def wanted_specs(files: StudyFiles) -> dict[Stage, list[RunSpec]]:
    """The runs a study asks for, stage by stage and size by size, those that are known: stage 2's B and η need stage 1.

    Stage 2 of every size begins once stage 1 of all of them has ended.
    """
    study = files.study
    wanted: dict[Stage, list[RunSpec]] = {"sweep": study.sweep_specs()}
    if study.in_rounds("sweep"):
        rounds = read_rounds(files.directory, study)
        wanted["sweep"], ended = rounds.specs(study, "sweep"), bool(rounds.ended)
    else:
        ended = not cells_to_go(files, wanted["sweep"])
    if study.scaling is not None and ended:
        try:
            wanted |= later_specs_by_size(study, {name: one.choices for name, one in choose_by_size(files).items()})
        except RunFailure:
            pass
    return wanted


def later_specs_by_size(study: Study, choices: Mapping[str, Mapping[str, Choice]]) -> dict[Stage, list[RunSpec]]:
    """As `later_specs` for all sizes, one after the other, at the B and η chosen for each size and task."""
    found: dict[Stage, list[RunSpec]] = {}
    for name, one in study.by_size().items():
        for stage, specs in later_specs(one, choices[name]).items():
            found.setdefault(stage, []).extend(specs)
    return found


def later_specs(study: Study, choices: Mapping[str, Choice]) -> dict[Stage, list[RunSpec]]:
    """The runs of stage 2, and of the baseline where the study has one, at the B and η chosen for each task."""
    assert study.scaling is not None
    pairs = {(task, utd): choices[task].scaling[utd] for task in study.tasks for utd in study.scaling.utd}
    wanted: dict[Stage, list[RunSpec]] = {"scaling": study.scaling_specs(pairs)}
    if study.baseline is not None:
        kept = {task: pair for task, choice in choices.items() if (pair := choice.baseline) is not None}
        wanted["baseline"] = study.baseline_specs(kept)
    return wanted


def cells_to_go(files: StudyFiles, specs: Sequence[RunSpec]) -> list[CellJob]:
    """What is to be trained so that all of these runs are there; nothing of a stage whose rounds have ended."""
    study, sizes = files.study, Sizes(files.study)
    stages = {spec.stage for spec in specs}
    ended = {stage for stage in stages if study.in_rounds(stage) and read_rounds(files.directory, study, stage).ended}
    of_size: dict[str, list[RunSpec]] = {name: [] for name in sizes.studies}
    for spec in specs:
        if spec.stage not in ended:
            of_size[sizes.of(spec) or next(iter(of_size))].append(spec)
    return [job for name, one in files.by_size().items() for job in _to_go(one, of_size[name])]


def _to_go(files: StudyFiles, specs: Sequence[RunSpec]) -> list[CellJob]:
    """As `cells_to_go`, of one size."""
    study = files.study
    assert study.limits is not None
    limits = {task: study.env_step_limit(task) for task in study.tasks}
    top = study.return_thresholds[-1]
    margin, aggregate = study.limits.margin, study.aggregate
    targets = {task: StopTarget(return_threshold=study.raw_return(task, top), margin=margin, aggregate=aggregate) for task in study.tasks}
    return [sized(job, files) for job in pending_jobs(specs, files.store.statuses(problems=[]), limits, targets)]


def sized(job: CellJob, files: StudyFiles) -> CellJob:
    """A job with the name of its size, and what its network's updates take. `files`: of that size; a study without [sizes] changes none."""
    if not files.size:
        return job
    settings = files.study.settings if files.study.has_custom_trainer else files.study.full_settings
    return replace(job, size=files.size, weight=update_weight(settings, files.study.model_size))


def pending_jobs(
    specs: Iterable[RunSpec], statuses: Mapping[str, RunStatus], limits: Mapping[str, int], targets: Mapping[str, StopTarget]
) -> list[CellJob]:
    """The jobs that complete every wanted cell; none for a cell that is there.

    A cell is done when its seeds stand at one step and either that is the limit or they stopped at a threshold at least as
    high as the one wanted now. Seeds that are missing or failed are brought to the step of the others. A raised limit or
    threshold runs the cell again: a run's curve does not depend on its length, so the curve so far stays the same.

    Args:
        specs: every run that is wanted.
        statuses: of the runs that exist, by run_id.
        limits: env steps, by task.
        targets: by task.
    """
    cells: dict[str, list[RunSpec]] = {}
    for spec in specs:
        cells.setdefault(spec.cell_id, []).append(spec)
    jobs = []
    for members in cells.values():
        job = _job(members, statuses, limits[members[0].task], targets[members[0].task])
        if job is not None:
            jobs.append(job)
    return jobs


def _job(members: Sequence[RunSpec], statuses: Mapping[str, RunStatus], limit: int, target: StopTarget) -> CellJob | None:
    ended = {spec.run_id: status for spec in members if (status := statuses.get(spec.run_id)) and status.state != "failed"}
    whole = CellJob(specs=tuple(members), env_steps=limit, target=target)
    finished = [status for status in ended.values() if status.state == "finished"]
    if not finished:
        # every seed diverged: an outcome; else nothing is there yet
        return None if len(ended) == len(members) else whole
    reached = max(status.last_step for status in finished)
    stopped = [status.notes.get("stopped_at_return") for status in finished]
    settled = reached >= limit or any(value is not None and value >= target.return_threshold - 1e-9 for value in stopped)
    if not settled:
        return whole
    behind = tuple(
        spec
        for spec in members
        if spec.run_id not in ended or (ended[spec.run_id].state == "finished" and ended[spec.run_id].last_step < reached)
    )
    return CellJob(specs=behind, env_steps=reached, target=None) if behind else None


@dataclass(frozen=True, kw_only=True)
class Part:
    """A round of a stage.

    Attributes:
        number: from 1.
        further: about so many rounds like it are to come.
        note: what is shown as it begins.
    """

    number: int
    further: float
    note: str


class Display(Protocol):
    """What shows a study's progress."""

    def stage(self, name: str, jobs: Sequence[CellJob], cells_done: int, later: Sequence[CellJob], part: Part | None = None) -> None:
        """A stage, or a part of one, begins with these jobs left; so many of its cells are done; `later` is for the stages after it."""

    def event(self, event: Event) -> None:
        """Something happened to a job."""

    def note(self, text: str) -> None:
        """A line to be read."""


@contextmanager
def stage_runner(files: StudyFiles, engine: Engine, display: Display) -> "Iterator[StageRunner]":
    """Hold a study's folder, and a pool for its runs, as long as its stages are trained.

    Raises:
        UserError: if another process holds the folder, or there is no such cluster.
    """
    with (
        sole_runner(files.directory),
        closing(engine.pool(files.directory, custom=files.trainer is not None, quick=is_smoke(files.study))) as pool,
    ):
        if pool.place:
            display.note(pool.place)
        yield StageRunner(files=files, engine=engine, pool=pool, display=display)


@dataclass(frozen=True, kw_only=True)
class StageRunner:
    """Trains the stages of a study, one after the other.

    Attributes:
        files: the study, whose folder this process holds.
        engine: made `pool`.
        pool: what trains.
        display: shows how far it is.
    """

    files: StudyFiles
    engine: Engine
    pool: Pool
    display: Display

    def run(
        self,
        stage: Stage,
        specs: Sequence[RunSpec],
        *,
        jobs: Sequence[CellJob] | None = None,
        later: Sequence[RunSpec] = (),
        part: Part | None = None,
    ) -> list[str]:
        """Train what is left of a stage.

        Args:
            stage: its name.
            specs: every run of it.
            jobs: what is left of them; None: by the study's limits.
            later: stand for the stages after it, in the time left.
            part: the round that these jobs are, where the stage is run in rounds: their runs may be asked for again, so that their
                checkpoints stay.

        Returns:
            A sentence for each cell that failed.

        Raises:
            RunFailure: if nothing works.
        """
        files, engine = self.files, self.engine
        if jobs is None:
            jobs = cells_to_go(files, specs)
        ledger = Ledger(files, stage, specs, jobs, self.display.note, whole=part is None)
        n_cells = len({spec.cell_id for spec in specs})
        ends = UsualEnds(files)
        jobs = ends.expect(jobs)
        self.display.stage(stage, jobs, n_cells - len(jobs), ends.expect(cells_to_go(files, later) if later else []), part)
        failures: list[str] = []

        def on_event(event: Event) -> None:
            if event.kind == "failed":
                failures.append(f"{event.job.describe()}: {event.message}")
            self.display.event(event)
            ledger.event(event)

        checkpoints = files.study.checkpoints
        if part is not None:
            checkpoints = (checkpoints or Checkpoints()).model_copy(update={"keep": True})
        if checkpoints is None or not checkpoints.keep:
            left = {spec.run_id for job in jobs for spec in job.specs}
            # of runs that are done: whoever stored them was killed before it could remove these
            files.store.discard_checkpoints(spec.run_id for spec in specs if spec.run_id not in left)
        if jobs:
            try:
                run_jobs(
                    self.pool,
                    jobs,
                    files.directory,
                    on_event=on_event,
                    runs_together=engine.runs_together if engine.gpu else 1,
                    checkpoints=checkpoints,
                    trainer=files.trainer,
                    retries=engine.retries,
                )
            except StageFailure as failure:
                raise RunFailure(f"{failure}; logs in {files.directory / 'logs'}") from None
            ledger.pack()
        return failures
