"""B*(σ, N) and η*(σ, N) from sweeps over networks of several sizes, whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from known_truth import curve_cell
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.fitted_laws import LeastValue, PowerLaw
from tdscale.analysis.hyperparameters import fit_shared_slopes, fit_surface_laws, law_as_run
from tdscale.analysis.response_surface import SurfaceModel, SweepCells
from tdscale.analysis.size_part import SizePart
from tdscale.analysis.surface_fit import Surface, fit_surface
from tdscale.runs.types import Cell

SIZES = {"tiny": 5e5, "small": 2.5e6, "medium": 1e7, "large": 1.5e8}
ALL = tuple(SIZES.values())
# B* = 600·σ^−0.5/(1 + b·N^−0.5), b·N^−0.5 = 2 at N = 1e6; η* = 1e-3·σ^−0.25·(N/1e7)^−0.1
B_TOP, B_SLOPE, B_HALF, B_POWER = 600.0, -0.5, 2e3, 0.5
R_TOP, R_SLOPE, R_POWER = 1e-3, -0.25, -0.1
BATCH_SIZES, RATES = np.array([32.0, 64.0, 128.0, 256.0, 512.0, 1024.0]), np.array([2e-4, 4e-4, 8e-4, 1.6e-3])
UTD = np.array([1.0, 2.0, 4.0, 8.0])
TASKS = {"one": 1.0, "two": 0.5}


def true_batch(utd, model_size, scale=1.0):
    return scale * B_TOP * utd**B_SLOPE / (1 + B_HALF * model_size**-B_POWER)


def true_rate(utd, model_size, scale=1.0):
    return scale * R_TOP * utd**R_SLOPE * (model_size / 1e7) ** R_POWER


def make_sweep(noise=0.0, seed=0, sizes=ALL, n_draws=20, unit=1.0) -> tuple[SweepCells, SweepCells]:
    """Log D as parabolas about the true best values, and draws with `noise` about it; places (task, σ, N)."""
    rng = np.random.default_rng(seed)
    scales = np.array(list(TASKS.values()))
    task, utd, size = (axis.ravel() for axis in np.meshgrid(np.arange(len(scales)), UTD, np.array(sizes), indexing="ij"))
    grid = np.stack([axis.ravel() for axis in np.meshgrid(np.log(BATCH_SIZES), np.log(RATES), indexing="ij")], axis=-1)
    best = np.log(np.stack([true_batch(utd, size, scales[task]), true_rate(utd, size, scales[task])], axis=-1))
    rise = (np.array([0.15, 0.3]) * (grid - best[:, None]) ** 2).sum(axis=-1)
    clean = 11 - 0.3 * np.log(utd)[:, None] - 0.1 * np.log(size)[:, None] + rise

    def sweep(log_data):
        return SweepCells(
            task=task,
            log_utd=np.log(utd),
            values=np.broadcast_to(grid, (len(task), *grid.shape)),
            log_data=log_data,
            censored=np.zeros(log_data.shape, bool),
            present=np.ones(clean.shape, bool),
            n_tasks=len(scales),
            log_size=np.log(size * unit),
        )

    point = clean + noise * rng.standard_normal(clean.shape)
    return sweep(point), sweep(point + noise * rng.standard_normal((n_draws, *clean.shape)))


def fit(sweep, draws) -> Surface:
    return fit_surface(sweep, draws, np.random.default_rng(0), levels=(True, False))


def law_of(surface: Surface, index: int, draws: bool = False):
    """log best value at (σ, N) of the first task by the surface's laws."""
    z = surface.sizes
    slope, intercept = (surface.slope_draws, surface.intercept_draws) if draws else (surface.slopes, surface.intercepts)
    exponent, level = (z.exponent_draws, z.level_draws) if draws else (z.exponents, z.levels)

    def at(utd, model_size):
        e, b = level[..., index], exponent[..., index]
        factor = (1 + e) / (e + np.exp(-b * (np.log(model_size) - z.centre)))
        return intercept[..., index, 0] + slope[..., index] * np.log(utd) + np.log(factor)

    return at


def test_the_laws_over_utd_and_n_are_recovered_without_noise():
    surface = fit(*make_sweep())
    np.testing.assert_allclose(surface.slopes, [B_SLOPE, R_SLOPE], atol=0.02)
    batch, rate = law_of(surface, 0), law_of(surface, 1)
    for utd in UTD:
        for size in SIZES.values():
            assert batch(utd, size) == pytest.approx(np.log(true_batch(utd, size)), abs=0.06)
            assert rate(utd, size) == pytest.approx(np.log(true_rate(utd, size)), abs=0.06)
    # an order of magnitude beyond the largest network
    assert batch(2.0, 1.5e9) == pytest.approx(np.log(true_batch(2.0, 1.5e9)), abs=0.12)
    assert rate(2.0, 1.5e9) == pytest.approx(np.log(true_rate(2.0, 1.5e9)), abs=0.1)
    assert surface.sizes.levels[1] == 0
    assert surface.sizes.exponents[1] == pytest.approx(R_POWER, abs=0.02)


def test_eighty_percent_intervals_hold_the_truth_about_as_often():
    held = {name: [] for name in ("slope", "n", "batch", "rate", "beyond")}
    for seed in range(10):
        surface = fit(*make_sweep(noise=0.15, seed=seed, n_draws=100))
        truths = {
            "slope": (surface.slope_draws[:, 0], B_SLOPE),
            "n": (surface.sizes.exponent_draws[:, 1], R_POWER),
            "batch": (law_of(surface, 0, draws=True)(2.0, SIZES["tiny"]), np.log(true_batch(2.0, SIZES["tiny"]))),
            "rate": (law_of(surface, 1, draws=True)(2.0, SIZES["large"]), np.log(true_rate(2.0, SIZES["large"]))),
            "beyond": (law_of(surface, 0, draws=True)(2.0, 1.5e9), np.log(true_batch(2.0, 1.5e9))),
        }
        for name, (draws, truth) in truths.items():
            low, high = np.quantile(draws, [0.1, 0.9])
            held[name].append(low <= truth <= high)
    # of 50 at a chance of 0.8 each, though not independent
    assert np.mean(list(held.values())) >= 0.7
    assert all(np.sum(each) >= 5 for each in held.values())


def test_the_slopes_of_the_part_for_n_are_those_of_differences():
    model = SurfaceModel(make_sweep()[0], levels=(True, False))
    shared = model.prior_mean.copy()
    shared[:, model.size_slope], shared[:, model.level] = (0.3, -0.2), (0.7, 0.2)
    value, by_slope, by_level = model.size_law(shared)
    for index, slope in ((model.size_slope, by_slope), (model.level, by_level)):
        step = np.zeros_like(shared)
        step[:, index] = 1e-6
        np.testing.assert_allclose(slope, (model.size_law(shared + step)[0] - model.size_law(shared - step)[0]) / 2e-6, atol=1e-7)
    # −log(1 + b·N^(−β)), less its value at the mean log N, b·N^(−β) being e^−0.7 there
    exponent = 0.3 * (1 + np.exp(0.7))
    n = model.sweep.log_size - model.sweep.log_size.mean()
    np.testing.assert_allclose(value[0], np.log1p(np.exp(-0.7)) - np.log1p(np.exp(-0.7 - exponent * n)))
    np.testing.assert_allclose(value[1], -0.2 * n)


def test_best_values_that_level_off_are_likelier_by_the_form_that_does():
    sweep, draws = make_sweep(noise=0.03, sizes=np.geomspace(1e4, 1e9, 5))
    forms = [fit_surface(sweep, draws, np.random.default_rng(0), levels=levels) for levels in ((True, False), ())]
    plain = fit_surface(*(replace(s, log_size=None) for s in (sweep, draws)), np.random.default_rng(0))
    assert forms[0].evidence > forms[1].evidence + 3
    assert forms[1].evidence > plain.evidence + 3


@pytest.mark.parametrize("sizes", [(5e5, 1.5e8), (2.5e6, 1e7, 4e7)])
def test_few_sizes_are_enough_between_them(sizes):
    surface = fit(*make_sweep(noise=0.02, sizes=sizes))
    for index, truth in ((0, true_batch), (1, true_rate)):
        for size in sizes:
            assert law_of(surface, index)(2.0, size) == pytest.approx(np.log(truth(2.0, size)), abs=0.15)
    assert np.isfinite(surface.sizes.exponent_draws).all()


@settings(max_examples=5, deadline=None)
@given(st.floats(1e-6, 1e6))
def test_the_unit_of_n_does_not_matter(unit):
    one, other = fit(*make_sweep(noise=0.1)), fit(*make_sweep(noise=0.1, unit=unit))
    for index in range(2):
        for draws in (False, True):
            expected = law_of(one, index, draws=draws)(3.0, 7e6)
            np.testing.assert_allclose(law_of(other, index, draws=draws)(3.0, 7e6 * unit), expected, atol=1e-6)


def test_one_size_is_a_surface_without_n_bit_for_bit():
    alone = make_sweep(noise=0.1, sizes=(1e7,))
    bare = tuple(replace(sweep, log_size=None) for sweep in alone)
    one, other = fit(*alone), fit_surface(*bare, np.random.default_rng(0))
    assert one.sizes is None
    for name in ("slopes", "slope_draws", "intercept_draws", "best_draws", "widths"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.evidence == other.evidence


def sweep_cells(sizes=SIZES, names=None, utds=(1, 4)) -> list[Cell]:
    """Curves whose crossings have their least D at the true best values."""
    return [
        replace(
            curve_cell(
                task=task,
                utd=utd,
                data_at_top=8000
                * utd**-0.4
                * np.exp(0.15 * np.log(b / true_batch(utd, n, scale)) ** 2 + 0.2 * np.log(rate / true_rate(utd, n, scale)) ** 2),
                batch_size=int(b),
                learning_rate=float(rate),
                stage="sweep",
                noise=0.05,
                grid_step=50,
            ),
            size=(names or {}).get(name, name),
            model_size=n,
        )
        for task, scale in TASKS.items()
        for utd in utds
        for name, n in sizes.items()
        for b in BATCH_SIZES
        for rate in RATES[1:]
    ]


def laws_of(cells):
    crossings = find_crossings(cells, (300.0, 800.0), n_draws=40, seed=0)
    return fit_surface_laws(cells, crossings, ("one", "two"), 0)


@pytest.fixture(scope="module")
def fitted():
    return laws_of(sweep_cells())


def test_laws_of_curves_are_near_the_truth_at_every_size_with_points_on_a_grid(fitted):
    batch, rate, _ = fitted
    np.testing.assert_allclose(batch.size.model_sizes, list(SIZES.values()))
    assert batch.points.shape == batch.points_low.shape == (2, 2, 4)
    for law, truth in ((batch, true_batch), (rate, true_rate)):
        for task, scale in TASKS.items():
            expected = np.array([[truth(utd, n, scale) for n in SIZES.values()] for utd in (1.0, 4.0)])
            np.testing.assert_allclose(law.points[law.tasks.index(task)], expected, rtol=0.25)
            for row, utd in enumerate((1.0, 4.0)):
                np.testing.assert_allclose(law.predict(np.full(4, utd), task, list(SIZES.values())), expected[row], rtol=0.2)


def test_names_and_order_of_sizes_do_not_matter(fitted):
    turned = {"tiny": "z", "small": "a", "medium": "k", "large": "b"}
    other = laws_of(sweep_cells(names=turned)[::-1])
    for one, two in zip(fitted[:2], other[:2], strict=True):
        np.testing.assert_array_equal(two.points, one.points)
        np.testing.assert_array_equal(two.size.exponent_draws, one.size.exponent_draws)
        np.testing.assert_array_equal(two.coefficient_draws, one.coefficient_draws)


def test_cells_of_one_size_give_the_law_without_n():
    cells = sweep_cells({"small": 2.5e6})
    batch, rate, _ = laws_of(cells)
    plain, _, _ = laws_of([replace(cell, size="", model_size=None) for cell in cells])
    assert batch.size is rate.size is None
    np.testing.assert_array_equal(batch.exponent_draws, plain.exponent_draws)
    np.testing.assert_array_equal(batch.points, plain.points)


def test_n_of_a_size_is_the_geometric_mean_over_tasks():
    cells = [replace(cell, model_size=cell.model_size * 4) if cell.spec.task == "two" else cell for cell in sweep_cells()]
    np.testing.assert_allclose(laws_of(cells)[0].size.model_sizes, 2 * np.array(ALL))


@pytest.mark.parametrize("offset", [None, 0.3])
def test_a_law_at_one_size_is_the_law_there_with_its_draws(fitted, offset):
    for law in fitted[:2]:
        if offset is not None:
            law = replace(law, offset=LeastValue(ratio=offset, draws=np.full(len(law.exponent_draws), offset)))
        for size, column in ((2.5e6, 1), (2e7, 2), (1e12, 3)):
            there = law.at_size(size)
            assert there.size is None
            np.testing.assert_array_equal(there.points, law.points[..., column])
            for task in (None, "two"):
                np.testing.assert_allclose(there.predict(UTD, task), law.predict(UTD, task, size))
                np.testing.assert_allclose(there.predict_draws(UTD, task), law.predict_draws(UTD, task, size))
                assert there.estimate(2.0, task).high == pytest.approx(law.estimate(2.0, task, size).high)
                assert there.tolerated(2.0, task).low.value == pytest.approx(law.tolerated(2.0, task, size).low.value)
        # no N named: the geometric mean of the sizes
        middle = float(np.exp(np.mean(np.log(list(SIZES.values())))))
        np.testing.assert_allclose(law.predict(UTD), law.predict(UTD, None, middle))
        assert there.at_size(1.0) is there


def evaluated(formula: str, utd: float, model_size: float) -> float:
    """The right side of a printed formula."""
    text = formula.split("=")[1].replace("−", "-").replace("·", "*").replace("^", "**")
    return float(eval(text, {"__builtins__": {}}, {"σ": utd, "N": model_size}))


def test_the_printed_formula_is_the_law(fitted):
    batch, rate, _ = fitted
    offset = replace(batch, offset=LeastValue(ratio=0.3, draws=np.full(40, 0.3)))
    for law, start in ((batch, "B*(σ, N) = "), (rate, "η*(σ, N) = "), (offset, "B*(σ, N) = (")):
        for size in (5e5, 1.5e8):
            assert law.formula("one").startswith(start)
            # three digits are printed, of exponents too: N^0.001 is 2 % at these N
            assert evaluated(law.formula("one"), 2.0, size) == pytest.approx(float(law.predict([2.0], "one", size)[0]), rel=0.03)


def test_a_factor_for_n_is_that_of_the_published_form():
    # by hand: a/(1 + b·N^−β) with a = 600, b = 2000, β = 0.5 is 600/(1 + 2) at 1e6 and 600/(1 + 0.2) at 1e8
    part = SizePart(
        exponent=0.5,
        exponent_draws=np.array([0.5]),
        level=0.5,
        level_draws=np.array([0.5]),
        reference=1e6,
        model_sizes=np.array([1e6, 1e8]),
    )
    np.testing.assert_allclose(200 * part.factor([1e6, 1e8]), [200, 500])
    assert part.formula(200.0)[0] == pytest.approx(600)
    assert part.to_dict()["b"] == pytest.approx(2000)
    assert part.slope.value == pytest.approx(0.5 * 2 / 3)  # β·b·N^−β/(1 + b·N^−β)
    assert part.factor(1e300) == pytest.approx(3)
    assert part.factor(1e-300) == pytest.approx(0, abs=1e-100)


def test_that_the_runs_do_not_tell_how_b_goes_with_n_is_told():
    flat = [replace(cell, size=name, model_size=n) for name, n in SIZES.items() for cell in sweep_cells({"x": 1e7})]
    batch, _, warnings = laws_of(flat)
    assert batch.size.slope.value == pytest.approx(0, abs=0.03)
    assert any("changes with N is not identified" in w.message and w.where == "batch_size" for w in warnings)


def as_run(values, utds=(1.0, 2.0, 4.0)) -> list[Cell]:
    """One cell for each (task, σ, size), B by a function of task, σ and N."""
    return [
        replace(curve_cell(task=task, utd=utd, data_at_top=5000.0, batch_size=values(task, utd, n)), size=name, model_size=n)
        for task in TASKS
        for utd in utds
        for name, n in SIZES.items()
    ]


def test_values_as_run_that_differ_by_size_are_a_law_with_a_slope_in_log_n():
    law = law_as_run("batch_size", ("one", "two"), as_run(lambda t, u, n: round(1e4 * TASKS[t] * u**-0.5 * (n / 1e7) ** 0.2)), 5)
    assert law.exponent == pytest.approx(-0.5, abs=1e-3)
    assert law.size.exponent == pytest.approx(0.2, abs=1e-3)
    assert law.predict([2.0], "two", 1e7)[0] == pytest.approx(5e3 * 2**-0.5, rel=1e-3)
    assert law.points.shape == (2, 3, 4)
    assert np.isnan(law.predict_draws([2.0], "two", 1e7)).all()
    assert law.source == "as-run"


def test_values_as_run_that_are_the_same_at_every_size_are_a_law_without_n():
    same = as_run(lambda t, u, n: round(512 * u**-0.5))
    law = law_as_run("batch_size", ("one", "two"), same, 5)
    plain = law_as_run("batch_size", ("one", "two"), [replace(c, size="", model_size=None) for c in same if c.size == "tiny"], 5)
    assert law.size is None
    assert law.exponent == plain.exponent
    np.testing.assert_array_equal(law.points, plain.points)


def test_values_as_run_at_one_utd_have_no_slope():
    with pytest.raises(ValueError, match="no slope"):
        law_as_run("batch_size", ("one", "two"), as_run(lambda t, u, n: round(1e3 * (n / 1e7) ** 0.2), utds=(2.0,)), 5)


def test_two_shared_slopes_equal_least_squares_with_intercepts():
    rng = np.random.default_rng(0)
    x, n = np.log(UTD), np.log(list(SIZES.values()))
    y = rng.normal(0, 1, (3, 4, 4))
    y[1, 2, :] = y[2, 0, 1] = np.nan
    line, slope = fit_shared_slopes(x, n, y)
    task, utd, size = np.nonzero(np.isfinite(y))
    design = np.column_stack([np.eye(3)[task], x[utd], n[size]])
    expected = np.linalg.lstsq(design, y[task, utd, size], rcond=None)[0]
    np.testing.assert_allclose([*line.intercepts, line.slope, slope], expected, rtol=1e-8)


def test_a_law_over_utd_alone_is_the_same_at_every_size():
    law = PowerLaw(
        quantity="batch_size",
        tasks=("one",),
        exponent=-0.5,
        exponent_draws=np.array([-0.5]),
        coefficients=np.array([100.0]),
        coefficient_draws=np.array([[100.0]]),
        utd=np.array([1.0]),
        points=np.array([[100.0]]),
        points_low=np.array([[100.0]]),
        points_high=np.array([[100.0]]),
    )
    assert law.at_size(1e6) is law
    assert law.predict([4.0], "one", 1e6)[0] == law.predict([4.0], "one")[0] == 50.0
    assert law.formula() == "B*(σ) = 100·σ^−0.5"
