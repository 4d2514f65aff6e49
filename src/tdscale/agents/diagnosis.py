"""What an agent logs of itself beside its returns.

How much of a critic is in use: dormant units (Sokar et al. 2023), the rank of its features (Kumar et al. 2021). And squared gradient
norms at a small and a large batch, from which the critical batch size is estimated (docs/diagnostics.md).
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tdscale.agents.networks import parameter_norm
from tdscale.agents.rows import Batch

DORMANT_BELOW = 0.025  # τ
RANK_TOLERANCE = 0.01  # δ
SMALL_BATCH = 64


class Diagnosis(NamedTuple):
    """One diagnostic evaluation: scalars, and one per layer.

    Attributes:
        td_error_uniform, td_error_newest, td_error_validation: squared, averaged over both critics and the rows; NaN without rows.
        critic_parameter_norm: L2 norm over all values of both critics.
        critic_parameter_norm_layer: the same of each layer, from the input to the head; their squares add up to that of the whole.
        critic_gradient_norm_squared_64, critic_gradient_norm_squared_1024: of both critics together, at batches of 64 rows and of
            1024, or of as many as were given.
        critic_dormant_share, critic_feature_rank: see `dormant_share`, `feature_rank`; on the uniform rows, both critics averaged.
        finite: whether the agent is.
        temperature: of the entropy; None for an agent without one.
    """

    td_error_uniform: Array
    td_error_newest: Array
    td_error_validation: Array
    critic_parameter_norm: Array
    critic_parameter_norm_layer: tuple[Array, ...]
    critic_gradient_norm_squared_64: Array
    critic_gradient_norm_squared_1024: Array
    critic_dormant_share: Array
    critic_feature_rank: Array
    finite: Array
    temperature: Array | None = None


def diagnosed(
    critics: Any,
    batch: Batch,
    target: Array,
    squared: Array,
    *,
    uniform: int,
    newest: int,
    layers: Iterable[Any],
    active: Callable[[Any, Array], tuple[Sequence[Array], Array]],
    gradient: Callable[..., Any],
    others: Array,
    temperature: Array | None = None,
) -> Diagnosis:
    """The diagnosis of an agent on a batch of uniform, newest and validation rows, in this order.

    Args:
        critics: parameters of both.
        batch, target: of all rows.
        squared: TD errors, squared and averaged over both critics, shape (rows,).
        uniform, newest: how many rows are drawn uniformly, a multiple of 64, and how many are the newest.
        layers: the critics' parameters by layer, from the input to the head.
        active: (one critic, observations and actions side by side) to its hidden units, layer by layer, and its features.
        gradient: (critics, batch, target) to the gradient of the critics' loss.
        others: finite where all but the critics is.
        temperature: of the entropy, where there is one.
    """
    td_errors = mean_by_source(squared, uniform, newest)
    drawn = jax.tree.map(lambda leaf: leaf[:uniform], (batch, target))
    small, large = squared_norms(lambda part: gradient(critics, *part), in_small_batches(drawn))
    inputs = jnp.concatenate([drawn[0].observation, drawn[0].action], axis=-1)
    hidden, features = jax.vmap(active, (0, None))(critics, inputs)
    norm = parameter_norm(critics)
    return Diagnosis(
        *td_errors,
        critic_parameter_norm=norm,
        critic_parameter_norm_layer=tuple(map(parameter_norm, layers)),
        critic_gradient_norm_squared_64=small,
        critic_gradient_norm_squared_1024=large,
        critic_dormant_share=dormant_share(hidden),
        critic_feature_rank=feature_rank(features),
        temperature=temperature,
        finite=jnp.isfinite(norm + others),
    )


def mean_by_source(squared: Array, uniform: int, newest: int) -> tuple[Array, Array, Array]:
    """Means over the first `uniform` rows, the next `newest` ones, and the rest, those of validation; shape (rows,)."""
    parts = jnp.split(squared, [uniform, uniform + newest])
    return jnp.mean(parts[0]), jnp.mean(parts[1]), jnp.mean(parts[2])


def diagnosis_columns(diagnosis: Any) -> dict[str, Any]:
    """A diagnosis, of any named tuple, by column of the curve: a field that is a tuple becomes its name with _0, _1, …

    `finite` is among them; fields that are None are not.
    """
    columns: dict[str, Any] = {}
    for name, value in diagnosis._asdict().items():
        if value is not None:
            columns |= {f"{name}_{index}": one for index, one in enumerate(value)} if isinstance(value, tuple) else {name: value}
    return columns


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
