"""Small classics as pure functions in JAX, equal to Gymnasium's: whole runs of them stay on the device."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.tasks.gymnasium_suite import installed_versions
from tdscale.tasks.task import Observation

Array = jax.Array


class Stepped(NamedTuple):
    """What one step brings: the state after it, shape (2,), the reward and whether the episode has truly ended."""

    state: Array
    reward: Array
    terminated: Array


class Classic(Protocol):
    """An environment whose state is an array of shape (2,)."""

    @property
    def observation_size(self) -> int: ...

    @property
    def action_size(self) -> int: ...

    @property
    def episode_steps(self) -> int: ...

    def reset(self, key: Array) -> Array:
        """The first state of an episode."""
        ...

    def observe(self, state: Array) -> Array:
        """What is seen of a state, shape (observation_size,)."""
        ...

    def step(self, state: Array, action: Array) -> Stepped:
        """Take an action in [-1, 1], shape (action_size,)."""
        ...


@dataclass(frozen=True)
class Pendulum:
    """Pendulum-v1: swing up and hold, reward −(θ² + 0.1 θ̇² + 0.001 torque²), episodes of 200 steps. State: θ, θ̇."""

    observation_size: int = 3
    action_size: int = 1
    episode_steps: int = 200

    def reset(self, key: Array) -> Array:
        """θ in [−π, π], θ̇ in [−1, 1], uniform."""
        return jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0) * jnp.array([jnp.pi, 1.0])

    def observe(self, state: Array) -> Array:
        """cos θ, sin θ, θ̇."""
        return jnp.stack([jnp.cos(state[0]), jnp.sin(state[0]), state[1]])

    def step(self, state: Array, action: Array) -> Stepped:
        """Gravity 10, mass and length 1, torque up to 2, 0.05 s."""
        angle, speed = state
        torque = 2.0 * jnp.clip(action[0], -1.0, 1.0)
        upright = (angle + jnp.pi) % (2 * jnp.pi) - jnp.pi
        reward = -(upright**2 + 0.1 * speed**2 + 0.001 * torque**2)
        speed = jnp.clip(speed + (15.0 * jnp.sin(angle) + 3.0 * torque) * 0.05, -8.0, 8.0)
        return Stepped(jnp.stack([angle + speed * 0.05, speed]), reward, jnp.array(False))


@dataclass(frozen=True)
class MountainCar:
    """MountainCarContinuous-v0: out of a valley with a weak engine, 100 at the top less 0.1 force² a step, at most 999 steps."""

    observation_size: int = 2
    action_size: int = 1
    episode_steps: int = 999

    def reset(self, key: Array) -> Array:
        """At rest, position uniform in [−0.6, −0.4]."""
        return jnp.stack([jax.random.uniform(key, minval=-0.6, maxval=-0.4), jnp.float32(0.0)])

    def observe(self, state: Array) -> Array:
        """Position, velocity."""
        return state

    def step(self, state: Array, action: Array) -> Stepped:
        """Power 0.0015 against gravity 0.0025 cos(3·position); a wall at −1.2, the top at 0.45."""
        position, velocity = state
        force = jnp.clip(action[0], -1.0, 1.0)
        velocity = jnp.clip(velocity + force * 0.0015 - 0.0025 * jnp.cos(3 * position), -0.07, 0.07)
        position = jnp.clip(position + velocity, -1.2, 0.6)
        velocity = jnp.where((position <= -1.2) & (velocity < 0), 0.0, velocity)
        there = (position >= 0.45) & (velocity >= 0)
        return Stepped(jnp.stack([position, velocity]), 100.0 * there - 0.1 * action[0] ** 2, there)


CLASSICS: dict[str, Classic] = {"pendulum": Pendulum(), "mountain-car": MountainCar()}


class ClassicTask:
    """A classic as an ordinary task, stepped from the host: for algorithms that step several environments."""

    def __init__(self, name: str) -> None:
        """Raises UserError if there is no such classic."""
        if name not in CLASSICS:
            known = ", ".join(map(repr, ("franka-push", "franka-push-6", "franka-push-shaped", "franka-push-6-shaped", *CLASSICS)))
            raise UserError(f"task {name!r}: suite 'tdscale' has no such task; it has {known}")
        self._classic = CLASSICS[name]
        self.observation_size, self.action_size = self._classic.observation_size, self._classic.action_size
        self._state: Any = None
        self._steps = 0

    def reset(self, seed: int) -> Observation:
        """See `Task.reset`."""
        self._steps = 0
        self._state = _reset(self._classic, np.uint32(seed))
        return np.asarray(_observe(self._classic, self._state))

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool]:
        """See `Task.step`."""
        self._steps += 1
        self._state, reward, terminated = _step(self._classic, self._state, action)
        over = bool(terminated)
        late = not over and self._steps >= self._classic.episode_steps
        return np.asarray(_observe(self._classic, self._state)), float(reward), over, late

    def close(self) -> None:
        """Nothing is held."""

    def versions(self) -> dict[str, str]:
        """Of JAX."""
        return installed_versions("jax")


@partial(jax.jit, static_argnums=0)
def _reset(classic: Classic, seed: Array) -> Array:
    return classic.reset(jax.random.key(seed))


@partial(jax.jit, static_argnums=0)
def _observe(classic: Classic, state: Array) -> Array:
    return classic.observe(state)


@partial(jax.jit, static_argnums=0)
def _step(classic: Classic, state: Array, action: Array) -> Stepped:
    return classic.step(state, action)
