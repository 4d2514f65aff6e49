"""Crossings against a direct isotonic fit, and their bootstrap."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import isotonic_regression

from known_truth import curve_cell
from tdscale.analysis.crossings import DEFAULT_RULE, bootstrap_weights, cell_curve, find_crossings, first_crossing, recovered
from tdscale.paper import PAPER
from tdscale.runs.types import over_seeds

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


@given(curves, st.integers(-22, 22), st.data())
def test_points_that_are_left_out_change_the_fit_as_if_they_were_never_logged(curve, threshold, data):
    counted = np.array(data.draw(st.lists(st.booleans(), min_size=len(curve), max_size=len(curve))))
    level = threshold + 0.013
    places = np.flatnonzero(counted)
    fit = isotonic_regression(curve[counted]).x if places.size else np.empty(0)
    reached = places[fit >= level]
    assert first_crossing(curve, [level], counted=counted)[0] == (reached[0] if reached.size else len(curve))


def test_points_between_a_reset_and_recovery_are_left_out():
    steps = np.arange(100, 1001, 100)
    curve = [1, 5, 6, 2, 4, 6, 7, 3, 5, 5]
    # resets at 300 (where a point stands, which the drop after it puts before it) and at 750; 7 is not reached again
    assert recovered([curve], steps, [300, 750])[0].tolist() == [True] * 3 + [False] * 2 + [True] * 2 + [False] * 3
    # a second reset before recovery changes nothing: 6 is still to be reached
    assert recovered([curve], steps, [300, 450])[0].tolist() == [True] * 3 + [False] * 2 + [True] * 5
    # a log that wrote the point after the reset: the drop is to the point at the reset's own step
    assert recovered([[1, 5, 2, 4, 6, 7]], steps[:6], [300])[0].tolist() == [True, True, False, False, True, True]


def test_that_choice_is_made_once_for_a_curve_and_resets_outside_it_do_nothing():
    steps = np.arange(100, 801, 100)
    # two resets at logged steps: at the first the point before is no higher, at the second the drop decides for both
    curve = [3, 3, 4, 9, 5, 9, 9, 9]
    assert recovered([curve], steps, [200, 400])[0].tolist() == [True] * 4 + [False] + [True] * 3
    assert recovered([curve], steps, [50, 900, 1e9])[0].all()
    assert recovered([curve], steps, [])[0].all()


def test_each_bootstrap_draw_recovers_in_its_own_time():
    quick, slow = [100, 700, 100, 700, 900, 900], [100, 700, 100, 100, 100, 900]
    kept = recovered([np.mean([quick, slow], axis=0), quick, slow], np.arange(100, 601, 100), [200])
    assert kept.sum(axis=1).tolist() == [3, 5, 3]


@pytest.mark.parametrize("rule", [DEFAULT_RULE, PAPER.crossing])
def test_a_dip_after_a_reset_delays_a_crossing_only_while_it_lasts(rule):
    """Truth: a curve through 800 at 50,000 env steps; resets every 16,000 cost 3000 env steps each, 48,000 one of them."""
    rng = np.random.default_rng(0)
    steps = np.arange(500, 80_001, 500)
    smooth = 1000 * (1 - 0.2 ** (steps / 50_000))
    since = np.where(steps > 16_000, (steps - 1) % 16_000, 1e9)
    returns = smooth * np.where(since < 3000, 0.2, 1.0) + rng.normal(0, 10, (5, len(steps)))
    cell = replace(curve_cell(task="one", utd=1, data_at_top=50_000), env_steps=steps, returns=returns, last_step=80_000)
    dipping = find_crossings([cell], [700.0, 800.0], n_draws=200, seed=0, rule=rule)
    known = find_crossings([replace(cell, resets=(16e3, 32e3, 48e3, 64e3))], [700.0, 800.0], n_draws=200, seed=0, rule=rule)
    assert known.data[0] == pytest.approx([37_400, 51_000], rel=0.04)
    assert (dipping.data[0] > 1.1 * known.data[0]).all()
    assert ((known.lower < known.data) & (known.data <= known.upper) & (known.upper - known.lower == 500)).all()
    # what the draws hold goes down, too
    assert known.draws.std(axis=0).max() < 2000


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


# Cauchy draws, and what rliable 1.2.0 (aggregate_iqm of the first n runs, task by task) says of them; n = 1, 2, 3 are means
HEAVY = [
    [95, 611, 148], [138, 56, 1508], [1063, 170, 172], [39, 9, 189], [961, 81, 208],
    [483, 29, 60], [504, 52, 83], [172, 84, 74], [137, 30, 1], [326, 62, 179],
]  # fmt: skip
RLIABLE = {
    1: [95.0, 611.0, 148.0],
    2: [116.5, 333.5, 828.0],
    3: [432.0, 279.0, 609.3333333333334],
    4: [116.5, 113.0, 180.5],
    5: [398.0, 102.33333333333333, 189.66666666666666],
    7: [436.2, 77.6, 160.0],
    8: [324.25, 68.25, 148.0],
    10: [293.3333333333333, 60.833333333333336, 140.83333333333334],
}


@pytest.mark.parametrize("n_seeds", RLIABLE)
def test_the_interquartile_mean_is_rliables_and_the_median_numpys(n_seeds):
    returns = np.array(HEAVY[:n_seeds], dtype=float)
    np.testing.assert_allclose(over_seeds(returns, "iqm"), RLIABLE[n_seeds], rtol=1e-14)
    np.testing.assert_allclose(over_seeds(returns, "median"), np.median(returns, axis=0), rtol=1e-14)
    np.testing.assert_array_equal(over_seeds(returns), returns.mean(axis=0))


@pytest.mark.parametrize(("aggregate", "upper"), [("mean", 8047), ("iqm", 5000), ("median", 5000)])
def test_one_stuck_seed_of_five_delays_the_mean_but_not_the_middle_seeds(aggregate, upper):
    steps = np.arange(1, 201) * 100
    returns = np.tile(1000 * (1 - 0.2 ** (steps / 5000)), (5, 1))
    returns[4] = 300
    cell = replace(curve_cell(task="one", utd=1, data_at_top=5000), env_steps=steps, returns=returns, aggregate=aggregate)
    crossings = find_crossings([cell], [800.0], n_draws=400, seed=0)
    # of the mean: 0.8·1000·(1 − 0.2^(t/5000)) + 60 = 800
    assert crossings.upper[0, 0] == pytest.approx(upper, abs=100)
    # a resample may hold the stuck seed several times, and then its interquartile mean or median is stuck, too
    assert np.isinf(crossings.draws).any()
    assert np.median(crossings.draws) < 1.05 * upper
    curve, counted = cell_curve(cell)
    np.testing.assert_allclose(curve, over_seeds(returns, aggregate))
    assert counted.all()


@pytest.mark.parametrize(("aggregate", "n_seeds"), [("mean", 5), ("iqm", 3), ("iqm", 5), ("iqm", 10), ("median", 3), ("median", 5)])
def test_intervals_of_a_crossing_hold_the_populations(aggregate, n_seeds):
    """Seeds' speeds are log-normal, one in ten is stuck at 500. Truth: the crossing of 20,000 seeds. Central 80 % of the draws."""

    def drawn(count, rng):
        steps = np.arange(1, 121) * 50.0
        speed, top = 1500 * np.exp(0.3 * rng.standard_normal((count, 1))), np.where(rng.random((count, 1)) < 0.1, 500.0, 1000.0)
        return steps, top * (1 - 0.2 ** (steps / speed)) + rng.normal(0, 30, (count, len(steps)))

    steps, everyone = drawn(20_000, np.random.default_rng(1))
    truth = steps[first_crossing(over_seeds(everyone, aggregate), [700.0])[0]]
    rng, inside, repeats = np.random.default_rng(2), 0, 250
    base = replace(curve_cell(task="one", utd=1, data_at_top=1500), aggregate=aggregate, last_step=6000, env_steps=steps)
    for _ in range(repeats):
        cell = replace(base, returns=drawn(n_seeds, rng)[1], duplicate=np.zeros(n_seeds, dtype=bool))
        draws = find_crossings([cell], [700.0], n_draws=60, seed=0).draws[:, 0, 0]
        low, high = np.quantile(draws, [0.1, 0.9], method="nearest")
        inside += low <= truth <= high + 50
    # of three seeds iqm is their mean, whose interval is too narrow where seeds are stuck; of four on it is not
    assert {"mean": 0.66, "iqm": 0.58 if n_seeds == 3 else 0.74, "median": 0.69}[aggregate] < inside / repeats < 0.93


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
