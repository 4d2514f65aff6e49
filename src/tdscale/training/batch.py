"""`RunBatch`: runs that share shapes, advanced together step by step. One run on a CPU is a batch of one.

`open_batches` puts the runs of cells into batches, resumed from their checkpoints where there are any; `advance_all` advances them to
an env step. `training.cell` calls both.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.runs.types import RunResult
from tdscale.study import CellJob, RunSpec, is_custom
from tdscale.training.algorithms import find_algorithm
from tdscale.training.checkpoint import Checkpoint, CheckpointRefused, Saving, Snapshot, fitting, named, part_of
from tdscale.training.custom_algorithm import custom_version
from tdscale.training.device_learner import DeviceLearner
from tdscale.training.experience import EnvironmentFailure, replay_rows
from tdscale.training.learner import HostLearner, Learner, origin, to_arrays
from tdscale.training.run import UNIFORM, VALIDATION, Evaluation, TrainingRun, newest_ages
from tdscale.training.schedule import UpdateFlags, UpdateSchedule

_CHUNK = 16  # minibatches in one call of the update: enough to hide the call, few enough that padding costs nothing
_LEAST_CHUNK = 4  # on the host, where unused minibatches are not copied: all σ up to it share what is compiled


class RunBatch:
    """Runs that differ in η and seed only, so that their updates fall due together."""

    def __init__(self, specs: Sequence[RunSpec], env_steps: int, *, together: bool = False, folder: Path | None = None) -> None:
        """Open the environments and compile.

        Args:
            specs: alike but for learning rate, seed and stage.
            env_steps: the most that is to be run; it only bounds the memory taken.
            together: the agents under `vmap` and their replays on the device, for a GPU. Else there is one spec, trained on the host.
            folder: where the file of an algorithm named as "module:name" may lie.

        Raises:
            UserError: if the task or algorithm can't be run.
            ValueError: if the specs differ otherwise.
        """
        if len({spec.batch_id for spec in specs}) != 1 or not (together or len(specs) == 1):
            raise ValueError("a batch takes specs that differ in learning rate, seed and stage alone, and but one on the host")
        self._algorithm, settings = find_algorithm(specs[0], folder)
        self._own_version = custom_version(specs[0].algorithm, folder) if is_custom(specs[0].algorithm) else {}
        self._settings = settings
        self.runs: list[TrainingRun] = []
        self._threads = ThreadPoolExecutor() if len(specs) > 1 else None
        self._mapped: Callable[..., Any] = map if self._threads is None else self._threads.map
        self._evaluation = Evaluation(settings, self._mapped)
        try:
            for spec in specs:
                self.runs.append(TrainingRun(spec, settings, env_steps))
            self._config = self._algorithm.configure(settings, self.runs[0].experience.task)
            self._resets = settings.resets
            self._schedule = UpdateSchedule(specs[0].utd, settings.actor_updates, settings.critic_updates_per_actor_update)
            # a call takes its minibatches along whether they are used or not: no more than those of one step, where updates come singly
            one_step = max(ceil(specs[0].utd * settings.environments), 1 if together else _LEAST_CHUNK)
            self._chunk = min(_CHUNK, one_step) if settings.update_block == 1 else _CHUNK
            whole_steps = ceil(env_steps / settings.environments) * settings.environments
            self._capacity = replay_rows(settings.replay_capacity, whole_steps)
            self._first_seeds = {run.spec.run_id: run.new_seed() for run in self.runs}
            self._learner = self._make_learner(self._capacity, together)
        except BaseException:
            self.close()
            raise
        self._due: list[UpdateFlags] = []
        self._waiting: Any = None
        self._steps = 0  # of the environments, each of which makes one env step

    def _make_learner(self, capacity: int, together: bool) -> Learner:
        spec, seeds = self.runs[0].spec, list(self._first_seeds.values())
        shapes = {"capacity": capacity, "chunk": self._chunk, "batch_size": spec.batch_size}
        if not together:
            return HostLearner(self._algorithm, self._config, seed=seeds[0], learning_rate=spec.learning_rate, **shapes)
        rates = [run.spec.learning_rate for run in self.runs]
        environments = self._settings.environments
        return DeviceLearner(self._algorithm, self._config, seeds=seeds, learning_rates=rates, environments=environments, **shapes)

    @property
    def env_step(self) -> int:
        """Env steps that every run still going has made."""
        return self._steps * self._settings.environments

    @property
    def going(self) -> bool:
        """Whether any run is."""
        return any(run.going for run in self.runs)

    def advance(self, env_step: int) -> None:
        """Advance to the given env step (or past it, to a whole step of the environments), or until every run has ended."""
        advance_in_turns([self], env_step)

    def begin_step(self) -> None:
        """Begin episodes where the last ones are over, and ask for actions: the device works on them while other batches step."""
        self._each(lambda slot: self.runs[slot].experience.begin_episodes())
        observations = np.stack([run.experience.observations for run in self.runs])
        self._learner.observe(observations)
        if self.env_step < self._settings.warm_up:
            self._waiting = [run.experience.random_actions() for run in self.runs]
            return
        self._waiting = self._learner.act(observations, np.stack([run.experience.noise() for run in self.runs]))

    def finish_step(self) -> None:
        """Step the environments, remember, learn, measure."""
        if self._learner.slots > 1:
            with self._updating():
                actions = np.asarray(self._waiting)  # which wait for the updates before them
                self._check_finite()
        else:
            actions = np.asarray(self._waiting)
        rows: list[NDArray[np.float32] | None] = [None] * len(self.runs)

        def collect(slot: int) -> None:
            rows[slot] = self.runs[slot].collect(actions[slot])

        self._each(collect)
        self._steps += 1
        self._learner.remember(rows)
        if any(self.env_step - self._settings.environments < step <= self.env_step for step in self._resets.env_steps):
            self._reset()
        self._learn()
        self._measure()

    def _learn(self) -> None:
        settings = self._settings
        past = self.env_step - settings.warm_up
        if past <= 0:
            return
        self._due += self._schedule.due_between(past - settings.environments, past)
        if past // settings.environments % settings.update_block or not self._due or not self.going:
            return
        every = self._resets.critic_updates
        with self._updating():
            while self._due:
                call = self._next_call(every)
                self._learner.update(call, [run.sampling for run in self.runs])
                for run in self._going():
                    run.critic_updates += sum(flag.critic for flag in call)
                    run.actor_updates += sum(flag.actor for flag in call)
                if every is not None and call[-1].critic and self._critic_updates % every == 0:
                    self._reset()
        if self._learner.slots == 1:
            self._check_finite()

    @property
    def _critic_updates(self) -> int:
        return max(run.critic_updates for run in self.runs)

    def _next_call(self, reset_every: int | None) -> list[UpdateFlags]:
        """Take from what is due: a chunk at most, and no further than to the critic update that a reset follows."""
        end, critic_updates = 0, self._critic_updates
        for flags in self._due[: self._chunk]:
            end += 1
            critic_updates += flags.critic
            if reset_every is not None and flags.critic and critic_updates % reset_every == 0:
                break
        call, self._due = self._due[:end], self._due[end:]
        return call

    def _reset(self) -> None:
        """New networks and optimisers; the replays are kept."""
        self._check_finite()
        same = self._resets.same_weights
        self._learner.reset([self._first_seeds[run.spec.run_id] if same else run.new_seed() for run in self.runs])
        for run in self._going():
            run.resets.append(run.env_step)

    def _measure(self) -> None:
        settings = self._settings
        validates = settings.diagnostics_interval > 0 and self._steps % self.runs[0].held_out.every == 0
        diagnoses = self._falls_due(settings.diagnostics_interval) and self.env_step > settings.warm_up
        evaluates = self._falls_due(settings.evaluation_interval)
        if validates or diagnoses or evaluates:
            self.settle()
        if validates:
            self._validate()
        if diagnoses:
            self._diagnose()
        if evaluates and self.going:
            for run, value in self._evaluation.returns(self.runs, self._learner).items():
                run.curve.log(run.env_step, evaluation_return=value)

    def settle(self) -> None:
        """Wait for the updates that were asked for: a run whose loss is NaN has diverged, before NaN as its action makes it a failure."""
        with self._updating():
            self._check_finite()

    def _falls_due(self, interval: int) -> bool:
        return interval > 0 and self.env_step // interval > (self.env_step - self._settings.environments) // interval

    def _validate(self) -> None:
        """Step the validation environments with the policy of training."""
        if not self.going:
            return
        held_out = [run.held_out for run in self.runs]
        self._each(lambda slot: held_out[slot].begin_episodes())
        if self.env_step <= self._settings.warm_up:
            actions = np.stack([one.random_actions() for one in held_out])
        else:
            observations = np.stack([one.observations for one in held_out])
            actions = np.asarray(self._learner.act(observations, np.stack([one.noise() for one in held_out])))
        self._each(lambda slot: held_out[slot].kept.add(held_out[slot].step(actions[slot]).rows))

    def _diagnose(self) -> None:
        slots, newest = self._slots(), newest_ages(self._settings.environments, self._capacity)
        if not slots or any(self._learner.remembered(slot) < newest[0] or not len(self.runs[slot].held_out.kept) for slot in slots):
            return
        # a run that has ended may not have a row to sample
        validation = [np.zeros((VALIDATION, self._config.row_size), np.float32)] * len(self.runs)
        costs = self._learner.costs()
        for slot in slots:
            validation[slot] = self.runs[slot].held_out.sample(VALIDATION)
        found = self._learner.diagnose(UNIFORM, newest, validation, [run.diagnosing for run in self.runs])
        for slot in slots:
            self.runs[slot].log_counts(costs)
            self.runs[slot].log_diagnosis(found[slot])

    def _check_finite(self) -> None:
        for run, finite in zip(self.runs, self._learner.finite(), strict=True):
            if run.going and not finite:
                run.diverge("the loss is no longer finite")

    def _slots(self) -> list[int]:
        return [slot for slot, run in enumerate(self.runs) if run.going]

    def _going(self) -> list[TrainingRun]:
        return [run for run in self.runs if run.going]

    def _each(self, call: Callable[[int], object]) -> None:
        """For the slot of every run that is going, in threads where there are several. An environment that raises ends its run alone."""

        def alone(slot: int) -> None:
            try:
                call(slot)
            except EnvironmentFailure as failure:
                self.runs[slot].fail(failure)

        for _ in self._mapped(alone, self._slots()):
            pass

    @contextmanager
    def _updating(self) -> Iterator[None]:
        """Seconds spent within are updates', shared out over the runs."""
        started = time.perf_counter()
        yield
        share = (time.perf_counter() - started) / max(len(self._going()), 1)
        for run in self._going():
            run.update_seconds += share

    def leave(self, run_id: str) -> None:
        """A run that is done: the others continue, and once half of the slots are empty the batch is formed again without them.

        A run that diverged or failed stays until its cell is done and takes its result.
        """
        for run in self.runs:
            run.left |= run.spec.run_id == run_id
        kept = [slot for slot, run in enumerate(self.runs) if not run.left]
        if kept and len(kept) <= len(self.runs) // 2:
            self._learner.keep(kept)
            for run in self.runs:
                if run.left:
                    self._evaluation.forget(run)
                    run.close()
            self.runs = [self.runs[slot] for slot in kept]

    def snapshot(self, slot: int) -> Snapshot:
        """What a checkpoint holds of a run: among its values env_step, and `steps`, those of the batch."""
        run, agent = self.runs[slot], self._learner.agent(slot)
        values, arrays = run.recorded()
        values |= {"steps": self._steps, "due": [list(flags) for flags in self._due]} | origin(agent, self._versions(run))
        rows = {"replay": self._learner.ring(slot)} | run.rings()
        return Snapshot(values=values, arrays=arrays | named(agent=to_arrays(agent)), rows=rows)

    def restore(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        """Become the batch that wrote these checkpoints, one for each run by run_id, all of the same `steps`.

        Raises:
            CheckpointRefused: if one was not written by this algorithm on this task with these libraries; discard the batch then.
        """
        for slot, run in enumerate(self.runs):
            checkpoint = checkpoints[run.spec.run_id]
            with fitting(run.spec.run_id, checkpoint, origin(self._learner.agent(slot), self._versions(run))):
                arrays = checkpoint.arrays()
                run.restore(checkpoint, arrays)
                self._learner.restore(slot, part_of(arrays, "agent"), checkpoint.added("replay"), checkpoint.rows("replay"))
                self._steps = int(checkpoint.values["steps"])
                self._due = [UpdateFlags(*flags) for flags in checkpoint.values["due"]]

    def checkpoint_bytes(self) -> int:
        """About so many in the first checkpoints of these runs."""
        rows = sum(self._learner.remembered(slot) for slot in range(len(self.runs)))
        agent = sum(array.nbytes for array in to_arrays(self._learner.agent(0)).values())
        return 4 * rows * int(self._config.row_size) + agent * len(self.runs)

    def _versions(self, run: TrainingRun) -> dict[str, str]:
        return run.library_versions() | run.experience.task.versions() | self._own_version

    def result(self, run_id: str, notes: dict[str, Any]) -> RunResult:
        """A run in its present state."""
        run = next(run for run in self.runs if run.spec.run_id == run_id)
        return run.result(self._learner.costs(), run.experience.task.versions() | self._own_version, notes)

    def close(self) -> None:
        """Close the environments."""
        for run in self.runs:
            run.close()
        self._evaluation.close()
        if self._threads is not None:
            self._threads.shutdown()


def advance_in_turns(batches: Sequence[RunBatch], env_step: int, pause: Callable[[], bool] = lambda: False) -> None:
    """Advance batches to an env step, or until `pause` says so between two steps; the environments of one step while the device
    learns for the others."""
    going = []
    for batch in batches:
        if batch.going and batch.env_step < env_step:
            _timed(batch, batch.begin_step)
            going.append(batch)
    while going:
        pausing: bool | None = None  # asked once for all of them: runs that stop at one step can share a batch when they resume
        for batch in tuple(going):
            _timed(batch, batch.finish_step)
            goes_on = batch.going and batch.env_step < env_step
            if goes_on and pausing is None:
                pausing = pause()
            if goes_on and not pausing:
                _timed(batch, batch.begin_step)
            else:
                _timed(batch, batch.settle)
                going.remove(batch)


def _timed(batch: RunBatch, call: Callable[[], None]) -> None:
    runs = [run for run in batch.runs if run.going]
    started = time.perf_counter()
    call()
    share = (time.perf_counter() - started) / len(runs) if runs else 0.0
    for run in runs:
        run.wall_seconds += share


_HALVES = 8  # runs from which on two batches take turns: the environments of one step while the device learns for the other


def open_batches(jobs: Sequence[CellJob], *, together: bool, folder: Path | None, saving: Saving | None) -> Iterator[RunBatch]:
    """The runs of all cells. Those that don't stand at one step can't share a batch.

    Raises:
        UserError: if a task or algorithm can't be used.
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
        batch, beginning = _resumed(part, make, found, saving)
        fresh += beginning
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
                where = f"{past.path}: is at env step {past.values['env_step']}, beyond the limit of {job.env_steps}"
                saving.refuse([spec], CheckpointRefused(where))
    return found


def _resumed(
    specs: Sequence[RunSpec], make: Callable[[Sequence[RunSpec]], RunBatch], found: Mapping[str, Checkpoint], saving: Saving
) -> tuple[RunBatch | None, list[RunSpec]]:
    """The batch of those that resume from their checkpoints, and those that can't and start from the beginning."""
    remaining = list(specs)
    beginning: list[RunSpec] = []
    while remaining:
        batch = make(remaining)
        try:
            batch.restore(found)
            return batch, beginning
        except CheckpointRefused as refused:
            batch.close()
            bad = [spec for spec in remaining if refused.run_id in (None, spec.run_id)]
            saving.refuse(bad, refused)
            beginning += bad
            remaining = [spec for spec in remaining if spec not in bad]
        except BaseException:
            batch.close()
            raise
    return None, beginning


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
