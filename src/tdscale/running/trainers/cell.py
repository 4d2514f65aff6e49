"""All seeds of a cell, trained by the user's trainer: one at a time works, and they stop at one env step."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tdscale.running.trainers.run import CustomRun
from tdscale.running.trainers.trainer import CustomTrainer
from tdscale.runs.types import RunResult
from tdscale.study import CellJob

if TYPE_CHECKING:
    from tdscale.training.schedule import StopRule

_LOOK_EVERY = 0.05  # seconds
_REPORT_EVERY = 0.5


def train_custom_cell(
    job: CellJob,
    trainer: CustomTrainer,
    directory: Path,
    work: Callable[[str], Path],
    *,
    report: Callable[[int], None],
    note: Callable[[str], None],
    stop: threading.Event,
) -> list[RunResult]:
    """Train the seeds of a cell, each in a process of its own.

    Where the cell may stop before its limit, its seeds take turns, the others standing still, so that they get on side by side; else
    one is run after the other. Curves beyond the env step at which the cell stopped are left out. A seed that fails or diverges
    ends alone.

    Args:
        job: the cell.
        trainer: what trains it.
        directory: the study's folder.
        work: a run's own folder, by run_id; it stays until the results are stored.
        report: called now and then with the env steps done, over all seeds.
        note: called with sentences that a person should read.
        stop: set to end early; the processes then get SIGTERM, and some seconds to save their states.

    Returns:
        One result per seed, in order.

    Raises:
        Stopped: if `stop` was set.
    """
    from tdscale.training import Stopped
    from tdscale.training.schedule import StopRule

    early = trainer.stop_early
    rule = StopRule(job.env_steps, job.target if early else None, job.cut if early else None, job.least)
    runs = [CustomRun(spec, trainer, job.env_steps, directory=directory, work=work(spec.run_id)) for spec in job.specs]
    reported = time.monotonic()
    report(sum(min(run.env_step, rule.end) for run in runs))  # what was done before
    try:
        while not _is_done(rule, runs):
            _give_turn(runs, rule)
            if stop.wait(_LOOK_EVERY):
                raise Stopped
            for run in runs:
                run.attend()
            if time.monotonic() - reported > _REPORT_EVERY:
                reported = time.monotonic()
                report(sum(min(run.env_step, rule.end) for run in runs))
    finally:
        for run in runs:
            run.tell_end()
        for run in runs:
            run.end()
    for problem in {run.report_problem() for run in runs} - {None}:
        note(str(problem))
    return [run.result(rule.end, {"stopped_at_return": rule.stopped_at}) for run in runs]


def _is_done(rule: "StopRule", runs: Sequence[CustomRun]) -> bool:
    """Whether every seed has reached the end of the cell."""
    # a failed seed holds the others up no more; one that is tried again does
    held_up = [run.env_step for run in runs if not run.over or run.going]
    reached = min(held_up, default=rule.limit)
    while rule.next_stop <= reached:
        if rule.is_done_at(rule.next_stop, runs):
            return True
    return all(run.over for run in runs)


def _give_turn(runs: Sequence[CustomRun], rule: "StopRule") -> None:
    """One seed is at work: the one that was, until another is a segment behind it; then that one."""
    left = [run for run in runs if not run.over]
    if not left:
        return
    now = next((run for run in left if run.at_work), None)
    last = left[0] if rule.target is None else min(left, key=lambda run: run.env_step)
    if now is not None and (rule.target is None or now.env_step < min(last.env_step + rule.segment, rule.end)):
        return
    if now is not None and now is not last:
        now.pause()
    last.go()
