"""The response surface finds the best B and η of sweeps whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdscale.analysis.bowls import EDGES, N_RANGES, bowl, bowl_width
from tdscale.analysis.response_surface import SurfaceModel, SweepCells
from tdscale.analysis.surface_fit import Surface, fit_surface

BATCH_SIZES = np.log([32.0, 64.0, 128.0, 256.0, 512.0])
RATES = np.log([1.5e-4, 3e-4, 6e-4, 1.2e-3])
UTD = np.log([1.0, 2.0, 4.0, 8.0])
GRID = np.stack([axis.ravel() for axis in np.meshgrid(BATCH_SIZES, RATES, indexing="ij")], axis=-1)
SLOPES = np.array([-0.5, -0.3])
CENTRES = np.array([[np.log(200.0), np.log(100.0), np.log(450.0)], [np.log(5e-4), np.log(3e-4), np.log(8e-4)]])
LEVELS = np.array([10.0, 12.0, 14.0])


def make_sweep(
    *,
    slopes=SLOPES,
    centres=CENTRES,
    curvatures=(0.2, 0.3),
    grid=GRID,
    utd=UTD,
    noise=0.0,
    n_draws=20,
    seed=0,
    never_above=np.inf,
    steeper_left=1.0,
    bend=0.0,
) -> tuple[SweepCells, SweepCells]:
    """Log D as parabolas about best values that follow their law exactly, and draws with `noise` about it; censored above a level."""
    rng = np.random.default_rng(seed)
    n_tasks = centres.shape[1]
    task = np.repeat(np.arange(n_tasks), len(utd))
    x = np.tile(utd, n_tasks)
    best = centres[:, task] + slopes[:, None] * (x - utd.mean()) + np.tile(bend, n_tasks if np.ndim(bend) else 1)
    offsets = [grid[:, q] - best[q][:, None] for q in range(len(curvatures))]
    excess = sum(0.5 * c * np.where(u < 0, steeper_left, 1.0) * u**2 for u, c in zip(offsets, curvatures, strict=True))
    clean = LEVELS[task][:, None] - 0.3 * x[:, None] + excess
    shape = (len(task), len(grid))

    def sweep(log_data: np.ndarray) -> SweepCells:
        bound = np.broadcast_to((clean.min(axis=1, keepdims=True) + never_above), log_data.shape)
        censored = log_data > bound
        return SweepCells(
            task=task,
            log_utd=x,
            values=np.broadcast_to(grid, (*shape, 2)),
            log_data=np.where(censored, bound, log_data),
            censored=censored,
            present=np.ones(shape, dtype=bool),
            n_tasks=n_tasks,
        )

    point = clean + noise * rng.standard_normal(shape)
    return sweep(point), sweep(point + noise * rng.standard_normal((n_draws, *shape)))


def fit(sweep: SweepCells, draws: SweepCells) -> Surface:
    return fit_surface(sweep, draws, np.random.default_rng(0))


def level(surface: Surface, utd=UTD) -> np.ndarray:
    return surface.intercepts + surface.slopes[:, None] * utd.mean()


@settings(deadline=None)
@given(st.floats(1e-4, 3.0), st.lists(st.floats(1e-3, 50.0), min_size=N_RANGES, max_size=N_RANGES))
def test_a_bowl_has_the_asked_height_at_its_width_on_either_side(height, curvatures):
    left, right = bowl_width(np.array(curvatures), height)
    assert left > 0
    assert right > 0
    value, _, _ = bowl(np.array([-left, right]), np.array(curvatures))
    np.testing.assert_allclose(value, height, rtol=1e-9)


@pytest.mark.parametrize("steeper", [1.0, 4.0])
def test_how_exact_the_values_must_be_is_recovered_without_noise(steeper):
    surface = fit(*make_sweep(steeper_left=steeper))
    # c·u²/2 = log 1.05, with another c on the left
    true = np.sqrt(2 * np.log(1.05) / np.array([[0.2 * steeper, 0.2], [0.3 * steeper, 0.3]]))
    np.testing.assert_allclose(surface.widths, np.broadcast_to(true[:, None], surface.widths.shape), rtol=0.12)


def test_the_domains_width_is_that_of_the_tasks_mean_bowl():
    surface = fit(*make_sweep(noise=0.03, seed=2))
    curvatures = surface.curvatures[..., None] * surface.shape[:, None]
    for q in range(2):
        for side, sign in enumerate((-1, 1)):
            u = sign * surface.widths[q, -1, side]
            assert np.mean([bowl(np.array(u), c)[0] for c in curvatures[q]]) == pytest.approx(np.log(1.05))


@settings(deadline=None)
@given(st.floats(-4, 4), st.lists(st.floats(0.01, 3.0), min_size=N_RANGES, max_size=N_RANGES))
def test_a_bowls_slopes_are_those_of_differences_and_it_is_least_at_its_middle(offset, curvatures):
    c, h = np.array(curvatures), 1e-6
    value, slope, by_log_curvature = bowl(np.array(offset), c)
    above, below = (bowl(np.array(offset + d), c)[0] for d in (h, -h))
    assert value >= 0 == bowl(np.array(0.0), c)[0]
    assert slope == pytest.approx((above - below) / (2 * h), abs=1e-5)
    for index in range(N_RANGES):
        more = c * np.exp(h * (np.arange(N_RANGES) == index))
        assert by_log_curvature[index] == pytest.approx((bowl(np.array(offset), more)[0] - value) / h, abs=1e-4)


def test_a_bowl_of_one_curvature_is_a_parabola():
    offset = np.linspace(-2, 2, 9) * EDGES[-1]
    np.testing.assert_allclose(bowl(offset, np.full(N_RANGES, 0.7))[0], 0.35 * offset**2)


def test_bowls_without_noise_are_recovered():
    surface = fit(*make_sweep())
    np.testing.assert_allclose(surface.slopes, SLOPES, atol=0.005)
    np.testing.assert_allclose(level(surface), CENTRES, atol=0.02)
    np.testing.assert_allclose(surface.curvatures * surface.shape[:, 2:4].mean(axis=1)[:, None], [[0.2] * 3, [0.3] * 3], rtol=0.1)


def test_best_values_beyond_the_grid_are_recovered():
    beyond = CENTRES + np.array([[0.9], [0.7]])  # most of them above the largest value that was run
    surface = fit(*make_sweep(centres=beyond))
    assert (surface.best[0] > BATCH_SIZES[-1]).sum() >= 4
    np.testing.assert_allclose(surface.slopes, SLOPES, atol=0.01)
    np.testing.assert_allclose(level(surface), beyond, atol=0.05)


def test_noise_leaves_the_truth_within_a_few_standard_errors():
    surface = fit(*make_sweep(noise=0.1, n_draws=100))
    for value, draws, truth in ((surface.slopes, surface.slope_draws, SLOPES), (surface.intercepts, surface.intercept_draws, None)):
        assert (draws.std(axis=0) > 0.005).all()
        if truth is not None:
            assert (np.abs(value - truth) < 3 * draws.std(axis=0)).all()


def test_cells_that_never_reach_are_bounds():
    full, cut = (fit(*make_sweep(noise=0.03, never_above=limit)) for limit in (np.inf, 0.5))
    assert make_sweep(never_above=0.5)[0].censored.mean() > 0.1
    np.testing.assert_allclose(cut.slopes, full.slopes, atol=0.05)
    np.testing.assert_allclose(level(cut), level(full), atol=0.15)


def test_b_and_eta_may_be_swept_one_at_a_time():
    middle = (GRID[:, 0] == BATCH_SIZES[2]) | (GRID[:, 1] == RATES[1])
    surface = fit(*make_sweep(grid=GRID[middle]))
    np.testing.assert_allclose(surface.slopes, SLOPES, atol=0.02)
    np.testing.assert_allclose(level(surface), CENTRES, atol=0.08)


def test_two_sigma_and_one_task_are_enough():
    surface = fit(*make_sweep(utd=UTD[[0, 2]], centres=CENTRES[:, :1]))
    np.testing.assert_allclose(surface.slopes, SLOPES, atol=0.03)
    np.testing.assert_allclose(level(surface, UTD[[0, 2]]), CENTRES[:, :1], atol=0.08)


def test_one_hyperparameter_alone_may_be_swept():
    sweep, draws = (replace(s, values=s.values[..., :1], log_data=s.log_data) for s in make_sweep(curvatures=(0.2, 0.0)))
    surface = fit(sweep, draws)
    np.testing.assert_allclose(surface.slopes, SLOPES[:1], atol=0.01)
    np.testing.assert_allclose(level(surface), CENTRES[:1], atol=0.05)


def test_missing_cells_do_not_matter_without_noise():
    rng = np.random.default_rng(1)
    sweep, draws = make_sweep()
    present = rng.random(sweep.present.shape) < 0.7
    surface = fit(*(replace(s, present=present, log_data=np.where(present, s.log_data, 1e3)) for s in (sweep, draws)))
    np.testing.assert_allclose(surface.slopes, SLOPES, atol=0.01)
    assert np.isfinite(surface.best_draws).all()


def test_a_surface_that_only_falls_towards_an_end_stays_near_the_grid():
    # twice the batch, 10 % less data, everywhere: nothing says where that ends
    sweep, draws = make_sweep(curvatures=(0.0, 0.3), noise=0.02)
    falling = -0.15 * (sweep.values[..., 0] - BATCH_SIZES[0])
    surface = fit(*(replace(s, log_data=s.log_data + falling) for s in (sweep, draws)))
    step = np.log(2.0)
    assert (surface.best[0] > BATCH_SIZES[2]).all()
    assert (surface.best[0] < BATCH_SIZES[-1] + 3 * step).all()


def test_a_flat_surface_gives_a_wide_interval_within_reach_of_the_grid():
    surface = fit(*make_sweep(curvatures=(0.0, 0.0), noise=0.1, n_draws=200))
    low, high = np.quantile(surface.slope_draws, [0.1, 0.9], axis=0)
    assert (low < 0).all()
    assert (high > 0).all()
    assert (high - low > 0.2).all()


@settings(max_examples=5, deadline=None)
@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_units_of_data_and_of_eta_do_not_matter(data_unit, rate_unit):
    sweep, draws = make_sweep(noise=0.1)
    one = fit(sweep, draws)
    shift = np.array([0.0, np.log(rate_unit)])
    other = fit(*(replace(s, log_data=s.log_data + np.log(data_unit), values=s.values + shift) for s in (sweep, draws)))
    np.testing.assert_allclose(other.slopes, one.slopes, atol=1e-5)
    np.testing.assert_allclose(other.best - shift[:, None], one.best, atol=1e-5)
    np.testing.assert_allclose(other.slope_draws, one.slope_draws, atol=1e-4)


def test_the_order_of_tasks_and_cells_does_not_matter():
    sweep, draws = make_sweep(noise=0.1)
    one = fit(sweep, draws)
    turned = [
        replace(
            s,
            task=2 - s.task[::-1],
            log_utd=s.log_utd[::-1],
            values=s.values[::-1, ::-1],
            log_data=s.log_data[..., ::-1, ::-1],
            censored=s.censored[..., ::-1, ::-1],
        )
        for s in (sweep, draws)
    ]
    other = fit(*turned)
    np.testing.assert_allclose(other.slopes, one.slopes, atol=1e-6)
    np.testing.assert_allclose(other.intercepts[:, ::-1], one.intercepts, atol=1e-6)


def with_offsets(ratios, *, utd=UTD, **options) -> tuple[SweepCells, SweepCells]:
    """As `make_sweep`, but the best values are coefficient·(σ^slope + ratio)."""
    bend = [np.log(np.exp(s * utd) + r) - s * utd for s, r in zip(SLOPES * 2, ratios, strict=True)]
    return make_sweep(slopes=SLOPES * 2, utd=utd, bend=np.array(bend), **options)


def test_best_values_with_an_offset_are_recovered():
    utd = np.log([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
    ratios = np.array([0.3, 0.4])
    sweep = with_offsets(ratios, utd=utd, centres=CENTRES - np.array([[0.5], [0.2]]))
    bent = fit_surface(*sweep, np.random.default_rng(0), offsets=True)
    straight = fit(*sweep)
    np.testing.assert_allclose(bent.slopes, SLOPES * 2, atol=0.1)
    np.testing.assert_allclose(bent.offsets, ratios, rtol=0.35)
    assert bent.evidence > straight.evidence + 3
    assert (bent.offset_draws > 0).all()
    # four times beyond the σ that were swept
    x = np.log(64.0)
    truth = CENTRES - np.array([[0.5], [0.2]]) - (SLOPES * 2 * utd.mean())[:, None] + np.log(np.exp(SLOPES * 2 * x) + ratios)[:, None]
    error = [np.abs(s.intercepts + np.log(np.exp(s.slopes * x) + s.offsets)[:, None] - truth).max() for s in (bent, straight)]
    assert error[0] < 0.15
    assert error[1] > 2 * error[0]


def test_without_an_offset_in_the_truth_the_law_with_one_is_no_likelier():
    sweep = make_sweep(noise=0.05, n_draws=30)
    assert fit_surface(*sweep, np.random.default_rng(0), offsets=True).evidence < fit(*sweep).evidence + 2


def test_the_slopes_of_a_law_with_an_offset_are_those_of_differences():
    model = SurfaceModel(make_sweep()[0], offsets=True)
    shared = model.prior_mean.copy()
    shared[:, model.slope], shared[:, -1] = (-0.6, 0.3), (-0.4, 0.2)
    value, by_slope, by_offset = model.law(shared)
    assert value.shape == by_slope.shape == by_offset.shape == (2, model.n_places)
    for index, slope in ((model.slope, by_slope), (-1, by_offset)):
        step = np.zeros_like(shared)
        step[:, index] = 1e-6
        np.testing.assert_allclose(slope, (model.law(shared + step)[0] - model.law(shared - step)[0]) / 2e-6, atol=1e-8)
    # the law with its own parameters
    exponent, ratio, coefficients = model.power_law(shared)
    told = coefficients[:, model.sweep.task] + np.log(np.exp(exponent[:, None] * model.sweep.log_utd) + ratio[:, None])
    np.testing.assert_allclose(told, shared[:, model.sweep.task] + value)
