"""What a run collects: its environments, the episodes they are in, and the rows that these leave."""

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import OUT_OF_MEMORY, first_line
from tdscale.study import RunSpec
from tdscale.tasks import ParallelTask, Steps, make_parallel_task
from tdscale.training.n_step import NStepWindow


class EnvironmentFailure(Exception):
    """An environment raised: its run is lost, the others go on."""


def guarded(call: Any, *arguments: Any) -> Any:
    """The call's result. Raises EnvironmentFailure for whatever a simulator or a user's own environment raises.

    But for a device's memory that ran out, where environments are on it: all that is trained there is to come back in smaller batches.
    """
    try:
        return call(*arguments)
    except Exception as error:
        if OUT_OF_MEMORY in str(error):
            raise
        raise EnvironmentFailure(f"the environment raised {type(error).__name__}: {first_line(error)}") from error


class Collected(NamedTuple):
    """What one step of the environments brought.

    rows: shape (m, row_size), packed as in agents.rows. returns and measures: of the episodes that ended, shape (ended,).
    """

    rows: NDArray[np.float32]
    returns: NDArray[np.float64]
    measures: dict[str, NDArray[np.float64]]


class Experience:
    """n environments of one run. `observations`, shape (n, observation_size), is what is acted on next."""

    def __init__(self, spec: RunSpec, environments: int, episodes: np.random.Generator, *, n_step: int = 1, discount: float = 1.0) -> None:
        """Open the environments; `episodes` seeds their episodes. `discount` is for n-step returns alone.

        Raises:
            UserError: if the task can't be opened.
        """
        self.task: ParallelTask = make_parallel_task(spec.suite, spec.task, environments)
        self._episodes = episodes
        self._reward_scale = spec.reward_scale
        self.row_size = 2 * self.task.observation_size + self.task.action_size + 2
        self._window = None if n_step == 1 else NStepWindow(environments, self.row_size, self.task.observation_size, n_step, discount)
        self.observations = np.zeros((environments, self.task.observation_size), np.float32)
        self._returns = np.zeros(environments)
        self._over = np.ones(environments, bool)
        self.seconds = 0.0

    def begin_episodes(self) -> None:
        """Start an episode wherever the last one is over. Raises EnvironmentFailure."""
        if not self._over.any():
            return
        which = np.flatnonzero(self._over)
        seeds = self._episodes.integers(0, 1 << 31, which.size).astype(np.uint32)
        self.observations[which] = self._timed(self.task.reset, which, seeds)
        self._returns[which] = 0.0
        self._over[which] = False

    def step(self, actions: NDArray[np.float32]) -> Collected:
        """Take one action in each environment, shape (n, action_size). Raises EnvironmentFailure."""
        after: Steps = self._timed(self.task.step, actions)
        self._returns += after.rewards
        self._over = after.terminated | after.truncated
        rows = self._rows(actions, after)
        # a copy: the next episodes' observations are written into it
        self.observations = after.observations.copy()
        if not self._over.any():
            return Collected(rows, np.zeros(0), {})
        measures = {name: values[self._over] for name, values in self.task.measures().items()}
        return Collected(rows, self._returns[self._over], measures)

    def _rows(self, actions: NDArray[np.float32], after: Steps) -> NDArray[np.float32]:
        """Time-limit ends bootstrap: only a true termination sets the factor of the bootstrap to 0."""
        rewards = (after.rewards + after.shaping) * self._reward_scale
        if self._window is not None:
            return self._window.push(self.observations, actions, rewards, after.terminated, self._over, after.observations)
        size = self.task.observation_size
        rows = np.empty((len(actions), self.row_size), np.float32)
        rows[:, :size] = self.observations
        rows[:, size : -size - 2] = actions
        rows[:, -size - 2] = rewards
        rows[:, -size - 1] = ~after.terminated
        rows[:, -size:] = after.observations
        return rows

    def state(self) -> dict[str, NDArray[Any]]:
        """All that the next steps depend on but the generator, as arrays."""
        own: dict[str, NDArray[Any]] = {"observations": self.observations, "returns": self._returns, "over": self._over}
        parts = {"task": self.task.state(), "window": {} if self._window is None else self._window.state()}
        return own | {f"{part}_{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self.task.set_state(_part(state, "task_"))
        if self._window is not None:
            self._window.set_state(_part(state, "window_"))
        self.observations, self._returns, self._over = (state[name].copy() for name in ("observations", "returns", "over"))

    def close(self) -> None:
        """Close the environments."""
        self.task.close()

    def _timed(self, call: Any, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return guarded(call, *arguments)
        finally:
            self.seconds += time.perf_counter() - started


def _part(state: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
