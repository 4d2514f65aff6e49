"""The tanh-squashed Gaussian policy."""

import jax
import jax.numpy as jnp

from tdscale.agents.types import Array, Key


def sample_squashed(mean: Array, log_std: Array, key: Key) -> tuple[Array, Array]:
    """A reparameterised action and its log density, of shapes (batch, action_size) and (batch,)."""
    noise = jax.random.normal(key, mean.shape)
    unbounded = mean + jnp.exp(log_std) * noise
    # log(1 - tanh²(u)) = -2 log cosh(u), in a form that does not cancel where |u| is large. The logarithm's argument is within
    # [1, 2], where log loses nothing that log1p would keep; XLA:CPU vectorises the former alone
    size = jnp.abs(unbounded)
    log_cosh = size + jnp.log(1.0 + jnp.exp(-2.0 * size)) - jnp.log(2.0)
    log_density = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2 * jnp.pi)
    return jnp.tanh(unbounded), jnp.sum(log_density + 2.0 * log_cosh, axis=-1)
