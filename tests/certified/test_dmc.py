"""dmc_sweep, the grid stage: best B and η, the laws through them, what the authors proposed to run next.

Where the bootstrap decides, random numbers differ: a slope may be three spreads off (over the authors' random seeds), an intercept 3 %.
"""

from dataclasses import replace

import numpy as np
import pytest

from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.fitted_laws import PowerLaw
from tdscale.analysis.hyperparameters import fit_shared_slope
from tdscale.paper import PAPER
from tdscale.paper.procedure import best_of_rows, separate_laws
from tdscale.report.proposed import baseline_hyperparameters, proposed_hyperparameters

pytestmark = pytest.mark.slow

QUANTITIES = {"batch_size": ("bs", -0.4801, 0.0054), "learning_rate": ("lr", -0.3165, 0.004)}


@pytest.fixture(scope="module")
def dmc(fitted):
    return fitted("dmc_sweep", n_draws=100)


@pytest.fixture(scope="module")
def at_800(dmc):
    """The crossings of the sweep at J = 800 as a grid: (task, σ, B, η) → D, and the four axes."""
    cells = dmc.measured.cells
    crossings = find_crossings(cells, [800.0], n_draws=0, seed=0, rule=PAPER.crossing)
    specs = [(c.spec.task, c.spec.utd, c.spec.batch_size, c.spec.learning_rate) for c in cells]
    axes = [sorted(set(values)) for values in zip(*specs, strict=True)]
    grid = np.full([len(axis) for axis in axes], np.nan)
    for spec, value in zip(specs, crossings.data[:, 0], strict=True):
        grid[tuple(axis.index(part) for axis, part in zip(axes, spec, strict=True))] = value
    return grid, axes


def test_every_crossing_of_the_sweep_is_that_of_the_authors_code(dmc, golden, certify):
    table = golden["rerun_grid_dmc_sweep"]["crossings_table"]
    crossings = find_crossings(dmc.measured.cells, table["thresholds"], n_draws=0, seed=0, rule=PAPER.crossing)
    row_of = {(c.spec.task, c.spec.utd, c.spec.batch_size, c.spec.learning_rate): i for i, c in enumerate(dmc.measured.cells)}
    order = [row_of[row["env"], row["utd"], row["bs"], row["lr"]] for row in table["rows"]]
    data = np.where(np.isfinite(crossings.data), crossings.data, np.nan)[order]
    expected = np.array([row["D"] for row in table["rows"]], dtype=np.float64)
    certify("dmc_sweep: crossings of 840 cells at 8 thresholds", data, expected, at_least=15)


def test_without_the_bootstrap_every_best_value_is_the_authors(at_800, golden, certify):
    grid, (tasks, utds, batch_sizes, learning_rates) = at_800
    rows = {(row["env_name"], row["utd"]): row for row in golden["rerun_grid_dmc_sweep"]["rng_seed_42"]["best_bootstrap_table"]}
    for name, key, data, values in (
        ("B", "best_bs_lrmean", grid, batch_sizes),
        ("η", "best_lr_bsmean", np.swapaxes(grid, 2, 3), learning_rates),
    ):
        best = best_of_rows(data, np.array(values, dtype=np.float64))
        certify(f"dmc_sweep: best {name}, no bootstrap", best, [[rows[task, utd][key] for utd in utds] for task in tasks], at_least=14)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_the_shared_laws_agree_within_the_spread_of_the_authors_random_seeds(dmc, golden, certify, quantity):
    law = getattr(dmc.laws, quantity)
    key, slope, spread = QUANTITIES[quantity]
    noise = golden["rerun_grid_dmc_sweep"]["mc_noise_10_rng_seeds"]
    assert (noise[f"{key}_slope_mean"], noise[f"{key}_slope_sd"]) == (slope, spread)
    certify(f"dmc_sweep: slope of {quantity}, 100 draws", [law.exponent], [slope], at_least=1.2)
    assert abs(law.exponent - slope) < 3 * spread
    reruns = [golden["rerun_grid_dmc_sweep"][f"rng_seed_{seed}"][f"shared_{key}"] for seed in (42, 0, 1)]
    known = np.mean([[rerun[task]["coef_at_utd1"] for task in law.tasks] for rerun in reruns], axis=0)
    certify(f"dmc_sweep: {quantity} at σ = 1, 100 draws", law.coefficients, known, at_least=-np.log10(0.03))


@pytest.mark.parametrize("seed", [42, 0, 1])
def test_from_the_authors_best_values_come_their_laws(dmc, golden, certify, seed):
    """The same line through the same points: the shared laws, and one per task, which leave σ = 8 out."""
    rerun = golden["rerun_grid_dmc_sweep"][f"rng_seed_{seed}"]
    rows = {(row["env_name"], row["utd"]): row for row in rerun["best_bootstrap_table"]}
    for quantity, column in (("batch_size", "best_bs_bootstrap_lrmean"), ("learning_rate", "best_lr_bootstrap_bsmean")):
        key, law = QUANTITIES[quantity][0], getattr(dmc.laws, quantity)
        points = np.array([[rows[task, utd][column] for utd in law.utd] for task in law.tasks])
        line = fit_shared_slope(np.log(law.utd), np.log(points))
        known = [(fit["coef_at_utd1"], fit["slope"]) for fit in rerun[f"shared_{key}"].values()]
        shared = [(np.exp(intercept), line.slope) for intercept in line.intercepts]
        certify(f"dmc_sweep: shared {quantity}, their points of seed {seed}", shared, known, at_least=12)
        separate = [(own.coefficients[0], own.exponent) for own in separate_laws(replace(law, points=points), leave_out=[8.0])]
        known = [(fit["coef_at_utd1"], fit["slope"]) for fit in rerun[f"separate_{key}"].values()]
        certify(f"dmc_sweep: {quantity} per task, their points of seed {seed}", separate, known, at_least=12)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_law_of_its_own_for_each_task(dmc, golden, certify, quantity):
    key = QUANTITIES[quantity][0]
    laws = separate_laws(getattr(dmc.laws, quantity), leave_out=[8.0])
    reruns = [golden["rerun_grid_dmc_sweep"][f"rng_seed_{seed}"][f"separate_{key}"] for seed in (42, 0, 1)]
    known = {
        field: np.mean([[rerun[law.tasks[0]][field] for law in laws] for rerun in reruns], axis=0) for field in ("coef_at_utd1", "slope")
    }
    certify(f"dmc_sweep: {quantity} at σ = 1 per task, 100 draws", [law.coefficients[0] for law in laws], known["coef_at_utd1"], at_least=1)
    # one task's slope is seven times as uncertain as the shared one in variance, and it has fewer σ
    np.testing.assert_allclose([law.exponent for law in laws], known["slope"], rtol=0, atol=5 * np.sqrt(7) * QUANTITIES[quantity][2])


def test_the_constant_baseline_is_the_committed_one(dmc, golden):
    """49 of 49 rows, and which of their cells are new."""
    frame = baseline_hyperparameters(dmc.measured.cells, 800.0, utd=2.0, rule=PAPER.crossing)
    assert frame.to_dict("records") == golden["committed"]["proposed_hparams"]["dmc_sweep"]["baseline_utd2.0"]
    print(f"{'dmc_sweep: constant baseline, rows equal':<66} {len(frame):>7}   all 49")
    assert len(frame) == 49


@pytest.mark.parametrize("sweep", ["dmc_sweep", "gym_sweep"])
@pytest.mark.parametrize("kind", ["shared", "separate"])
def test_the_proposed_tables_follow_from_the_committed_laws(golden, certify, sweep, kind):
    """Given their coefficients, every rounded number of theirs."""
    fits = golden["committed"]["grid_fits"][sweep][kind]
    laws = {
        quantity: [_law(quantity, task, fit["coef_at_utd1"], fit["slope"]) for task, fit in fits[key].items()]
        for quantity, (key, _, _) in QUANTITIES.items()
    }
    frame = proposed_hyperparameters(laws["batch_size"], laws["learning_rate"])
    expected = golden["committed"]["proposed_hparams"][sweep][f"{kind}_fitted"]
    assert list(frame.columns) == list(expected[0])
    assert list(frame["Environment"]) == [row["Environment"] for row in expected]
    numbers = [name for name in frame.columns if name != "Environment"]
    known = [[row[name] for name in numbers] for row in expected]
    certify(f"{sweep}: proposed table from the committed {kind} laws", frame[numbers].to_numpy(), known, at_least=12)


@pytest.mark.parametrize("column", ["Learning Rate", "Batch Size"])
def test_the_proposed_table_of_the_refitted_sweep_is_near_the_committed_one(dmc, golden, certify, column):
    frame = proposed_hyperparameters(dmc.laws.batch_size, dmc.laws.learning_rate)
    expected = {
        (row["Environment"], row["UTD"]): row[column] for row in golden["committed"]["proposed_hparams"]["dmc_sweep"]["shared_fitted"]
    }
    known = [expected[task, utd] for task, utd in zip(frame["Environment"], frame["UTD"], strict=True)]
    certify(f"dmc_sweep: proposed {column}, refitted against committed", frame[column], known, at_least=1)


def _law(quantity, task, coefficient, exponent):
    nothing = np.full((1, 1), np.nan)
    return PowerLaw(
        quantity=quantity,
        tasks=(task,),
        exponent=exponent,
        exponent_draws=np.empty(0),
        coefficients=np.array([coefficient]),
        coefficient_draws=np.empty((0, 1)),
        utd=np.array([1.0]),
        points=nothing,
        points_low=nothing,
        points_high=nothing,
        source="published",
    )
