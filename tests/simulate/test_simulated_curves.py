"""Simulated curves have the truth that they claim, and the noise that was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdscale.analysis.crossings import find_crossings, first_crossing
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.runs.cells import load_cells
from tdscale.runs.store import RunStore
from tdscale.simulate import NOISE, SHAPES, Bowl, LawTruth, Noise, SweepDesign, random_truth, simulate_cells, write_simulation

LEVELS = np.array([300.0, 500.0, 650.0, 800.0])
ONE = LawTruth(d_min={"one": 40_000.0})


@pytest.mark.parametrize("regime", NOISE)
def test_the_mean_of_very_many_seeds_crosses_at_the_true_data(regime):
    design = SweepDesign(utd=(0.5, 4.0), seeds=2000, log_interval=1000, length=2.5)
    for cell in simulate_cells(ONE, design, regime):
        step = cell.env_steps[first_crossing(cell.returns.mean(axis=0), LEVELS)] - 500
        truth = ONE.data("one", [cell.spec.utd], LEVELS, batch_size=cell.spec.batch_size, learning_rate=cell.spec.learning_rate)[0]
        # 2000 seeds leave about 0.015 in log D
        np.testing.assert_allclose(np.log(step), np.log(truth), atol=0.045)


@pytest.mark.parametrize("shape", SHAPES)
def test_noiseless_curves_cross_at_the_true_data(shape):
    truth = LawTruth(shape=shape)
    for cell in simulate_cells(truth, SweepDesign(seeds=1, log_interval=100), Noise()):
        crossing = find_crossings([cell], LEVELS, n_draws=1, seed=0).data[0]
        expected = truth.data(
            cell.spec.task, [cell.spec.utd], LEVELS, batch_size=cell.spec.batch_size, learning_rate=cell.spec.learning_rate
        )
        np.testing.assert_allclose(crossing, expected[0], atol=60, rtol=1e-3)


def test_the_mean_curve_over_divergence_and_both_paces_agrees_with_brute_force():
    noise = Noise(early=0.3, late=0.6, divergence=0.2)
    progress = np.array([0.1, 0.4, 1.0, 2.0, 5.0])
    seeds = noise.seeds(200_000, np.random.default_rng(0))
    from tdscale.simulate.noise import pace

    own = -np.expm1(-pace(np.minimum(progress, seeds[:, 3:4]), seeds[:, :1], seeds[:, 1:2]))
    np.testing.assert_allclose(noise.mean(progress), own.mean(axis=0), atol=0.003)
    np.testing.assert_allclose(noise.progress(noise.mean(progress)), progress, rtol=1e-3)


def test_a_fit_to_a_noiseless_simulation_recovers_the_laws():
    truth = LawTruth(alpha=0.8, beta=1.5, learning_rate=Bowl(coefficient=4e-4, exponent=-0.25))
    grid = SweepDesign(
        stage="sweep", utd=(1, 2, 4, 8), seeds=1, batch_size=(64, 128, 256, 512, 1024), learning_rate=(1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3)
    )
    cells = simulate_cells(truth, [grid, SweepDesign(seeds=1)], Noise())
    laws = fit_laws(cells, FitOptions(study="known", tasks=truth.tasks, thresholds=(500.0, 650.0, 800.0), n_draws=20))
    law = laws.data_law(800.0)
    assert law.alpha().value == pytest.approx(0.8, abs=0.04)
    assert law.beta().value == pytest.approx(1.5, rel=0.06)
    for task in truth.tasks:
        assert law.d_min(task).value == pytest.approx(truth.d_min[task], rel=0.04)
    assert laws.batch_size is not None
    assert laws.learning_rate is not None
    assert laws.batch_size.exponent == pytest.approx(-0.33, abs=0.12)
    assert laws.learning_rate.exponent == pytest.approx(-0.25, abs=0.12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(SHAPES))
def test_more_return_needs_more_data_and_the_worse_hyperparameters_still_more(seed, shape):
    truth = random_truth(np.random.default_rng(seed), shape)
    utd = np.geomspace(0.1, 64, 9)
    data = truth.data("task-1", utd, np.linspace(50, 860, 12))
    assert (np.diff(data, axis=1) >= 0).all()
    assert (truth.data("task-1", utd, LEVELS, batch_size=7, learning_rate=0.03) > truth.data("task-1", utd, LEVELS)).all()
    assert np.isinf(truth.data("task-1", utd, [truth.plateau])).all()


def test_shapes_outside_the_family_are_what_they_say():
    utd = np.geomspace(0.25, 64, 9)
    slopes = {shape: np.diff(np.log(LawTruth(shape=shape).data("Ant-v4", utd, [800.0])[:, 0])) / np.diff(np.log(utd)) for shape in SHAPES}
    assert slopes["minimum"][-1] > 0 > slopes["minimum"][0]
    np.testing.assert_allclose(slopes["power"], -0.7)
    np.testing.assert_allclose(slopes["broken"][[0, -1]], [-1.05, -0.175], atol=0.01)
    one, other = (LawTruth(shape="task-alphas").parameters(task, [800.0])["alpha"][0] for task in ("Ant-v4", "Walker2d-v4"))
    assert other / one == pytest.approx(np.exp(0.7))


def test_roughness_shifts_each_task_and_sigma_by_an_amount_of_its_own_and_leaves_the_rest():
    utd = np.geomspace(0.25, 16, 200)
    smooth, rough = (LawTruth(roughness=sd).data("Ant-v4", utd, LEVELS) for sd in (0.0, 0.1))
    shift = np.log(rough / smooth)
    np.testing.assert_allclose(shift, shift[:, :1] * np.ones(4), atol=1e-9)
    assert shift.std() == pytest.approx(0.1, rel=0.2)
    np.testing.assert_array_equal(rough[7:8], LawTruth(roughness=0.1).data("Ant-v4", utd[7:8], LEVELS))


@pytest.mark.parametrize("regime", ["medium", "high"])
def test_the_same_seed_gives_the_same_curves_and_more_seeds_or_cells_change_none(regime):
    few = simulate_cells(ONE, SweepDesign(utd=(1.0,), seeds=3), regime, seed=5)[0]
    many = simulate_cells(ONE, SweepDesign(utd=(1.0, 2.0), seeds=6), regime, seed=5)[0]
    common = min(len(few.env_steps), len(many.env_steps))  # more seeds may end earlier
    np.testing.assert_array_equal(few.returns[:, :common], many.returns[:3, :common])
    other = simulate_cells(ONE, SweepDesign(utd=(1.0,), seeds=3), regime, seed=6)[0]
    assert not np.array_equal(few.returns, other.returns)


def test_regimes_are_ordered():
    spreads = []
    for regime in ("low", "medium", "high"):
        cells = simulate_cells(LawTruth(), SweepDesign(seeds=8, length=3.0), regime)
        draws = find_crossings(cells, LEVELS, n_draws=50, seed=0).draws
        low, high = np.quantile(draws, [0.25, 0.75], axis=0, method="nearest")
        spreads.append(np.median(np.log(high / low)))
    assert spreads[0] < spreads[1] < spreads[2]


def test_a_limit_censors_and_says_so():
    cells = simulate_cells(ONE, SweepDesign(utd=(0.25, 16.0), seeds=2, length=None, env_steps=100_000), Noise())
    slow, fast = find_crossings(cells, [800.0], n_draws=1, seed=0).data[:, 0]
    assert np.isinf(slow)
    assert np.isfinite(fast)
    assert {cell.last_step for cell in cells} == {100_000}


def test_a_diverged_seed_holds_its_last_return_and_unequal_ends_are_cut_to_the_common_range():
    cell = simulate_cells(ONE, SweepDesign(utd=(1.0,), seeds=40, length=4.0), Noise(fluctuation=50.0, divergence=0.5, unequal=0.3))[0]
    assert 0 < cell.diverged.sum() < 40
    held = cell.returns[cell.diverged]
    assert (held[:, -1] == held[:, -2]).mean() > 0.8
    assert (cell.returns[~cell.diverged, -1] != cell.returns[~cell.diverged, -2]).all()
    full = simulate_cells(ONE, SweepDesign(utd=(1.0,), seeds=40, length=4.0), Noise(fluctuation=50.0))[0]
    assert 0.7 * full.last_step <= cell.last_step < full.last_step


def test_a_folder_holds_the_cells_that_are_drawn_directly(tmp_path):
    truth, design = LawTruth(d_min={"one": 20_000.0, "two": 50_000.0}), SweepDesign(utd=(0.5, 4.0), seeds=4)
    study = write_simulation(tmp_path / "sim", truth, design, "high", thresholds=LEVELS, seed=3)
    loaded, _ = load_cells(RunStore(tmp_path / "sim"), study)
    drawn = sorted(simulate_cells(truth, design, "high", seed=3), key=lambda cell: (cell.spec.task, cell.spec.utd))
    assert len(loaded) == len(drawn) == 4
    for one, other in zip(loaded, drawn, strict=True):
        assert one.spec.cell_id == other.spec.cell_id
        np.testing.assert_array_equal(one.env_steps, other.env_steps)
        np.testing.assert_allclose(one.returns, other.returns, rtol=1e-12, atol=1e-9)
        np.testing.assert_array_equal(one.diverged, other.diverged)
        assert one.last_step == other.last_step


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Noise(early=-1), "early"),
        (lambda: Noise(divergence=1.0), "divergence"),
        (lambda: SweepDesign(length=None), "length"),
        (lambda: LawTruth(shape="cubic"), "shape"),
        (lambda: LawTruth(reference=950.0), "reference"),
        (lambda: simulate_cells(ONE, SweepDesign(), "loud"), "loud"),
        (lambda: simulate_cells(ONE, SweepDesign(top=950.0)), "env_steps"),
    ],
)
def test_what_can_not_be_simulated_is_refused_with_its_name(make, said):
    with pytest.raises(ValueError, match=said):
        make()
