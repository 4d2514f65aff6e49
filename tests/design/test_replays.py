"""Archives reveal the runs that are asked for, and nothing else; cells with more seeds count more in the surface."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sweeps import CANDIDATES, THRESHOLDS, archive_of

from tdscale.analysis.response_surface import SurfaceModel, SweepCells
from tdscale.design.belief import Belief, see
from tdscale.design.records import CellRequest
from tdscale.design.replay import Archive
from tdscale.design.rounds import Rules, next_round

REQUEST = CellRequest(task="one", utd=2.0, batch_size=128, learning_rate=4e-4, seeds=3, env_steps=10_000)
WHOLE = archive_of().whole(REQUEST.key)


@given(limits=st.lists(st.integers(1_000, 400_000), min_size=1, max_size=4).map(sorted))
def test_revealing_in_steps_is_revealing_at_once(limits):
    in_steps, at_once = Archive([WHOLE], THRESHOLDS[-1]), Archive([WHOLE], THRESHOLDS[-1])
    for limit in limits:
        in_steps.run(replace(REQUEST, env_steps=limit))
    at_once.run(replace(REQUEST, env_steps=limits[-1]))
    (stepwise,), (once,) = in_steps.cells, at_once.cells
    assert stepwise.last_step == once.last_step
    assert np.array_equal(stepwise.returns, once.returns)
    assert in_steps.env_steps == at_once.env_steps == 3 * once.last_step


@given(asked=st.lists(st.tuples(st.integers(1, 3), st.integers(2_000, 400_000)), min_size=1, max_size=5))
def test_env_steps_are_those_of_the_runs_and_a_whole_cell_is_what_it_is_cut_from(asked):
    archive, most = Archive([WHOLE], THRESHOLDS[-1]), 0
    for seeds, limit in sorted(asked):
        archive.run(replace(REQUEST, seeds=seeds, env_steps=limit))
        (seen,) = archive.cells
        most = max(most, limit)
        assert len(seen.seeds) == seeds
        assert seen.last_step <= most
        assert archive.env_steps == seeds * seen.last_step
        assert np.array_equal(seen.returns, WHOLE.returns[:seeds, : len(seen.env_steps)])


def test_a_cell_that_reached_the_threshold_stops_a_margin_past_it():
    archive = archive_of()
    archive.run(replace(REQUEST, env_steps=400_000))
    (cell,) = archive.cells
    mean = cell.returns.mean(axis=0)
    assert cell.last_step < 400_000
    # the first step at which the isotonic mean is above 800 lies at 1/1.1 of the end, to a logged step
    near = cell.env_steps <= cell.last_step / 1.1 + 2000
    assert mean[near].max() >= 780
    assert mean[~near].mean() >= 790


def sweep_of(belief: Belief, seeds: np.ndarray | None) -> SweepCells:
    return replace(belief.model.sweep, seeds=seeds)


@pytest.fixture(scope="module")
def belief() -> Belief:
    archive = archive_of()
    for request in next_round([], THRESHOLDS, CANDIDATES, Rules()).cells:
        archive.run(request)
    return Belief(see(archive.cells, CANDIDATES, THRESHOLDS), CANDIDATES)


@pytest.mark.parametrize("number", [1.0, 3.0, 10.0])
def test_with_as_many_seeds_in_every_cell_the_surface_is_bit_for_bit_that_without(belief, number):
    present = belief.model.sweep.present
    plain = SurfaceModel(sweep_of(belief, None)).solve(10)
    counted = SurfaceModel(sweep_of(belief, np.full(present.shape, number))).solve(10)
    for name in ("shared", "local", "noise", "deviation"):
        assert np.array_equal(getattr(plain, name), getattr(counted, name))
    assert plain.misfit == counted.misfit


def test_a_cell_with_more_seeds_counts_more(belief):
    """One cell's D is moved: the surface follows it the further, the more seeds it has."""
    sweep = belief.model.sweep
    moved = sweep.log_data.copy()
    place, cell = 1, int(np.argmin(np.where(sweep.present[1] & ~sweep.censored[1], sweep.log_data[1], np.inf)))
    moved[place, cell] += 0.3
    shifts = []
    for number in (1.0, 4.0, 16.0):
        seeds = np.where(sweep.present, 2.0, 1.0)
        seeds[place, cell] = number
        levels = []
        for log_data in (sweep.log_data, moved):
            model = SurfaceModel(replace(sweep, seeds=seeds, log_data=log_data))
            state = model.solve(20)
            excess = sum(value for value, _, _ in model.bowls(state.shared, state.local))
            levels.append(float(state.local[place, 0] + excess[place, cell]))
        shifts.append(levels[1] - levels[0])
    assert shifts[0] < shifts[1] < shifts[2]
