"""σ and N left out of laws with model size: on a study that follows the sum law, and on what must be said where little was run."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from command import called
from sized_truth import SIZES, sized_cells
from tdscale.analysis.fit import FitOptions, fit_measured, measure
from tdscale.analysis.method import DEFAULT
from tdscale.cli.results import print_validation
from tdscale.validation import SIZE_PREDICTORS, validate
from tdscale.validation.sizes import leave_sizes_out, nearest_point, size_plans

OPTIONS = FitOptions(study="sized", tasks=("one", "two"), thresholds=(300.0, 500.0, 650.0, 800.0), data_cost=3e9, n_draws=40)


def measured_study(**truth):
    measured = measure(sized_cells(**truth), OPTIONS)
    return fit_measured(measured), measured


@pytest.fixture(scope="module")
def study():
    return measured_study()


@pytest.fixture(scope="module")
def checked(study):
    laws, measured = study
    constant = [
        replace(cell, spec=replace(cell.spec, batch_size=2 * cell.spec.batch_size, stage="baseline")) for cell in measured.measuring
    ]
    baseline = replace(measured.points, data=2 * measured.points.data)
    return validate(measured.points, OPTIONS, laws, baseline, baseline_cells=constant)


def test_ends_corners_and_what_lies_inside_are_left_out(checked):
    assert [item.name for item in checked.sizes] == [
        "smallest σ",
        "largest σ",
        "smallest N",
        "largest N",
        "smallest σ, smallest N",
        "smallest σ, largest N",
        "largest σ, smallest N",
        "largest σ, largest N",
        "N = 2.00e6",
        "N = 8.00e6",
        "σ = 1",
        "σ = 2",
    ]
    assert [item.factor for item in checked.sizes] == pytest.approx([2, 2, 4, 4, 1, 1, 1, 1, 1, 1, 1, 1])
    # two tasks, four thresholds, four σ or four N; a corner is one point
    assert [item.compared for item in checked.sizes] == [32] * 4 + [8] * 4 + [32] * 4
    assert checked.sizes[3].model_size == pytest.approx((3.2e7,))
    assert checked.sizes[3].utd == (0.5, 1.0, 2.0, 4.0)


def test_where_the_sum_law_holds_the_law_is_nearly_as_good_as_it_and_better_than_the_nearest_point(checked):
    errors = checked.errors
    assert set(errors) == set(SIZE_PREDICTORS)
    assert errors["law"] < errors["sum"] + 0.05
    assert errors["law"] < errors["nearest"]
    assert errors["law"] < errors["power law"]
    inside = [item.errors["law"] for item in checked.sizes if item.place == "inside"]
    assert max(inside) < 0.15
    coverage = checked.coverage
    assert coverage["extrapolated"].compared == 4 * 32 + 4 * 8
    assert coverage["interpolated"].compared == 4 * 32
    assert min(coverage["extrapolated"].share, coverage["interpolated"].share) > 0.6


def test_what_was_left_out_is_not_seen_by_the_fit(study):
    _, measured = study
    points = measured.points
    plan = next(plan for plan in size_plans(points) if plan[1] == "largest N")
    spoiled = replace(points, data=np.where(plan[2][None, None, :, None], points.data * 50, points.data))
    clean, dirty = (leave_sizes_out(p, DEFAULT, 0, plan) for p in (points, spoiled))
    assert dirty.bias == pytest.approx(clean.bias - np.log(50), abs=1e-6)
    for name in SIZE_PREDICTORS:
        assert dirty.errors[name] == pytest.approx(np.log(50), rel=0.3)


def test_the_budgets_and_the_baseline_are_those_of_the_size_at_which_the_laws_stand(study, checked):
    laws, _ = study
    assert checked.model_size == laws.model_size == pytest.approx(2e6)
    assert [ratio for _, ratio in checked.baseline] == pytest.approx([2] * 4)
    for item in checked.hyperparameters:
        # at twice the batch size every step costs twice as much; warm-up is free
        assert item.compute.value == pytest.approx(4, rel=0.1)
        assert item.compared == 2 * 4
    assert checked.held_out == checked.leave_one_out == checked.tasks == ()
    assert sum("σ alone" in text or "tasks left out" in text for text in checked.skipped) == 2


def test_the_results_are_json_and_sentences(checked):
    content = json.loads(json.dumps(checked.to_dict()))
    assert content["sizes"][0]["name"] == "smallest σ"
    assert content["sizes"][0]["best"] in SIZE_PREDICTORS
    assert content["sizes"][0]["percent"]["law"] == pytest.approx(100 * np.expm1(content["sizes"][0]["errors"]["law"]))
    assert content["best_sentence"].startswith("beyond the σ and N that were fitted, ")
    console = Console(record=True, width=100, file=io.StringIO())
    print_validation(console, checked)
    text = console.export_text()
    assert "smallest σ, largest N" in text
    assert "…" not in text
    assert "what follows is checked at N = 2.00e6" in text


def test_of_two_sizes_no_size_and_of_two_ratios_no_ratio_can_be_left_out():
    laws, measured = measured_study(sizes={name: SIZES[name] for name in ("small", "large")}, utds=(1.0, 4.0))
    found = validate(measured.points, OPTIONS, laws)
    assert [item.place for item in found.sizes] == ["corner"] * 4
    assert found.skipped[:2] == (
        "σ left out: 2 σ were run; leaving one out needs at least 3, so that 2 remain",
        "N left out: 2 sizes were run; leaving one out needs at least 3, so that 2 remain",
    )


def test_a_size_at_which_nothing_is_reached_is_told(study):
    _, measured = study
    points = measured.points
    silent = points.model_size == points.model_size.max()
    hidden = replace(points, data=np.where(silent[None, None, :, None], np.inf, points.data))
    plan = next(plan for plan in size_plans(points) if plan[1] == "largest N")
    assert leave_sizes_out(hidden, DEFAULT, 0, plan) == ("largest N left out: no cell there reaches a fitted threshold")
    alone = replace(points, data=np.where(silent[None, None, :, None], points.data, np.inf))
    assert "largest N left out: no data law at J = 300" in leave_sizes_out(alone, DEFAULT, 0, plan)


def test_the_nearest_point_is_that_of_the_least_steps_along_both_axes():
    at = np.array([[1.0, 4.0, 1.0, 4.0], [1e6, 1e6, 1e8, 1e8]])
    data = np.array([[100.0, 200.0, 300.0, 400.0], [np.inf, 200.0, 300.0, np.nan]])
    wanted = np.array([[1.0, 2.0, 4.0], [2e6, 1e6, 1e7]])
    # by hand: one of both ends, two as near (their geometric mean); a censored one is none
    expected = np.array([[100, np.sqrt(100 * 200), np.sqrt(200 * 400)], [200, 200, 200]])
    np.testing.assert_allclose(np.exp(nearest_point(data, at, wanted)), expected)


def test_a_study_without_sizes_has_no_keys_for_them():
    cells = [replace(cell, size="", model_size=None) for cell in sized_cells(sizes={"medium": 2e6})]
    measured = measure(cells, OPTIONS)
    found = validate(measured.points, OPTIONS, fit_measured(measured)).to_dict()
    assert not {"sizes", "model_size"} & set(found)
    assert len(found["held_out"]) == 2


@pytest.mark.slow
def test_a_published_file_with_sizes_is_checked_from_end_to_end(published_data, tmp_path):
    answer = called("import", published_data / "simbav2.zip", "--dir", "simbav2", cwd=tmp_path)
    assert answer.returncode == 0, answer
    answer = called("validate", "simbav2", cwd=tmp_path)
    assert answer.returncode == 0, answer
    lines = answer.stdout.splitlines()
    rows = [line for line in lines if line.startswith(("smallest", "largest", "N = ", "σ = "))]
    assert len(rows) == 8 + 3 + 2
    assert max(map(len, rows)) <= 100
    assert "…" not in answer.stdout
    assert "beyond the σ and N that were fitted, the law predicts best" in answer.stdout
