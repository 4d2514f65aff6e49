"""`train_cell`: all seeds of one spec advance and stop at one env step. `train_cells`: several cells, together on a GPU.

The training loop from the outside in: here cells and when they stop (`training.schedule`), then `training.batch`, `training.run` and
`training.learner`. JAX is imported when training starts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tdscale.errors import UserError
from tdscale.runs.types import RunResult
from tdscale.study import CellJob, RunSpec, StopTarget
from tdscale.training.checkpoint import Saving
from tdscale.training.schedule import StopRule

if TYPE_CHECKING:
    from tdscale.training.batch import RunBatch
    from tdscale.training.run import TrainingRun

_REPORT_EVERY = 1000  # env steps of one seed between reports


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training is.

    Attributes:
        env_steps: done, over all runs.
        limit: their maximum.
        seeds: how many runs there are.
        cells: env steps of each cell, over its seeds.
    """

    env_steps: int
    limit: int
    seeds: int
    cells: tuple[int, ...]


def train_cell(
    specs: Sequence[RunSpec],
    *,
    env_steps: int,
    target: StopTarget | None,
    report: Callable[[Progress], None] | None = None,
    folder: Path | None = None,
) -> list[RunResult]:
    """Train every seed of a cell and stop them at one env step.

    A run's curve up to any step depends on its own spec only: neither on the limit, nor on the target, nor on the other
    seeds. A seed that diverges or fails ends alone; the rest continue.

    Args:
        specs: of one cell: alike but for the seed.
        env_steps: the limit, in env steps per seed.
        target: where to stop before it; None runs every seed to the limit.
        report: called now and then with how far the cell is.
        folder: where the file of an algorithm named as "module:name" may lie.

    Returns:
        One result per spec, in order. `status.notes["stopped_at_return"]` is the threshold if the cell stopped because it
        had crossed it, None if it ran to the limit.

    Raises:
        UserError: if the task or algorithm can't be used, or the training libraries are not installed.
        ValueError: if the specs are not of one cell.
    """
    ((_, results),) = train_cells([CellJob(specs=tuple(specs), env_steps=env_steps, target=target)], report=report, folder=folder)
    return results


def train_cells(
    jobs: Sequence[CellJob],
    *,
    together: bool = False,
    report: Callable[[Progress], None] | None = None,
    folder: Path | None = None,
    saving: Saving | None = None,
) -> Iterator[tuple[CellJob, list[RunResult]]]:
    """Train cells; each comes back with its results, one per spec in order, as soon as it is done.

    Args:
        jobs: the cells; with `together` they differ in η and stage alone.
        together: advance all runs at once with their agents under `vmap`, as a GPU wants it. A run's curve then depends on how many
            it runs with. Without it every run has the host to itself for a while, in turn, and its curve depends on its spec alone.
        report: called now and then with how far all of it is.
        folder: where the file of an algorithm named as "module:name" may lie.
        saving: writes checkpoints, and finds those to resume from. On a CPU the curves are the same with and without them.

    Raises:
        UserError: if the task or algorithm can't be used, or the training libraries are not installed.
        ValueError: if the specs can't be trained together.
        Stopped: if `saving` was asked to stop.
    """
    try:
        from tdscale.training.batch import advance_all, open_batches
    except ModuleNotFoundError as error:
        raise UserError(f'training needs {error.name}, which is not installed; pip install "tdscale[train]" installs it') from None

    batches: list[RunBatch] = []
    try:
        for batch in open_batches(jobs, together=together, folder=folder, saving=saving):
            batches.append(batch)
        found: dict[str, tuple[TrainingRun, RunBatch]] = {run.spec.run_id: (run, batch) for batch in batches for run in batch.runs}
        cells = [_Cell(job, [found[spec.run_id] for spec in job.specs]) for job in jobs]

        def tell() -> None:
            if report is not None:
                done = tuple(sum(run.env_step for run, _ in cell.runs) for cell in cells)
                report(Progress(env_steps=sum(done), limit=sum(cell.env_steps_to_do() for cell in cells), seeds=len(found), cells=done))

        tell()  # what was done before, where runs were resumed
        # from 0 also where runs were resumed: the stop rule is asked again at every step at which it was
        step, left = 0, list(cells)
        while left:
            step = min(step + _REPORT_EVERY, *(cell.rule.next_stop for cell in left))
            advance_all(batches, step, together=together, saving=saving, tell=tell)
            for cell in tuple(left):
                if cell.is_done_at(step):
                    left.remove(cell)
                    if saving is not None:
                        saving.done(batches, [run for run, _ in cell.runs])
                    yield cell.job, cell.leave()
    finally:
        for batch in batches:
            batch.close()


@dataclass
class _Cell:
    """A cell being trained, and when it is to stop."""

    job: CellJob
    runs: list[tuple["TrainingRun", "RunBatch"]]
    rule: StopRule = field(init=False)

    def __post_init__(self) -> None:
        self.rule = StopRule(self.job.env_steps, self.job.target, self.job.cut, self.job.least)

    def is_done_at(self, step: int) -> bool:
        """Asked at every step that training stops at."""
        runs = [run for run, _ in self.runs]
        # a run that trained on under another target can't be taken back
        further = max((run.env_step for run in runs if run.going or run.env_step > step), default=0) - self.job.environments + 1
        return self.rule.is_done_at(step, runs, not_before=further)

    def env_steps_to_do(self) -> int:
        """In sum; what has ended early will do no more."""
        return sum(max(self.rule.end, run.env_step) if run.going else run.env_step for run, _ in self.runs)

    def leave(self) -> list[RunResult]:
        """The results; the batches continue without these runs."""
        notes = {"stopped_at_return": self.rule.stopped_at}
        results = [batch.result(run.spec.run_id, notes) for run, batch in self.runs]
        for run, batch in self.runs:
            batch.leave(run.spec.run_id)
        return results
