"""`Task`: the one face that all suites show to training."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError

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


def make_task(suite: str, name: str) -> Task:
    """Open a task of suite "gymnasium" (any id) or "dm_control" (domain-task, e.g. "cartpole-swingup").

    Raises:
        UserError: if the suite or task does not exist, its actions or observations are not continuous, or the
            simulators are not installed.
    """
    try:
        match suite:
            case "gymnasium":
                from tdscale.tasks.gymnasium_suite import GymnasiumTask

                return GymnasiumTask(name)
            case "dm_control":
                from tdscale.tasks.dm_control_suite import DMControlTask

                return DMControlTask(name)
    except ModuleNotFoundError as error:
        raise UserError(f'task {name!r} needs {error.name}, which is not installed; pip install "tdscale[train]" brings it') from None
    raise UserError(f"task {name!r}: there is no suite {suite!r} to run; it must be 'gymnasium' or 'dm_control'")


def check_task(suite: str, name: str) -> None:
    """Raise what `make_task` would raise, and hold nothing open."""
    make_task(suite, name).close()
