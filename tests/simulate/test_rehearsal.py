"""How many seeds a sweep needs, told by simulating it."""

import json

import numpy as np
import pytest

from command import called, refused
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.running.rehearsal import FittedTruth, rehearse
from tdscale.simulate import LawTruth, Noise, SweepDesign, simulate_cells
from tdscale.study import read_study

TRUTH = LawTruth(d_min={"one": 30_000.0, "two": 60_000.0})
OPTIONS = FitOptions(study="rehearsed", tasks=TRUTH.tasks, thresholds=(500.0, 800.0), n_draws=40)
STUDY = """
name = "small"
algorithm = "sac"
return_thresholds = [400, 800]
data_cost = 1e9
[tasks.Pendulum-v1]
low = -1200
high = -150
[sweep]
utd = [1, 4]
batch_size = [64, 128]
learning_rate = [3e-4, 1e-3]
seeds = 2
[scaling]
utd = [0.5, 1, 2, 4, 8]
[limits]
env_steps = 20_000
[settings]
warm_up = 500
"""


def test_more_seeds_settle_more_and_cost_in_proportion():
    result = rehearse(TRUTH, SweepDesign(), OPTIONS, [3, 12], repeats=5)
    few, many = result.sweeps
    assert many.env_steps == pytest.approx(4 * few.env_steps)
    assert (few.runs, many.runs) == (3 * 14, 12 * 14)
    for name in ("inside", "small", "large", "alpha"):
        assert getattr(many, name).half_width < getattr(few, name).half_width
    assert many.inside.half_width < many.small.half_width
    assert few.unsettled == 0


def test_laws_that_were_fitted_are_the_truth_that_is_simulated():
    laws = fit_laws(simulate_cells(TRUTH, SweepDesign(), "low"), OPTIONS)
    truth = FittedTruth.of(laws)
    utd = np.array([0.5, 3.0, 20.0])
    for law in laws.data:
        np.testing.assert_allclose(truth.data("two", utd, [law.threshold])[:, 0], law.predict(utd, "two"), rtol=1e-9)
    levels = truth.data("one", utd, np.linspace(100, 890, 20))
    assert (np.diff(levels, axis=1) >= 0).all()
    again = fit_laws(simulate_cells(truth, SweepDesign(seeds=1), Noise()), OPTIONS)
    np.testing.assert_allclose(again.data[-1].predict(utd, "one"), laws.data[-1].predict(utd, "one"), rtol=0.08)


def test_the_command_answers_and_writes_a_study_that_fits(tmp_path):
    (tmp_path / "small.toml").write_text(STUDY)
    answer = called("simulate", "small.toml", "--seeds", "3", "6", "--repeats", "2", "--dir", "sim", "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer
    content = json.loads(answer.stdout)
    assert [sweep["seeds"] for sweep in content["sweeps"]] == [3, 6]
    assert content["utd"] == pytest.approx([np.sqrt(2), 0.25, 16])
    assert "no laws are known yet" in content["assumed"][0]
    answer = called("fit", "sim", "--draws", "20", "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer
    assert json.loads(answer.stdout)["data"]
    answer = called("simulate", "sim", "--seeds", "2,4", "--repeats", "2", cwd=tmp_path)
    assert answer.returncode == 0, answer
    assert "the laws fitted to this study are the truth" in answer.stdout
    assert max(map(len, answer.stdout.splitlines()[2:5])) <= 100


def test_what_a_study_takes_over_its_seeds_is_rehearsed_and_kept(tmp_path):
    (tmp_path / "small.toml").write_text(STUDY)
    (tmp_path / "iqm.toml").write_text('aggregate = "iqm"\n' + STUDY)
    options = ["--seeds", "5", "--repeats", "2", "--json"]
    mean, iqm = (called("simulate", f"{name}.toml", *options, "--dir", name, cwd=tmp_path) for name in ("small", "iqm"))
    assert mean.returncode == iqm.returncode == 0, iqm
    assert json.loads(mean.stdout)["sweeps"] != json.loads(iqm.stdout)["sweeps"]
    assert read_study(tmp_path / "small" / "study.toml").aggregate == "mean"
    assert read_study(tmp_path / "iqm" / "study.toml").aggregate == "iqm"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["small.toml", "--seeds", "1"], "'1' is not a number of seeds"),
        (["small.toml", "--seeds", "3", "many"], "'many' is not a number of seeds"),
        (["none.toml"], "none.toml"),
        (["small.toml", "--noise", "loud"], "'low', 'medium', 'high'"),
        (["small.toml", "--dir", "full"], "not an empty folder"),
        (["unknown.toml"], "has no UTD ratios to run"),
    ],
)
def test_what_can_not_be_rehearsed_is_refused_in_a_sentence(arguments, said, tmp_path):
    (tmp_path / "small.toml").write_text(STUDY)
    (tmp_path / "unknown.toml").write_text(STUDY.partition("[sweep]")[0])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    assert said in refused("simulate", *arguments, cwd=tmp_path)
