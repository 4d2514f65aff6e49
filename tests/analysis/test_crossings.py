"""Crossings against a direct isotonic fit, and their bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import isotonic_regression

from known_truth import curve_cell
from tdscale.analysis.crossings import bootstrap_weights, find_crossings, first_crossing
from tdscale.paper import PAPER

curves = arrays(np.float64, st.integers(1, 40), elements=st.integers(-20, 20).map(float))


@given(curves, st.integers(-22, 22))
def test_crossing_is_where_the_isotonic_fit_first_reaches_the_threshold(curve, threshold):
    # half-way thresholds: the fit's mean of integers over a block is compared with J beyond rounding
    level = threshold + 0.013
    fit = isotonic_regression(curve).x
    reached = np.flatnonzero(fit >= level)
    assert first_crossing(curve, [level])[0] == (reached[0] if reached.size else len(curve))


@given(curves)
def test_a_higher_threshold_is_never_reached_earlier(curve):
    crossing = first_crossing(curve, np.linspace(-25, 25, 21))
    assert (np.diff(crossing) >= 0).all()


def test_a_curve_with_a_nan_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"returns\[1, 2\] is nan"):
        first_crossing([[1, 2, 3], [1, 2, np.nan]], [1.0])


def test_a_matrix_checked_by_hand():
    returns = [[0, 10, 0, 10, 10], [10, 0, 0, 0, 0], [0, 0, 0, 0, 9]]
    # first: isotonic fit is 0 5 5 10 10; second: 2 everywhere; third: 0 0 0 0 9
    assert first_crossing(returns, [2, 5, 6]).tolist() == [[1, 1, 3], [0, 5, 5], [4, 4, 4]]


def test_a_cell_that_never_reaches_the_threshold_is_censored_at_its_last_step():
    cell = curve_cell(task="one", utd=1, data_at_top=10_000, last_step=4000)
    crossings = find_crossings([cell], [300.0, 800.0], n_draws=50, seed=0)
    assert np.isfinite(crossings.data[0, 0])
    assert np.isposinf(crossings.data[0, 1])
    assert crossings.lower[0, 1] == crossings.bound[0] == 4000
    assert np.isposinf(crossings.draws[:, 0, 1]).all()


def test_a_crossing_lies_within_one_step_of_the_grid():
    cell = curve_cell(task="one", utd=1, data_at_top=5000, grid_step=500, noise=0.0)
    crossings = find_crossings([cell], [800.0], n_draws=400, seed=0)
    assert (crossings.lower[0, 0], crossings.upper[0, 0]) == (4500, 5000)
    assert ((crossings.draws > 4500) & (crossings.draws <= 5000)).all()
    assert np.ptp(crossings.draws) > 400  # without seed noise the grid is the noise
    assert find_crossings([cell], [800.0], n_draws=5, seed=0, rule=PAPER.crossing).data[0, 0] == 5000


def test_a_cells_draws_depend_on_that_cell_alone():
    one, two = (curve_cell(task=name, utd=1, data_at_top=5000) for name in ("one", "two"))
    alone = find_crossings([two], [500.0, 800.0], n_draws=30, seed=3)
    both = find_crossings([one, two], [500.0, 800.0], n_draws=30, seed=3)
    np.testing.assert_array_equal(alone.draws[:, 0], both.draws[:, 1])
    assert not np.array_equal(alone.draws, find_crossings([two], [500.0, 800.0], n_draws=30, seed=4).draws)


def test_the_order_of_seeds_does_not_move_the_crossing():
    cell = curve_cell(task="one", utd=1, data_at_top=5000)
    turned = type(cell)(**{**cell.__dict__, "returns": cell.returns[::-1]})
    a, b = (find_crossings([c], [500.0, 800.0], n_draws=10, seed=0).data for c in (cell, turned))
    np.testing.assert_allclose(a, b)


@pytest.mark.parametrize("n_seeds", [2, 3, 5, 10])
def test_the_corrected_bootstrap_has_the_unbiased_variance_of_the_mean(n_seeds):
    rng = np.random.default_rng(0)
    weights = bootstrap_weights(n_seeds, 40_000, rng)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    values = rng.standard_normal(n_seeds)
    assert np.var(weights @ values) == pytest.approx(values.var(ddof=1) / n_seeds, rel=0.05)


def test_duplicate_seeds_are_left_out_by_default_and_kept_by_the_paper():
    cell = curve_cell(task="one", utd=1, data_at_top=5000, n_seeds=3, noise=0.4, grid_step=10)
    returns = np.concatenate([cell.returns, cell.returns[2:], cell.returns[2:]])
    doubled = type(cell)(**{**cell.__dict__, "returns": returns, "seeds": np.arange(5), "duplicate": np.array([0, 0, 0, 1, 1], dtype=bool)})
    default = [find_crossings([c], [800.0], n_draws=20, seed=0) for c in (cell, doubled)]
    np.testing.assert_array_equal(default[0].draws, default[1].draws)
    assert (
        find_crossings([doubled], [800.0], n_draws=20, seed=0, rule=PAPER.crossing).data[0, 0]
        != find_crossings([cell], [800.0], n_draws=20, seed=0, rule=PAPER.crossing).data[0, 0]
    )
