"""Running mean and variance of observations, and observations normalised by them."""

from typing import NamedTuple

import jax.numpy as jnp

from tdscale.agents.types import Array

_FLOOR = 1e-4  # added to the variance: what never changed is not divided by zero


class RunningStatistics(NamedTuple):
    """Of all observations so far. seen: how many, a scalar; mean, variance (of the population): shape (observation_size,)."""

    seen: Array
    mean: Array
    variance: Array


def no_statistics(size: int) -> RunningStatistics:
    """Of nothing: observations are left as they are, but for the clip."""
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
