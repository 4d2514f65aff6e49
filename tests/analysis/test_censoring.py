"""Censored cells in the data law's forms: bounds that pull a fit up as far as they say something, against the Tobit likelihood by scipy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import norm

from tdscale.analysis.data_law import DataPoints, fit_data_laws
from tdscale.analysis.form_fit import Prior, expected_above, fit_form
from tdscale.analysis.form_weights import weigh_forms
from tdscale.analysis.forms import FORMS, OFFSET, POWER

UTD = np.array([0.5, 1.0, 2.0, 4.0, 8.0])
FAR = 1e15
GAMMA, NOISE = 0.6, 0.3


def power_sweeps(n_sweeps, *, n_tasks=4, seed=0, utd=UTD):
    """log c of each task; D of many sweeps of a power law, the smallest σ limited so that a quarter of its cells is censored; bounds."""
    rng = np.random.default_rng(seed)
    truth = np.linspace(11.0, 13.0, n_tasks)[:, None] - GAMMA * np.log(utd)
    log_data = truth + NOISE * rng.standard_normal((n_sweeps, *truth.shape))
    bound = np.full(truth.shape, FAR)
    bound[:, 0] = np.exp(truth[:, 0] + NOISE * norm.ppf(0.75))
    data = np.exp(log_data)
    return truth, np.where(data > bound, np.inf, data), bound


def dropped(data):
    return np.where(np.isinf(data), np.nan, data)


def at(fit, utd):
    """log D of each task at one σ, shape (n_draws, n_tasks)."""
    return fit.log_data(np.log([utd]))[..., 0]


def test_the_power_form_is_not_biased_at_the_smallest_sigma_where_a_quarter_of_its_cells_is_censored():
    truth, data, bound = power_sweeps(1500)
    assert np.isinf(data[..., 0]).mean() == pytest.approx(0.25, abs=0.02)

    def bias(fit):
        errors = (at(fit, UTD[0]) - truth[:, 0]).mean(axis=1)
        return errors.mean(), errors.std() / np.sqrt(len(errors))

    mean, error = bias(fit_form(POWER, UTD, data, bound))
    assert abs(mean) < 3 * error < 0.01
    mean, error = bias(fit_form(POWER, UTD, dropped(data)))
    assert mean < -0.05 < -10 * error


def test_the_power_forms_fit_is_the_maximum_of_the_tobit_likelihood():
    utd = np.geomspace(0.25, 16, 13)
    _, (data,), bound = power_sweeps(1, n_tasks=6, seed=3, utd=utd)
    censored, n_tasks = np.isinf(data), len(data)
    log_data, x = np.log(np.where(censored, bound, data)), np.log(utd)

    def loss(parameters):
        deviation = np.exp(parameters[-1])
        z = (log_data - (parameters[:n_tasks, None] - parameters[n_tasks] * x)) / deviation
        return -np.where(censored, norm.logsf(z), norm.logpdf(z) - parameters[-1]).sum()

    start = np.concatenate([log_data.mean(axis=1), [0.3, -1.0]])
    best = minimize(loss, start, method="BFGS", options={"gtol": 1e-6}).x
    fit, plain = fit_form(POWER, utd, data[None], bound), fit_form(POWER, utd, dropped(data)[None])
    found, dropping = (np.append(result.log_scale[0], result.parameter("alpha")[0]) for result in (fit, plain))
    assert 1 <= censored.sum() <= n_tasks
    # the two differ by how the noise's size is estimated, a few per cent of it
    np.testing.assert_allclose(found, best[:-1], atol=0.003)
    assert np.abs(dropping - best[:-1]).max() > 0.02


@pytest.mark.parametrize("distance", [-3.0, 0.0, 2.5])
def test_the_expectation_above_a_bound_is_the_integral(distance):
    bound, scale = 10.0 + 0.4 * distance, 0.4
    mean = quad(lambda y: y * norm.pdf(y, 10, scale), bound, 15)[0] / norm.sf(bound, 10, scale)
    assert expected_above(np.array(10.0), np.array(bound), scale) == pytest.approx(mean, rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.floats(5, 1e6), st.floats(3, 20))
def test_a_bound_far_below_the_fit_says_nothing_and_one_far_above_pulls_it_up(seed, below, above):
    rng = np.random.default_rng(seed)
    data = np.exp(12 + np.logaddexp(0, -0.8 * np.log(UTD / 2)) + 0.1 * rng.standard_normal((1, 2, len(UTD))))
    reached = data[0, 0, 0]
    data[0, 0, 0] = np.inf
    bound = np.full(data.shape[1:], FAR)
    bound[0, 0] = reached / below
    for form in (POWER, OFFSET):
        without, low, high = (
            at(fit_form(form, UTD, d, b, Prior(noise=0.1)), UTD[0])[0]
            for d, b in ((dropped(data), None), (data, bound), (data, np.where(bound < FAR, reached * above, FAR)))
        )
        np.testing.assert_allclose(low, without, atol=0.01)
        assert high[0] > without[0] + 0.1


def test_a_censored_cell_without_a_bound_is_refused():
    data = np.array([[[np.inf, 3e4, 2e4, 1e4, 9e3]]])
    for form in (POWER, OFFSET):
        with pytest.raises(ValueError, match="last env step seen"):
            fit_form(form, UTD, data)


def _points(data, bound):
    draws = np.repeat(data[None, ..., None], 11, axis=0)
    tasks = tuple(f"task {i}" for i in range(len(data)))
    return DataPoints(tasks=tasks, thresholds=np.array([800.0]), utd=UTD, data=draws, bound=bound, n_seeds=np.full(data.shape, 5.0))


def only(law, name):
    """The law with all weight on one form."""
    return replace(law, forms=tuple(replace(fitted, weight=float(fitted.form.name == name)) for fitted in law.forms))


def test_every_form_follows_the_bounds_of_a_smallest_sigma_that_no_task_reaches_j_at():
    data = np.array([[np.inf, 3e4, 2.0e4, 1.5e4, 1.3e4], [np.inf, 6e4, 4.2e4, 3.0e4, 2.7e4]])
    bound = np.full(data.shape, FAR)
    bound[:, 0] = [6e4, 1.2e5]
    points = _points(data, bound)
    (law,), _ = fit_data_laws(points, 0)
    for weight in ("offset", "power", "held"):
        alone = only(law, weight)
        assert (np.array([alone.predict([UTD[0]], task)[0] for task in law.tasks]) > 0.85 * bound[:, 0]).all(), weight
        assert (alone.predict_draws([UTD[0]], "task 0") > 0.75 * bound[0, 0]).mean() > 0.9, weight
    # a bound that says nothing leaves the held form where runs reached J
    low = replace(points, bound=np.where(bound < FAR, 100.0, FAR))
    (law,), _ = fit_data_laws(low, 0)
    held = only(law, "held")
    assert held.predict([0.1], "task 0")[0] == pytest.approx(held.predict([1.0], "task 0")[0])


def test_a_form_that_predicts_less_than_a_bound_left_out_loses_weight():
    utd = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
    truth = np.array([[1e5], [3e5]]) * (1 + (utd / 0.5) ** -1.5)
    limit, noise = np.full(truth.shape, FAR), np.array([0.1])
    limit[:, 0] = 0.97 * truth[:, 0]
    seen = weigh_forms(FORMS, utd, np.where(truth > limit, np.inf, truth)[..., None], limit, noise)
    unknown = weigh_forms(FORMS, utd, np.where(truth > limit, np.nan, truth)[..., None], limit, noise)
    assert seen.shares[2] < 0.7 * unknown.shares[2]
    assert seen.errors[2] > 0.3
