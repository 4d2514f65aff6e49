"""What other programs are told: the same σ, B and η, exactly; and what they can't express."""

import json
import re
import shlex
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdscale.errors import UserError
from tdscale.running.exports import FORMATS, blocks, export
from tdscale.running.suggestions import Suggestion
from tdscale.study import parse_study

STUDY = parse_study("""
name = "mine"
algorithm = "sac"
return_thresholds = [400, 800]
data_cost = 1e9

[tasks.Hopper-v5]
high = 3000

[tasks.walker-walk]
suite = "dm_control"
high = 1000

[sweep]
utd = [1, 2]
batch_size = [64, 256]
learning_rate = [3e-4, 1e-3]

[limits]
env_steps = 100000

[settings]
hidden_sizes = [128, 64]
warm_up = 1500
discount = 0.98
""")


def run(task="Hopper-v5", utd=4.0, batch_size=176, learning_rate=2.8e-4, seed=0, stop_at=335_000):
    return Suggestion(
        task=task, utd=utd, batch_size=batch_size, learning_rate=learning_rate, seed=seed, env_steps=300_000.0, stop_at=stop_at
    )


@given(st.integers(1, 16), st.integers(1, 64))
def test_the_blocks_of_updates_are_the_utd_ratio_exactly(frequency, steps):
    found = blocks(steps / frequency)
    assert Fraction(found[1], found[0]) == Fraction(steps, frequency)
    assert found[0] <= 16


@pytest.mark.parametrize(("utd", "expected"), [(6, (1, 6)), (1, (1, 1)), (0.5, (2, 1)), (0.25, (4, 1)), (1.5, (2, 3)), (1 / 3, (3, 1))])
def test_below_one_updates_come_every_few_env_steps(utd, expected):
    assert blocks(utd) == expected


@pytest.mark.parametrize("utd", [2.2215, 0.4392, 1e-4])
def test_a_ratio_that_no_blocks_give_is_refused_with_one_that_they_do(utd):
    with pytest.raises(UserError, match="is no gradient_steps/train_freq") as refusal:
        blocks(utd)
    near = re.search(r"--utd ([\d/]+) is near it", str(refusal.value))
    blocks(float(Fraction(near[1])))


def test_stable_baselines_gets_the_settings_of_the_study():
    found = export([run()], "sb3", STUDY)
    (content,) = found.content
    assert content["task"] == "Hopper-v5"
    assert content["total_timesteps"] == 335_000
    expected = {"batch_size": 176, "learning_rate": 2.8e-4, "train_freq": 1, "gradient_steps": 4, "seed": 0}
    expected |= {"learning_starts": 1500, "gamma": 0.98, "tau": 0.005, "policy_kwargs": {"net_arch": [128, 64]}}
    assert expected.items() <= content["keywords"].items()
    assert any("updates the actor with every critic update" in note for note in found.notes)
    compile(found.text, "export", "exec")


def test_sbx_updates_the_actor_once_per_env_step_as_the_study_does():
    (content,) = export([run(utd=4.0)], "sbx", STUDY).content
    assert content["keywords"]["policy_delay"] == content["keywords"]["gradient_steps"] == 4
    assert content["keywords"]["qf_learning_rate"] == content["keywords"]["learning_rate"] == 2.8e-4
    (content,) = export([run(utd=0.5)], "sbx", STUDY).content
    assert "policy_delay" not in content["keywords"]


def test_cleanrl_runs_utd_below_one_by_parallel_environments_and_no_other():
    found = export([run(utd=0.25, seed=3)], "cleanrl", STUDY)
    words = shlex.split(found.text)
    assert words[:2] == ["python", "cleanrl/sac_continuous_action.py"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert (options["--num-envs"], options["--total-timesteps"], options["--learning-starts"]) == ("4", "83750", "375")
    assert (options["--q-lr"], options["--policy-lr"], options["--batch-size"], options["--seed"]) == ("0.00028", "0.00028", "176", "3")
    assert any("networks are 2×256" in note for note in found.notes)
    for utd in (4.0, 0.3, 1.5):
        with pytest.raises(UserError, match="one critic update for each step of its environments"):
            export([run(utd=utd)], "cleanrl", STUDY)


def test_a_study_of_its_own_has_the_one_cell():
    study = parse_study(export([run(seed=0), run(seed=1)], "toml", STUDY).text)
    assert (study.sweep.utd, study.sweep.batch_size, study.sweep.learning_rate, study.sweep.seeds) == ((4.0,), (176,), (2.8e-4,), 2)
    assert list(study.tasks) == ["Hopper-v5"]
    assert study.limits.env_steps == 335_000
    assert study.settings == STUDY.settings
    with pytest.raises(UserError, match="these runs differ in B or η; name one --task"):
        export([run(), run("walker-walk", batch_size=64)], "toml", STUDY)


def test_json_has_every_field_of_a_run():
    assert json.loads(export([run()], "json", None).text)[0] == {
        "task": "Hopper-v5",
        "utd": 4.0,
        "batch_size": 176,
        "learning_rate": 2.8e-4,
        "seed": 0,
        "env_steps": 300_000.0,
        "stop_at": 335_000,
        "seconds": None,
        "after": None,
    }


@pytest.mark.parametrize("rate", [2.8e-4, 1e-5, 0.1])
def test_a_sweep_of_wandb_is_a_grid_where_the_runs_are_one(rate):
    yaml = pytest.importorskip("yaml")
    found = export([run(seed=0, learning_rate=rate), run(seed=1, learning_rate=rate)], "wandb-sweep", STUDY)
    content = yaml.safe_load(found.text)
    assert content == found.content
    assert content["method"] == "grid"
    assert content["parameters"]["learning_rate"] == {"value": rate}
    assert content["parameters"]["seed"] == {"values": [0, 1]}


def test_a_sweep_of_wandb_over_runs_that_are_no_grid_has_whole_configurations():
    yaml = pytest.importorskip("yaml")
    found = export([run(learning_rate=1e-5), run("walker-walk", batch_size=64)], "wandb-sweep", STUDY)
    first, second = yaml.safe_load(found.text)["parameters"]["run"]["values"]
    assert first == {
        "task": "Hopper-v5",
        "utd": 4.0,
        "batch_size": 176,
        "learning_rate": 1e-5,
        "seed": 0,
        "env_steps": 335_000,
    }
    assert second["task"] == "walker-walk"
    assert any("no grid" in note for note in found.notes)


@pytest.mark.parametrize("to", FORMATS)
def test_nothing_to_run_is_refused(to):
    with pytest.raises(UserError, match="no runs to export"):
        export([], to, STUDY)


@pytest.mark.parametrize("to", ["sb3", "sbx", "cleanrl"])
def test_settings_that_are_not_known_are_left_out_and_said(to):
    found = export([run(utd=1.0)], to, None)
    assert "gamma" not in found.text
    assert any("are not known here" in note for note in found.notes)
