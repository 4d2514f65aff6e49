"""`train_cell`: all seeds of one spec advance and stop at one env step. `train_cells`: several cells, together on a GPU."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from tdscale.errors import UserError
from tdscale.runs.types import RunResult
from tdscale.study import RunSpec
from tdscale.training.stopping import StopTarget, enough_have_crossed, longest_episode

if TYPE_CHECKING:
    from tdscale.training.batch import RunBatch
    from tdscale.training.classic_batch import ClassicBatch
    from tdscale.training.record import Record

_SEGMENTS = 50  # how often, within the limit, the stop rule is asked
_REPORT_EVERY = 1000  # env steps of one seed between reports
_EPISODES_AFTER = 3  # the margin holds at least so many episodes
_HALVES = 8  # runs from which on two batches take turns: the environments of one step while the device learns for the other


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training is.

    Attributes:
        env_steps: done, over all runs.
        limit: the most that they can come to.
        seeds: how many runs there are.
        cells: env steps of each cell, over its seeds.
    """

    env_steps: int
    limit: int
    seeds: int
    cells: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CellGoal:
    """A cell to be trained.

    Attributes:
        specs: alike but for the seed.
        env_steps: the limit, in env steps per seed.
        target: where to stop before it; None runs every seed to the limit.
    """

    specs: tuple[RunSpec, ...]
    env_steps: int
    target: StopTarget | None

    def __post_init__(self) -> None:
        if len({spec.cell_id for spec in self.specs}) != 1 or len({spec.run_id for spec in self.specs}) != len(self.specs):
            raise ValueError("a cell is made of specs which differ in their seeds and in nothing else")


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
    seeds. A seed that diverges or fails ends alone; the rest go on.

    Args:
        specs: of one cell: alike but for the seed.
        env_steps: the limit, in env steps per seed.
        target: where to stop before it; None runs every seed to the limit.
        report: called now and then with how far the cell is.
        folder: where the file of an algorithm named as "module:name" may lie.

    Returns:
        One result per spec, in order. `status.notes["stopped_at_return"]` is the threshold if the cell stopped because it
        had crossed it, None if it went on to the limit.

    Raises:
        UserError: if the task or algorithm can't be had, or the training libraries are not installed.
        ValueError: if the specs are not of one cell.
    """
    ((_, results),) = train_cells([CellGoal(specs=tuple(specs), env_steps=env_steps, target=target)], report=report, folder=folder)
    return results


def train_cells(
    goals: Sequence[CellGoal],
    *,
    together: bool = False,
    report: Callable[[Progress], None] | None = None,
    folder: Path | None = None,
) -> Iterator[tuple[CellGoal, list[RunResult]]]:
    """Train cells; each comes back with its results, one per spec in order, as soon as it is done.

    Args:
        goals: the cells; with `together` they differ in η and stage alone.
        together: advance all runs at once with their agents under `vmap`, as a GPU wants it. A run's curve then depends on how many
            it runs with. Without it every run has the host to itself for a while, in turn, and its curve depends on its spec alone.
        report: called now and then with how far all of it is.
        folder: where the file of an algorithm named as "module:name" may lie.

    Raises:
        UserError: if the task or algorithm can't be had, or the training libraries are not installed.
        ValueError: if the specs can't be trained together.
    """
    try:
        from tdscale.training.batch import RunBatch, advance_in_turns
        from tdscale.training.classic_batch import ClassicBatch, stays_on_device
    except ModuleNotFoundError as error:
        raise UserError(f'training needs {error.name}, which is not installed; pip install "tdscale[train]" brings it') from None

    batches: list[RunBatch] = []
    classics: list[ClassicBatch] = []

    def opened() -> list[RunBatch | ClassicBatch]:
        return [*batches, *classics]

    try:
        limit = max(goal.env_steps for goal in goals)
        for specs in _parts([spec for goal in goals for spec in goal.specs], together):
            if stays_on_device(specs[0], folder):
                classics.append(ClassicBatch(specs, limit, folder))
            else:
                batches.append(RunBatch(specs, limit, together=together, folder=folder))
        found = {run.spec.run_id: (run, batch) for batch in opened() for run in batch.runs}
        cells = [_Cell(goal, [found[spec.run_id] for spec in goal.specs]) for goal in goals]

        def tell() -> None:
            if report is not None:
                done = tuple(sum(run.env_step for run, _ in cell.runs) for cell in cells)
                report(Progress(env_steps=sum(done), limit=sum(cell.env_steps_to_do() for cell in cells), seeds=len(found), cells=done))

        step, left = 0, list(cells)
        while left:
            step = min(step + _REPORT_EVERY, *(cell.next_stop for cell in left))
            if together:
                advance_in_turns(batches, step)
                tell()
            else:
                for hosted in batches:  # one after the other: their networks don't fit into a core's cache together
                    hosted.advance(step)
                    tell()
            for classic in classics:
                classic.advance(step)
                tell()
            for cell in tuple(left):
                if cell.is_done_at(step):
                    left.remove(cell)
                    yield cell.goal, cell.leave()
    finally:
        for batch in opened():
            batch.close()


def _parts(specs: Sequence[RunSpec], together: bool) -> list[Sequence[RunSpec]]:
    if not together:
        return [[spec] for spec in specs]
    return [specs] if len(specs) < _HALVES else [specs[::2], specs[1::2]]


@dataclass
class _Cell:
    """A cell on its way: when it is to stop."""

    goal: CellGoal
    runs: list[tuple["Record", "RunBatch | ClassicBatch"]]
    end: int = field(init=False)  # env steps at which it stops, as far as is known
    next_stop: int = field(init=False)

    def __post_init__(self) -> None:
        self.end = self.goal.env_steps
        self._segment = ceil(self.goal.env_steps / _SEGMENTS)
        self.next_stop = min(self._segment, self.end)

    def is_done_at(self, step: int) -> bool:
        """Asked at every step that training stops at."""
        goal, target = self.goal, self.goal.target
        going = [run for run, _ in self.runs if run.going]
        if going and step == self.next_stop and target is not None:
            curves = [run.return_curve() for run, _ in self.runs if run.state != "failed"]
            if not enough_have_crossed(curves, target.return_threshold):
                self.end = goal.env_steps  # a lucky episode may cross and the next ones take it back
            elif self.end == goal.env_steps:
                self.end = min(goal.env_steps, step + max(ceil(target.margin * step), _EPISODES_AFTER * longest_episode(curves)))
        if not going or step >= self.end:
            return True
        if step == self.next_stop:
            self.next_stop = min(step + self._segment, self.end)
        return False

    def env_steps_to_do(self) -> int:
        """In sum; what has ended early will do no more."""
        return sum(max(self.end, run.env_step) if run.going else run.env_step for run, _ in self.runs)

    def leave(self) -> list[RunResult]:
        """The results; the batches go on without these runs."""
        target = self.goal.target
        stopped_at = target.return_threshold if target is not None and self.end < self.goal.env_steps else None
        results = [batch.result(run.spec.run_id, {"stopped_at_return": stopped_at}) for run, batch in self.runs]
        for run, batch in self.runs:
            batch.leave(run.spec.run_id)
        return results
