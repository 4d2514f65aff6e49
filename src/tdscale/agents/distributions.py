"""Values as distributions: quantiles (Dabney et al. 2018) for BRO, atoms with probabilities (C51, Bellemare et al. 2017) for PQL-D."""

import jax
import jax.numpy as jnp
from jax import Array


def quantile_huber(predicted: Array, target: Array) -> tuple[Array, Array]:
    """The quantile Huber loss with κ = 1: summed over critics and predicted quantiles, averaged over target quantiles and batch.

    Args:
        predicted: shape (2, batch, n); the i-th stands for the midpoint of the i-th of n equal bins of probability.
        target: shape (batch, m).

    Returns:
        The loss and its derivative by `predicted`. A loop over target quantiles keeps the (2, batch, n, m) errors out of memory:
        on a CPU it takes an eighth of the time of one array expression, and a thirtieth of automatic differentiation's.
    """
    count, samples = predicted.shape[-1], target.shape[-1]
    midpoints = (jnp.arange(count, dtype=predicted.dtype) + 0.5) / count

    def add(index: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        error = jax.lax.dynamic_slice_in_dim(target, index, 1, axis=1) - predicted
        clipped = jnp.clip(error, -1, 1)  # Huber's derivative; the loss is clipped · (error − clipped / 2)
        weighted = jnp.where(error < 0, 1 - midpoints, midpoints) * clipped
        return sums[0] + weighted * (error - clipped / 2), sums[1] - weighted

    unroll = 1 if jax.default_backend() == "cpu" else 10  # elsewhere a round is a few small kernels, and ten are no more
    loss, slope = jax.lax.fori_loop(0, samples, add, (jnp.zeros_like(predicted), jnp.zeros_like(predicted)), unroll=unroll)
    return jnp.sum(loss) / (len(target) * samples), slope / (len(target) * samples)


_NO_MASS = 1e-30  # below it masses have no mean; 0 stands in


def project(probabilities: Array, positions: Array, atoms: Array) -> Array:
    """Mass at arbitrary positions moved to the nearest atoms: a position's two neighbours share it by their nearness.

    Args:
        probabilities: shape (..., m).
        positions: of the mass, shape (..., m); beyond the atoms it goes to the last one.
        atoms: rising in equal steps, shape (n,).

    Returns:
        Shape (..., n): sums as `probabilities` does, with the same mean where no position lies beyond the atoms. Its loop is
        unrolled, so that the (..., m, n) shares are never held: a quarter of the time of one array expression on a CPU.
    """
    spacing = (atoms[-1] - atoms[0]) / (len(atoms) - 1)
    # counted from the middle, where rounding errors are half as large as from an end
    steps = (jnp.clip(positions, atoms[0], atoms[-1]) - (atoms[0] + atoms[-1]) / 2) / spacing
    numbers = jnp.arange(len(atoms), dtype=steps.dtype) - (len(atoms) - 1) / 2
    shares = (
        probabilities[..., index, None] * jnp.maximum(0.0, 1.0 - jnp.abs(steps[..., index, None] - numbers))
        for index in range(positions.shape[-1])
    )
    return sum(shares, jnp.zeros_like(numbers))


def pessimistic_target(logits: Array, reward: Array, factor: Array, atoms: Array) -> Array:
    """The element-wise minimum of two projected target distributions, shape (batch, atoms).

    Not renormalised: its mass is 1 − the twins' distance in total variation. In `cross_entropy` that is a weight of the
    transition, which does not change the minimiser.

    Args:
        logits: of the two target critics at the next observation, shape (2, batch, atoms).
        reward, factor: the distribution's mass at z moves to reward + factor · z; shape (batch,).
        atoms: shape (atoms,).
    """
    positions = reward[:, None] + factor[:, None] * atoms
    projected = jax.vmap(lambda one: project(one, positions, atoms))(jax.nn.softmax(logits))
    return jnp.min(projected, axis=0)


def cross_entropy(logits: Array, target: Array) -> Array:
    """−Σ target · log softmax(logits), shape (...) for shapes (..., atoms)."""
    return -jnp.sum(target * jax.nn.log_softmax(logits), axis=-1)


def binary_cross_entropy(logits: Array, target: Array) -> Array:
    """−(Σ target · log p + (1 − target) · log(1 − p)) / n with p = softmax(logits), shape (...) for shapes (..., n)."""
    log_sum = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    log_probability = logits - log_sum
    probability = jnp.exp(log_probability)
    # of at most one atom 1 − p would lose its digits: the mass of the others instead
    dominant = probability > 0.5
    log_others = jax.nn.logsumexp(jnp.where(dominant, -jnp.inf, logits), axis=-1, keepdims=True) - log_sum
    log_complement = jnp.where(dominant, log_others, jnp.log(1.0 - jnp.where(dominant, 0.0, probability)))
    return -jnp.mean(target * log_probability + (1.0 - target) * log_complement, axis=-1)


def expectation(masses: Array, atoms: Array) -> Array:
    """Mean of masses of any sum, shape (...) for shape (..., atoms)."""
    return masses @ atoms / jnp.maximum(jnp.sum(masses, axis=-1), _NO_MASS)
