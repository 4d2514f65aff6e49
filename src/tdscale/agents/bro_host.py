"""BRO's acting on the host, in NumPy (see `host`)."""

from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tdscale.agents.bro import BROConfig, BROState
from tdscale.agents.bronet import NORM_EPSILON, Body, NormedLayer


class BROPolicy:
    """The policy of `bro.act` in NumPy, on copies of actor and explorer (None for the minimal form)."""

    def __init__(self, config: BROConfig, actor: Any, explorer: Any) -> None:
        self._config = config
        # a copy: a view would keep the device from reusing the donated memory
        self._actor, self._explorer = jax.tree.map(np.array, (actor, explorer))

    def act(self, observations: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """What collects data, shape (..., action_size); None is the actor's mean, without the explorer."""
        config = self._config
        output = _body(self._actor.body, observations) @ self._actor.head.weight + self._actor.head.bias
        unbounded = output[..., : config.action_size]
        if noise is not None:
            half_range = np.float32((config.log_std_max - config.log_std_min) / 2)
            std = np.exp(np.float32(config.log_std_min) + half_range * (1 + np.tanh(output[..., config.action_size :])))
            if self._explorer is not None:
                seen = np.concatenate([observations, unbounded], axis=-1)
                unbounded = unbounded + _body(self._explorer.body, seen) @ self._explorer.head
                std = np.float32(config.explorer_std_factor) * std
            unbounded = unbounded + std * noise
        action: NDArray[np.float32] = np.tanh(unbounded)
        return action


def bro_policy(config: BROConfig, state: BROState) -> BROPolicy:
    """What acts in this state."""
    return BROPolicy(config, state.actor, None if state.optimism is None else state.optimism.explorer)


def _body(body: Body, observations: NDArray[np.float32]) -> Any:
    hidden = np.maximum(_normed(body.stem, observations), 0)
    for first, second in body.blocks:
        hidden = hidden + _normed(second, np.maximum(_normed(first, hidden), 0))
    return hidden


def _normed(layer: NormedLayer, inputs: Any) -> Any:
    outputs = inputs @ layer.weight + layer.bias
    outputs -= outputs.mean(axis=-1, keepdims=True)
    outputs /= np.sqrt(np.mean(outputs**2, axis=-1, keepdims=True) + np.float32(NORM_EPSILON))
    return outputs * layer.scale + layer.shift
