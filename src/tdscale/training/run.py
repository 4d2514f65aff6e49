"""`Run`: one spec on one environment, advanced step by step. Nothing in it depends on how far it is asked to go."""

import time
from importlib.metadata import version
from math import ceil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tdscale.runs.types import RunResult, RunState, RunStatus
from tdscale.study import RunSpec
from tdscale.tasks import Task, make_task
from tdscale.training.algorithms import find_algorithm
from tdscale.training.compute import counted_flops
from tdscale.training.curve import CurveRecorder
from tdscale.training.replay import Replay
from tdscale.training.schedule import UpdateFlags, UpdateSchedule
from tdscale.training.stopping import ReturnCurve

_CHUNK = 16  # minibatches in one call of the update: enough to hide the call, few enough that padding costs nothing
# transitions whose TD errors (METHOD.md, "Overfitting") and, of the former, gradients ("Critical batch size") are diagnosed
_UNIFORM, _NEWEST = (1024, 16)


class Run:
    """Environment, replay, agent and generators of one run."""

    def __init__(self, spec: RunSpec, env_steps: int) -> None:
        """Open the environment and compile; `env_steps`, the most that is to be run, only bounds the memory taken.

        Raises:
            UserError: if the task or algorithm can't be run.
        """
        self._algorithm, self._settings = find_algorithm(spec)
        self.spec = spec
        self.env_step = 0
        self.state: RunState = "finished"
        self.reason: str | None = None
        self.critic_updates = self.actor_updates = 0
        self.wall_seconds = self.env_seconds = self.update_seconds = 0.0
        self.curve = CurveRecorder()
        self._task = make_task(spec.suite, spec.task)
        self._evaluation_task: Task | None = None
        settings = self._settings
        self._config = self._algorithm.configure(settings, self._task)
        # every run_id has its own streams, so that cells of one study are independent
        streams = np.random.SeedSequence(int(spec.run_id, 16)).spawn(5)
        self._acting, self._sampling, self._episodes, self._diagnosing, self._initial = map(np.random.default_rng, streams)
        self._agent = self._algorithm.init(self._config, _seed(self._initial))
        self._resets, self._reset_steps = settings.resets, list[int]()
        self._replay = Replay(min(settings.replay_capacity, env_steps), self._config.row_size)
        self._schedule = UpdateSchedule(spec.utd, settings.actor_updates)
        # a call takes its minibatches along whether they are used or not: no more than one env step brings, where updates come singly
        self._chunk = min(_CHUNK, ceil(spec.utd)) if settings.update_block == 1 else _CHUNK
        self._batches = np.zeros((self._chunk, spec.batch_size, self._config.row_size), np.float32)
        self._do_critic, self._do_actor = np.zeros(self._chunk, bool), np.zeros(self._chunk, bool)
        self._learning_rate = jnp.float32(spec.learning_rate)
        self._due: list[UpdateFlags] = []
        self._episode_return = 0.0
        self._observation: NDArray[np.float32] | None = None  # None: the next step starts an episode
        self._compile()

    @property
    def going(self) -> bool:
        """False once it has diverged or failed."""
        return self.state == "finished"

    def advance(self, env_step: int) -> None:
        """Go on to the given env step, or to the step at which it diverges or fails."""
        started = time.perf_counter()
        while self.going and self.env_step < env_step:
            try:
                self._step()
            except FloatingPointError as error:
                self.state, self.reason = ("diverged", f"{error} at env step {self.env_step}")
            except _EnvironmentError as error:
                self.state, self.reason = ("failed", f"{error} at env step {self.env_step}")
        self.wall_seconds += time.perf_counter() - started

    def close(self) -> None:
        """Close the environments."""
        for task in (self._task, self._evaluation_task):
            if task is not None:
                task.close()

    def return_curve(self) -> ReturnCurve:
        """The training-episode returns so far."""
        return ReturnCurve(*self.curve.returns())

    def result(self, notes: dict[str, Any]) -> RunResult:
        """The run as it stands."""
        costs = self._algorithm.costs(self._agent)
        status = RunStatus(
            state=self.state,
            last_step=self.env_step,
            reason=self.reason,
            critic_updates=self.critic_updates,
            actor_updates=self.actor_updates,
            flops=counted_flops(costs, self.critic_updates, self.actor_updates, self.spec.batch_size),
            critic_parameters=costs.critic_parameters,
            actor_parameters=costs.actor_parameters,
            wall_seconds=self.wall_seconds,
            env_seconds=self.env_seconds,
            update_seconds=self.update_seconds,
            versions={"jax": jax.__version__, "numpy": version("numpy")} | self._task.versions(),
            notes=notes | ({"resets": self._reset_steps} if self._reset_steps else {}),
        )
        return RunResult(spec=self.spec, columns=self.curve.columns(), status=status)

    def _step(self) -> None:
        if self._observation is None:
            self._observation = self._reset(self._task, self._episodes)
            self._episode_return = 0.0
        action = self._action(self._observation)
        after, reward, terminated, truncated = self._in_environment(self._task.step, action)
        self._remember(self._observation, action, reward, terminated, after)
        self.env_step += 1
        self._episode_return += reward
        self._observation = after
        if terminated or truncated:
            self.curve.log(self.env_step, **{"return": self._episode_return})
            self._observation = None
        if self.env_step in self._resets.env_steps:
            self._reset_agent()
        self._learn()
        settings = self._settings
        if settings.diagnostics_interval and self.env_step % settings.diagnostics_interval == 0:
            self._diagnose()
        if settings.evaluation_interval and self.env_step % settings.evaluation_interval == 0:
            self.curve.log(self.env_step, evaluation_return=self._evaluate())

    def _action(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        size: int = self._config.action_size
        if self.env_step < self._settings.warm_up:
            return self._acting.uniform(-1.0, 1.0, size).astype(np.float32)
        noise = self._acting.standard_normal(size, dtype=np.float32)
        return self._policy.act(observation, noise)

    def _remember(
        self, before: NDArray[np.float32], action: NDArray[np.float32], reward: float, terminated: bool, after: NDArray[np.float32]
    ) -> None:
        """Time-limit ends bootstrap: only a true termination sets `continues` to 0."""
        row, size = self._replay.next_row(), self._config.observation_size
        row[:size] = before
        row[size : -size - 2] = action
        row[-size - 2] = reward * self.spec.reward_scale
        row[-size - 1] = 0.0 if terminated else 1.0
        row[-size:] = after

    def _learn(self) -> None:
        past = self.env_step - self._settings.warm_up
        if past <= 0:
            return
        self._due += self._schedule.due_at(past)
        if past % self._settings.update_block or not self._due:
            return
        started = time.perf_counter()
        every = self._resets.critic_updates
        while self._due:
            call = self._next_call(every)
            self._update(call)
            if every is not None and call[-1].critic and self.critic_updates % every == 0:
                self._reset_agent()
        finite = bool(self._agent.finite)
        self._policy = self._algorithm.policy(self._config, self._agent)
        self.update_seconds += time.perf_counter() - started
        if not finite:
            raise FloatingPointError("the loss is no longer finite")

    def _next_call(self, reset_every: int | None) -> list[UpdateFlags]:
        """Take from what is due: a chunk at most, and no further than to the critic update that a reset follows."""
        end, critic_updates = 0, self.critic_updates
        for flags in self._due[: self._chunk]:
            end += 1
            critic_updates += flags.critic
            if reset_every is not None and flags.critic and critic_updates % reset_every == 0:
                break
        call, self._due = self._due[:end], self._due[end:]
        return call

    def _reset_agent(self) -> None:
        """Fresh networks and optimisers; the replay is kept."""
        if not self._agent.finite:
            raise FloatingPointError("the loss is no longer finite")
        self._agent = self._algorithm.init(self._config, _seed(self._initial))
        self._policy = self._algorithm.policy(self._config, self._agent)
        self._reset_steps.append(self.env_step)

    def _update(self, flags: list[UpdateFlags]) -> None:
        count = len(flags)
        self._do_critic[:count] = [flag.critic for flag in flags]
        self._do_actor[:count] = [flag.actor for flag in flags]
        self._replay.sample_into(self._batches[:count], self._sampling)
        self._agent = self._call_update(count)
        self.critic_updates += sum(flag.critic for flag in flags)
        self.actor_updates += sum(flag.actor for flag in flags)

    def _call_update(self, count: int) -> Any:
        updated = self._algorithm.update(
            self._config, self._agent, self._batches, self._do_critic, self._do_actor, np.int32(count), self._learning_rate
        )
        # the device may read the batches where they lie: they must not be filled anew before it is done
        updated.finite.block_until_ready()
        return updated

    def _compile(self) -> None:
        """Compile ahead, so that measured seconds are those of the work."""
        self._agent = self._call_update(0)
        self._policy = self._algorithm.policy(self._config, self._agent)

    def _diagnose(self) -> None:
        if self.env_step <= self._settings.warm_up or len(self._replay) < _NEWEST:
            return
        uniform = np.empty((_UNIFORM, self._config.row_size), np.float32)
        self._replay.sample_into(uniform, self._diagnosing)
        found = self._algorithm.diagnose(self._config, self._agent, uniform, self._replay.newest(_NEWEST), _seed(self._diagnosing))
        values = {name: float(value) for name, value in found._asdict().items()}
        finite = values.pop("finite")
        self.curve.log(self.env_step, **values)
        if not finite:
            raise FloatingPointError("a parameter is no longer finite")

    def _evaluate(self) -> float:
        """Mean return of deterministic episodes, whose seeds depend on the env step alone."""
        if self._evaluation_task is None:
            self._evaluation_task = make_task(self.spec.suite, self.spec.task)
        task = self._evaluation_task
        generator = np.random.default_rng([int(self.spec.run_id, 16), self.env_step])
        total = 0.0
        for _ in range(self._settings.evaluation_episodes):
            observation, over = self._reset(task, generator), False
            while not over:
                action = self._policy.act(observation, None)
                observation, reward, terminated, truncated = self._in_environment(task.step, action)
                total += reward
                over = terminated or truncated
        return total / self._settings.evaluation_episodes

    def _reset(self, task: Task, generator: np.random.Generator) -> NDArray[np.float32]:
        observation: NDArray[np.float32] = self._in_environment(task.reset, int(_seed(generator)))
        return observation

    def _in_environment(self, call: Any, argument: Any) -> Any:
        started = time.perf_counter()
        try:
            return call(argument)
        except Exception as error:  # whatever a simulator or a user's own environment raises: the run is lost, the rest goes on
            raise _EnvironmentError(f"the environment raised {type(error).__name__}: {_first_line(error)}") from error
        finally:
            self.env_seconds += time.perf_counter() - started


class _EnvironmentError(Exception):
    pass


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _seed(generator: np.random.Generator) -> np.uint32:
    return np.uint32(generator.integers(0, 1 << 31))
