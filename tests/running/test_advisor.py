"""Ask for runs, tell how they came out: what is suggested, and that it finds what is true."""

from pathlib import Path

import numpy as np
import pytest

import tdscale
from tdscale.simulate import Bowl, LawTruth, SweepDesign, simulate_cell, write_simulation

TRUTH = LawTruth(
    d_min={"one": 3e4, "two": 6e4},
    batch_size=Bowl(coefficient=200.0, exponent=-0.4, curvature=0.2),
    learning_rate=Bowl(coefficient=5e-4, exponent=-0.3, curvature=0.2),
)
STUDY = """
name = "elsewhere"
algorithm = "sac"
return_thresholds = [500, 800]
[tasks.one]
suite = "imported"
high = 1000
[tasks.two]
suite = "imported"
low = -100
high = 100
[sweep]
utd = [1, 2, 4]
batch_size = [32, 64, 128, 256, 512]
learning_rate = [1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3]
seeds = 2
[limits]
env_steps = 300000
"""
GRID = {(b, r) for b in (32, 64, 128, 256, 512) for r in (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3)}


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return tdscale.read_study(path)


def trained(run):
    """Env steps and returns of a suggested run, as its task gives them; stopped as suggested."""
    design = SweepDesign(stage="sweep", seeds=1, length=1.3, env_steps=run.stop_at, first_seed=run.seed, log_interval=2000)
    cell = simulate_cell(TRUTH, design, (run.task, run.utd), (run.batch_size, run.learning_rate), "low", seed=run.seed)
    returns = cell.returns[0]
    return cell.env_steps, returns if run.task == "one" else returns / 5 - 100


def test_asked_and_told_it_finds_batch_sizes_and_learning_rates_near_the_best_with_part_of_the_grid(study):
    advisor = tdscale.Advisor(study)
    told, excess = 0, []
    assert advisor.regret is None
    assert advisor.best("one", 2.0) is None
    while told < 60 and (advisor.regret is None or advisor.regret.expected > 0.03):
        for run in advisor.ask(6):
            advisor.tell(run, *trained(run))
            told += 1
    assert told < 0.3 * len(GRID) * 6 * 2
    for task in TRUTH.tasks:
        for utd in (1.0, 2.0, 4.0):
            batch, rate = advisor.best(task, utd)
            excess.append(float(TRUTH.batch_size.excess(task, utd, batch) + TRUTH.learning_rate.excess(task, utd, rate)))
    # twice what the middle of the grid, chosen unseen, costs at worst would be no answer
    assert np.mean(excess) < 0.1
    # what was told is what laws are fitted to
    options = tdscale.FitOptions(study="elsewhere", tasks=("one", "two"), thresholds=(800.0,), n_draws=20)
    assert tdscale.fit_laws(advisor.cells, options).batch_size is not None


def test_runs_under_way_are_not_asked_for_again_and_those_forgotten_are(study):
    advisor = tdscale.Advisor(study)
    first = advisor.ask(18)  # three cells at each task and UTD ratio
    assert len({(*run.cell, run.seed) for run in first}) == 18
    assert {(run.task, run.utd) for run in first[:6]} == {(task, utd) for task in TRUTH.tasks for utd in (1.0, 2.0, 4.0)}
    waiting = advisor.ask(5)
    assert not [run for run in waiting if run.cell in {one.cell for one in first}]
    for run in [first[0], *waiting]:
        advisor.forget(run)
    missing = advisor.ask(1)[0]
    assert (missing.cell, missing.seed, missing.after) == (first[0].cell, first[0].seed, None)
    several = tdscale.Advisor(study)
    for run in first:
        several.tell(run, *trained(run))
    # asked for one after the other or all at once: what those under way will tell is counted on
    one_by_one = [several.ask(1)[0] for _ in range(8)]
    for run in one_by_one:
        several.forget(run)
    at_once = several.ask(8)
    assert [(run.cell, run.seed) for run in at_once] == [(run.cell, run.seed) for run in one_by_one]
    assert [run.after for run in at_once] == pytest.approx([run.after for run in one_by_one])


def test_what_is_expected_falls_from_run_to_run_and_limits_are_kept(study):
    advisor = tdscale.Advisor(study)
    for run in advisor.ask(18):
        advisor.tell(run, *trained(run))
    found = advisor.ask(6)
    after = [run.after for run in found]
    assert found.before == advisor.regret.expected
    assert after == sorted(after, reverse=True)
    assert after[0] < found.before
    for run in found:
        advisor.forget(run)
    half = found.env_steps / 2
    part = advisor.ask(6, env_steps=half)
    assert 0 < part.env_steps <= half
    assert part.runs == found.runs[: len(part)]
    nothing = tdscale.Advisor(study).ask(6, env_steps=10)
    assert not nothing
    assert "more than the limit" in nothing.notes[0]


def test_seed_numbers_go_on_after_those_that_a_cell_has(study, tmp_path):
    advisor = tdscale.Advisor(study)
    run = advisor.ask(1)[0]
    for seed in (0, 1):
        advisor.tell((*run.cell, seed), *trained(run))
    # [sweep] has two seeds: no third one
    assert run.cell not in {one.cell for one in advisor.ask(40)}
    design = SweepDesign(
        utd=(1.0, 2.0, 4.0), seeds=2, first_seed=7, stage="sweep", batch_size=(64, 256), learning_rate=(2e-4, 8e-4), log_interval=2000
    )
    write_simulation(tmp_path / "imported", TRUTH, design, thresholds=(500, 800))
    there = {(task, utd, b, r) for task in TRUTH.tasks for utd in (1.0, 2.0, 4.0) for b in (64, 256) for r in (2e-4, 8e-4)}
    for one in tdscale.suggest(tmp_path / "imported", 30):
        assert one.seed >= 9 if one.cell in there else one.seed >= 7


def test_a_run_may_be_told_as_far_as_it_is_and_again_later(study):
    advisor = tdscale.Advisor(study)
    run = advisor.ask(1)[0]
    steps, returns = trained(run)
    advisor.tell(run, steps[:10], returns[:10])
    assert advisor.cells[0].last_step == steps[9]
    advisor.tell(run, steps, returns)
    (cell,) = advisor.cells
    assert cell.last_step == steps[-1]
    scale = returns if run.task == "one" else 5 * (returns + 100)
    np.testing.assert_allclose(cell.returns[0], scale)
    advisor.tell((*run.cell, 1), steps[:4], [1.0, np.nan, 2.0, np.nan], diverged=True)
    assert advisor.cells[0].diverged.tolist() == [False, True]


@pytest.mark.parametrize(
    ("run", "steps", "returns", "said"),
    [
        (("three", 1, 32, 1e-4, 0), [1, 2], [0, 1], "no task 'three'; it has one, two"),
        (("one", 1, 32, 1e-4, 0), [1, 2], [0, 1, 2], "has shape (2,), returns (3,)"),
        (("one", 1, 32, 1e-4, 0), [], [], "of at least one"),
        (("one", 1, 32, 1e-4, 0), [2, 1], [0, 1], "each larger than the one before"),
        (("one", 1, 32, 1e-4, 0), [0.5, 1], [0, 1], "whole numbers"),
        (("one", 1, 32, 1e-4, 0), [1, np.nan], [0, 1], "whole numbers"),
        (("one", -1, 32, 1e-4, 0), [1, 2], [0, 1], "-1 is not a UTD ratio"),
        (("one", 1, 0, 1e-4, 0), [1, 2], [0, 1], "0 is not a batch size"),
        (("one", 1, 32, 2.0, 0), [1, 2], [0, 1], "2 is not a learning rate"),
    ],
)
def test_what_is_no_curve_is_one_sentence_and_changes_nothing(study, run, steps, returns, said):
    advisor = tdscale.Advisor(study)
    with pytest.raises(tdscale.UserError, match="tell: ") as refused:
        advisor.tell(run, steps, returns)
    assert said in str(refused.value)
    assert advisor.cells == []


def test_a_study_without_runs_and_without_a_sweep_is_refused(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY.split("[sweep]")[0], encoding="utf-8")
    with pytest.raises(tdscale.UserError, match=r"no runs and no \[sweep\]"):
        tdscale.Advisor(tdscale.read_study(Path(path)))
    with pytest.raises(tdscale.UserError, match="no such folder"):
        tdscale.suggest(tmp_path / "nowhere")


def test_a_list_of_suggestions_is_a_sequence_a_document_and_a_frame(study):
    found = tdscale.Advisor(study).ask(4)
    assert list(found) == [found[0], *found[1:]]
    frame = found.to_frame()
    assert frame["batch_size"].tolist() == [run.batch_size for run in found]
    assert found.to_dict()["suggestions"][2]["learning_rate"] == found[2].learning_rate
    assert found.to_dict()["env_steps"] == frame["env_steps"].sum()


def test_what_is_told_at_a_utd_ratio_narrows_d_there(tmp_path):
    write_simulation(tmp_path / "d", TRUTH, SweepDesign(utd=(0.5, 1.0, 2.0, 4.0), seeds=3, log_interval=2000), thresholds=(500, 800))
    far = tdscale.suggest(tmp_path / "d", 4, aim="D@32:two")
    assert far[0].task == "two"
    assert far[0].utd > 4.0
    assert far[-1].after < 0.8 * far.before
    near = tdscale.suggest(tmp_path / "d", 4, aim="D@2")
    assert near.before < far.before
    # B and η of runs that are there stay as they are
    used = {(c.spec.task, c.spec.utd): (c.spec.batch_size, c.spec.learning_rate) for c in tdscale.Advisor(tmp_path / "d").cells}
    for run in [*far, *near]:
        assert used.get((run.task, run.utd), (run.batch_size, run.learning_rate)) == (run.batch_size, run.learning_rate)
