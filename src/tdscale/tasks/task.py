"""`Task`: the one face that all suites show to training."""

from typing import Protocol

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
