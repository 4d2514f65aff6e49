"""How much of a critic is in use: dormant units (Sokar et al. 2023) and the rank of its features (Kumar et al. 2021)."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
    reached = jnp.cumsum(_singular_values(features), axis=-1)
    total = reached[..., -1:]
    rank = jnp.sum(reached < (1 - tolerance) * total, axis=-1) + (total[..., 0] > 0)
    return jnp.mean(jnp.where(jnp.isfinite(total[..., 0]), rank, jnp.nan))


def _singular_values(features: Array) -> Array:
    """Falling, shape (..., min(n, width)); NaN where features are not finite."""
    if jax.default_backend() == "cpu":
        return jnp.linalg.svd(features, full_matrices=False, compute_uv=False)
    # a GPU takes matrices of this size one after the other, far slower than the host's cores together
    shape = jax.ShapeDtypeStruct((*features.shape[:-2], min(features.shape[-2:])), features.dtype)  # type: ignore[no-untyped-call]
    found: Array = jax.pure_callback(_singular_values_on_host, shape, features, vmap_method="expand_dims")
    return found


def _singular_values_on_host(features: Any) -> Any:
    """The same in NumPy, with a thread for each core."""
    stacked = np.asarray(features)
    values = np.full((*stacked.shape[:-2], min(stacked.shape[-2:])), np.nan, stacked.dtype)

    def one(index: tuple[int, ...]) -> None:
        if np.isfinite(stacked[index]).all():
            values[index] = np.linalg.svd(stacked[index], compute_uv=False)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(one, np.ndindex(stacked.shape[:-2])):
            pass
    return values
