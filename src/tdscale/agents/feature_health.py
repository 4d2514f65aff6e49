"""How much of a critic is in use: dormant units (Sokar et al. 2023) and the rank of its features (Kumar et al. 2021)."""

from collections.abc import Sequence

import jax.numpy as jnp

from tdscale.agents.types import Array

DORMANT_BELOW = 0.025  # τ
RANK_TOLERANCE = 0.01  # δ


def dormant_share(layers: Sequence[Array], threshold: float = DORMANT_BELOW) -> Array:
    """Share of hidden units i with E|h_i| ≤ τ·mean over its layer's units of E|h| (Sokar et al. 2023, definition 3.1).

    Args:
        layers: activations, one array of shape (..., n, width) per hidden layer; leading axes are networks, each with its own mean.
        threshold: τ.

    Returns:
        A scalar, over the units of all layers and networks. A layer that is 0 throughout is dormant throughout.
    """
    dormant = []
    for activations in layers:
        activity = jnp.mean(jnp.abs(activations), axis=-2)
        dormant.append(jnp.ravel(activity <= threshold * jnp.mean(activity, axis=-1, keepdims=True)))
    return jnp.mean(jnp.concatenate(dormant), dtype=jnp.float32)


def feature_rank(features: Array, tolerance: float = RANK_TOLERANCE) -> Array:
    """srank_δ: the smallest k whose k largest singular values make up 1 − δ of the sum of all (Kumar et al. 2021, section 3).

    Of the features themselves, since the Gram matrix's eigenvalues have half the digits: in float32 its rounding errors alone
    add up to more than δ of the sum.

    Args:
        features: shape (..., n, width); leading axes are networks.
        tolerance: δ.

    Returns:
        The mean over the networks; 0 for features that are all 0, NaN if one is not finite.
    """
    reached = jnp.cumsum(jnp.linalg.svd(features, compute_uv=False), axis=-1)
    total = reached[..., -1:]
    rank = jnp.sum(reached < (1 - tolerance) * total, axis=-1) + (total[..., 0] > 0)
    return jnp.mean(jnp.where(jnp.isfinite(total[..., 0]), rank, jnp.nan))
