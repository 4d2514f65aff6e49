"""BroNet: a dense layer, then residual blocks, all with layer norm (Nauman et al. 2024), as plain pytrees."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tdscale.agents.networks import Layer, apply_layer, orthogonal_layer, rectify
from tdscale.agents.products import Precision, multiply
from tdscale.agents.types import Array, Key

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


def init_body(key: Key, inputs: int, width: int, blocks: int) -> Body:
    """Orthogonal weights with gain √2, biases 0, layer norms the identity."""
    stem_key, *keys = jax.random.split(key, 1 + 2 * blocks)
    pairs = tuple(
        (_init_normed(first, width, width), _init_normed(second, width, width)) for first, second in zip(keys[::2], keys[1::2], strict=True)
    )
    return Body(_init_normed(stem_key, inputs, width), pairs)


def init_bronet(key: Key, inputs: int, width: int, blocks: int, outputs: int) -> BroNet:
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


def _init_normed(key: Key, inputs: int, outputs: int) -> NormedLayer:
    layer = orthogonal_layer(key, inputs, outputs)
    return NormedLayer(layer.weight, layer.bias, scale=jnp.ones(outputs), shift=jnp.zeros(outputs))


def _apply_normed(layer: NormedLayer, inputs: Array, precision: Precision) -> Array:
    outputs = multiply(inputs, layer.weight, precision) + layer.bias
    centred = outputs - jnp.mean(outputs, axis=-1, keepdims=True)
    spread = jnp.mean(centred**2, axis=-1, keepdims=True) + NORM_EPSILON
    return centred * jax.lax.rsqrt(spread) * layer.scale + layer.shift
