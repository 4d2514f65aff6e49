"""Gymnasium ids with continuous (Box) observations and actions."""

import warnings
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.tasks.simulator import quiet_mujoco
from tdscale.tasks.task import Observation


class GymnasiumTask:
    """Observations flattened to float32; actions rescaled from [-1, 1] to the task's bounds."""

    def __init__(self, name: str) -> None:
        quiet_mujoco()
        self._environment = _open(name)
        actions, observations = (self._environment.action_space, self._environment.observation_space)
        if type(actions).__name__ != "Box" or not actions.is_bounded():
            self.close()
            raise UserError(
                f"task {name!r} has actions {actions}; they must be continuous and bounded, as in 'Pendulum-v1' or 'HalfCheetah-v5'"
            )
        if type(observations).__name__ != "Box":
            self.close()
            raise UserError(f"task {name!r} has observations {observations}; they must be one array of numbers (a Box)")
        self._action_shape = actions.shape
        self._low = actions.low.astype(np.float64).ravel()
        self._half_range = (actions.high.astype(np.float64).ravel() - self._low) / 2
        self._action_dtype = actions.dtype
        self.observation_size = int(np.prod(observations.shape))
        self.action_size = int(np.prod(actions.shape))

    def reset(self, seed: int) -> Observation:
        """Start the episode that `seed` decides."""
        observation, _ = self._environment.reset(seed=seed)
        return np.asarray(observation, np.float32).reshape(-1)

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool]:
        """See `Task.step`."""
        scaled = (self._low + (action + 1.0) * self._half_range).astype(self._action_dtype).reshape(self._action_shape)
        observation, reward, terminated, truncated, _ = self._environment.step(scaled)
        return (np.asarray(observation, np.float32).reshape(-1), float(reward), bool(terminated), bool(truncated))

    def close(self) -> None:
        """Free the environment."""
        self._environment.close()

    def versions(self) -> dict[str, str]:
        """Of Gymnasium and MuJoCo."""
        return installed_versions("gymnasium", "mujoco")


def installed_versions(*packages: str) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _open(name: str) -> Any:
    import gymnasium

    try:
        with warnings.catch_warnings():
            # the study says which version of an environment it wants; that a newer one exists is no news
            warnings.simplefilter("ignore")
            return gymnasium.make(name)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise UserError(f"task {name!r} can't be opened: {str(error).splitlines()[0]}") from None
    except gymnasium.error.Error:
        near = get_close_matches(name, list(gymnasium.registry), n=3)
        hint = "did you mean " + " or ".join(map(repr, near)) + "?" if near else "an id looks like 'HalfCheetah-v5'"
        raise UserError(f"task {name!r}: Gymnasium {gymnasium.__version__} has no such environment; {hint}") from None
