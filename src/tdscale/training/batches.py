"""Runs in batches: opened, gone on from their checkpoints, advanced to one env step with breaks to write new ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tdscale.study import CellJob, RunSpec
from tdscale.training.batch import RunBatch, advance_in_turns
from tdscale.training.checkpoint import Checkpoint, CheckpointRefused
from tdscale.training.saving import Saving

_HALVES = 8  # runs from which on two batches take turns: the environments of one step while the device learns for the other


def open_batches(jobs: Sequence[CellJob], *, together: bool, folder: Path | None, saving: Saving | None) -> Iterator[RunBatch]:
    """The runs of all cells. Those that don't stand at one step can't share a batch.

    Raises:
        UserError: if a task or algorithm can't be had.
    """
    limit = max(job.env_steps for job in jobs)

    def make(specs: Sequence[RunSpec]) -> RunBatch:
        return RunBatch(specs, limit, together=together, folder=folder)

    found = {} if saving is None else _found(jobs, saving)
    fresh: list[RunSpec] = []
    by_steps: dict[int, list[RunSpec]] = {}
    for spec in (spec for job in jobs for spec in job.specs):
        steps = found[spec.run_id].values["steps"] if spec.run_id in found else 0
        (by_steps.setdefault(steps, []) if steps else fresh).append(spec)
    for part in (part for specs in by_steps.values() for part in _parts(specs, together)):
        assert saving is not None  # which found their checkpoints
        batch, anew = _gone_on(part, make, found, saving)
        fresh += anew
        if batch is not None:
            yield batch
    for part in _parts(fresh, together) if fresh else ():
        yield make(part)


def _found(jobs: Sequence[CellJob], saving: Saving) -> dict[str, Checkpoint]:
    found = saving.find(spec for job in jobs for spec in job.specs)
    for job in jobs:
        for spec in job.specs:
            if spec.run_id in found and found[spec.run_id].values["env_step"] > job.last_env_step:
                past = found.pop(spec.run_id)
                where = f"{past.path}: stands at env step {past.values['env_step']}, past the {job.env_steps} that are wanted"
                saving.refuse([spec], CheckpointRefused(where))
    return found


def _gone_on(
    specs: Sequence[RunSpec], make: Callable[[Sequence[RunSpec]], RunBatch], found: Mapping[str, Checkpoint], saving: Saving
) -> tuple[RunBatch | None, list[RunSpec]]:
    """The batch of those that go on from their checkpoints, and those that can't and begin anew."""
    left = list(specs)
    anew: list[RunSpec] = []
    while left:
        batch = make(left)
        try:
            batch.restore(found)
            return batch, anew
        except CheckpointRefused as refused:
            batch.close()
            bad = [spec for spec in left if refused.run_id in (None, spec.run_id)]
            saving.refuse(bad, refused)
            anew += bad
            left = [spec for spec in left if spec not in bad]
        except BaseException:
            batch.close()
            raise
    return None, anew


def _parts(specs: Sequence[RunSpec], together: bool) -> list[Sequence[RunSpec]]:
    if not together:
        return [[spec] for spec in specs]
    return [specs] if len(specs) < _HALVES else [specs[::2], specs[1::2]]


def advance_all(batches: Sequence[RunBatch], env_step: int, *, together: bool, saving: Saving | None, tell: Callable[[], None]) -> None:
    """Advance every batch to an env step; `tell` is called after each, or after all that advance together.

    Raises:
        Stopped: if `saving` was asked to stop.
    """
    pause = (lambda: False) if saving is None else saving.is_due
    # on a CPU one after the other: their networks don't fit into a core's cache together
    for group in [batches] if together else [[batch] for batch in batches]:
        while any(batch.going and batch.env_step < env_step for batch in group):
            advance_in_turns(group, env_step, pause)
            if saving is not None and saving.is_due():
                saving.attend(batches)
        tell()
