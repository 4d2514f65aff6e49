"""Which runs `--where` means, and which keys say of what kind a run is."""

import pytest

from tdscale.errors import UserError
from tdscale.runs.where import as_text, decides, parse_where


@pytest.mark.parametrize(
    "key",
    [
        *("size", "width", "critic_width", "hidden_sizes", "policy.net_arch", "model_size", "algo", "reward_scale", "n_step", "nstep"),
        *("agent.target_entropy", "gamma", "tau", "optimizer", "hiddenSize", "num-layers", "weight_decay", "layernorm", "action_repeat"),
    ],
)
def test_settings_that_decide_a_curve_are_known_by_name(key):
    assert decides(key)


@pytest.mark.parametrize(
    "key",
    [
        *("batch_size", "buffer_size", "replay_size", "seed", "train_freq", "gradient_steps", "env_steps", "total_steps", "eval_steps"),
        *("num_envs", "exp_name", "experiment_id", "log_dir", "device", "learning_starts", "start_steps", "notes"),
    ],
)
def test_other_keys_are_not(key):
    assert not decides(key)


def test_a_condition_holds_for_its_values_alone():
    where = parse_where(["width=64,128", "algo!=td3"])
    assert where.holds({"width": 64, "algo": "sac"})
    assert where.holds({"width": "128.0"})
    assert not where.holds({"width": 256, "algo": "sac"})
    assert not where.holds({"width": 64, "algo": "td3"})
    assert not where.holds({"algo": "sac"})


def test_a_nested_key_may_be_named_by_its_last_part_where_that_is_the_only_one():
    assert parse_where(["lr=0.001"]).holds({"optim.lr": 1e-3})
    assert not parse_where(["lr=0.001"]).holds({"critic.lr": 1e-3, "actor.lr": 1e-3})
    assert parse_where(["critic.lr=1e-3"]).holds({"critic.lr": 1e-3, "actor.lr": 2e-3})


def test_a_list_is_one_value():
    assert parse_where(["hidden_sizes=[64, 64],[256,256]"]).holds({"hidden_sizes": (256, 256)})
    assert not parse_where(["hidden_sizes=[64, 64]"]).holds({"hidden_sizes": [64, 65]})


@pytest.mark.parametrize("values", [(256, 256.0, "256", "2.56e2"), (True, "true", "True"), ([1, 2], "[1,2]", (1, 2))])
def test_a_value_is_the_same_however_it_is_written(values):
    assert len({as_text(value) for value in values}) == 1


def test_conditions_can_be_written_down_and_read_again():
    where = parse_where(["size=m, l", "hidden_sizes!=[64, 64]"])
    assert parse_where(where.texts) == where


@pytest.mark.parametrize("text", ["size", "=m", "size=", ""])
def test_what_is_no_condition_is_refused_with_an_example(text):
    with pytest.raises(UserError, match="--where size=m"):
        parse_where([text])


def test_keys_that_no_run_has_are_named():
    assert parse_where(["size=m", "colour=red"]).unknown([{"size": "s"}, {"size": "m"}]) == ("colour",)
