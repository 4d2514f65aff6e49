"""`tdscale export`: plans and suggested runs of a study's folder, in other programs' terms."""

import json
import shlex

import pytest

from command import called, refused
from known_truth import write_swept
from tdscale.simulate import Bowl, LawTruth
from tdscale.study import read_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A simulated study with a sweep, fitted."""
    folder = tmp_path_factory.mktemp("export")
    truth = LawTruth(
        d_min={"one-v1": 3e4, "two-v1": 6e4},
        batch_size=Bowl(coefficient=200.0, exponent=-0.5, curvature=0.1),
        learning_rate=Bowl(coefficient=5e-4, exponent=-0.3),
    )
    write_swept(folder / "swept", truth)
    assert called("fit", "swept", "--draws", "40", cwd=folder).returncode == 0
    return folder


def told(*arguments, cwd):
    answer = called("export", *arguments, "--json", cwd=cwd)
    assert (answer.returncode, answer.stderr) == (0, "")
    return json.loads(answer.stdout)


def test_each_task_has_its_own_batch_size_and_learning_rate_at_the_utd_ratio(folder):
    content = told("swept", "--to", "sb3", "--utd", "3", cwd=folder)["content"]
    predicted = [
        json.loads(called("predict", "swept", "--utd", "3", "--task", task, "--json", cwd=folder).stdout)["predictions"][0]
        for task in ("one-v1", "two-v1")
    ]
    for run, there in zip(content, predicted, strict=True):
        assert run["task"] == there["task"]
        assert run["keywords"]["gradient_steps"] == 3
        assert run["keywords"]["batch_size"] == there["batch_size"]
        assert run["keywords"]["learning_rate"] == pytest.approx(there["learning_rate_range"]["value"], rel=0.005)
        assert run["total_timesteps"] == pytest.approx(there["data"]["high"], abs=1)


def test_a_plan_is_exported_with_the_plans_own_utd_ratio(folder):
    asked = ("swept", "--data", "150k", "--task", "two-v1")
    plan = json.loads(called("plan", *asked, "--json", cwd=folder).stdout)
    (run,) = told(*asked, "--to", "json", cwd=folder)["content"]
    assert (run["utd"], run["batch_size"]) == pytest.approx((plan["utd"], plan["batch_size"]))


def test_suggested_runs_are_those_of_suggest(folder):
    suggested = json.loads(called("suggest", "swept", "-n", "4", "--json", cwd=folder).stdout)["suggestions"]
    assert told("swept", "--to", "json", "--suggested", "4", cwd=folder)["content"] == suggested
    assert len(told("swept", "--to", "wandb-sweep", "--suggested", "4", cwd=folder)["content"]["parameters"]["run"]["values"]) == 4


def test_what_is_written_is_what_is_printed_and_stays(folder):
    asked = ("export", "swept", "--to", "toml", "--utd", "2", "--task", "one-v1", "--seeds", "3")
    printed = called(*asked, cwd=folder)
    assert printed.returncode == 0
    assert called(*asked, "--write", "one.toml", cwd=folder).returncode == 0
    assert (folder / "one.toml").read_text(encoding="utf-8") == printed.stdout
    assert read_study(folder / "one.toml").sweep.seeds == 3
    assert "is there already" in refused(*asked, "--write", "one.toml", cwd=folder)


def test_a_command_line_of_cleanrl_on_published_laws(folder):
    """Table 2 of the paper at σ = 1: B = 415.4, η = 1.86e-3, D = 7.8e4·(1 + 0.5^−0.69)."""
    answer = called("export", "published:gym", "--to", "cleanrl", "--utd", "1", "--task", "HalfCheetah-v4", cwd=folder)
    words = shlex.split(answer.stdout)
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert (options["--batch-size"], options["--q-lr"], options["--num-envs"]) == ("416", "0.00186", "1")
    assert int(options["--total-timesteps"]) == pytest.approx(7.8e4 * (1 + 0.5**-0.69), abs=1)
    assert "CleanRL can't express" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["swept", "--to", "sb3"], "export takes one of --utd, --suggested and a limit as plan does, e.g. --data 300k; none was given"),
        (["swept", "--to", "sb3", "--utd", "1", "--data", "1e5"], "a limit, --utd was given"),
        (["swept", "--to", "sb3", "--utd", "1,2"], "are several"),
        (["swept", "--to", "sb3", "--utd", "2.2215"], "is no gradient_steps/train_freq"),
        (["swept", "--to", "sb3", "--data", "10"], "there is no plan to export: "),
        (["swept", "--to", "cleanrl", "--utd", "2"], "one critic update for each step"),
        (["swept", "--to", "toml", "--utd", "2"], "name one --task"),
        (["swept", "--to", "rllib", "--utd", "2"], "--to"),
        (["published:gym", "--to", "json", "--suggested", "3"], "published laws have no runs to go on from"),
        (["published:gym", "--to", "toml", "--utd", "1", "--task", "Ant-v4"], "published laws name no scale of returns"),
    ],
)
def test_a_mistake_is_one_sentence(folder, arguments, said):
    assert said in refused("export", *arguments, cwd=folder)
