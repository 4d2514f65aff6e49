"""Cells: the seeds of one spec on one grid."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdscale.analysis.crossings import find_crossings
from tdscale.errors import UserError
from tdscale.runs.cells import load_cells
from tdscale.runs.store import RunStore


@pytest.fixture
def load(tmp_path, study):
    def load(results, *, study=study, **options):
        for result in results:
            load.store.write(result)
        return load_cells(load.store, study, **options)

    load.store = RunStore(tmp_path)
    return load


def _codes(warnings):
    return sorted(warning.code for warning in warnings)


def test_seeds_on_one_axis_are_used_as_they_are_and_normalised(load, make_result):
    results = [make_result(seed, task="Humanoid-v4", returns=np.arange(10) * 10.0 + seed) for seed in (2, 0, 1)]
    (cell,), warnings = load(results)
    assert warnings == []
    assert cell.seeds.tolist() == [0, 1, 2]
    assert cell.env_steps.tolist() == list(range(100, 1001, 100))
    # low -200 is 0, high 200 is 1000
    np.testing.assert_allclose(cell.returns[1], (np.arange(10) * 10.0 + 1 + 200) * 2.5)
    assert cell.last_step == 1000
    assert not cell.diverged.any()
    assert not cell.duplicate.any()


def test_seeds_of_unequal_length_are_cut_to_what_all_of_them_cover(load, make_result):
    long = make_result(0, steps=np.arange(1, 13) * 100, returns=np.arange(12.0))
    short = make_result(1, steps=np.arange(3, 11) * 100, returns=np.arange(8.0))
    (cell,), warnings = load([long, short])
    assert cell.env_steps.tolist() == list(range(300, 1001, 100))
    np.testing.assert_array_equal(cell.returns, [np.arange(2.0, 10.0), np.arange(8.0)])
    assert cell.last_step == 1000
    assert _codes(warnings) == ["unequal-lengths"]


def test_a_seed_that_was_lost_early_does_not_cost_the_others_their_data(load, make_result):
    lost = make_result(2, steps=np.arange(1, 5) * 100, returns=[0.0, 100, 200, 300])
    (cell,), warnings = load([make_result(0), make_result(1), lost])
    assert cell.seeds.tolist() == [0, 1]
    assert cell.last_step == 1000
    assert _codes(warnings) == ["short-seed"]
    assert "seed 2 ends at env step 400" in warnings[0].message


@pytest.mark.parametrize(
    ("short", "why"),
    [
        ([(400, 300.0)], "one seed alone would remain"),
        ([(400, 900.0), (1000, 900.0)], "it came to the top threshold, 800, before it ended"),
        ([(800, 300.0), (1000, 900.0)], "it went on to 0.8 of the others' end"),
    ],
)
def test_other_short_seeds_stay_and_the_common_range_is_used(load, make_result, short, why):
    results = [make_result(0)]
    for seed, (end, last) in enumerate(short, 1):
        steps = np.arange(100, end + 1, 100)
        results.append(make_result(seed, steps=steps, returns=np.linspace(0, last, len(steps))))
    (cell,), warnings = load(results)
    assert len(cell.seeds) == len(results), why
    assert cell.env_steps[-1] == short[0][0]
    assert _codes(warnings) == ["unequal-lengths"]


def test_seeds_on_different_axes_are_averaged_in_bins_about_the_coarsest_ones_steps(load, make_result):
    fine = make_result(0, steps=np.arange(1, 21) * 50, returns=np.arange(1, 21) * 50.0)
    coarse = make_result(1, steps=[130, 430, 730, 1000], returns=[130.0, 430.0, 730.0, 1000.0])
    (cell,), warnings = load([fine, coarse])
    # edges midway: 280, 580, 865; in the common range that begins at 130
    assert cell.returns.tolist() == [[200, 425, 725, 950], [130, 430, 730, 1000]]
    # where returns rise evenly, the mean over seeds is at its own env step
    np.testing.assert_allclose(cell.returns.mean(axis=0), cell.env_steps, atol=0.51)
    assert cell.last_step == 1000
    assert _codes(warnings) == ["binned"]


def test_a_bin_is_as_wide_as_every_seed_needs_to_have_a_point_in_it(load, make_result):
    even = make_result(0, steps=np.arange(1, 11) * 100, returns=np.arange(1.0, 11.0))
    gap = make_result(1, steps=[*range(90, 400, 50), *range(740, 1001, 20)])
    (cell,), _ = load([even, gap])
    # what the first logged from 500 to 700 is one bin: nothing is made up for the second
    assert cell.returns[0].tolist() == [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 9.0, 10.0]
    # but a diverged seed holds its last return
    short = make_result(2, utd=2.0, steps=[95, 205, 290], status={"state": "diverged", "last_step": 290, "reason": "NaN"})
    (_, cell), warnings = load([make_result(0, utd=2.0), short])
    first, second, last = short.columns["return"]
    assert first < cell.returns[1, 0] < second
    assert cell.returns[1, 1:].tolist() == [second, *[last] * 8]
    assert "binned" in _codes(warnings)


def test_a_row_that_one_seed_lacks_is_left_out_and_the_others_stay_as_they_are(load, make_result):
    steps = np.arange(1, 41) * 100
    whole, lacking = make_result(0, steps=steps), make_result(1, steps=np.delete(steps, 20))
    (cell,), warnings = load([whole, lacking])
    assert cell.env_steps.tolist() == np.delete(steps, 20).tolist()
    np.testing.assert_array_equal(cell.returns, [np.delete(whole.columns["return"], 20), lacking.columns["return"]])
    assert [warning.message for warning in warnings] == [
        "sweep Ant-v4 σ=1 B=64 η=0.0003: 1 env steps that not all seeds logged are left out"
    ]


def test_a_seed_that_logged_nothing_in_the_common_range_is_reported(load, make_result):
    apart = make_result(0, steps=[100, 900], returns=[0.0, 800.0])
    middle = make_result(1, steps=[400, 500, 600], returns=[1.0, 2.0, 3.0], status={"last_step": 900})
    (cell,), warnings = load([apart, middle])
    assert cell.returns.tolist() == [[300, 400, 500], [1, 2, 3]]
    assert _codes(warnings) == ["interpolated"]


def test_another_aggregate_than_the_mean_is_reported_and_where_it_is_the_mean(load, make_result, study):
    two = [make_result(seed) for seed in range(2)]
    four = [make_result(seed, utd=2.0) for seed in range(4)]
    _, warnings = load([*two, *four], study=study.model_copy(update={"aggregate": "iqm"}))
    (said,) = [warning.message for warning in warnings if warning.code == "aggregate"]
    assert said.startswith("the interquartile mean over the seeds of a cell is used")
    assert said.endswith("in 1 of 2 cells there are so few seeds that the two are the same")
    assert "aggregate" not in _codes(load([])[1])


def _episodes(rng, *, noise, longest=350, tied=False):
    """Episodes of random length about 1000/(1 + exp((30,000 − t)/8000)) at env step t; `tied`: as long as their return is high."""

    def level(step):
        return 1000 / (1 + np.exp((30_000 - step) / 8000))

    steps, returns = [0], []
    while steps[-1] < 80_000:
        chance = noise * rng.standard_normal()
        length = 40 + 0.6 * level(steps[-1]) * max(1 + chance, 0) if tied else rng.uniform(0.15, 1) * longest
        steps.append(steps[-1] + int(length) + 1)
        returns.append(level(steps[-1]) * (1 + chance) if tied else level(steps[-1]) + 1000 * chance)
    return {"steps": steps[1:], "returns": returns}


LEVELS = np.array([300.0, 500.0, 800.0])
TRUTH = 30_000 + 8000 * np.log(LEVELS / (1000 - LEVELS))


def _errors(load, make_result, repeats, *, coarse, **options):
    """Errors of log D, bins first, interpolation at the coarsest seed's steps second; each of shape (repeats, n_levels)."""
    rng = np.random.default_rng(0)
    seeds = [[_episodes(rng, longest=350 * coarse if k == 4 else 350, **options) for k in range(5)] for _ in range(repeats)]
    results = [make_result(k, utd=1 + i / 100, **curve) for i, curves in enumerate(seeds) for k, curve in enumerate(curves)]
    load.store.write_packed(results, "part")
    cells, _ = load([])
    points = []
    for curves in seeds:
        grid = np.array(min((curve["steps"] for curve in curves), key=len))
        grid = grid[(grid >= max(c["steps"][0] for c in curves)) & (grid <= min(c["steps"][-1] for c in curves))]
        returns = np.stack([np.interp(grid, c["steps"], c["returns"]) for c in curves])
        points.append(replace(cells[0], env_steps=grid, returns=returns))
    return [np.log(find_crossings(part, LEVELS, n_draws=1, seed=0).data / TRUTH) for part in (cells, points)]


def test_bins_need_less_luck_than_points_where_one_seed_is_logged_seldom(load, make_result):
    bins, points = _errors(load, make_result, 200, coarse=5, noise=0.2)
    assert (bins.std(axis=0) < 0.9 * points.std(axis=0)).all()
    assert (np.abs(bins.mean(axis=0)) < 0.02).all()


def test_long_episodes_of_high_return_do_not_count_more_than_short_ones(load, make_result):
    """At a fixed env step the episode is likely a long one: points see returns that are too high, so that D is too small."""
    bins, points = _errors(load, make_result, 100, coarse=1, noise=0.5, tied=True)
    assert (points.mean(axis=0)[1:] < -0.02).all()
    assert (np.abs(bins.mean(axis=0)) < 0.75 * np.abs(points.mean(axis=0)))[1:].all()


def test_the_interval_of_a_crossing_holds_the_truth_where_there_is_no_noise(load, make_result):
    rng = np.random.default_rng(1)
    for longest in (100, 1000, 8000):
        curves = [_episodes(rng, noise=0.0, longest=longest) for _ in range(4)]
        cells, _ = load([make_result(seed, utd=float(longest), **curve) for seed, curve in enumerate(curves)])
        crossings = find_crossings([cells[-1]], LEVELS, n_draws=1, seed=0)
        width = crossings.upper - crossings.lower
        assert ((crossings.lower - 0.05 * width < TRUTH) & (crossings.upper + 0.05 * width >= TRUTH)).all()
        assert (width[0] <= 0.055 * TRUTH + 3.5 * longest).all()


def test_a_diverged_seed_holds_its_last_return_to_the_cells_end(load, make_result):
    whole = make_result(0)
    broken = make_result(
        1, steps=[100, 200, 300], returns=[5.0, 7.0, np.nan], status={"state": "diverged", "last_step": 300, "reason": "NaN"}
    )
    (cell,), warnings = load([whole, broken])
    assert cell.diverged.tolist() == [False, True]
    assert cell.returns[1].tolist() == [5.0, *[7.0] * 9]
    assert cell.last_step == 1000
    assert warnings == []


def test_a_seed_that_diverged_before_any_return_counts_as_low(load, make_result):
    status = {"state": "diverged", "last_step": 40, "reason": "NaN"}
    (cell,), _ = load([make_result(0), make_result(1, steps=[], returns=[], status=status)])
    assert cell.returns[1].tolist() == [0.0] * 10
    (_, cell), _ = load([make_result(1, utd=2.0, steps=[], returns=[], status=status)])
    assert cell.returns.tolist() == [[0.0]]
    assert cell.last_step == 40


def test_resets_are_those_that_any_seed_notes_or_else_the_studys(load, make_result, study):
    """A seed that diverged noted only the first."""
    status = [{"notes": {"resets": [300, 600, 2000]}}, {"notes": {"resets": [300]}, "state": "diverged"}, {}]
    results = [make_result(seed, status=values) for seed, values in enumerate(status)]
    (cell,), warnings = load(results)
    assert cell.resets == (300, 600, 2000)
    assert _codes(warnings) == ["resets"]
    assert "has resets of its networks" in warnings[0].message
    listed = study.model_copy(update={"reset_env_steps": (100, 450)})
    assert load_cells(load.store, listed)[0][0].resets == (100, 450)
    often = study.model_copy(update={"reset_critic_updates": 600})
    (cell, faster), warnings = load([make_result(0, utd=2.0)], study=often)
    assert cell.resets == (600,)
    assert faster.resets == (300, 600, 900)
    assert next(w.message for w in warnings if w.code == "resets").startswith("2 cells have resets")
    with pytest.raises(UserError, match="reset_critic_updates: 1 makes 1,000,000 resets in Humanoid-v4"):
        load([make_result(0, task="Humanoid-v4", steps=[10**6])], study=study.model_copy(update={"reset_critic_updates": 1}))


def test_where_no_resets_are_known_there_are_none(load, make_result):
    (cell,), warnings = load([make_result(0), make_result(1)])
    assert cell.resets == ()
    assert warnings == []


def test_a_failed_run_is_missing_and_says_why(load, make_result):
    failed = make_result(1, steps=[], returns=[], status={"state": "failed", "last_step": 0, "reason": "out of memory"})
    (cell,), warnings = load([make_result(0), failed])
    assert cell.seeds.tolist() == [0]
    assert _codes(warnings) == ["failed-run", "one-seed"]
    assert "out of memory" in warnings[0].message


def test_copies_are_flagged_and_kept_but_the_first_of_them_is_not_one(load, make_result):
    values = np.arange(10.0)
    (cell,), warnings = load([make_result(seed, returns=values if seed in (1, 3, 4) else None) for seed in range(5)])
    assert cell.duplicate.tolist() == [False, False, False, True, True]
    assert len(cell.returns) == 5
    assert _codes(warnings) == ["duplicate-seeds"]
    assert "seeds 3, 4 " in warnings[0].message


def test_seeds_that_never_solve_a_task_are_not_copies_of_each_other(load, make_result):
    (cell,), warnings = load([make_result(seed, returns=np.zeros(10)) for seed in range(3)])
    assert not cell.duplicate.any()
    assert warnings == []


def test_what_is_wrong_with_runs_is_said_and_does_not_stop_the_others(load, make_result, tmp_path):
    infinite = np.arange(10.0)
    infinite[3] = np.inf
    results = [
        make_result(0),
        make_result(1, returns=infinite),
        make_result(2, returns=np.full(10, np.nan)),
        make_result(3),
        make_result(0, task="Hopper-v4"),
    ]
    RunStore(tmp_path).write(results[3])
    path = tmp_path / "runs" / results[3].spec.run_id / "curve.parquet"
    path.write_bytes(path.read_bytes()[:100])
    (cell,), warnings = load([results[0], results[1], results[2], results[4]])
    assert cell.seeds.tolist() == [0, 1]
    assert len(cell.env_steps) == 9
    assert _codes(warnings) == ["foreign-task", "no-returns", "non-finite-return", "unreadable-run", "unshared-steps"]


def test_cells_come_in_one_order_and_by_stage(load, make_result):
    results = [
        make_result(seed, utd=utd, batch_size=batch_size, stage=stage)
        for stage in ("scaling", "sweep")
        for utd in (4, 0.25)
        for batch_size in (256, 32)
        for seed in range(2)
    ]
    cells, _ = load(results)
    keys = [(c.spec.task, c.spec.utd, c.spec.batch_size, c.spec.learning_rate, c.spec.cell_id) for c in cells]
    assert keys == sorted(keys)
    assert len(keys) == 8
    only, _ = load([], stages=["scaling"])
    assert {c.spec.stage for c in only} == {"scaling"}
    assert len(only) == 4


def test_costs_are_means_over_the_seeds_that_know_them(load, make_result):
    known = {
        "critic_parameters": 1000,
        "critic_update_flops": 9000,
        "actor_update_flops": 8000,
        "env_seconds": 2.0,
        "update_seconds": 6.0,
        "wall_seconds": 9.0,
        "critic_updates": 300,
    }
    results = [make_result(0, status=known, settings={"warm_up": 50}), make_result(1, settings={"warm_up": 50})]
    (cell,), _ = load(results)
    assert cell.costs == {
        "critic_parameters": 1000.0,
        "critic_update_flops": 9000.0,
        "actor_update_flops": 8000.0,
        "warm_up": 50.0,
        "env_seconds_per_step": 0.002,
        "step_seconds": 0.003,
        "update_seconds_per_critic_update": 0.02,
    }


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cell_never_claims_more_than_its_seeds_show(tmp_path_factory, make_result, study, data):
    results = []
    for seed in range(data.draw(st.integers(1, 4))):
        steps = np.array(sorted(data.draw(st.sets(st.integers(1, 60), min_size=1, max_size=15))))
        slope = data.draw(st.floats(-5, 5))
        state = data.draw(st.sampled_from(["finished", "finished", "diverged"]))
        results.append(make_result(seed, steps=steps, returns=slope * steps, status={"state": state, "reason": None}))
    store = RunStore(tmp_path_factory.mktemp("cells"))
    store.write_packed(results, "part")
    (cell,), _ = load_cells(store, study)
    n_seeds, n_steps = cell.returns.shape
    assert (n_seeds, n_steps) == (len(cell.seeds), len(cell.env_steps))
    left_out = [r for r in results if r.spec.seed not in cell.seeds]
    assert n_seeds >= min(2, len(results))
    ends = [r.status.last_step for r in results if r.status.state == "finished"]
    assert all(r.status.last_step < 0.8 * np.median(ends) for r in left_out)
    results = [r for r in results if r.spec.seed in cell.seeds]
    assert (np.diff(cell.env_steps) > 0).all()
    assert np.isfinite(cell.returns).all()
    for row, result in zip(cell.returns, results, strict=True):
        values = result.columns["return"]
        assert values.min() - 1e-9 <= row.min() <= row.max() <= values.max() + 1e-9
    finished = [r for r in results if r.status.state == "finished"]
    if finished:
        assert cell.last_step >= min(r.status.last_step for r in finished)
        assert cell.env_steps[-1] <= max(r.status.last_step for r in finished)
