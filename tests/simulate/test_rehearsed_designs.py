"""Designs of stage 1 on simulated studies: what they take, and what the chosen B and η really cost."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_rehearsal import STUDY

from command import called, refused
from tdscale.design.candidates import Candidates
from tdscale.design.rounds import Rules
from tdscale.running.rehearsed_design import grid_env_steps, likely_truths, rehearse_design
from tdscale.simulate import Bowl, LawTruth, Noise, SweepDesign, simulate_cells
from tdscale.study import read_study

UTD = (1.0, 2.0, 4.0)
TRUTH = LawTruth(
    d_min={"one": 30_000.0, "two": 60_000.0},
    batch_size=Bowl(coefficient=120.0, exponent=-0.4, curvature=0.1),
    learning_rate=Bowl(coefficient=9e-4, exponent=-0.3, curvature=0.1),
)
CANDIDATES = Candidates(
    tasks=("one", "two"),
    utd=UTD,
    batch_size=(32, 64, 128, 256),
    learning_rate=(3e-4, 6e-4, 1.2e-3, 2.4e-3),
    env_steps={"one": 300_000, "two": 600_000},
    seeds=3,
    answer_utd=UTD,
)
THRESHOLDS = (500.0, 800.0)


def test_the_adaptive_design_takes_a_fraction_of_the_grid_and_its_choice_is_nearly_as_good():
    grid, adaptive = (rehearse_design(design, [TRUTH] * 4, CANDIDATES, THRESHOLDS, Rules()) for design in ("grid", "adaptive"))
    assert {study.runs for study in grid.studies} == {2 * 3 * 16 * 3}
    steps = [design.spread(lambda study: study.env_steps) for design in (grid, adaptive)]
    assert steps[1].middle < 0.4 * steps[0].low
    # a round is begun before half of the grid's price is spent
    assert steps[1].high < 0.65 * steps[0].low
    regrets = [design.spread(lambda study: study.true_regret) for design in (grid, adaptive)]
    assert regrets[0].low >= 0
    assert regrets[1].middle < 0.1
    assert all(study.regret is not None and study.regret.expected < 0.05 for study in adaptive.studies)


def test_what_the_rounds_trained_adds_up_to_all_that_was_run():
    (study,) = rehearse_design("adaptive", [TRUTH], CANDIDATES, THRESHOLDS, Rules()).studies
    trained = [one for trained in study.rounds for one in trained]
    assert sum(one.seeds * one.env_steps for one in trained) == study.env_steps
    assert sum(cell.seeds * cell.env_steps for cell in study.cells) == study.env_steps
    assert sum(cell.seeds for cell in study.cells) == study.runs
    for cell in study.cells:
        assert max(one.first + one.seeds for one in trained if one.key == cell.key) == cell.seeds
    # three cells at each of the six (task, σ) first
    assert [one.seeds for one in study.rounds[0]] == [1] * 18


def test_the_grids_price_is_that_of_cells_that_stop_a_margin_past_their_true_crossing():
    expected = grid_env_steps(TRUTH, CANDIDATES, 800.0, 0.1)
    sweep = SweepDesign(
        utd=UTD,
        batch_size=CANDIDATES.batch_size,
        learning_rate=CANDIDATES.learning_rate,
        seeds=1,
        length=1.1,
        stage="sweep",
        log_interval=50,
    )
    cells = simulate_cells(TRUTH, sweep, Noise())
    assert len(cells) == 2 * 3 * 16
    assert expected == pytest.approx(3 * sum(min(cell.last_step, CANDIDATES.env_steps[cell.spec.task]) for cell in cells), rel=0.01)
    short = replace(CANDIDATES, env_steps={"one": 10_000, "two": 10_000})
    assert grid_env_steps(TRUTH, short, 800.0, 0.1) == 3 * 96 * 10_000
    # without noise the grid that is simulated takes the same
    (grid,) = rehearse_design("grid", [TRUTH], CANDIDATES, THRESHOLDS, Rules(), Noise()).studies
    assert grid.env_steps == pytest.approx(expected, rel=0.02)


def test_regret_is_what_the_chosen_values_cost_over_the_best_ones_and_a_single_value_costs_nothing():
    (study,) = rehearse_design("grid", [TRUTH], CANDIDATES, THRESHOLDS, Rules(), Noise()).studies
    by_hand = [
        0.1 * np.log(batch / (120 * utd**-0.4)) ** 2 + 0.1 * np.log(rate / (9e-4 * utd**-0.3)) ** 2
        for (_, utd), (batch, rate) in study.pairs.items()
    ]
    assert study.true_regret == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert study.true_regret < 0.01
    one = replace(CANDIDATES, batch_size=(1024,))
    (study,) = rehearse_design("grid", [TRUTH], one, THRESHOLDS, Rules(), Noise()).studies
    assert study.true_regret < 0.01
    assert [batch for batch, _ in study.pairs.values()] == pytest.approx([1024] * 6)


def test_truths_that_are_drawn_lie_within_the_studys_grid_and_limits(tmp_path):
    (tmp_path / "small.toml").write_text(STUDY)
    candidates = replace(CANDIDATES, tasks=("Pendulum-v1",), env_steps={"Pendulum-v1": 20_000})
    truths, (said,) = likely_truths(read_study(tmp_path / "small.toml"), None, candidates, 20)
    assert "no laws are known yet" in said
    slowest = [float(truth.data("Pendulum-v1", [1.0], [800.0])[0, 0]) for truth in truths]
    assert 0.25 * 20_000 <= min(slowest) < max(slowest) <= 0.75 * 20_000
    assert max(slowest) > 1.5 * min(slowest)
    for truth in truths:
        assert 32 < truth.batch_size.best("Pendulum-v1", 2.0) < 256
        assert 3e-4 < truth.learning_rate.best("Pendulum-v1", 2.0) < 2.4e-3


def test_designs_that_reach_nothing_have_no_choice_and_an_infinite_regret():
    short = replace(CANDIDATES, env_steps={"one": 500, "two": 500})
    (study,) = rehearse_design("adaptive", [TRUTH], short, THRESHOLDS, Rules()).studies
    assert (study.true_regret, study.regret, dict(study.pairs)) == (np.inf, None, {})


def test_the_command_sets_designs_beside_each_other(tmp_path):
    grid = STUDY.replace("[64, 128]", "[32, 64, 128, 256]").replace("[3e-4, 1e-3]", "[3e-4, 6e-4, 1.2e-3, 2.4e-3]")
    (tmp_path / "small.toml").write_text(grid.replace("seeds = 2", "seeds = 3").replace("utd = [1, 4]", "utd = [1, 2, 4, 8]"))
    answer = called("simulate", "small.toml", "--designs", "--repeats", "2", "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer
    content = json.loads(answer.stdout)
    grid, adaptive = content["designs"]
    assert (grid["design"], adaptive["design"]) == ("grid", "adaptive")
    assert grid["runs"]["middle"] == 4 * 16 * 3
    assert adaptive["env_steps"]["middle"] < grid["env_steps"]["middle"]
    for design in (grid, adaptive):
        assert design["scaling"]["seeds"] == 5
        assert 0 < design["scaling"]["inside"]["half_width"] < 1
    shown = called("simulate", "small.toml", "--designs", "--repeats", "2", cwd=tmp_path)
    assert shown.returncode == 0, shown
    assert "adaptive" in shown.stdout
    assert max(map(len, shown.stdout.splitlines()[2:6])) <= 130


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (STUDY, ["--seeds", "3"], "leave one of the two out"),
        (STUDY.replace("[scaling]\nutd = [0.5, 1, 2, 4, 8]\n", ""), [], "has no [scaling]"),
        (STUDY.replace("[64, 128]", "[64]").replace("[3e-4, 1e-3]", "[1e-3]"), [], "one batch size and one learning rate"),
    ],
)
def test_designs_that_can_not_be_compared_are_refused_in_a_sentence(text, arguments, said, tmp_path):
    (tmp_path / "small.toml").write_text(text)
    assert said in refused("simulate", "small.toml", "--designs", *arguments, cwd=tmp_path)
