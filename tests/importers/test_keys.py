"""Keys of logs: an import is right, or it asks one question whose answer, typed as it says, is right."""

import json

import numpy as np
import pandas as pd
import pytest
from known_logs import CASES, GIVEN, SCALE, answers_in, assert_lawful, curve, curves_of, data_of, long_table, messages

from command import called, refused
from tdscale.errors import UserError
from tdscale.importers import Columns, Scale, gather_runs, import_runs
from tdscale.importers.meaning import logged_value
from tdscale.importers.patterns import from_name
from tdscale.runs.store import RunStore
from tdscale.study import read_study

UTDS = (0.5, 1.0, 2.0, 4.0)
STEPS = 500 * np.arange(41)
HYPERPARAMETERS = ("--batch-size", "=128", "--learning-rate", "=3e-4", "--task", "=A")


def long_log(d_min=4000.0, utds=UTDS, seeds=(0, 1, 2), steps=STEPS, **columns) -> pd.DataFrame:
    rows = [
        pd.DataFrame({"global_step": steps, "episode_return": curve(steps, utd, seed, d_min), "utd": utd, "seed": seed})
        for utd in utds
        for seed in seeds
    ]
    return pd.concat(rows, ignore_index=True).assign(**columns)


# --- columns that tell rows apart


def interleaved(*tables):
    """Rows of the same steps one after the other, as a logger writes two values at once."""
    return pd.concat(tables).sort_index(kind="stable")


@pytest.mark.parametrize(
    ("key", "values"),
    [("metric", ("avg_return", "avg_success")), ("name", ("avg_return", "avg_success")), ("width", (256, 64)), ("preset", (2, 1))],
)
@pytest.mark.parametrize("order", ["one after the other", "interleaved", "shuffled", "on grids of their own"])
def test_a_column_that_tells_rows_apart_is_named_and_the_answer_is_right(tmp_path, key, values, order):
    right = long_log(**{key: values[0]})
    other = long_log(d_min=16_000.0, steps=STEPS + (137 if order == "on grids of their own" else 0), **{key: values[1]})
    both = pd.concat([right, other])
    table = {"interleaved": interleaved(right, other), "shuffled": both.sample(frac=1, random_state=0)}.get(order, both)
    table.to_csv(tmp_path / "log.csv", index=False)
    said = refused("import", "log.csv", *HYPERPARAMETERS, *SCALE, "--dir", "d", cwd=tmp_path)
    assert f"differ in {key}: " in said
    (answer,) = answers_in(said, "--where")
    assert answer in (f"{key}={values[0]}", f"{key}={values[1]}")
    called("import", "log.csv", *HYPERPARAMETERS, *SCALE, "--where", f"{key}={values[0]}", "--dir", "d", cwd=tmp_path)
    assert_lawful(tmp_path / "d", UTDS, 500, {"A": 4000.0})
    assert answers_in(said, "--split-by") == [key]
    answer = called("import", "log.csv", *HYPERPARAMETERS, *SCALE, "--split-by", key, "--dir", "e", cwd=tmp_path)
    assert answer.returncode == 0, answer
    assert_lawful(tmp_path / "e" / str(values[0]), UTDS, 500, {"A": 4000.0})
    assert_lawful(tmp_path / "e" / str(values[1]), UTDS, 637, {"A": 16_000.0})


def test_files_of_two_metrics_are_asked_about(tmp_path):
    (tmp_path / "logs").mkdir()
    for utd in UTDS:
        success = long_log(utds=[utd], metric="avg_success").assign(episode_return=lambda table: table.episode_return > 900)
        table = interleaved(long_log(utds=[utd], metric="avg_return"), success).assign(exp_name=f"agent_utd{utd:g}", env_name="A")
        table.drop(columns="utd").rename(columns={"episode_return": "value"}).to_csv(tmp_path / f"logs/agent_utd{utd:g}.csv")
    given = ("--batch-size", "=128", "--learning-rate", "=3e-4", "--return", "value", *SCALE)
    said = refused("import", "logs", "--names", "agent_utd{utd}", *given, "--dir", "d", cwd=tmp_path)
    assert said.startswith(
        "runs with the same task, UTD ratio, batch size, learning rate and seed differ in metric: avg_return, avg_success;"
    )
    (answer,) = answers_in(said, "--where")
    for at, option in (("d", ("--names", "agent_utd{utd}")), ("e", ("--utd", "exp_name:*_utd{utd}"))):
        shown = called("import", "logs", *option, *given, "--where", answer, "--dir", at, cwd=tmp_path)
        assert shown.returncode == 0, shown
        assert ("exp_name  agent_utd0.5, agent_utd1, agent_utd2, agent_utd4; changes with the UTD ratio" in shown.stdout) == (at == "d")
        assert_lawful(tmp_path / at, UTDS, 500, {"A": 4000.0})


def test_columns_that_change_along_a_run_are_no_keys_of_runs(tmp_path):
    table = long_log()
    table["done"] = table.index % 3 == 0
    table["success"] = (table.episode_return > 800).astype(int)
    table["episode"] = table.groupby(["utd", "seed"]).cumcount() // 4
    table["loss"] = np.random.default_rng(0).normal(size=len(table))
    table["when"] = [f"2026-01-01 {i // 60:02}:{i % 60:02}" for i in range(len(table))]
    for order, rows in (("sorted", table), ("shuffled", table.sample(frac=1, random_state=0))):
        rows.to_csv(tmp_path / "log.csv")
        shown = called("import", "log.csv", *HYPERPARAMETERS, *SCALE, "--dir", order, cwd=tmp_path)
        assert shown.returncode == 0, shown
        assert "other keys" not in shown.stdout
        assert_lawful(tmp_path / order, UTDS, 500, {"A": 4000.0})


def test_times_and_counts_beside_two_metrics_are_not_named(tmp_path):
    both = interleaved(long_log(metric="avg_return"), long_log(d_min=16_000.0, metric="avg_success"))
    both["when"] = [f"noon and {i // 2} seconds" for i in range(len(both))]
    both["episode"] = both.groupby(["utd", "seed", "metric"]).cumcount()
    both.to_csv(tmp_path / "log.csv", index=False)
    said = refused("import", "log.csv", *HYPERPARAMETERS, *SCALE, "--dir", "d", cwd=tmp_path)
    assert "differ in metric: avg_return, avg_success; choose" in said


def test_a_column_that_makes_no_difference_can_be_ignored(tmp_path):
    table = long_log()
    table["phase"] = np.where(table.global_step < 5000, "exploration", "training")
    table.to_csv(tmp_path / "log.csv", index=False)
    said = refused("import", "log.csv", *HYPERPARAMETERS, *SCALE, "--dir", "d", cwd=tmp_path)
    (answer,) = answers_in(said, "--ignore")
    assert answer == "phase"
    called("import", "log.csv", *HYPERPARAMETERS, *SCALE, "--ignore", answer, "--dir", "d", cwd=tmp_path)
    assert_lawful(tmp_path / "d", UTDS, 500, {"A": 4000.0})


def test_seeds_one_after_the_other_without_a_column_for_them_are_asked_about(tmp_path):
    table = long_log().drop(columns="seed")
    for name, steps in (("alike", 0), ("unlike", table.groupby("utd").cumcount() // len(STEPS))):
        table.assign(global_step=table.global_step + 7 * steps).to_csv(tmp_path / "log.csv", index=False)
        said = refused("import", "log.csv", *HYPERPARAMETERS, *SCALE, "--dir", name, cwd=tmp_path)
        assert answers_in(said, "--repeated") == ["mean", "last", "seeds"]
        called("import", "log.csv", *HYPERPARAMETERS, *SCALE, "--repeated", "seeds", "--dir", name, cwd=tmp_path)
        assert set(curves_of(tmp_path / name)) == {(utd, seed) for utd in UTDS for seed in range(3)}
        assert_lawful(tmp_path / name, UTDS, 500, {"A": 4000.0})


def test_exact_copies_of_rows_are_left_out_and_counted(tmp_path):
    table = long_log()
    pd.concat([table, table[:7]]).to_csv(tmp_path / "log.csv", index=False)
    report = import_runs(tmp_path / "log.csv", "auto", tmp_path / "d", **GIVEN | {"utd": None})
    assert "1 run with 7 rows that are exact copies of another one" in messages(report)["copies"]
    assert {len(found["return"]) for found in curves_of(tmp_path / "d").values()} == {len(STEPS)}


# --- keys of configurations


def write_logs(folder, configs, d_min=lambda config: 4000.0):
    """A monitor and a config a run, as scripts around Stable-Baselines3 leave them."""
    for number, config in enumerate(configs):
        place = folder / f"trial_{number}"
        place.mkdir(parents=True)
        returns = curve(STEPS[1:], config["utd"], config.get("seed", number), d_min(config))
        rows = "".join(f"{value},500,{at}\n" for at, value in enumerate(returns))
        (place / "monitor.csv").write_text(f'#{{"t_start": {1.7e9 + number}}}\nr,l,t\n{rows}')
        (place / "config.json").write_text(json.dumps({"env": "A", "lr": 3e-4, "batch_size": 128} | config))


def notes_of(folder, **columns):
    with gather_runs(folder, columns=Columns(**columns)) as gathered:
        return {note.key: note.along for note in gathered.preview.keys}


def every(**more):
    """Configurations of three seeds at each σ; a value may be a function of σ and seed."""
    cells = [(utd, seed) for utd in UTDS for seed in range(3)]
    fields = [{k: v(utd, seed) if callable(v) else v for k, v in more.items()} for utd, seed in cells]
    return [{"utd": utd, "seed": seed} | field for (utd, seed), field in zip(cells, fields, strict=True)]


@pytest.mark.parametrize(
    ("more", "along"),
    [
        ({"label": lambda utd, seed: f"run-{utd}-{seed}"}, {"label": "the seed"}),
        ({"np_random": lambda utd, seed: 100 + seed}, {"np_random": "the seed"}),
        ({"schedule": lambda utd, seed: f"u{utd}"}, {"schedule": "the UTD ratio"}),
        ({"exp_name": lambda utd, seed: f"mine_utd{utd}_s{seed}"}, {"exp_name": "the seed"}),
        (
            {"wandb_id": lambda utd, seed: f"{utd}{seed}", "start_time": lambda utd, seed: utd + seed, "log_dir": lambda u, s: f"/{u}/{s}"},
            {},
        ),
    ],
)
def test_a_key_that_goes_with_what_is_known_is_shown(tmp_path, more, along):
    write_logs(tmp_path, every(**more))
    assert notes_of(tmp_path) == along


def test_settings_of_tasks_are_shown_and_kept(tmp_path):
    both = [config | {"env": task, "reward_scale": scale} for task, scale in (("A", 5.0), ("B", 1.0)) for config in every()]
    write_logs(tmp_path / "logs", both)
    assert notes_of(tmp_path / "logs") == {"reward_scale": "the task"}
    import_runs(tmp_path / "logs", "auto", tmp_path / "d")
    assert {(spec.task, spec.settings["reward_scale"]) for spec in RunStore(tmp_path / "d").specs().values()} == {("A", 5), ("B", 1)}


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"trick": lambda utd, seed: seed > 1}, "trick"),
        ({"tau": lambda utd, seed: 0.1 if seed else 0.2}, "tau"),
        ({"hidden_sizes": lambda utd, seed: [64, 64] if utd < 2 else [256, 256]}, "hidden_sizes"),
        ({"exp_name": lambda utd, seed: "plain" if seed else "with_resets"}, "exp_name"),
    ],
)
def test_a_key_in_which_seeds_of_a_cell_or_cells_differ_is_asked_about(tmp_path, more, key):
    write_logs(tmp_path, every(**more))
    with pytest.raises(UserError, match=rf"differ in {key}: .*--where {key}=|differ in {key}: .*--where '{key}=") as refusal:
        gather_runs(tmp_path)
    assert f"--ignore {key}" in str(refusal.value)
    (answer,) = answers_in(str(refusal.value), "--where")
    with gather_runs(tmp_path, columns=Columns(where=[answer])) as gathered:
        assert 0 < sum(task.runs for task in gathered.preview.tasks) < 12
    with gather_runs(tmp_path, columns=Columns(ignore=[key])) as gathered:
        assert sum(task.runs for task in gathered.preview.tasks) == 12


def test_what_decides_a_curve_is_kept_with_each_run_so_that_fits_can_tell(tmp_path):
    write_logs(tmp_path / "logs", every(hidden_dim=64, gamma=0.99, replay_size=10**6, notes="x"))
    import_runs(tmp_path / "logs", "auto", tmp_path / "d", model_size="=5e5")
    settings = {json.dumps(dict(spec.settings), sort_keys=True) for spec in RunStore(tmp_path / "d").specs().values()}
    assert settings == {'{"gamma": 0.99, "hidden_dim": 64, "model_size": 500000}'}


def test_sizes_that_are_said_make_one_study(tmp_path):
    sizes = [config | {"width": width, "n": 100 * width} for width in (64, 256) for config in every()]
    write_logs(tmp_path / "logs", sizes)
    assert notes_of(tmp_path / "logs", model_size="n") == {}
    report = import_runs(tmp_path / "logs", "auto", tmp_path / "d", model_size="n")
    assert report.runs == 24
    assert report.study.sizes == {"64": {"width": 64, "model_size": 6400}, "256": {"width": 256, "model_size": 25600}}
    assert {spec.settings["model_size"] for spec in RunStore(tmp_path / "d").specs().values()} == {6400, 25600}


@pytest.mark.parametrize(("where", "said"), [("nope=1", "no run of .* has a key nope"), ("tau=3", r"no run has tau = 3; it is 0\.2, 0\.1")])
def test_a_condition_that_means_nothing_is_refused(tmp_path, where, said):
    write_logs(tmp_path, every(tau=lambda utd, seed: 0.1 if seed else 0.2))
    with pytest.raises(UserError, match=said):
        gather_runs(tmp_path, columns=Columns(where=[where]))


def test_runs_of_one_seed_that_nothing_tells_apart_are_asked_about(tmp_path):
    again = [config | {"start_time": 1} for config in every()]
    write_logs(tmp_path, every() + again, lambda config: 9000.0 if "start_time" in config else 4000.0)
    with pytest.raises(UserError, match=r"trial_0 and trial_12 have the same .* give --seed =count"):
        gather_runs(tmp_path)


# --- algorithms


@pytest.mark.parametrize("key", ["algo", "agent", "exp_name", "method"])
def test_runs_of_several_algorithms_are_never_one_study(tmp_path, key):
    names = {"sac": 4000.0, "td3": 10_000.0}
    write_logs(tmp_path / "logs", [c | {key: f"{n}_script"} for n in names for c in every()], lambda c: names[c[key][:3]])
    said = refused("import", "logs", *SCALE, "--dir", "d", cwd=tmp_path)
    assert said.startswith(f"the runs have several algorithms: {key} is sac_script (12 runs), td3_script (12 runs)")
    called("import", "logs", *SCALE, "--where", answers_in(said, "--where")[0], "--dir", "d", cwd=tmp_path)
    assert_lawful(tmp_path / "d", UTDS, 500, {"A": 4000.0})
    called("import", "logs", *SCALE, "--split-by", answers_in(said, "--split-by")[0], "--dir", "e", cwd=tmp_path)
    assert_lawful(tmp_path / "e" / "td3_script", UTDS, 500, {"A": 10_000.0})
    # and the other's runs don't get into the folder later
    assert "this is a study of 'sac" in refused("import", "logs", *SCALE, "--where", f"{key}=td3_script", "--dir", "d", cwd=tmp_path)


def test_algorithms_in_the_names_of_folders_are_seen(tmp_path):
    for name in ("sac", "td3"):
        long_log().to_csv(tmp_path / f"{name}.csv", index=False)
    said = refused("import", ".", *HYPERPARAMETERS, *SCALE, "--dir", "d", cwd=tmp_path)
    assert "the names of the runs show several algorithms (sac, the first sac, " in said
    shown = called(
        "import", ".", *HYPERPARAMETERS, *SCALE, "--names", "{algorithm}", "--where", "algorithm=td3", "--dir", "d", cwd=tmp_path
    )
    assert shown.returncode == 0, shown
    assert read_study(tmp_path / "d" / "study.toml").algorithm == "td3"


def test_files_that_other_words_name_are_not_seeds_of_one_cell_unasked(tmp_path):
    for name, d_min in (("returns", 4000.0), ("returns_of_ours", 9000.0)):
        for number in range(3):
            long_log(d_min, seeds=[number]).drop(columns="seed").to_csv(tmp_path / f"{name}-{number}.csv", index=False)
    said = refused("import", ".", *HYPERPARAMETERS, *SCALE, "--dir", "d", cwd=tmp_path)
    assert "returns-0 and returns_of_ours-0 would count as seeds of one cell, but have different names" in said
    shown = called("import", ".", *HYPERPARAMETERS, *SCALE, "--names", "{who}-{seed}", "--where", "who=returns", "--dir", "d", cwd=tmp_path)
    assert shown.returncode == 0, shown
    assert_lawful(tmp_path / "d", UTDS, 500, {"A": 4000.0})
    assert import_runs(tmp_path, "csv", tmp_path / "e", **GIVEN | {"utd": None, "seed": "=count"}).runs == 24


# --- what a key means


@pytest.mark.parametrize(
    ("config", "batch_size", "rate"),
    [
        ({"train_batch_size": 256, "train_batch_size_per_learner": 512, "lr": None, "critic_lr": 3e-4, "actor_lr": 3e-5}, 512, 3e-4),
        ({"train_batch_size": 512, "lr": 1e-3, "optimization.critic_learning_rate": 3e-4}, 512, 3e-4),
        ({"batch_size": 64, "learning_rate": 1e-3, "qf_learning_rate": 2e-3}, 64, 2e-3),
        ({"batch_size": 64, "learning_rate": 1e-3, "qf_learning_rate": None}, 64, 1e-3),
        ({"batch_size": 64, "policy_lr": 3e-4, "q_lr": 1e-3}, 64, 1e-3),
        ({"batch_size": 64, "agent.critic.lr": 1e-3, "agent.actor.lr": 1e-4}, 64, 1e-3),
        ({"batch_size": 64, "actor.lr": 1e-4}, 64, None),
    ],
)
def test_what_is_said_of_the_critic_goes_before_what_is_said_of_all(config, batch_size, rate):
    found = {name: logged_value(name, config) for name in ("batch_size", "learning_rate")}
    assert found["batch_size"].value == batch_size
    assert (found["learning_rate"].value if found["learning_rate"] else None) == rate


def test_keys_that_contradict_each_other_are_said_or_asked(tmp_path):
    write_logs(tmp_path / "said", every(critic_lr=1e-3))
    report = import_runs(tmp_path / "said", "auto", tmp_path / "d")
    assert (
        "learning rate comes from critic_lr (0.001), not from lr (0.0003); --learning-rate lr chooses it (12 runs"
        in messages(report)["other-key"]
    )
    write_logs(tmp_path / "asked", every(train_batch_size=256))
    with pytest.raises(UserError, match="batch size is 128 by batch_size and 256 by train_batch_size; give --batch-size batch_size or "):
        gather_runs(tmp_path / "asked")


def test_an_option_that_contradicts_the_log_is_said_with_both_values(tmp_path):
    write_logs(tmp_path / "logs", every())
    report = import_runs(tmp_path / "logs", "auto", tmp_path / "d", batch_size="=256")
    assert (
        "--batch-size =256 is taken for the batch size, but the log's own batch_size is 128 (12 runs" in messages(report)["contradiction"]
    )
    report = import_runs(tmp_path / "logs", "auto", tmp_path / "e", names="trial_{utd}", where="utd!=0")
    assert "but the log's own utd is" in messages(report)["contradiction"]


def test_a_replay_ratio_may_mean_transitions_or_updates(tmp_path):
    table = long_log(batch_size=32, lr=1e-4, game="A").rename(columns={"utd": "replay_ratio"})
    table.assign(replay_ratio=(32 * table.replay_ratio).astype(int)).to_csv(tmp_path / "log.csv", index=False)
    said = refused("import", "log.csv", *SCALE, "--dir", "d", cwd=tmp_path)
    updates, transitions = answers_in(said, "--utd")
    assert (updates, transitions) == ("replay_ratio", "replay_ratio/batch_size")
    called("import", "log.csv", *SCALE, "--utd", transitions, "--dir", "d", cwd=tmp_path)
    assert_lawful(tmp_path / "d", UTDS, 500, {"A": 4000.0})
    said = refused("import", "log.csv", *SCALE, "--batch-size", "=32", "--dir", "e", cwd=tmp_path)
    assert answers_in(said, "--utd")[1] == "replay_ratio/32"
    called("import", "log.csv", *SCALE, "--batch-size", "=32", "--utd", "replay_ratio/32", "--dir", "e", cwd=tmp_path)
    assert data_of(tmp_path / "e") == data_of(tmp_path / "d")
    called("import", "log.csv", *SCALE, "--utd", "replay_ratio", "--utd-scale", "0.03125", "--dir", "f", cwd=tmp_path)
    assert data_of(tmp_path / "f") == data_of(tmp_path / "d")


@pytest.mark.parametrize("step", ["_step", "Step"])
def test_counts_of_log_calls_are_not_taken_for_env_steps(tmp_path, step):
    table = long_log()
    table.rename(columns={"global_step": "frames_seen"}).assign(**{step: table.global_step // 500}).to_csv(
        tmp_path / "log.csv", index=False
    )
    said = refused("import", "log.csv", *HYPERPARAMETERS, *SCALE, "--dir", "d", cwd=tmp_path)
    assert f"{step} counts log calls in W&B's tables, not env steps; give --env-step with one of" in said
    assert said.endswith(": frames_seen")
    for name, given in (("d", ("--env-step", "frames_seen")), ("e", ("--env-step", step, "--env-step-scale", "500"))):
        called("import", "log.csv", *HYPERPARAMETERS, *SCALE, *given, "--dir", name, cwd=tmp_path)
        assert_lawful(tmp_path / name, UTDS, 500, {"A": 4000.0})


@pytest.mark.parametrize(
    ("pattern", "name", "column", "found"),
    [
        ("utd{utd}*", "utd16_s1", None, {"utd": "16"}),
        ("*{utd}", "gs16", None, {"utd": "16"}),
        ("lr{lr}_*", "lr3e-4_x", None, {"lr": "3e-4"}),
        ("utd{utd}*", "utd0p5_s1", None, None),
        ("w{width}p{model_size}_x{utd}", "w512p2000000_x2", None, {"width": "512", "model_size": "2000000", "utd": "2"}),
        ("gs{utd}/seed{seed}", "logs/gs0.5/seed2", None, {"utd": "0.5", "seed": "2"}),
        ("gs{utd}", "gs4/x", None, None),
        ("{task}_utd{utd} - *", "wide", "Hopper-v4_utd2 - charts/episodic_return", {"task": "Hopper-v4", "utd": "2"}),
        ("*/{task}_utd{utd} - charts/*", "wide", "Hopper_utd2 - charts/return", {"task": "Hopper", "utd": "2"}),
        ("s{seed}", "s1", None, {"seed": "1"}),
        ("{task}", "a, metric return, seed 0", None, {"task": "a, metric return, seed 0"}),
    ],
)
def test_a_pattern_takes_whole_numbers_and_stays_within_its_folders(pattern, name, column, found):
    assert from_name(pattern, name, column) == found


def test_names_are_held_against_the_file_alone(tmp_path):
    long_log(utds=[2.0]).drop(columns="utd").to_csv(tmp_path / "agent_utd2.csv", index=False)
    report = import_runs(tmp_path / "agent_utd2.csv", "csv", tmp_path / "d", **GIVEN | {"utd": None, "names": "agent_utd{utd}"})
    assert (report.runs, report.utds) == (3, (2.0,))


def test_a_value_within_text_that_does_not_fit_is_one_sentence(tmp_path):
    long_log(exp_name="simba_v2").to_csv(tmp_path / "log.csv", index=False)
    said = refused("import", "log.csv", *HYPERPARAMETERS, "--utd", "exp_name:*_utd{utd}", "--dry-run", cwd=tmp_path)
    assert "exp_name is 'simba_v2', which does not fit '*_utd{utd}'; --utd KEY:PATTERN reads" in said


def test_a_mapping_file_says_the_same(tmp_path):
    pd.concat([long_log(width=64), long_log(d_min=9000.0, width=256)]).to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "map.toml").write_text('batch_size = 128\nlearning_rate = 3e-4\ntask = "=A"\nwhere = ["width=64"]\nenv_step_scale = 4\n')
    called("import", "log.csv", "--map", "map.toml", *SCALE, "--dir", "d", cwd=tmp_path)
    assert_lawful(tmp_path / "d", UTDS, 2000, {"A": 16_000.0})
    (tmp_path / "map.toml").write_text("where = 3\n")
    assert "where: 3 must be text, or a list of texts" in refused("import", "log.csv", "--map", "map.toml", "--dry-run", cwd=tmp_path)


def test_runs_that_a_source_brought_before_and_that_are_taken_out_are_said(tmp_path):
    pd.concat([long_log(width=64), long_log(d_min=9000.0, width=256)]).to_csv(tmp_path / "log.csv", index=False)
    given = GIVEN | {"utd": None}
    import_runs(tmp_path / "log.csv", "csv", tmp_path / "d", **given, where="width=64")
    report = import_runs(tmp_path / "log.csv", "csv", tmp_path / "d", **given, where="width=256")
    assert messages(report)["taken-out"].startswith("12 runs that this source brought before")
    assert {spec.settings["width"] for spec in RunStore(tmp_path / "d").specs().values()} == {256}


# --- the scale of returns


def test_a_drafted_low_is_a_low_quantile_of_the_early_curves(tmp_path):
    table = long_table()
    early = table.env_step < 700
    # luck in the first episodes, as on Pendulum, and worse ones after
    table["return"] = np.where(table.env_step < 200, -970, np.where(early, -1500, table["return"] - 1200))
    table.to_csv(tmp_path / "a.csv", index=False)
    report = import_runs(tmp_path / "a.csv", "csv", tmp_path / "d")
    assert report.study.tasks["Pendulum-v1"].low == -1500
    assert "low is the 5 % quantile" in messages(report)["drafted-scale"]


def test_thresholds_that_the_curves_do_not_cover_are_said(tmp_path):
    table = long_table()
    table["return"] += 500
    table.to_csv(tmp_path / "a.csv", index=False)
    found = messages(import_runs(tmp_path / "a.csv", "csv", tmp_path / "d", low=["0"], high=["2000"], thresholds=[200, 500, 800, 900]))
    assert "no curve of Pendulum-v1 ends above threshold 800 (return 1600), 900 (return 1800)" in found["threshold-not-reached"]
    assert "most curves of Pendulum-v1 start above threshold 200 (return 400)" in found["threshold-from-start"]


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        ({"low": ["-5"]}, "--low -5: .* has low = 0 for Pendulum-v1; edit that file"),
        ({"high": ["Pendulum-v1=900"]}, "--high 900: .* has high = 1000"),
        ({"thresholds": [300, 500]}, "--thresholds 300,500: .* has return_thresholds = 300,500,800"),
        ({"data_cost": 5.0}, "--data-cost 5: .* has data_cost = None"),
        ({"reset_critic_updates": 5}, "--reset-critic-updates 5: .* has no reset_critic_updates"),
        ({"reset_env_steps": [5, 6]}, "--reset-env-steps 5,6: .* has no reset_env_steps"),
    ],
)
def test_another_scale_in_a_second_import_is_refused_and_the_same_is_taken(tmp_path, scale, said):
    long_table().to_csv(tmp_path / "a.csv", index=False)
    import_runs(tmp_path / "a.csv", "csv", tmp_path / "d", low=["0"], high=["1000"])
    before = RunStore(tmp_path / "d").fingerprint()
    with gather_runs(tmp_path / "a.csv") as gathered:
        with pytest.raises(UserError, match=said):
            gathered.write(tmp_path / "d", Scale(**scale))
        gathered.write(tmp_path / "d", Scale(low=["0"], high=["1000"], thresholds=[300, 500, 800]))
    assert RunStore(tmp_path / "d").fingerprint() == before


# --- the logs that went wrong for users, where they are found


@pytest.fixture
def cases():
    if not CASES.is_dir():
        pytest.skip(f"there are no logs in {CASES}; set TDSCALE_CASES to their folder")
    return CASES


def test_the_two_metrics_case(cases, tmp_path):
    given = ("--names", "agent_utd{utd}", "--batch-size", "=256", "--learning-rate", "=3e-4", "--return", "value", *SCALE)
    (answer,) = answers_in(refused("import", cases / "two-metrics", *given, "--dir", "d", cwd=tmp_path), "--where")
    called("import", cases / "two-metrics", *given, "--where", answer, "--dir", "d", cwd=tmp_path)
    found = data_of(tmp_path / "d")
    for (task, utd), data in found.items():
        true = {"walker_run": 40_000, "dog_run": 300_000}[task] * (1 + 1 / utd)
        assert abs(data[2] - true) <= max(0.15 * true, 30_000 if task == "dog_run" else 4000)
    assert len(found) == 8


def test_the_two_widths_case(cases, tmp_path):
    said = refused("import", cases / "two-widths.csv", *SCALE, "--dir", "d", cwd=tmp_path)
    called("import", cases / "two-widths.csv", *SCALE, "--split-by", *answers_in(said, "--split-by"), "--dir", "d", cwd=tmp_path)
    wide, narrow = data_of(tmp_path / "d" / "256"), data_of(tmp_path / "d" / "64")
    ratios = [b / a for key in wide for a, b in zip(wide[key], narrow[key], strict=True) if np.isfinite(b)]
    np.testing.assert_allclose(np.median(ratios), 2, rtol=0.1)


def test_the_replay_ratio_case(cases, tmp_path):
    said = refused("import", cases / "replay-ratio.csv", "--dir", "d", cwd=tmp_path)
    called("import", cases / "replay-ratio.csv", "--utd", answers_in(said, "--utd")[1], "--dir", "d", cwd=tmp_path)
    assert {utd for _, utd in data_of(tmp_path / "d")} == {1, 2, 4, 8}


def test_the_three_scripts_case(cases, tmp_path):
    said = refused("import", cases / "cleanrl-three-scripts", "--utd", "=1", "--dir", "d", cwd=tmp_path)
    assert "have several algorithms: exp_name is ddpg_continuous_action (3 runs), sac_" in said
    called("import", cases / "cleanrl-three-scripts", "--utd", "=1", "--split-by", "exp_name", "--dir", "d", cwd=tmp_path)
    assert {(folder.name.partition("_")[0], read_study(folder / "study.toml").algorithm) for folder in (tmp_path / "d").iterdir()} == {
        (name, name) for name in ("sac", "td3", "ddpg")
    }


@pytest.mark.parametrize("name", ["rllib-old", "rllib-new"])
def test_the_rllib_cases(cases, tmp_path, name):
    called("import", cases / name, "--names", "utd{utd}/SAC_Pendulum_{seed}", *SCALE, "--dir", "d", cwd=tmp_path)
    specs = RunStore(tmp_path / "d").specs().values()
    assert {(spec.batch_size, spec.learning_rate) for spec in specs} == {(512, 3e-4)}
    assert_lawful(tmp_path / "d", (0.25, 0.5, 1.0, 2.0, 4.0), 1000, {"Pendulum-v1": 9657.0})
