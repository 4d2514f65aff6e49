"""`Moving`, the state that physics advances, and C MuJoCo in threads as one way to advance it."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tdscale.tasks.franka_push.control import kinematics, torques
from tdscale.tasks.franka_push.episode import DOFS, goal_distances, observe, rewards
from tdscale.tasks.franka_push.model import FINGER_REACH, SUBSTEPS, TIMESTEP, mjcf
from tdscale.tasks.suites import quiet_mujoco

FEWEST = 128  # environments that are worth a thread


class Moving(NamedTuple):
    """State of n environments, as NumPy or JAX arrays: positions (n, 9 + 7·cubes), velocities and the last accelerations
    (n, 9 + 6·cubes), goals (n, 3).

    The accelerations are where the next step's solver begins: without them a continued episode would differ in its last digits.
    """

    positions: Any
    velocities: Any
    accelerations: Any
    goals: Any


class Advanced(NamedTuple):
    """After a step: the state, observations (n, o), rewards (n,)."""

    moving: Moving
    observations: Any
    rewards: Any


class Physics(Protocol):
    """Advances all environments by one control step."""

    def put(self, moving: Moving) -> Moving:
        """The state as this physics holds it, from NumPy arrays."""
        ...

    def advance(self, moving: Moving, actions: NDArray[np.float64], over: NDArray[np.bool_]) -> Advanced:
        """One control step with actions (n, 7) in [-1, 1]; environments that are `over` (n,) stay as they are, and earn 0."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


def look(moving: Moving) -> NDArray[np.float64]:
    """Observations (n, o) of a state in NumPy arrays."""
    positions = moving.positions.T.copy()
    seen: NDArray[np.float64] = observe(np, kinematics(np, positions[:DOFS]), positions, moving.velocities.T, moving.goals.T).T
    return seen


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class MuJoCoPhysics(Physics):
    """C MuJoCo: each thread takes a share of the environments, computes their torques together and rolls them out."""

    def __init__(self, environments: int, cubes: int, threads: int | None) -> None:
        quiet_mujoco()
        if threads is None:
            threads = max(1, min(cores(), environments // FEWEST))
        self._shares = [_Share(part, cubes) for part in np.array_split(np.arange(environments), min(threads, environments))]
        self._pool = ThreadPoolExecutor(len(self._shares)) if len(self._shares) > 1 else None

    def put(self, moving: Moving) -> Moving:
        return Moving(*(np.array(part, np.float64) for part in moving))

    def advance(self, moving: Moving, actions: NDArray[np.float64], over: NDArray[np.bool_]) -> Advanced:
        found = list((map if self._pool is None else self._pool.map)(lambda share: share.advance(moving, actions), self._shares))
        after, observations, earned = found[0] if len(found) == 1 else _joined(found)
        if over.any():
            stays = over[:, None]
            after = Moving(*(np.where(stays, old, new) for old, new in zip(moving, after, strict=True)))
            observations, earned = np.where(stays, look(moving), observations), np.where(over, 0.0, earned)
        return Advanced(after, observations, earned)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def _joined(found: list[Advanced]) -> Advanced:
    moving = Moving(*(np.concatenate(parts) for parts in zip(*(part.moving for part in found), strict=True)))
    return Advanced(moving, np.concatenate([part.observations for part in found]), np.concatenate([part.rewards for part in found]))


class _Share:
    """The environments `which`, of which one thread takes care."""

    def __init__(self, which: NDArray[np.intp], cubes: int) -> None:
        import mujoco
        from mujoco import rollout

        model = mujoco.MjModel.from_xml_string(mjcf(cubes))
        self._rows = slice(int(which[0]), int(which[-1]) + 1)
        self._models, self._data = [model] * len(which), [mujoco.MjData(model)]
        self._positions, self._size = model.nq, 1 + model.nq + model.nv
        self._rollout = rollout.Rollout(nthread=0)

    def advance(self, moving: Moving, actions: NDArray[np.float64]) -> Advanced:
        before = Moving(*(part[self._rows] for part in moving))
        n = len(before.goals)
        positions, velocities, wanted = before.positions.T.copy(), before.velocities.T.copy(), actions[self._rows].T.copy()
        arm = kinematics(np, positions[:DOFS])
        controls = np.concatenate([torques(np, arm, positions, velocities, wanted[:6]), finger_targets(wanted[6:])])
        physical = np.concatenate([np.zeros((n, 1)), before.positions, before.velocities], axis=1)
        states = np.empty((n, SUBSTEPS, self._size))
        self._rollout.rollout(
            self._models,
            self._data,
            physical,
            np.repeat(controls.T[:, None], SUBSTEPS, axis=1),
            skip_checks=True,
            nstep=SUBSTEPS,
            initial_warmstart=before.accelerations,
            state=states,
            sensordata=np.empty((n, SUBSTEPS, 0)),
        )
        last = states[:, -1]
        if not (last[:, 0] > (SUBSTEPS - 0.5) * TIMESTEP).all():
            # MuJoCo starts again at time 0 where a state is no longer finite
            raise FloatingPointError(f"franka-push: the simulation of environment {self._rows.start + int(last[:, 0].argmin())} diverged")
        velocities = last[:, 1 + self._positions :]
        accelerations = (velocities - states[:, -2, 1 + self._positions :]) / TIMESTEP
        after = Moving(last[:, 1 : 1 + self._positions].copy(), velocities.copy(), accelerations, before.goals)
        columns, places = after.positions.T.copy(), before.goals.T
        seen = observe(np, kinematics(np, columns[:DOFS]), columns, velocities.T, places)
        return Advanced(after, seen.T, rewards(np, goal_distances(np, columns, places)))


def finger_targets(actions: Any) -> Any:
    """Wanted positions (2, n) of the fingers for the actions' last value (1, n): -1 closes, 1 opens."""
    return FINGER_REACH / 2 * (1 + actions.repeat(2, 0))
