"""What `tdscale export` writes for Stable-Baselines3 and SBX, given to their SAC: σ is exact, and B and η are what was asked for."""

import sys

import gymnasium
import pytest

from tdscale.running.exports import export
from tdscale.running.suggestions import Suggestion
from tdscale.study import parse_study

pytestmark = pytest.mark.peers
WARM_UP = 400
STUDY = parse_study(f"""
name = "mine"
algorithm = "sac"
return_thresholds = [400, 800]

[tasks.Pendulum-v1]
low = -1200
high = -150

[sweep]
utd = [1, 2]
batch_size = [32, 64]
learning_rate = [3e-4, 1e-3]

[limits]
env_steps = 1000

[settings]
hidden_sizes = [16]
warm_up = {WARM_UP}
discount = 0.98
""")


def exported(to, utd):
    run = Suggestion(task="Pendulum-v1", utd=utd, batch_size=48, learning_rate=2.5e-4, seed=3, env_steps=600, stop_at=640)
    return export([run], to, STUDY)


@pytest.mark.parametrize("to", ["sb3", "sbx"])
@pytest.mark.parametrize("utd", [0.25, 0.5, 1.0, 1.5, 4.0])
def test_the_updates_for_each_env_step_are_the_utd_ratio(to, utd):
    library = pytest.importorskip({"sb3": "stable_baselines3", "sbx": "sbx"}[to])
    (content,) = exported(to, utd).content
    model = library.SAC("MlpPolicy", gymnasium.make(content["task"]), device="cpu", **content["keywords"])
    assert model.batch_size == 48
    assert model.learning_rate == 2.5e-4
    assert model.gamma == 0.98
    assert model.learning_starts == WARM_UP
    model.learn(total_timesteps=content["total_timesteps"])
    # give or take the block at the warm-up's end
    assert abs(model._n_updates - utd * (content["total_timesteps"] - WARM_UP)) <= max(2 * utd, 1.5)


@pytest.mark.parametrize(("to", "library"), [("sb3", "stable_baselines3"), ("sbx", "sbx")])
def test_the_script_runs_as_it_is_printed(to, library, tmp_path):
    pytest.importorskip(library)
    import subprocess

    (tmp_path / "train.py").write_text(exported(to, 0.5).text + "print(model.num_timesteps, model._n_updates)\n", encoding="utf-8")
    answer = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    steps, updates = map(int, answer.stdout.split()[-2:])
    assert steps == 640
    assert abs(updates - 0.5 * (640 - WARM_UP)) <= 1.5
