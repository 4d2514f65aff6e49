"""Held-out predictions on a study that follows the law, and on the published curves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command import called
from known_truth import synthetic_study
from tdscale.analysis.fit import FitOptions, fit_measured, measure
from tdscale.validation import PREDICTORS, validate
from tdscale.validation.held_out import ends
from tdscale.validation.predictors import measured_estimate, simple_predictions
from tdscale.validation.tasks import leave_task_out

TASKS = (("one", 4000.0), ("two", 9000.0), ("three", 6000.0))
OPTIONS = FitOptions(
    study="known",
    tasks=tuple(name for name, _ in TASKS),
    thresholds=(300.0, 500.0, 600.0, 700.0, 800.0),
    data_cost=3e7,
    accounting="paper",
    model_size=9000.0,
    n_draws=50,
)


@pytest.fixture(scope="module")
def study():
    cells = synthetic_study(tasks=TASKS, utds=(0.25, 0.5, 1, 2, 4, 8, 16), noise=0.05)
    measured = measure(cells, OPTIONS)
    return fit_measured(measured), measured.points, measured.measuring


@pytest.fixture(scope="module")
def checked(study):
    laws, points, measured = study
    constant = [replace(cell, spec=replace(cell.spec, batch_size=2 * cell.spec.batch_size, stage="baseline")) for cell in measured]
    return validate(points, OPTIONS, laws, replace(points, data=2 * points.data), baseline_cells=constant)


def test_where_the_law_holds_it_predicts_held_out_sigma_better_than_constants(checked):
    assert [(item.side, item.utd) for item in checked.held_out] == [
        ("smallest", (0.25, 0.5)),
        ("largest", (8.0, 16.0)),
        ("smallest", (0.25,)),
        ("largest", (16.0,)),
        ("both", (0.25, 0.5, 16.0)),
    ]
    assert [item.factor for item in checked.held_out] == pytest.approx([4, 4, 2, 2, 4])
    for item in checked.held_out:
        assert item.errors["law"] < item.errors["constant"]
        assert item.percent["law"] == pytest.approx(100 * np.expm1(item.errors["law"]))
    assert checked.errors["law"] < min(checked.errors[name] for name in PREDICTORS if name != "law")
    assert checked.best_sentence().startswith("beyond the σ that were fitted, the law predicts best: it misses D by ")


def test_each_sigma_inside_is_left_out_in_turn_and_predicted_well(checked):
    assert [item.utd for item in checked.leave_one_out] == [(0.5,), (1.0,), (2.0,), (4.0,), (8.0,)]
    for item in checked.leave_one_out:
        assert item.factor == 1
        assert item.errors["law"] < 0.1
        assert item.compared == 4 * 3


@pytest.mark.parametrize("censored", [False, True])
def test_a_new_task_takes_the_other_tasks_common_slope(study, censored):
    _, points, _ = study
    data, bound = points.data.copy(), points.bound.copy()
    # power laws at the first threshold: the mean slope of the other two tasks is the new one's
    for task, slope in enumerate((0.5, 0.5, 0.5) if censored else (0.5, 0.2, 0.8)):
        data[:, task, :, 0] = 1e4 * points.utd**-slope
    data[..., 1:] = np.inf
    if censored:
        bound[1, 0] = 0.9 * data[0, 1, 0, 0]
        data[:, 1, 0, 0] = np.inf
    item = leave_task_out(replace(points, data=data, bound=bound), OPTIONS, 0, {})
    assert not isinstance(item, str)
    assert item.errors["power law"] < (0.05 if censored else 1e-9)


def test_a_task_needs_one_sigma_only_where_tasks_share_their_shape(checked):
    assert [item.task for item in checked.tasks] == ["one", "two", "three"]
    for item in checked.tasks:
        assert item.given == 16
        assert item.errors["law"] < 0.15 < item.errors["nearest σ"]
        assert item.best == "law"
        assert item.width > item.full_width > 1


def test_intervals_hold_measured_data_about_as_often_as_they_say(checked):
    coverage = checked.coverage
    assert set(coverage) == {"extrapolated", "interpolated", "new task"}
    assert coverage["extrapolated"].compared == 3 * 5 * (2 + 2 + 1 + 1 + 3)
    assert coverage["interpolated"].share > 0.6


def test_the_interval_of_a_measured_d_is_wider_than_the_laws(study):
    laws, points, _ = study
    law, place = laws.data[-1], (1, 2, len(points.thresholds) - 1)
    own = law.estimate(1.0, "two")
    measured = measured_estimate(law, points, *place)
    assert measured.value == pytest.approx(own.value)
    assert measured.high / measured.low > own.high / own.low


def test_held_out_sigma_are_not_seen_by_the_fit(study):
    laws, points, _ = study
    spoiled = replace(points, data=np.where(points.utd[None, None, :, None] < 1, points.data * 50, points.data))
    clean, dirty = (validate(p, OPTIONS, laws).held_out[0] for p in (points, spoiled))
    assert clean.side == dirty.side == "smallest"
    assert dirty.bias == pytest.approx(clean.bias - np.log(50), abs=1e-6)


def test_what_can_not_be_checked_is_said(study):
    laws, points, _ = study
    few = points.subset(np.arange(len(points.utd)) < 3)
    result = validate(few, OPTIONS, replace(laws, budget=None))
    assert result.held_out == ()
    assert result.leave_one_out == ()
    assert result.best_sentence() is None
    assert len(result.skipped) == 3
    alone = replace(points, tasks=points.tasks[:1], data=points.data[:, :1], bound=points.bound[:1], n_seeds=points.n_seeds[:1])
    assert any("only one task" in text for text in validate(alone, replace(OPTIONS, tasks=("one",)), laws).skipped)


def test_a_constant_baseline_that_needs_twice_the_data_is_seen_so(checked):
    np.testing.assert_allclose([ratio for _, ratio in checked.baseline], 2)
    for item in checked.hyperparameters:
        assert item.data.low == pytest.approx(2)
        # at twice the batch size every step costs twice as much
        assert item.compute.value == pytest.approx(4)
        assert item.compared == 15


def test_budgets_left_out_are_predicted_and_their_regret_is_small(checked):
    assert [len(item.thresholds) for item in checked.budgets] == [2, 1]
    assert checked.budget == checked.budgets[0]
    for item in checked.budgets:
        assert item.factor > 1
        assert 0 <= item.regret < 0.05
        assert item.error == pytest.approx(np.mean(np.abs(np.log(np.divide(item.predicted, item.seen)))))


def test_ends_leave_three_sigma_to_fit():
    assert ends([1, 2, 4]) == []
    assert [int(out.sum()) for _, out in ends([1, 2, 4, 8])] == [1, 1]
    assert [(side, int(out.sum())) for side, out in ends([0.5, 1, 2, 4, 8, 16])][-1] == ("both", 2)
    assert all(side != "both" for side, _ in ends([1, 2, 4, 8, 16]))


@settings(deadline=None)
@given(st.floats(-2, 1), st.floats(0.1, 64), st.integers(0, 10_000))
def test_simple_predictors_are_what_their_names_say(slope, at, seed):
    rng = np.random.default_rng(seed)
    utd = np.array([0.5, 1.0, 2.0, 8.0])
    scale = np.exp(rng.normal(10, 1, (3, 1)))
    data = scale * utd**slope
    data[0, 1] = np.inf
    data[2, 3] = np.nan
    bound = np.full(data.shape, 1e-9)  # says nothing
    found = simple_predictions(data, bound, utd, at)
    np.testing.assert_allclose(found["power law"], np.log(scale[:, 0] * at**slope), atol=1e-8)
    for row, nearest, constant in zip(data, found["nearest σ"], found["constant"], strict=True):
        known = np.isfinite(row)
        assert np.log(row[known]).min() - 1e-9 <= nearest <= np.log(row[known]).max() + 1e-9
        assert constant == pytest.approx(np.log(row[known]).mean())
    doubled = simple_predictions(2 * data, 2 * bound, utd, at)
    for name, values in found.items():
        np.testing.assert_allclose(doubled[name], values + np.log(2), atol=1e-9)


def test_the_nearest_of_two_as_near_is_their_geometric_mean():
    found = simple_predictions(np.array([[100.0, 400.0]]), np.ones((1, 2)), np.array([1.0, 4.0]), 2.0)
    assert np.exp(found["nearest σ"][0]) == pytest.approx(200)


def test_a_censored_cell_lifts_what_the_simple_predictors_say_to_its_bound():
    utd, data = np.array([0.5, 1.0, 2.0, 4.0]), np.array([[np.inf, 110.0, 90.0, 100.0]])
    found, dropped = (simple_predictions(d, np.full((1, 4), 1000.0), utd, 0.25) for d in (data, np.where(np.isinf(data), np.nan, data)))
    assert np.exp(found["nearest σ"][0]) == pytest.approx(1000)
    assert np.exp(dropped["nearest σ"][0]) == pytest.approx(110)
    assert np.exp(found["constant"][0]) > np.exp(np.log([1000.0, 110.0, 90.0, 100.0]).mean())
    assert np.exp(found["power law"][0]) > 1000 > np.exp(dropped["power law"][0])
    far = simple_predictions(data, np.full((1, 4), 1000.0), utd, 8.0)
    assert np.exp(far["nearest σ"][0]) == pytest.approx(100)


@pytest.mark.slow
def test_both_published_gym_files_in_one_folder_are_checked_from_end_to_end(published_data, tmp_path):
    for name in ("gym_ours", "gym_baseline_utd2"):
        answer = called("import", published_data / f"{name}.zip", "--from", "qscaled", "--dir", "gym", cwd=tmp_path)
        assert answer.returncode == 0, answer
    answer = called("validate", "gym", cwd=tmp_path)
    assert answer.returncode == 0, answer
    lines = answer.stdout.splitlines()
    rows = {line.split("  ")[0]: line for line in lines}
    assert {"0.25, 0.5", "8, 16", "0.25, 0.5, 16", "Humanoid-v4", "770, 800"} <= set(rows)
    tables = [line for line in lines if line.rstrip()[-1:].isdigit() or line.endswith("in 80 %")]
    assert len(tables) > 20
    assert max(map(len, tables)) <= 100
    assert "…" not in answer.stdout
    assert sum("[" in line for line in lines) == 7  # constant against fitted B and η at every σ
    assert "not checked" not in answer.stdout
