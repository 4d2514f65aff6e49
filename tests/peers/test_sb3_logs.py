"""What Stable-Baselines3 itself logs: monitors, evaluations, saved models, TensorBoard; from its folder to laws and a report."""

import json

import numpy as np
import pytest

from command import tdscale
from tdscale.importers import import_runs
from tdscale.runs.store import RunStore

pytestmark = pytest.mark.peers
STEPS = 600


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """SAC on Pendulum at three σ, by gradient_steps and train_freq, with three seeds."""
    import gymnasium
    import torch
    from stable_baselines3 import SAC
    from stable_baselines3.common.callbacks import EvalCallback
    from stable_baselines3.common.monitor import Monitor

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sb3") / "logs"
    for gradient_steps, train_freq in ((1, 2), (1, 1), (2, 1)):
        for seed in range(3):
            place = folder / f"utd{gradient_steps / train_freq:g}" / f"seed{seed}"
            env = Monitor(gymnasium.make("Pendulum-v1"), str(place / "monitor.csv"))
            small = {"batch_size": 32, "learning_rate": 1e-3, "learning_starts": 200, "policy_kwargs": {"net_arch": [16]}}
            often = {"gradient_steps": gradient_steps, "train_freq": train_freq, "tensorboard_log": str(place / "tb")}
            agent = SAC("MlpPolicy", env, seed=seed, **small, **often)
            evaluations = EvalCallback(
                Monitor(gymnasium.make("Pendulum-v1")), n_eval_episodes=1, eval_freq=400, log_path=str(place), verbose=0
            )
            agent.learn(STEPS, callback=evaluations)
            agent.save(place / "model.zip")
            agent.get_env().close()
            evaluations.eval_env.close()
    return folder


def test_sigma_seeds_and_both_returns_are_read_without_a_word(logs, tmp_path):
    report = import_runs(logs, "sb3", tmp_path, utd="=derived")
    assert report.utds == (0.5, 1.0, 2.0)
    store = RunStore(tmp_path)
    specs, curves = store.specs(), store.curves(columns=None)
    assert {(s.task, s.batch_size, s.learning_rate, s.seed) for s in specs.values()} == {
        ("Pendulum-v1", 32, 1e-3, seed) for seed in range(3)
    }
    for curve in curves.values():
        assert curve["env_step"].tolist() == list(range(200, STEPS + 1, 200))
        assert np.isfinite(curve["return"]).all()
        assert np.flatnonzero(np.isfinite(curve["evaluation_return"])).tolist() == [1]


def test_its_tensorboard_files_say_the_rest_by_their_names(logs, tmp_path):
    given = {"batch_size": "=32", "learning_rate": "=1e-3", "task": "=Pendulum-v1"}
    report = import_runs(logs, "tensorboard", tmp_path, names="utd{utd}/seed{seed}/tb/*", **given)
    assert (report.runs, report.utds) == (9, (0.5, 1.0, 2.0))


def test_a_vectorised_environment_is_one_run(tmp_path):
    from stable_baselines3 import SAC
    from stable_baselines3.common.env_util import make_vec_env

    env = make_vec_env("Pendulum-v1", n_envs=3, monitor_dir=str(tmp_path / "logs"))
    agent = SAC("MlpPolicy", env, gradient_steps=3, learning_starts=300, batch_size=32, seed=0, policy_kwargs={"net_arch": [16]})
    agent.learn(600)
    agent.save(tmp_path / "logs" / "model.zip")
    env.close()
    report = import_runs(tmp_path / "logs", "auto", tmp_path / "study", utd="=derived")
    assert (report.runs, report.utds) == (1, (1.0,))
    (curve,) = RunStore(tmp_path / "study").curves().values()
    assert curve["env_step"].tolist() == [600]


def test_from_its_folder_to_laws_and_a_report_in_three_commands(logs, tmp_path):
    # so short runs hardly learn: what is tried here is the road, not the laws
    scale = ("--low", "-2000", "--high", "0", "--thresholds", "100,150,200")
    answer = tdscale("import", logs, "--from", "sb3", "--utd", "=derived", *scale, "--dir", "mine", cwd=tmp_path)
    assert answer.returncode == 0, answer
    answer = tdscale("fit", "mine", "--draws", 20, "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer
    assert json.loads(answer.stdout)["study"] == "logs"
    answer = tdscale("report", "mine", cwd=tmp_path)
    assert answer.returncode == 0, answer
    assert (tmp_path / "mine" / "report.html").exists()
