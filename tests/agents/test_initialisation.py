"""Networks as they begin."""

import re
from typing import Any

import jax
import numpy as np
import pytest

from tdscale.agents import bro, pql, sac


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
