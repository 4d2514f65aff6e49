"""Studies side by side: a swap inverts, a copy is a copy, closed forms of frontiers, what must agree."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from known_truth import synthetic_study
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.analysis.misfit import generator_of_runs
from tdscale.errors import UserError
from tdscale.planning import MEASURES, Contestant, compare_laws
from tdscale.planning.frontiers import least_at, return_for

TASKS = (("one", 4000.0), ("two", 9000.0))
SCALE = {"one": (0.0, 1000.0), "two": (-50.0, 300.0)}


def contestant(name="a", *, d_min=1.0, seed=0, thresholds=(400.0, 600.0, 800.0), data_cost=1e8, scales=SCALE, n_draws=60, **sweep):
    tasks = sweep.pop("tasks", TASKS)
    cells = synthetic_study(tasks=[(task, d_min * scale) for task, scale in tasks], seed=seed, **sweep)
    names = tuple(task for task, _ in tasks)
    options = FitOptions(study=name, tasks=names, thresholds=thresholds, n_draws=n_draws, data_cost=data_cost)
    return Contestant(name=name, laws=fit_laws(cells, options), scales=scales, aggregate="mean")


@pytest.fixture(scope="module")
def slow_and_fast():
    return contestant("slow", d_min=2.0, seed=1), contestant("fast", seed=2)


def test_the_least_of_a_power_law_under_a_limit_lies_on_the_limit():
    utd = np.geomspace(0.1, 10, 200)
    data, compute = 1e5 * utd**-0.5, 1e9 * utd**0.5
    found = least_at(utd, np.stack([data, 3 * data]), np.stack([compute, 3 * compute]), np.array([5e8, 2e9]))
    # σ = (C/1e9)², D = 1e5/√σ = 1e14/C; three times the compute at each σ leaves a third of √σ for three times the data
    assert_allclose(found.value[0], [1e14 / 5e8, 1e14 / 2e9], rtol=1e-9)
    assert_allclose(found.value[1, 1], 9 * 1e14 / 2e9, rtol=1e-9)
    assert_allclose(found.utd, [0.25, 4.0], rtol=1e-9)


def test_a_limit_that_no_utd_meets_leaves_nothing():
    found = least_at(np.array([1.0, 2.0]), np.array([[5.0, 4.0]]), np.array([[10.0, 20.0]]), np.array([9.0]))
    assert np.isinf(found.value[0, 0])
    assert np.isnan(found.utd[0])


def test_the_return_of_a_budget_lies_between_thresholds_in_the_logarithm_of_the_budget():
    budgets = np.array([[1e10, 1e12], [1e10, 1e11]])
    found = return_for(budgets, np.array([400.0, 800.0]), np.array([1e11, 1e9]))
    assert_allclose(found, [[600.0, 400.0], [800.0, 400.0]])


def test_a_swap_inverts_every_ratio_and_turns_every_chance_round(slow_and_fast):
    there, back = compare_laws(slow_and_fast), compare_laws(slow_and_fast[::-1])
    for one, other in zip(there.compared, back.compared, strict=True):
        assert (one.measure, one.task, one.refusal) == (other.measure, other.task, other.refusal)
        for point, turned in zip(one.points, other.points, strict=True):
            assert point.at == pytest.approx(turned.at)
            assert point.better[1] == pytest.approx(1 - turned.better[1])
            ratio, inverse = point.ratio[1], turned.ratio[1]
            ends = (inverse.value, inverse.high, inverse.low)
            expected = [-end for end in ends] if one.measure == "return" else [1 / end if end else np.inf for end in ends]
            assert_allclose([ratio.value, ratio.low, ratio.high], expected, rtol=1e-9, atol=1e-9)


def test_a_study_beside_itself_is_the_same_at_any_budget_and_says_so(slow_and_fast):
    one = slow_and_fast[0]
    found = compare_laws([one, replace(one, name="again")])
    assert found.same_runs
    assert "the same runs" in found.notes[-1]
    for contrast in found.compared:
        for point in contrast.points:
            ratio, same = point.ratio[1], 0.0 if contrast.measure == "return" else 1.0
            assert (ratio.value, ratio.low, ratio.high) == (same, same, same)
            assert point.better[1] == 0.5
            assert point.best == (0.5, 0.5)


def test_an_algorithm_that_needs_half_the_data_at_every_utd_needs_half_of_it_for_half_the_compute(slow_and_fast):
    found = compare_laws(slow_and_fast)
    point = found.of("budget").middle
    # both D and C are half, so F is half whatever δ is, but for the warm-up of 200 steps without updates
    assert point.ratio[1].low < 0.5 < point.ratio[1].high
    assert point.ratio[1].value == pytest.approx(0.5, rel=0.15)
    assert point.better[1] > 0.95
    assert point.best[1] > 0.95
    assert found.sentence().startswith("fast needs 0.")
    assert "over 2 tasks" in found.sentence()
    assert found.of("data").middle.ratio[1].value < 0.5  # at equal compute it can afford a higher σ besides


def test_of_three_studies_one_is_best_with_chances_that_sum_to_one(slow_and_fast):
    found = compare_laws([*slow_and_fast, contestant("middling", d_min=1.4, seed=3)])
    for contrast in found.compared:
        for point in contrast.points:
            assert sum(point.best) == pytest.approx(1.0)
    # three frontiers may share no compute; returns they share
    assert np.argmax(found.of("budget").middle.best) == 1


def test_every_number_stands_in_the_table_once(slow_and_fast):
    found = compare_laws(slow_and_fast)
    frame = found.to_frame()
    assert len(frame) == 2 * sum(len(contrast.points) for contrast in found.compared)
    row = frame[(frame["measure"] == "budget") & (frame["task"] == "two") & (frame["study"] == "fast")].iloc[-1]
    point = found.of("budget", "two").points[-1]
    assert (row["at"], row["value"], row["ratio_low"]) == (800.0, point.values[1].value, point.ratio[1].low)
    assert found.to_dict()["compared"][0]["points"][0]["studies"][0]["ratio"]["value"] == 1.0
    assert "fast needs" in found._repr_html_()


def test_budgets_that_are_asked_for_are_answered_there_or_refused(slow_and_fast):
    shared = compare_laws(slow_and_fast).of("data")
    limit = shared.points[10].at
    found = compare_laws(slow_and_fast, budgets={"data": [limit]}).of("data")
    assert_allclose(found.middle.ratio[1].value, shared.points[10].ratio[1].value, rtol=1e-9)
    refused = compare_laws(slow_and_fast, budgets={"data": [limit * 1e6]}).of("data")
    assert "lies outside" in refused.refusal


def test_frontiers_without_a_common_budget_are_refused_there_and_compared_for_equal_returns(slow_and_fast):
    far = contestant("far", d_min=300.0, seed=4)
    found = compare_laws([slow_and_fast[1], far])
    assert "there is no compute that all studies have in common" in found.of("data").refusal
    assert found.of("budget").middle.ratio[1].value == pytest.approx(300.0, rel=0.3)
    assert "far needs" in found.sentence()


def test_studies_with_different_prices_are_compared_by_one_that_is_given(slow_and_fast):
    dear = replace(slow_and_fast[1], laws=replace(slow_and_fast[1].laws, data_cost=3e8))
    found = compare_laws([slow_and_fast[0], dear])
    assert "--data-cost" in found.of("return").refusal
    assert not found.of("data").refusal
    assert not compare_laws([slow_and_fast[0], dear], data_cost=2e8).of("return").refusal


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scales": SCALE | {"two": (0.0, 300.0)}}, r"task two: low is −50 in slow/study\.toml and 0 in b/study\.toml"),
        ({"aggregate": "iqm"}, "slow takes the mean over seeds, b the iqm"),
    ],
)
def test_what_does_not_agree_is_said_in_a_sentence(slow_and_fast, changed, said):
    with pytest.raises(UserError, match=said):
        compare_laws([slow_and_fast[0], replace(slow_and_fast[1], name="b", **changed)])


def test_studies_of_other_units_accountings_tasks_or_returns_are_not_compared(slow_and_fast):
    one, laws = slow_and_fast[0], slow_and_fast[1].laws
    steps = replace(laws, unit="gradient-steps", compute=laws.other_units["gradient-steps"])
    paper = replace(laws, compute={task: replace(model, accounting="paper") for task, model in laws.compute.items()})
    others = contestant("b", tasks=(("three", 4000.0),), scales={"three": (0.0, 1.0)})
    cases = [
        (Contestant(name="b", laws=steps, scales=SCALE), "counts compute in FLOPs, b in gradient steps; --unit"),
        (Contestant(name="b", laws=paper, scales=SCALE), 'set accounting = "counted" in b/study.toml'),
        (others, "no task in common"),
        (contestant("b", thresholds=(450.0, 700.0)), "no law at the same return"),
    ]
    for other, said in cases:
        with pytest.raises(UserError, match=said):
            compare_laws([one, other])
    with pytest.raises(UserError, match="two studies or more"):
        compare_laws([one])
    with pytest.raises(UserError, match="all have laws at 400, 600, 800"):
        compare_laws(slow_and_fast, threshold=500.0)


def test_a_task_that_one_study_never_solves_is_left_out_and_said(slow_and_fast):
    laws = slow_and_fast[1].laws
    # the second task's scale is not known at the highest return, as where no run reaches it
    unsolved = replace(
        laws.data[-1],
        forms=tuple(
            replace(
                form,
                log_scale=np.where(np.arange(3) == 1, np.nan, form.log_scale),
                log_scale_draws=np.where(np.arange(3) == 1, np.nan, form.log_scale_draws),
            )
            for form in laws.data[-1].forms
        ),
    )
    found = compare_laws([slow_and_fast[0], replace(slow_and_fast[1], laws=replace(laws, data=(*laws.data[:-1], unsolved)))])
    assert found.tasks == ("one",)
    assert any("two, where no run of fast reaches J = 800" in note and "flatters" in note for note in found.notes)


def test_the_noise_of_two_studies_is_independent_though_their_fits_begin_from_one_seed():
    shape = (400, 2, 6)
    one, other = (generator_of_runs(0, np.array([1e5, scale])).standard_normal(shape) for scale in (2e5, 3e5))
    # of 4800 pairs of independent normal numbers the correlation has a standard deviation of 0.014
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.06
    assert (generator_of_runs(0, np.array([1e5, 2e5])).standard_normal(shape) == one).all()


@pytest.mark.slow
def test_of_two_copies_of_an_algorithm_the_interval_of_the_ratio_holds_one_as_often_as_it_should():
    from tdscale.simulate import SHAPES, SweepDesign, random_truth, simulate_cells

    held = {measure: [] for measure in MEASURES}
    for index in range(25):
        truth = random_truth(np.random.default_rng([23, index]), SHAPES[index % len(SHAPES)])
        design = SweepDesign(utd=(0.5, 1.0, 2.0, 4.0, 8.0), seeds=5)
        sides = []
        for copy in range(2):
            cells = simulate_cells(truth, design, "medium", seed=2 * index + copy)
            options = FitOptions(study="s", tasks=truth.tasks, thresholds=(500.0, 650.0, 800.0), n_draws=200, data_cost=2e9)
            sides.append(Contestant(name=str(copy), laws=fit_laws(cells, options)))
        for contrast in compare_laws(sides).compared:
            same = 0.0 if contrast.measure == "return" else 1.0
            for place in contrast.shown:
                ratio = contrast.points[place].ratio[1]
                held[contrast.measure].append(ratio.low <= same <= ratio.high)
    assert 0.70 <= np.mean([holds for values in held.values() for holds in values]) <= 0.93
