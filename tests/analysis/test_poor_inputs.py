"""Runs that say little: tasks that never reach J, D that does not fall, C of nothing. No crash, no warning, no digits without ground."""

from dataclasses import replace

import numpy as np
import pytest

from known_truth import curve_cell, law_data, synthetic_study
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.data_law import DataPoints, fit_data_laws
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.analysis.forms import OFFSET
from tdscale.analysis.misfit import measure_misfit, noisy_draws
from tdscale.errors import UserError
from tdscale.paper import METHODS
from tdscale.paper.procedure import fit_plain
from tdscale.planning import plan_budget, plan_compute, plan_data

UTD = np.array([0.25, 0.5, 1, 2, 4, 8])
OPTIONS = FitOptions(study="poor", tasks=("one", "two"), thresholds=(300.0, 500.0, 800.0), data_cost=1e7, model_size=9e3, n_draws=20)
SCALING = [cell for cell in synthetic_study(n_seeds=3) if cell.spec.stage == "scaling"]


def with_returns(change, cells=SCALING):
    return [replace(cell, returns=change(cell)) for cell in cells]


def two_capped_at(top):
    return with_returns(lambda cell: np.minimum(cell.returns, top) if cell.spec.task == "two" else cell.returns)


CASES = {
    "a task never reaches anything": two_capped_at(10.0),
    "a task never reaches the top": two_capped_at(600.0),
    "nothing is reached": with_returns(lambda cell: np.zeros_like(cell.returns)),
    "all is reached at once": with_returns(lambda cell: np.full_like(cell.returns, 990.0)),
    "reached at env step 0": [
        replace(cell, env_steps=cell.env_steps - cell.env_steps[0]) for cell in with_returns(lambda c: np.full_like(c.returns, 990.0))
    ],
    "D rises with σ": [curve_cell(task=t, utd=u, data_at_top=5000 * u**0.5, n_seeds=2) for t in ("one", "two") for u in UTD],
    "D falls steeply": [curve_cell(task=t, utd=u, data_at_top=5000 * u**-1.5, n_seeds=2) for t in ("one", "two") for u in UTD],
    "warm-up is longer than any D": [replace(cell, costs={**cell.costs, "warm_up": 1e6}) for cell in SCALING],
    "a task has no cell": [cell for cell in SCALING if cell.spec.task == "one"],
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", CASES)
def test_poor_runs_are_fitted_and_planned_on_or_refused_in_a_sentence(case, method):
    laws = fit_laws(CASES[case], replace(OPTIONS, method=METHODS[method]))
    assert laws.data or laws.warnings
    for task in (None, "one", "two"):
        for plan, limit in ((plan_compute, 3e10), (plan_data, 1e4), (plan_budget, 5e11), (plan_budget, 1e20)):
            try:
                answer = plan(laws, limit, task=task)
            except UserError:
                continue
            assert "nan" not in answer.sentence()
            assert answer.feasible or answer.reason


def test_a_task_that_never_reaches_j_has_no_law_there_and_the_domain_is_of_the_others():
    laws = fit_laws(CASES["a task never reaches the top"], OPTIONS)
    top = laws.data_law(800.0)
    assert np.isnan(top.predict([1.0], "two")).all()
    np.testing.assert_allclose(top.predict([1.0]), top.predict([1.0], "one"), rtol=0.02)
    assert {w.where for w in laws.warnings if w.code == "task-never-reaches"} == {"J = 800"}
    assert "no run of two reaches J = 800" in plan_data(laws, 1e9, task="two").reason
    assert plan_budget(laws, 1e20, task="two").threshold in (None, 500.0)


def test_a_draw_in_which_a_slow_task_never_reaches_j_does_not_make_the_domain_faster():
    rng = np.random.default_rng(0)
    exact = np.array([[law_data(u, d_min, 1.5, 0.8) for u in UTD] for d_min in (1e4, 1e6)])
    data = np.repeat(exact[None, ..., None], 101, axis=0) * np.exp(0.05 * rng.standard_normal((101, 2, len(UTD), 1)))
    data[1:41, 1] = np.inf  # in 40 of 100 draws
    points = DataPoints(
        tasks=("one", "two"), thresholds=np.array([800.0]), utd=UTD, data=data, bound=2 * exact, n_seeds=np.full(exact.shape, 5.0)
    )
    (law,), _ = fit_data_laws(points, OPTIONS.seed)
    middle = law.estimate(1.0)
    assert middle.low > 0.5 * middle.value
    assert np.isposinf(middle.high)


def test_a_single_seed_among_cells_of_many_is_as_uncertain_as_they_are():
    rng = np.random.default_rng(1)
    data = np.exp(10 + 0.2 * rng.standard_normal((2001, 1, 6, 1)))
    data[1:, 0, 2] = data[0, 0, 2]
    n_seeds = np.array([[5.0, 5, 1, 5, 5, 5]])
    misfit = measure_misfit(OFFSET, UTD, data, np.ones((1, 6)), n_seeds)
    own, _ = noisy_draws(data[1:, ..., 0], misfit, 0, rng)
    spread = np.log(own).std(axis=0)[0]
    assert spread[2] == pytest.approx(spread[[0, 1, 3, 4, 5]].mean(), rel=0.15)


def test_the_papers_fit_stays_physical():
    steep = 2.0 * UTD**-0.7 - 0.1
    _, b, c = fit_plain(UTD, np.stack([steep, UTD**0.3]))
    assert c[0] == 0
    assert b[0] > 0
    assert b[1] == 0
    assert c[1] == pytest.approx((UTD**0.3).mean())


def test_a_threshold_reached_at_env_step_zero_lies_within_the_first_steps():
    cell = curve_cell(task="one", utd=1, data_at_top=5000)
    cell = replace(cell, env_steps=cell.env_steps - cell.env_steps[0], returns=np.full_like(cell.returns, 900.0))
    draws = find_crossings([cell], [800.0], n_draws=50, seed=0).draws
    assert ((draws > 0) & (draws <= cell.env_steps[1])).all()


def test_without_a_draw_there_is_no_fit():
    with pytest.raises(ValueError, match="at least 1"):
        replace(OPTIONS, n_draws=0)


def test_the_order_of_tasks_moves_no_estimate():
    one, other = (fit_laws(SCALING, replace(OPTIONS, tasks=tasks)) for tasks in (("one", "two"), ("two", "one")))
    for law, same in zip(one.data, other.data, strict=True):
        for task in (None, "one", "two"):
            np.testing.assert_allclose(law.predict(UTD, task), same.predict(UTD, task), rtol=1e-6)
