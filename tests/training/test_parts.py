import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdscale.agents.costs import Costs
from tdscale.study import SETTINGS, RunSpec, SACSettings
from tdscale.training import counted_flops, single_thread_environment
from tdscale.training.devices import gpu_environment
from tdscale.training.experience import Experience, HeldOutExperience, Replay
from tdscale.training.run import CurveRecorder, newest_ages

toys = pytest.importorskip("toys", reason='needs pip install "tdscale[train]"')
walk_spec = toys.walk_spec


def test_compute_is_that_of_the_updates_made() -> None:
    costs = Costs(actor_parameters=1, critic_parameters=1, critic_update_flops=10, actor_update_flops=12)
    assert counted_flops(costs, critic_updates=7, actor_updates=5, batch_size=64) == 64 * (7 * 10 + 5 * 12)


def rows(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_a_full_replay_forgets_its_oldest() -> None:
    replay = Replay(4, 1)
    for value in range(6):
        replay.add(rows(value))
    assert len(replay) == 4
    assert replay.back(np.arange(3, 0, -1)).ravel().tolist() == [3, 4, 5]
    drawn = np.empty((200, 1), np.float32)
    replay.take(replay.draw((200,), np.random.default_rng(0)), drawn)
    assert set(drawn.ravel()) == {2, 3, 4, 5}


@given(st.integers(1, 7), st.lists(st.integers(0, 12), max_size=8))
def test_rows_added_many_at_once_are_as_if_added_singly(capacity: int, counts: list[int]) -> None:
    many, single = Replay(capacity, 1), Replay(capacity, 1)
    start = 0
    for count in counts:
        new = rows(*range(start, start + count)) if count else np.zeros((0, 1), np.float32)
        many.add(new)
        for row in new:
            single.add(row[None])
        start += count
    assert many.added == single.added == start
    np.testing.assert_array_equal(many.back(np.arange(len(many), 0, -1)), single.back(np.arange(len(single), 0, -1)))


def test_the_newest_rows_of_many_environments_are_spread_over_all_of_them() -> None:
    assert newest_ages(1, 1000).tolist() == list(range(16, 0, -1))
    ages = newest_ages(4096, 1_000_000)
    assert (ages[0], ages[-1], len(ages)) == (4096, 256, 16)
    assert newest_ages(4096, 100)[0] == 100
    replay = Replay(10_000, 1)
    for step in range(2):
        replay.add((4096 * step + np.arange(4096, dtype=np.float32))[:, None])
    assert (replay.back(ages).ravel() - 4096).tolist() == (np.arange(16) * 256).tolist()


@pytest.mark.parametrize(("environments", "share"), [(1, 16), (4, 64), (64, 64), (1024, 64), (4096, 64)])
def test_validation_environments_make_a_fixed_share_of_trainings_steps(environments: int, share: int) -> None:
    settings = SACSettings(environments=environments)
    stream = np.random.default_rng(0)
    held_out = HeldOutExperience(walk_spec(environments=environments), settings, 4 * environments, stream, stream)
    assert environments * held_out.every / len(held_out.observations) == share
    held_out.close()


def test_samples_do_not_depend_on_the_memory_that_was_set_aside() -> None:
    drawn = []
    for capacity in (10, 1000):
        replay = Replay(capacity, 1)
        replay.add(rows(*range(8)))
        out = np.empty((3, 5, 1), np.float32)
        replay.take(replay.draw((3, 5), np.random.default_rng(7)), out)
        drawn.append(out)
    np.testing.assert_array_equal(*drawn)


def test_an_agent_learns_from_shaped_rewards_and_returns_are_without_them() -> None:
    shape = {"algorithm": "pql", "utd": 0.5, "batch_size": 4, "learning_rate": 1e-3, "seed": 0, "stage": "sweep"}
    spec = RunSpec(suite="tdscale", task="franka-push-shaped", reward_scale=2.0, **shape)
    settings = SETTINGS["pql"](environments=2, n_step=1)
    experience = Experience(spec, settings, 2, np.random.default_rng(0), np.random.default_rng(1))
    taken: list = []
    step = experience.task.step
    experience.task.step = lambda actions: taken.append(step(actions)) or taken[-1]  # type: ignore[method-assign]
    experience.begin_episodes()
    found = experience.step(np.zeros((2, 7), np.float32))
    learnt = [found.rows[:, -24]]
    while not len(found.returns):
        found = experience.step(np.zeros((2, 7), np.float32))
        learnt.append(found.rows[:, -24])
    rewards, shaping = np.array([after.rewards for after in taken]), np.array([after.shaping for after in taken])
    assert (shaping.sum(axis=0) > 0.1).all()
    np.testing.assert_allclose(np.array(learnt), 2 * (rewards + shaping), rtol=1e-6)
    np.testing.assert_allclose(found.returns, rewards.sum(axis=0))


def test_what_is_logged_at_one_env_step_is_one_row() -> None:
    recorder = CurveRecorder()
    recorder.log(10, **{"return": 1.0})
    recorder.log(20, **{"return": 2.0})
    recorder.log(20, temperature=0.5)
    recorder.log(25, evaluation_return=3.0)
    columns = recorder.columns()
    assert columns["env_step"].tolist() == [10, 20, 25]
    assert columns["env_step"].dtype == np.int64
    np.testing.assert_array_equal(columns["return"], [1, 2, np.nan])
    np.testing.assert_array_equal(columns["temperature"], [np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(columns["td_error_uniform"], [np.nan] * 3)


def test_what_a_task_measures_is_no_diagnosis() -> None:
    recorder = CurveRecorder()
    recorder.log(1000, temperature=0.5, critic_parameter_norm_layer_0=2.0)
    recorder.log(1024, **{"return": 1.0, "goal_distance": 0.1, "success_4cm": 0.0})
    recorder.log(1100, temperature=np.nan)
    assert recorder.last_finite_diagnostics() == {"env_step": 1000, "temperature": 0.5, "critic_parameter_norm_layer_0": 2.0}


def test_a_workers_environment_keeps_flags_that_were_there(monkeypatch: object) -> None:
    import os

    monkeypatch.setattr(os, "environ", os.environ | {"XLA_FLAGS": "--xla_mine=1"})  # type: ignore[attr-defined]
    environment = single_thread_environment("cache")
    assert environment["XLA_FLAGS"].startswith("--xla_mine=1 ")
    assert environment["JAX_PLATFORMS"] == "cpu"
    assert environment["JAX_COMPILATION_CACHE_DIR"] == "cache"
    assert "JAX_PLATFORMS" not in gpu_environment("cache")
