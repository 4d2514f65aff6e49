"""What a study will take before it is run: runs, env steps, FLOPs, disk and time, stage by stage. Nothing is written into its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.design.candidates import Candidates
from tdscale.errors import UserError
from tdscale.running.adaptive import candidates_of, rules_of
from tdscale.running.dispatch import Engine
from tdscale.running.folder import StudyFiles
from tdscale.running.probe import Speed, probe
from tdscale.running.rates import Rates, shapes_of
from tdscale.running.rehearsed_design import RehearsedStudy, Spread, Training, grid_env_steps, likely_truths, rehearse_design
from tdscale.running.rounds_file import read_rounds
from tdscale.running.stages import cells_to_go, sized, wanted_specs
from tdscale.running.trainers.costs import due_updates, run_costs
from tdscale.running.trainers.trainer import CustomTrainer
from tdscale.runs.sizes import Sizes
from tdscale.study import CellJob, Checkpoints, RunSpec, custom_file, is_custom

_FILES_BYTES = 3 * 4096  # of a run: spec, status and curve each take a block at least
_ROW_BYTES = 40  # of a curve's row, compressed
_EPISODE = 200  # env steps, where nothing is known of a task's episodes
_PROBE_SECONDS = 20.0
_SIMULATED = 8  # studies, for the price of an adaptive sweep


@dataclass(frozen=True, kw_only=True)
class AdaptiveForecast:
    """What is left of an adaptive stage 1, over simulated studies, beside the grid's.

    Attributes:
        studies: how many were simulated.
        cells_to_go, runs_to_go, env_steps, critic_updates, flops, seconds: with their 10, 50 and 90 % quantiles; None as in the stage.
        grid_cells, grid_runs: of the whole grid.
        grid_env_steps: of the whole grid, whose cells stop a margin after they reach the last threshold; the same studies.
        grid_share: env steps of the whole adaptive sweep, as a share of the grid's.
    """

    studies: int
    cells_to_go: Spread
    runs_to_go: Spread
    env_steps: Spread
    critic_updates: Spread
    flops: Spread | None
    seconds: Spread | None
    grid_cells: int
    grid_runs: int
    grid_env_steps: Spread
    grid_share: Spread


@dataclass(frozen=True, kw_only=True)
class StageForecast:
    """What is left of a stage, if no cell stops before its limit; of an adaptive stage 1 the median over simulated studies.

    Attributes:
        stage, cells, runs: with what is done already.
        cells_to_go, runs_to_go: what is not.
        env_steps, critic_updates: of the runs to go.
        flops: of their updates, counted; None where the cost of an update is not known.
        seconds: with the engine's workers; None where speed was not measured.
        adaptive: how far simulated studies differ, where the stage is run in rounds and has not ended.
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
    adaptive: AdaptiveForecast | None = None


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a study will take.

    Attributes:
        stages: in their order.
        disk_bytes: what its runs will take, about.
        checkpoint_bytes: what checkpoints take besides, at most, while it runs; None where that is a trainer's own affair.
        workers: processes side by side.
        speeds: what the probe measured.
        speed_sizes: names of the sizes that they are of, in a study with [sizes].
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
    speed_sizes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, with the sums over the stages."""
        keys = ("cells", "runs", "cells_to_go", "runs_to_go", "env_steps", "critic_updates", "flops", "seconds")
        columns = {key: [getattr(stage, key) for stage in self.stages] for key in keys}
        total = {key: None if None in values else sum(values) for key, values in columns.items()}
        speeds = []
        for speed in self.speeds:
            values = {key: value for key, value in vars(speed).items() if key != "spec"}
            speeds.append({"task": speed.spec.task, "utd": speed.spec.utd, "batch_size": speed.spec.batch_size} | values)
        speeds = [values | {"size": size} for values, size in zip(speeds, self.speed_sizes, strict=True)] if self.speed_sizes else speeds
        content = {name: value for name, value in vars(self).items() if name != "speed_sizes"}
        return content | {"stages": [asdict(stage) for stage in self.stages], "total": total, "speeds": speeds}


def forecast(
    files: StudyFiles,
    engine: Engine,
    *,
    source: Path | None = None,
    probe_seconds: float = _PROBE_SECONDS,
    simulated: int = _SIMULATED,
) -> Forecast:
    """Count what is left of a study, and train a little of its own shapes to see how long that takes on this machine.

    Args:
        files: of `prepare_study`, or an open study.
        engine: what would train it.
        source: folder of the user's algorithm, where its file is not yet in the study's.
        probe_seconds: about how long the probe may take. 0: no time is predicted, nor FLOPs of tdscale's agents.
        simulated: studies that are simulated for the price of an adaptive sweep.

    Raises:
        UserError: if the settings of the user's algorithm are not known.
    """
    notes: list[str] = []
    wanted = wanted_specs(files)
    in_rounds = files.study.in_rounds("sweep") and not all(read_rounds(one.directory, one.study).ended for one in files.by_size().values())
    if in_rounds:
        wanted["sweep"] = files.study.sweep_specs()
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
        asked = shapes_of(jobs)
        speeds = probe(asked, engine=engine, files=own[:1], seconds=probe_seconds)
        measured, shapes = len(speeds), len(asked)
        of_what = "task, B, size" if files.study.sizes else "task, B"
        if not speeds:
            notes.append(
                f"no time is told: to start and make a few updates took longer than {4 * probe_seconds:g} s, or they could not be made"
            )
        elif measured < shapes:
            notes.append(
                f"{measured} of {shapes} shapes ({of_what}) were tried out in {probe_seconds:g} s; the others are reckoned from them"
            )
    if any(jobs for stage, jobs in to_go.items() if not (in_rounds and stage == "sweep")):
        what = "these are the most of stage 2" if in_rounds else "these are the most"
        notes.append(f"a cell that reaches the last threshold stops before its limit: {what}")
    rates = Rates(speeds, files.study)
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
    if in_rounds:
        adaptive, typical, assumed = _adaptive(files, rates, engine, simulated)
        stages = tuple(adaptive if stage.stage == "sweep" else stage for stage in stages)
        jobs = [*typical, *(job for stage, of_stage in to_go.items() if stage != "sweep" for job in of_stage)]
        notes += assumed
    return Forecast(
        study=files.study.name,
        directory=str(files.directory),
        workers=engine.workers,
        stages=stages,
        disk_bytes=float(sum(len(job.specs) * _run_bytes(job) for job in jobs)),
        checkpoint_bytes=_checkpoint_bytes(files, jobs, engine, in_rounds=in_rounds),
        speeds=tuple(speeds),
        notes=tuple(notes),
        speed_sizes=tuple(Sizes(files.study).of(speed.spec) or "" for speed in speeds) if files.study.sizes else (),
    )


def seconds_per_step(files: StudyFiles, engine: Engine) -> dict[tuple[str, float, int], float]:
    """Seconds that one env step of a run takes here, by (task, σ, B), for every cell that an adaptive sweep may run. `files`: of one size.

    Raises:
        UserError: where speed can't be measured: on a GPU, a cluster, or where a first update takes too long.
    """
    study, candidates = files.study, candidates_of(files.study)
    if engine.gpu or engine.ray is not None:
        raise UserError('sweep.price: "seconds" are measured on CPU cores of this machine alone; use "env-steps" on a GPU or a cluster')
    batches = dict.fromkeys(batch for batch, _ in candidates.pairs)
    points = [(*place, batch, candidates.learning_rate[0]) for place in candidates.places for batch in batches]
    specs = study.specs(points, "sweep", 1)
    jobs = [CellJob(specs=(spec,), env_steps=candidates.env_steps[spec.task], target=None) for spec in specs]
    own = custom_file(study.algorithm, files.directory) if is_custom(study.algorithm) else None
    rates = Rates(probe(shapes_of(jobs), engine=engine, files=[] if own is None else [own], seconds=_PROBE_SECONDS), study)
    if not rates.known:
        raise UserError('sweep.price: "seconds" could not be measured, as a first update took too long; use "env-steps"')
    steps = candidates.env_steps
    return {(spec.task, spec.utd, spec.batch_size): rates.run_seconds(spec, steps[spec.task]) / steps[spec.task] for spec in specs}


@dataclass(frozen=True, kw_only=True)
class _Simulated:
    """Simulated adaptive sweeps of one size: each with its jobs, and the whole grid's env steps on the same curves."""

    files: StudyFiles
    candidates: Candidates
    studies: Sequence[RehearsedStudy]
    jobs: Sequence[list[CellJob]]
    grids: Sequence[float]
    notes: Sequence[str]
    done: Sequence[RunSpec]
    spent: int

    @classmethod
    def of(cls, files: StudyFiles, simulated: int) -> "_Simulated":
        study = files.study
        candidates, rules = candidates_of(study), rules_of(study)
        top = study.return_thresholds[-1]
        truths, notes = likely_truths(study, None, candidates, simulated)
        studies = rehearse_design("adaptive", truths, candidates, study.return_thresholds, rules).studies
        statuses = files.store.statuses(problems=[])
        specs = read_rounds(files.directory, study).specs(study, "sweep")
        done = [spec for spec in specs if spec.run_id in statuses and statuses[spec.run_id].state != "failed"]
        return cls(
            files=files,
            candidates=candidates,
            studies=studies,
            jobs=[_jobs(files, one) for one in studies],
            grids=[grid_env_steps(truth, candidates, top, rules.margin) for truth in truths],
            notes=notes,
            done=done,
            spent=sum(statuses[spec.run_id].last_step for spec in done),
        )

    @property
    def left(self) -> list[float]:
        """Share of each study's env steps that is not done; nothing where the rounds have ended."""
        ended = bool(read_rounds(self.files.directory, self.files.study).ended)
        return [0.0 if ended else max(one.env_steps - self.spent, 0.0) / one.env_steps for one in self.studies]


def _adaptive(files: StudyFiles, rates: Rates, engine: Engine, simulated: int) -> tuple[StageForecast, list[CellJob], list[str]]:
    """What is left of an adaptive stage 1 by simulated studies, the jobs of a typical one, and what was assumed."""
    sizes = [_Simulated.of(one, simulated) for one in files.by_size().values()]
    count = len(sizes[0].studies)

    def to_go(values: Sequence[Sequence[float]]) -> Spread:
        """From a number of each study of each size: the spread of their sums over the sizes."""
        parts = [
            [share * value for share, value in zip(one.left, of_size, strict=True)] for one, of_size in zip(sizes, values, strict=True)
        ]
        return _summed(parts)

    flops = [[_flops(jobs, rates, files.trainer) for jobs in one.jobs] for one in sizes]
    known = [[value for value in of_size if value is not None] for of_size in flops]
    timed = None
    if rates.known:
        timed = Spread.of([_seconds_in_rounds(sizes, place, rates, engine.workers or 1) for place in range(count)])
    cells_done, runs_done = sum(len({spec.cell_id for spec in one.done}) for one in sizes), sum(len(one.done) for one in sizes)
    cells = _summed([[float(len(study.cells)) for study in one.studies] for one in sizes])
    runs = _summed([[float(study.runs) for study in one.studies] for one in sizes])
    env_steps = [[study.env_steps for study in one.studies] for one in sizes]
    grid_cells = [len(one.candidates.places) * len(one.candidates.grid) for one in sizes]
    grids = np.sum([one.grids for one in sizes], axis=0)
    found = AdaptiveForecast(
        studies=count,
        cells_to_go=_less(cells, cells_done),
        runs_to_go=_less(runs, runs_done),
        env_steps=to_go(env_steps),
        critic_updates=to_go([[float(sum(map(_critic_updates, jobs))) for jobs in one.jobs] for one in sizes]),
        flops=to_go(known) if all(len(of_size) == count for of_size in known) else None,
        seconds=timed,
        grid_cells=sum(grid_cells),
        grid_runs=sum(number * one.candidates.seeds for number, one in zip(grid_cells, sizes, strict=True)),
        grid_env_steps=Spread.of(grids),
        grid_share=Spread.of(np.sum(env_steps, axis=0) / grids),
    )
    stage = StageForecast(
        stage="sweep",
        cells=cells_done + round(found.cells_to_go.middle),
        runs=runs_done + round(found.runs_to_go.middle),
        cells_to_go=round(found.cells_to_go.middle),
        runs_to_go=round(found.runs_to_go.middle),
        env_steps=round(found.env_steps.middle),
        critic_updates=round(found.critic_updates.middle),
        flops=None if found.flops is None else found.flops.middle,
        seconds=None if found.seconds is None else found.seconds.middle,
        adaptive=found,
    )
    notes = [f"stage 1 is adaptive: its numbers are medians over {count} simulated studies", *sizes[0].notes]
    if len(sizes) > 1:
        notes.append("the simulated studies take every size to learn alike")
    if files.study.sweep is not None and files.study.sweep.price == "seconds":
        notes.append("the simulated studies compare cells by env steps, for seconds are measured as the study begins")
    if runs_done:
        spent = sum(one.spent for one in sizes)
        notes.append(f"what {runs_done} runs of stage 1 took, {spent:,} env steps, is taken off what the simulated studies take in all")
    typical = int(np.argsort(np.sum(env_steps, axis=0))[count // 2])
    return stage, [job for one in sizes for job in one.jobs[typical]], notes


def _summed(parts: Sequence[Sequence[float]]) -> Spread:
    """Of a number of each study of each size, shape (n_sizes, n_studies): the spread of their sums."""
    return Spread.of(np.sum(parts, axis=0))


def _critic_updates(job: CellJob) -> int:
    return len(job.specs) * due_updates(job.specs[0], job.env_steps)[0]


def _less(whole: Spread, done: int) -> Spread:
    return Spread(low=max(whole.low - done, 0.0), middle=max(whole.middle - done, 0.0), high=max(whole.high - done, 0.0))


def _jobs(files: StudyFiles, rehearsed: RehearsedStudy) -> list[CellJob]:
    """The cells of a simulated study of a size, with what their runs took."""
    return [
        sized(CellJob(specs=tuple(files.study.specs([cell.key], "sweep", cell.seeds)), env_steps=cell.env_steps, target=None), files)
        for cell in rehearsed.cells
    ]


def _seconds_in_rounds(sizes: Sequence[_Simulated], place: int, rates: Rates, workers: int) -> float:
    """What is left until the last round of a simulated study is done; the sizes' rounds of one number go together, after those before."""
    compiled: list[set[tuple[str, int, str]]] = [set() for _ in range(workers)]
    total = 0.0
    for together in zip_longest(*(one.studies[place].rounds for one in sizes), fillvalue=()):
        jobs = [_training(one.files, part) for one, trained in zip(sizes, together, strict=True) for part in trained]
        total += _seconds(jobs, rates, workers, compiled)
    env_steps = [one.studies[place].env_steps for one in sizes]
    return total * sum(one.left[place] * steps for one, steps in zip(sizes, env_steps, strict=True)) / sum(env_steps)


def _training(files: StudyFiles, one: Training) -> CellJob:
    """A part of a simulated cell's training."""
    specs = tuple(files.study.specs([one.key], "sweep", one.first + one.seeds)[one.first :])
    return sized(CellJob(specs=specs, env_steps=one.env_steps, target=None), files)


def _seconds(jobs: Sequence[CellJob], rates: Rates, workers: int, compiled: list[set[tuple[str, int, str]]] | None = None) -> float:
    """Until the last of so many workers is done, each of which takes the dearest cell left; what each has compiled is added to."""
    busy = np.zeros(workers)
    compiled = [set() for _ in range(workers)] if compiled is None else compiled
    lengths = [(len(job.specs) * rates.run_seconds(job.specs[0], job.env_steps), job.shape) for job in jobs]
    for seconds, shape in sorted(lengths, reverse=True):
        first = int(np.argmin(busy))
        busy[first] += seconds + (0.0 if shape in compiled[first] else rates.start)
        compiled[first].add(shape)
    return float(busy.max())


def _flops(jobs: Sequence[CellJob], rates: Rates, trainer: CustomTrainer | None) -> float | None:
    total = 0.0
    for job in jobs:
        spec = job.specs[0]
        if trainer is not None:
            costs: Mapping[str, Any] = run_costs(spec, {}, job.env_steps, whole=False, trainer=trainer)
            if costs["critic_update_flops"] is None:
                return None
            total += len(job.specs) * costs["flops"]
        elif not rates.alike(spec):
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


def _checkpoint_bytes(files: StudyFiles, jobs: Sequence[CellJob], engine: Engine, *, in_rounds: bool) -> float | None:
    """Disk for checkpoints: replays of the runs at work and, if checkpoints are kept, of all runs; in rounds up to a bound."""
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
    if checkpoints is not None and checkpoints.keep:
        return float(sum(sizes))
    kept = min(sum(sizes), (checkpoints or Checkpoints()).gigabytes * 1e9) if in_rounds else 0.0
    return float(max(sum(sizes[: engine.workers or 1]), kept))
