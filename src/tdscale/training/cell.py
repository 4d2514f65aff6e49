"""`train_cell`: all seeds of one spec advance together and stop at the same env step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from tdscale.errors import UserError
from tdscale.runs.types import RunResult
from tdscale.study import RunSpec
from tdscale.training.stopping import StopTarget, enough_have_crossed, longest_episode

_SEGMENTS = 50  # how often, within the limit, the stop rule is asked
_REPORT_EVERY = 1000  # env steps of one seed between reports
_EPISODES_AFTER = 3  # the margin holds at least so many episodes


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a cell is.

    Attributes:
        env_steps: done, over all seeds.
        limit: the most that they can come to.
        seeds: how many there are.
    """

    env_steps: int
    limit: int
    seeds: int


def train_cell(
    specs: Sequence[RunSpec], *, env_steps: int, target: StopTarget | None, report: Callable[[Progress], None] | None = None
) -> list[RunResult]:
    """Train every seed of a cell and stop them at one env step.

    A run's curve up to any step depends on its own spec only: neither on the limit, nor on the target, nor on the other
    seeds. A seed that diverges or fails ends alone; the rest go on.

    Args:
        specs: of one cell: alike but for the seed.
        env_steps: the limit, in env steps per seed.
        target: where to stop before it; None runs every seed to the limit.
        report: called now and then with how far the cell is.

    Returns:
        One result per spec, in order. `status.notes["stopped_at_return"]` is the threshold if the cell stopped because it
        had crossed it, None if it went on to the limit.

    Raises:
        UserError: if the task can't be opened or the training libraries are not installed.
        ValueError: if the specs are not of one cell.
    """
    if len({spec.cell_id for spec in specs}) != 1 or len({spec.run_id for spec in specs}) != len(specs):
        raise ValueError("train_cell takes the specs of one cell, which differ in their seeds and in nothing else")
    try:
        from tdscale.training.run import Run
    except ModuleNotFoundError as error:
        raise UserError(f'training needs {error.name}, which is not installed; pip install "tdscale[train]" brings it') from None

    runs: list[Run] = []
    end = env_steps

    def tell() -> None:
        if report is not None:
            # what has ended early will do no more
            limit = sum(end if run.going else run.env_step for run in runs)
            report(Progress(env_steps=sum(run.env_step for run in runs), limit=limit, seeds=len(runs)))

    try:
        for spec in specs:
            runs.append(Run(spec, env_steps))
        segment = ceil(env_steps / _SEGMENTS)
        step = 0
        while step < end and any(run.going for run in runs):
            segment_end = min(step + segment, end)
            while step < segment_end:
                step = min(step + _REPORT_EVERY, segment_end)
                for run in runs:
                    run.advance(step)
                    tell()
            if target is None:
                continue
            curves = [run.return_curve() for run in runs if run.state != "failed"]
            if not enough_have_crossed(curves, target.return_threshold):
                end = env_steps  # a lucky episode may cross and the next ones take it back
            elif end == env_steps:
                end = min(env_steps, step + max(ceil(target.margin * step), _EPISODES_AFTER * longest_episode(curves)))
        stopped_at = target.return_threshold if target is not None and end < env_steps else None
        return [run.result({"stopped_at_return": stopped_at}) for run in runs]
    finally:
        for run in runs:
            run.close()
