"""`tdscale start`: what it says, and the study that it writes."""

import json

import pytest

from command import called, refused
from tdscale.study import read_study


def told(*arguments, cwd):
    answer = called("start", *arguments, "--json", cwd=cwd)
    assert (answer.returncode, answer.stderr) == (0, "")
    return json.loads(answer.stdout)


@pytest.mark.parametrize(
    ("algorithm", "task", "high"), [("sac", "Hopper-v5", 3500), ("bro", "dog-run", 1000), ("bro-minimal", "Ant-v5", 6000)]
)
def test_the_study_is_adaptive_and_spans_the_ranges(algorithm, task, high, tmp_path):
    content = told(task, "--algorithm", algorithm, "--high", high, "--env-steps", "1M", "--write", "new.toml", cwd=tmp_path)
    study = read_study(tmp_path / "new.toml")
    assert content["study"] == (tmp_path / "new.toml").read_text(encoding="utf-8")
    assert study.sweep.is_adaptive
    assert study.limits.env_steps == 1_000_000
    assert study.tasks[task].high == high
    assert study.tasks[task].suite == ("dm_control" if task == "dog-run" else "gymnasium")
    batch, rate = content["batch_size_range"], content["learning_rate_range"]
    assert study.sweep.batch_size[0] < 1.5 * batch["low"] < 0.75 * batch["high"] < study.sweep.batch_size[-1]
    assert study.sweep.learning_rate[0] < 2 * rate["low"] < 0.5 * rate["high"] < study.sweep.learning_rate[-1]
    assert content["utd"] in study.sweep.utd
    assert {run["utd"] for run in content["first_runs"]} == set(study.sweep.utd)
    assert len(content["first_runs"]) == 9


def test_a_file_that_is_there_stays(tmp_path):
    (tmp_path / "new.toml").write_text("mine")
    said = refused("start", "dog-run", "--algorithm", "bro", "--write", "new.toml", cwd=tmp_path)
    assert "new.toml is there already" in said
    assert (tmp_path / "new.toml").read_text() == "mine"


def test_people_read_from_which_tasks_and_networks_it_comes(tmp_path):
    text = called("start", "Hopper-v5", cwd=tmp_path).stdout
    assert "Hopper-v5, sac: begin with UTD 4" in text
    assert "SAC, 2×256 networks" in text
    for task in ("Ant-v4", "HalfCheetah-v4", "Humanoid-v4", "Walker2d-v4"):
        assert f"\n{task} " in text
    assert "no study yet: --high: what return of Hopper-v5 counts as 1000 is not known" in text
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_was_published_is_left_out_of_its_own_prior(tmp_path):
    content = told("HalfCheetah-v4", cwd=tmp_path)
    assert "HalfCheetah-v4" not in content["tasks"]
    assert "tdscale published HalfCheetah-v4" in called("start", "HalfCheetah-v4", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x-v1", "--algorithm", "pql"], "no laws of 'pql' are published (the paper's laws of PQL are illegible in part)"),
        (["x-v1", "--write", "x.toml"], "--high: what return of x-v1 counts as 1000 is not known"),
        (["x-v1", "--high", "1", "--write", "x.yaml"], "must be a .toml file"),
        (["x-v1", "--high", "1", "--write", "no/x.toml"], "no is no folder"),
        (["x-v1", "--high", "1", "--low", "2", "--write", "x.toml"], "high = 1 must be above low = 2"),
        (["x-v1", "--utd", "1,2"], "are several; start takes one"),
        (["x-v1", "--env-steps", "few"], "'--env-steps': 'few' is not a number of env steps"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, said, tmp_path):
    assert said in refused("start", *arguments, cwd=tmp_path)
