"""The data law: known parameters come back, censored points are bounds, scales don't matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from known_truth import law_data
from tdscale.analysis.form_fit import fit_form
from tdscale.analysis.forms import OFFSET, POWER
from tdscale.paper.procedure import fit_plain

UTD = np.array([0.25, 0.5, 1, 2, 4, 8, 16])


def exact(d_min, beta, alpha, utd=UTD):
    return np.array([[[law_data(u, d, beta, alpha) for u in utd] for d in np.atleast_1d(d_min)]])


@settings(max_examples=40, deadline=None)
@given(st.floats(1e3, 1e6), st.floats(0.4, 4.0), st.floats(0.3, 2.0))
def test_noiseless_data_give_back_the_law_they_came_from(d_min, beta, alpha):
    fit = fit_form(OFFSET, UTD, exact([d_min, 3 * d_min], beta, alpha))
    np.testing.assert_allclose(np.exp(fit.log_scale[0]), [d_min, 3 * d_min], rtol=0.02)
    named = OFFSET.described(fit.log_scale[0, 0], fit.parameters[0])
    assert named["beta"] == pytest.approx(beta, rel=0.03)
    assert named["alpha"] == pytest.approx(alpha, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(1e-4, 1e3), st.integers(0, 100))
def test_units_of_data_and_of_sigma_only_move_their_own_parameter(data_unit, utd_unit, seed):
    rng = np.random.default_rng(seed)
    data = exact([5e4, 9e4], 1.2, 0.7) * np.exp(0.05 * rng.standard_normal((1, 2, len(UTD))))
    fit, scaled = fit_form(OFFSET, UTD, data), fit_form(OFFSET, UTD * utd_unit, data * data_unit)
    assert scaled.loss[0] == pytest.approx(fit.loss[0], rel=1e-3)
    grid = np.geomspace(0.1, 30, 9)
    one, other = fit.log_data(np.log(grid))[0, 0], scaled.log_data(np.log(grid * utd_unit))[0, 0]
    np.testing.assert_allclose(other - np.log(data_unit), one, atol=0.01)


def test_the_order_of_tasks_does_not_matter():
    rng = np.random.default_rng(1)
    data = exact([5e4, 9e4, 2e5], 1.2, 0.7) * np.exp(0.1 * rng.standard_normal((1, 3, len(UTD))))
    one, other = fit_form(OFFSET, UTD, data), fit_form(OFFSET, UTD, data[:, ::-1])
    np.testing.assert_allclose(one.log_scale, other.log_scale[:, ::-1], atol=1e-6)


def test_a_missing_sigma_of_one_task_does_not_shift_the_others():
    data = exact([5e4, 9e4], 1.2, 0.7)
    data[0, 1, 0] = np.nan
    fit = fit_form(OFFSET, UTD, data)
    np.testing.assert_allclose(np.exp(fit.log_scale[0]), [5e4, 9e4], rtol=0.02)


def test_a_censored_point_is_a_bound_neither_dropped_nor_taken_as_reached():
    rng = np.random.default_rng(2)
    truth = exact([5e4, 9e4, 7e4], 1.2, 0.9)
    errors = {"bound": [], "dropped": [], "as reached": []}
    for _ in range(60):
        data = truth * np.exp(0.15 * rng.standard_normal(truth.shape))
        bound = np.full(truth.shape[1:], np.inf)
        bound[:, 0] = truth[0, :, 0] * 0.9
        cut = np.where(data > bound, np.inf, data)
        variants = {
            "bound": fit_form(OFFSET, UTD, cut, np.where(np.isfinite(bound), bound, 1e9)),
            "dropped": fit_form(OFFSET, UTD, np.where(np.isfinite(cut), cut, np.nan)),
            "as reached": fit_form(OFFSET, UTD, np.minimum(cut, bound)),
        }
        for name, fit in variants.items():
            predicted = fit.log_data(np.log(UTD[:1]))[0, :, 0]
            errors[name].append(np.mean(predicted - np.log(truth[0, :, 0])))
    bias = {name: abs(np.mean(values)) for name, values in errors.items()}
    assert bias["bound"] < bias["dropped"]
    assert bias["bound"] < bias["as reached"]


def test_fewer_than_three_sigma_are_refused_with_the_reason():
    with pytest.raises(ValueError, match="at least three"):
        fit_form(OFFSET, UTD[:2], exact([1e4], 1.0, 1.0, UTD[:2]))


def test_the_pure_power_law_is_least_squares_in_logarithms():
    data = 1e5 * UTD[None, None] ** -0.4 * np.array([1.0, 2.0])[None, :, None]
    fit = fit_form(POWER, UTD, data)
    np.testing.assert_allclose(fit.parameter("alpha"), 0.4)
    np.testing.assert_allclose(np.exp(fit.log_scale[0]), [1e5, 2e5])


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 2.0), st.floats(0.1, 2.0), st.floats(0.1, 1.0))
def test_the_papers_plain_fit_gives_back_a_b_c(a, b, c):
    z = c + (UTD / b) ** -a
    np.testing.assert_allclose(np.ravel(fit_plain(UTD, z[None])), [a, b, c], rtol=1e-4)
