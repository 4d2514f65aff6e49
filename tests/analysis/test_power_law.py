"""Best hyperparameters and the shared-slope fit."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tdscale.analysis.hyperparameters import fit_shared_slope
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
    assert float(fit.slope_standard_error) == pytest.approx(reference.bse["x"], rel=1e-10)
    np.testing.assert_allclose(fit.intercepts, [reference.params[f"C(task)[{t}]"] for t in "abc"])


def test_one_sigma_gives_no_slope():
    with pytest.raises(ValueError, match="no slope"):
        fit_shared_slope(np.log([2.0]), np.ones((3, 1)))


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
