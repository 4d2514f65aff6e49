"""Multilayer perceptrons as plain pytrees: a tuple of layers, each a weight matrix and a bias."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from tdscale.agents.products import Precision, multiply
from tdscale.agents.types import Array, Key

Activation = Callable[[Array], Array]
Tree = TypeVar("Tree")


class Layer(NamedTuple):
    """weight: shape (..., inputs, outputs); bias: shape (..., outputs)."""

    weight: Array
    bias: Array


Network = tuple[Layer, ...]
InitLayer = Callable[[Key, int, int], Layer]


@jax.custom_jvp
def rectify(inputs: Array) -> Array:
    """ReLU, max(x, 0), with derivative 0 at 0."""
    return jnp.maximum(inputs, 0.0)


@rectify.defjvp
def _rectify_derivative(inputs: tuple[Array], changes: tuple[Array]) -> tuple[Array, Array]:
    # a product: XLA:CPU does not vectorise the choice between a change and 0, and takes four times as long over it
    outputs = rectify(*inputs)
    return outputs, jnp.sign(outputs) * changes[0]


def orthogonal_layer(key: Key, inputs: int, outputs: int, gain: float = 2.0**0.5) -> Layer:
    """An orthogonal weight, whose singular values are all `gain`; bias 0."""
    return Layer(jax.nn.initializers.orthogonal(gain)(key, (inputs, outputs)), jnp.zeros(outputs))


def fan_in_layer(key: Key, inputs: int, outputs: int) -> Layer:
    """Weight and bias uniform within ±1/√inputs, PyTorch's default: outputs begin small."""
    weight_key, bias_key = jax.random.split(key)
    bound = inputs**-0.5
    return Layer(
        jax.random.uniform(weight_key, (inputs, outputs), minval=-bound, maxval=bound),
        jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound),
    )


def init_policy_head(key: Key, inputs: int, action_size: int, mean_gain: float, log_std_gain: float) -> Layer:
    """The last layer of a Gaussian policy: means, then log standard deviations, each orthogonal with a gain of its own."""
    mean, log_std = map(orthogonal_layer, jax.random.split(key), (inputs,) * 2, (action_size,) * 2, (mean_gain, log_std_gain))
    return Layer(*(jnp.concatenate(parts, axis=-1) for parts in zip(mean, log_std, strict=True)))


def init_network(key: Key, sizes: Sequence[int], init_layer: InitLayer = orthogonal_layer) -> Network:
    """Layers of the given sizes, input first; by default weights are orthogonal with gain √2 and biases 0."""
    keys = jax.random.split(key, len(sizes) - 1)
    return tuple(map(init_layer, keys, sizes[:-1], sizes[1:]))


def init_twins(key: Key, sizes: Sequence[int], init_layer: InitLayer = orthogonal_layer) -> Network:
    """Two independent networks whose layers are stacked along a first axis of length 2."""
    return init_pair(key, lambda one: init_network(one, sizes, init_layer))


def init_pair(key: Key, init: Callable[[Key], Tree]) -> Tree:
    """Two independent results of `init`, leaves stacked along a first axis of length 2.

    Not by `jax.vmap`: on a CPU the QR decompositions behind orthogonal weights, batched, wait for each other for ever where several of
    them are 512 wide (jaxlib 0.10.2).
    """
    first, second = (init(one) for one in jax.random.split(key))
    pair: Tree = jax.tree.map(lambda *leaves: jnp.stack(leaves), first, second)
    return pair


def hidden_layers(network: Network, inputs: Array, activation: Activation = rectify, precision: Precision = "float32") -> tuple[Array, ...]:
    """What leaves each activation, one array of shape (..., width) per hidden layer."""
    found = [inputs]
    for layer in network[:-1]:
        found.append(activation(apply_layer(layer, found[-1], precision)))
    return tuple(found[1:])


def apply_layer(layer: Layer, inputs: Array, precision: Precision = "float32") -> Array:
    """Shape (..., inputs) gives (..., outputs)."""
    return multiply(inputs, layer.weight, precision) + layer.bias


def apply_network(network: Network, inputs: Array, activation: Activation = rectify, precision: Precision = "float32") -> Array:
    """The activation between layers, none after the last; inputs of shape (..., sizes[0]) give (..., sizes[-1])."""
    hidden = (inputs, *hidden_layers(network, inputs, activation, precision))[-1]
    return apply_layer(network[-1], hidden, precision)


def apply_twins(twins: Network, inputs: Array, activation: Activation = rectify, precision: Precision = "float32") -> Array:
    """Both networks on the same inputs: shape (batch, sizes[0]) gives (2, batch, sizes[-1])."""
    return jax.vmap(lambda one: apply_network(one, inputs, activation, precision))(twins)


def count_parameters(network: Any) -> int:
    """Number of trained values of a pytree (of both networks, for twins)."""
    return sum(leaf.size for leaf in jax.tree.leaves(network))


def parameter_norm(network: Any) -> Array:
    """L2 norm over all values of a pytree."""
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(network)))
