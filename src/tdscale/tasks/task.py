"""`Task`, one environment; `ParallelTask`, many stepped together, which is all that training sees; `TaskGroup`, a list of `Task` as one."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Observation = NDArray[np.float32]


class Task(Protocol):
    """One environment with continuous actions. Each episode is decided by its reset's seed and the actions."""

    observation_size: int
    action_size: int

    def reset(self, seed: int) -> Observation:
        """Start an episode; the first observation, shape (observation_size,)."""
        ...

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool]:
        """(observation, reward, terminated, truncated) after an action in [-1, 1], shape (action_size,)."""
        ...

    def close(self) -> None:
        """Free what the simulator holds."""
        ...

    def versions(self) -> dict[str, str]:
        """Versions of the libraries that decide what an episode looks like."""
        ...


class Steps(NamedTuple):
    """What one step of n environments brought: observations (n, observation_size) float32, rewards (n,) float64, flags (n,).

    `shaping` (n,) is added to the rewards that an agent learns from; returns are without it.
    """

    observations: Observation
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    shaping: NDArray[np.float64]


class ParallelTask(Protocol):
    """n environments stepped together. Each episode is decided by its reset's seed and its own actions, not by the others."""

    environments: int
    observation_size: int
    action_size: int

    def reset(self, which: NDArray[np.intp], seeds: NDArray[np.uint32]) -> Observation:
        """Start an episode in each of the environments `which`; their first observations, shape (len(which), observation_size)."""
        ...

    def step(self, actions: NDArray[np.float32]) -> Steps:
        """Step every environment with actions in [-1, 1], shape (n, action_size). An episode that is over stays so until its reset."""
        ...

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """What is measured at an episode's end besides its return, shape (n,) each, of the present state."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """All that the next steps depend on, as arrays, for a checkpoint."""
        ...

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """The inverse of `state`, bit for bit."""
        ...

    def close(self) -> None:
        """Free what the simulator holds."""
        ...

    def versions(self) -> dict[str, str]:
        """Versions of the libraries that decide what an episode looks like."""
        ...


class TaskGroup(ParallelTask):
    """Tasks stepped one after the other, each with an episode of its own."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = list(tasks)
        self.environments = len(self._tasks)
        self.observation_size, self.action_size = self._tasks[0].observation_size, self._tasks[0].action_size
        # an episode is decided by its seed and actions: these are its state
        self._seeds = np.zeros(self.environments, np.uint32)
        self._actions: list[list[NDArray[np.float32]]] = [[] for _ in self._tasks]
        self._last: list[tuple[Observation, float, bool, bool] | None] = [None] * self.environments

    def reset(self, which: NDArray[np.intp], seeds: NDArray[np.uint32]) -> Observation:
        self._seeds[which] = seeds
        for index in which:
            self._actions[index], self._last[index] = [], None
        return np.stack([self._tasks[index].reset(int(seed)) for index, seed in zip(which, seeds, strict=True)])

    def step(self, actions: NDArray[np.float32]) -> Steps:
        found = [self._step(index, action) for index, action in enumerate(actions)]
        observations, rewards, terminated, truncated = zip(*found, strict=True)
        flags = np.array(terminated, bool), np.array(truncated, bool)
        return Steps(np.stack(observations), np.array(rewards, np.float64), *flags, np.zeros(self.environments))

    def _step(self, index: int, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool]:
        last = self._last[index]
        if last is not None and (last[2] or last[3]):
            return last[0], 0.0, last[2], last[3]
        self._actions[index].append(action.copy())
        self._last[index] = after = self._tasks[index].step(action)
        return after

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """None."""
        return {}

    def state(self) -> dict[str, NDArray[Any]]:
        """Seeds (n,), lengths (n,) and actions (total length, action_size) of the episodes in progress."""
        lengths = np.array([len(taken) for taken in self._actions], np.int64)
        taken = [action for episode in self._actions for action in episode]
        return {
            "seeds": self._seeds.copy(),
            "lengths": lengths,
            "actions": np.array(taken, np.float32).reshape(len(taken), self.action_size),
        }

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Begin the same episodes and take the same actions."""
        self._seeds[:] = state["seeds"]
        ends = np.cumsum(state["lengths"])
        for index, (task, end, length) in enumerate(zip(self._tasks, ends, state["lengths"], strict=True)):
            self._actions[index] = list(state["actions"][end - length : end])
            task.reset(int(self._seeds[index]))
            self._last[index] = None
            for action in self._actions[index]:
                self._last[index] = task.step(action)

    def close(self) -> None:
        for task in self._tasks:
            task.close()

    def versions(self) -> dict[str, str]:
        """Versions of the suite's libraries."""
        return self._tasks[0].versions()
