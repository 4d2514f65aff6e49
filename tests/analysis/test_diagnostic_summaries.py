"""Overfitting, parameter norms and critical batch sizes, on numbers checked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdscale.analysis.diagnostics import critical_batch_size, last_value, least_absolute_line, overfitting, rolling_mean


def test_overfitting_is_the_newest_error_less_the_uniform_one_where_both_are_known():
    assert overfitting([3.0, np.nan, 5.0], [1.0, 1.0, 2.0]) == 2.5
    assert np.isnan(overfitting([np.nan], [1.0]))


def test_the_last_value_known_is_taken():
    assert last_value([1.0, 2.0, np.nan]) == 2.0
    assert np.isnan(last_value([]))


def test_a_rolling_mean_takes_what_there_is_at_the_start():
    np.testing.assert_allclose(rolling_mean([2.0, 4.0, 6.0, 8.0], 2), [2.0, 3.0, 5.0, 7.0])
    with pytest.raises(ValueError, match="at least 1"):
        rolling_mean([1.0], 0)


@given(st.floats(0.01, 100), st.floats(1, 1e5))
def test_the_critical_batch_size_is_the_noise_over_the_signal(gradient, noise):
    # E|G_b|² = |G|² + S/b
    small, large = (np.full(3, gradient + noise / batch) for batch in (64, 1024))
    np.testing.assert_allclose(critical_batch_size(small, large, window=2), noise / gradient, rtol=1e-6)


def test_norms_are_averaged_before_they_are_combined():
    # of the two rows alone the first has no signal; (80 + 40)/2 = 60 and (4 + 20)/2 = 12 have: |G|² = 8.8, S = 3276.8
    found = critical_batch_size([80.0, 40.0], [4.0, 20.0], window=2)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(3276.8 / 8.8)


def test_without_a_positive_signal_there_is_no_critical_batch_size():
    assert np.isnan(critical_batch_size([1.0], [2.0], window=1)).all()


def test_one_wild_point_does_not_move_the_line_of_least_absolute_error():
    slope, intercept = least_absolute_line([0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 5.0, 100.0, 9.0])
    assert (slope, intercept) == (pytest.approx(2.0), pytest.approx(1.0))
    with pytest.raises(ValueError, match="two different x"):
        least_absolute_line([1.0, 1.0], [0.0, 1.0])
