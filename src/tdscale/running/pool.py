"""`Pool`: slots in which jobs are trained; and `LocalPool`, processes of this machine.

Each slot runs `running.worker`; the slots of a Ray cluster are in `running.ray_pool`.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

Answers = queue.Queue[tuple[int, dict[str, Any] | None]]
READY: dict[str, Any] = {"event": "ready"}


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a slot ended.

    Attributes:
        how: to be read after "its worker".
        where: there is more to read.
        preempted: it was asked to end, or its machine went away: the job is not at fault.
    """

    how: str
    where: str
    preempted: bool = False


class Pool(Protocol):
    """Slots, numbered from 0. A slot is given a request at a time and answers it in messages (`running.worker`).

    Attributes:
        answers: (slot, message) as they come: READY from a slot that is there and has nothing to do yet; None from one that has ended;
            {"event": "unfit", "message"} where none can work.
        place: where the slots are, for the display; empty on this machine.
    """

    answers: Answers
    place: str

    def want(self, waiting: int) -> None:
        """So many jobs wait for a slot: offer (READY) those that have none to do, and new ones if there may be more."""

    def give(self, slot: int, request: Mapping[str, Any]) -> None:
        """Hand a request to a slot that is free."""

    def release(self, slot: int) -> None:
        """No job is left for a slot that is free; it is offered again, or ends."""

    def ending(self, slot: int) -> Ending:
        """How a slot that answered None ended; it is no longer a slot."""

    def close(self) -> None:
        """End every slot."""


@dataclass
class _Worker:
    process: subprocess.Popen[str]
    log: Path
    listener: threading.Thread


class LocalPool:
    """One worker process for each slot, each on its own core while there are enough. See `Pool`."""

    place = ""

    def __init__(
        self,
        directory: Path,
        *,
        workers: int,
        environment: Mapping[str, str],
        pinned: bool = True,
        devices: Sequence[str] = (),
        name: str = "worker",
    ) -> None:
        """No process is started yet.

        Args:
            directory: the study's folder; what workers print goes to its logs/.
            workers: the most processes.
            environment: variables that each starts with, on top of this process's own.
            pinned: whether a worker stays on one core.
            devices: GPUs, as CUDA_VISIBLE_DEVICES names them; each worker sees one alone.
            name: with which the names of its logs begin.
        """
        self.answers: Answers = queue.Queue()
        self._workers, self._environment, self._pinned, self._name = workers, dict(environment), pinned, name
        self._devices = tuple(devices)
        self._logs = directory / "logs"
        self._slots: dict[int, _Worker] = {}
        self._offered: set[int] = set()
        self._idle: set[int] = set()
        self._ended: list[_Worker] = []

    def want(self, waiting: int) -> None:
        """See `Pool.want`."""
        free = [slot for slot in range(self._workers) if slot not in self._slots or slot in self._idle]
        free.sort(key=lambda slot: slot not in self._idle)
        for slot in free[: max(waiting - len(self._offered), 0)]:
            if slot not in self._slots:
                self._slots[slot] = self._start(slot)
            self._idle.discard(slot)
            self._offered.add(slot)
            self.answers.put((slot, READY))

    def give(self, slot: int, request: Mapping[str, Any]) -> None:
        """See `Pool.give`."""
        self._offered.discard(slot)
        if slot not in self._slots:  # it ended as it was offered
            self._slots[slot] = self._start(slot)
        stdin = self._slots[slot].process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # it has died; its listener says so

    def release(self, slot: int) -> None:
        """See `Pool.release`."""
        self._offered.discard(slot)
        self._idle.add(slot)

    def ending(self, slot: int) -> Ending:
        """See `Pool.ending`."""
        worker = self._slots.pop(slot)
        self._offered.discard(slot)
        self._idle.discard(slot)
        self._ended.append(worker)
        code = worker.process.wait()
        return Ending(how=_how(code), where=str(worker.log), preempted=code == -signal.SIGTERM)

    def close(self) -> None:
        """End every worker; each leaves checkpoints of its runs first."""
        workers = [*self._ended, *self._slots.values()]
        for worker in workers:
            if worker.process.stdin is not None:
                # its end is the worker's signal to end
                try:
                    worker.process.stdin.close()
                except BrokenPipeError:
                    pass
        for worker in workers:
            try:
                worker.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.listener.join(timeout=10)
        self._slots.clear()
        self._ended.clear()

    def _start(self, slot: int) -> _Worker:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{self._name}-{slot}.log"
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        # from a core that differs between processes: two studies of one worker each must not share the first
        core = cores[(os.getpid() + slot) % len(cores)] if self._pinned and self._workers <= len(cores) else -1
        with log.open("a", encoding="utf-8") as errors:
            process = subprocess.Popen(
                # -P: what lies in the working directory is not on the path
                [sys.executable, "-P", "-m", "tdscale.running.worker", str(core)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env={**os.environ, **self._environment, **self._device(slot)},
            )
        assert process.stdout is not None
        listener = threading.Thread(target=_listen, args=(slot, process.stdout, self.answers), daemon=True)
        listener.start()
        return _Worker(process=process, log=log, listener=listener)

    def _device(self, slot: int) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": self._devices[slot % len(self._devices)]} if self._devices else {}


def _how(code: int) -> str:
    if code == -signal.SIGTERM:
        return "was stopped (signal 15)"
    if code == -signal.SIGKILL:
        return "was killed by signal 9 (out of memory?)"
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _listen(slot: int, lines: IO[str], answers: Answers) -> None:
    try:
        with lines:
            for line in lines:
                answers.put((slot, json.loads(line)))
    except ValueError:
        pass  # cut off, perhaps within a character: the worker was killed as it wrote
    finally:
        answers.put((slot, None))
