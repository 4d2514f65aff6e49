"""Squared gradient norms at a small and a large batch, from which the critical batch size is told (METHOD.md section 4, E)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tdscale.agents.types import Array

SMALL_BATCH = 64


def squared_norms(gradient: Callable[[Any], Any], batches: Any) -> tuple[Array, Array]:
    """|G_b|² at b = 64, the mean over the batches given, and at the size of them all together.

    The gradient of a mean over all rows is the mean of the batches' gradients, so one pass serves both.

    Args:
        gradient: one batch to the gradient of its mean loss, a pytree.
        batches: a pytree whose leaves have shape (n, 64, …).
    """

    def add(total: Any, batch: Any) -> tuple[Any, Array]:
        found = gradient(batch)
        return jax.tree.map(jnp.add, total, found), _squared_norm(found)

    first = jax.tree.map(lambda leaf: leaf[0], batches)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(gradient, first))
    total, norms = jax.lax.scan(add, nothing, batches)
    return jnp.mean(norms), _squared_norm(total) / len(norms) ** 2


def in_small_batches(rows: Any) -> Any:
    """Leaves of shape (n, …) as (n / 64, 64, …)."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, SMALL_BATCH, *leaf.shape[1:]), rows)


def _squared_norm(tree: Any) -> Array:
    return jnp.asarray(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))
