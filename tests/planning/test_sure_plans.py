"""A limit is met with the chance asked for; nothing in a plan's own table is better; σ trains as it stands; returns between thresholds."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from known_truth import synthetic_study
from tdscale.analysis.between import law_at
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.errors import UserError
from tdscale.planning import Plan, batch_to_run, plan_budget, plan_compute, plan_data
from tdscale.planning.candidates import runnable_ratios

OPTIONS = FitOptions(
    study="known",
    tasks=("one", "two"),
    thresholds=(300.0, 500.0, 800.0),
    data_cost=1e7,
    accounting="paper",
    model_size=9e3,
    n_draws=50,
)
LIMITED = {"data": "data", "compute": "compute", "budget": "budget"}
LEAST = {"data": "compute", "compute": "data", "budget": "budget"}


@cache
def known_laws():
    return fit_laws(synthetic_study(), OPTIONS)


@pytest.fixture
def laws():
    return known_laws()


def ask(problem, laws, limit, **how):
    return {"data": plan_data, "compute": plan_compute, "budget": plan_budget}[problem](laws, limit, **how)


def limit_at(laws, problem, utd):
    """What this σ takes at the middle threshold, by the estimate."""
    data = laws.data[1].predict([utd])
    compute = laws.compute_for(np.array([utd]), data)
    return float({"data": data, "compute": compute, "budget": compute + 1e7 * data}[problem][0])


PROBLEMS = st.sampled_from(["data", "compute", "budget"])


@settings(max_examples=25, deadline=None)
@given(PROBLEMS, st.floats(-1.0, 2.5), st.floats(0.9, 1.6), st.sampled_from([None, "two"]), st.sampled_from([0.5, 0.8]), st.booleans())
def test_no_row_of_a_plans_own_table_is_better_within_the_limit(problem, log_utd, share, task, sure, any_utd):
    laws = known_laws()
    limit = share * limit_at(laws, problem, float(np.exp(log_utd)))
    how = {} if problem == "budget" else {"threshold": 500.0}
    plan = ask(problem, laws, limit, task=task, sure=sure, any_utd=any_utd, batch_multiple=32, **how)
    if not plan.feasible or plan.threshold is None:
        return
    here = getattr(plan, LEAST[problem]).value
    for row in plan.alternatives:
        assert not row.within_limit or getattr(row, LEAST[problem]).value >= here * (1 - 1e-9)
        assert row.within_limit == (getattr(row, LIMITED[problem]).value <= limit and (sure == 0.5 or row.chance >= sure))
    assert getattr(plan, LIMITED[problem]).value <= limit * (1 + 1e-9)
    assert sure == 0.5 or plan.chance >= sure


@pytest.mark.parametrize("problem", ["data", "compute", "budget"])
def test_the_draws_meet_the_limit_as_often_as_asked(laws, problem):
    limit = limit_at(laws, problem, 3.0)
    how = {} if problem == "budget" else {"threshold": 500.0}
    for sure in (0.6, 0.8, 0.95):
        plan = ask(problem, laws, limit, sure=sure, **how)
        law = law_at(laws, plan.threshold)
        data = law.predict_draws([plan.utd])[:, 0]
        compute = np.mean([model.compute_for(plan.utd, plan.batch_size, data) for model in laws.compute.values()], axis=0)
        needs = {"data": data, "compute": compute, "budget": compute + 1e7 * data}[problem]
        assert plan.chance == (needs <= limit * (1 + 1e-9)).mean() >= sure


def test_being_sure_has_its_price(laws):
    limit = 1.001 * limit_at(laws, "data", 3.0)  # met at 3 by the estimate, but by hardly more than half of the draws
    sure, even = plan_data(laws, limit, threshold=500), plan_data(laws, limit, threshold=500, sure=0.5)
    assert sure.even_chance.utd == even.utd < sure.utd
    assert sure.price_of_sure == pytest.approx(sure.compute.value / even.compute.value - 1)
    assert even.price_of_sure is None
    budget = limit_at(laws, "budget", 2.0)
    assert plan_budget(laws, budget).even_chance.threshold == plan_budget(laws, budget, sure=0.5).threshold


def test_where_no_ratio_is_sure_enough_the_best_chance_is_named(laws):
    utd = np.array(runnable_ratios(1 / 16, 32))
    draws = laws.data[1].predict_draws(utd)
    limit = float(np.quantile(draws, 0.6, axis=0).min())
    plan = plan_data(laws, limit, threshold=500, sure=0.95)
    assert (plan.feasible, plan.refused) == (False, False)
    assert 0 < plan.chance < 0.95
    assert plan.chance == (laws.data[1].predict_draws([plan.chance_utd])[:, 0] <= limit * (1 + 1e-9)).mean()
    assert "the best chance to be had is" in plan.sentence()


def test_ratios_train_as_they_stand(laws):
    found = runnable_ratios(0.05, 40, ran=[0.7])
    assert {1 / 16, 0.25, 1 / 3, 0.5, 0.7, 1, 1.5, 2, 3, 6, 8, 16, 32} <= set(found.tolist())
    assert all(abs(at - round(at)) < 1e-9 or abs(1 / at - round(1 / at)) < 1e-9 for at in found if at not in (0.7, 1.5))
    plan = plan_data(laws, limit_at(laws, "data", 2.3), threshold=500)
    assert plan.utd in found
    assert plan.utd_exact != plan.utd
    free = plan_data(laws, limit_at(laws, "data", 2.3), threshold=500, any_utd=True)
    assert plan.rounding_cost == pytest.approx(plan.compute.value / free.compute.value - 1)
    assert plan.rounding_cost >= 0


def test_between_thresholds_log_data_are_interpolated_and_beyond_them_refused(laws):
    law, low, high = law_at(laws, 600), laws.data[1], laws.data[2]
    for of in (lambda law: law.predict([1.0, 4.0], "one"), lambda law: law.predict_draws([1.0, 4.0])):
        np.testing.assert_allclose(np.log(of(law)), np.log(of(low)) + (np.log(of(high)) - np.log(of(low))) / 3)
    assert law_at(laws, 500.4) is low
    for level in (250, 850):
        with pytest.raises(UserError, match="lies beyond the returns that were fitted"):
            law_at(laws, level)
    plan = plan_data(laws, 1e4, threshold=600)
    assert plan.threshold == 600
    assert any("between the laws at J = 500 and 800" in note for note in plan.notes)


def test_the_answer_is_one_line_that_can_be_typed(laws):
    plan = replace(
        plan_data(laws, limit_at(laws, "data", 2.0), threshold=500),
        raw_threshold=1234.5,
        batch_size=176,
        learning_rate=2.8e-4,
        chance=0.826,
    )
    text = plan.sentence()
    assert "\n" not in text
    assert "batch 176, lr 2.8e-4: return 500 (raw 1234) in" in text.replace("1235", "1234")
    assert text.endswith("the limit is met with a chance of 82 %")
    assert Plan(problem="data", limit=1.0, data_cost=None, task=None, feasible=False, reason="r").sentence() == "no plan: r"


@pytest.mark.parametrize(("wanted", "rounded"), [(62.6, 64), (94.8, 96), (23.0, 32), (21.0, 16), (9.4, 16), (0.3, 16), (1000.0, 1008)])
def test_a_batch_size_is_rounded_to_a_multiple_and_never_below_three_quarters(wanted, rounded):
    assert batch_to_run(wanted, 16) == rounded
