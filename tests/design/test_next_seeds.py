"""Which seeds of stage 2 are run next: what one tells, in which order they are asked for, when it ends."""

from dataclasses import replace

import numpy as np
import pytest

from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.data_law import collect_points, fit_data_laws
from tdscale.design.data_law import LawDraws, ScalingCandidates, ScalingRules, next_seeds
from tdscale.design.records import CellRequest
from tdscale.design.replay import Archive
from tdscale.simulate import LawTruth, SweepDesign, simulate_cell

UTD = (0.5, 1.0, 2.0, 4.0)
THRESHOLDS = (500.0, 800.0)
TRUTH = LawTruth(d_min={"one": 3e4, "two": 6e4})
PAIR = (256, 3e-4)
CANDIDATES = ScalingCandidates(
    values={(task, utd): PAIR for task in TRUTH.tasks for utd in UTD}, env_steps=dict.fromkeys(TRUTH.tasks, 600_000), seeds=4
)


def archive(noise="medium", seed=0):
    design = SweepDesign(seeds=CANDIDATES.seeds, length=1.6, log_interval=2000)
    return Archive(lambda key: simulate_cell(TRUTH, design, key[:2], key[2:], noise, seed=seed), 800.0)


def run(there, seeds):
    """Reveal so many seeds, a number or by (task, σ)."""
    for task, utd in CANDIDATES.values:
        count = seeds if isinstance(seeds, int) else seeds.get((task, utd), 2)
        there.run(CellRequest(task=task, utd=utd, batch_size=PAIR[0], learning_rate=PAIR[1], seeds=count, env_steps=600_000))
    return there.cells


def law_of(cells):
    points = collect_points(cells, find_crossings(cells, THRESHOLDS, n_draws=200, seed=0), TRUTH.tasks)
    return fit_data_laws(points, 0)[0][-1], points


class TestWhatASeedTells:
    def linear(self, variance, misfit, n_draws=100_000):
        """Draws of a law that is log D = a + b·log σ, a and b known to 0.3 and 0.2, for one task."""
        places = [("one", utd) for utd in UTD]
        x = np.log(UTD)
        draws = np.random.default_rng(0).standard_normal((n_draws, 2)) * [0.3, 0.2]

        class Law:
            def predict(self, utd, task):
                return np.exp(10 + 0 * np.asarray(utd))

            def predict_draws(self, utd, task):
                return np.exp(10 + draws[:, :1] + draws[:, 1:] * np.log(utd))

        targets = draws[:, :1] + draws[:, 1:] * x
        known = LawDraws(Law(), places, targets, np.arange(4), np.full(4, variance), misfit)
        return known, places, np.column_stack([np.ones(4), x])

    def test_a_seed_narrows_the_law_as_bayes_linear_regression_says(self):
        known, places, basis = self.linear(variance=0.09, misfit=0.09)
        have = dict.fromkeys(places, 0)
        prior = np.diag([0.09, 0.04])
        for index, place in enumerate(places):
            row = basis[index]
            # two seeds of one place: their mean, and the place's misfit, which they share
            posterior = np.linalg.inv(np.linalg.inv(prior) + np.outer(row, row) / (0.09 / 2 + 0.09))
            expected = 1.2816 * np.sqrt(np.diag(basis @ posterior @ basis.T)).max()
            assert known.after({place: 2}, have) == pytest.approx(expected, rel=0.02)

    def test_the_first_seed_is_where_it_tells_most_for_its_price(self):
        known, places, basis = self.linear(variance=0.09, misfit=0.0)
        have, prior = dict.fromkeys(places, 0), np.diag([0.09, 0.04])
        cost = {("one", utd, PAIR[0]): price for utd, price in zip(UTD, (9.0, 1.0, 1.0, 2.0), strict=True)}
        candidates = replace(CANDIDATES, values=dict.fromkeys(places, PAIR))
        falls = []
        for row in basis:
            posterior = np.linalg.inv(np.linalg.inv(prior) + np.outer(row, row) / 0.09)
            falls.append(np.trace(basis @ (prior - posterior) @ basis.T))
        best = max(range(4), key=lambda index: falls[index] / cost["one", UTD[index], PAIR[0]])
        ranked = known.ranked(have, 3, candidates, ScalingRules(step_price=cost))
        assert ranked[0].place == places[best]
        assert [one.expected for one in ranked] == sorted((one.expected for one in ranked), reverse=True)

    def test_what_no_seed_can_average_out_bounds_what_many_seeds_tell(self):
        few, places, _ = self.linear(variance=0.09, misfit=0.04)
        have = dict.fromkeys(places, 0)
        exact, _, _ = self.linear(variance=0.09, misfit=0.0)
        many = dict.fromkeys(places, 10_000)
        assert exact.after(many, have) < 0.02
        assert few.after(many, have) > 0.1


def test_the_first_round_is_two_seeds_everywhere():
    first = next_seeds([], THRESHOLDS, CANDIDATES, ScalingRules())
    assert {(one.task, one.utd): one.seeds for one in first.cells} == dict.fromkeys(CANDIDATES.values, 2)
    assert {(one.batch_size, one.learning_rate) for one in first.cells} == {PAIR}
    assert first.precision is None
    # what is there is not asked for again; seeds that a place lacks are
    cells = [cell for cell in run(archive(), 2) if cell.spec.utd != 4.0]
    lacking = next_seeds(cells, THRESHOLDS, CANDIDATES, ScalingRules())
    assert {(one.task, one.utd) for one in lacking.cells} == {("one", 4.0), ("two", 4.0)}


def test_seeds_are_added_until_every_cell_has_all_of_them_and_never_more():
    there, rules = archive(), ScalingRules(precision=1e-3, worth=0.0)
    seen = []
    for _ in range(30):
        step = next_seeds(there.cells, THRESHOLDS, CANDIDATES, rules, spent=there.env_steps)
        if not step.cells:
            break
        seen.append(step)
        for request in step.cells:
            there.run(request)
    assert step.why == "every cell has all of its seeds"
    assert there.runs == CANDIDATES.seeds * len(CANDIDATES.values)
    assert all(one.expected < one.precision for one in seen[1:])
    assert step.precision < seen[1].precision


def test_it_ends_where_the_law_is_known_well_enough():
    cells = run(archive("low"), 3)
    law, points = law_of(cells)
    known = LawDraws.of_law(law, points, list(CANDIDATES.values), list(CANDIDATES.values))
    # by hand: half of log(upper/lower), mean over tasks, at the widest σ
    ends = [[np.quantile(np.log(law.predict_draws([utd], task)[:, 0]), [0.1, 0.9]) for task in TRUTH.tasks] for utd in UTD]
    widest = max(np.mean([(high - low) / 2 for low, high in at]) for at in ends)
    assert known.precision() == pytest.approx(widest, rel=1e-6)
    done = next_seeds(cells, THRESHOLDS, CANDIDATES, ScalingRules(precision=1.01 * widest))
    assert not done.cells
    assert "is below" in done.why
    assert next_seeds(cells, THRESHOLDS, CANDIDATES, ScalingRules(precision=0.9 * widest, worth=0.0)).cells


def test_it_ends_where_the_seeds_left_are_worth_little():
    cells = run(archive(), 3)
    assert next_seeds(cells, THRESHOLDS, CANDIDATES, ScalingRules(precision=1e-3, worth=0.0)).cells
    done = next_seeds(cells, THRESHOLDS, CANDIDATES, ScalingRules(precision=1e-3, worth=0.9))
    assert not done.cells
    assert "less than 90%" in done.why


def test_a_limit_on_env_steps_is_kept():
    cells = run(archive(), 2)
    rules = ScalingRules(precision=1e-3, worth=0.0, most_env_steps=2e6)
    whole = next_seeds(cells, THRESHOLDS, CANDIDATES, rules, spent=0.0)
    part = next_seeds(cells, THRESHOLDS, CANDIDATES, rules, spent=2e6 - 0.6 * whole.env_steps)
    assert 0 < part.env_steps <= 0.6 * whole.env_steps
    assert part.cells == whole.cells[: len(part.cells)]
    assert next_seeds(cells, THRESHOLDS, CANDIDATES, rules, spent=2e6).why == "the limit on env steps is reached"


def test_the_choice_does_not_depend_on_the_order_of_the_cells():
    cells = run(archive(), 2)
    rules = ScalingRules(precision=1e-3, worth=0.0)
    forward, backward = (next_seeds(order, THRESHOLDS, CANDIDATES, rules) for order in (cells, cells[::-1]))
    assert forward == backward


def test_a_task_that_never_reaches_the_threshold_is_given_no_seed_for_nothing():
    cells = run(archive(), 2)
    low = [replace(cell, returns=np.minimum(cell.returns, 300.0)) if cell.spec.task == "two" else cell for cell in cells]
    wanted = next_seeds(low, THRESHOLDS, CANDIDATES, ScalingRules(precision=1e-3, worth=0.0))
    assert wanted.cells
    assert {one.task for one in wanted.cells} == {"one"}


def test_runs_at_other_batch_sizes_or_learning_rates_do_not_count():
    cells = run(archive(), 2)
    other = replace(CANDIDATES, values=dict.fromkeys(CANDIDATES.values, (128, 3e-4)))
    assert len(next_seeds(cells, THRESHOLDS, other, ScalingRules()).cells) == len(CANDIDATES.values)
