"""Compute: FLOPs counted and as in the paper, gradient steps, measured seconds; δ by the seconds of an env step."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from known_truth import synthetic_study
from tdscale.analysis.compute import ComputeModel, compute_models, fit_seconds, update_flops
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.analysis.laws_file import laws_to_dict, load_laws, write_laws
from tdscale.analysis.views import in_unit, measured_data_cost
from tdscale.errors import UserError
from tdscale.paper import METHODS, PAPER

OPTIONS = FitOptions(study="known", tasks=("one", "two"), thresholds=(500.0, 700.0, 800.0), data_cost="measured", n_draws=40)
# seconds: 1e-4 + 2e-6·B of a critic update, 5e-5 + 1e-6·B of an actor update, 4e-4 of an env step
FIXED, PER_TRANSITION, ACTOR_FIXED, ACTOR_PER_TRANSITION, STEP = 1e-4, 2e-6, 5e-5, 1e-6, 4e-4


def timed(cells):
    """Cells whose runs recorded their times."""
    result = []
    for cell in cells:
        utd, batch = cell.spec.utd, cell.spec.batch_size
        per_update = FIXED + PER_TRANSITION * batch + (ACTOR_FIXED + ACTOR_PER_TRANSITION * batch) / utd
        costs = dict(cell.costs) | {"update_seconds_per_critic_update": per_update, "step_seconds": STEP}
        result.append(replace(cell, costs=costs))
    return result


@pytest.fixture(scope="module")
def cells():
    return timed(synthetic_study(n_seeds=3))


@pytest.fixture(scope="module")
def laws(cells):
    return fit_laws(cells, replace(OPTIONS, compute_unit="seconds"))


def test_counted_with_networks_of_equal_size_is_ten_sigma_plus_twelve():
    counted = ComputeModel.counted(*update_flops(1.0, 1.0), actor_per_critic_update=False, warm_up=100)
    paper = ComputeModel.paper(1.0)
    utd = np.array([0.25, 1.0, 4.0])
    np.testing.assert_allclose(counted.compute_for(utd, 64, 1100), 64 * 1000 * (10 * utd + 12))
    np.testing.assert_allclose(paper.compute_for(utd, 64, 1100), 64 * 1100 * 10 * utd)
    assert counted.compute_for(1, 64, 50) == 0
    assert counted.describe() == "FLOPs, counted"


def test_counted_takes_the_flops_that_runs_recorded_before_those_of_their_networks_sizes():
    cells = synthetic_study(n_seeds=1)
    sizes = dict(cells[0].costs)
    recorded = {"critic_update_flops": 5e5, "actor_update_flops": 7e5}
    mixed = [replace(cell, costs=sizes | recorded if index % 2 else sizes) for index, cell in enumerate(cells)]
    unsized = [replace(cell, costs=recorded) for cell in cells]
    for given_cells, expected in ((cells, (8 * 9000 + 2 * 4500, 6 * 13500)), (mixed, (5e5, 7e5)), (unsized, (5e5, 7e5))):
        models, _ = compute_models(given_cells, [], OPTIONS.tasks, OPTIONS.counting)
        for task in OPTIONS.tasks:
            assert (models["flops"][task].per_critic_update, models["flops"][task].per_actor_update) == expected
    paper, _ = compute_models(mixed, [], OPTIONS.tasks, replace(OPTIONS, method=PAPER).counting)
    assert paper["flops"]["one"].per_critic_update == 10 * 9000


def test_gradient_steps_are_critic_updates_past_warm_up():
    assert ComputeModel.gradient_steps(warm_up=100).compute_for(4, 64, 1100) == 4000
    assert ComputeModel.gradient_steps(warm_up=100, paper=True).compute_for(4, 64, 1100) == 4400
    assert not ComputeModel.gradient_steps().needs_batch_size


def test_the_seconds_of_an_update_are_found_from_cells_of_several_batch_sizes(cells):
    model = fit_seconds([cell for cell in cells if cell.spec.task == "one"])
    found = (
        model.fixed_per_critic_update,
        model.per_critic_update,
        model.fixed_per_actor_update,
        model.per_actor_update,
    )
    np.testing.assert_allclose(found, (FIXED, PER_TRANSITION, ACTOR_FIXED, ACTOR_PER_TRANSITION), rtol=1e-6)
    assert model.scatter < 1e-6
    assert model.describe() == "seconds, measured"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(1e-5, 1.0), min_size=1, max_size=12), st.booleans())
def test_whatever_the_clock_said_no_part_of_a_second_is_negative(seconds, same_batch):
    cells = timed(synthetic_study(n_seeds=1))[: len(seconds)]
    cells = [
        replace(
            cell,
            spec=replace(cell.spec, batch_size=64 if same_batch else cell.spec.batch_size),
            costs={"update_seconds_per_critic_update": value},
        )
        for cell, value in zip(cells, seconds, strict=True)
    ]
    model = fit_seconds(cells)
    assert min(model.rate(np.array([0.25, 1, 8]), 64)) > 0
    assert min(model.fixed_per_critic_update, model.per_critic_update, model.fixed_per_actor_update, model.per_actor_update) >= 0


def test_the_measured_price_of_an_env_step_is_its_seconds_times_what_updates_do_in_a_second(cells):
    measured = [cell for cell in cells if cell.spec.stage == "scaling"]
    models, _ = compute_models(cells, measured, OPTIONS.tasks, OPTIONS.counting)
    for task in OPTIONS.tasks:
        own = [cell for cell in measured if cell.spec.task == task]
        seconds = sum(cell.spec.utd * cell.costs["update_seconds_per_critic_update"] for cell in own)
        updates = sum(cell.spec.utd for cell in own)
        assert models["seconds"][task].measured_data_cost == STEP
        assert models["gradient-steps"][task].measured_data_cost == pytest.approx(STEP * updates / seconds)
        flops = sum(float(models["flops"][task].compute_for(cell.spec.utd, cell.spec.batch_size, 1201)) for cell in own)
        assert models["flops"][task].measured_data_cost == pytest.approx(STEP * flops / (1001 * seconds))


def test_laws_in_seconds_keep_their_unit_in_the_file(laws, tmp_path):
    write_laws(laws, tmp_path / "laws.json")
    again = load_laws(tmp_path / "laws.json", METHODS)
    assert (again.unit, again.data_cost, again.data_cost_source) == ("seconds", STEP, "measured")
    content = laws_to_dict(again)
    assert content["budget"]["unit"] == "seconds"
    assert content["compute"]["one"]["accounting"] == "measured"
    at, data = np.array([1.0]), np.array([1200.0])
    np.testing.assert_allclose(again.compute_for(at, data, "one"), laws.compute_for(at, data, "one"))


def test_seconds_are_in_the_file_only_where_the_study_asks_for_them(cells, tmp_path):
    """Two runs of one study take different times; their laws are to be the same bytes."""
    slower = [replace(cell, costs={k: 2 * v if "seconds" in k else v for k, v in cell.costs.items()}) for cell in cells]
    plain = replace(OPTIONS, data_cost=1e9, compute_unit="flops")
    for name, measured, options in (("a", cells, plain), ("b", slower, plain), ("c", cells, OPTIONS)):
        write_laws(fit_laws(measured, options), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "seconds" not in load_laws(tmp_path / "a", METHODS).other_units
    assert "seconds" in load_laws(tmp_path / "c", METHODS).other_units


def test_another_unit_needs_no_new_fit(laws, cells):
    in_flops = in_unit(laws, "flops")
    fitted = fit_laws(cells, OPTIONS)
    assert in_flops.data_cost == fitted.data_cost == measured_data_cost(fitted)
    np.testing.assert_allclose([p.budget.value for p in in_flops.budget.points], [p.budget.value for p in fitted.budget.points])


def test_a_price_that_was_given_belongs_to_its_unit(cells):
    laws = fit_laws(cells, replace(OPTIONS, data_cost=1e9))
    assert in_unit(laws, "seconds").data_cost is None
    assert in_unit(laws, "flops") is laws


def test_without_times_there_are_no_seconds_and_no_measured_price():
    laws = fit_laws(synthetic_study(n_seeds=2), OPTIONS)
    assert laws.budget is None
    assert any("recorded no times" in warning.message for warning in laws.warnings)
    with pytest.raises(UserError, match=r"--unit seconds: .* recorded no times .* --unit flops or --unit gradient-steps"):
        in_unit(laws, "seconds")
    assert "no-times" in {w.code for w in fit_laws(synthetic_study(n_seeds=2), replace(OPTIONS, compute_unit="seconds")).warnings}


def test_gradient_steps_need_no_network_sizes():
    cells = [replace(cell, costs={}) for cell in synthetic_study(n_seeds=2)]
    laws = fit_laws(cells, replace(OPTIONS, data_cost=2.0, compute_unit="gradient-steps"))
    assert laws.compute_name == "gradient steps, counted"
    np.testing.assert_allclose(laws.compute_for(np.array([2.0]), np.array([500.0])), 1000)
    assert laws.budget is not None


def test_where_sigma_was_run_compute_is_that_of_the_batch_size_that_ran(laws):
    used = dict(laws.used_batch_size["one"])
    assert used[0.25] == 128
    assert laws.batch_size_at(0.25, "one") == pytest.approx(128)
    assert laws.batch_size_at(0.26, "one") == pytest.approx(laws.batch_size.predict([0.26], "one")[0])
    at, data = np.array([0.25]), np.array([5000.0])
    assert laws.compute_for(at, data, "one", as_run=True)[0] == pytest.approx(laws.compute["one"].compute_for(0.25, 128, 5000))
    assert laws.compute_for(at, data, "one")[0] == pytest.approx(
        laws.compute["one"].compute_for(0.25, laws.batch_size.predict(at, "one")[0], 5000)
    )
    assert laws.batch_size_at(8.0) == pytest.approx(np.sqrt(used[8.0] * dict(laws.used_batch_size["two"])[8.0]))
