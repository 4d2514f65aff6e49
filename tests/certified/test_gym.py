"""gym_ours and gym_baseline_utd2, from the zips through import and `--method paper`, against what the authors committed."""

import numpy as np
import pytest

from command import called, refused
from tdscale.analysis.budget import fit_budget_law, without_largest
from tdscale.paper import PAPER

FILES = ["gym_ours", "gym_baseline_utd2"]


@pytest.mark.parametrize("name", FILES)
def test_every_crossing_is_that_of_the_authors_code(name, fitted, golden, certify):
    points, reference = fitted(name).measured.points, golden["rerun_fitted"][name]
    data = np.where(np.isfinite(points.data[0]), points.data[0], np.nan)
    expected = np.array([reference["D_env_utd_thr"][task] for task in points.tasks], dtype=np.float64)
    certify(f"{name}: crossings D_J", data, expected, at_least=15)
    np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize("name", FILES)
def test_the_data_law_of_every_threshold_is_the_committed_one(name, fitted, golden, certify):
    laws = fitted(name).laws.data
    a, b, c = np.array(golden["committed"]["data_law_abc"][name]).T
    scale = golden["rerun_fitted"][name]["median_of_medians"]
    certify(f"{name}: α of 10 data laws", [law.alpha().value for law in laws], a, at_least=4)
    certify(f"{name}: D_min of 10 data laws", [law.d_min().value for law in laws], c * scale, at_least=4)
    certify(f"{name}: β of 10 data laws", [law.beta().value for law in laws], b * c ** (-1 / a), at_least=4)


def test_the_printed_data_law_is_found_but_for_its_beta(fitted, golden):
    """They print D_J = 2.17e+05 * (1 + (s/2.29)^-0.70): 2.29 is b; where β belongs it must be 2.19."""
    law = fitted("gym_ours").laws.data[-1]
    text = f"D_J = {law.d_min().value:.2e} * (1 + (s/{2.29})^-{law.alpha().value:.2f})"
    assert text == golden["committed"]["printed"]["gym_ours"]
    assert law.beta().value == pytest.approx(2.19, abs=5e-3)


def test_the_cheapest_way_to_each_threshold(fitted, golden, certify):
    points, reference = fitted("gym_ours").laws.budget.points, golden["rerun_budget_gym"]
    certify("gym_ours: σ* of 10 thresholds", [p.utd.value for p in points], reference["utd"], at_least=12)
    certify("gym_ours: F there", [p.budget.value for p in points], reference["F"], at_least=6)
    certify("gym_ours: C there", [p.compute for p in points], reference["C"], at_least=6)
    certify("gym_ours: D there", [p.data for p in points], reference["D"], at_least=6)


@pytest.mark.parametrize("held_out", [0, 1, 2, 3, 4])
def test_the_budget_law_without_the_largest_budgets(held_out, fitted, golden, certify):
    law = fitted("gym_ours").laws.budget
    reference = golden["rerun_budget_gym"]["laws"][f"code delta=4e9 hold{held_out}"]
    kept = without_largest(law, held_out, PAPER.budget)
    certify(f"gym_ours: exponent of σ*(F), {held_out} budgets held out", [kept.exponent], [reference["exp"]], at_least=6)
    certify(f"gym_ours: its coefficient, {held_out} held out", [kept.coefficient], [reference["coef"]], at_least=5)
    left_out = law.points[len(kept.points) :]
    predicted = [kept.predict(point.budget.value) for point in left_out]
    certify(f"gym_ours: σ* foretold for the {held_out} held out", predicted, reference["heldout_pred"], at_least=6)


def test_the_printed_budget_law(fitted, golden):
    law = without_largest(fitted("gym_ours").laws.budget, 2, PAPER.budget)
    assert f"{law.coefficient:.2e} * F^{law.exponent:.2f}" == golden["committed"]["printed"]["gym_sigma_star"]


def test_the_command_shows_the_law_without_the_largest_budgets(published_data, tmp_path):
    assert called("import", published_data / "gym_ours.zip", "--from", "qscaled", "--dir", "gym", cwd=tmp_path).returncode == 0
    answer = called("fit", "gym", "--method", "paper", "--draws", 20, cwd=tmp_path)
    assert answer.returncode == 0
    for said in (
        "exponent 0.522 [",
        "without the largest budget: σ*(F) = 1.39e−8·F^0.571",
        "without the two largest budgets: σ*(F) = 2.62e−9·F^0.62,",
        "are the published laws that the study names",
    ):
        assert said in answer.stdout
    path = tmp_path / "gym" / "study.toml"
    text = path.read_text(encoding="utf-8")
    for name, said in (("dmc", "study.toml, published_laws: the published laws 'dmc' know no 'Ant-v4'"), ("atari", "there are gym,")):
        path.write_text(text.replace("gym-committed", name), encoding="utf-8")
        assert said in refused("fit", "gym", cwd=tmp_path)


def test_with_the_price_of_the_paper_the_exponent_is_that_of_the_paper(fitted, golden, certify):
    """δ = 5e9, as printed, instead of the 4e9 of the authors' code."""
    laws = fitted("gym_ours").laws
    law = fit_budget_law(laws.data, laws.compute_for, 5e9, PAPER.budget)
    for held_out in (0, 1, 2):
        reference = golden["rerun_budget_gym"]["laws"][f"paper delta=5e9 hold{held_out}"]
        kept = without_largest(law, held_out, PAPER.budget)
        certify(f"gym_ours, δ = 5e9: exponent, {held_out} held out", [kept.exponent], [reference["exp"]], at_least=6)
