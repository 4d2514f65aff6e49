"""`ClassicBatch`: runs of a small classic that never leave the device, advanced together under `vmap`; the face of `RunBatch`."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tdscale.agents.costs import Costs
from tdscale.agents.diagnosis import diagnosis_columns
from tdscale.runs.types import RunResult
from tdscale.study import RunSpec, is_own
from tdscale.tasks.classics import CLASSICS, ClassicTask
from tdscale.training.algorithms import find_algorithm
from tdscale.training.checkpoint import Checkpoint, Snapshot
from tdscale.training.on_device import SEGMENT, Due, Loop, Setting, advance, begin, roll_out
from tdscale.training.own import own_version
from tdscale.training.pytrees import from_arrays, to_arrays
from tdscale.training.record import NEWEST, UNIFORM, VALIDATION, Record
from tdscale.training.replay import Replay, replay_rows
from tdscale.training.resuming import fitting, named, origin, part_of
from tdscale.training.schedule import UpdateSchedule


def stays_on_device(spec: RunSpec, folder: Path | None = None) -> bool:
    """Whether the spec is of a classic, with one environment and single-step returns, so that nothing of it needs the host."""
    if spec.suite != "tdscale" or spec.task not in CLASSICS:
        return False
    algorithm, settings = find_algorithm(spec, folder)
    return settings.environments == 1 and settings.n_step == 1 and algorithm.observe is None


class ClassicBatch:
    """Runs that differ in η, seed and stage alone."""

    def __init__(self, specs: Sequence[RunSpec], env_steps: int, folder: Path | None = None) -> None:
        """Fresh agents; `env_steps`, the most that is to be run, only bounds the memory taken; `folder` as of RunBatch.

        Raises:
            UserError: if there is no such algorithm.
            ValueError: if the specs differ otherwise.
        """
        if len({spec.batch_id for spec in specs}) != 1:
            raise ValueError("a batch takes specs that differ in learning rate, seed and stage alone")
        spec = specs[0]
        algorithm, self._settings = find_algorithm(spec, folder)
        settings = self._settings
        task = ClassicTask(spec.task)
        self._versions = task.versions() | (own_version(spec.algorithm, folder) if is_own(spec.algorithm) else {})
        self.runs = [Record(one) for one in specs]
        self._setting = Setting(
            algorithm=algorithm,
            config=algorithm.configure(settings, task),
            classic=CLASSICS[spec.task],
            batch_size=spec.batch_size,
            capacity=replay_rows(settings.replay_capacity, env_steps),
            warm_up=settings.warm_up,
            reward_scale=spec.reward_scale,
        )
        self._schedule = UpdateSchedule(spec.utd, settings.actor_updates, settings.critic_updates_per_actor_update)
        self._chunk = ceil(spec.utd) * settings.update_block + (settings.update_block > 1)
        self._learning_rates = jnp.array([one.learning_rate for one in specs], jnp.float32)
        # streams of its own for every run, and others for measuring, which must not disturb training
        streams = [np.random.SeedSequence(int(one.run_id, 16)).spawn(2) for one in specs]
        self._training, self._measuring = ([np.random.default_rng(pair[part]) for pair in streams] for part in (0, 1))
        self._first_seeds = _seeds(self._training)
        self._loops: Loop = _begin(self._setting, _init(self._setting, self._first_seeds), _seeds(self._training))
        self.env_step = self._critic_updates = 0

    @property
    def going(self) -> bool:
        """Whether any run is."""
        return any(run.going for run in self.runs)

    def advance(self, env_step: int, pause: Callable[[], bool] = lambda: False) -> None:
        """Go on to the given env step, until every run has ended, or until `pause` says so between two segments."""
        started = time.perf_counter()
        while self.going and self.env_step < env_step:
            self._advance(min(env_step, self._next_stop()))
            if pause():
                break
        share = (time.perf_counter() - started) / len(self.runs)
        for run in self.runs:
            run.wall_seconds += share

    def _next_stop(self) -> int:
        """The next env step at which something other than training happens, or the segment's end."""
        settings, step = self._settings, self.env_step
        stops = [step + SEGMENT]
        intervals = (settings.diagnostics_interval, settings.evaluation_interval)
        stops += [(step // interval + 1) * interval for interval in intervals if interval]
        stops += [at - 1 for at in settings.resets.env_steps if at - 1 > step]
        every = settings.resets.critic_updates
        if every is not None:
            past = self._schedule.steps_until((self._critic_updates // every + 1) * every)
            stops.append(settings.warm_up + -(-past // settings.update_block) * settings.update_block)
        return min(stops)

    def _advance(self, end: int) -> None:
        settings, start = self._settings, self.env_step
        if start + 1 in settings.resets.env_steps:
            self._reset(start + 1)
        due, critics, actors = self._due(start, end)
        started = time.perf_counter()
        self._loops, seen = _advance(self._setting, self._loops, due, np.int32(end - start), self._learning_rates)
        returns, finite = np.asarray(seen.returns), np.asarray(seen.finite)
        share = (time.perf_counter() - started) / len(self.runs)
        self.env_step = end
        before, self._critic_updates = self._critic_updates, self._critic_updates + int(critics.sum())
        for index, run in enumerate(self.runs):
            if not run.going:
                continue
            # after the first loss that is not finite nothing is worth keeping
            bad = np.flatnonzero(~finite[index, : end - start])
            made = int(bad[0]) + 1 if bad.size else end - start
            run.update_seconds += share
            run.critic_updates += int(critics[:made].sum())
            run.actor_updates += int(actors[:made].sum())
            for offset in np.flatnonzero(np.isfinite(returns[index, :made])):
                run.curve.log(start + int(offset) + 1, **{"return": float(returns[index, offset])})
            run.env_step = start + made
            if bad.size:
                run.diverge("the loss is no longer finite")
        every = settings.resets.critic_updates
        if every is not None and self._critic_updates // every > before // every:
            self._reset(end)
        self._measure()

    def _due(self, start: int, end: int) -> tuple[Due, Any, Any]:
        """The updates of env steps start + 1 … end, and how many critic and actor updates each step brings."""
        settings = self._settings
        critic, actor = np.zeros((SEGMENT, self._chunk), bool), np.zeros((SEGMENT, self._chunk), bool)
        count = np.zeros(SEGMENT, np.int32)
        for offset in range(end - start):
            past = start + offset + 1 - settings.warm_up
            if past <= 0 or past % settings.update_block:
                continue
            flags = [flag for step in range(past - settings.update_block, past) for flag in self._schedule.due_between(step, step + 1)]
            count[offset] = len(flags)
            critic[offset, : len(flags)] = [flag.critic for flag in flags]
            actor[offset, : len(flags)] = [flag.actor for flag in flags]
        return Due(count, critic, actor), critic.sum(axis=1), actor.sum(axis=1)  # type: ignore[arg-type]

    def _reset(self, env_step: int) -> None:
        seeds = self._first_seeds if self._settings.resets.same_weights else _seeds(self._training)
        self._loops = self._loops._replace(agent=_init(self._setting, seeds))
        for run in self.runs:
            if run.going:
                run.resets.append(env_step)

    def _measure(self) -> None:
        settings = self._settings
        learning = self.env_step > settings.warm_up and self.env_step >= NEWEST
        if learning and settings.diagnostics_interval and self.env_step % settings.diagnostics_interval == 0:
            self._diagnose()
        if settings.evaluation_interval and self.env_step % settings.evaluation_interval == 0:
            means = np.asarray(_evaluate(self._setting, self._loops.agent, _seeds(self._measuring), settings.evaluation_episodes))
            for run, value in zip(self.runs, means, strict=True):
                if run.going:
                    run.curve.log(run.env_step, evaluation_return=float(value))

    def _diagnose(self) -> None:
        found = diagnosis_columns(_diagnose(self._setting, self._loops, _seeds(self._measuring)))
        costs = self._costs()
        for index, run in enumerate(self.runs):
            if run.going:
                run.log_counts(costs)
                run.log_diagnosis({name: float(column[index]) for name, column in found.items()})

    def result(self, run_id: str, notes: dict[str, Any]) -> RunResult:
        """A run as it stands."""
        run = next(run for run in self.runs if run.spec.run_id == run_id)
        return run.result(self._costs(), self._versions, notes)

    def _costs(self) -> Costs:
        return self._setting.algorithm.costs(jax.tree.map(lambda leaf: leaf[0], self._loops.agent))

    def leave(self, run_id: str) -> None:
        """A run that is done: its place is computed on and not looked at."""
        for run in self.runs:
            run.left |= run.spec.run_id == run_id

    def snapshot(self, slot: int) -> Snapshot:
        """See `Resumable.snapshot`."""
        loop = _loop(self._loops, slot)
        values, arrays = self.runs[slot].recorded()
        streams = [generators[slot].bit_generator.state for generators in (self._training, self._measuring)]
        values |= {"steps": self.env_step, "updates": self._critic_updates, "streams": streams} | origin(loop.agent, self._all_versions())
        ring = _Rows(np.asarray(loop.rows), self.env_step)
        return Snapshot(values=values, arrays=arrays | named(loop=to_arrays(loop._replace(rows=()))), rows={"replay": ring})

    def restore(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        """See `Resumable.restore`."""
        loops = []
        for slot, run in enumerate(self.runs):
            checkpoint, loop = checkpoints[run.spec.run_id], _loop(self._loops, slot)
            with fitting(run.spec.run_id, checkpoint, origin(loop.agent, self._all_versions())):
                arrays, values = checkpoint.arrays(), checkpoint.values
                run.set_recorded(values, arrays)
                for generators, state in zip((self._training, self._measuring), values["streams"], strict=True):
                    generators[slot].bit_generator.state = state
                self.env_step, self._critic_updates = int(values["steps"]), int(values["updates"])
                replay = Replay(*loop.rows.shape)
                replay.restore(checkpoint.added("replay"), checkpoint.rows("replay"))
                rest = from_arrays(loop._replace(rows=()), part_of(arrays, "loop"))
                loops.append(rest._replace(rows=jnp.array(replay.between(0, replay.capacity))))
        self._loops = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loops)

    def checkpoint_bytes(self) -> int:
        """See `Resumable.checkpoint_bytes`."""
        return sum(array.nbytes for array in to_arrays(self._loops).values())

    def _all_versions(self) -> dict[str, str]:
        return self.runs[0].library_versions() | self._versions

    def close(self) -> None:
        """Nothing is held but the device's memory."""


@dataclass(frozen=True)
class _Rows:
    """A replay's rows as they lay on the device, shape (capacity, row_size)."""

    rows: NDArray[np.float32]
    added: int

    @property
    def capacity(self) -> int:
        """See `checkpoint.Ring`."""
        return len(self.rows)

    def between(self, first: int, end: int) -> NDArray[np.float32]:
        """See `checkpoint.Ring`."""
        return self.rows[np.arange(first, end) % len(self.rows)]


def _seeds(generators: Sequence[np.random.Generator]) -> Any:
    """A 32-bit seed of each."""
    return np.array([generator.integers(0, 1 << 31) for generator in generators], np.uint32)


@jax.jit
def _loop(loops: Loop, slot: Any) -> Loop:
    return jax.tree.map(lambda leaves: leaves[slot], loops)  # type: ignore[no-any-return]


@partial(jax.jit, static_argnums=0)
def _init(setting: Setting, seeds: Any) -> Any:
    # one after the other: batched decompositions of wide matrices hang on a CPU (jaxlib 0.10)
    return jax.lax.map(partial(setting.algorithm.init, setting.config), seeds)


@partial(jax.jit, static_argnums=0)
def _begin(setting: Setting, agents: Any, seeds: Any) -> Loop:
    loops: Loop = jax.vmap(partial(begin, setting))(agents, seeds)
    return loops


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _advance(setting: Setting, loops: Loop, due: Due, steps: Any, learning_rates: Any) -> Any:
    if len(learning_rates) == 1:  # one run under vmap would take the batched, slower way through a CPU's matrix products
        loop, seen = advance(setting, jax.tree.map(lambda leaf: leaf[0], loops), due, steps, learning_rates[0])
        return jax.tree.map(lambda leaf: leaf[None], (loop, seen))
    return jax.vmap(partial(advance, setting), (0, None, None, 0))(loops, due, steps, learning_rates)


@partial(jax.jit, static_argnums=(0, 3))
def _evaluate(setting: Setting, agents: Any, seeds: Any, episodes: int) -> Any:
    """Mean return of each agent over fresh episodes without exploration."""

    def one(agent: Any, seed: Any) -> Any:
        keys = jax.random.split(jax.random.key(seed), episodes)
        return jnp.mean(jax.vmap(lambda key: roll_out(setting, agent, key, explore=False)[2])(keys))

    return jax.vmap(one)(agents, seeds)


@partial(jax.jit, static_argnums=0)
def _diagnose(setting: Setting, loops: Loop, seeds: Any) -> Any:
    """Uniform and newest rows of the replay, and a validation episode that the policy of training drives."""

    def one(loop: Loop, seed: Any) -> Any:
        drawn, driven, chosen = jax.random.split(jax.random.key(seed), 3)
        size = jnp.minimum(loop.env_step, setting.capacity)
        uniform = loop.rows[jax.random.randint(drawn, (UNIFORM,), 0, size)]
        newest = loop.rows[(loop.env_step - NEWEST + jnp.arange(NEWEST)) % setting.capacity]
        rows, length, _ = roll_out(setting, loop.agent, driven, explore=True)
        validation = rows[jax.random.randint(chosen, (VALIDATION,), 0, length)]
        return setting.algorithm.diagnose(setting.config, loop.agent, uniform, newest, validation, seed)

    return jax.vmap(one)(loops, seeds)
