import importlib.util

import numpy as np
import pytest

from tdscale.errors import UserError
from tdscale.tasks import check_task, make_task

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gymnasium") is None, reason='needs pip install "tdscale[train]"')

TASKS = [
    ("gymnasium", "Pendulum-v1", 3, 1),
    ("gymnasium", "Reacher-v5", 10, 2),
    ("gymnasium", "HalfCheetah-v4", 17, 6),
    ("dm_control", "cartpole-swingup", 5, 1),
    ("dm_control", "ball_in_cup-catch", 8, 2),
]


@pytest.mark.parametrize(("suite", "name", "observation_size", "action_size"), TASKS)
def test_an_episode_is_decided_by_its_seed_and_its_actions(suite: str, name: str, observation_size: int, action_size: int) -> None:
    task = make_task(suite, name)
    assert (task.observation_size, task.action_size) == (observation_size, action_size)
    actions = np.random.default_rng(0).uniform(-1, 1, (20, action_size)).astype(np.float32)

    def episode(seed: int) -> list[np.ndarray]:
        return [task.reset(seed)] + [task.step(action)[0].copy() for action in actions]

    first, other, again = episode(1), episode(2), episode(1)
    task.close()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first[0].dtype == np.float32
    assert first[0].shape == (observation_size,)


def test_actions_are_rescaled_to_the_tasks_bounds() -> None:
    # Pendulum's torque reaches ±2, and its reward takes 0.001·torque² from the angle's and the speed's share
    def reward(action: float) -> float:
        task = make_task("gymnasium", "Pendulum-v1")
        task.reset(0)
        return task.step(np.array([action], np.float32))[1]

    assert reward(0.0) - reward(1.0) == pytest.approx(0.001 * 2.0**2, rel=1e-6)


def test_a_dm_control_episode_of_1000_steps_is_truncated_not_terminated() -> None:
    task = make_task("dm_control", "cartpole-swingup")
    task.reset(0)
    ends = [task.step(np.zeros(1, np.float32))[2:] for _ in range(1000)]
    assert ends[-1] == (False, True)
    assert not any(terminated or truncated for terminated, truncated in ends[:-1])


@pytest.mark.parametrize(
    ("suite", "name", "wanted"),
    [
        ("gymnasium", "HalfCheeta-v5", "did you mean 'HalfCheetah-v5'"),
        ("gymnasium", "nothing at all", "an id looks like"),
        ("gymnasium", "CartPole-v1", "continuous"),
        ("gymnasium", "no_such_module:Task-v0", "can't be opened"),
        ("dm_control", "cartpole_swingup", "did you mean 'cartpole-swingup'"),
        ("dm_control", "chess", "a name looks like"),
        ("dm_control", "lqr-lqr_2_1", "bounded"),
        ("dm_control", "quadruped-escape", "can't start an episode"),  # which draws its terrain, without a display
        ("tdscale", "franka-pull", "it must be 'franka-push'"),
        ("atari", "Pong", "'gymnasium', 'dm_control' or 'tdscale'"),
    ],
)
def test_a_task_that_cannot_be_trained_gets_one_sentence(suite: str, name: str, wanted: str) -> None:
    with pytest.raises(UserError) as error:
        check_task(suite, name)
    message = str(error.value)
    assert wanted in message
    assert name in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("suite", "name"),
    [
        *(("gymnasium", f"{robot}-v4") for robot in ("Ant", "HalfCheetah", "Humanoid", "Walker2d")),
        *(("dm_control", f"{robot}-stand") for robot in ("dog", "humanoid")),
        *(("dm_control", f"{robot}-walk") for robot in ("quadruped", "walker")),
        *(("dm_control", name) for name in ("cartpole-swingup", "cheetah-run", "finger-spin")),
    ],
)
def test_the_papers_tasks_begin_and_step(suite: str, name: str) -> None:
    task = make_task(suite, name)
    first = task.reset(0)
    observation, reward, terminated, truncated = task.step(np.full(task.action_size, 0.1, np.float32))
    task.close()
    assert first.shape == observation.shape == (task.observation_size,)
    assert np.isfinite([*first, *observation, reward]).all()
    assert (terminated, truncated) == (False, False)


def test_a_missing_simulator_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "dm_control", None)
    with pytest.raises(UserError, match=r'pip install "tdscale\[train\]"'):
        make_task("dm_control", "cartpole-swingup")


def test_mujoco_writes_no_log_into_the_users_folder(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.chdir(str(tmp_path))
    import mujoco

    task = make_task("dm_control", "cartpole-swingup")
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><body><joint type='slide'/><geom size='1'/></body></worldbody></mujoco>")
    data = mujoco.MjData(model)
    data.qpos[0] = np.nan
    mujoco.mj_step(model, data)
    task.close()
    assert os.listdir(str(tmp_path)) == []
