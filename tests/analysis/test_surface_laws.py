"""B*(σ) and η*(σ) from a sweep's curves by the default method, and what is said where there is no answer."""

from dataclasses import replace

import numpy as np
import pytest

from known_truth import curve_cell
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.fit import FitOptions
from tdscale.analysis.hyperparameters import fit_surface_laws
from tdscale.runs.types import Cell
from tdscale.simulate import Bowl, SweepDesign, random_truth, simulate_cells

OPTIONS = FitOptions(study="known", tasks=("one", "two"), thresholds=(300.0, 800.0), n_draws=60)
BATCH_SIZES = (16, 32, 64, 128, 256)
RATES = (5e-4, 1e-3, 2e-3)


def sweep_cells(
    *, batch_sizes=BATCH_SIZES, rates=RATES, utds=(1, 2, 4), tasks=("one", "two"), batch=90.0, last_step=None, steeper=1.0
) -> list[Cell]:
    """A grid whose best values are B* = batch·σ^−0.5, η* = 1e-3·σ^−0.25; too small a B may cost more than too large a one."""
    return [
        curve_cell(
            task=task,
            utd=utd,
            data_at_top=8000
            * utd**-0.4
            * np.exp(
                0.15 * (steeper if b < batch * utd**-0.5 else 1.0) * np.log(b / (batch * utd**-0.5)) ** 2
                + 0.2 * np.log(rate / (1e-3 * utd**-0.25)) ** 2
            ),
            batch_size=b,
            learning_rate=rate,
            stage="sweep",
            noise=0.05,
            grid_step=50,
            last_step=last_step,
        )
        for task in tasks
        for utd in utds
        for b in batch_sizes
        for rate in rates
    ]


def laws_of(cells, options=OPTIONS):
    return fit_surface_laws(cells, find_crossings(cells, options.thresholds, n_draws=options.n_draws, seed=0), options.tasks, options.seed)


def codes(warnings, where):
    return {warning.code for warning in warnings if warning.where == where}


def test_the_known_laws_are_found_with_their_points():
    batch, rate, _ = laws_of(sweep_cells())
    assert batch.exponent == pytest.approx(-0.5, abs=0.08)
    assert rate.exponent == pytest.approx(-0.25, abs=0.08)
    np.testing.assert_allclose(batch.points, [[90 * s**-0.5 for s in (1, 2, 4)]] * 2, rtol=0.15)
    assert (batch.points_low <= batch.points).all()
    assert (batch.points <= batch.points_high).all()


def test_a_best_value_beyond_the_grid_is_told_and_not_cut_off():
    batch, _, warnings = laws_of(sweep_cells(batch=400.0))
    assert batch.points[0, 0] > 256
    assert batch.exponent == pytest.approx(-0.5, abs=0.15)
    message = next(w.message for w in warnings if w.code == "grid-edge" and w.where == "batch_size")
    assert "beyond the grid (16 to 256)" in message
    assert "grid-edge" not in codes(warnings, "learning_rate")


def test_a_hyperparameter_that_was_not_swept_has_no_law_and_the_other_one_does():
    batch, rate, warnings = laws_of(sweep_cells(batch_sizes=(64,)))
    assert batch is None
    assert rate.exponent == pytest.approx(-0.25, abs=0.08)
    assert any("one value of batch_size" in w.message for w in warnings)


def test_one_sigma_gives_no_slope():
    batch, rate, warnings = laws_of(sweep_cells(utds=(2,)))
    assert batch is rate is None
    assert all("no task has a best value at two different σ" in w.message for w in warnings)


def test_nothing_reached_is_a_reason_not_a_crash():
    batch, rate, warnings = laws_of(sweep_cells(last_step=200))
    assert batch is rate is None
    assert all("no cell of the sweep reaches any threshold" in w.message for w in warnings)


def test_a_place_that_reaches_nothing_is_left_out_and_told():
    cells = [
        replace(cell, returns=np.zeros_like(cell.returns)) if (cell.spec.task, cell.spec.utd) == ("two", 4) else cell
        for cell in sweep_cells()
    ]
    batch, _, warnings = laws_of(cells)
    assert np.isnan(batch.points[1, 2])
    assert batch.exponent == pytest.approx(-0.5, abs=0.1)
    assert "no-best-value" in codes(warnings, "batch_size")


def test_where_the_top_threshold_is_never_reached_a_lower_one_decides():
    low = [replace(cell, returns=np.minimum(cell.returns, 500.0)) if cell.spec.utd == 1 else cell for cell in sweep_cells()]
    batch, _, _ = laws_of(low)
    assert batch.exponent == pytest.approx(-0.5, abs=0.1)


def test_a_task_without_any_answer_has_no_coefficient():
    cells = [replace(cell, returns=np.zeros_like(cell.returns)) if cell.spec.task == "two" else cell for cell in sweep_cells()]
    batch, _, _ = laws_of(cells)
    assert np.isfinite(batch.predict([2], "one")).all()
    assert np.isnan(batch.predict([2], "two")).all()


def test_the_order_of_cells_and_of_tasks_changes_nothing():
    cells = sweep_cells()
    batch, _, _ = laws_of(cells)
    other, _, _ = laws_of(cells[::-1], replace(OPTIONS, tasks=("two", "one")))
    np.testing.assert_array_equal(other.exponent_draws, batch.exponent_draws)
    np.testing.assert_array_equal(other.points[::-1], batch.points)
    np.testing.assert_array_equal(other.coefficient_draws[:, ::-1], batch.coefficient_draws)


def test_the_order_of_seeds_does_not_move_the_laws():
    cells = sweep_cells()
    turned = [replace(cell, returns=cell.returns[::-1]) for cell in cells]
    assert laws_of(turned)[0].exponent == pytest.approx(laws_of(cells)[0].exponent, abs=1e-6)


def test_the_range_that_costs_five_percent_more_data_is_that_of_the_simulated_truth():
    ratios, held = [], []
    for seed, curvature in enumerate((0.05, 0.1, 0.2)):
        truth = replace(
            random_truth(np.random.default_rng(seed), n_tasks=3),
            batch_size=Bowl(coefficient=300.0, exponent=-0.4, curvature=curvature),
            learning_rate=Bowl(coefficient=5e-4, exponent=-0.3, curvature=0.1),
        )
        design = SweepDesign(
            utd=(1.0, 2.0, 4.0),
            stage="sweep",
            batch_size=(32, 64, 128, 256, 512),
            learning_rate=(1.5e-4, 3e-4, 6e-4, 1.2e-3),
            log_interval=2000,
        )
        cells = simulate_cells(truth, design, seed=seed)
        laws = laws_of(cells, replace(OPTIONS, tasks=truth.tasks, thresholds=(400.0, 800.0)))
        for law, bowl in zip(laws[:2], (truth.batch_size, truth.learning_rate), strict=True):
            for task in truth.tasks:
                found = law.tolerated(2.0, task)
                for sign, end in ((-1, found.low), (1, found.high)):
                    # curvature·log²(value/best) = log 1.05
                    true = float(bowl.best(task, 2.0)) * np.exp(sign * np.sqrt(np.log(1.05) / bowl.curvature))
                    ratios.append(np.log(end.value / true))
                    held.append(end.low <= true <= end.high)
    assert abs(np.median(ratios)) < 0.1
    assert np.sqrt(np.mean(np.square(ratios))) < 0.4
    # 80 % intervals
    assert np.mean(held) >= 0.65


def test_how_exact_the_values_must_be_is_one_factor_at_every_sigma_and_moves_with_its_law():
    batch, rate, _ = laws_of(sweep_cells())
    for law in (batch, rate):
        here, there = law.tolerated(1.0, "one"), law.tolerated(16.0, "one")
        for end in ("low", "high"):
            assert getattr(there, end).value == pytest.approx(getattr(here, end).value * 16**law.exponent)
    # the truth's bowls: 0.15 and 0.2 times the squared log
    for law, curvature in ((batch, 0.15), (rate, 0.2)):
        for factor, sign in zip(law.leeway.factors(), (-1, 1), strict=True):
            assert factor.value == pytest.approx(np.exp(sign * np.sqrt(np.log(1.05) / curvature)), rel=0.2)
    assert batch.tolerated(1.0, "one").beyond is False
    assert batch.tolerated(1.0 / 256, "one").beyond is True


def test_the_range_reaches_less_far_on_the_steeper_side():
    batch, _, _ = laws_of(sweep_cells(steeper=4.0))
    below, above = batch.leeway.factors()
    assert below.value == pytest.approx(np.exp(-np.sqrt(np.log(1.05) / 0.6)), rel=0.15)
    assert above.value == pytest.approx(np.exp(np.sqrt(np.log(1.05) / 0.15)), rel=0.2)


def test_a_task_without_any_answer_has_no_range():
    cells = [replace(cell, returns=np.zeros_like(cell.returns)) if cell.spec.task == "two" else cell for cell in sweep_cells()]
    batch, _, _ = laws_of(cells)
    assert batch.tolerated(2.0, "two") is None
    assert batch.tolerated(2.0, "one") is not None
    assert batch.tolerated(2.0) is not None
