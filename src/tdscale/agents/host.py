"""Acting on the host, in NumPy: one observation through a small network costs a quarter of what a device call costs.

Each policy works on a copy of the networks, since a view would keep the device from reusing the donated memory.
"""

from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tdscale.agents.bro import BROConfig, BROState
from tdscale.agents.networks import NORM_EPSILON, Body, NormedLayer
from tdscale.agents.sac import SACConfig, SACState


class SACPolicy:
    """The policy of `sac.act`."""

    def __init__(self, config: SACConfig, state: SACState) -> None:
        self._action_size = config.action_size
        self._clip = config.log_std_min, config.log_std_max
        self._layers = [(np.array(layer.weight), np.array(layer.bias)) for layer in state.actor]

    def act(self, observations: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """tanh(mean + std · noise), shape (..., action_size); None is the mean policy."""
        hidden = observations
        for weight, bias in self._layers[:-1]:
            hidden = hidden @ weight
            hidden += bias
            np.maximum(hidden, 0.0, out=hidden)
        weight, bias = self._layers[-1]
        output = hidden @ weight + bias
        unbounded = output[..., : self._action_size]
        if noise is not None:
            log_std = np.minimum(np.maximum(output[..., self._action_size :], self._clip[0]), self._clip[1])
            unbounded = unbounded + np.exp(log_std) * noise
        action: NDArray[np.float32] = np.tanh(unbounded)
        return action


class BROPolicy:
    """The policy of `bro.act`."""

    def __init__(self, config: BROConfig, state: BROState) -> None:
        self._config = config
        explorer = None if state.optimism is None else state.optimism.explorer
        self._actor, self._explorer = jax.tree.map(np.array, (state.actor, explorer))

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
