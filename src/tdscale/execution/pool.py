"""The local engine: one worker process per core, each on its own core with one thread, one cell at a time.

A worker that dies costs its cell one more try; a cell that fails is reported and the rest go on.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tdscale.execution.jobs import CellJob
from tdscale.study import Checkpoints

TRIES = 2
SAME_FAILURES = 6


class StageFailure(Exception):
    """Every cell fails, and for one reason: going on would only repeat it."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a job.

    Attributes:
        kind: "start", "progress", "done" (stored), "failed" (some or all of its runs are missing) or "note" (something to be read).
        done: env steps so far over all seeds, for "progress" and "done".
        message: why, for "failed"; a sentence, for "note".
        diverged: runs whose loss turned NaN, for "done".
    """

    kind: str
    job: CellJob
    worker: int
    done: int = 0
    message: str = ""
    diverged: int = 0


@dataclass
class _Worker:
    index: int
    process: subprocess.Popen[str]
    log: Path
    listener: threading.Thread
    jobs: dict[int, CellJob] = field(default_factory=dict)  # on which it is, by their place in the message
    shape: tuple[str, int] | None = None


@dataclass
class _SameFailure:
    """Ends a stage in which nothing works: the reason that every cell so far has failed for is not the cells'."""

    message: str | None = None
    count: int = 0

    def heed(self, event: Event) -> None:
        if event.kind == "done" or (event.kind == "failed" and self.message not in (None, event.message)):
            self.count = -(10**9)  # something works, or fails otherwise
        elif event.kind == "failed":
            self.message = event.message
            self.count += 1
        if self.count >= SAME_FAILURES:
            raise StageFailure(f"the first {self.count} cells all failed: {self.message}")


@dataclass
class _Queue:
    """Jobs left, dearest first; a worker is given one whose program it has compiled, else one that no other worker is on.

    For a GPU, those that can be trained together with it come along, up to so many runs.
    """

    jobs: list[CellJob]
    runs_together: int
    tries: dict[str, int] = field(default_factory=dict)

    def take(self, shape: tuple[str, int] | None, others: set[tuple[str, int] | None]) -> list[CellJob]:
        if not self.jobs:
            return []
        same = [job for job in self.jobs if job.shape == shape]
        free = [job for job in self.jobs if job.shape not in others]
        # one shape's jobs are shared out only when no other shape is left
        first = (same or free or self.jobs)[0]
        taken, runs = [first], len(first.specs)
        for job in self.jobs:
            if job is not first and job.batch_id == first.batch_id and runs + len(job.specs) <= self.runs_together:
                taken.append(job)
                runs += len(job.specs)
        self.jobs = [job for job in self.jobs if job not in taken]
        return taken


def default_workers() -> int:
    """One per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    jobs: Sequence[CellJob],
    directory: Path,
    *,
    workers: int,
    environment: Mapping[str, str],
    on_event: Callable[[Event], None],
    runs_together: int = 1,
    checkpoints: Checkpoints | None = None,
) -> None:
    """Train every job and store its runs under `directory`. Returns when all have ended; failures are told by events.

    Args:
        jobs: cells to train.
        directory: the study's folder.
        workers: processes.
        environment: variables that each worker starts with, on top of this process's own.
        on_event: called in this thread.
        runs_together: above 1, for a GPU: jobs that share shapes are trained together, at most so many runs at a time.
        checkpoints: how often; None for the usual way.
    """
    left = _Queue(sorted(jobs, key=lambda job: -job.cost), runs_together)
    same = _SameFailure()
    request = {"directory": str(directory), "checkpoints": (checkpoints or Checkpoints()).model_dump()}

    def tell(event: Event) -> None:
        on_event(event)
        same.heed(event)

    answers: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
    with _workers(min(workers, len(jobs)), directory, environment, answers) as (pool, start):
        for worker in pool:
            _give(worker, left, pool, request, tell)
        while any(worker.jobs for worker in pool):
            index, answer = answers.get()
            worker = pool[index]
            if answer is None:  # the process has ended
                code = worker.process.wait()
                lost = list(worker.jobs.values())
                pool[index] = worker = start(index)
                for job in lost:
                    _lost(job, code, worker, left, tell)
                _give(worker, left, pool, request, tell)
            elif answer["event"] == "progress":
                for place, job in worker.jobs.items():
                    tell(Event(kind="progress", job=job, worker=index, done=int(answer["done"][place])))
            elif answer["event"] == "note":
                tell(Event(kind="note", job=next(iter(worker.jobs.values())), worker=index, message=str(answer["message"])))
            elif answer["event"] == "done":
                tell(_ending(worker.jobs.pop(answer["job"]), index, answer["runs"]))
                if not worker.jobs:
                    _give(worker, left, pool, request, tell)
            else:
                failed = list(worker.jobs.values())
                worker.jobs = {}
                _raised(failed, str(answer["message"]), index, left, tell)
                _give(worker, left, pool, request, tell)


def _raised(jobs: Sequence[CellJob], message: str, index: int, left: _Queue, on_event: Callable[[Event], None]) -> None:
    """A worker's jobs ended in an error. Where they were too many for the device's memory, they come back in smaller company."""
    if len(jobs) > 1 and "RESOURCE_EXHAUSTED" in message:
        left.runs_together = sum(len(job.specs) for job in jobs) // 2
        left.jobs[:0] = jobs
        return
    for job in jobs:
        on_event(Event(kind="failed", job=job, worker=index, message=message))


def _ending(job: CellJob, index: int, runs: Sequence[Mapping[str, Any]]) -> Event:
    failed = [run for run in runs if run["state"] == "failed"]
    done = sum(int(run["last_step"]) for run in runs)
    if failed:
        return Event(kind="failed", job=job, worker=index, done=done, message=f"{len(failed)} of {len(runs)} seeds: {failed[0]['reason']}")
    return Event(kind="done", job=job, worker=index, done=done, diverged=sum(run["state"] == "diverged" for run in runs))


def _lost(job: CellJob, code: int, worker: _Worker, left: _Queue, on_event: Callable[[Event], None]) -> None:
    """A worker died over its job: try again, but not for ever."""
    key = job.specs[0].run_id
    left.tries[key] = left.tries.get(key, 0) + 1
    if left.tries[key] < TRIES:
        left.jobs.insert(0, job)
        return
    how = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended with exit code {code}"
    on_event(Event(kind="failed", job=job, worker=worker.index, message=f"its worker {how}, {TRIES} times; see {worker.log}"))


def _give(worker: _Worker, left: _Queue, pool: Sequence[_Worker], common: Mapping[str, Any], on_event: Callable[[Event], None]) -> None:
    jobs = left.take(worker.shape, {other.shape for other in pool if other is not worker})
    worker.jobs = dict(enumerate(jobs))
    if not jobs:
        return
    worker.shape = jobs[0].shape
    for job in jobs:
        on_event(Event(kind="start", job=job, worker=worker.index))
    request = {"jobs": [job.to_message() for job in jobs], "together": left.runs_together > 1, **common}
    assert worker.process.stdin is not None
    try:
        worker.process.stdin.write(json.dumps(request) + "\n")
        worker.process.stdin.flush()
    except BrokenPipeError:
        pass  # it has died; its reader says so


@contextmanager
def _workers(
    count: int, directory: Path, environment: Mapping[str, str], answers: "queue.Queue[tuple[int, dict[str, Any] | None]]"
) -> Iterator[tuple[list[_Worker], Callable[[int], _Worker]]]:
    logs = directory / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    started: list[_Worker] = []

    def start(index: int) -> _Worker:
        log = logs / f"worker-{index}.log"
        # from a core that differs between processes: two studies of one worker each must not share the first
        core = cores[(os.getpid() + index) % len(cores)] if count <= len(cores) else -1
        with log.open("a", encoding="utf-8") as errors:
            process = subprocess.Popen(
                # -P: what lies in the working directory is not on the path
                [sys.executable, "-P", "-m", "tdscale.execution.worker", str(core)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env={**os.environ, **environment},
            )
        assert process.stdout is not None
        listener = threading.Thread(target=_listen, args=(index, process.stdout, answers), daemon=True)
        listener.start()
        worker = _Worker(index=index, process=process, log=log, listener=listener)
        started.append(worker)
        return worker

    try:
        yield [start(index) for index in range(count)], start
    finally:
        for worker in started:
            if worker.process.stdin is not None:
                # its end is the worker's signal to end
                try:
                    worker.process.stdin.close()
                except BrokenPipeError:
                    pass
        for worker in started:
            try:
                worker.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.listener.join(timeout=10)


def _listen(index: int, lines: IO[str], answers: "queue.Queue[tuple[int, dict[str, Any] | None]]") -> None:
    with lines:
        for line in lines:
            try:
                answers.put((index, json.loads(line)))
            except ValueError:
                break  # cut off: it was killed as it wrote
    answers.put((index, None))
