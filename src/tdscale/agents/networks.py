"""Parts of networks as plain pytrees: layers, multilayer perceptrons, BroNet, the tanh-squashed policy, normalised observations.

Functions of parameters and inputs; products of matrices are `agents.products`, optimisers `agents.adam`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from tdscale.agents.products import Precision, multiply

Activation = Callable[[Array], Array]
Tree = TypeVar("Tree")


class Layer(NamedTuple):
    """weight: shape (..., inputs, outputs); bias: shape (..., outputs)."""

    weight: Array
    bias: Array


Network = tuple[Layer, ...]
InitLayer = Callable[[Array, int, int], Layer]


@jax.custom_jvp
def rectify(inputs: Array) -> Array:
    """ReLU, max(x, 0), with derivative 0 at 0."""
    return jnp.maximum(inputs, 0.0)


@rectify.defjvp
def _rectify_derivative(inputs: tuple[Array], changes: tuple[Array]) -> tuple[Array, Array]:
    # a product: XLA:CPU does not vectorise the choice between a change and 0, and takes four times as long over it
    outputs = rectify(*inputs)
    return outputs, jnp.sign(outputs) * changes[0]


def orthogonal_layer(key: Array, inputs: int, outputs: int, gain: float = 2.0**0.5) -> Layer:
    """An orthogonal weight, whose singular values are all `gain`; bias 0."""
    return Layer(jax.nn.initializers.orthogonal(gain)(key, (inputs, outputs)), jnp.zeros(outputs))


def fan_in_layer(key: Array, inputs: int, outputs: int) -> Layer:
    """Weight and bias uniform within ±1/√inputs, PyTorch's default: outputs begin small."""
    weight_key, bias_key = jax.random.split(key)
    bound = inputs**-0.5
    return Layer(
        jax.random.uniform(weight_key, (inputs, outputs), minval=-bound, maxval=bound),
        jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound),
    )


def init_policy_head(key: Array, inputs: int, action_size: int, mean_gain: float, log_std_gain: float) -> Layer:
    """The last layer of a Gaussian policy: means, then log standard deviations, each orthogonal with a gain of its own."""
    mean, log_std = map(orthogonal_layer, jax.random.split(key), (inputs,) * 2, (action_size,) * 2, (mean_gain, log_std_gain))
    return Layer(*(jnp.concatenate(parts, axis=-1) for parts in zip(mean, log_std, strict=True)))


def init_network(key: Array, sizes: Sequence[int], init_layer: InitLayer = orthogonal_layer) -> Network:
    """Layers of the given sizes, input first; by default weights are orthogonal with gain √2 and biases 0."""
    keys = jax.random.split(key, len(sizes) - 1)
    return tuple(map(init_layer, keys, sizes[:-1], sizes[1:]))


def init_twins(key: Array, sizes: Sequence[int], init_layer: InitLayer = orthogonal_layer) -> Network:
    """Two independent networks whose layers are stacked along a first axis of length 2."""
    return init_pair(key, lambda one: init_network(one, sizes, init_layer))


def init_pair(key: Array, init: Callable[[Array], Tree]) -> Tree:
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


def follow(targets: Tree, network: Tree, rate: float) -> Tree:
    """Target parameters moved by a share `rate` of the way towards a network's."""
    moved: Tree = jax.tree.map(lambda old, new: old + rate * (new - old), targets, network)
    return moved


def parameter_norm(network: Any) -> Array:
    """L2 norm over all values of a pytree."""
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(network)))


NORM_EPSILON = 1e-6


class NormedLayer(NamedTuple):
    """A dense layer and the layer norm after it. weight: (..., inputs, outputs); bias, scale, shift: (..., outputs)."""

    weight: Array
    bias: Array
    scale: Array
    shift: Array


class Body(NamedTuple):
    """stem → ReLU, then for each block x + second(ReLU(first(x)))."""

    stem: NormedLayer
    blocks: tuple[tuple[NormedLayer, NormedLayer], ...]


class BroNet(NamedTuple):
    """A body and a linear head."""

    body: Body
    head: Layer


def init_body(key: Array, inputs: int, width: int, blocks: int) -> Body:
    """Orthogonal weights with gain √2, biases 0, layer norms the identity."""
    stem_key, *keys = jax.random.split(key, 1 + 2 * blocks)
    pairs = tuple(
        (_init_normed(first, width, width), _init_normed(second, width, width)) for first, second in zip(keys[::2], keys[1::2], strict=True)
    )
    return Body(_init_normed(stem_key, inputs, width), pairs)


def init_bronet(key: Array, inputs: int, width: int, blocks: int, outputs: int) -> BroNet:
    """As `init_body`; the head's weights orthogonal with gain √2, too."""
    body_key, head_key = jax.random.split(key)
    return BroNet(init_body(body_key, inputs, width, blocks), orthogonal_layer(head_key, width, outputs))


def body_layers(body: Body, inputs: Array, precision: Precision = "float32") -> tuple[tuple[Array, ...], Array]:
    """What leaves each ReLU, the stem's first, and what leaves the body; each of shape (..., width)."""
    hidden = rectify(_apply_normed(body.stem, inputs, precision))
    active = [hidden]
    for first, second in body.blocks:
        active.append(rectify(_apply_normed(first, hidden, precision)))
        # no activation after the sum
        hidden = hidden + _apply_normed(second, active[-1], precision)
    return tuple(active), hidden


def apply_body(body: Body, inputs: Array, precision: Precision = "float32") -> Array:
    """Shape (..., inputs) gives (..., width)."""
    return body_layers(body, inputs, precision)[1]


def bronet_layers(network: BroNet) -> tuple[NormedLayer | Layer, ...]:
    """Every layer's parameters, from the input to the head."""
    return (network.body.stem, *(layer for block in network.body.blocks for layer in block), network.head)


def apply_bronet(network: BroNet, inputs: Array, precision: Precision = "float32") -> Array:
    """Shape (..., inputs) gives (..., outputs)."""
    return apply_layer(network.head, apply_body(network.body, inputs, precision), precision)


def _init_normed(key: Array, inputs: int, outputs: int) -> NormedLayer:
    layer = orthogonal_layer(key, inputs, outputs)
    return NormedLayer(layer.weight, layer.bias, scale=jnp.ones(outputs), shift=jnp.zeros(outputs))


def _apply_normed(layer: NormedLayer, inputs: Array, precision: Precision) -> Array:
    outputs = multiply(inputs, layer.weight, precision) + layer.bias
    centred = outputs - jnp.mean(outputs, axis=-1, keepdims=True)
    spread = jnp.mean(centred**2, axis=-1, keepdims=True) + NORM_EPSILON
    return centred * jax.lax.rsqrt(spread) * layer.scale + layer.shift


def sample_squashed(mean: Array, log_std: Array, key: Array) -> tuple[Array, Array]:
    """A reparameterised action and its log density, of shapes (batch, action_size) and (batch,)."""
    noise = jax.random.normal(key, mean.shape)
    unbounded = mean + jnp.exp(log_std) * noise
    # log(1 - tanh²(u)) = -2 log cosh(u), in a form that does not cancel where |u| is large. The logarithm's argument is within
    # [1, 2], where log loses nothing that log1p would keep; XLA:CPU vectorises the former alone
    size = jnp.abs(unbounded)
    log_cosh = size + jnp.log(1.0 + jnp.exp(-2.0 * size)) - jnp.log(2.0)
    log_density = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2 * jnp.pi)
    return jnp.tanh(unbounded), jnp.sum(log_density + 2.0 * log_cosh, axis=-1)


_FLOOR = 1e-4  # added to the variance: what never changed is not divided by zero


class RunningStatistics(NamedTuple):
    """Statistics of all observations so far. seen: how many, a scalar; mean, variance (of the population): shape (observation_size,)."""

    seen: Array
    mean: Array
    variance: Array


def no_statistics(size: int) -> RunningStatistics:
    """Statistics that leave observations as they are, but for the clip."""
    return RunningStatistics(jnp.zeros(()), jnp.zeros(size), jnp.ones(size))


def merge(statistics: RunningStatistics, observations: Array) -> RunningStatistics:
    """With further observations, shape (n, size), by the pairwise formula of Chan, Golub and LeVeque (1979).

    Written as means with the weight w = n / total of what is new, so that nothing grows with the number seen.
    """
    seen = statistics.seen + len(observations)
    weight = len(observations) / seen
    difference = jnp.mean(observations, axis=0) - statistics.mean
    variance = (1 - weight) * statistics.variance + weight * jnp.var(observations, axis=0) + weight * (1 - weight) * difference**2
    return RunningStatistics(seen, statistics.mean + weight * difference, variance)


def normalise(statistics: RunningStatistics, observations: Array, limit: float) -> Array:
    """(observation − mean) / √(variance + 1e-4), clipped to ±limit; shape (..., size)."""
    return jnp.clip((observations - statistics.mean) / jnp.sqrt(statistics.variance + _FLOOR), -limit, limit)
