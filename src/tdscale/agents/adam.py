"""Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), with η as a traced value: one compilation serves every η."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

_SECOND_DECAY, _EPSILON = 0.999, 1e-8


def init_adam(parameters: Any) -> optax.ScaleByAdamState:
    """Moments of a pytree, 0."""
    state: optax.ScaleByAdamState = optax.scale_by_adam().init(parameters)
    return state


def descend(
    parameters: Any,
    gradient: Any,
    state: optax.ScaleByAdamState,
    learning_rate: Array | float,
    *,
    first_decay: float = 0.9,
    weight_decay: float = 0.0,
) -> tuple[Any, optax.ScaleByAdamState]:
    """One step: the parameters and moments after it.

    θ − η·(m̂ / (√v̂ + 1e-8) + weight decay · θ), where m̂ and v̂ are the moments with their bias corrected.
    """
    count = state.count + 1
    first_correction, second_correction = 1.0 - first_decay**count, 1.0 - _SECOND_DECAY**count
    # the corrections moved over to the scalars: a division less for every parameter
    root = jnp.sqrt(second_correction)
    rate, epsilon = learning_rate * root / first_correction, _EPSILON * root
    first = jax.tree.map(lambda slope, old: first_decay * old + (1 - first_decay) * slope, gradient, state.mu)
    second = jax.tree.map(lambda slope, old: _SECOND_DECAY * old + (1 - _SECOND_DECAY) * slope**2, gradient, state.nu)

    def step(old: Array, mean: Array, square: Array) -> Array:
        moved: Array = old - rate * mean / (jnp.sqrt(square) + epsilon) - learning_rate * weight_decay * old
        return moved

    return jax.tree.map(step, parameters, first, second), optax.ScaleByAdamState(count=count, mu=first, nu=second)
