"""Rounds of an adaptive sweep: what is asked for, what never is, and when it ends."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sweeps import BATCH_SIZES, CANDIDATES, RATES, THRESHOLDS, UTD, archive_of, regret_of, with_best

from tdscale.design.belief import Belief, see
from tdscale.design.candidates import Candidates
from tdscale.design.replay import Archive, replay, stopped
from tdscale.design.rounds import FIRST, OPEN_MOST, Next, Rules, next_round
from tdscale.simulate import NOISE


def after_first_round(archive: Archive, candidates: Candidates = CANDIDATES, rules: Rules | None = None) -> Next:
    """The second round."""
    rules = rules or Rules(regret=0.0)
    for request in next_round([], THRESHOLDS, candidates, rules).cells:
        archive.run(request)
    return next_round(archive.cells, THRESHOLDS, candidates, rules, spent=archive.env_steps)


@given(seed=st.integers(0, 10_000))
def test_the_first_round_spreads_over_each_task_without_repeats(seed):
    step = next_round([], THRESHOLDS, CANDIDATES, Rules(seed=seed))
    assert len({cell.key for cell in step.cells}) == len(step.cells) == FIRST * len(CANDIDATES.places)
    assert all(cell.seeds == 1 for cell in step.cells)
    for task in CANDIDATES.tasks:
        own = [(cell.batch_size, cell.learning_rate) for cell in step.cells if cell.task == task]
        # nine of the 20 cells are asked for: most B and η are among them, and hardly a cell twice
        assert len({batch for batch, _ in own}) >= len(BATCH_SIZES) - 1
        assert len({rate for _, rate in own}) >= len(RATES) - 1
        assert len(set(own)) >= len(own) - 1


def test_a_round_is_a_function_of_the_cells_alone():
    archive = archive_of()
    step = after_first_round(archive)
    for request in step.cells:
        archive.run(request)
    cells = archive.cells
    expected = next_round(cells, THRESHOLDS, CANDIDATES, Rules(regret=0.0), spent=archive.env_steps)
    for order in (cells[::-1], sorted(cells, key=lambda cell: cell.last_step)):
        assert next_round(order, THRESHOLDS, CANDIDATES, Rules(regret=0.0), spent=archive.env_steps) == expected


def test_a_round_lowers_the_expected_regret():
    step = after_first_round(archive_of())
    assert step.regret is not None
    assert step.expected is not None
    assert step.expected < step.regret.expected <= step.regret.bound
    fewer = after_first_round(archive_of(), rules=Rules(regret=0.0, round_size=2))
    assert fewer.expected is not None
    assert len(fewer.cells) <= 2
    assert fewer.expected > step.expected


def test_dear_env_steps_are_asked_for_less_often():
    dear = {(task, utd, batch): 50.0 if batch > 128 else 1.0 for task, utd in CANDIDATES.places for batch in (*BATCH_SIZES, 16, 1024)}
    usual = after_first_round(archive_of(), rules=Rules(regret=0.0, round_size=12))
    spared = after_first_round(archive_of(), rules=Rules(regret=0.0, round_size=12, step_price=dear))
    assert sum(cell.batch_size > 128 for cell in spared.cells) < sum(cell.batch_size > 128 for cell in usual.cells)


@pytest.mark.parametrize(
    ("best", "beyond"),
    [
        ({"batch_size": 1500.0, "learning_rate": 2.8e-4}, lambda b, r: b > 512 and r <= max(RATES)),
        ({"learning_rate": 3e-5}, lambda b, r: r < 1e-4 and b <= 512),
    ],
)
def test_cells_beyond_the_grid_are_asked_for_only_at_the_end_where_the_best_value_lies(best, beyond):
    archive = archive_of(with_best(**best))
    done = replay(archive, CANDIDATES, THRESHOLDS, Rules(regret=0.0), most_rounds=5)
    found = {(cell.spec.batch_size, cell.spec.learning_rate) for cell in done[-1].cells} - set(CANDIDATES.grid)
    assert found
    assert all(beyond(*pair) for pair in found)


def test_no_cell_beyond_the_grid_where_the_best_values_lie_within_it():
    archive = archive_of(with_best(128.0, 2.8e-4))
    done = replay(archive, CANDIDATES, THRESHOLDS, Rules(regret=0.0), most_rounds=5)
    assert {(cell.spec.batch_size, cell.spec.learning_rate) for cell in done[-1].cells} <= set(CANDIDATES.grid)


def test_no_cell_beyond_the_grid_where_it_is_not_allowed():
    inside = replace(CANDIDATES, beyond=False)
    archive = archive_of(with_best(batch_size=1500.0), candidates=inside)
    done = replay(archive, inside, THRESHOLDS, Rules(regret=0.0), most_rounds=5)
    assert {(cell.spec.batch_size, cell.spec.learning_rate) for cell in done[-1].cells} <= set(inside.grid)


@pytest.mark.parametrize("most", [2e6, 6e6])
def test_a_limit_on_env_steps_is_met(most):
    archive = archive_of()
    rules = Rules(regret=0.0, most_env_steps=most)
    replay(archive, CANDIDATES, THRESHOLDS, rules)
    assert 0.4 * most < archive.env_steps <= most
    end = next_round(archive.cells, THRESHOLDS, CANDIDATES, rules, spent=archive.env_steps)
    assert not end.cells
    assert "limit on env steps" in end.why


def test_no_cell_gets_more_seeds_than_there_may_be_and_a_sweep_ends_once_all_have_them(monkeypatch):
    monkeypatch.setattr("tdscale.design.rounds.MOST_OF_GRID", np.inf)
    few = replace(CANDIDATES, batch_size=(64, 256), learning_rate=(2e-4, 8e-4), beyond=False, seeds=2)
    archive = archive_of(candidates=few)
    done = replay(archive, few, THRESHOLDS, Rules(regret=0.0))
    assert all(len(cell.seeds) == 2 for cell in done[-1].cells)
    assert len(done[-1].cells) == 4 * len(few.places)
    end = next_round(archive.cells, THRESHOLDS, few, Rules(regret=0.0), spent=archive.env_steps)
    assert not end.cells
    assert end.why == "every cell has all of its seeds"


def test_a_place_that_reaches_nothing_is_given_up():
    short = replace(CANDIDATES, env_steps={"one": 400_000, "two": 4_000})
    archive = archive_of(candidates=short)
    replay(archive, short, THRESHOLDS, Rules(), most_rounds=12)
    end = next_round(archive.cells, THRESHOLDS, short, Rules(), spent=archive.env_steps)
    assert end.given_up == tuple(("two", utd) for utd in UTD)
    for utd in UTD:
        assert sum((cell.spec.task, cell.spec.utd) == ("two", utd) for cell in archive.cells) == OPEN_MOST


def test_a_sweep_in_which_nothing_reaches_a_threshold_ends_and_says_so():
    short = replace(CANDIDATES, env_steps={"one": 4_000, "two": 4_000})
    archive = archive_of(candidates=short)
    done = replay(archive, short, THRESHOLDS, Rules())
    assert len(archive.cells) == OPEN_MOST * len(short.places)
    assert all(each.regret is None for each in done)
    end = next_round(archive.cells, THRESHOLDS, short, Rules(), spent=archive.env_steps)
    assert not end.cells
    assert "no cell has reached a threshold" in end.why


@pytest.mark.parametrize(
    "narrow", [{"utd": (2.0,), "answer_utd": (2.0,)}, {"batch_size": (128,)}, {"learning_rate": (4e-4,)}, {"batch_size": (64, 256)}]
)
def test_a_sweep_of_one_value_on_an_axis_works(narrow):
    candidates = replace(CANDIDATES, **narrow)
    archive = archive_of(candidates=candidates)
    done = replay(archive, candidates, THRESHOLDS, Rules())
    assert done[-1].regret is not None
    assert done[-1].regret.expected < 0.05
    assert {cell.spec.utd for cell in archive.cells} == set(candidates.utd)
    if "batch_size" in narrow and len(narrow["batch_size"]) == 1:
        assert {cell.spec.batch_size for cell in archive.cells} == {128}


def test_only_cells_that_there_are_are_asked_for():
    rates = {"one": RATES[:2], "two": RATES[2:]}
    there = frozenset((task, utd, b, r) for task, utd in CANDIDATES.places for b in BATCH_SIZES[::2] for r in rates[task])
    only = replace(CANDIDATES, only=there)
    archive = archive_of(candidates=only)
    replay(archive, only, THRESHOLDS, Rules(regret=0.0), most_rounds=8)
    asked = {(c.spec.task, c.spec.utd, c.spec.batch_size, c.spec.learning_rate) for c in archive.cells}
    assert asked <= there
    assert len(asked) >= FIRST * len(only.places)


def test_a_known_truth_is_found_at_a_small_share_of_the_grid():
    archive = archive_of()
    done = replay(archive, CANDIDATES, THRESHOLDS, Rules())
    belief = Belief(see(archive.cells, CANDIDATES, THRESHOLDS), CANDIDATES)
    laws = {(task, utd): belief.law(index, utd) for index, task in enumerate(CANDIDATES.tasks) for utd in UTD}
    assert done[-1].regret is not None
    assert done[-1].regret.expected < 0.05
    assert regret_of(laws) < 0.05
    whole = archive_of()
    grid = sum(
        1.1 * CANDIDATES.seeds * whole.whole((task, utd, b, r)).env_steps[np.argmax(curve >= 800)] if (curve >= 800).any() else limit
        for task, utd in CANDIDATES.places
        for b, r in CANDIDATES.grid
        for curve in [whole.whole((task, utd, b, r)).returns.mean(axis=0)]
        for limit in [CANDIDATES.seeds * CANDIDATES.env_steps[task]]
    )
    assert archive.env_steps < 0.1 * grid


def test_it_ends_once_it_has_taken_half_of_what_the_whole_grid_would():
    """However small the regret that is asked for, and though cells beyond the grid are left."""
    small = replace(CANDIDATES, tasks=CANDIDATES.tasks[:1], utd=UTD[:2], batch_size=BATCH_SIZES[1:3], learning_rate=RATES[1:3], seeds=2)
    archive = archive_of(candidates=small)
    keys = [(*place, *pair) for place in small.places for pair in small.grid]
    grid = sum(2 * stopped(archive.whole(key), THRESHOLDS[-1], np.inf, 0.1).last_step for key in keys)
    done = replay(archive, small, THRESHOLDS, Rules(regret=1e-9))
    end = next_round(archive.cells, THRESHOLDS, small, Rules(regret=1e-9), spent=archive.env_steps)
    assert end.why == "it has taken half of the env steps of the whole grid"
    assert 0.45 * grid < done[-1].env_steps < 0.8 * grid


def test_the_true_regret_lies_mostly_below_the_bound_at_which_a_sweep_stops():
    below = []
    for seed in range(8):
        archive = archive_of(noise=NOISE["low"], seed=seed)
        replay(archive, CANDIDATES, THRESHOLDS, Rules(seed=seed), most_rounds=40)
        belief = Belief(see(archive.cells, CANDIDATES, THRESHOLDS), CANDIDATES)
        laws = {(task, utd): belief.law(index, utd) for index, task in enumerate(CANDIDATES.tasks) for utd in UTD}
        assert belief.regret.expected < 0.05
        below.append(regret_of(laws) < belief.regret.bound)
    # at a chance of 0.8 each, 4 or fewer of 8 happen to 6 in 100
    assert sum(below) > 4


def test_the_first_round_leaves_out_cells_whose_env_steps_are_dear():
    """Its runs are not cut, so that one at a large B and σ may cost as much as all the others."""
    price = {(*place, batch): batch / 32 for place in CANDIDATES.places for batch in (*BATCH_SIZES, 16, 1024)}
    first = next_round([], THRESHOLDS, CANDIDATES, Rules(step_price=price)).cells
    # the median of 32 … 512 is 128
    assert {cell.batch_size for cell in first} == {32, 64, 128, 256}
    assert len(first) == FIRST * len(CANDIDATES.places)
    same = dict.fromkeys(price, 3.0)
    assert next_round([], THRESHOLDS, CANDIDATES, Rules(step_price=same)).cells == next_round([], THRESHOLDS, CANDIDATES, Rules()).cells
