"""What a study will take before it is run: runs, env steps, FLOPs, disk and time, stage by stage. Nothing is written into its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.running.dispatch import Engine
from tdscale.running.folder import StudyFiles
from tdscale.running.probe import Speed, probe
from tdscale.running.stages import cells_to_go, wanted_specs
from tdscale.running.trainers.costs import due_updates, run_costs
from tdscale.running.trainers.trainer import CustomTrainer
from tdscale.study import CellJob, RunSpec, custom_file, is_custom

_FILES_BYTES = 3 * 4096  # of a run: spec, status and curve each take a block at least
_ROW_BYTES = 40  # of a curve's row, compressed
_EPISODE = 200  # env steps, where nothing is known of a task's episodes
_PROBE_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class StageForecast:
    """What is left of a stage, if no cell stops before its limit.

    Attributes:
        stage, cells, runs: with what is done already.
        cells_to_go, runs_to_go: what is not.
        env_steps, critic_updates: of the runs to go.
        flops: of their updates, counted; None where the cost of an update is not known.
        seconds: with the engine's workers; None where speed was not measured.
    """

    stage: str
    cells: int
    runs: int
    cells_to_go: int
    runs_to_go: int
    env_steps: int
    critic_updates: int
    flops: float | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a study will take.

    Attributes:
        stages: in their order.
        disk_bytes: what its runs will take, about.
        checkpoint_bytes: what checkpoints take besides, at most, while it runs; None where that is a trainer's own affair.
        workers: processes side by side.
        speeds: what the probe measured.
        notes: sentences: what was assumed.
    """

    study: str
    directory: str
    workers: int | None
    stages: tuple[StageForecast, ...]
    disk_bytes: float
    checkpoint_bytes: float | None
    speeds: tuple[Speed, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, with the sums over the stages."""
        keys = ("cells", "runs", "cells_to_go", "runs_to_go", "env_steps", "critic_updates", "flops", "seconds")
        columns = {key: [getattr(stage, key) for stage in self.stages] for key in keys}
        total = {key: None if None in values else sum(values) for key, values in columns.items()}
        speeds = []
        for speed in self.speeds:
            values = {key: value for key, value in vars(speed).items() if key != "spec"}
            speeds.append({"task": speed.spec.task, "utd": speed.spec.utd, "batch_size": speed.spec.batch_size} | values)
        return vars(self) | {"stages": [asdict(stage) for stage in self.stages], "total": total, "speeds": speeds}


def forecast(files: StudyFiles, engine: Engine, *, source: Path | None = None, probe_seconds: float = _PROBE_SECONDS) -> Forecast:
    """Count what is left of a study, and train a little of its own shapes to see how long that takes on this machine.

    Args:
        files: of `prepare_study`, or an open study.
        engine: what would train it.
        source: folder of the user's algorithm, where its file is not yet in the study's.
        probe_seconds: about how long the probe may take. 0: no time is predicted, nor FLOPs of tdscale's agents.

    Raises:
        UserError: if the settings of the user's algorithm are not known.
    """
    notes: list[str] = []
    wanted = wanted_specs(files)
    if files.study.scaling is not None and "scaling" not in wanted:
        wanted |= files.study.expected_stages()
        some = wanted["scaling"][0]
        middle = f"B = {some.batch_size}, η = {some.learning_rate:g}"
        notes.append(f"stage 2's B and η come from stage 1; it is reckoned with the middle of the sweep, {middle}")
    to_go = {stage: cells_to_go(files, specs) for stage, specs in wanted.items()}
    jobs = [job for stage in to_go.values() for job in stage]
    speeds: list[Speed] = []
    if files.trainer is not None:
        notes.append(
            "a trainer of your own is not tried out here, so no time is told; `tdscale run` tells the time left once cells are done"
        )
    elif engine.gpu or engine.ray is not None:
        notes.append(
            f"speed is measured on CPU cores of this machine alone, so no time is told for {'a GPU' if engine.gpu else 'a cluster'}"
        )
    elif jobs and probe_seconds:
        places = (folder for folder in (source, files.directory) if folder is not None and is_custom(files.study.algorithm))
        own = [file for folder in places if (file := custom_file(files.study.algorithm, folder)) is not None]
        speeds = probe(_shapes(jobs), engine=engine, files=own[:1], seconds=probe_seconds)
        measured = len({(speed.spec.task, speed.spec.batch_size) for speed in speeds})
        shapes = len({(job.specs[0].task, job.specs[0].batch_size) for job in jobs})
        if not speeds:
            notes.append(
                f"no time is told: to start and make a few updates took longer than {4 * probe_seconds:g} s, or they could not be made"
            )
        elif measured < shapes:
            notes.append(
                f"{measured} of {shapes} shapes (task, B) were tried out in {probe_seconds:g} s; the others are reckoned from them"
            )
    if any(stage for stage in to_go.values()):
        notes.append("a cell that reaches the last threshold stops before its limit: these are the most")
    rates = _Rates(speeds)
    stages = tuple(
        StageForecast(
            stage=stage,
            cells=len({spec.cell_id for spec in specs}),
            runs=len(specs),
            cells_to_go=len(to_go[stage]),
            runs_to_go=sum(len(job.specs) for job in to_go[stage]),
            env_steps=sum(len(job.specs) * job.env_steps for job in to_go[stage]),
            critic_updates=sum(len(job.specs) * due_updates(job.specs[0], job.env_steps)[0] for job in to_go[stage]),
            flops=_flops(to_go[stage], rates, files.trainer),
            seconds=_seconds(to_go[stage], rates, engine.workers or 1) if speeds else (0.0 if not to_go[stage] else None),
        )
        for stage, specs in wanted.items()
    )
    return Forecast(
        study=files.study.name,
        directory=str(files.directory),
        workers=engine.workers,
        stages=stages,
        disk_bytes=float(sum(len(job.specs) * _run_bytes(job) for job in jobs)),
        checkpoint_bytes=_checkpoint_bytes(files, jobs, engine),
        speeds=tuple(speeds),
        notes=tuple(notes),
    )


def _shapes(jobs: Sequence[CellJob]) -> list[RunSpec]:
    """One run of each (task, B), at the σ nearest to 1: the largest B of every task first, then the smallest, then the rest."""
    found: dict[tuple[str, int], RunSpec] = {}
    for job in jobs:
        spec = job.specs[0]
        key = (spec.task, spec.batch_size)
        if key not in found or abs(np.log(spec.utd)) < abs(np.log(found[key].utd)):
            found[key] = spec
    tasks: dict[str, list[RunSpec]] = {}
    for spec in found.values():
        tasks.setdefault(spec.task, []).append(spec)
    ordered = []
    for specs in tasks.values():
        specs.sort(key=lambda spec: -spec.batch_size)
        ordered.append([specs[0], *specs[:0:-1]])
    return [specs[place] for place in range(max(map(len, ordered))) for specs in ordered if place < len(specs)]


class _Rates:
    """Seconds and FLOPs of any shape, from those that were measured."""

    def __init__(self, speeds: Sequence[Speed]) -> None:
        self._speeds = speeds
        self.start = float(np.mean([speed.start_seconds for speed in speeds])) if speeds else 0.0

    def of_task(self, task: str) -> Sequence[Speed]:
        """Speeds on a task; on the others, where there is none."""
        return [speed for speed in self._speeds if speed.spec.task == task] or self._speeds

    def update_flops(self, spec: RunSpec) -> tuple[int, int]:
        """FLOPs of a critic's and of an actor's update, per transition."""
        speed = self.of_task(spec.task)[0]
        return speed.critic_update_flops, speed.actor_update_flops

    def run_seconds(self, spec: RunSpec, env_steps: int) -> float:
        """Seconds that one run takes."""
        speeds = self.of_task(spec.task)
        critic, actor = due_updates(spec, env_steps)
        updates = self._work(spec, critic, actor) * self._seconds_per_work(speeds, spec.batch_size)
        interval = spec.recording.get("evaluation_interval") or 0
        evaluations = env_steps // interval * float(np.mean([s.evaluation_seconds for s in speeds])) if interval else 0.0
        return float(updates + env_steps * np.mean([s.step_seconds for s in speeds]) + evaluations)

    def _work(self, spec: RunSpec, critic: float, actor: float) -> float:
        """FLOPs of updates per transition: what their seconds are shared out by at a given B."""
        flops = self.update_flops(spec)
        return critic * flops[0] + actor * flops[1]

    def _seconds_per_work(self, speeds: Sequence[Speed], batch_size: int) -> float:
        """At a B: on the line through those measured; with one alone, by what small and large ones usually take."""
        known = {}
        for speed in speeds:
            critic, actor = due_updates(speed.spec, 100_000 + int(speed.spec.settings.get("warm_up", 0)))
            known[speed.spec.batch_size] = speed.update_seconds * critic / max(self._work(speed.spec, critic, actor), 1.0)
        sizes = sorted(known)
        if len(sizes) == 1:
            return known[sizes[0]] * (64 + batch_size) / (64 + sizes[0])
        line = np.polyfit(sizes, [known[size] for size in sizes], 1)
        inside = sizes[0] <= batch_size <= sizes[-1]
        value = np.interp(batch_size, sizes, [known[size] for size in sizes]) if inside else np.polyval(line, batch_size)
        return float(max(value, 0.1 * min(known.values())))


def _seconds(jobs: Sequence[CellJob], rates: _Rates, workers: int) -> float:
    """Until the last of so many workers is done, each of which takes the dearest cell left."""
    busy = np.zeros(workers)
    compiled: list[set[tuple[str, int]]] = [set() for _ in range(workers)]
    lengths = [(len(job.specs) * rates.run_seconds(job.specs[0], job.env_steps), job.shape) for job in jobs]
    for seconds, shape in sorted(lengths, reverse=True):
        first = int(np.argmin(busy))
        busy[first] += seconds + (0.0 if shape in compiled[first] else rates.start)
        compiled[first].add(shape)
    return float(busy.max())


def _flops(jobs: Sequence[CellJob], rates: _Rates, trainer: CustomTrainer | None) -> float | None:
    total = 0.0
    for job in jobs:
        spec = job.specs[0]
        if trainer is not None:
            costs: Mapping[str, Any] = run_costs(spec, {}, job.env_steps, whole=False, trainer=trainer)
            if costs["critic_update_flops"] is None:
                return None
            total += len(job.specs) * costs["flops"]
        elif not rates.of_task(spec.task):
            return None
        else:
            critic, actor = due_updates(spec, job.env_steps)
            flops = rates.update_flops(spec)
            total += len(job.specs) * spec.batch_size * (critic * flops[0] + actor * flops[1])
    return total


def _run_bytes(job: CellJob) -> float:
    recording = job.specs[0].recording
    intervals = [recording.get(name) or job.env_steps for name in ("evaluation_interval", "diagnostics_interval")]
    return _FILES_BYTES + _ROW_BYTES * sum(job.env_steps / interval for interval in (_EPISODE, *intervals) if interval)


def _checkpoint_bytes(files: StudyFiles, jobs: Sequence[CellJob], engine: Engine) -> float | None:
    """Disk for checkpoints: replays of the runs at work and, if checkpoints are kept, of all runs."""
    if files.trainer is not None:
        return None
    from tdscale.tasks import HOST, make_parallel_task

    checkpoints = files.study.checkpoints
    if not jobs or (checkpoints is not None and not checkpoints.minutes):
        return 0.0
    sizes = []
    for task, asked in files.study.tasks.items():
        opened = make_parallel_task(asked.suite, task, 1, HOST)
        row = 4 * (2 * opened.observation_size + opened.action_size + 2)
        opened.close()
        of_task = [job for job in jobs if job.specs[0].task == task]
        sizes += [len(job.specs) * row * min(job.env_steps, job.specs[0].settings["replay_capacity"]) for job in of_task]
    sizes.sort(reverse=True)
    return float(sum(sizes if checkpoints is not None and checkpoints.keep else sizes[: engine.workers or 1]))
