"""The tanh-squashed Gaussian policy."""

import jax
import jax.numpy as jnp

from tdscale.agents.types import Array, Key


def sample_squashed(mean: Array, log_std: Array, key: Key) -> tuple[Array, Array]:
    """A reparameterised action and its log density, of shapes (batch, action_size) and (batch,)."""
    noise = jax.random.normal(key, mean.shape)
    unbounded = mean + jnp.exp(log_std) * noise
    log_density = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2 * jnp.pi)
    # log(1 - tanh²(u)) in a form that does not cancel where |u| is large
    log_slope = 2.0 * (jnp.log(2.0) - unbounded - jax.nn.softplus(-2.0 * unbounded))
    return jnp.tanh(unbounded), jnp.sum(log_density - log_slope, axis=-1)
