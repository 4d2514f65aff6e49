"""Best hyperparameters and the shared-slope fit."""

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tdscale.analysis.hyperparameters import fit_shared_offset, fit_shared_slope
from tdscale.paper.procedure import best_of_rows

GRID = np.array([16.0, 64.0, 256.0])


def test_the_shared_slope_equals_a_fixed_effects_regression():
    import statsmodels.formula.api as smf  # takes seconds: not at collection, in every process

    rng = np.random.default_rng(0)
    utd = np.array([1.0, 2.0, 4.0, 8.0])
    y = 1.5 - 0.4 * np.log(utd) + rng.normal(0, 0.2, (3, 4)) + np.array([[0.0], [1.0], [-2.0]])
    y[1, 2] = np.nan
    fit = fit_shared_slope(np.log(utd), y)
    frame = pd.DataFrame({"y": y.ravel(), "x": np.tile(np.log(utd), 3), "task": np.repeat(list("abc"), 4)}).dropna()
    reference = smf.ols("y ~ x + C(task) - 1", frame).fit()
    assert float(fit.slope) == pytest.approx(reference.params["x"], rel=1e-10)
    np.testing.assert_allclose(fit.intercepts, [reference.params[f"C(task)[{t}]"] for t in "abc"])


def test_one_sigma_gives_no_slope():
    for fit in (fit_shared_slope, fit_shared_offset):
        with pytest.raises(ValueError, match="no slope"):
            fit(np.log([2.0]), np.ones((3, 1)))


@pytest.mark.parametrize(("exponent", "ratio"), [(-0.9, 0.4), (-0.5, 0.05), (0.7, 0.5), (-1.8, 0.1)])
def test_a_law_with_an_offset_is_recovered_where_nothing_is_missing_and_where_something_is(exponent, ratio):
    utd, coefficients = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0]), np.array([300.0, 40.0, 1e-3])
    values = np.log(coefficients[:, None] * (utd**exponent + ratio))
    holed = values.copy()
    holed[0, 2] = holed[2, 0] = np.nan
    for known in (values, holed):
        line, found = fit_shared_offset(np.log(utd), known)
        assert float(line.slope) == pytest.approx(exponent, abs=1e-4)
        assert float(found) == pytest.approx(ratio, rel=1e-3)
        np.testing.assert_allclose(np.exp(line.intercepts), coefficients, rtol=1e-3)


def test_no_other_minimiser_finds_a_law_with_an_offset_that_is_nearer():
    rng = np.random.default_rng(3)
    utd = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 8.0])
    values = np.log(np.array([500.0, 60.0])[:, None] * (utd**-0.9 + 0.3)) + 0.1 * rng.standard_normal((20, 2, 6))
    line, ratio = fit_shared_offset(np.log(utd), values)

    def errors(exponent, log_ratio, intercepts, y):
        return (intercepts[:, None] + np.log(utd**exponent + np.exp(log_ratio)) - y).ravel()

    for index, y in enumerate(values):
        ours = (errors(line.slope[index], np.log(ratio[index]), line.intercepts[index], y) ** 2).sum()
        starts = [(-0.5, -3.0), (-1.5, 0.0), (-3.0, 0.5)]
        others = [
            scipy.optimize.least_squares(
                lambda p, y=y: errors(p[0], p[1], p[2:], y), [*start, *y.mean(axis=1)], bounds=([-3.9, -5, -9, -9], [3.9, 1, 12, 12])
            ).cost
            for start in starts
        ]
        assert ours <= 2 * min(others) * (1 + 1e-3)


def test_the_best_value_has_the_least_data():
    data = np.full((3, 1), 100.0)
    data[1] = 50.0
    assert best_of_rows(data, GRID) == 64


def test_the_first_of_equals_wins():
    assert best_of_rows(np.array([[50.0], [50.0], [90.0]]), GRID) == 16


def test_the_other_hyperparameter_is_averaged_over():
    data = np.array([[10.0, 30.0], [20.0, 20.0], [30.0, 10.0]])  # best at 16 for one η, at 256 for the other
    assert best_of_rows(data, GRID) == pytest.approx((16 + 256) / 2)


def test_a_row_that_never_reaches_the_threshold_counts_for_the_smallest_value_there_is():
    data = np.array([[np.nan, 30.0], [np.inf, 20.0], [np.inf, np.inf]])
    assert best_of_rows(data, GRID) == 64
    assert np.isnan(best_of_rows(np.full((3, 2), np.nan), GRID))


@given(hnp.arrays(np.float64, (2, 3, 4), elements=st.sampled_from([1.0, 2.0, 3.0, np.inf, np.nan])))
def test_best_values_are_those_of_a_search_by_hand(data):
    best = best_of_rows(data, GRID)
    for table, found in zip(data, best, strict=True):
        values = []
        for row in table.T:
            there = [(d, v) for d, v in zip(row, GRID, strict=True) if not np.isnan(d)]
            if there:
                values.append(min(there)[1])
        assert (np.isnan(found) and not values) or found == pytest.approx(np.mean(values))
