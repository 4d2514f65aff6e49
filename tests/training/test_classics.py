"""Classics in JAX: equal to Gymnasium's step by step, and runs of them that never leave the device."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tdscale.study import RunSpec, SACSettings
from tdscale.study.settings import BROMinimalSettings
from tdscale.training import CellGoal, StopTarget, train_cell, train_cells

jax = pytest.importorskip("jax", reason='needs pip install "tdscale[train]"')
gymnasium = pytest.importorskip("gymnasium", reason='needs pip install "tdscale[train]"')
classics = pytest.importorskip("tdscale.tasks.classics")


def spec_of(seed: int = 0, task: str = "pendulum", utd: float = 1.0, learning_rate: float = 3e-3, **settings: Any) -> RunSpec:
    """One set of shapes for one run and one for two, so that JAX compiles twice."""
    chosen: dict[str, Any] = {"hidden_sizes": (16,), "warm_up": 100, "update_block": 4, "evaluation_interval": 0, "diagnostics_interval": 0}
    return RunSpec(
        algorithm="sac",
        suite="tdscale",
        task=task,
        utd=utd,
        batch_size=16,
        learning_rate=learning_rate,
        seed=seed,
        stage="sweep",
        reward_scale=0.1,
        settings=SACSettings(**chosen | settings).model_dump(mode="json"),
    )


def _set_state(environment: Any, state: np.ndarray) -> None:
    environment.unwrapped.state = np.array(state, np.float64)


@pytest.mark.parametrize(("name", "theirs", "steps"), [("pendulum", "Pendulum-v1", 200), ("mountain-car", "MountainCarContinuous-v0", 400)])
def test_a_classic_is_gymnasiums_step_by_step(name: str, theirs: str, steps: int) -> None:
    classic, environment = classics.CLASSICS[name], gymnasium.make(theirs)
    environment.reset(seed=0)
    rng = np.random.default_rng(0)
    high = float(environment.action_space.high[0])
    state = classic.reset(jax.random.key(3))
    for _ in range(steps):
        _set_state(environment, np.asarray(state))
        action = rng.uniform(-1, 1, 1)
        if name == "mountain-car":  # with the velocity, so that it gets to the top
            action = np.clip(np.sign(float(state[1])) + 0.1 * action, -1, 1)
        action = action.astype(np.float32)
        observation, reward, terminated, _, _ = environment.step(action * np.float32(high))
        after = classic.step(state, action)
        np.testing.assert_allclose(classic.observe(after.state), observation, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(after.reward, reward, rtol=1e-5, atol=1e-5)
        assert bool(after.terminated) == terminated
        if terminated:
            break
        state = after.state
    assert (name == "mountain-car") == terminated
    environment.close()


def test_first_states_lie_where_gymnasiums_do() -> None:
    keys = jax.random.split(jax.random.key(0), 500)
    pendulum = np.asarray(jax.vmap(classics.CLASSICS["pendulum"].reset)(keys))
    car = np.asarray(jax.vmap(classics.CLASSICS["mountain-car"].reset)(keys))
    np.testing.assert_allclose(np.abs(pendulum).max(axis=0), [np.pi, 1], rtol=0.02)
    np.testing.assert_allclose([car[:, 0].min(), car[:, 0].max()], [-0.6, -0.4], atol=0.01)
    assert not car[:, 1].any()


def test_a_run_on_the_device_counts_logs_and_measures_as_any_other() -> None:
    (result,) = train_cell([spec_of(utd=0.5, evaluation_interval=400, diagnostics_interval=250)], env_steps=800, target=None)
    columns, status = result.columns, result.status
    assert (status.state, status.last_step) == ("finished", 800)
    assert (status.critic_updates, status.actor_updates) == (350, 700)
    steps = columns["env_step"]
    assert steps[~np.isnan(columns["return"])].tolist() == [200, 400, 600, 800]
    assert steps[~np.isnan(columns["evaluation_return"])].tolist() == [400, 800]
    assert steps[~np.isnan(columns["td_error_uniform"])].tolist() == [250, 500, 750]
    assert np.nanmin(columns["return"]) > -2000
    assert status.flops > 0


def test_a_run_on_the_device_depends_neither_on_how_far_it_goes_nor_on_other_seeds() -> None:
    first, second = (spec_of(seed) for seed in (0, 1))
    (alone,) = train_cell([second], env_steps=450, target=None)
    together = train_cell([first, second], env_steps=1300, target=None)
    short, long = alone.columns["return"], together[1].columns["return"]
    np.testing.assert_array_equal(short, long[: len(short)])
    assert not np.array_equal(long, together[0].columns["return"])


def test_resets_by_critic_updates_do_not_depend_on_how_far_a_run_goes() -> None:
    chosen = {"critic_width": 8, "critic_blocks": 0, "actor_width": 8, "actor_blocks": 0, "quantiles": 5, "reset_critic_updates": 70}
    settings = BROMinimalSettings(**chosen, warm_up=100, evaluation_interval=0, diagnostics_interval=0)  # type: ignore[arg-type]
    spec = replace(spec_of(utd=0.5), algorithm="bro-minimal", settings=settings.model_dump(mode="json"))
    resets = [train_cell([spec], env_steps=steps, target=None)[0].status.notes["resets"] for steps in (300, 500)]
    assert resets == [[100 + 140], [100 + 140, 100 + 280]]


def test_runs_under_vmap_see_the_same_episodes_and_minibatches() -> None:
    specs = [spec_of(0, learning_rate=1e-3), spec_of(1)]
    goals = [CellGoal(specs=(spec,), env_steps=400, target=None) for spec in specs]
    found = {result.spec.run_id: result for _, results in train_cells(goals, together=True) for result in results}
    for spec in specs:
        (alone,) = train_cell([spec], env_steps=400, target=None)
        np.testing.assert_allclose(found[spec.run_id].columns["return"], alone.columns["return"], rtol=1e-2)


def test_a_diverged_run_says_at_which_env_step_and_the_others_go_on() -> None:
    bad, good = spec_of(0, learning_rate=1e20**0.5), spec_of(0)
    goals = [CellGoal(specs=(spec,), env_steps=400, target=None) for spec in (bad, good)]
    found = {result.spec.run_id: result.status for _, results in train_cells(goals, together=True) for result in results}
    status = found[bad.run_id]
    assert status.state == "diverged"
    assert 100 < status.last_step < 400
    assert status.reason == f"the loss is no longer finite at env step {status.last_step}"
    assert found[good.run_id].state == "finished"


def test_a_cell_of_a_classic_stops_at_its_threshold() -> None:
    results = train_cell([spec_of(seed) for seed in range(2)], env_steps=20_000, target=StopTarget(return_threshold=-3000.0, margin=0.1))
    assert {result.status.last_step for result in results} == {400 + 600}


def test_sac_learns_the_pendulum_on_the_device() -> None:
    specs = [replace(spec_of(seed, hidden_sizes=(64, 64), warm_up=500, update_block=10), batch_size=64) for seed in range(2)]
    results = train_cell(specs, env_steps=5000, target=None)
    assert min(result.columns["return"][-5:].mean() for result in results) > -500
