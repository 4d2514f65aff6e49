"""P1, P2 and P3 against brute force and the closed forms of the paper's appendix A."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from known_truth import synthetic_study
from tdscale.analysis.fit import fit_laws
from tdscale.analysis.options import FitOptions
from tdscale.errors import UserError
from tdscale.planning import REACH, plan_budget, plan_compute, plan_data

OPTIONS = FitOptions(
    study="known",
    tasks=("one", "two"),
    thresholds=(300.0, 500.0, 700.0, 800.0),
    data_cost=3e8,
    accounting="paper",
    model_size=9e3,
    n_draws=60,
)


@pytest.fixture(scope="module")
def laws():
    return fit_laws(synthetic_study(), OPTIONS)


def brute(laws, law, task=None):
    utd = np.geomspace(0.25 / REACH, 8 * REACH, 200_001)
    data = law.predict(utd, task)
    return utd, data, laws.flops(utd, data, task)


@settings(max_examples=30, deadline=None)
@given(st.floats(7.0, 11.0), st.sampled_from([None, "one", "two"]), st.sampled_from([300.0, 800.0]))
def test_p1_is_the_least_data_that_the_compute_allows(laws, exponent, task, threshold):
    limit = 10**exponent
    law = laws.data_law(threshold)
    plan = plan_compute(laws, limit, threshold=threshold, task=task)
    _, data, compute = brute(laws, law, task)
    allowed = compute <= limit
    assert plan.feasible == bool(allowed.any()) or abs(np.log(compute.min() / limit)) < 1e-3
    if plan.feasible and allowed.any():
        assert plan.data.value == pytest.approx(data[allowed].min(), rel=5e-3)


@settings(max_examples=30, deadline=None)
@given(st.floats(2.5, 5.0), st.sampled_from([None, "one", "two"]), st.sampled_from([300.0, 800.0]))
def test_p2_is_the_least_compute_that_the_data_allow(laws, exponent, task, threshold):
    limit = 10**exponent
    law = laws.data_law(threshold)
    plan = plan_data(laws, limit, threshold=threshold, task=task)
    _, data, compute = brute(laws, law, task)
    allowed = data <= limit
    assert plan.feasible == bool(allowed.any()) or abs(np.log(data.min() / limit)) < 1e-3
    if plan.feasible and allowed.any():
        assert laws.flops(np.array([plan.utd]), np.array([plan.data.value]), task)[0] == pytest.approx(compute[allowed].min(), rel=5e-3)


def test_p2_on_the_limit_is_the_papers_closed_form(laws):
    from dataclasses import replace

    # the offset law alone, as in equation A.7
    pure = replace(laws, data=tuple(replace(law, forms=(replace(law.offset, weight=1.0),), held=0.0) for law in laws.data))
    law = pure.data[-1]
    d_min, beta, alpha = law.d_min("one").value, law.beta("one").value, law.alpha("one").value
    limit = 1.8 * d_min
    bound = beta * (d_min / (limit - d_min)) ** (1 / alpha)
    plan = plan_data(pure, limit, task="one")
    assert plan.utd == pytest.approx(bound, rel=1e-3)
    assert plan.binding == "The data limit binds."
    # equation 4.4: C = 10·N·B(σ*)·σ*·D0
    unrounded = 10 * 9e3 * pure.batch_size.predict([plan.utd], "one")[0] * plan.utd * limit
    assert pure.flops(np.array([plan.utd]), np.array([plan.data.value]), "one")[0] == pytest.approx(unrounded, rel=1e-3)


def test_p3_is_the_highest_threshold_that_the_budget_reaches(laws):
    best = []
    for law in laws.data:
        _, data, compute = brute(laws, law)
        best.append((compute + 3e8 * data).min())
    for budget in (best[0] * 1.001, best[2] * 1.2, best[3] * 1.01):
        plan = plan_budget(laws, budget)
        reached = max(j for j, f in zip(OPTIONS.thresholds, best, strict=True) if f <= budget * 1.0005)
        assert plan.threshold == reached
        assert plan.budget.value <= budget * 1.1
    assert not plan_budget(laws, best[0] * 0.9).feasible


def test_beyond_the_highest_threshold_the_budget_is_spent_and_the_return_is_not_predicted(laws):
    plan = plan_budget(laws, 1e14)
    assert plan.threshold is None
    assert plan.compute.value + 3e8 * plan.data.value == pytest.approx(1e14)
    assert any("not predicted" in note for note in plan.notes)


def test_batch_sizes_are_multiples_of_what_is_asked(laws):
    for multiple in (1, 8, 16, 128):
        assert plan_data(laws, 1e4, batch_multiple=multiple).batch_size % multiple == 0


def test_an_answer_outside_the_sigma_that_were_run_says_by_what_factor(laws):
    plan = plan_compute(laws, 1e14)
    assert plan.extrapolation > 1
    assert any("extrapolates" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda laws: plan_data(laws, -1), "--data: -1 is not a limit"),
        (lambda laws: plan_data(laws, float("nan")), "is not a limit"),
        (lambda laws: plan_compute(laws, 1e9, task="three"), "there is no 'three'"),
        (lambda laws: plan_compute(laws, 1e9, threshold=650), "there are laws at 300, 500, 700, 800"),
    ],
)
def test_a_mistaken_question_is_one_sentence(laws, call, message):
    with pytest.raises(UserError, match=message):
        call(laws)
