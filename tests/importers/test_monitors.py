"""Monitors of Stable-Baselines3: whose rows they hold, and what they count."""

import json

import numpy as np
import pytest
from known_logs import GIVEN, TRUE_SCALE, UNSAID, UTDS, assert_true, case, curves_of, messages, true_returns
from test_loggers import write_model

from tdscale.errors import UserError
from tdscale.importers import import_runs


def write(path, returns, lengths=None, started=1_700_000_000.0, times=None, columns="r,l,t", extra=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    lengths = [1000] * len(returns) if lengths is None else lengths
    times = 10.0 * np.arange(1, len(returns) + 1) if times is None else times
    rows = [f"{value},{length},{time}{extra}\n" for value, length, time in zip(returns, lengths, times, strict=True)]
    path.write_text("#" + json.dumps({"t_start": started, "env_id": "HalfCheetah-v4"}) + f"\n{columns}\n" + "".join(rows))


def three(folder, apart=0.0, speed=0.0, cut=0):
    """Three monitors in one folder for each σ, begun some time after each other, at different speeds, of different lengths."""
    for utd in UTDS:
        for index in range(3):
            steps = np.arange(1000, int(180_000 * (1 + 1 / utd)) - cut * index, 1000)
            times = (10.0 + speed * index) * np.arange(1, len(steps) + 1)
            path = folder / f"utd{utd:g}" / f"{index}.monitor.csv"
            write(path, true_returns(steps, utd, index), started=1.7e9 + apart * index, times=times)
    return folder


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"apart": 7200.0}, "they start 2 hours apart"),
        ({"cut": 30_000}, r"their episodes add up to 359,000 and 329,000 env steps"),
        ({"speed": 1.0}, "the same env steps took them"),
    ],
)
def test_monitors_of_one_folder_that_were_not_stepped_together_are_seeds(tmp_path, how, says):
    report = import_runs(three(tmp_path / "logs", **how), "auto", tmp_path / "study", names="utd{utd}", **UNSAID, **TRUE_SCALE)
    said = [message.message for message in report.messages if message.code == "monitors"]
    assert len(said) == 3
    assert all("count as 3 seeds, not as environments of one run" in text for text in said)
    assert any(says in text for text in said)
    assert {seed for _, seed in curves_of(tmp_path / "study")} == {0, 1, 2}
    assert_true(tmp_path / "study", seeds=3)


def test_those_that_were_are_one_run_unless_the_user_says_otherwise(tmp_path):
    logs = three(tmp_path / "logs", apart=2.0)
    report = import_runs(logs, "auto", tmp_path / "together", names="utd{utd}", **UNSAID, **TRUE_SCALE)
    assert report.runs == 3
    assert "environments of one run (they start together" in messages(report)["monitors"]
    assert max(curve["env_step"][-1] for curve in curves_of(tmp_path / "together").values()) == 3 * 359_000
    assert import_runs(logs, "auto", tmp_path / "apart", names="utd{utd}", monitors="seeds", **UNSAID, **TRUE_SCALE).runs == 9
    assert_true(tmp_path / "apart", seeds=3)
    for index in range(1, 3):  # begun hours later, and yet
        write(logs / "utd1" / f"{index}.monitor.csv", np.zeros(359), started=1.7e9 + 9999 * index)
    report = import_runs(logs, "auto", tmp_path / "said", names="utd{utd}", monitors="environments", **UNSAID, **TRUE_SCALE)
    assert report.runs == 3
    with pytest.raises(UserError, match="--monitors both: must be seeds, each file a run, or environments"):
        import_runs(logs, "auto", tmp_path / "no", names="utd{utd}", monitors="both", **UNSAID)


def test_environments_with_episodes_of_uneven_length_are_known_by_their_clock(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(4):
        lengths = rng.integers(50, 200, 80)
        lengths = lengths[np.cumsum(lengths) < 9000]
        clock = 0.01 * np.cumsum(lengths) - 0.3 * index  # the later ones began a little later
        write(tmp_path / "logs" / f"{index}.monitor.csv", np.ones(len(lengths)), lengths, 1.7e9 + 0.3 * index, clock)
    report = import_runs(tmp_path / "logs", "auto", tmp_path / "study", **GIVEN)
    assert report.runs == 1


def test_a_row_may_hold_quoted_lists_and_line_breaks(tmp_path):
    extra = ',"[0.0, 0.14, ""x""]",False'
    write(tmp_path / "logs/monitor.csv", np.arange(12.0), columns="r,l,t,goal,is_success", extra=extra)
    import_runs(tmp_path / "logs", "auto", tmp_path / "study", **GIVEN)
    (curve,) = curves_of(tmp_path / "study").values()
    assert curve["return"].tolist() == list(range(12))
    text = (tmp_path / "logs/monitor.csv").read_text()
    (tmp_path / "logs/monitor.csv").write_text(text.replace('"[0.0', '"0.0\n', 1))
    assert import_runs(tmp_path / "logs", "auto", tmp_path / "study", **GIVEN).preview.tasks[0].points == (12, 12)
    (tmp_path / "logs/monitor.csv").write_text(text.replace('""]"', '""]', 1))  # never closed
    with pytest.raises(UserError, match=r"line 3: is not a row of r,l,t,goal"):
        import_runs(tmp_path / "logs", "auto", tmp_path / "study", **GIVEN)


@pytest.mark.parametrize(
    ("total", "says"),
    [
        (
            30_000,
            r"its monitor counts 120,000 env steps, the model beside it 30,000 \(num_timesteps\); give --env-step-scale 0.25 if .* of 4",
        ),
        (250_000, r"its monitor counts 120,000 env steps, the model beside it 250,000 \(num_timesteps\); give --resumed continue"),
    ],
)
def test_a_monitor_and_a_model_that_contradict_each_other_are_both_quoted(tmp_path, total, says):
    write(tmp_path / "logs/monitor.csv", np.arange(120.0))
    write_model(tmp_path / "logs/model.zip", num_timesteps=total, _n_updates=2 * total)
    with pytest.raises(UserError, match=says):
        import_runs(tmp_path / "logs", "sb3", tmp_path / "study", **GIVEN | {"batch_size": None, "learning_rate": None})


def test_a_monitor_that_begins_where_a_model_was_loaded_goes_on_from_its_count(tmp_path):
    write(tmp_path / "logs/monitor.csv", np.arange(120.0))
    write_model(tmp_path / "logs/model.zip", num_timesteps=250_000)
    import_runs(tmp_path / "logs", "sb3", tmp_path / "study", **GIVEN | {"batch_size": None, "learning_rate": None, "resumed": "continue"})
    (curve,) = curves_of(tmp_path / "study").values()
    assert (curve["env_step"][0], curve["env_step"][-1]) == (131_000, 250_000)


def test_models_that_were_saved_on_the_way_contradict_nothing(tmp_path):
    write(tmp_path / "logs/monitor.csv", np.arange(120.0))
    for name, steps in (("best_model.zip", 30_000), ("rl_model_60000_steps.zip", 60_000)):
        write_model(tmp_path / "logs" / name, num_timesteps=steps)
    assert import_runs(tmp_path / "logs", "sb3", tmp_path / "study", **GIVEN | {"batch_size": None, "learning_rate": None}).runs == 1


def test_the_shared_monitors_are_seeds_and_those_with_quotes_are_read(tmp_path):
    import_runs(case("seeds-as-workers"), "auto", tmp_path / "seeds", names="utd{utd}", **UNSAID, **TRUE_SCALE)
    assert_true(tmp_path / "seeds", seeds=3)
    report = import_runs(case("monitor-quoted"), "auto", tmp_path / "quoted", names="utd{utd}/seed{seed}", **UNSAID | {"task": None})
    assert report.preview.tasks[0].points == (12, 12)
