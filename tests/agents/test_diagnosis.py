"""Norms by layer, dormant units and feature rank: networks and matrices whose answers are known, and NumPy in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdscale.agents import bro, sac
from tdscale.agents.diagnosis import Diagnosis, diagnosis_columns, dormant_share, feature_rank, mean_by_source
from tdscale.runs.types import is_diagnostic

SAC = sac.SACConfig(observation_size=3, action_size=2, hidden_sizes=(5, 4))
BRO = bro.BROConfig(observation_size=3, action_size=2, critic_width=6, critic_blocks=1, actor_width=4, actor_blocks=1, quantiles=3)


def rows(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, SAC.row_size)).astype(np.float32)


def diagnose(agent: Any, config: Any, state: Any) -> Diagnosis:
    found: Diagnosis = agent.diagnose(config, state, rows(64), rows(4, 2), rows(5, 3), np.uint32(9))
    return found


def norm_of(layer: Any) -> np.floating[Any]:
    return np.sqrt(sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in layer))


def test_norms_are_those_of_every_layer_of_both_critics() -> None:
    state = sac.init(SAC, np.uint32(3))
    found = diagnose(sac, SAC, state)
    expected = [norm_of(layer) for layer in state.critics]
    np.testing.assert_allclose(found.critic_parameter_norm_layer, expected, rtol=1e-6)
    np.testing.assert_allclose(found.critic_parameter_norm, np.linalg.norm(expected), rtol=1e-6)


def test_layers_of_residual_blocks_come_from_the_input_to_the_head() -> None:
    state = bro.init(BRO, np.uint32(3))
    found = diagnose(bro, BRO, state)
    ((first, second),) = state.critics.body.blocks
    expected = [norm_of(layer) for layer in (state.critics.body.stem, first, second, state.critics.head)]
    np.testing.assert_allclose(found.critic_parameter_norm_layer, expected, rtol=1e-6)
    np.testing.assert_allclose(found.critic_parameter_norm, np.linalg.norm(expected), rtol=1e-6)


def test_units_that_never_fire_are_dormant() -> None:
    state = sac.init(SAC, np.uint32(3))
    first, second, head = state.critics
    # every unit is held at 1, then one of ten in the first layers and two of eight in the second are held below 0
    first = first._replace(weight=0 * first.weight, bias=jnp.ones((2, 5)).at[0, 2].set(-1.0))
    second = second._replace(weight=0 * second.weight, bias=jnp.ones((2, 4)).at[1, :2].set(-3.0))
    found = diagnose(sac, SAC, state._replace(critics=(first, second, head)))
    np.testing.assert_allclose(found.critic_dormant_share, 3 / 18, rtol=1e-6)
    # all rows have the same features: one singular value
    assert found.critic_feature_rank == 1


def test_hidden_units_of_residual_blocks_are_those_behind_a_relu() -> None:
    state = bro.init(BRO, np.uint32(3))
    stem, ((first, second),) = state.critics.body
    # layer norm's scale 0 leaves its shift
    stem = stem._replace(scale=0 * stem.scale, shift=jnp.ones((2, 6)).at[0, 0].set(-1.0))
    first = first._replace(scale=0 * first.scale, shift=jnp.ones((2, 6)).at[:, 1:3].set(-1.0))
    critics = state.critics._replace(body=bro.Body(stem, ((first, second),)))
    np.testing.assert_allclose(diagnose(bro, BRO, state._replace(critics=critics)).critic_dormant_share, 5 / 24, rtol=1e-6)


def test_a_unit_is_dormant_up_to_a_fortieth_of_its_layers_mean_activity() -> None:
    # means 1, 1, 0 and 0.04; the layer's 0.51, a fortieth of it 0.01275
    layer = jnp.array([[2.0, 0.0, 0.0, 0.08], [0.0, -2.0, 0.0, 0.0]])
    assert dormant_share([layer]) == 0.25
    assert dormant_share([layer.at[0, 3].set(0.025)]) == 0.5
    assert dormant_share([layer], threshold=0.1) == 0.5
    # a mean over units, not over layers; a layer that is 0 throughout is dormant throughout
    np.testing.assert_allclose(dormant_share([layer, jnp.zeros((2, 2))]), 3 / 6, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1e-3, 1.0, 1e3]))
def test_neither_depends_on_the_units_of_the_features_nor_on_their_order(seed: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    features = np.maximum(generator.standard_normal((2, 30, 8)) * 10.0 ** generator.integers(-4, 1, (2, 1, 8)), 0).astype(np.float32)
    shuffled = generator.permutation(generator.permutation(features * np.float32(scale), axis=1), axis=2)
    assert dormant_share([jnp.asarray(shuffled)]) == dormant_share([jnp.asarray(features)])
    assert feature_rank(jnp.asarray(shuffled)) == feature_rank(jnp.asarray(features))


def of_singular_values(values: list[float], count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    left, right = (np.linalg.qr(generator.standard_normal((size, len(values))))[0] for size in (count, len(values)))
    return (left * values @ right.T).astype(np.float32)


def test_the_rank_counts_singular_values_until_all_but_a_hundredth_is_reached() -> None:
    matrix = of_singular_values([50.0, 30.0, 15.0, 4.5, 0.5], 40)
    assert feature_rank(jnp.asarray(matrix)) == 4  # 80, 95, 99.5 of 100
    assert feature_rank(jnp.asarray(matrix), tolerance=0.1) == 3
    assert feature_rank(jnp.asarray(matrix[:, :3] * 0)) == 0
    assert np.isnan(feature_rank(jnp.asarray(matrix).at[3, 1].set(jnp.nan)))


def test_the_rank_of_two_critics_is_their_mean() -> None:
    matrices = np.stack([of_singular_values([1.0, 1.0, 0.0, 0.0], 9), of_singular_values([1.0, 1.0, 1.0, 1.0], 9)])
    assert feature_rank(jnp.asarray(matrices)) == 3


def test_rounding_does_not_raise_a_low_rank_among_many_features() -> None:
    matrix = of_singular_values([10.0, 5.0, 5.0] + [0.0] * 253, 300)
    assert feature_rank(jnp.asarray(matrix)) == 3


def test_the_hosts_singular_values_are_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = np.random.default_rng(4).standard_normal((3, 2, 40, 12)).astype(np.float32)
    twins[1, 0, 5, 5] = np.nan
    twins[2] *= 0
    on_device = jax.vmap(feature_rank)(jnp.asarray(twins))
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        on_host = jax.jit(jax.vmap(feature_rank))(jnp.asarray(twins))
    np.testing.assert_array_equal(on_host, on_device)
    assert np.isnan(on_host[1])


def test_the_error_on_no_rows_is_not_a_number() -> None:
    means = mean_by_source(jnp.array([1.0, 3.0, 5.0]), 2, 1)
    np.testing.assert_array_equal(means, [2.0, 5.0, np.nan])


def test_agents_that_advance_together_are_diagnosed_as_each_alone() -> None:
    each = [sac.init(SAC, np.uint32(seed)) for seed in range(2)]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    together = diagnosis_columns(jax.jit(jax.vmap(lambda state: diagnose(sac, SAC, state)))(states))
    for index, state in enumerate(each):
        alone = diagnosis_columns(diagnose(sac, SAC, state))
        assert list(alone) == list(together)
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][index], value, rtol=1e-4, err_msg=name)


def test_every_value_has_a_column_of_the_curve() -> None:
    for found in (diagnose(sac, SAC, sac.init(SAC, np.uint32(0))), diagnose(bro, BRO, bro.init(BRO, np.uint32(0)))):
        columns = diagnosis_columns(found)
        assert columns.pop("finite")
        assert all(is_diagnostic(name) for name in columns)
