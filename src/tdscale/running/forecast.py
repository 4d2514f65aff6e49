"""What a study will take before it is run: runs, env steps, FLOPs, disk and time, stage by stage. Nothing is written into its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.design.records import CellKey, StepPrices
from tdscale.errors import UserError
from tdscale.running.adaptive import candidates_of, rules_of
from tdscale.running.dispatch import Engine
from tdscale.running.folder import StudyFiles
from tdscale.running.probe import Speed, probe
from tdscale.running.rates import Rates, shapes_of
from tdscale.running.rehearsed_design import RehearsedStudy, Spread, grid_env_steps, likely_truths, rehearse_design
from tdscale.running.rounds_file import read_rounds
from tdscale.running.stages import cells_to_go, sized, wanted_specs
from tdscale.running.trainers.costs import due_updates, run_costs
from tdscale.running.trainers.trainer import CustomTrainer
from tdscale.running.usual_ends import UsualEnds
from tdscale.runs.sizes import Sizes
from tdscale.study import CellJob, Checkpoints, custom_file, is_custom

_FILES_BYTES = 3 * 4096  # of a run: spec, status and curve each take a block at least
_ROW_BYTES = 40  # of a curve's row, compressed
_EPISODE = 200  # env steps, where nothing is known of a task's episodes
PROBE_SECONDS = 20.0
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
        likely_env_steps, likely_seconds: the same by where cells of this study stopped so far (`usual_ends`); None where none did.
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
    likely_env_steps: int | None = None
    likely_seconds: float | None = None


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
        counts = ("cells", "runs", "cells_to_go", "runs_to_go", "env_steps", "critic_updates", "flops", "seconds")
        keys = (*counts, "likely_env_steps", "likely_seconds")
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
    probe_seconds: float = PROBE_SECONDS,
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
    in_rounds = files.study.in_rounds("sweep") and not read_rounds(files.directory, files.study).ended
    if in_rounds:
        wanted["sweep"] = files.study.sweep_specs()
    if files.study.scaling is not None and "scaling" not in wanted:
        wanted |= files.study.expected_stages()
        some = wanted["scaling"][0]
        middle = f"B = {some.batch_size}, η = {some.learning_rate:g}"
        notes.append(f"stage 2's B and η come from stage 1; this estimate uses the middle of the sweep, {middle}")
    ends = UsualEnds(files)
    to_go = {stage: ends.expect(cells_to_go(files, specs)) for stage, specs in wanted.items()}
    jobs = [job for stage in to_go.values() for job in stage]
    speeds: list[Speed] = []
    if files.trainer is not None:
        notes.append("your own trainer is not timed here, so there is no time; `tdscale run` shows the time left once cells are done")
    elif engine.gpu or engine.ray is not None:
        notes.append(
            f"speed is measured only on CPU cores of this machine, so there is no time for {'a GPU' if engine.gpu else 'a cluster'}"
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
                f"no time is given: starting and a few updates took longer than {4 * probe_seconds:g} s, or they could not be made"
            )
        elif measured < shapes:
            notes.append(f"{measured} of {shapes} shapes ({of_what}) were timed in {probe_seconds:g} s; the others are estimated from them")
    if any(jobs for stage, jobs in to_go.items() if not (in_rounds and stage == "sweep")):
        what = "the numbers of stage 2 are maxima" if in_rounds else "these numbers are maxima"
        notes.append(f"a cell that reaches the last threshold stops before its limit: {what}")
    rates = Rates(speeds, files.study)
    workers = engine.workers or 1
    likely = {stage: _likely(of_stage) for stage, of_stage in to_go.items()}
    stages = tuple(
        StageForecast(
            stage=stage,
            cells=len({spec.cell_id for spec in specs}),
            runs=len(specs),
            cells_to_go=len(to_go[stage]),
            runs_to_go=sum(len(job.specs) for job in to_go[stage]),
            env_steps=_env_steps(to_go[stage]),
            critic_updates=sum(len(job.specs) * due_updates(job.specs[0], job.env_steps)[0] for job in to_go[stage]),
            flops=_flops(to_go[stage], rates, files.trainer),
            seconds=_seconds(to_go[stage], rates, workers) if speeds else (0.0 if not to_go[stage] else None),
            likely_env_steps=None if (ending := likely[stage]) is None else _env_steps(ending),
            likely_seconds=None if ending is None or not speeds else _seconds(ending, rates, workers),
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


def seconds_per_step(files: StudyFiles, engine: Engine, seconds: float = PROBE_SECONDS) -> StepPrices:
    """Seconds that one env step of a run takes here, by (task, σ, B), with sizes (task, σ, B, size), for all that a sweep may run.

    Args:
        files: the study.
        engine: what trains.
        seconds: about how long the measuring may take.

    Raises:
        UserError: where speed can't be measured: on a GPU, a cluster, or where a first update takes too long.
    """
    study, candidates = files.study, candidates_of(files.study)
    if engine.gpu or engine.ray is not None:
        raise UserError('sweep.price: "seconds" are measured only on CPU cores of this machine; use "env-steps" on a GPU or a cluster')
    batches, steps = dict.fromkeys(batch for batch, _ in candidates.pairs), candidates.env_steps
    points = [(*place, batch, candidates.learning_rate[0]) for place in candidates.places for batch in batches]
    jobs = [
        sized(CellJob(specs=(spec,), env_steps=steps[spec.task], target=None), one)
        for one in files.by_size().values()
        for spec in one.study.specs(points, "sweep", 1)
    ]
    own = custom_file(study.algorithm, files.directory) if is_custom(study.algorithm) else None
    rates = Rates(probe(shapes_of(jobs), engine=engine, files=[] if own is None else [own], seconds=seconds), study)
    if not rates.known:
        raise UserError('sweep.price: "seconds" could not be measured, because a first update took too long; use "env-steps"')
    found: dict[Any, float] = {}
    for job in jobs:
        (spec,) = job.specs
        place = (spec.task, spec.utd, spec.batch_size)
        found[(*place, job.size) if job.size else place] = rates.run_seconds(spec, steps[spec.task]) / steps[spec.task]
    return found


def _adaptive(files: StudyFiles, rates: Rates, engine: Engine, simulated: int) -> tuple[StageForecast, list[CellJob], list[str]]:
    """What is left of an adaptive stage 1 by simulated studies, the jobs of a typical one, and what was assumed."""
    study = files.study
    # all sizes learn equally fast here, for every N
    candidates, rules = candidates_of(study, {name: 4.0**place for place, name in enumerate(study.sizes)}), rules_of(study)
    top = study.return_thresholds[-1]
    truths, notes = likely_truths(study, None, candidates, simulated)
    studies = rehearse_design("adaptive", truths, candidates, study.return_thresholds, rules).studies
    statuses = files.store.statuses(problems=[])
    specs = read_rounds(files.directory, study).specs(study, "sweep")
    done = [spec for spec in specs if spec.run_id in statuses and statuses[spec.run_id].state != "failed"]
    spent = sum(statuses[spec.run_id].last_step for spec in done)
    cells_done = len({spec.cell_id for spec in done})
    left = [max(one.env_steps - spent, 0.0) / one.env_steps for one in studies]
    sizes = files.by_size()
    jobs = [[_training(sizes, cell.cell, cell.seeds, cell.env_steps) for cell in one.cells] for one in studies]

    def to_go(values: Sequence[float]) -> Spread:
        return Spread.of([share * value for share, value in zip(left, values, strict=True)])

    flops = [_flops(of_study, rates, files.trainer) for of_study in jobs]
    known = [value for value in flops if value is not None]
    timed = [_seconds_in_rounds(sizes, one, rates, engine.workers or 1) for one in studies] if rates.known else None
    grids = [grid_env_steps(truth, candidates, top, rules.margin) for truth in truths]
    cells, runs = (Spread.of([float(value) for value in values]) for values in ([len(s.cells) for s in studies], [s.runs for s in studies]))
    found = AdaptiveForecast(
        studies=len(studies),
        cells_to_go=_less(cells, cells_done),
        runs_to_go=_less(runs, len(done)),
        env_steps=to_go([one.env_steps for one in studies]),
        critic_updates=to_go([float(sum(map(_critic_updates, of_study))) for of_study in jobs]),
        flops=to_go(known) if len(known) == len(studies) else None,
        seconds=None if timed is None else to_go(timed),
        grid_cells=len(candidates.places) * len(candidates.grid),
        grid_runs=len(candidates.places) * len(candidates.grid) * candidates.seeds,
        grid_env_steps=Spread.of(grids),
        grid_share=Spread.of([one.env_steps / grid for one, grid in zip(studies, grids, strict=True)]),
    )
    stage = StageForecast(
        stage="sweep",
        cells=cells_done + round(found.cells_to_go.middle),
        runs=len(done) + round(found.runs_to_go.middle),
        cells_to_go=round(found.cells_to_go.middle),
        runs_to_go=round(found.runs_to_go.middle),
        env_steps=round(found.env_steps.middle),
        critic_updates=round(found.critic_updates.middle),
        flops=None if found.flops is None else found.flops.middle,
        seconds=None if found.seconds is None else found.seconds.middle,
        adaptive=found,
    )
    notes = [f"stage 1 is adaptive: its numbers are medians over {len(studies)} simulated studies", *notes]
    if len(sizes) > 1:
        notes.append("the simulated studies assume that all sizes learn equally fast")
    if study.sweep is not None and study.sweep.price == "seconds":
        notes.append("the simulated studies compare cells by env steps, because seconds are measured when the study starts")
    if done:
        notes.append(f"what {len(done)} runs of stage 1 took, {spent:,} env steps, is subtracted from the total of the simulated studies")
    order = np.argsort([one.env_steps for one in studies])
    return stage, jobs[int(order[len(order) // 2])], notes


def _likely(jobs: Sequence[CellJob]) -> list[CellJob] | None:
    """The same, each to where it will likely stop; None where that is not known of all."""
    ends = [job.likely_env_steps for job in jobs]
    return None if None in ends else [replace(job, env_steps=end) for job, end in zip(jobs, ends, strict=True) if end is not None]


def _env_steps(jobs: Sequence[CellJob]) -> int:
    return sum(len(job.specs) * job.env_steps for job in jobs)


def _critic_updates(job: CellJob) -> int:
    return len(job.specs) * due_updates(job.specs[0], job.env_steps)[0]


def _less(whole: Spread, done: int) -> Spread:
    return Spread(low=max(whole.low - done, 0.0), middle=max(whole.middle - done, 0.0), high=max(whole.high - done, 0.0))


def _seconds_in_rounds(sizes: Mapping[str, StudyFiles], rehearsed: RehearsedStudy, rates: Rates, workers: int) -> float:
    """Until the last round is done; each waits for the one before it."""
    compiled: list[set[tuple[str, int, str]]] = [set() for _ in range(workers)]
    total = 0.0
    for trained in rehearsed.rounds:
        jobs = [_training(sizes, one.key, one.seeds, one.env_steps, one.first) for one in trained]
        total += _seconds(jobs, rates, workers, compiled)
    return total


def _training(sizes: Mapping[str, StudyFiles], key: CellKey, seeds: int, env_steps: int, first: int = 0) -> CellJob:
    """A simulated cell's training, or a part of it."""
    files = sizes[key[4] if len(key) == 5 else ""]
    specs = files.study.specs([key[:4]], "sweep", first + seeds)[first:]
    return sized(CellJob(specs=tuple(specs), env_steps=env_steps, target=None), files)


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
