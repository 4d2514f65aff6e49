"""The chain from cells to laws.json, on a study with a known truth."""

import json
from dataclasses import replace

import numpy as np
import pytest

from known_truth import curve_cell, law_data, synthetic_study
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.analysis.laws_file import laws_to_dict, load_laws, write_laws
from tdscale.errors import UserError
from tdscale.paper import METHODS

OPTIONS = FitOptions(study="known", tasks=("one", "two"), thresholds=(300.0, 500.0, 700.0, 800.0), data_cost=1e9, n_draws=100)


@pytest.fixture(scope="module")
def laws():
    return fit_laws(synthetic_study(), OPTIONS)


def test_the_known_exponents_lie_in_their_intervals(laws):
    for law, truth in ((laws.batch_size, -0.5), (laws.learning_rate, -0.25)):
        interval = law.exponent_estimate
        assert interval.low - 0.05 <= truth <= interval.high + 0.05
        assert law.exponent == pytest.approx(truth, abs=0.12)


def test_the_known_data_law_is_found(laws):
    top = laws.data_law(800.0)
    for utd in (0.25, 1.0, 8.0):
        for task, d_min in (("one", 4000), ("two", 9000)):
            assert top.estimate(utd, task).value == pytest.approx(law_data(utd, d_min, 1.5, 0.8), rel=0.15)
    assert top.alpha().low <= 0.8 <= top.alpha().high


def test_more_return_takes_more_data_and_budget(laws):
    predictions = [law.predict([1.0])[0] for law in laws.data]
    assert predictions == sorted(predictions)
    budgets = [point.budget.value for point in laws.budget.points]
    assert budgets == sorted(budgets)


def test_every_estimate_holds_its_value_within_its_interval(laws):
    def check(node):
        if isinstance(node, dict):
            if node.keys() == {"value", "low", "high", "level"} and node["value"] is not None:
                assert node["low"] is None or node["low"] <= node["value"]
                assert node["high"] is None or node["value"] <= node["high"]
            for value in node.values():
                check(value)
        elif isinstance(node, list):
            for value in node:
                check(value)

    check(laws_to_dict(laws))


def test_the_same_input_and_seed_give_the_same_file_byte_for_byte_in_whatever_order_runs_come(laws, tmp_path):
    write_laws(laws, tmp_path / "a.json")
    shuffled = synthetic_study()
    np.random.default_rng(0).shuffle(shuffled)
    write_laws(fit_laws(shuffled, OPTIONS), tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_law_file_read_back_predicts_the_same(laws, tmp_path):
    write_laws(laws, tmp_path / "laws.json")
    again = load_laws(tmp_path / "laws.json", METHODS)
    np.testing.assert_allclose(again.data[-1].predict_draws([0.5, 4]), laws.data[-1].predict_draws([0.5, 4]), rtol=1e-7)
    told, before = again.batch_size.tolerated(4.0, "one"), laws.batch_size.tolerated(4.0, "one")
    for end in ("low", "high"):
        assert getattr(told, end).to_dict() == pytest.approx(getattr(before, end).to_dict())
    content = json.loads((tmp_path / "laws.json").read_text())
    assert {
        "schema",
        "method",
        "study",
        "inputs",
        "versions",
        "batch_size",
        "learning_rate",
        "data",
        "budget",
        "warnings",
    } <= content.keys()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema": 99}', b'{"schema": 1, "draws": {}}', b'{"schema": 1, "draws": 3}'])
def test_a_damaged_law_file_is_one_sentence(damage, tmp_path):
    path = tmp_path / "laws.json"
    path.write_bytes(damage)
    with pytest.raises(UserError, match=r"tdscale fit"):
        load_laws(path, METHODS)


def test_the_return_scale_does_not_matter():
    cells = synthetic_study(n_seeds=3)
    doubled = [replace(cell, returns=2 * cell.returns) for cell in cells]
    one = fit_laws(cells, OPTIONS)
    two = fit_laws(doubled, replace(OPTIONS, thresholds=tuple(2 * j for j in OPTIONS.thresholds)))
    np.testing.assert_allclose(one.data[-1].predict([0.5, 4]), two.data[-1].predict([0.5, 4]), rtol=1e-6)


def test_without_fresh_seeds_the_sweeps_best_cells_serve_and_a_warning_says_so():
    sweep = [cell for cell in synthetic_study() if cell.spec.stage == "sweep"]
    laws = fit_laws(sweep, OPTIONS)
    assert "no-fresh-seeds" in {w.code for w in laws.warnings}
    assert laws.data


def start_warnings(cells, thresholds=(300.0, 500.0, 700.0)):
    laws = fit_laws(cells, replace(OPTIONS, thresholds=thresholds, n_draws=20))
    return [warning.message for warning in laws.warnings if warning.code == "reached-at-start"]


def test_thresholds_that_a_task_earns_without_learning_are_named_with_the_task():
    """Task "one" earns 350 of 1000 from the first step on."""
    cells = [replace(c, returns=350 + 0.65 * c.returns) if c.spec.task == "one" else c for c in synthetic_study(n_seeds=3)]
    (message,) = start_warnings(cells, (300.0, 345.0, 500.0, 700.0))
    assert message.startswith("one (J = 300, 345): ")
    assert "raise the thresholds" in message


def test_a_threshold_reached_within_warm_up_is_named():
    """Random actions earn 250 in the first 600 env steps and 450 in the next 400, all of them warm-up."""
    cells = [
        replace(c, returns=np.maximum(c.returns, np.where(c.env_steps <= 600, 250, 450)), costs={**c.costs, "warm_up": 1000.0})
        for c in synthetic_study(n_seeds=3)
    ]
    (message,) = start_warnings(cells)
    assert message.startswith("one (J = 300), two (J = 300): ")
    assert not start_warnings([replace(c, costs={**c.costs, "warm_up": 600.0}) for c in cells])


def test_thresholds_that_are_learned_or_that_few_cells_begin_at_are_not_named():
    cells = synthetic_study(n_seeds=3)
    assert not start_warnings(cells)
    lucky = [replace(c, returns=350 + 0.65 * c.returns) if c.spec.task == "one" and c.spec.utd >= 4 else c for c in cells]
    assert not start_warnings(lucky)


def test_a_sigma_that_never_reaches_enters_as_a_bound_and_is_told():
    cells = [cell for cell in synthetic_study() if not (cell.spec.stage == "scaling" and cell.spec.utd == 0.25)]
    low = [
        curve_cell(task=t, utd=0.25, data_at_top=law_data(0.25, d, 1.5, 0.8), last_step=int(0.8 * law_data(0.25, d, 1.5, 0.8)))
        for t, d in (("one", 4000), ("two", 9000))
    ]
    laws = fit_laws([*cells, *low], OPTIONS)
    top = laws.data_law(800.0)
    assert np.isposinf(top.data[:, 0]).all()
    assert top.predict([0.25], "one")[0] > 0.75 * law_data(0.25, 4000, 1.5, 0.8)
    assert "censored" in {w.code for w in laws.warnings}


@pytest.mark.parametrize("keep", [1, 2])
def test_too_few_sigma_give_a_reason_and_no_digits(keep):
    cells = [c for c in synthetic_study() if c.spec.stage == "scaling" and c.spec.utd in (1, 2)[:keep]]
    laws = fit_laws(cells, OPTIONS)
    assert laws.data == ()
    assert any("at least three" in w.message for w in laws.warnings if w.code == "not-identified")


def test_nothing_reaching_any_threshold_is_survived():
    cells = [curve_cell(task=t, utd=u, data_at_top=1e6, last_step=2000) for t in ("one", "two") for u in (0.5, 1, 2, 4)]
    laws = fit_laws(cells, OPTIONS)
    assert laws.data == ()


@pytest.mark.parametrize("stages", [{"sweep", "scaling"}, {"sweep"}, {"scaling"}])
def test_each_cells_crossings_are_computed_once(stages, monkeypatch):
    seen = []

    def counted(cells, *arguments, **options):
        seen.extend((cell.spec.stage, cell.spec.cell_id) for cell in cells)
        return find_crossings(cells, *arguments, **options)

    monkeypatch.setattr("tdscale.analysis.fit.find_crossings", counted)
    cells = [cell for cell in synthetic_study(n_seeds=2) if cell.spec.stage in stages]
    fit_laws(cells, OPTIONS)
    assert len(seen) == len(set(seen)) == len(cells)


def test_values_that_runs_kept_constant_have_an_exponent_of_exactly_0():
    cells = [curve_cell(task="one", utd=utd, data_at_top=8000.0, batch_size=96, learning_rate=7e-4) for utd in (0.5, 1.0, 2.0, 4.0)]
    laws = fit_laws(cells, FitOptions(study="", tasks=("one",), thresholds=(700.0,), n_draws=20))
    assert laws.batch_size.exponent == laws.learning_rate.exponent == 0


def test_values_that_no_sweep_chose_have_no_interval_and_say_so():
    used = {0.5: 256, 1.0: 192, 2.0: 112, 4.0: 96}
    cells = [curve_cell(task="one", utd=utd, data_at_top=8000.0, batch_size=batch, learning_rate=7e-4) for utd, batch in used.items()]
    law = fit_laws(cells, FitOptions(study="", tasks=("one",), thresholds=(700.0,), n_draws=20)).batch_size
    slope, level = np.polyfit(np.log(list(used)), np.log(list(used.values())), 1)
    assert (law.exponent, law.predict([1.0])[0]) == (pytest.approx(slope, abs=1e-8), pytest.approx(np.exp(level)))
    assert not law.optimised
    assert not law.identified
    for estimate in (law.exponent_estimate, law.coefficient_estimate("one"), law.estimate(3.0, "one")):
        assert np.isnan([estimate.low, estimate.high]).all()
        assert law.shown(estimate).endswith("(not optimised)")


@pytest.mark.parametrize("name", ["default-offsets", "paper-offsets"])
def test_offsets_that_are_asked_for_without_a_sweep_are_said_to_change_nothing(name):
    cells = [cell for cell in synthetic_study(n_seeds=2) if cell.spec.stage == "scaling"]
    options = replace(OPTIONS, method=METHODS[name])
    assert [w.code for w in fit_laws(cells, options).warnings if "--offsets changes nothing" in w.message] == ["no-sweep"]
    assert "--offsets" not in str(fit_laws(cells, OPTIONS).warnings)


@pytest.mark.parametrize("name", ["default-offsets", "paper-offsets"])
def test_laws_with_offsets_are_kept_and_read_back_and_pure_ones_know_nothing_of_them(name, laws, tmp_path):
    found = fit_laws(synthetic_study(n_seeds=2), replace(OPTIONS, method=METHODS[name]))
    law = found.batch_size
    utd = np.array([0.1, 1.0, 30.0])
    # D.2: B_min + β·σ^(−α)
    told = law.offset_estimate("one").value + law.coefficient_estimate("one").value * utd**law.exponent
    np.testing.assert_allclose(law.predict(utd, "one"), told)
    # far out the offset alone is left, in every draw
    far = law.estimate(1e12 if law.exponent < 0 else 1e-12, "one")
    assert far.to_dict() == pytest.approx(law.offset_estimate("one").to_dict(), rel=1e-3)
    assert law.formula("one").count(" + ") == 1
    write_laws(found, tmp_path / "laws.json")
    again = load_laws(tmp_path / "laws.json", METHODS)
    assert again.method is METHODS[name]
    np.testing.assert_allclose(again.batch_size.predict_draws(utd, "two"), law.predict_draws(utd, "two"), rtol=1e-7)
    content = json.loads((tmp_path / "laws.json").read_text())
    assert content["method"] == name
    assert content["batch_size"]["offsets"]["one"] == law.offset_estimate("one").to_dict()
    write_laws(laws, tmp_path / "pure.json")
    assert "offset" not in json.loads((tmp_path / "pure.json").read_text())["draws"]["batch_size"]
