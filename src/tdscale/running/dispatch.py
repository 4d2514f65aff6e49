"""`Engine`, which makes a pool, and `run_jobs`, which hands jobs out to its slots.

A cell that fails is reported and the rest continue; one whose worker dies is tried again.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tdscale.errors import OUT_OF_MEMORY
from tdscale.running.pool import Ending, LocalPool, Pool
from tdscale.running.trainers.trainer import CustomTrainer
from tdscale.study import CellJob, Checkpoints

RETRIES = 1  # of a job whose worker died
PREEMPTIONS = 20  # of one job; a worker that was asked to end left checkpoints, so its job gets further each time
SAME_FAILURES = 6


class StageFailure(Exception):
    """Continuing makes no sense: every cell fails for one reason, or there is nowhere to train. One sentence."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a job.

    Attributes:
        kind: "start", "progress", "done" (stored), "failed" (some or all of its runs are missing), "again" (its worker died; it is
            tried again) or "note" (something to be read).
        done: env steps so far over all seeds, for "progress" and "done".
        message: why, for "failed" and "again"; a sentence, for "note".
        diverged: runs whose loss turned NaN, for "done".
        partly: for "failed", whether some of the cell's seeds did not.
    """

    kind: str
    job: CellJob
    worker: int
    done: int = 0
    message: str = ""
    diverged: int = 0
    partly: bool = False


@dataclass
class _Slot:
    jobs: dict[int, CellJob] = field(default_factory=dict)  # on which it is, by their place in the request
    shape: tuple[str, int, str] | None = None


@dataclass
class _SameFailure:
    """Ends a stage in which nothing works: the reason that every cell so far has failed for is not the cells'."""

    message: str | None = None
    count: int = 0

    def observe(self, event: Event) -> None:
        if event.kind == "done" or event.partly or (event.kind == "failed" and self.message not in (None, event.message)):
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
    deaths: dict[tuple[str, bool], int] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)  # run_ids of jobs whose worker died over several: one of them may be why

    def take(self, shape: tuple[str, int, str] | None, others: set[tuple[str, int, str] | None]) -> list[CellJob]:
        if not self.jobs:
            return []
        same = [job for job in self.jobs if job.shape == shape]
        free = [job for job in self.jobs if job.shape not in others]
        # one shape's jobs are shared out only when no other shape is left
        first = (same or free or self.jobs)[0]
        taken, runs = [first], len(first.specs)
        for job in self.jobs:
            fits = job.batch_id == first.batch_id and runs + len(job.specs) <= self.runs_together
            if fits and job is not first and not {job.specs[0].run_id, first.specs[0].run_id} & self.alone:
                taken.append(job)
                runs += len(job.specs)
        self.jobs = [job for job in self.jobs if job not in taken]
        return taken

    def lost(self, job: CellJob, ending: Ending, worker: int, retries: int, *, company: bool = False) -> Event:
        """Queue a job again whose worker died, up to its limit. Jobs that shared a worker come back one by one, and no death is counted."""
        if company:
            self.alone.add(job.specs[0].run_id)
            self.jobs.insert(0, job)
            return Event(kind="again", job=job, worker=worker, message=f"its worker {ending.how}")
        key = (job.specs[0].run_id, ending.preempted)
        self.deaths[key] = self.deaths.get(key, 0) + 1
        allowed = PREEMPTIONS if ending.preempted else retries
        if self.deaths[key] <= allowed:
            self.jobs.insert(0, job)
            return Event(kind="again", job=job, worker=worker, message=f"its worker {ending.how}")
        times = f", {self.deaths[key]} times" if self.deaths[key] > 1 else ""
        return Event(kind="failed", job=job, worker=worker, message=f"its worker {ending.how}{times}; see {ending.where}")


def default_workers() -> int:
    """One per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Where runs are trained.

    Attributes:
        workers: the most processes; None, with Ray alone: as many as there is room for.
        gpu: each worker has a GPU of its own and all cores, where runs that share shapes advance together; else it has a core.
        runs_together: the most runs that do.
        ray: address of a Ray cluster, "auto" for the one at hand; None for this machine, without Ray.
        cores: with Ray, those that a worker holds.
        retries: how often a cell is tried again whose worker died.
    """

    workers: int | None
    gpu: bool = False
    runs_together: int = 256
    ray: str | None = None
    cores: int = 1
    retries: int = RETRIES

    def pool(self, directory: Path, *, custom: bool, quick: bool) -> Pool:
        """The workers, none started yet.

        Args:
            directory: the study's folder.
            custom: whether the user's trainer is run: it has the user's environment, and as many threads as it likes.
            quick: whether runs are too short for good code.

        Raises:
            UserError: if there is no such cluster, or no Ray.
        """
        environment: Callable[[], dict[str, str]] = dict if custom else partial(worker_environment, gpu=self.gpu, quick=quick)
        if self.ray is None:
            from tdscale.training.devices import visible_gpus

            return LocalPool(
                directory,
                workers=self.workers or 1,
                environment=environment(),
                # a GPU's worker steps its environments in threads, on every core
                pinned=not (custom or self.gpu),
                devices=visible_gpus() if self.gpu else (),
            )
        from tdscale.running.ray_pool import RayPool

        return RayPool(directory, address=self.ray, environment=environment, workers=self.workers, gpu=self.gpu, cores=self.cores)


def worker_environment(*, gpu: bool, quick: bool) -> dict[str, str]:
    """Variables that a worker starts with, on the machine that it is on."""
    from tdscale.training.devices import cache_directory, gpu_environment, quick_to_compile, single_thread_environment

    make: Callable[[Path], dict[str, str]] = gpu_environment if gpu else single_thread_environment
    environment = make(cache_directory())
    return quick_to_compile(environment) if quick else environment


def run_jobs(
    pool: Pool,
    jobs: Sequence[CellJob],
    directory: Path,
    *,
    on_event: Callable[[Event], None],
    runs_together: int = 1,
    checkpoints: Checkpoints | None = None,
    retries: int = RETRIES,
    trainer: CustomTrainer | None = None,
) -> None:
    """Train every job and store its runs under `directory`. Returns when all have ended; failures come as events.

    Args:
        pool: where. Its slots stay, for further calls; the caller closes it.
        jobs: cells to train.
        directory: the study's folder, which every slot sees under this path.
        on_event: called in this thread.
        runs_together: above 1, for a GPU: jobs that share shapes are trained together, at most so many runs at a time.
        checkpoints: how often; None for the usual way.
        retries: how often a job is tried again whose worker died.
        trainer: the user's, in place of tdscale's agents.

    Raises:
        StageFailure: if every cell fails for one reason, or the pool can't work.
    """
    left = _Queue(sorted(jobs, key=lambda job: -job.cost), runs_together)
    same = _SameFailure()
    request: dict[str, Any] = {
        "directory": str(directory.resolve()),
        "checkpoints": (checkpoints or Checkpoints()).model_dump(include={"minutes", "keep"}),
    }
    request["trainer"] = None if trainer is None else asdict(trainer)
    slots: dict[int, _Slot] = {}

    def tell(event: Event) -> None:
        on_event(event)
        same.observe(event)

    def give(index: int) -> None:
        slot = slots[index]
        taken = left.take(slot.shape, {other.shape for other in slots.values() if other is not slot})
        if not taken:
            del slots[index]
            pool.release(index)
            return
        slot.jobs, slot.shape = dict(enumerate(taken)), taken[0].shape
        for job in taken:
            tell(Event(kind="start", job=job, worker=index))
        pool.give(index, {"jobs": [job.to_message() for job in taken], "together": left.runs_together > 1, **request})

    while left.jobs or any(slot.jobs for slot in slots.values()):
        if left.jobs:
            pool.want(len(left.jobs))
        index, answer = pool.answers.get()
        if answer is None:
            lost, ending = list(slots.pop(index, _Slot()).jobs.values()), pool.ending(index)
            for job in lost:
                tell(left.lost(job, ending, index, retries, company=len(lost) > 1))
        elif answer["event"] == "unfit":
            raise StageFailure(str(answer["message"]))
        elif (answer["event"] == "ready") == (index in slots):
            continue  # offered twice, for its worker died idle; or a word of what is over
        elif answer["event"] == "ready":
            slots[index] = _Slot()
            give(index)
        else:
            _answered(answer, index, slots[index], left, tell)
            if not slots[index].jobs:
                give(index)


def _answered(answer: Mapping[str, Any], index: int, slot: _Slot, left: _Queue, tell: Callable[[Event], None]) -> None:
    """A message of a slot that is at work."""
    if answer["event"] == "progress":
        for place, job in slot.jobs.items():
            tell(Event(kind="progress", job=job, worker=index, done=int(answer["done"][place])))
    elif answer["event"] == "note":
        tell(Event(kind="note", job=next(iter(slot.jobs.values())), worker=index, message=str(answer["message"])))
    elif answer["event"] == "done":
        tell(_ending(slot.jobs.pop(answer["job"]), index, answer["runs"]))
    else:
        failed = list(slot.jobs.values())
        slot.jobs = {}
        _raised(failed, str(answer["message"]), index, left, tell)


def _raised(jobs: Sequence[CellJob], message: str, index: int, left: _Queue, on_event: Callable[[Event], None]) -> None:
    """A worker's jobs ended in an error. Where they were too many for the device's memory, they come back in smaller company."""
    runs = sum(len(job.specs) for job in jobs)
    if len(jobs) > 1 and runs > 2 and OUT_OF_MEMORY in message:
        left.runs_together = max(runs // 2, 2)  # with 1 they would leave the device
        left.jobs[:0] = jobs
        return
    for job in jobs:
        on_event(Event(kind="failed", job=job, worker=index, message=message))


def _ending(job: CellJob, index: int, runs: Sequence[Mapping[str, Any]]) -> Event:
    failed = [run for run in runs if run["state"] == "failed"]
    done = sum(int(run["last_step"]) for run in runs)
    if failed:
        message = f"{len(failed)} of {len(runs)} seeds: {failed[0]['reason']}"
        return Event(kind="failed", job=job, worker=index, done=done, message=message, partly=len(failed) < len(runs))
    return Event(kind="done", job=job, worker=index, done=done, diverged=sum(run["state"] == "diverged" for run in runs))
