"""`FrankaPush`: push a cube to a goal with a seven-jointed arm, n environments at once."""

from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.tasks.franka_push.episode import EPISODE_LENGTH, goal_distances, shaping, starts
from tdscale.tasks.franka_push.physics import Moving, MuJoCoPhysics, Physics, look
from tdscale.tasks.suites import installed_versions
from tdscale.tasks.task import Observation, ParallelTask, Steps

Backend = Literal["mujoco", "mjx"]


class FrankaPush(ParallelTask):
    """An arm on a table, cubes of 7 cm in a bin, and a goal for the first of them; the others are in its way.

    Actions, 7: a displacement of the hand (±0.1 m over the action scale 0.5) and a turn (±0.5 rad over it), both in world axes and from
    where the hand is now, which operational-space control pursues with stiffness 150 and critical damping; last the fingers, -1 closed to 1
    open. Torques are computed at 60 Hz and held for two steps of physics. Observations: 12 + 10·cubes values, see `episode.observe`.

    Reward at each step 1 − tanh(30·distance from the goal to the cube's centre). The goal is 5 cm over the table's surface, a resting
    cube's centre 3.5 cm: of the readings of "5 cm above the table" this one gives an untouched cube the stated 0.033 a step and 6.5 % of
    success at 4 cm. A cube flat on the table earns at most 0.578 a step; only a lifted one earns more. Episodes end by time only, after
    256 steps.

    Args:
        environments: n.
        cubes: 1 or more; the goal is the first one's.
        threads: of C MuJoCo; as many as there are cores, for enough environments, by default. Results do not depend on it.
        backend: "mujoco", C MuJoCo in threads with float64, or "mjx", MJX on JAX's device with float32.
        shaped: whether an agent learns from the reward plus `episode.shaping`, at most 0.2, which draws the hand to the cube's far side;
            returns are without it.

    Raises:
        UserError: if mujoco-mjx is needed and not installed.
    """

    action_size = 7

    def __init__(
        self, environments: int, cubes: int = 1, threads: int | None = None, backend: Backend = "mujoco", shaped: bool = False
    ) -> None:
        self.environments, self._cubes, self._shaped = environments, cubes, shaped
        self.observation_size = 12 + 10 * cubes
        self._physics: Physics
        if backend == "mujoco":
            self._physics = MuJoCoPhysics(environments, cubes, threads)
        else:
            from tdscale.tasks.franka_push.mjx import MJXPhysics

            self._physics = MJXPhysics(cubes)
        self._steps = np.zeros(environments, np.int64)
        rest = starts(np.zeros(1, np.uint32), cubes)
        speeds = np.zeros((environments, 9 + 6 * cubes))
        self._moving = self._physics.put(
            Moving(np.repeat(rest.positions, environments, axis=0), speeds, speeds, np.repeat(rest.goals, environments, axis=0))
        )

    def reset(self, which: NDArray[np.intp], seeds: NDArray[np.uint32]) -> Observation:
        start = starts(seeds, self._cubes)
        still = np.zeros((len(which), 9 + 6 * self._cubes))
        fresh = Moving(start.positions, still, still, start.goals)
        held = self._held()
        for part, new in zip(held, fresh, strict=True):
            part[which] = new
        self._moving = self._physics.put(held)
        self._steps[which] = 0
        return look(fresh).astype(np.float32)

    def step(self, actions: NDArray[np.float32]) -> Steps:
        over = self._steps >= EPISODE_LENGTH
        self._moving, observations, rewards = self._physics.advance(self._moving, np.clip(actions, -1.0, 1.0).astype(np.float64), over)
        self._steps += ~over
        seen, ended = np.array(observations, np.float32), np.zeros(self.environments, bool)
        if not np.isfinite(seen).all():
            raise FloatingPointError(f"franka-push: the simulation of environment {int(np.isfinite(seen).all(axis=1).argmin())} diverged")
        extra = np.zeros(self.environments)
        if self._shaped:
            extra[~over] = shaping(np.asarray(observations, np.float64))[~over]
        return Steps(seen, np.array(rewards, np.float64), ended, self._steps >= EPISODE_LENGTH, extra)

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Distance from the goal to its cube's centre in m, and 1 where it is below 4 cm, below 2 cm."""
        held = self._held()
        distance = goal_distances(np, held.positions.T, held.goals.T)
        return {"goal_distance": distance, "success_4cm": (distance < 0.04) * 1.0, "success_2cm": (distance < 0.02) * 1.0}

    def state(self) -> dict[str, NDArray[Any]]:
        """Positions, velocities, accelerations, goals, and steps taken; see `physics.Moving`."""
        return self._held()._asdict() | {"steps": self._steps.copy()}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        self._moving = self._physics.put(Moving(*(state[name] for name in Moving._fields)))
        self._steps = np.array(state["steps"], np.int64)

    def _held(self) -> Moving:
        return Moving(*(np.array(part, np.float64) for part in self._moving))

    def close(self) -> None:
        """Free the simulator's threads."""
        self._physics.close()

    def versions(self) -> dict[str, str]:
        """Versions of MuJoCo and, if it is installed, of MJX."""
        return installed_versions("mujoco", "mujoco-mjx")


TASKS = {name + ending: (cubes, bool(ending)) for name, cubes in (("franka-push", 1), ("franka-push-6", 6)) for ending in ("", "-shaped")}


def franka_push(name: str, environments: int, backend: str | None = None) -> FrankaPush:
    """Open "franka-push", with one cube, or "franka-push-6", with six, or "…-shaped"; without a backend by what suits JAX's device.

    Raises:
        UserError: if there is no such task or backend.
    """
    if name not in TASKS:
        raise UserError(f"task {name!r}: tdscale has no such task; it must be " + " or ".join(map(repr, TASKS)))
    backend = backend or ("mjx" if _mjx_suits() else "mujoco")
    if backend not in ("mujoco", "mjx"):
        raise UserError(f"task {name!r}: there is no backend {backend!r}; it must be 'mujoco' or 'mjx'")
    cubes, shaped = TASKS[name]
    return FrankaPush(environments, cubes, backend="mjx" if backend == "mjx" else "mujoco", shaped=shaped)


def _mjx_suits() -> bool:
    """MJX is for GPUs: on a CPU it is a thousand times slower than C MuJoCo."""
    import jax

    return jax.default_backend() == "gpu" and find_spec("mujoco.mjx") is not None
