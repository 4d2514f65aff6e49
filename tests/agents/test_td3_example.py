"""examples/td3.py: one update against the same losses in NumPy, float64, gradients by central differences."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from differences import gradient

from tdscale.training.custom_algorithm import load_custom_algorithm

TD3 = load_custom_algorithm("td3:TD3", Path(__file__).parents[2] / "examples")
CONFIG = TD3.config(
    observation_size=3,
    action_size=2,
    hidden_sizes=(5,),
    discount=0.99,
    target_rate=0.005,
    exploration_std=0.1,
    smoothing_std=0.4,
    smoothing_clip=0.5,
)
BATCH_SIZE, LEARNING_RATE = 6, 3e-3
Layers = list[list[np.ndarray]]


def network(layers: Layers, inputs: np.ndarray) -> np.ndarray:
    (first, shift), (last, offset) = layers
    return np.maximum(inputs @ first + shift, 0) @ last + offset


def values(critics: Layers, observation: np.ndarray, action: np.ndarray) -> np.ndarray:
    inputs = np.concatenate([observation, action], axis=1)
    return np.stack([network([[array[i] for array in layer] for layer in critics], inputs)[:, 0] for i in range(2)])


def double(tree: Any) -> Layers:
    return [[np.array(array, np.float64) for array in layer] for layer in tree]


def flat(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def fresh_state(seed: int = 3) -> Any:
    # biases away from 0, and targets away from what they follow, so that nothing agrees by accident
    state, generator = TD3.init(CONFIG, np.uint32(seed)), np.random.default_rng(5)
    names = ("actor", "target_actor", "critics", "target_critics")
    shaken = {
        name: jax.tree.map(lambda leaf: leaf + 0.2 * generator.standard_normal(leaf.shape).astype(np.float32), getattr(state, name))
        for name in names
    }
    return state._replace(**shaken)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((BATCH_SIZE, CONFIG.row_size)).astype(np.float32)
    rows[:, 3:5] = np.tanh(rows[:, 3:5])
    rows[:, 6] = [1, 0, 1, 1, 0, 1]
    return rows


def update(rows: np.ndarray, state: Any, *, critic: bool, actor: bool) -> tuple[Any, Any]:
    chunk = np.stack([rows, np.full_like(rows, np.nan)])  # what lies beyond `count` must not be looked at
    flags = np.array([critic, True]), np.array([actor, True])
    return TD3.update(CONFIG, state, chunk, *flags, np.int32(1), np.float32(LEARNING_RATE))


def updated(rows: np.ndarray, state: Any, *, critic: bool, actor: bool) -> Any:
    return update(rows, state, critic=critic, actor=actor)[0]


def assert_adam_step(before: Any, after: Any, optimiser: Any, slopes: list[np.ndarray]) -> None:
    for slope, moment in zip(slopes, flat(optimiser.mu), strict=True):
        np.testing.assert_allclose(moment / 0.1, slope, rtol=1e-5, atol=1e-5)
    for old, new, moment in zip(flat(before), flat(after), flat(optimiser.mu), strict=True):
        direction = moment / 0.1 / (np.abs(moment / 0.1) + 1e-8)  # both corrections undo their decay at the first step
        np.testing.assert_allclose(new, old - LEARNING_RATE * direction, atol=1e-6)


def test_a_critic_update_descends_the_smoothed_twin_td_error(rows: np.ndarray) -> None:
    before, after = fresh_state(), updated(rows, fresh_state(), critic=True, actor=False)
    data = rows.astype(np.float64)
    observation, action, reward, continues, next_observation = data[:, :3], data[:, 3:5], data[:, 5], data[:, 6], data[:, 7:]
    noise = np.asarray(jax.random.normal(jax.random.split(before.key)[1], (BATCH_SIZE, 2)), np.float64)
    smoothing = np.clip(0.4 * noise, -0.5, 0.5)
    assert (np.abs(smoothing) == 0.5).any()
    assert (np.abs(smoothing) < 0.5).any()
    next_action = np.clip(np.tanh(network(double(before.target_actor), next_observation)) + smoothing, -1, 1)
    target = reward + 0.99 * continues * values(double(before.target_critics), next_observation, next_action).min(axis=0)

    def loss(critics: Layers) -> float:
        return float(((values(critics, observation, action) - target) ** 2).mean(axis=1).sum())

    assert_adam_step(before.critics, after.critics, after.critic_optimiser, gradient(loss, double(before.critics)))
    for old, new, moved in zip(flat(before.target_critics), flat(after.critics), flat(after.target_critics), strict=True):
        np.testing.assert_allclose(moved, 0.995 * old + 0.005 * new, atol=1e-6)
    for old, new in zip(flat((before.actor, before.target_actor)), flat((after.actor, after.target_actor)), strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_actor_update_ascends_the_first_critic(rows: np.ndarray) -> None:
    before, after = fresh_state(), updated(rows, fresh_state(), critic=False, actor=True)
    observation, critics = rows[:, :3].astype(np.float64), double(before.critics)

    def loss(actor: Layers) -> float:
        return float(-values(critics, observation, np.tanh(network(actor, observation)))[0].mean())

    assert_adam_step(before.actor, after.actor, after.actor_optimiser, gradient(loss, double(before.actor)))
    for old, new, moved in zip(flat(before.target_actor), flat(after.actor), flat(after.target_actor), strict=True):
        np.testing.assert_allclose(moved, 0.995 * old + 0.005 * new, atol=1e-6)
    for old, new in zip(flat((before.critics, before.target_critics)), flat((after.critics, after.target_critics)), strict=True):
        np.testing.assert_array_equal(old, new)


def test_runs_advance_together_as_they_do_alone(rows: np.ndarray) -> None:
    states = [fresh_state(seed) for seed in (1, 2)]
    together = jax.tree.map(lambda *leaves: np.stack([np.asarray(jax.random.key_data(x) if _is_key(x) else x) for x in leaves]), *states)
    together = together._replace(key=jax.random.wrap_key_data(together.key))
    batches = np.stack([rows[None], rows[None, ::-1]])
    rates = np.array([1e-3, 3e-3], np.float32)
    flags = np.array([True]), np.array([True])
    update = jax.vmap(lambda state, batch, rate: TD3.update(CONFIG, state, batch, *flags, np.int32(1), rate))
    found, _ = update(together, batches, rates)
    for index, state in enumerate(states):
        alone, _ = TD3.update(CONFIG, state, batches[index], *flags, np.int32(1), rates[index])
        for one, other in zip(flat((alone.actor, alone.critics)), flat((found.actor, found.critics)), strict=True):
            np.testing.assert_allclose(one, other[index], atol=1e-6)


def _is_key(leaf: Any) -> bool:
    return bool(jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def test_actions_stay_within_their_bounds_and_evaluation_has_no_noise() -> None:
    state, observations = fresh_state(), np.random.default_rng(2).standard_normal((4, 3)).astype(np.float32)
    noise = np.full((4, 2), 30.0, np.float32)
    np.testing.assert_array_equal(TD3.act(CONFIG, state, observations, noise), np.ones((4, 2)))
    expected = np.tanh(network(double(state.actor), observations.astype(np.float64)))
    np.testing.assert_allclose(TD3.act(CONFIG, state, observations, None), expected, atol=1e-6)


def test_a_loss_that_is_not_finite_is_reported(rows: np.ndarray) -> None:
    bad = rows.copy()
    bad[0, 5] = np.inf
    assert not bool(update(bad, fresh_state(), critic=True, actor=False)[1])
    assert bool(update(rows, fresh_state(), critic=True, actor=True)[1])
