"""What the updates are made of, against the plain formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tdscale.agents.adam import descend, init_adam
from tdscale.agents.networks import apply_network, apply_twins, init_twins, rectify
from tdscale.agents.squashed import sample_squashed


def test_rectify_is_relu_in_value_and_derivative_at_0_too() -> None:
    inputs = jnp.array([-2.0, -0.0, 0.0, 1e-30, 3.0])
    np.testing.assert_array_equal(rectify(inputs), jax.nn.relu(inputs))
    np.testing.assert_array_equal(jax.vmap(jax.grad(rectify))(inputs), [0, 0, 0, 1, 1])


@pytest.mark.parametrize("first_decay", [0.5, 0.9])
def test_adam_is_optaxs_over_many_steps(first_decay: float) -> None:
    generator = np.random.default_rng(0)
    parameters = {"a": jnp.array(generator.standard_normal((3, 2)), jnp.float32), "b": jnp.float32(0.5)}
    peer = optax.adamw(3e-3, b1=first_decay, weight_decay=0.1)
    ours, theirs, state, peer_state = parameters, parameters, init_adam(parameters), peer.init(parameters)
    for scale in (1.0, 1e-6, 0.0, 1e3, 1.0):
        slopes = jax.tree.map(lambda leaf, s=scale: jnp.asarray(s * generator.standard_normal(leaf.shape), jnp.float32), parameters)
        ours, state = descend(ours, slopes, state, 3e-3, first_decay=first_decay, weight_decay=0.1)
        step, peer_state = peer.update(slopes, peer_state, theirs)
        theirs = optax.apply_updates(theirs, step)
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-6), ours, theirs)


def test_twins_are_two_networks_of_their_own() -> None:
    twins = init_twins(jax.random.key(1), (3, 4, 2))
    inputs = jnp.array(np.random.default_rng(2).standard_normal((5, 3)), jnp.float32)
    together = apply_twins(twins, inputs)
    alone = [apply_network(jax.tree.map(lambda leaf, i=i: leaf[i], twins), inputs) for i in range(2)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-6)
    assert not np.allclose(*together)


@pytest.mark.parametrize("mean", [-40.0, -3.0, 0.0, 1e-4, 8.0, 40.0])
def test_the_squashed_density_holds_where_tanh_saturates(mean: float) -> None:
    key, log_std = jax.random.key(3), jnp.full((4, 2), -1.0)
    found = sample_squashed(jnp.full((4, 2), mean), log_std, key)[1]
    noise = np.asarray(jax.random.normal(key, (4, 2)), np.float64)
    unbounded = mean + np.exp(-1.0) * noise
    log_slope = -2 * (np.logaddexp(unbounded, -unbounded) - np.log(2))
    expected = np.sum(-0.5 * noise**2 + 1.0 - 0.5 * np.log(2 * np.pi) - log_slope, axis=1)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)
