"""`Saving`: when checkpoints are written, for how little of a run's time, and what is gone on from."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tdscale.errors import UserError
from tdscale.study import RunSpec
from tdscale.training.checkpoint import Checkpoint, CheckpointFolder, CheckpointRefused

if TYPE_CHECKING:
    from tdscale.training.batch import RunBatch
    from tdscale.training.run import TrainingRun

_SHARE = 0.01  # of the time that checkpoints may take
_BYTES_PER_SECOND = 1e8  # a slow disk's, before the first one was measured


class Stopped(Exception):
    """Training was asked to stop, and left checkpoints where it writes any."""


@dataclass
class Saving:
    """Checkpoints of the runs that one process trains.

    Attributes:
        directory: where a run's are, by run_id.
        minutes: at least so many between two; they are further apart where writing takes over 1 % of the time. 0: none are written or read.
        keep: those of runs that are done, too: training can go on from there.
        stop: set by whoever wants training to stop; it then leaves checkpoints and raises Stopped.
        tell: is given a sentence where a checkpoint can't be used or written.
    """

    directory: Callable[[str], Path]
    minutes: float = 2.0
    keep: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    tell: Callable[[str], None] = lambda sentence: None

    def __post_init__(self) -> None:
        self._folders: dict[str, CheckpointFolder] = {}
        self._saved: dict[str, tuple[int, str]] = {}
        self._begun = time.monotonic()
        self._due = self._begun + 60 * self.minutes
        self._measured = False
        self._told = False

    def find(self, specs: Iterable[RunSpec]) -> dict[str, Checkpoint]:
        """The newest whole checkpoint of each run that has one."""
        found = {}
        for spec in specs if self.minutes else ():
            checkpoint = self._folder(spec).newest(self.tell)
            if checkpoint is not None:
                found[spec.run_id] = checkpoint
        return found

    def refuse(self, specs: Sequence[RunSpec], why: CheckpointRefused) -> None:
        """What was found of these runs can't be used."""
        for spec in specs:
            self._folder(spec).forget()
        runs = "1 run begins" if len(specs) == 1 else f"{len(specs)} runs begin"
        self.tell(f"{runs} anew: {why}")

    def is_due(self) -> bool:
        """Whether `attend` has something to do."""
        return self.stop.is_set() or (self.minutes > 0 and time.monotonic() >= self._due)

    def attend(self, batches: Sequence["RunBatch"]) -> None:
        """Between two steps: write what is due. Raises Stopped if that is asked for."""
        stopping = self.stop.is_set()
        if self.minutes and (stopping or self._is_worth_it(batches)):
            started = time.monotonic()
            for batch in batches:
                self._save(batch)
            ended = time.monotonic()
            self._due = ended + max(60 * self.minutes, (ended - started) / _SHARE)
        if stopping:
            raise Stopped

    def done(self, batches: Sequence["RunBatch"], runs: Sequence["TrainingRun"]) -> None:
        """Runs are about to leave their batches: keep their last state if that is wanted."""
        if self.minutes and self.keep:
            for batch in batches:
                self._save(batch, runs)

    def stored(self, specs: Iterable[RunSpec]) -> None:
        """The results of these runs are safe: their checkpoints are not needed any more."""
        for spec in specs:
            folder = self._folders.pop(spec.run_id, None)
            if folder is not None and not self.keep:
                folder.remove()
            elif folder is not None:
                folder.close()

    def _is_worth_it(self, batches: Sequence["RunBatch"]) -> bool:
        """False for a while where the first checkpoint is a large one."""
        if not self._measured:
            self._measured = True
            likely = sum(batch.checkpoint_bytes() for batch in batches) / _BYTES_PER_SECOND
            self._due = max(self._due, self._begun + likely / _SHARE)
        return time.monotonic() >= self._due

    def _save(self, batch: "RunBatch", only: Sequence["TrainingRun"] | None = None) -> None:
        for slot, run in enumerate(batch.runs):
            where = (run.env_step, run.state)
            over = run.left or run.state == "failed" or (only is not None and run not in only)
            # at env step 0 there is nothing to go on from
            if over or run.env_step == 0 or self._saved.get(run.spec.run_id) == where:
                continue
            try:
                self._folder(run.spec).write(batch.snapshot(slot))
                self._saved[run.spec.run_id] = where
            except UserError as error:
                # nothing is lost by it now: training goes on, and tries again when the next one is due
                if not self._told:
                    self._told = True
                    self.tell(f"training goes on without a checkpoint: {error}")

    def _folder(self, spec: RunSpec) -> CheckpointFolder:
        if spec.run_id not in self._folders:
            self._folders[spec.run_id] = CheckpointFolder(self.directory(spec.run_id), spec.run_id)
        return self._folders[spec.run_id]
