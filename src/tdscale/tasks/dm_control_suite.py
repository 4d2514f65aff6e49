"""DeepMind Control tasks by domain-task name, e.g. "cartpole-swingup"."""

from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.tasks.gymnasium_suite import installed_versions
from tdscale.tasks.simulator import quiet_mujoco
from tdscale.tasks.task import Observation

_WIDEST = 1e6  # dm_control writes ±1e10 for actions without bounds (lqr)


class DMControlTask:
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
        """Start the episode that `seed` decides."""
        self._environment.task.random.seed(seed)
        return _flat(self._environment.reset().observation)

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool]:
        """See `Task.step`."""
        after = self._environment.step(self._low + (action + 1.0) * self._half_range)
        terminated = after.last() and after.discount == 0.0
        return (_flat(after.observation), float(after.reward), bool(terminated), bool(after.last() and not terminated))

    def close(self) -> None:
        """Free the environment."""
        self._environment.close()

    def versions(self) -> dict[str, str]:
        """Of dm_control and MuJoCo."""
        return installed_versions("dm_control", "mujoco")


def _flat(observation: dict[str, NDArray[np.float64]]) -> Observation:
    return np.concatenate([np.ravel(part) for part in observation.values()], dtype=np.float32)
