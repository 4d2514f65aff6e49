"""One update against the same losses computed independently: NumPy in float64, gradients by central differences."""

from typing import Any

import jax
import numpy as np
import pytest
from differences import gradient

from tdscale.agents import sac
from tdscale.agents.host import SACPolicy
from tdscale.agents.networks import count_parameters
from tdscale.training.algorithms import ALGORITHMS

CONFIG = sac.SACConfig(observation_size=3, action_size=2, hidden_sizes=(5, 4), initial_temperature=0.3, log_std_min=-1.0, log_std_max=0.5)
BATCH_SIZE, LEARNING_RATE = 7, 3e-3


def network(layers: Any, inputs: np.ndarray) -> np.ndarray:
    hidden = inputs
    for index, (weight, bias) in enumerate(layers):
        hidden = hidden @ weight + bias
        if index < len(layers) - 1:
            hidden = np.maximum(hidden, 0)
    return hidden


def sample(actor: Any, observation: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    output = network(actor, observation)
    mean, std = output[:, :2], np.exp(np.clip(output[:, 2:], -1.0, 0.5))
    unbounded = mean + std * noise
    density = np.exp(-((unbounded - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))
    return np.tanh(unbounded), np.sum(np.log(density) - np.log(1 - np.tanh(unbounded) ** 2), axis=1)


def values(critics: Any, observation: np.ndarray, action: np.ndarray) -> np.ndarray:
    inputs = np.concatenate([observation, action], axis=1)
    return np.stack([network([(weight[i], bias[i]) for weight, bias in critics], inputs)[:, 0] for i in range(2)])


def double(layers: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.array(layer.weight, np.float64), np.array(layer.bias, np.float64)) for layer in layers]


def flat(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def fresh_state() -> sac.SACState:
    # biases away from 0, and targets away from the critics, so that nothing agrees by accident
    state = sac.init(CONFIG, np.uint32(3))
    generator = np.random.default_rng(5)

    def shaken(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf + 0.1 * generator.standard_normal(leaf.shape).astype(np.float32), tree)

    return state._replace(actor=shaken(state.actor), critics=shaken(state.critics), target_critics=shaken(state.target_critics))


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((BATCH_SIZE, CONFIG.row_size)).astype(np.float32)
    rows[:, 3:5] = np.tanh(rows[:, 3:5])
    rows[:, 6] = [1, 0, 1, 1, 1, 0, 1]
    return rows


def update(rows: np.ndarray, *, critic: bool, actor: bool) -> tuple[sac.SACState, Any]:
    chunk = np.stack([rows, np.full_like(rows, np.nan)])  # what lies beyond `count` must not be looked at
    flags = np.array([critic, True]), np.array([actor, True])
    return ALGORITHMS["sac"].update(CONFIG, fresh_state(), chunk, *flags, np.int32(1), np.float32(LEARNING_RATE))


def updated(rows: np.ndarray, *, critic: bool, actor: bool) -> sac.SACState:
    return update(rows, critic=critic, actor=actor)[0]


def noise_of(key: Any) -> np.ndarray:
    return np.asarray(jax.random.normal(jax.random.split(key)[1], (BATCH_SIZE, 2)), np.float64)


def adam_first_step(parameters: list[np.ndarray], slopes: list[np.ndarray]) -> list[np.ndarray]:
    # both moments' bias corrections undo their decay at the first step
    return [value - LEARNING_RATE * slope / (np.abs(slope) + 1e-8) for value, slope in zip(parameters, slopes, strict=True)]


def test_a_critic_update_descends_the_soft_bellman_error(rows: np.ndarray) -> None:
    before, after = fresh_state(), updated(rows, critic=True, actor=False)
    data = rows.astype(np.float64)
    observation, action, reward, continues, next_observation = data[:, :3], data[:, 3:5], data[:, 5], data[:, 6], data[:, 7:]
    next_action, log_probability = sample(double(before.actor), next_observation, noise_of(before.key))
    soft_value = values(double(before.target_critics), next_observation, next_action).min(axis=0) - 0.3 * log_probability
    target = reward + 0.99 * continues * soft_value

    def loss(critics: Any) -> float:
        return float(((values(critics, observation, action) - target) ** 2).mean(axis=1).sum())

    expected = gradient(loss, double(before.critics))
    for slope, moment in zip(expected, flat(after.critic_optimiser.mu), strict=True):
        np.testing.assert_allclose(moment / 0.1, slope, rtol=2e-5, atol=2e-5)
    measured = [moment.astype(np.float64) / 0.1 for moment in flat(after.critic_optimiser.mu)]
    for new, wanted in zip(flat(after.critics), adam_first_step(flat(before.critics), measured), strict=True):
        np.testing.assert_allclose(new, wanted, atol=1e-6)
    for target_new, target_old, new in zip(flat(after.target_critics), flat(before.target_critics), flat(after.critics), strict=True):
        np.testing.assert_allclose(target_new, 0.995 * target_old + 0.005 * new, atol=1e-6)


def test_a_critic_update_leaves_actor_and_temperature_alone(rows: np.ndarray) -> None:
    before, after = fresh_state(), updated(rows, critic=True, actor=False)
    for old, new in zip(flat((before.actor, before.log_temperature)), flat((after.actor, after.log_temperature)), strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_actor_update_ascends_the_soft_value_and_moves_the_temperature(rows: np.ndarray) -> None:
    before, after = fresh_state(), updated(rows, critic=False, actor=True)
    observation, critics, noise = rows[:, :3].astype(np.float64), double(before.critics), noise_of(before.key)

    def loss(actor: Any) -> float:
        action, log_probability = sample(actor, observation, noise)
        return float(np.mean(0.3 * log_probability - values(critics, observation, action).min(axis=0)))

    for slope, moment in zip(gradient(loss, double(before.actor)), flat(after.actor_optimiser.mu), strict=True):
        np.testing.assert_allclose(moment / 0.1, slope, rtol=2e-5, atol=2e-5)
    entropy = -np.mean(sample(double(before.actor), observation, noise)[1])
    target_entropy = -0.5 * 2
    np.testing.assert_allclose(after.temperature_optimiser.mu / 0.1, 0.3 * (entropy - target_entropy), rtol=1e-5)
    np.testing.assert_allclose(after.log_temperature - np.log(0.3), -LEARNING_RATE * np.sign(entropy - target_entropy), rtol=1e-3)
    for old, new in zip(flat((before.critics, before.target_critics)), flat((after.critics, after.target_critics)), strict=True):
        np.testing.assert_array_equal(old, new)


def test_one_call_with_many_minibatches_equals_as_many_calls(rows: np.ndarray) -> None:
    second = rows[::-1]
    flags = np.array([True, True])
    sac_update = ALGORITHMS["sac"].update
    together, _ = sac_update(CONFIG, fresh_state(), np.stack([rows, second]), flags, flags, np.int32(2), np.float32(LEARNING_RATE))
    apart = fresh_state()
    for batch in (rows, second):
        apart, _ = sac_update(CONFIG, apart, np.stack([batch, batch]), flags, flags, np.int32(1), np.float32(LEARNING_RATE))
    for one, other in zip(flat(together.critics), flat(apart.critics), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loss_that_is_not_finite_is_reported(rows: np.ndarray) -> None:
    bad = rows.copy()
    bad[0, 5] = np.inf
    assert bool(update(rows, critic=True, actor=True)[1])
    assert not bool(update(bad, critic=True, actor=False)[1])


def test_td_errors_and_gradient_norms_are_those_of_the_soft_bellman_error() -> None:
    generator = np.random.default_rng(2)
    uniform, newest, validation = (generator.standard_normal((n, CONFIG.row_size)).astype(np.float32) for n in (128, 4, 6))
    state = fresh_state()
    found = sac.diagnose(CONFIG, state, uniform, newest, validation, np.uint32(9))
    data = np.concatenate([uniform, newest, validation]).astype(np.float64)
    noise = np.asarray(jax.random.normal(jax.random.key(9), (138, 2)), np.float64)
    next_action, log_probability = sample(double(state.actor), data[:, 7:], noise)
    soft_value = values(double(state.target_critics), data[:, 7:], next_action).min(axis=0) - 0.3 * log_probability
    target = data[:, 5] + 0.99 * data[:, 6] * soft_value

    squared = ((values(double(state.critics), data[:, :3], data[:, 3:5]) - target) ** 2).mean(axis=0)
    expected = squared[:128].mean(), squared[128:132].mean(), squared[132:].mean()
    np.testing.assert_allclose((found.td_error_uniform, found.td_error_newest, found.td_error_validation), expected, rtol=1e-5)

    def squared_norm(rows: slice) -> float:
        def loss(critics: Any) -> float:
            return float(((values(critics, data[rows, :3], data[rows, 3:5]) - target[rows]) ** 2).mean(axis=1).sum())

        return float(sum((slope**2).sum() for slope in gradient(loss, double(state.critics))))

    small = np.mean([squared_norm(slice(0, 64)), squared_norm(slice(64, 128))])
    np.testing.assert_allclose(found.critic_gradient_norm_squared_64, small, rtol=1e-4)
    np.testing.assert_allclose(found.critic_gradient_norm_squared_1024, squared_norm(slice(0, 128)), rtol=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_acting_on_the_host_is_acting_on_the_device(scale: float) -> None:
    state = fresh_state()
    observations = np.array([[0.3, -2.0, 1.0], [0.0, 1.0, 0.5]], np.float32)
    noise = np.array([[scale, -scale]] * 2, np.float32)
    on_host = SACPolicy(CONFIG, state).act(observations, noise if scale else None)
    np.testing.assert_allclose(on_host, sac.act(CONFIG, state, observations, noise), atol=1e-6)
    np.testing.assert_allclose(sac.act(CONFIG, state, observations, None), sac.act(CONFIG, state, observations, 0 * noise), atol=1e-6)


def test_a_twin_critic_on_halfcheetah_has_the_published_number_of_parameters() -> None:
    config = sac.SACConfig(observation_size=17, action_size=6)
    critics = jax.eval_shape(lambda: sac.init(config, np.uint32(0))).critics
    assert count_parameters(critics) == 144_386
