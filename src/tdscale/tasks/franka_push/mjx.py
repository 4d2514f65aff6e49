"""MJX, MuJoCo in JAX, as another way to advance Franka-Push: same scene, control, observation and reward, in float32 on JAX's device."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.tasks.franka_push.control import kinematics, torques
from tdscale.tasks.franka_push.episode import DOFS, goal_distances, observe, rewards
from tdscale.tasks.franka_push.model import SUBSTEPS, mjcf
from tdscale.tasks.franka_push.physics import Advanced, Moving, Physics, finger_targets
from tdscale.tasks.suites import quiet_mujoco


class MJXPhysics(Physics):
    """All environments in one jitted step; the state stays on the device between steps.

    Raises:
        UserError: if mujoco-mjx is not installed.
    """

    def __init__(self, cubes: int) -> None:
        quiet_mujoco()
        try:
            # not "from mujoco import mjx", whose failure does not say that a module is missing
            import mujoco.mjx as mjx
        except ModuleNotFoundError as error:
            missing = f"franka-push on MJX needs {error.name}, which is not installed"
            raise UserError(f'{missing}; pip install "tdscale[gpu]" installs it') from None
        self._advance = _compiled(mjx, cubes)

    def put(self, moving: Moving) -> Moving:
        return Moving(*(jnp.asarray(part, jnp.float32) for part in moving))

    def advance(self, moving: Moving, actions: NDArray[np.float64], over: NDArray[np.bool_]) -> Advanced:
        found: Advanced = self._advance(moving, jnp.asarray(actions, jnp.float32), jnp.asarray(over))
        return found

    def close(self) -> None:
        """Nothing is held beside arrays."""


@cache
def _compiled(mjx: Any, cubes: int) -> Any:
    """One for all environments of a process: it takes long to compile."""
    import mujoco

    model = mujoco.MjModel.from_xml_string(mjcf(cubes))
    advance = jax.jit(partial(_advance, mjx, mjx.put_model(model), mjx.make_data(model)))

    def exactly(*arguments: Any) -> Any:
        # a GPU would round the solver's products to 11 bits
        with jax.default_matmul_precision("highest"):
            return advance(*arguments)

    return exactly


def _advance(mjx: Any, model: Any, data: Any, moving: Moving, actions: Any, over: Any) -> Advanced:
    positions, velocities, wanted = moving.positions.T, moving.velocities.T, actions.T
    arm = kinematics(jnp, positions[:DOFS])
    controls = jnp.concatenate([torques(jnp, arm, positions, velocities, wanted[:6]), finger_targets(wanted[6:])]).T

    def physics(state: tuple[Any, Any, Any], control: Any) -> tuple[Any, Any, Any]:
        def substep(_: int, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            position, velocity, acceleration = state
            after = mjx.step(model, data.replace(qpos=position, qvel=velocity, qacc_warmstart=acceleration, ctrl=control))
            return after.qpos, after.qvel, after.qacc_warmstart

        found: tuple[Any, Any, Any] = jax.lax.fori_loop(0, SUBSTEPS, substep, state)
        return found

    after = Moving(*jax.vmap(physics)(moving[:3], controls), goals=moving.goals)
    stays = over[:, None]
    after = Moving(*(jnp.where(stays, old, new) for old, new in zip(moving, after, strict=True)))
    positions, goals = after.positions.T, after.goals.T
    seen = observe(jnp, kinematics(jnp, positions[:DOFS]), positions, after.velocities.T, goals).T
    return Advanced(after, seen, jnp.where(over, 0.0, rewards(jnp, goal_distances(jnp, positions, goals))))
