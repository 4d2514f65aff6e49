"""Running statistics of observations."""

import jax
import numpy as np
import pytest

from tdscale.agents.normaliser import RunningStatistics, merge, no_statistics, normalise


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
