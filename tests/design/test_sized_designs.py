"""Adaptive sweeps over networks of several sizes: a place is a (task, σ, size)."""

from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from small_sweeps import BATCH_SIZES, CANDIDATES, LITTLE, RATES, THRESHOLDS, TRUTH, UTD
from test_gain import Joint

from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.hyperparameters import fit_surface_laws
from tdscale.design.belief import Belief, see
from tdscale.design.candidates import Candidates
from tdscale.design.records import CellRequest, SizedRequest, request_of
from tdscale.design.replay import Archive, key_of, replay
from tdscale.design.rounds import FIRST, Rules, _Gain, next_round, ranked_runs
from tdscale.runs.types import Cell
from tdscale.simulate import LawTruth, SweepDesign, simulate_cell

SIZES = {"small": 1e6, "medium": 1e7, "large": 1e8}
SIZED = replace(CANDIDATES, sizes=SIZES)


def truth_of(size: str) -> LawTruth:
    """B* = 300·σ^−0.5/(1 + 1000·N^−0.5), η* = 4e-4·σ^−0.3·(N/1e7)^−0.1, D less with N."""
    n = SIZES[size]
    return replace(
        TRUTH,
        d_min={task: data * (n / 1e7) ** -0.1 for task, data in TRUTH.d_min.items()},
        batch_size=replace(TRUTH.batch_size, coefficient=300 / (1 + 1000 * n**-0.5)),
        learning_rate=replace(TRUTH.learning_rate, coefficient=4e-4 * (n / 1e7) ** -0.1),
    )


def archive(candidates: Candidates = SIZED, seed: int = 0) -> Archive:
    design = SweepDesign(stage="sweep", seeds=candidates.seeds, env_steps=dict(candidates.env_steps), length=None, log_interval=2000)

    def make(key) -> Cell:
        size = key[4]
        return replace(simulate_cell(truth_of(size), design, key[:2], key[2:4], LITTLE, seed=seed), size=size, model_size=SIZES[size])

    return Archive(make, THRESHOLDS[-1])


def run_first(there: Archive, candidates: Candidates = SIZED) -> list[Cell]:
    for request in next_round([], THRESHOLDS, candidates, Rules()).cells:
        there.run(request)
    return there.cells


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return run_first(archive())


@pytest.fixture(scope="module")
def belief(cells) -> Belief:
    return Belief(see(cells, SIZED, THRESHOLDS), SIZED)


def regret_of(belief: Belief) -> float:
    """Mean rise of the true log D over the best, at the laws' B and η."""
    rises = []
    for (task, utd), size in zip(belief.answers, belief.answer_sizes, strict=True):
        name, truth = belief.candidates.tasks[task], truth_of(size)
        batch, rate = np.exp(belief.law(task, utd, size))
        rises.append(truth.batch_size.excess(name, [utd], batch)[0] + truth.learning_rate.excess(name, [utd], rate)[0])
    assert len(rises) == len(CANDIDATES.tasks) * len(UTD) * len(SIZES)
    return float(np.mean(rises))


def test_the_first_round_has_cells_of_every_size_at_every_task_and_utd():
    step = next_round([], THRESHOLDS, SIZED, Rules())
    count = Counter((cell.task, cell.utd, cell.size) for cell in step.cells)
    assert count == {(*place, size): FIRST for place in CANDIDATES.places for size in SIZES}
    assert len({cell.cell for cell in step.cells}) == len(step.cells)
    assert all(cell.cell == (*cell.key, cell.size) for cell in step.cells)


def test_rounds_over_sizes_find_the_best_values_at_each_of_them():
    there = archive()
    done = replay(there, SIZED, THRESHOLDS, Rules(regret=0.05))
    belief = Belief(see(there.cells, SIZED, THRESHOLDS), SIZED)
    assert done[-1].regret is not None
    assert done[-1].regret.expected < 0.05
    assert regret_of(belief) < 0.05
    assert {cell.size for cell in there.cells} == set(SIZES)
    # the fit's own laws through the same cells
    laws = fit_surface_laws(there.cells, find_crossings(there.cells, THRESHOLDS, n_draws=40, seed=0), CANDIDATES.tasks, 0)
    small, large = (float(laws[0].predict([2.0], "one", SIZES[size])[0]) for size in ("small", "large"))
    # the truth: 150 and 273 times 2^−0.5
    assert np.log(large / small) == pytest.approx(np.log(273 / 150), abs=0.35)


def test_the_belief_at_a_size_is_the_law_with_its_part_for_n(belief):
    for task in (0, 1):
        by_size = np.array([belief.law(task, 2.0, size) for size in SIZES])
        expected = [[truth_of(size).batch_size.best("one", 2.0), truth_of(size).learning_rate.best("one", 2.0)] for size in SIZES]
        assert np.abs(by_size - np.log(expected)).mean() < 0.5
        # a quantity that has a slope in log N alone goes by as much from each size to the next
        np.testing.assert_allclose(np.diff(by_size[:, 1], n=2), 0, atol=1e-9)


def test_gains_with_sizes_are_those_of_the_joint_gaussian(belief):
    joint, gain = Joint(belief), _Gain(belief)
    variance = np.full(belief.log_data.shape, 0.03)
    assert gain.regret() == pytest.approx(joint.regret(belief), rel=1e-6)
    for place, pair in [(0, 3), (7, 11), (17, 8)]:
        today = joint.regret(belief)
        joint.observe(belief, place, pair, 0.03)
        assert gain.of(variance)[place, pair] == pytest.approx(today - joint.regret(belief), rel=1e-5)
        gain.take(place, pair, 0.03)


def test_a_targets_row_is_the_slope_of_the_law_by_the_parameters(belief):
    model, shared = belief.model, belief.state.shared
    targets, _ = belief.targets
    rng = np.random.default_rng(0)
    step = 1e-5 * rng.standard_normal(shared.shape)

    def laws(parameters: np.ndarray) -> np.ndarray:
        changed = Belief.__new__(Belief)
        changed.__dict__.update(belief.__dict__)
        changed.state = replace(belief.state, shared=parameters)
        return np.array([changed.law(t, u, s) for (t, u), s in zip(belief.answers, belief.answer_sizes, strict=True)]).T.ravel()

    np.testing.assert_allclose(targets @ step.ravel(), (laws(shared + step) - laws(shared - step)) / 2, atol=1e-9)
    assert model.sizes


def test_a_round_over_sizes_is_a_function_of_the_cells_alone(cells):
    expected = next_round(cells, THRESHOLDS, SIZED, Rules(regret=0.0))
    assert next_round(cells[::-1], THRESHOLDS, SIZED, Rules(regret=0.0)) == expected


def test_the_unit_of_n_and_the_names_of_sizes_do_not_matter(cells):
    names = {"small": "zz", "medium": "k", "large": "a"}
    expected = next_round(cells, THRESHOLDS, SIZED, Rules(regret=0.0))
    renamed = [replace(cell, size=names[cell.size]) for cell in cells]
    other = replace(SIZED, sizes={names[size]: 1000 * n for size, n in SIZES.items()})
    found = next_round(renamed, THRESHOLDS, other, Rules(regret=0.0))
    assert [(cell.key, cell.size, cell.seeds) for cell in found.cells] == [
        (cell.key, names[cell.size], cell.seeds) for cell in expected.cells
    ]
    assert found.expected == pytest.approx(expected.expected, rel=1e-6)


def test_large_networks_whose_env_steps_are_dear_are_asked_for_less_often(cells):
    dear = {
        (task, utd, batch, size): SIZES[size] / 1e6
        for task, utd in CANDIDATES.places
        for size in SIZES
        for batch in (*BATCH_SIZES, 16, 1024)
    }
    usual = next_round(cells, THRESHOLDS, SIZED, Rules(regret=0.0, round_size=18))
    spared = next_round(cells, THRESHOLDS, SIZED, Rules(regret=0.0, round_size=18, step_price=dear))

    def runs(cells) -> int:
        return sum(cell.size == "large" for cell in cells)

    assert runs(spared.cells) < runs(usual.cells)


def test_cells_that_failed_are_not_asked_for_and_others_of_the_same_b_and_eta_are():
    first = next_round([], THRESHOLDS, SIZED, Rules()).cells
    failed = frozenset(cell.cell for cell in first if cell.size == "small")
    without = SIZED.without(failed)
    again = next_round([], THRESHOLDS, without, Rules()).cells
    assert not failed & {cell.cell for cell in again}
    assert Counter(cell.size for cell in again) == Counter(cell.size for cell in first)


def test_a_size_that_never_reaches_a_threshold_is_given_up_and_named(cells):
    lost = [replace(cell, returns=np.zeros_like(cell.returns)) if cell.size == "small" else cell for cell in cells]
    step = next_round(lost, THRESHOLDS, SIZED, Rules(regret=0.0))
    assert step.given_up == ()
    asked = {cell.cell for cell in step.cells if cell.size == "small"}
    assert asked
    # more and more cells of it, none of which reaches anything
    there = {key_of(cell): cell for cell in lost}
    template = next(cell for cell in lost if cell.size == "small")
    for _ in range(4):
        for request in next_round(list(there.values()), THRESHOLDS, SIZED, Rules(regret=0.0)).cells:
            if request.size == "small":
                values = {
                    "task": request.task,
                    "utd": request.utd,
                    "batch_size": request.batch_size,
                    "learning_rate": request.learning_rate,
                }
                there[request.cell] = replace(template, spec=replace(template.spec, **values))
    end = next_round(list(there.values()), THRESHOLDS, SIZED, Rules(regret=0.0))
    assert set(end.given_up) == {(*place, "small") for place in CANDIDATES.places}


def test_runs_that_are_pending_count_at_their_own_size(cells):
    usual = ranked_runs(cells, THRESHOLDS, SIZED, Rules(), 6)
    best = usual.runs[0].request
    pending = [best.cell] * SIZED.seeds
    after = ranked_runs(cells, THRESHOLDS, SIZED, Rules(), 6, pending=pending)
    assert best.cell not in {run.request.cell for run in after.runs}


def test_a_request_is_read_back_from_its_fields_and_one_without_size_has_no_such_field():
    plain = CellRequest(task="one", utd=2.0, batch_size=128, learning_rate=RATES[0], seeds=3, env_steps=10_000)
    sized = SizedRequest(**asdict(plain), size="small")
    assert "size" not in asdict(plain)
    assert plain.size == ""
    assert plain.cell == plain.key
    for request in (plain, sized):
        assert request_of(asdict(request)) == request
    assert sized.cell == ("one", 2.0, 128, RATES[0], "small")


def test_one_size_is_a_sweep_without_sizes(cells):
    """Its rounds ask for the same cells."""
    small = [cell for cell in cells if cell.size == "small"]
    alone = next_round(small, THRESHOLDS, CANDIDATES, Rules(regret=0.0))
    bare = next_round([replace(cell, size="", model_size=None) for cell in small], THRESHOLDS, CANDIDATES, Rules(regret=0.0))
    assert alone == bare
    named = next_round(small, THRESHOLDS, replace(CANDIDATES, sizes={"small": 1e6}), Rules(regret=0.0))
    assert [cell.key for cell in named.cells] == [cell.key for cell in bare.cells]
    assert named.expected == bare.expected
