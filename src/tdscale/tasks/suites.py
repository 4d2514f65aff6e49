"""Tasks of other libraries: Gymnasium ids and DeepMind Control's domain-task names. Simulators are imported when a task is opened."""

import logging
import os
import warnings
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.tasks.task import Observation, Task


def quiet_mujoco() -> None:
    """Turn rendering off where nothing else was asked for, and send MuJoCo's warnings to `logging`, not MUJOCO_LOG.TXT."""
    os.environ.setdefault("MUJOCO_GL", "disable")
    import mujoco

    mujoco.set_mju_user_warning(logging.getLogger("tdscale.mujoco").debug)


class GymnasiumTask(Task):
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
        observation, _ = self._environment.reset(seed=seed)
        return np.asarray(observation, np.float32).reshape(-1)

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool]:
        scaled = (self._low + (action + 1.0) * self._half_range).astype(self._action_dtype).reshape(self._action_shape)
        observation, reward, terminated, truncated, _ = self._environment.step(scaled)
        return (np.asarray(observation, np.float32).reshape(-1), float(reward), bool(terminated), bool(truncated))

    def close(self) -> None:
        self._environment.close()

    def versions(self) -> dict[str, str]:
        """Versions of Gymnasium and MuJoCo."""
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


_WIDEST = 1e6  # dm_control writes ±1e10 for actions without bounds (lqr)


class DMControlTask(Task):
    """Observations flattened to float32; the end of an episode by time (discount 1) is a truncation."""

    def __init__(self, name: str) -> None:
        quiet_mujoco()
        from dm_control import suite

        # a domain's name may hold "_", a task's too: the first "-" parts them
        domain, _, task = name.partition("-")
        if (domain, task) not in suite.ALL_TASKS:
            known = ["-".join(pair) for pair in suite.ALL_TASKS]
            near = get_close_matches(name, known, n=3)
            hint = "did you mean " + " or ".join(map(repr, near)) + "?" if near else "a name looks like 'cartpole-swingup'"
            raise UserError(f"task {name!r}: dm_control has no such task; {hint}")
        self._environment = suite.load(domain, task, task_kwargs={"random": 0})
        actions = self._environment.action_spec()
        self._low = np.asarray(actions.minimum, np.float64)
        self._half_range = (np.asarray(actions.maximum, np.float64) - self._low) / 2
        if self._half_range.max() > _WIDEST:
            raise UserError(f"task {name!r} has actions without bounds; they must be bounded, as in 'cartpole-swingup'")
        shapes = [spec.shape for spec in self._environment.observation_spec().values()]
        self.observation_size = int(sum(np.prod(shape) for shape in shapes))
        self.action_size = int(np.prod(actions.shape))

    def reset(self, seed: int) -> Observation:
        self._environment.task.random.seed(seed)
        return _flat(self._environment.reset().observation)

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool]:
        after = self._environment.step(self._low + (action + 1.0) * self._half_range)
        terminated = after.last() and after.discount == 0.0
        return (_flat(after.observation), float(after.reward), bool(terminated), bool(after.last() and not terminated))

    def close(self) -> None:
        self._environment.close()

    def versions(self) -> dict[str, str]:
        """Versions of dm_control and MuJoCo."""
        return installed_versions("dm_control", "mujoco")


def _flat(observation: dict[str, NDArray[np.float64]]) -> Observation:
    return np.concatenate([np.ravel(part) for part in observation.values()], dtype=np.float32)
