"""Forms of the data law as parts: derivatives, moves of σ's origin, and a new form that only has to be listed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdscale.analysis import forms
from tdscale.analysis.data_law import DataPoints, fit_data_laws
from tdscale.analysis.fit import FitOptions, fit_measured, measure
from tdscale.analysis.form_fit import Prior, fit_form, profile_likelihood
from tdscale.analysis.form_weights import weigh_forms
from tdscale.analysis.forms import FORMS, HELD, OFFSET, POWER, RISING, Form, Search, grid_points
from tdscale.analysis.laws_file import load_laws, write_laws
from tdscale.paper import METHODS
from tdscale.planning import plan_data
from tdscale.simulate import SweepDesign, random_truth, simulate_cells

UTD = np.geomspace(0.25, 16, 7)
LOG_UTD = np.log(UTD)


class Quadratic(Form):
    """A parabola of log D in log σ, which rises again at high σ: linear in its parameters, with a prior."""

    name, title, belief = "quadratic", "parabola", 2.0
    parameters = ("slope", "bend")
    least_utds = 3
    prior = np.array([1.0, 0.5])

    def curve(self, log_utd, parameters):
        return parameters[..., 0, None] * log_utd + parameters[..., 1, None] * log_utd**2

    def gradient(self, log_utd, parameters):
        shape = (*parameters.shape[:-1], 2, len(log_utd))
        return np.broadcast_to(np.stack([log_utd, log_utd**2]), shape)

    def moved(self, parameters, by):
        slope, bend = parameters[..., 0], parameters[..., 1]
        return np.stack([slope - 2 * bend * by, bend], axis=-1), bend * by**2 - slope * by

    def described(self, log_scale, parameters):
        return {"at_one": np.exp(log_scale), "slope": parameters[..., 0], "bend": parameters[..., 1]}

    def formula(self, named):
        return f"{named['at_one']:.3g}·σ^({named['slope']:.3g} + {named['bend']:.3g}·log σ)"


class Searched(Quadratic):
    """The same curve found by the search of forms that are not linear, its bend as a logarithm, each task with a bend of its own."""

    name, title = "searched", "searched parabola"
    of_task = 1
    search = Search(
        lower=np.array([-4.0, -9.0]),
        upper=np.array([4.0, 2.0]),
        starts=grid_points((np.linspace(-2, 2, 9), np.linspace(-6, 1, 8))),
        axes=(np.linspace(-4, 4, 81), np.linspace(-9, 2, 56)),
    )
    prior = None

    def from_search(self, theta):
        return np.stack([theta[..., 0], np.exp(theta[..., 1])], axis=-1)

    def gradient(self, log_utd, parameters):
        bend = parameters[..., 1, None]
        return np.stack([np.broadcast_to(log_utd, np.broadcast(bend, log_utd).shape), bend * log_utd**2], axis=-2)


QUADRATIC, SEARCHED = Quadratic(), Searched()


def u_shaped(scale=1e5, lowest=2.0, bend=0.15):
    """D of a task that needs the fewest env steps at σ = `lowest`."""
    return scale * np.exp(bend * (LOG_UTD - np.log(lowest)) ** 2)


@pytest.mark.parametrize("form", [*FORMS, QUADRATIC, SEARCHED], ids=lambda form: form.name)
@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(-1.5, 1.5)] * 3), st.floats(-3, 3))
def test_slopes_are_those_of_the_curve_and_a_moved_origin_changes_nothing(form, theta, by):
    theta = np.array(theta[: len(form.parameters)])
    parameters = form.from_search(theta)
    step = 1e-6 * np.eye(len(theta))
    numerical = [(form.curve(LOG_UTD, form.from_search(theta + d)) - form.curve(LOG_UTD, form.from_search(theta - d))) / 2e-6 for d in step]
    np.testing.assert_allclose(form.gradient(LOG_UTD, parameters), numerical, rtol=1e-5, atol=1e-7)
    if form.of_task is not None:
        np.testing.assert_allclose(form.task_gradient(LOG_UTD, parameters), numerical[form.of_task], rtol=1e-5, atol=1e-7)
    moved, gained = form.moved(parameters, by)
    np.testing.assert_allclose(gained + form.curve(LOG_UTD + by, moved), form.curve(LOG_UTD, parameters), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", [QUADRATIC, SEARCHED], ids=lambda form: form.name)
def test_a_form_is_fitted_by_least_squares_with_or_without_a_search(form):
    rng = np.random.default_rng(0)
    data = np.stack([u_shaped(), u_shaped(3e5)]) * np.exp(0.1 * rng.standard_normal((5, 2, len(UTD))))
    fit = fit_form(form, UTD, data)
    for draw, at in enumerate(data):
        # NumPy's least squares: two levels, a slope, a bend
        columns = np.stack([*np.repeat(np.eye(2), len(UTD), axis=1), np.tile(LOG_UTD, 2), np.tile(LOG_UTD**2, 2)], axis=1)
        best = np.linalg.lstsq(columns, np.log(at).ravel(), rcond=None)[0]
        np.testing.assert_allclose([*fit.log_scale[draw], *fit.parameters[draw]], best, rtol=1e-4, atol=1e-5)


def test_a_forms_prior_counts_as_a_measurement_of_its_parameters():
    data = np.stack([u_shaped(), u_shaped(3e5)])[None]
    x, noise = LOG_UTD - LOG_UTD.mean(), 0.8
    fit = fit_form(QUADRATIC, UTD, data, prior=Prior(noise=noise))
    # a row for each parameter's prior, in units of the noise
    columns = np.stack([*np.repeat(np.eye(2), len(UTD), axis=1), np.tile(x, 2), np.tile(x**2, 2)], axis=1)
    rows = np.concatenate([columns, np.concatenate([np.zeros((2, 2)), np.diag(noise / QUADRATIC.prior)], axis=1)])
    best = np.linalg.lstsq(rows, np.append(np.log(data[0]).ravel(), [0.0, 0.0]), rcond=None)[0]
    expected = best[:2, None] + best[2] * x + best[3] * x**2
    np.testing.assert_allclose(fit.log_data(LOG_UTD)[0], expected, rtol=1e-9)


def test_a_profile_holds_the_parameters_that_the_points_came_from():
    fit = fit_form(SEARCHED, UTD, u_shaped(bend=0.3)[None, None])
    low, high = profile_likelihood(UTD, fit, 0.05).interval("bend")
    assert low < 0.3 < high < 1.0


@pytest.mark.parametrize(("alpha", "beta", "kappa"), [(0.7, 2.0, 16.0), (1.0, 0.5, 8.0)])
def test_a_law_that_rises_again_is_found_from_its_points(alpha, beta, kappa):
    data = 1e5 * (1 + (UTD / beta) ** -alpha + UTD / kappa)
    fit = fit_form(RISING, UTD, np.stack([data, 3 * data])[None])
    named = {name: value[0, 0] for name, value in RISING.described(fit.log_scale, fit.parameters[:, None]).items()}
    assert named == pytest.approx({"d_min": 1e5, "beta": beta, "alpha": alpha, "kappa": kappa}, rel=1e-3)
    assert f"σ/{kappa:g})" in RISING.formula(named)


def test_where_d_rises_again_the_form_that_does_outweighs_those_that_fall():
    # a truth of another formula: a power of 0.7, as in `tdscale.simulate`
    data = (1e5 * (1 + (UTD / 1.0) ** -0.8 + (UTD / 8.0) ** 0.7))[None, :, None]
    shares = dict(zip(FORMS, weigh_forms(FORMS, UTD, data, np.full((1, 7), 1e12), np.array([0.05])).shares, strict=True))
    assert shares[RISING] > 0.5
    falling = (1e5 * (1 + (UTD / 1.0) ** -0.8))[None, :, None]
    shares = dict(zip(FORMS, weigh_forms(FORMS, UTD, falling, np.full((1, 7), 1e12), np.array([0.05])).shares, strict=True))
    assert shares[OFFSET] > shares[RISING]


def test_the_form_that_the_runs_follow_gains_weight_whatever_its_place_in_the_list():
    data = np.stack([u_shaped(), u_shaped(3e5)])[..., None]
    listed = (*FORMS, QUADRATIC)
    shares = weigh_forms(listed, UTD, data, np.full((2, 7), 1e12), np.array([0.1])).shares
    turned = weigh_forms((OFFSET, QUADRATIC, RISING, HELD, POWER), UTD, data, np.full((2, 7), 1e12), np.array([0.1])).shares
    assert shares.sum() == pytest.approx(1)
    assert np.argmax(shares) == 4
    np.testing.assert_allclose(turned, shares[[0, 4, 3, 2, 1]])


@pytest.fixture
def with_quadratic(monkeypatch):
    """The list of forms with one more entry: all that a new form takes."""
    monkeypatch.setattr(forms, "FORMS", (*FORMS, QUADRATIC))


@pytest.mark.usefixtures("with_quadratic")
def test_a_new_form_is_fitted_weighed_and_predicted_with_once_it_is_listed():
    data = np.repeat(np.stack([u_shaped(), u_shaped(3e5)])[None, ..., None], 41, axis=0)
    data = data * np.exp(0.03 * np.random.default_rng(1).standard_normal(data.shape))
    points = DataPoints(
        tasks=("one", "two"), thresholds=np.array([800.0]), utd=UTD, data=data, bound=np.full((2, 7), 1e12), n_seeds=np.full((2, 7), 5.0)
    )
    (law,), _ = fit_data_laws(points, 0)
    assert [fitted.form.name for fitted in law.forms] == ["offset", "power", "held", "rising", "quadratic"]
    weights = np.array([fitted.weight for fitted in law.forms])
    assert weights.sum() == pytest.approx(1)
    assert weights[-1] > 0.7
    # it predicts the rise above the σ that were run, which no other form has
    assert law.predict([32.0], "one")[0] > 1.3 * law.predict([2.0], "one")[0]
    assert law.estimate(32.0, "one").high > law.predict([32.0], "one")[0]


@pytest.mark.usefixtures("with_quadratic")
def test_a_new_form_is_in_laws_json_and_is_read_back(tmp_path):
    truth = random_truth(np.random.default_rng(3), "offset")
    cells = simulate_cells(truth, SweepDesign(utd=tuple(UTD), seeds=3), "medium", seed=3)
    options = FitOptions(study="s", tasks=truth.tasks, thresholds=(600.0, 700.0), n_draws=30)
    laws = fit_measured(measure(cells, options))
    write_laws(laws, tmp_path / "laws.json")
    models = json.loads((tmp_path / "laws.json").read_text(encoding="utf-8"))["data"][0]["models"]
    assert [model["form"] for model in models] == ["offset", "power", "held", "rising", "quadratic"]
    assert set(models[-1]["parameters"]) == {"at_one", "slope", "bend"}
    again = load_laws(tmp_path / "laws.json", METHODS)
    assert [fitted.form for fitted in again.data[0].forms] == [fitted.form for fitted in laws.data[0].forms]
    for one, other in zip(laws.data, again.data, strict=True):
        for task in (None, *laws.tasks):
            np.testing.assert_allclose(other.predict([0.1, 1.0, 40.0], task), one.predict([0.1, 1.0, 40.0], task), rtol=1e-7)
            np.testing.assert_allclose(other.predict_draws([0.1, 40.0], task), one.predict_draws([0.1, 40.0], task), rtol=1e-7)
    limit = 1.5 * float(laws.data[-1].predict([2.0])[0])
    assert plan_data(again, limit).utd == pytest.approx(plan_data(laws, limit).utd, rel=1e-5)


def test_a_law_that_is_not_identified_shows_its_simpler_form():
    data = 1e5 * UTD[None] ** -0.5
    points = DataPoints(
        tasks=("one",),
        thresholds=np.array([800.0]),
        utd=UTD,
        data=np.repeat(data[None, ..., None], 11, axis=0),
        bound=np.full((1, 7), 1e12),
        n_seeds=np.full((1, 7), 5.0),
    )
    (law,), _ = fit_data_laws(points, 0)
    assert law.formula() == "D_J(σ) = 100000·σ^−0.5"
    assert replace(law, identified=True).formula().endswith(f"{law.alpha().value:.3g})")
