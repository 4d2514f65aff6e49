"""Networks as they begin, their parts and the optimiser against the plain formulas, and running statistics of observations."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tdscale.agents import bro, pql, sac
from tdscale.agents.adam import descend, init_adam
from tdscale.agents.networks import (
    RunningStatistics,
    apply_network,
    apply_twins,
    init_twins,
    merge,
    no_statistics,
    normalise,
    rectify,
    sample_squashed,
)


@pytest.mark.parametrize(
    ("agent", "config"),
    [(sac, sac.SACConfig(observation_size=17, action_size=6)), (bro, bro.BROConfig(observation_size=67, action_size=21))],
)
def test_weights_are_made_orthogonal_one_matrix_at_a_time(agent: Any, config: Any) -> None:
    """Batched, as `jax.vmap` would have them, several decompositions of wide matrices hang on a CPU (jaxlib 0.10.2)."""
    program = str(jax.make_jaxpr(lambda seed: agent.init(config, seed))(np.uint32(0)))
    decomposed = re.findall(r"f32\[([\d,]+)\] \w+:f32\[[\d,]+\] = qr\[", program)
    assert decomposed
    assert all(shape.count(",") == 1 for shape in decomposed)


def assert_gain(weight: Any, gain: float) -> None:
    """Orthogonal: every singular value is the gain."""
    np.testing.assert_allclose(np.linalg.svd(np.asarray(weight), compute_uv=False), gain, rtol=1e-4)


def test_sac_begins_with_gain_sqrt_2_but_1_for_the_policys_mean_and_log_std() -> None:
    state = sac.init(sac.SACConfig(observation_size=5, action_size=3, hidden_sizes=(32, 16)), np.uint32(0))
    for layer in (*state.actor[:-1], *state.critics):
        assert_gain(layer.weight, 2**0.5)
        assert not np.any(layer.bias)
    for half in np.split(np.asarray(state.actor[-1].weight), 2, axis=-1):
        assert_gain(half, 1)


def test_bro_begins_with_gain_sqrt_2_but_1_for_the_log_std_and_its_own_for_the_shift() -> None:
    config = bro.BROConfig(observation_size=5, action_size=3, critic_width=16, actor_width=16, quantiles=4, explorer_initial_scale=0.02)
    state = bro.init(config, np.uint32(0))
    assert state.optimism is not None
    explorer = state.optimism.explorer
    assert explorer.body.stem.weight.shape == (5 + 3, 16)
    for body in (state.actor.body, state.critics.body, explorer.body):
        for layer in (body.stem, *(layer for block in body.blocks for layer in block)):
            assert_gain(layer.weight, 2**0.5)
    mean, log_std = np.split(np.asarray(state.actor.head.weight), 2, axis=-1)
    assert_gain(mean, 2**0.5)
    assert_gain(log_std, 1)
    assert_gain(state.critics.head.weight, 2**0.5)
    assert_gain(explorer.head, 0.02)
    np.testing.assert_allclose(bro.dual_value(np.float32(state.optimism.raw_optimism)), 1, rtol=1e-5)
    np.testing.assert_allclose(bro.dual_value(np.float32(state.optimism.raw_regulariser)), 0.25, rtol=1e-5)


def test_pql_begins_with_weights_and_biases_spread_evenly_within_one_over_the_root_of_inputs() -> None:
    state = pql.init(pql.PQLConfig(observation_size=100, action_size=50), np.uint32(0))
    for layer in (*state.actor, *state.critics):
        bound = layer.weight.shape[-2] ** -0.5
        for values in map(np.ravel, (layer.weight, layer.bias)):
            places = np.sort((np.asarray(values) / bound + 1) / 2)
            assert places[0] >= 0
            assert places[-1] <= 1
            # the distance of Kolmogorov and Smirnov, far beyond what chance allows
            assert np.abs(places - (np.arange(len(places)) + 0.5) / len(places)).max() < 2.2 / len(places) ** 0.5


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


@pytest.mark.parametrize("sizes", [[8], [1, 7], [7, 1, 8], [1] * 8])
def test_merged_batch_by_batch_they_are_those_of_all_together(sizes: list[int]) -> None:
    observations = np.random.default_rng(0).normal([0, 300, -2], [1, 0.1, 50], (sum(sizes), 3)).astype(np.float32)
    statistics = no_statistics(3)
    for batch in np.split(observations, np.cumsum(sizes)[:-1]):
        statistics = merge(statistics, batch)
    everything = observations.astype(np.float64)
    assert statistics.seen == len(everything)
    np.testing.assert_allclose(statistics.mean, everything.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(statistics.variance, everything.var(axis=0), rtol=1e-3)


def test_they_still_move_and_do_not_drift_after_a_billion_observations() -> None:
    many = RunningStatistics(np.float32(1e9), np.full(2, 3, np.float32), np.full(2, 4, np.float32))
    batch = np.random.default_rng(0).normal(3, 2, (4096, 2)).astype(np.float32)
    for _ in range(3):
        many = merge(many, batch)
    assert many.seen > 1e9
    np.testing.assert_allclose(many.mean, 3, atol=1e-4)
    np.testing.assert_allclose(many.variance, 4, atol=1e-4)


def test_several_agents_under_vmap_have_their_own() -> None:
    batches = np.random.default_rng(1).normal(size=(2, 8, 3)).astype(np.float32)
    together = jax.vmap(lambda batch: merge(no_statistics(3), batch))(batches)
    np.testing.assert_allclose(together.mean, batches.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(together.variance, batches.var(axis=1), atol=1e-6)


def test_normalised_observations_have_mean_0_and_variance_1_and_are_clipped() -> None:
    observations = np.random.default_rng(2).normal([5, -100], [2, 30], (400, 2)).astype(np.float32)
    statistics = merge(no_statistics(2), observations)
    found = np.asarray(normalise(statistics, observations, 5.0))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-4)
    np.testing.assert_array_equal(normalise(statistics, np.array([1e6, -1e6], np.float32), 5.0), [5, -5])


def test_what_never_changed_is_normalised_to_0_and_nothing_seen_changes_nothing() -> None:
    constant = np.full((9, 2), 7, np.float32)
    np.testing.assert_array_equal(normalise(merge(no_statistics(2), constant), constant[0], 5.0), [0, 0])
    # 1e-4 stands beside the variance of 1, within the root
    few = np.array([1, -2], np.float32)
    np.testing.assert_allclose(normalise(no_statistics(2), few, 5.0), few / np.sqrt(1.0001), rtol=1e-6)
