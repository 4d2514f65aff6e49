"""Returns that are means over the last episodes, against the D of the episodes themselves."""

import csv
import json

import numpy as np
import pytest
from known_logs import TRUE_SCALE, UNSAID, UTDS, assert_true, case, messages, true_returns

from tdscale.errors import UserError
from tdscale.importers import import_runs
from tdscale.runs.store import RunStore

KEY = "rollout/ep_rew_mean"


def episodes(utd, seed, length, *, uneven=False, noise=150.0, span=150_000):
    """Ends and returns of episodes up to well beyond D."""
    rng = np.random.default_rng([seed, int(100 * utd), length])
    count = int(span * (1 + 1 / utd) / length)
    ends = np.cumsum(rng.integers(length // 2, 3 * length // 2, count) if uneven else np.full(count, length))
    return ends, true_returns(ends, utd, seed, noise)


def moving(values, window, at):
    """The mean over the last `window` of the first `at` values, or over all of them."""
    sums = np.concatenate([[0], np.cumsum(values)])
    first = np.maximum(at - window, 0)
    return (sums[at] - sums[first]) / (at - first)


def sb3_events(folder, ends, returns, window, every, *, lengths=True):
    """As Stable-Baselines3 logs: whenever so many episodes have ended."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    at = np.arange(every, len(ends) + 1, every)
    means, means_of_lengths = moving(returns, window, at), moving(np.diff(ends, prepend=0), window, at)
    folder.mkdir(parents=True)
    with (folder / "events.out.tfevents.1700000000.host").open("wb") as file:
        writer = RecordWriter(file)
        for step, mean, length in zip(ends[at - 1], means, means_of_lengths, strict=True):
            values = [Summary.Value(tag=KEY, simple_value=mean)]
            values += [Summary.Value(tag="rollout/ep_len_mean", simple_value=length)] if lengths else []
            writer.write(Event(step=int(step), summary=Summary(value=values)).SerializeToString())


def events(folder, length=1000, window=100, every=4, *, uneven=False, lengths=True, noise=150.0, seeds=3):
    for utd in UTDS:
        for seed in range(seeds):
            # where only the rows' scatter tells the window there must be many
            ends, returns = episodes(utd, seed, length, uneven=uneven, noise=noise, span=150_000 if lengths else 500_000)
            sb3_events(folder / f"utd{utd:g}_s{seed}", ends, returns, window, every, lengths=lengths)
    return folder


def bring(logs, folder, **options):
    return import_runs(logs, "auto", folder, **UNSAID | TRUE_SCALE | {"names": "utd{utd}_s{seed}"} | options)


@pytest.mark.parametrize("lengths", [True, False], ids=["lengths-logged", "no-lengths"])
@pytest.mark.parametrize(
    ("length", "uneven", "every"), [(1000, False, 4), (200, False, 4), (1000, True, 4), (500, True, 10), (1000, False, 3)]
)
def test_a_mean_of_a_hundred_episodes_is_turned_back(tmp_path, length, uneven, every, lengths):
    report = bring(events(tmp_path / "logs", length, every=every, uneven=uneven, lengths=lengths), tmp_path / "study")
    assert "is a mean over the last 100 episodes of about" in messages(report)["moving-mean"]
    assert "is converted into means of the episodes between two rows" in messages(report)["moving-mean"]
    assert_true(tmp_path / "study", room=0.1, seeds=3)


@pytest.mark.parametrize("window", [10, 50, 200])
def test_a_window_that_the_rows_contradict_is_asked_for(tmp_path, window):
    logs = events(tmp_path / "logs", window=window, every=2)
    with pytest.raises(UserError, match=r"is usually a mean over the last 100 episodes, but .* give --return-window"):
        bring(logs, tmp_path / "study")
    bring(logs, tmp_path / "study", return_window=str(window))
    assert_true(tmp_path / "study", room=0.1, seeds=3)


def test_the_length_of_episodes_is_asked_for_where_nothing_tells_it(tmp_path):
    logs = events(tmp_path / "logs", lengths=False, noise=0.0, seeds=1)
    with pytest.raises(UserError, match="does not show how long an episode is; give --episode-length N"):
        bring(logs, tmp_path / "study")
    bring(logs, tmp_path / "study", episode_length="1000")
    assert_true(tmp_path / "study", room=0.1)


def test_taken_as_it_is_it_is_late_and_that_is_said(tmp_path):
    report = bring(events(tmp_path / "logs"), tmp_path / "study", return_window="none")
    assert "is taken as it is, because of --return-window none" in messages(report)["moving-mean"]
    with pytest.raises(AssertionError):
        assert_true(tmp_path / "study")
    with pytest.raises(UserError, match="must be a count of episodes"):
        bring(tmp_path / "logs", tmp_path / "other", return_window="few")
    with pytest.raises(UserError, match="must be a number of env steps"):
        bring(tmp_path / "logs", tmp_path / "other", episode_length="long")


def test_returns_of_episodes_are_preferred_and_that_is_said(tmp_path):
    from test_resumed import tensorboard

    logs = events(tmp_path / "logs")
    for utd in UTDS:
        for seed in range(3):
            tensorboard(logs / f"utd{utd:g}_s{seed}", [(*episodes(utd, seed, 1000), None)])
    report = bring(logs, tmp_path / "study")
    assert "read from charts/episodic_return, not from rollout/ep_rew_mean" in messages(report)["no-moving-mean"]
    assert_true(tmp_path / "study")


def test_a_table_of_stable_baselines_progress_is_turned_back(tmp_path):
    with (tmp_path / "t.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["time/total_timesteps", "time/episodes", "rollout/ep_len_mean", KEY, "utd", "seed"])
        for utd in UTDS:
            for seed in range(2):
                ends, returns = episodes(utd, seed, 1000, uneven=True)
                at = np.arange(4, len(ends) + 1, 4)
                lengths = moving(np.diff(ends, prepend=0), 100, at)
                rows = zip(ends[at - 1], at, lengths, moving(returns, 100, at), strict=True)
                table.writerows((*row, utd, seed) for row in rows)
    import_runs(tmp_path / "t.csv", "csv", tmp_path / "study", **UNSAID, **TRUE_SCALE)
    assert_true(tmp_path / "study", room=0.1, seeds=2)


def rllib(folder, write, every=2000, scattered=False):
    for utd in UTDS:
        for seed in range(2):
            ends, returns = episodes(utd, seed, 200)
            trial = folder / f"utd{utd:g}_s{seed}"
            trial.mkdir(parents=True)
            (trial / "params.json").write_text(json.dumps({"lr": 3e-4, "train_batch_size": 256}))
            steps = np.arange(every, ends[-1], every)
            at = np.searchsorted(ends, steps, side="right")
            means = true_returns(steps, utd, seed) if scattered else moving(returns, 100, at)
            (trial / "result.json").write_text(
                "".join(
                    json.dumps(write(int(step), int(done), float(mean), returns[max(done - 100, 0) : done].tolist(), every // 200)) + "\n"
                    for step, done, mean in zip(steps, at, means, strict=True)
                )
            )
            (trial / "progress.csv").write_text(
                "training_iteration,timesteps_total\n" + "".join(f"{i},{step}\n" for i, step in enumerate(steps, 1))
            )
    return folder


def new_stack(step, done, mean, last, ended):
    runners = {"episode_return_mean": mean, "episode_len_mean": 200.0, "num_episodes_lifetime": done}
    first = {"timesteps_total": step, "num_env_steps_sampled_lifetime": step}
    return first if step == 2000 else first | {"env_runners": runners}


def old_stack(step, done, mean, last, ended):
    lists = {"episode_reward": last}
    return {"timesteps_total": step, "episode_reward_mean": mean, "episodes_this_iter": ended, "hist_stats": lists}


@pytest.mark.parametrize(("write", "code"), [(new_stack, "moving-mean"), (old_stack, "no-moving-mean")])
def test_rllib_s_mean_is_turned_back_or_its_single_returns_are_read(tmp_path, write, code):
    report = bring(rllib(tmp_path / "logs", write), tmp_path / "study")
    assert code in messages(report)
    assert_true(tmp_path / "study", room=0.1, seeds=2)


def test_a_key_of_a_mean_whose_rows_scatter_each_by_itself_is_taken_as_it_is(tmp_path):
    report = bring(rllib(tmp_path / "logs", new_stack, scattered=True), tmp_path / "study")
    assert "is taken as it is: its rows scatter" in messages(report)["no-moving-mean"]
    assert_true(tmp_path / "study", seeds=2)


def test_rllib_s_first_result_may_have_no_return_and_a_log_without_any_says_so(tmp_path):
    logs = rllib(tmp_path / "logs", lambda step, *rest: {"timesteps_total": step, "loss": 1.0})
    with pytest.raises(UserError, match=r"result.json: it is not clear which of its keys holds the return; give --return KEY"):
        bring(logs, tmp_path / "study")


def test_the_shared_logs_of_means_have_the_d_of_their_episodes(tmp_path):
    for name, names in (("smoothed-tensorboard", "gs{utd}/seed{seed}/*"), ("smoothed-monitor", "gs{utd}/seed{seed}")):
        import_runs(case(name), "auto", tmp_path / name, names=names, **UNSAID, **TRUE_SCALE)
        assert_true(tmp_path / name, room=0.1, seeds=4)
        assert len(RunStore(tmp_path / name).specs()) == 20


def test_the_shared_rllib_log_without_a_return_in_its_first_result_has_its_d(tmp_path):
    scale = {"low": ("0",), "high": ("1000",)}
    given = UNSAID | scale | {"batch_size": "=512", "task": None}
    import_runs(case("rllib-first"), "auto", tmp_path, names="utd{utd}/SAC_Pendulum_{seed}", **given)
    assert_true(tmp_path, 9_657.0, [800.0], seeds=2)
