"""Transitions packed in rows: observation, action, reward, continues (0 after a true termination, else 1), next observation."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


@dataclass(frozen=True, kw_only=True)
class RowSizes:
    """What a task's transitions take: numbers of observations and of actions."""

    observation_size: int
    action_size: int

    @property
    def row_size(self) -> int:
        """Values of one packed transition."""
        return 2 * self.observation_size + self.action_size + 2


class Batch(NamedTuple):
    """Unpacked rows; each field has shape (batch, size) or, for reward and continues, (batch,)."""

    observation: Array
    action: Array
    reward: Array
    continues: Array
    next_observation: Array


def unpack(rows: Array, observation_size: int, action_size: int) -> Batch:
    """The parts of rows of shape (batch, 2·observation_size + action_size + 2)."""
    sizes = (observation_size, action_size, 1, 1)
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    observation, action, reward, continues, next_observation = jnp.split(rows, ends, axis=-1)
    return Batch(observation, action, reward[..., 0], continues[..., 0], next_observation)
