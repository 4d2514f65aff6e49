"""Predictions at one σ: true to laws that are known, honest about where they extrapolate, and about what is not known."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from known_truth import law_data, synthetic_study
from sized_truth import SIZES, sized_cells
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.analysis.views import at_size
from tdscale.errors import UserError
from tdscale.planning import plan_data, predict

OPTIONS = FitOptions(study="known", tasks=("one", "two"), thresholds=(500.0, 800.0), accounting="paper", model_size=9e3, n_draws=60)
D_MIN = {"one": 4000.0, "two": 9000.0}


@cache
def fitted(seconds=False):
    cells = synthetic_study()
    if seconds:  # an update takes 2 ms, an env step 1 ms
        cells = [replace(cell, costs=cell.costs | {"update_seconds_per_critic_update": 2e-3, "step_seconds": 1e-3}) for cell in cells]
    return fit_laws(cells, OPTIONS)


@pytest.mark.parametrize("task", D_MIN)
def test_d_between_the_utd_ratios_that_were_run_is_the_true_one(task):
    found = predict(fitted(), 3.0, task=task)
    truth = law_data(3.0, D_MIN[task], 1.5, 0.8)
    assert found.data.value == pytest.approx(truth, rel=0.1)
    assert found.data.low <= found.data.value <= found.data.high
    assert found.where == "interpolates: UTD 0.25 to 8 was run"


def test_the_mean_over_tasks_is_the_geometric_one():
    found, truth = predict(fitted(), 3.0), [law_data(3.0, least, 1.5, 0.8) for least in D_MIN.values()]
    assert found.data.value == pytest.approx(np.sqrt(truth[0] * truth[1]), rel=0.1)


def test_compute_is_that_of_the_batch_size_that_is_run():
    found = predict(fitted(), 2.0, task="one")
    assert found.batch_size % 16 == 0
    for end in ("value", "low", "high"):
        assert getattr(found.compute, end) == pytest.approx(10 * 9e3 * found.batch_size * 2.0 * getattr(found.data, end))
    assert found.seconds is None


def test_the_time_of_a_run_is_that_of_its_env_steps_and_updates():
    found = predict(fitted(seconds=True), 4.0, task="two")
    warm_up = 200
    assert found.seconds.value == pytest.approx(1e-3 * found.data.value + 2e-3 * 4 * (found.data.value - warm_up), rel=1e-6)
    assert found.seconds.low < found.seconds.value < found.seconds.high


@given(st.floats(0.0626, 31.9), st.sampled_from([None, "one", "two"]))
def test_a_prediction_at_a_plans_utd_is_the_plans_and_says_how_far_it_extrapolates(utd, task):
    laws = fitted()
    found = predict(laws, utd, task=task)
    assert found.extrapolation == pytest.approx(max(1, 0.25 / utd, utd / 8))
    assert ("extrapolates by a factor of" in found.where) == (found.extrapolation > 1)
    assert (found.data is None) == (laws.data[-1].refusal(utd, task) is not None) == (found.refused is not None)
    if found.data is not None:
        assert found.data == laws.data[-1].estimate(utd, task)


def test_a_plan_and_a_prediction_agree():
    plan = plan_data(fitted(), 12_000.0, task="one")
    found = predict(fitted(), plan.utd, task="one")
    assert (found.batch_size, found.learning_rate_range, found.data) == (plan.batch_size, plan.learning_rate_range, plan.data)
    assert found.compute == plan.compute
    assert found.batch_size_tolerated == plan.batch_size_tolerated


def test_where_the_runs_do_not_settle_d_the_prediction_refuses_and_still_tells_b():
    noisy = fit_laws(
        [cell for cell in synthetic_study(noise=0.8) if cell.spec.utd in (2.0, 4.0, 8.0) or cell.spec.stage == "sweep"], OPTIONS
    )
    found = predict(noisy, 1e-4)
    assert found.data is found.compute is None
    assert "the runs don't settle D at σ = 1.00e−4" in found.refused
    assert found.batch_size >= 16


def test_a_network_beyond_those_that_were_run_is_said_apart_from_the_utd_ratio():
    """D and C of the cells: D by a sum law, sizes from 5e5 to 3.2e7."""
    options = FitOptions(study="sized", tasks=("one", "two"), thresholds=(500.0,), n_draws=40)
    laws = fit_laws(sized_cells(), options)
    inside, beyond = (predict(at_size(laws, size), 2.0, task="one") for size in (SIZES["large"], 2 * SIZES["huge"]))
    assert inside.extrapolation == inside.size_extrapolation == 1
    assert inside.where == "interpolates: UTD 0.5 to 4 was run"
    assert beyond.extrapolation == beyond.size_extrapolation == pytest.approx(2)
    assert beyond.where == "interpolates: UTD 0.5 to 4 was run; N is extrapolated by a factor of 2"
    assert beyond.to_dict()["model_size"] == pytest.approx(6.4e7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"utd": 0.0}, "--utd: 0 is not a UTD ratio"),
        ({"utd": float("nan")}, "--utd: nan is not a UTD ratio"),
        ({"utd": 1.0, "task": "three"}, "there is one, two"),
        ({"utd": 1.0, "threshold": 900.0}, "900"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(options, said):
    with pytest.raises(UserError, match=said):
        predict(fitted(), **options)
