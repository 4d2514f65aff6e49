"""Logs of one's own, in files that their real programs wrote, and what is wrong with them.

Stable-Baselines3 needs torch: its files here are written by hand in its exact form; tests/peers has those that it writes itself.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import types
import zipfile

import numpy as np
import pandas as pd
import pytest

from command import called, refused
from tdscale.errors import UserError
from tdscale.runs.cells import load_cells
from tdscale.runs.importers import Columns, Scale, gather_runs, import_runs
from tdscale.runs.importers.wandb_runs import project_runs
from tdscale.runs.store import RunStore

GIVEN = {"utd": "=1", "batch_size": "=64", "learning_rate": "=3e-4", "task": "=Pendulum-v1"}


def rising(utd: float, seed: int, n: int = 30) -> np.ndarray:
    """Returns that get to 1000 sooner at a higher σ."""
    noise = np.random.default_rng([int(100 * utd), seed]).normal(0, 5, n)
    return 1000 * (1 - np.exp(-np.arange(n) * utd**0.5 / 8)) + noise


def curves_of(folder):
    store = RunStore(folder)
    curves = store.curves(columns=None)
    return {(spec.utd, spec.seed): curves[run_id] for run_id, spec in store.specs().items()}


def messages(found):
    return {message.code: message.message for message in found.messages}


def long_table(**changes) -> pd.DataFrame:
    rows = [
        {"env_step": 100 * i, "return": r, "utd": utd, "batch_size": 64, "learning_rate": 3e-4, "env_id": "Pendulum-v1", "seed": seed}
        for utd in (0.5, 1.0, 2.0, 4.0)
        for seed in range(3)
        for i, r in enumerate(rising(utd, seed))
    ]
    return pd.DataFrame(rows).assign(**changes)


# --- TensorBoard


def write_events(folder, returns, config=None, tag="charts/episodic_return"):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary import text_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    if config is not None:
        table = "|param|value|\n|-|-|\n" + "\n".join(f"|{key}|{value}|" for key, value in config.items())
        summary = text_pb("hyperparameters", table)
        summary.value[0].tag = "hyperparameters/text_summary"
        writer.add_event(Event(summary=summary, step=0))
    for i, value in enumerate(returns):
        writer.add_event(Event(summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]), step=100 * i))
    writer.close()
    return next(folder.glob("*tfevents*"))


def test_cleanrl_s_folders_say_task_and_seed_and_its_table_the_rest(tmp_path):
    for seed in range(2):
        write_events(tmp_path / f"runs/Hopper-v4__sac__{seed}__17000000{seed}0", rising(1, seed), {"batch_size": 256, "q_lr": 1e-3})
    import_runs(tmp_path / "runs", "auto", tmp_path / "study", utd="=1")
    specs = RunStore(tmp_path / "study").specs().values()
    assert {(s.task, s.utd, s.batch_size, s.learning_rate) for s in specs} == {("Hopper-v4", 1.0, 256, 1e-3)}
    np.testing.assert_allclose(curves_of(tmp_path / "study")[1.0, 1]["return"], rising(1, 1), rtol=1e-6)


def test_an_event_file_cut_off_anywhere_gives_what_stands_before(tmp_path):
    whole = write_events(tmp_path / "run", rising(1, 0)).read_bytes()
    for index, cut in enumerate(range(len(whole) // 2, len(whole), 37)):
        path = tmp_path / f"cut{index}" / "events.out.tfevents.1"
        path.parent.mkdir()
        path.write_bytes(whole[:cut])
        with gather_runs(path.parent, "tensorboard", Columns(**GIVEN)) as gathered:
            assert 0 < gathered.preview.tasks[0].points[0] <= 30


def test_an_event_file_of_other_bytes_is_said_to_hold_nothing(tmp_path):
    (tmp_path / "events.out.tfevents.1").write_bytes(b"\xff" * 500)
    with pytest.raises(UserError, match="--return"):
        gather_runs(tmp_path, "auto", Columns(**GIVEN))


# --- W&B


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """Two runs, as W&B records them without network."""
    folder = tmp_path_factory.mktemp("wandb")
    code = (
        "import sys, wandb\n"
        "for seed in range(2):\n"
        "    config = {'utd': 2.0, 'seed': seed, 'batch_size': 64, 'optimiser': {'lr': 3e-4}, 'env_id': 'Pendulum-v1'}\n"
        "    run = wandb.init(mode='offline', dir=sys.argv[1], project='p', config=config)\n"
        "    for i in range(40):\n"
        "        run.log({'global_step': 100 * i, 'charts/episodic_return': float(i + seed), 'note': 'x' * 2000})\n"
        "    if seed: run.log({'global_step': 4000, 'charts/episodic_return': float('nan')})\n"
        "    run.finish()\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "WANDB_SILENT": "true", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment, capture_output=True, timeout=120)
    return folder


def test_a_run_recorded_offline_is_read_without_network(offline, tmp_path):
    report = import_runs(offline, "auto", tmp_path)
    assert report.runs == 2
    curves = curves_of(tmp_path)
    np.testing.assert_array_equal(curves[2.0, 1]["return"], np.arange(40) + 1.0)
    np.testing.assert_array_equal(curves[2.0, 1]["env_step"], 100 * np.arange(40))
    assert {spec.learning_rate for spec in RunStore(tmp_path).specs().values()} == {3e-4}


def test_a_run_that_was_resumed_is_one_run(offline, tmp_path):
    (first, *_) = sorted(offline.rglob("*.wandb"), key=lambda path: path.parent.name)
    again = "\n".join(
        [
            "import sys, wandb",
            "run = wandb.init(mode='offline', dir=sys.argv[1], project='p', id=sys.argv[2], resume='allow')",
            "for i in range(40, 60): run.log({'global_step': 100 * i, 'charts/episodic_return': float(i)})",
            "run.finish()",
        ]
    )
    folder = tmp_path / "logs"
    shutil.copytree(first.parent, folder / "wandb" / first.parent.name)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "WANDB_SILENT": "true", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", again, str(folder), first.stem.removeprefix("run-")]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
    report = import_runs(folder, "wandb", tmp_path / "study")
    assert report.runs == 1
    assert "put together" in messages(report)["resumed-run"]
    (curve,) = curves_of(tmp_path / "study").values()
    np.testing.assert_array_equal(curve["env_step"], 100 * np.arange(60))


def test_a_run_that_ends_in_nan_has_diverged(offline, tmp_path):
    import_runs(offline, "wandb", tmp_path)
    store = RunStore(tmp_path)
    states = {spec.seed: store.statuses()[run_id] for run_id, spec in store.specs().items()}
    assert (states[0].state, states[1].state, states[1].last_step) == ("finished", "diverged", 4000)


def test_a_wandb_file_that_is_cut_off_or_damaged_gives_what_stands_before(offline, tmp_path):
    whole = next(offline.rglob("*.wandb")).read_bytes()
    assert len(whole) > 1 << 16  # records go over the blocks' ends
    for index, content in enumerate((whole[:-9], whole[: len(whole) // 2], whole[:70_000] + b"\0" * 9 + whole[70_009:])):
        path = tmp_path / f"run{index}" / "run-x.wandb"
        path.parent.mkdir()
        path.write_bytes(content)
        with gather_runs(path.parent) as gathered:
            assert 0 < gathered.preview.tasks[0].points[0] <= 40
            assert {"damaged-file"} <= set(messages(gathered.preview)) or index == 0


class _Server:
    """What the W&B package's Api answers, without its server: a project of many runs, given out one after the other."""

    def __init__(self, count):
        self.count = count

    def runs(self, project, per_page, order):
        for seed in range(self.count):
            config = {"utd": 1.0, "seed": seed, "batch_size": 64, "lr": 3e-4, "env": "Pendulum-v1"}
            rows = [{"_step": 100 * i, "return": "NaN" if i == 3 else float(i)} for i in range(9)]
            yield types.SimpleNamespace(
                name=f"r{seed}", config=config, state="finished", scan_history=lambda page_size, rows=rows: iter(rows)
            )


def test_every_run_of_a_project_on_the_server_is_taken():
    runs = list(project_runs(_Server(120), "me/project", Columns()))
    assert [run.config["seed"] for run in runs] == list(range(120))
    assert np.isnan(runs[0].returns[3])


@pytest.mark.parametrize("key", [pytest.param("0" * 40, marks=pytest.mark.slow, id="offline"), pytest.param("", id="not-logged-in")])
def test_without_network_or_login_a_project_is_one_sentence(tmp_path, key):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment |= {"WANDB_BASE_URL": "http://127.0.0.1:9", "HOME": str(tmp_path)} | ({"WANDB_API_KEY": key} if key else {})
    command = [sys.executable, "-m", "tdscale", "import", "me/project", "--from", "wandb", "--dir", "d"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
    assert answer.returncode == 2, answer
    assert "W&B's server" in answer.stderr.splitlines()[-1]
    assert "wandb login" in answer.stderr.splitlines()[-1]


# --- Stable-Baselines3, in its form by hand


def write_monitor(path, lengths, returns, env_id="Pendulum-v1"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="\n") as file:
        file.write("#" + json.dumps({"t_start": 1700000000.1, "env_id": env_id}) + "\n")
        writer = csv.DictWriter(file, fieldnames=("r", "l", "t"))
        writer.writeheader()
        for i, (length, value) in enumerate(zip(lengths, returns, strict=True)):
            writer.writerow({"r": round(value, 6), "l": length, "t": round(0.1 * i, 6)})


def write_model(path, **changes):
    data = {
        "gradient_steps": 2,
        "learning_starts": 100,
        "num_timesteps": 6000,
        "_n_updates": 11_800,
        "batch_size": 64,
        "learning_rate": 1e-3,
    }
    data |= {
        "learning_rate": 1e-3,
        "n_envs": 1,
        "seed": 0,
        "train_freq": {":type:": "<class 'TrainFreq'>", ":serialized:": "gAWV"},
    } | changes
    with zipfile.ZipFile(path, "w") as model:
        model.writestr("data", json.dumps(data))


def test_a_saved_model_says_sigma_by_the_updates_it_counts(tmp_path):
    for folder, changes in (("a", {}), ("b", {"_n_updates": 2950, "seed": 1}), ("c", {"gradient_steps": -1, "seed": 2})):
        write_monitor(tmp_path / "logs" / folder / "monitor.csv", [200] * 30, rising(2, 0))
        write_model(tmp_path / "logs" / folder / "model.zip", **changes)
    import_runs(tmp_path / "logs", "auto", tmp_path / "study")
    assert set(curves_of(tmp_path / "study")) == {(2.0, 0), (0.5, 1), (1.0, 2)}


def test_environments_stepped_together_are_one_run(tmp_path):
    for index in range(4):
        write_monitor(tmp_path / "logs" / f"{index}.monitor.csv", [100] * 10, np.arange(10.0) + index)
    import_runs(tmp_path / "logs", "auto", tmp_path / "study", **GIVEN | {"task": None})
    (curve,) = curves_of(tmp_path / "study").values()
    np.testing.assert_array_equal(curve["env_step"], 400 * np.arange(1, 11))
    np.testing.assert_array_equal(curve["return"], np.arange(10) + 1.5)


def test_one_monitor_of_several_environments_takes_their_number_from_the_log(tmp_path):
    write_monitor(tmp_path / "logs" / "monitor.csv", [100] * 20, range(20))
    config = {"gradient_steps": 1, "train_freq": 1, "n_envs": 4, "batch_size": 256, "learning_rate": 3e-4, "seed": 0}
    (tmp_path / "logs" / "config.json").write_text(json.dumps(config))
    report = import_runs(tmp_path / "logs", "sb3", tmp_path / "study")
    assert report.utds == (0.25,)


def test_evaluations_stand_beside_the_training_returns_or_for_them(tmp_path):
    write_monitor(tmp_path / "logs/monitor.csv", [200] * 5, np.arange(5.0))
    np.savez(tmp_path / "logs/evaluations.npz", timesteps=[500, 1000], results=[[1.0, 3.0], [5.0, 7.0]], ep_lengths=[[200, 200]] * 2)
    import_runs(tmp_path / "logs", "sb3", tmp_path / "beside", **GIVEN)
    (curve,) = curves_of(tmp_path / "beside").values()
    np.testing.assert_array_equal(curve["evaluation_return"][np.isfinite(curve["evaluation_return"])], [2, 6])
    import_runs(tmp_path / "logs", "sb3", tmp_path / "for", returns="evaluations", **GIVEN)
    (curve,) = curves_of(tmp_path / "for").values()
    np.testing.assert_array_equal(curve["return"], [2, 6])


def test_objects_and_bombs_in_evaluations_are_refused(tmp_path):
    path = tmp_path / "evaluations.npz"
    np.savez(path, timesteps=[1], results=np.array([[{}]], dtype=object))
    with pytest.raises(UserError, match="never loaded"):
        gather_runs(tmp_path, "sb3", Columns(**GIVEN))
    np.savez_compressed(path, timesteps=np.zeros(1 << 20), results=np.zeros((1, 1)))
    with pytest.raises(UserError, match="would unpack"):
        gather_runs(tmp_path, "sb3", Columns(**GIVEN))


def test_a_monitor_may_be_torn_in_its_last_line_only(tmp_path):
    path = tmp_path / "monitor.csv"
    write_monitor(path, [200] * 5, np.arange(5.0))
    text = path.read_text()
    path.write_text(text[:-4])
    with gather_runs(tmp_path, "sb3", Columns(**GIVEN)) as gathered:
        assert gathered.preview.tasks[0].points == (4, 4)
    path.write_text(text.replace("2.0,200", "2.0,x"))
    with pytest.raises(UserError, match="line 5"):
        gather_runs(tmp_path, "sb3", Columns(**GIVEN))


# --- RLlib


@pytest.mark.parametrize("logger", ["CSVLoggerCallback", "JsonLoggerCallback"])
def test_what_ray_s_loggers_write_is_read(tmp_path, logger):
    from ray.tune import logger as loggers

    log = getattr(loggers, logger)()
    for seed in range(2):
        folder = tmp_path / "results" / f"trial_{seed}"
        config = {"seed": seed, "env": "Pendulum-v1", "lr": 3e-4, "train_batch_size": 64, "deep": {"a": [1, 2]}}
        folder.mkdir(parents=True)
        trial = _Trial(folder, config)
        log._restore_from_remote = lambda *_: None
        log.log_trial_start(trial)
        for i in range(20):
            mean = float("nan") if i == 0 else float(i)
            result = {"num_env_steps_sampled_lifetime": 100 * i, "env_runners": {"episode_return_mean": mean}, "config": config}
            log.log_trial_result(i, trial, result)
        log.log_trial_end(trial)
        (folder / "params.json").write_text(json.dumps(config))
    import_runs(tmp_path / "results", "auto", tmp_path / "study", utd="=0.5")
    np.testing.assert_array_equal(curves_of(tmp_path / "study")[0.5, 1]["return"], np.arange(1, 20))


class _Trial:
    """What Ray's loggers ask of a trial; they keep it as a key."""

    def __init__(self, folder, config):
        self.local_path, self.config = str(folder), config

    def init_local_path(self):
        """Its folder is there."""


# --- tables


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_a_long_table_gives_its_runs_whatever_the_rows_order(tmp_path, suffix):
    table = long_table().sample(frac=1, random_state=0)
    path = tmp_path / f"curves.{suffix}"
    table.to_parquet(path) if suffix == "parquet" else table.to_csv(path, index=False)
    report = import_runs(path, "auto", tmp_path / "study")
    assert (report.runs, report.cells) == (12, 4)
    assert "unsorted" in messages(report)
    np.testing.assert_allclose(curves_of(tmp_path / "study")[2.0, 1]["return"], rising(2, 1))


def test_a_wide_table_has_a_run_in_each_column(tmp_path):
    columns = {f"sac utd{utd} s{seed}": rising(utd, seed) for utd in (0.5, 2.0) for seed in range(2)}
    table = pd.DataFrame({"Step": 100 * np.arange(30), **columns, "sac utd0.5 s0__MIN": 0.0})
    table.loc[20:, "sac utd2.0 s1"] = np.nan
    table.to_csv(tmp_path / "wide.csv", index=False)
    given = GIVEN | {"utd": None, "names": "* utd{utd} s{seed}", "seed": "seed"}
    table.drop(columns="sac utd0.5 s0__MIN").to_csv(tmp_path / "wide.csv", index=False)
    import_runs(tmp_path / "wide.csv", "csv", tmp_path / "study", **given)
    curves = curves_of(tmp_path / "study")
    assert set(curves) == {(0.5, 0), (0.5, 1), (2.0, 0), (2.0, 1)}
    assert len(curves[2.0, 1]["return"]) == 20


def test_columns_of_categories_are_read_as_their_values(tmp_path):
    long_table(env_id=pd.Categorical(["Pendulum-v1"] * len(long_table()))).to_parquet(tmp_path / "curves.parquet")
    assert import_runs(tmp_path / "curves.parquet", "auto", tmp_path / "study").tasks == ("Pendulum-v1",)


def test_a_header_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "curves.csv").write_text("x" * 200_000 + ",return\n1,2\n")
    with pytest.raises(UserError, match="can't be read as a table"):
        import_runs(tmp_path / "curves.csv", "csv", tmp_path / "study")


def test_the_same_runs_are_refused_also_where_they_were_taken_for_another_stage(tmp_path):
    long_table().to_csv(tmp_path / "one.csv", index=False)
    pd.concat([long_table(), long_table(batch_size=128)]).to_csv(tmp_path / "two.csv", index=False)
    import_runs(tmp_path / "one.csv", "csv", tmp_path / "study")
    with pytest.raises(UserError, match=r"are in .* already, from another source"):
        import_runs(tmp_path / "two.csv", "csv", tmp_path / "study")


def one_file_a_run(folder):
    folder.mkdir()
    for (utd, seed), rows in long_table().groupby(["utd", "seed"]):
        rows.to_csv(folder / f"utd{utd}_{seed}.csv", index=False)
    return sorted(folder.iterdir())


def test_a_table_whose_last_row_was_never_finished_gives_the_rows_before(tmp_path):
    first, *_ = one_file_a_run(tmp_path / "logs")
    whole = first.read_text()
    first.write_text(whole[: whole.rindex(",64,") + 2])
    report = import_runs(tmp_path / "logs", "auto", tmp_path / "study")
    assert report.runs == 12
    assert messages(report)["torn-rows"] == "a row is not whole (4 of 7 columns) and left out"
    np.testing.assert_allclose(curves_of(tmp_path / "study")[0.5, 0]["return"], rising(0.5, 0)[:-1])


def test_what_cannot_be_imported_is_told_at_once_and_may_be_left_out(tmp_path):
    first, second, third, *_ = one_file_a_run(tmp_path / "logs")
    first.write_text(first.read_text().replace("1500,", "oops,"))
    second.write_bytes(b"env_step,return\n\xff\xfe,1\n")
    pd.read_csv(third).drop(columns="learning_rate").to_csv(third, index=False)
    said = refused("import", tmp_path / "logs", "--dir", tmp_path / "study", cwd=tmp_path)
    assert f"{first}: can't be read as a table ('oops' stands where a number should); nor can 2 more of 12 be imported, the next: " in said
    assert said.strip().endswith("--skip-bad imports the others")
    assert not (tmp_path / "study").exists()
    answer = called("import", tmp_path / "logs", "--dir", tmp_path / "study", "--skip-bad", cwd=tmp_path)
    assert "9 runs in 3 cells" in answer.stdout
    assert answer.stdout.count("left out: ") == 3
    assert "the log does not say η" in answer.stdout


def test_where_all_is_bad_nothing_is_left_to_skip_to(tmp_path):
    long_table().drop(columns="learning_rate").to_csv(tmp_path / "curves.csv", index=False)
    with pytest.raises(UserError, match="give --learning-rate KEY") as refusal:
        import_runs(tmp_path / "curves.csv", "csv", tmp_path / "study", skip_bad=True)
    assert "--skip-bad" not in str(refusal.value)


def test_both_series_that_are_not_known_are_asked_for_together(tmp_path):
    long_table().rename(columns={"env_step": "t", "return": "y"}).to_csv(tmp_path / "curves.csv", index=False)
    with pytest.raises(UserError, match="give --env-step KEY and --return KEY; there are t, y, utd"):
        import_runs(tmp_path / "curves.csv", "csv", tmp_path / "study")


def test_memory_does_not_grow_with_a_table(tmp_path):
    def peak(n):
        path = tmp_path / f"{n}.csv"
        with path.open("w") as file:
            file.write("env_step,return,utd,seed,note\n")
            for start in range(0, n, 100_000):
                rows = (f"{i // 50},{i % 977}.5,{1 + i % 5},{i % 10},{'x' * 30}\n" for i in range(start, start + 100_000))
                file.writelines(rows)
        code = (
            "import resource, sys\nfrom tdscale.runs.importers import Columns, gather_runs\n"
            "columns = Columns(batch_size='=64', learning_rate='=3e-4', task='=T')\n"
            "with gather_runs(sys.argv[1], 'csv', columns) as gathered: print(gathered.preview.tasks[0].runs)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        )
        out = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True).stdout.split()
        assert int(out[0]) == 10
        return int(out[1]) / 1024, path.stat().st_size / 2**20

    small, large = peak(100_000), peak(1_000_000)
    # 39 MiB more of table; a library that reads it whole needs more than that
    assert large[1] - small[1] > 39
    assert large[0] - small[0] < 30


# --- what any log may be like


def test_rows_at_one_env_step_count_as_their_mean(tmp_path):
    pd.DataFrame({"env_step": [0, 100, 100, 50], "return": [0.0, 1.0, 3.0, 5.0]}).to_csv(tmp_path / "a.csv", index=False)
    report = import_runs(tmp_path / "a.csv", "csv", tmp_path / "study", **GIVEN)
    assert {"unsorted", "repeated", "one-seed"} <= set(messages(report))
    (curve,) = curves_of(tmp_path / "study").values()
    np.testing.assert_array_equal(curve["return"], [0, 5, 2])


@pytest.mark.parametrize(
    ("column", "option"), [("utd", "--utd"), ("batch_size", "--batch-size"), ("learning_rate", "--learning-rate"), ("env_id", "--task")]
)
def test_a_hyperparameter_that_no_log_has_is_asked_for_by_name(tmp_path, column, option):
    long_table().drop(columns=column).to_csv(tmp_path / "a.csv", index=False)
    said = refused("import", "a.csv", "--dir", "d", cwd=tmp_path)
    assert f"{option} KEY" in said
    assert "seed" in said  # what there is
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--utd", "config.nope"], "'config.nope'"),
        (["--utd", "=0"], "can't be σ"),
        (["--batch-size", "=2.5"], "can't be B"),
        (["--learning-rate", "=high"], "can't be η"),
        (["--return", "charts/x"], "--return"),
        (["--env-step", "=5"], "can't be a constant"),
        (["--names", "{a}{a}"], "can't be a key"),
        (["--names", "*x*{utd}"], "--names"),
        (["--high", "Hopper=3"], "there is no task 'Hopper'"),
        (["--thresholds", "a"], "--thresholds a"),
        (["--thresholds", "1,2000"], "--thresholds"),
        (["--map", "no.toml"], "no.toml"),
        (["--layout", "gym_ours"], "--layout"),
        (["--task", "=a\x1b[2J"], "printable"),
    ],
)
def test_a_wrong_word_about_a_log_is_one_sentence_and_nothing_is_written(tmp_path, arguments, said):
    long_table().to_csv(tmp_path / "a.csv", index=False)
    assert said in refused("import", "a.csv", "--dir", "d", *arguments, cwd=tmp_path)
    assert not (tmp_path / "d" / "study.toml").exists()


def test_a_mapping_is_given_once_in_a_file_and_options_go_before_it(tmp_path):
    long_table().rename(columns={"utd": "ratio", "return": "score"}).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "map.toml").write_text('from = "csv"\nutd = "ratio"\nreturn = "score"\nbatch_size = 128\nlearning_rate = 1e-4\n')
    answer = called("import", "a.csv", "--map", "map.toml", "--learning-rate", "=0.01", "--dir", "d", "--json", cwd=tmp_path)
    content = json.loads(answer.stdout)
    (task,) = content["preview"]
    assert (task["utds"], task["batch_sizes"], task["learning_rates"]) == ([0.5, 1, 2, 4], [128], [0.01])
    (tmp_path / "map.toml").write_text("utt = 1\n")
    assert "utt: unknown key" in refused("import", "a.csv", "--map", "map.toml", "--dir", "e", cwd=tmp_path)


def test_a_dry_run_shows_holes_copies_and_grids_and_writes_nothing(tmp_path):
    table = pd.concat([long_table(), long_table(batch_size=128)])
    table = table[~((table.utd == 4) & (table.batch_size == 128))]
    same = table[(table.utd == 1) & (table.batch_size == 64) & (table.seed == 0)].assign(seed=7)
    short = table[(table.utd == 2) & (table.env_step > 2000)].index
    pd.concat([table, same]).drop(index=short).to_csv(tmp_path / "a.csv", index=False)
    before = set(tmp_path.iterdir())
    answer = called("import", "a.csv", "--dry-run", cwd=tmp_path)
    for words in (
        "4 different" if False else "different grids",
        "copies  1",
        "no run has σ=4 B=128",
        "a sweep over B",
        "nothing was written",
    ):
        assert words in answer.stdout
    content = json.loads(called("import", "a.csv", "--dry-run", "--json", cwd=tmp_path).stdout)
    assert content["preview"][0]["duplicates"] == 1
    assert set(tmp_path.iterdir()) == before


def test_seeds_of_unequal_length_and_grid_become_one_cell_that_fits(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for utd in (0.5, 1.0, 2.0, 4.0, 8.0):
        for seed in range(3):
            steps = np.cumsum(rng.integers(50, 150, 40 + 5 * seed))
            returns = 1000 * (1 - np.exp(-steps * utd**0.5 / 900)) + rng.normal(0, 8, len(steps))
            rows.append(pd.DataFrame({"env_step": steps, "return": returns, "utd": utd, "seed": seed}))
    pd.concat(rows).to_csv(tmp_path / "a.csv", index=False)
    given = [part for name in ("batch_size", "learning_rate", "task") for part in (f"--{name.replace('_', '-')}", GIVEN[name])]
    called("import", "a.csv", *given, "--high", "1000", "--thresholds", "300,500,700", "--dir", "d", cwd=tmp_path)
    answer = called("fit", "d", "--draws", "20", "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    laws = json.loads(answer.stdout)
    assert len([law for law in laws["data"] if law["task"] is None]) == 3
    assert {"unequal-lengths", "interpolated"} <= {warning["code"] for warning in laws["warnings"]}


@pytest.mark.slow
def test_html_in_a_name_is_text_in_the_report(tmp_path):
    long_table(env_id="<script>alert(1)</script>").to_csv(tmp_path / "a<b>.csv", index=False)
    called("import", "a<b>.csv", "--high", "1000", "--dir", "d", cwd=tmp_path)
    assert called("fit", "d", "--draws", "20", cwd=tmp_path).returncode == 0
    assert called("report", "d", cwd=tmp_path).returncode == 0
    assert "<script>alert" not in (tmp_path / "d" / "report.html").read_text()


def test_the_same_log_again_replaces_what_it_brought_and_a_copy_of_it_is_refused(tmp_path):
    long_table().to_csv(tmp_path / "a.csv", index=False)
    import_runs(tmp_path / "a.csv", "csv", tmp_path / "d")
    before = RunStore(tmp_path / "d").fingerprint()
    report = import_runs(tmp_path / "a.csv", "csv", tmp_path / "d")
    assert "study-kept" in messages(report)
    assert RunStore(tmp_path / "d").fingerprint() == before
    long_table().to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(UserError, match="already, from another source"):
        import_runs(tmp_path / "b.csv", "csv", tmp_path / "d")


def test_of_two_runs_with_one_seed_the_longer_is_kept_unless_they_are_counted(tmp_path):
    for name, n in (("a", 10), ("b", 20)):
        pd.DataFrame({"env_step": np.arange(n), "return": np.arange(n), "seed": 1}).to_csv(tmp_path / f"{name}.csv", index=False)
    report = import_runs(tmp_path, "csv", tmp_path / "d", **GIVEN)
    assert report.runs == 1
    assert "repeated-runs" in messages(report)
    assert len(curves_of(tmp_path / "d")[1.0, 1]["return"]) == 20
    with gather_runs(tmp_path, "csv", Columns(**GIVEN, seed="=count")) as gathered:
        assert gathered.preview.tasks[0].seeds == (2, 2)


def test_a_scale_is_read_off_the_curves_where_none_is_given(tmp_path):
    table = long_table()
    table["return"] -= 1500
    table.to_csv(tmp_path / "a.csv", index=False)
    report = import_runs(tmp_path / "a.csv", "csv", tmp_path / "d")
    task = report.study.tasks["Pendulum-v1"]
    assert "drafted-scale" in messages(report)
    assert -1500 < task.low < -1200 < -600 < task.high < -490
    with gather_runs(tmp_path / "a.csv") as gathered:
        report = gathered.write(tmp_path / "e", Scale(low=["-1500"], high=["Pendulum-v1=-500"]))
    cells, _ = load_cells(RunStore(tmp_path / "e"), report.study)
    np.testing.assert_allclose(np.mean([cell.returns[:, 0].mean() for cell in cells]), 0, atol=5)


@pytest.mark.parametrize("step", [-1, 0.5, 1e300])
def test_a_step_that_counts_nothing_is_refused(tmp_path, step):
    pd.DataFrame({"env_step": [0, step], "return": [0.0, 1.0]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match="not a count of env steps"):
        gather_runs(tmp_path / "a.csv", "csv", Columns(**GIVEN))


def test_a_folder_of_several_kinds_asks_which(tmp_path):
    write_monitor(tmp_path / "monitor.csv", [200], [1.0])
    write_events(tmp_path / "tb", [1.0])
    assert "--from sb3 or --from tensorboard" in refused("import", ".", "--dry-run", cwd=tmp_path)
    assert "no such file or folder" in refused("import", "nowhere", "--dry-run", cwd=tmp_path)
