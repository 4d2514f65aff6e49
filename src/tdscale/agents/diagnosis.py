"""What an agent logs of itself beside its returns."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from tdscale.agents.types import Array


class Diagnosis(NamedTuple):
    """One diagnostic evaluation: scalars, and one per layer.

    Attributes:
        td_error_uniform, td_error_newest, td_error_validation: squared, averaged over both critics and the rows; NaN without rows.
        critic_parameter_norm: L2 norm over all values of both critics.
        critic_parameter_norm_layer: the same of each layer, from the input to the head; their squares add up to that of the whole.
        critic_gradient_norm_squared_64, critic_gradient_norm_squared_1024: of both critics together, at batches of 64 rows and of
            1024, or of as many as were given.
        critic_dormant_share, critic_feature_rank: see `agents.feature_health`; on the uniform rows, both critics averaged.
        temperature: of the entropy.
        finite: whether the agent is.
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
    temperature: Array
    finite: Array


def mean_by_source(squared: Array, uniform: Array, newest: Array) -> tuple[Array, Array, Array]:
    """Means over the uniform, the newest and the validation rows of what was computed of all of them, in this order, shape (rows,)."""
    parts = jnp.split(squared, [len(uniform), len(uniform) + len(newest)])
    return jnp.mean(parts[0]), jnp.mean(parts[1]), jnp.mean(parts[2])


def diagnosis_columns(diagnosis: Any) -> dict[str, Any]:
    """A diagnosis, whatever named tuple it is, by column of the curve: a field that is a tuple becomes its name with _0, _1, …

    `finite` is among them.
    """
    columns: dict[str, Any] = {}
    for name, value in diagnosis._asdict().items():
        columns |= {f"{name}_{index}": one for index, one in enumerate(value)} if isinstance(value, tuple) else {name: value}
    return columns
