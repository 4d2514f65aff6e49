"""`Task`, the face of one environment, and `ParallelTask`, of many stepped together: all that training sees of a suite."""

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
        """Of the libraries that decide what an episode looks like."""
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
        """Of the libraries that decide what an episode looks like."""
        ...
