"""What loggers wrote, in files of their real programs, whole, cut off and damaged.

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
import pytest
from known_logs import GIVEN, curves_of, messages, rising

from command import refused
from tdscale.errors import UserError
from tdscale.importers import Columns, gather_runs, import_runs
from tdscale.importers.wandb_runs import project_runs
from tdscale.runs.store import RunStore

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
        "    run = wandb.init(mode='offline', dir=sys.argv[1], project='p', id=f'seed{seed}', config=config)\n"
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
    first = next(offline.rglob("run-seed0.wandb"))
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
    command = [sys.executable, "-c", again, str(folder), "seed0"]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
    report = import_runs(folder, "wandb", tmp_path / "study")
    assert report.runs == 1
    assert "joined" in messages(report)["resumed-run"]
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
            rows = [{"_step": i, "global_step": 100 * i, "return": "NaN" if i == 3 else float(i)} for i in range(9)]
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
    with pytest.raises(UserError, match=r"from the update counters .* it is 0\.5, 2, .*--utd =derived"):
        gather_runs(tmp_path / "logs")
    import_runs(tmp_path / "logs", "auto", tmp_path / "study", utd="=derived")
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
    with pytest.raises(UserError, match="never loads"):
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
            runners = {"episode_return_mean": mean, "episode_len_mean": 100.0}
            result = {"num_env_steps_sampled_lifetime": 100 * i, "env_runners": runners, "config": config}
            log.log_trial_result(i, trial, result)
        log.log_trial_end(trial)
        (folder / "params.json").write_text(json.dumps(config))
    import_runs(tmp_path / "results", "auto", tmp_path / "study", utd="=0.5")
    # an episode a row: the mean of the first i is i
    np.testing.assert_allclose(curves_of(tmp_path / "study")[0.5, 1]["return"], 2 * np.arange(1, 20) - 1)


class _Trial:
    """What Ray's loggers ask of a trial; they keep it as a key."""

    def __init__(self, folder, config):
        self.local_path, self.config = str(folder), config

    def init_local_path(self):
        """Its folder is there."""


# --- several at once


def test_a_folder_of_several_kinds_asks_which(tmp_path):
    write_monitor(tmp_path / "monitor.csv", [200], [1.0])
    write_events(tmp_path / "tb", [1.0])
    assert "--from sb3 or --from tensorboard" in refused("import", ".", "--dry-run", cwd=tmp_path)
    assert "no such file or folder" in refused("import", "nowhere", "--dry-run", cwd=tmp_path)
