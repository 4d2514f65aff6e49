"""Acting on the host: one observation through a small network costs NumPy a quarter of what a device call costs."""

import numpy as np
from numpy.typing import NDArray

from tdscale.agents.networks import Network
from tdscale.agents.sac import SACConfig


class HostPolicy:
    """The policy of `sac.act` in NumPy, on a copy of the actor."""

    def __init__(self, config: SACConfig, actor: Network) -> None:
        self._action_size = config.action_size
        self._clip = config.log_std_min, config.log_std_max
        # a copy: a view would keep the device from reusing the donated memory
        self._layers = [(np.array(layer.weight), np.array(layer.bias)) for layer in actor]

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
