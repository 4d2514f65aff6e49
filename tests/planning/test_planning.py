"""P1, P2 and P3 against brute force; what a plan says of its chance, its second best and its limits."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from known_truth import synthetic_study
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.errors import UserError
from tdscale.planning import REACH, plan_budget, plan_compute, plan_data

PRICE = 1e7
FREE = {"sure": 0.5, "any_utd": True}  # what the smooth laws say by their estimate alone
OPTIONS = FitOptions(
    study="known",
    tasks=("one", "two"),
    thresholds=(300.0, 500.0, 700.0, 800.0),
    data_cost=PRICE,
    accounting="paper",
    model_size=9e3,
    n_draws=60,
)
TASKS = st.sampled_from([None, "one", "two"])
THRESHOLDS = st.sampled_from([300.0, 800.0])


@cache
def known_laws():
    return fit_laws(synthetic_study(), OPTIONS)


@pytest.fixture
def laws():
    return known_laws()


def brute(laws, law, task=None):
    """D and C on a dense grid of σ, as far as a plan may go."""
    asked = np.geomspace(0.25 / REACH, 8 * REACH, 200)
    told = asked[[law.refusal(at, task) is None for at in asked]]
    utd = np.unique(np.concatenate([np.geomspace(told[0], told[-1], 20_001), law.utd]))
    data = law.predict(utd, task)
    return utd, data, laws.compute_for(utd, data, task)


def scaled(laws, factor):
    """The same laws with D, and the price of compute, in other units: factor·D env steps, each 1/factor of the FLOPs."""
    data = []
    for law in laws.data:
        forms = [
            replace(form, log_scale=form.log_scale + np.log(factor), log_scale_draws=form.log_scale_draws + np.log(factor))
            for form in law.forms
        ]
        data.append(replace(law, forms=tuple(forms), data=factor * law.data, bound=factor * law.bound))
    return replace(laws, data=tuple(data))


def counted(utd):
    """What the distance from the σ that were run counts: it must save 10 % for each doubling."""
    far = np.maximum(np.maximum(0.25 / utd, utd / 8), 1)
    return (1 / 0.9) ** np.log2(far)


@settings(max_examples=20, deadline=None)
@given(st.floats(9.0, 12.5), TASKS, THRESHOLDS)
def test_p1_is_the_least_data_that_the_compute_allows(exponent, task, threshold):
    laws = known_laws()
    limit = 10**exponent
    law = laws.data_law(threshold)
    plan = plan_compute(laws, limit, threshold=threshold, task=task, batch_multiple=1, **FREE)
    utd, data, compute = brute(laws, law, task)
    allowed = compute <= limit
    assert plan.feasible == bool(allowed.any()) or abs(np.log(compute.min() / limit)) < 0.03
    if plan.feasible and allowed.any():
        # B is a whole number, which makes C jump by a percent or two
        assert plan.data.value * counted(plan.utd) == pytest.approx((data * counted(utd))[allowed].min(), rel=0.02)
        assert plan.compute.value <= limit * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(st.floats(2.8, 6.0), TASKS, THRESHOLDS)
def test_p2_is_the_least_compute_that_the_data_allow(exponent, task, threshold):
    laws = known_laws()
    limit = 10**exponent
    law = laws.data_law(threshold)
    plan = plan_data(laws, limit, threshold=threshold, task=task, batch_multiple=1, **FREE)
    utd, data, compute = brute(laws, law, task)
    allowed = data <= limit
    assert plan.feasible == bool(allowed.any()) or abs(np.log(data.min() / limit)) < 1e-3
    if plan.feasible and allowed.any():
        assert plan.compute.value * counted(plan.utd) == pytest.approx((compute * counted(utd))[allowed].min(), rel=0.02)
        assert plan.data.value <= limit * (1 + 1e-9)


@pytest.mark.parametrize("task", [None, "two"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.8])
def test_p3_is_the_highest_return_that_the_budget_reaches(laws, task, share):
    below, above = laws.data[1], laws.data[2]

    def least(weight):
        """min F at log D between the two thresholds, and its σ."""
        utd, low, _ = brute(laws, below, task)
        data = np.exp((1 - weight) * np.log(low) + weight * np.log(above.predict(utd, task)))
        total = laws.compute_for(utd, data, task) + PRICE * data
        return (total * counted(utd)).min()

    plan = plan_budget(laws, least(share), task=task, batch_multiple=1, **FREE)
    expected = below.threshold + share * (above.threshold - below.threshold)
    assert plan.threshold == pytest.approx(expected, abs=5)  # downwards to a whole number; B is one, too
    assert plan.budget.value <= least(share) * (1 + 1e-9)
    assert plan.threshold_range.low <= plan.threshold <= plan.threshold_range.high
    assert plan.regret.low >= 0
    assert share < 0.01 or any("interpolated" in note for note in plan.notes)


def test_a_budget_below_that_of_the_lowest_threshold_has_no_plan(laws):
    _, data, compute = brute(laws, laws.data[0])
    assert not plan_budget(laws, 0.9 * float((compute + PRICE * data).min())).feasible


def test_along_the_frontier_data_falls_and_compute_rises(laws):
    least = brute(laws, laws.data[-1])[2].min()
    plans = [plan_compute(laws, limit, batch_multiple=1) for limit in least * np.geomspace(1.5, 30, 12)]
    data = [plan.data.value for plan in plans]
    assert all(later <= earlier * 1.0001 for earlier, later in pairwise(data))
    least = brute(laws, laws.data[-1])[1].min()
    utd = [plan_data(laws, limit, batch_multiple=1).utd for limit in least * np.geomspace(1.5, 30, 12)]
    assert utd == sorted(utd, reverse=True)


@settings(max_examples=8, deadline=None)
@given(st.floats(-6, 6), st.floats(1.5, 4.0))
def test_the_units_of_data_and_compute_do_not_matter(log_factor, share):
    laws = known_laws()
    factor = float(np.exp(log_factor))
    limit = share * float(laws.data[-1].predict([8.0])[0])
    plan = plan_data(laws, limit)
    assume(plan.feasible)
    assert plan_data(scaled(laws, factor), factor * limit).utd == pytest.approx(plan.utd, rel=1e-6)
    other = replace(laws, compute={task: replace(m, per_critic_update=factor * m.per_critic_update) for task, m in laws.compute.items()})
    assert plan_data(other, limit).utd == pytest.approx(plan.utd, rel=1e-6)
    compute = plan.compute.value * 1.5
    assert plan_compute(other, factor * compute).utd == pytest.approx(plan_compute(laws, compute).utd, rel=1e-6)


def test_the_same_study_gives_the_same_plan(laws):
    again = fit_laws(synthetic_study(), OPTIONS)
    for ask in (lambda x: plan_data(x, 1e4), lambda x: plan_compute(x, 1e11), lambda x: plan_budget(x, 3e11)):
        assert ask(laws).to_dict() == ask(again).to_dict()


def test_beyond_the_highest_threshold_the_budget_is_spent_and_the_return_is_not_predicted(laws):
    plan = plan_budget(laws, 1e14)
    assert plan.threshold is None
    assert plan.compute.value + PRICE * plan.data.value == pytest.approx(1e14)
    assert any("not predicted" in note for note in plan.notes)


def test_beyond_the_highest_threshold_no_compute_is_counted_for_a_tasks_warm_up(laws):
    idle = {name: replace(model, warm_up=warm_up) for (name, model), warm_up in zip(laws.compute.items(), (1e3, 1e9), strict=True)}
    plan = plan_budget(replace(laws, compute=idle), 1e14)
    half = idle["one"].compute_for(plan.utd, plan.batch_size, plan.data.value) / 2
    assert plan.compute.value == pytest.approx(float(half))
    assert plan.compute.value + PRICE * plan.data.value == pytest.approx(1e14)
    plan = plan_budget(replace(laws, compute={name: replace(model, warm_up=1e9) for name, model in idle.items()}), 1e14)
    assert plan.compute.to_dict()["value"] == pytest.approx(0, abs=1)
    assert plan.data.value == pytest.approx(1e14 / PRICE)


def test_batch_sizes_are_multiples_of_what_is_asked(laws):
    for multiple in (1, 8, 16, 128):
        plan = plan_data(laws, 1e4, batch_multiple=multiple)
        assert plan.batch_size % multiple == 0
        assert all(row.batch_size % multiple == 0 for row in plan.alternatives)


@settings(max_examples=10, deadline=None)
@given(st.floats(1.05, 6.0), st.sampled_from([1, 16, 32, 128]))
def test_rounding_the_batch_size_keeps_the_compute_limit(share, multiple):
    laws = known_laws()
    limit = share * float(brute(laws, laws.data[-1])[2].min())
    plan = plan_compute(laws, limit, batch_multiple=multiple)
    assert not plan.feasible or (plan.compute.value <= limit and plan.chance >= 0.8)


@pytest.mark.parametrize("multiple", [16, 64, 256])
def test_no_other_sigma_with_the_same_batch_size_takes_less_compute(laws, multiple):
    # B*(σ) falls as fast as updates grow: C at B*(σ) is nearly flat, C at a B that can be had is not
    steep = replace(laws, batch_size=replace(laws.batch_size, exponent=-1.0, coefficients=laws.batch_size.coefficients * 0.5))
    plan = plan_data(steep, 1e9, batch_multiple=multiple)
    others = [other for other in plan.alternatives if other.within_limit and other.batch_size == plan.batch_size == multiple]
    assert others or plan.batch_size > multiple
    assert all(other.compute.value >= 0.95 * plan.compute.value for other in others), "but for those not worth going farther for"


def test_an_answer_outside_the_sigma_that_were_run_says_by_what_factor(laws):
    plan = plan_data(laws, float(laws.data[-1].predict([16.0])[0]), sure=0.5)
    assert plan.extrapolation >= 2
    assert any("extrapolates" in note for note in plan.notes)


def test_where_nothing_binds_the_answer_stays_with_the_runs_unless_going_farther_saves_a_tenth_for_each_doubling(laws):
    plan = plan_compute(laws, 1e14)
    data = laws.data[-1].predict([8.0, 16.0, 32.0])
    assert (data[1] > 0.9 * data[0], data[2] > 0.81 * data[0]) == (True, True)
    assert plan.utd == 8
    assert "would save less than 10%" in plan.binding


def test_the_chance_to_meet_the_limit_is_that_of_the_draws(laws):
    limit = 1.001 * float(laws.data[-1].predict([3.0])[0])
    plan = plan_data(laws, limit, sure=0.5)
    assert plan.chance == (laws.data[-1].predict_draws([plan.utd])[:, 0] <= limit * (1 + 1e-9)).mean()
    # of a surer UTD ratio; it may be the nearest that was run, which is shown once
    sure = min((row for row in plan.alternatives if row.chance >= 0.9), key=lambda row: row.compute.value)
    assert sure.chance == (laws.data[-1].predict_draws([sure.utd])[:, 0] <= limit).mean() >= 0.9
    assert sure.utd > plan.utd
    assert sure.compute.value > plan.compute.value


def test_the_second_best_is_what_the_laws_say_of_another_sigma(laws):
    plan = plan_data(laws, 1.001 * float(laws.data[-1].predict([3.0], "one")[0]), task="one", batch_multiple=1)
    labels = {row.label: row for row in plan.alternatives}
    assert plan.utd / 3 < labels["smaller UTD"].utd < plan.utd < labels["larger UTD"].utd < plan.utd * 3
    assert not labels["smaller UTD"].within_limit
    for row in plan.alternatives:
        assert row.data == laws.data[-1].estimate(row.utd, "one")
        assert row.compute.value == pytest.approx(laws.compute["one"].compute_for(row.utd, row.batch_size, row.data.value))
        assert row.budget.value == pytest.approx(row.compute.value + PRICE * row.data.value)


def test_what_ten_percent_more_buys_is_the_plan_for_ten_percent_more(laws):
    data = laws.data[-1].predict([3.0])
    limits = float(data[0]), float(laws.compute_for(np.array([3.0]), data)[0])
    for ask, limit in zip((plan_data, plan_compute), limits, strict=True):
        plan, more = (ask(laws, share * limit, batch_multiple=1) for share in (1, 1.1))
        assert (plan.relaxed.utd, plan.relaxed.data) == (more.utd, more.data.value)
    budget = laws.budget.points[1].budget.value
    assert plan_budget(laws, budget).relaxed.threshold == plan_budget(laws, 1.1 * budget).threshold


def unsettled(laws):
    """The laws with draws that say nothing beyond the σ that were run."""
    drift = np.linspace(0, 8, OPTIONS.n_draws)[:, None] * np.ones(2)
    return replace(laws, data=tuple(replace(law, drift_draws=drift) for law in laws.data))


def test_where_the_runs_do_not_settle_it_the_plan_is_refused_and_not_infeasible(laws):
    law = laws.data[-1]
    limit = float(law.predict([8 * REACH])[0]) * 1.01
    plan = plan_data(unsettled(laws), limit, sure=0.5)
    assert (plan.feasible, plan.refused) == (False, True)
    assert "the runs don't settle D" in plan.reason
    assert plan.utd is None
    hopeless = plan_data(laws, limit / 3)
    assert (hopeless.feasible, hopeless.refused) == (False, False)
    assert "is not enough" in hopeless.reason


def test_the_answer_stays_where_the_law_can_tell(laws):
    plan = plan_compute(unsettled(laws), 1e14)
    assert plan.feasible
    assert plan.utd < 8 * 1.5


def test_a_law_that_tells_nothing_refuses_everything(laws):
    wide = np.geomspace(0.01, 100, OPTIONS.n_draws)[:, None]
    data = []
    for law in laws.data:
        forms = [replace(form, log_scale_draws=form.log_scale_draws + np.log(wide)) for form in law.forms]
        data.append(replace(law, forms=tuple(forms)))
    nothing = replace(laws, data=tuple(data))
    for plan in (plan_data(nothing, 1e4), plan_compute(nothing, 1e11), plan_budget(nothing, 1e12)):
        assert (plan.feasible, plan.refused) == (False, True)
        assert "the runs don't settle D" in plan.reason


def test_without_compute_the_smallest_sigma_that_meets_the_data_limit_is_the_answer(laws):
    bare = replace(laws, compute={}, budget=None)
    plan = plan_data(bare, 1e4, batch_multiple=1)
    assert plan.utd == plan_data(laws, 1e4, batch_multiple=1).utd
    assert plan.compute is None
    assert plan_data(bare, 1e9).utd == 0.25
    with pytest.raises(UserError, match="compute is not known"):
        plan_compute(bare, 1e9)


def test_a_plan_says_which_settings_no_sweep_chose_and_claims_no_interval_for_them():
    cells = [cell for cell in synthetic_study() if cell.spec.stage == "scaling"]
    plan = plan_data(fit_laws(cells, OPTIONS), 1e4)
    assert plan.not_optimised == ("batch_size", "learning_rate")
    assert plan.to_dict()["batch_size_range"]["low"] is None
    assert plan.shown("learning_rate").endswith("(not optimised)")
    with_sweep = plan_data(known_laws(), 1e4)
    assert with_sweep.not_optimised == ()
    assert "optimised" not in with_sweep.shown("batch_size")


def test_a_plan_says_how_exact_its_settings_must_be(laws):
    plan = plan_data(laws, 1e4, task="one")
    for quantity, law in (("batch_size", laws.batch_size), ("learning_rate", laws.learning_rate)):
        told, best = getattr(plan, f"{quantity}_tolerated"), getattr(plan, f"{quantity}_range").value
        assert told == law.tolerated(plan.utd, "one")
        assert told.low.value < best < told.high.value
        assert plan.to_dict()[f"{quantity}_tolerated"]["low"] == told.low.to_dict()
    cells = [cell for cell in synthetic_study() if cell.spec.stage == "scaling"]
    assert plan_data(fit_laws(cells, OPTIONS), 1e4).batch_size_tolerated is None


def test_a_plan_as_json_holds_plain_values(laws):
    import json

    for plan in (plan_data(laws, 1e4), plan_compute(laws, 1e11), plan_budget(laws, 3e11), plan_data(laws, 1.0)):
        content = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
        assert content["unit"] == "flops"
        assert content["accounting"] == "paper"
        assert isinstance(content["alternatives"], list)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda laws: plan_data(laws, -1), "--data: -1 is not a limit"),
        (lambda laws: plan_data(laws, float("nan")), "is not a limit"),
        (lambda laws: plan_compute(laws, 1e9, task="three"), "there is no 'three'"),
        (lambda laws: plan_compute(laws, 1e9, threshold=850), "850 lies beyond the returns that were fitted"),
        (lambda laws: plan_data(laws, 1e4, sure=0.3), "--sure: 0.3 is not a chance"),
        (lambda laws: plan_budget(laws, 1e12, "measured"), "recorded no times"),
        (lambda laws: plan_budget(replace(laws, data_cost=None), 1e12), "needs the price of an env step"),
    ],
)
def test_a_mistaken_question_is_one_sentence(laws, call, message):
    with pytest.raises(UserError, match=message):
        call(laws)
