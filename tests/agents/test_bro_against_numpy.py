"""One update against the same losses computed independently: NumPy in float64, gradients by central differences."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from differences import gradient

from tdscale.agents import bro
from tdscale.agents.host import BROPolicy
from tdscale.agents.networks import count_parameters
from tdscale.training.algorithms import ALGORITHMS

CONFIG = bro.BROConfig(
    observation_size=3,
    action_size=2,
    critic_width=5,
    critic_blocks=2,
    actor_width=4,
    actor_blocks=1,
    quantiles=3,
    weight_decay=0.1,
    initial_temperature=0.3,
    log_std_min=-2.0,
    log_std_max=0.5,
    initial_optimism=1.5,
    target_divergence_per_dimension=0.02,
    pessimism=0.4,
)
BATCH_SIZE, LEARNING_RATE = 7, 3e-3
Floats = np.ndarray


def normed(layer: Any, inputs: Floats) -> Floats:
    outputs = inputs @ layer.weight + layer.bias
    mean, variance = outputs.mean(axis=-1, keepdims=True), outputs.var(axis=-1, keepdims=True)
    return layer.scale * (outputs - mean) / np.sqrt(variance + 1e-6) + layer.shift


def body(network: Any, inputs: Floats) -> Floats:
    hidden = np.maximum(normed(network.stem, inputs), 0)
    for first, second in network.blocks:
        hidden = hidden + normed(second, np.maximum(normed(first, hidden), 0))
    return hidden


def bronet(network: Any, inputs: Floats) -> Floats:
    return body(network.body, inputs) @ network.head.weight + network.head.bias


def policy(actor: Any, observation: Floats) -> tuple[Floats, Floats]:
    output = bronet(actor, observation)
    squashed = (np.tanh(output[:, 2:]) + 1) / 2
    return output[:, :2], np.exp(-2.0 + 2.5 * squashed)


def sample(actor: Any, observation: Floats, noise: Floats) -> tuple[Floats, Floats]:
    mean, std = policy(actor, observation)
    unbounded = mean + std * noise
    density = np.exp(-(noise**2) / 2) / (std * np.sqrt(2 * np.pi))
    return np.tanh(unbounded), np.sum(np.log(density) - np.log(1 - np.tanh(unbounded) ** 2), axis=1)


def quantiles(critics: Any, observation: Floats, action: Floats) -> Floats:
    inputs = np.concatenate([observation, action], axis=1)
    return np.stack([bronet(jax.tree.map(lambda leaf, i=i: leaf[i], critics), inputs) for i in range(2)])


def lower(pair: Floats) -> Floats:
    """0.6 of the mean and 0.4 of the smaller, quantile by quantile."""
    return 0.6 * pair.mean(axis=0) + 0.4 * pair.min(axis=0)


def double(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.array(leaf, np.float64), tree)


def flat(tree: Any) -> list[Floats]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def fresh_state() -> bro.BROState:
    # biases away from 0, targets away from the critics, norms away from the identity, so that nothing agrees by accident
    state = bro.init(CONFIG, np.uint32(3))
    generator = np.random.default_rng(5)

    def shaken(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf + 0.1 * generator.standard_normal(leaf.shape).astype(np.float32), tree)

    assert state.optimism is not None
    return state._replace(
        actor=shaken(state.actor),
        critics=shaken(state.critics),
        target_critics=shaken(state.target_critics),
        optimism=state.optimism._replace(explorer=shaken(state.optimism.explorer)),
    )


@pytest.fixture(scope="module")
def rows() -> Floats:
    rows = np.random.default_rng(1).standard_normal((BATCH_SIZE, CONFIG.row_size)).astype(np.float32)
    rows[:, 3:5] = np.tanh(rows[:, 3:5])
    rows[:, 6] = [1, 0, 1, 1, 1, 0, 1]
    return rows


def update(rows: Floats, *, critic: bool, actor: bool) -> tuple[bro.BROState, Any]:
    chunk = np.stack([rows, np.full_like(rows, np.nan)])  # what lies beyond `count` must not be looked at
    flags = np.array([critic, True]), np.array([actor, True])
    return ALGORITHMS["bro"].update(CONFIG, fresh_state(), chunk, *flags, np.int32(1), np.float32(LEARNING_RATE))


def updated(rows: Floats, *, critic: bool, actor: bool) -> bro.BROState:
    return update(rows, critic=critic, actor=actor)[0]


def normal(key: Any) -> Floats:
    return np.asarray(jax.random.normal(key, (BATCH_SIZE, 2)), np.float64)


def assert_gradient(optimiser: Any, expected: list[Floats], decay: float = 0.9) -> None:
    # Adam's first moment after one step is (1 - decay) · gradient
    for moment, slope in zip(flat(optimiser.mu), expected, strict=True):
        np.testing.assert_allclose(moment / (1 - decay), slope, rtol=1e-5, atol=1e-5)


def assert_adamw_step(old: Any, new: Any, optimiser: Any) -> None:
    # both moments' bias corrections undo their decay at the first step
    for before, after, moment in zip(flat(old), flat(new), flat(optimiser.mu), strict=True):
        slope = moment.astype(np.float64) / 0.1
        wanted = before - LEARNING_RATE * (slope / (np.abs(slope) + 1e-8) + 0.1 * before)
        np.testing.assert_allclose(after, wanted, atol=1e-6)


def test_a_critic_update_descends_the_quantile_huber_loss(rows: Floats) -> None:
    before, after = fresh_state(), updated(rows, critic=True, actor=False)
    data = rows.astype(np.float64)
    observation, action, reward, continues, next_observation = data[:, :3], data[:, 3:5], data[:, 5], data[:, 6], data[:, 7:]
    noise = normal(jax.random.split(before.key)[1])
    next_action, log_probability = sample(double(before.actor), next_observation, noise)
    next_quantiles = lower(quantiles(double(before.target_critics), next_observation, next_action))
    target = reward[:, None] + 0.99 * continues[:, None] * (next_quantiles - 0.3 * log_probability[:, None])

    def loss(critics: Any) -> float:
        total = 0.0
        for predicted in quantiles(critics, observation, action):
            for i, probability in enumerate((1 / 6, 3 / 6, 5 / 6)):
                for j in range(3):
                    error = target[:, j] - predicted[:, i]
                    huber = np.where(np.abs(error) <= 1, error**2 / 2, np.abs(error) - 0.5)
                    total += np.mean(np.abs(probability - (error < 0)) * huber) / 3
        return float(total)

    assert_gradient(after.critic_optimiser, gradient(loss, double(before.critics)))
    assert_adamw_step(before.critics, after.critics, after.critic_optimiser)
    for target_new, target_old, new in zip(flat(after.target_critics), flat(before.target_critics), flat(after.critics), strict=True):
        np.testing.assert_allclose(target_new, 0.995 * target_old + 0.005 * new, atol=1e-6)
    for old, new in zip(
        flat((before.actor, before.log_temperature, before.optimism)),
        flat((after.actor, after.log_temperature, after.optimism)),
        strict=True,
    ):
        np.testing.assert_array_equal(old, new)


def test_an_actor_update_ascends_the_mean_soft_value_and_moves_the_temperature(rows: Floats) -> None:
    before, after = fresh_state(), updated(rows, critic=False, actor=True)
    observation, critics, noise = rows[:, :3].astype(np.float64), double(before.critics), normal(jax.random.split(before.key, 3)[1])

    def loss(actor: Any) -> float:
        action, log_probability = sample(actor, observation, noise)
        return float(np.mean(0.3 * log_probability - lower(quantiles(critics, observation, action)).mean(axis=1)))

    assert_gradient(after.actor_optimiser, gradient(loss, double(before.actor)))
    assert_adamw_step(before.actor, after.actor, after.actor_optimiser)
    entropy = -np.mean(sample(double(before.actor), observation, noise)[1])
    target_entropy = -0.5 * 2
    assert_gradient(after.temperature_optimiser, [np.array(0.3 * (entropy - target_entropy))], decay=0.5)
    np.testing.assert_allclose(after.log_temperature - np.log(0.3), -3e-4 * np.sign(entropy - target_entropy), rtol=1e-3)
    for old, new in zip(flat((before.critics, before.target_critics)), flat((after.critics, after.target_critics)), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_explorer_ascends_an_optimistic_value_and_its_dual_variables_hold_the_divergence(rows: Floats) -> None:
    before, after = fresh_state(), updated(rows, critic=False, actor=True)
    old, new = before.optimism, after.optimism
    assert old is not None
    assert new is not None
    observation, critics, noise = rows[:, :3].astype(np.float64), double(before.critics), normal(jax.random.split(before.key, 3)[2])
    mean, std = policy(double(after.actor), observation)  # the actor moves first
    seen = np.concatenate([observation, mean], axis=1)

    def divergence(explorer: Any) -> float:
        # of two normal laws with one std: what the fixed factor adds is left out
        shifted = mean + body(explorer.body, seen) @ explorer.head
        return float(np.mean(np.sum(((shifted - mean) / std) ** 2 / 2, axis=1)))

    def loss(explorer: Any) -> float:
        shifted = mean + body(explorer.body, seen) @ explorer.head
        pair = quantiles(critics, observation, np.tanh(shifted + 0.75 * std * noise))
        # (1 + 1.5) / 2 of the larger and (1 - 1.5) / 2 of the smaller
        return float(-np.mean(1.25 * pair.max(axis=0) - 0.25 * pair.min(axis=0)) + 0.25 * divergence(explorer))

    explorer = double(old.explorer)
    assert_gradient(new.explorer_optimiser, gradient(loss, explorer))
    assert_adamw_step(old.explorer, new.explorer, new.explorer_optimiser)
    excess = divergence(explorer) / 2 - 0.02
    assert excess > 0
    for optimiser, raw, value, sign in (
        (new.optimism_optimiser, old.raw_optimism, 1.5, 1),
        (new.regulariser_optimiser, old.raw_regulariser, 0.25, -1),
    ):
        around = factor(np.float64(raw) + np.array([0, 1e-6, -1e-6]))
        np.testing.assert_allclose(around[0], value, rtol=1e-5)
        assert_gradient(optimiser, [sign * excess * (around[1] - around[2]) / 2e-6], decay=0.5)
    np.testing.assert_allclose(new.raw_optimism - old.raw_optimism, -3e-5, rtol=1e-2)
    np.testing.assert_allclose(new.raw_regulariser - old.raw_regulariser, 3e-5, rtol=1e-2)


def factor(raw: Floats) -> Floats:
    """Its logarithm is halfway between -10 and 7.5 at 0, and nears them on both sides."""
    weight = 1 / (1 + np.exp(-2 * raw))
    return np.exp((1 - weight) * -10 + weight * 7.5)


def test_without_pessimism_the_target_is_the_mean_and_with_1_the_smaller_critic() -> None:
    pair = np.random.default_rng(0).standard_normal((2, 7, 3)).astype(np.float32)
    for pessimism, expected in ((0.0, pair.mean(axis=0)), (1.0, pair.min(axis=0))):
        np.testing.assert_allclose(bro._lower(replace(CONFIG, pessimism=pessimism), pair), expected, atol=1e-6)


def test_td_errors_are_those_of_the_quantiles_means() -> None:
    generator = np.random.default_rng(2)
    rows = [generator.standard_normal((n, CONFIG.row_size)).astype(np.float32) for n in (64, 4, 6)]
    state = fresh_state()
    found = bro.diagnose(CONFIG, state, *rows, np.uint32(9))
    data = np.concatenate(rows).astype(np.float64)
    noise = np.asarray(jax.random.normal(jax.random.key(9), (74, 2)), np.float64)
    next_action, log_probability = sample(double(state.actor), data[:, 7:], noise)
    next_value = lower(quantiles(double(state.target_critics), data[:, 7:], next_action)).mean(axis=1)
    target = data[:, 5] + 0.99 * data[:, 6] * (next_value - 0.3 * log_probability)
    squared = ((quantiles(double(state.critics), data[:, :3], data[:, 3:5]).mean(axis=2) - target) ** 2).mean(axis=0)
    expected = squared[:64].mean(), squared[64:68].mean(), squared[68:].mean()
    np.testing.assert_allclose((found.td_error_uniform, found.td_error_newest, found.td_error_validation), expected, rtol=1e-5)


def test_a_loss_that_is_not_finite_is_reported(rows: Floats) -> None:
    bad = rows.copy()
    bad[0, 5] = np.inf
    assert bool(update(rows, critic=True, actor=True)[1])
    assert not bool(update(bad, critic=True, actor=False)[1])


@pytest.mark.parametrize("optimistic", [True, False])
def test_acting_on_the_host_is_acting_on_the_device(optimistic: bool) -> None:
    state = fresh_state()
    state = state if optimistic else state._replace(optimism=None)
    observations, noise = np.array([[0.3, -2.0, 1.0], [0.0, 1.0, 0.5]], np.float32), np.array([[1.0, -2.0], [0.5, 0.0]], np.float32)
    host = BROPolicy(CONFIG, state)
    for given in (noise, None):
        np.testing.assert_allclose(host.act(observations, given), bro.act(CONFIG, state, observations, given), atol=1e-6)


@pytest.mark.parametrize(("observations", "actions"), [(5, 1), (67, 21)])
def test_networks_have_the_stated_sizes_and_compute_counts_them(observations: int, actions: int) -> None:
    inputs = observations + actions
    critics = 8 * 512**2 + (2 * inputs + 230) * 512 + 200
    body = observations * 256 + 3 * 256 + 2 * (256**2 + 3 * 256)
    actor = body + 256 * 2 * actions + 2 * actions
    explorer = body + actions * 256 + 256 * actions  # which sees the actor's mean, too
    for optimistic in (False, True):
        config = bro.BROConfig(observation_size=observations, action_size=actions, optimistic=optimistic)
        state = jax.eval_shape(lambda config=config: bro.init(config, np.uint32(0)))
        assert count_parameters(state.critics) == critics
        counted = bro.costs(state)
        assert counted.actor_parameters == actor + optimistic * explorer
        assert counted.critic_update_flops == 2 * actor + 8 * critics
        assert counted.actor_update_flops == 6 * (actor + critics) + optimistic * (2 * actor + 6 * (explorer + critics))
