"""Stage 2 over networks of several sizes: which (task, σ, size) gets the next seeds."""

from collections import Counter
from dataclasses import replace

import pytest
from test_next_seeds import CANDIDATES, PAIR, THRESHOLDS, TRUTH

from tdscale.design.data_law import ScalingRules, next_seeds
from tdscale.design.replay import Archive
from tdscale.design.sized_seeds import next_sized_seeds
from tdscale.runs.types import Cell
from tdscale.simulate import SweepDesign, simulate_cell

SIZES = {"small": 1e6, "large": 1e8}
SIZED = {"small": CANDIDATES, "large": replace(CANDIDATES, values=dict.fromkeys(CANDIDATES.values, (512, 2e-4)))}
KEEP_ON = ScalingRules(precision=1e-3, worth=0.0)


def archive(noise=None) -> Archive:
    """The large networks need less data; noise by size."""
    design = SweepDesign(seeds=CANDIDATES.seeds, length=1.6, log_interval=2000)

    def make(key) -> Cell:
        size = key[4]
        truth = replace(TRUTH, d_min={task: data * (1.0 if size == "small" else 0.7) for task, data in TRUTH.d_min.items()})
        cell = simulate_cell(truth, design, key[:2], key[2:4], (noise or {}).get(size, "medium"))
        return replace(cell, size=size, model_size=SIZES[size])

    return Archive(make, 800.0)


def after(rounds: int, there: Archive, rules: ScalingRules = KEEP_ON) -> list[Cell]:
    for _ in range(rounds):
        for request in next_sized_seeds(there.cells, THRESHOLDS, SIZED, rules, spent=there.env_steps).cells:
            there.run(request)
    return there.cells


def test_the_first_round_is_two_seeds_everywhere_at_each_sizes_own_b_and_eta():
    first = next_sized_seeds([], THRESHOLDS, SIZED, ScalingRules())
    assert Counter((one.task, one.utd, one.size) for one in first.cells) == {(*place, s): 1 for place in CANDIDATES.values for s in SIZES}
    assert all(one.seeds == 2 for one in first.cells)
    assert {(one.size, one.batch_size, one.learning_rate) for one in first.cells} == {("small", *PAIR), ("large", 512, 2e-4)}


def test_seeds_go_to_the_size_that_is_known_worse():
    cells = after(1, archive({"small": "high", "large": "low"}))
    step = next_sized_seeds(cells, THRESHOLDS, SIZED, KEEP_ON)
    assert step.cells
    more = Counter({size: sum(one.seeds - 2 for one in step.cells if one.size == size) for size in SIZES})
    assert more["small"] > more["large"]
    assert step.expected < step.precision


def test_a_size_whose_env_steps_are_dear_gets_fewer_seeds():
    cells = after(1, archive())
    price = {
        (*place, batch, size): 1.0 if size == "small" else 50.0 for place in CANDIDATES.values for batch in (PAIR[0], 512) for size in SIZES
    }

    def large(rules: ScalingRules) -> int:
        return sum(one.seeds - 2 for one in next_sized_seeds(cells, THRESHOLDS, SIZED, rules).cells if one.size == "large")

    assert large(replace(KEEP_ON, step_price=price)) < large(KEEP_ON)


def test_it_ends_with_all_seeds_or_where_every_size_is_known_well_enough():
    there = archive()
    cells = after(12, there)
    done = next_sized_seeds(cells, THRESHOLDS, SIZED, KEEP_ON)
    assert done.why == "every cell has all of its seeds"
    assert there.runs == 2 * CANDIDATES.seeds * len(CANDIDATES.values)
    by_size = [next_seeds([c for c in cells if c.size == s], THRESHOLDS, SIZED[s], KEEP_ON).precision for s in SIZES]
    assert done.precision == pytest.approx(max(by_size))
    enough = next_sized_seeds(cells, THRESHOLDS, SIZED, ScalingRules(precision=1.01 * max(by_size)))
    assert "below" in enough.why
    assert "size" in enough.why


def test_a_size_that_is_known_well_enough_gets_no_more_seeds():
    cells = after(1, archive({"small": "high", "large": "low"}))
    good = next_seeds([c for c in cells if c.size == "large"], THRESHOLDS, SIZED["large"], KEEP_ON).precision
    step = next_sized_seeds(cells, THRESHOLDS, SIZED, ScalingRules(precision=1.01 * good, worth=0.0))
    assert {one.size for one in step.cells} == {"small"}


def test_a_limit_on_env_steps_is_met_over_all_sizes():
    cells = after(1, archive())
    whole = next_sized_seeds(cells, THRESHOLDS, SIZED, KEEP_ON)
    part = next_sized_seeds(cells, THRESHOLDS, SIZED, replace(KEEP_ON, most_env_steps=2e7), spent=2e7 - 0.5 * whole.env_steps)
    assert 0 < len(part.cells) < len(whole.cells)
    assert part.env_steps <= 0.5 * whole.env_steps


def test_one_size_is_stage_two_without_sizes():
    cells = [cell for cell in after(1, archive()) if cell.size == "small"]
    for rules in (KEEP_ON, ScalingRules(precision=10.0), ScalingRules(precision=1e-3, worth=0.99)):
        alone, plain = next_sized_seeds(cells, THRESHOLDS, {"small": CANDIDATES}, rules), next_seeds(cells, THRESHOLDS, CANDIDATES, rules)
        assert [(one.key, one.seeds, one.env_steps) for one in alone.cells] == [(one.key, one.seeds, one.env_steps) for one in plain.cells]
        assert (alone.precision, alone.expected, alone.env_steps) == (plain.precision, plain.expected, plain.env_steps)
