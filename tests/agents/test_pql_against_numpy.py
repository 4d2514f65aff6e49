"""PQL and PQL-D against the same losses, targets and steps computed independently: NumPy in float64, central differences."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from differences import gradient

from tdscale.agents import pql
from tdscale.agents.networks import RunningStatistics, count_parameters
from tdscale.training.algorithms import ALGORITHMS

VALUES = pql.PQLConfig(
    observation_size=3,
    action_size=2,
    hidden_sizes=(5, 4),
    atoms=6,
    value_min=-2.0,
    value_max=3.0,
    weight_decay=0.1,
    gradient_norm_limit=3.0,
    smoothing_std=0.3,
    observation_limit=1.5,
)
DISTRIBUTIONS = replace(VALUES, distributional=True, gradient_norm_limit=0.2)
ENTROPY = replace(DISTRIBUTIONS, critic_loss="cross-entropy")
ATOMS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
BATCH_SIZE, LEARNING_RATE, TARGET_RATE = 7, 3e-3, 0.05
Floats = np.ndarray
BOTH = pytest.mark.parametrize("config", [VALUES, DISTRIBUTIONS], ids=["values", "distributions"])


def network(layers: list[Floats], inputs: Floats) -> Floats:
    hidden = inputs
    for index in range(0, len(layers), 2):
        hidden = hidden @ layers[index] + layers[index + 1]
        if index < len(layers) - 2:
            hidden = np.where(hidden > 0, hidden, np.exp(hidden) - 1)
    return hidden


def policy(actor: list[Floats], observation: Floats) -> Floats:
    return np.tanh(network(actor, observation))


def outputs(critics: list[Floats], observation: Floats, action: Floats) -> Floats:
    inputs = np.concatenate([observation, action], axis=1)
    return np.stack([network([array[i] for array in critics], inputs) for i in range(2)])


def softmax(logits: Floats) -> Floats:
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def values(config: pql.PQLConfig, critics: list[Floats], observation: Floats, action: Floats) -> Floats:
    found = outputs(critics, observation, action)
    return softmax(found) @ ATOMS if config.distributional else found[..., 0]


def projected(masses: Floats, positions: Floats, atoms: Floats) -> Floats:
    """Mass by mass: all of it to the atom it lies on, or to the two around it in inverse proportion to the distance."""
    found = np.zeros(len(atoms))
    for mass, position in zip(masses, np.clip(positions, atoms[0], atoms[-1]), strict=True):
        for index in range(len(atoms) - 1):
            low, high = atoms[index], atoms[index + 1]
            if low <= position < high:
                found[index] += mass * (high - position) / (high - low)
                found[index + 1] += mass * (position - low) / (high - low)
        if position == atoms[-1]:
            found[-1] += mass
    return found


class Rows:
    """A minibatch in float64, its observations normalised."""

    def __init__(self, rows: Floats, state: pql.PQLState) -> None:
        data = rows.astype(np.float64)
        self.action, self.reward, self.continues = data[:, 3:5], data[:, 5], data[:, 6]
        mean, std = np.float64(state.statistics.mean), np.sqrt(np.float64(state.statistics.variance) + 1e-4)
        self.observation, self.next_observation = (np.clip((data[:, start : start + 3] - mean) / std, -1.5, 1.5) for start in (0, 7))


def target(config: pql.PQLConfig, actor: list[Floats], target_critics: list[Floats], batch: Rows, noise: Floats) -> Floats:
    smoothing = np.clip(0.3 * noise, -0.2, 0.2)
    next_action = np.clip(policy(actor, batch.next_observation) + smoothing, -1, 1)
    found = outputs(target_critics, batch.next_observation, next_action)
    if not config.distributional:
        return batch.reward + 0.99 * batch.continues * found[..., 0].min(axis=0)
    twins = [
        [
            projected(softmax(row), reward + 0.99 * on * ATOMS, ATOMS)
            for row, reward, on in zip(one, batch.reward, batch.continues, strict=True)
        ]
        for one in found
    ]
    return np.minimum(*map(np.array, twins))


def critic_loss(config: pql.PQLConfig, critics: list[Floats], batch: Rows, wanted: Floats) -> float:
    found = outputs(critics, batch.observation, batch.action)
    if config.distributional:
        likely = softmax(found)
        if config.critic_loss == "cross-entropy":
            return float(-(wanted * np.log(likely)).sum(axis=-1).mean(axis=1).sum())
        return float(-(wanted * np.log(likely) + (1 - wanted) * np.log(1 - likely)).mean(axis=(1, 2)).sum())
    return float(((found[..., 0] - wanted) ** 2).mean(axis=1).sum())


class AdamW:
    """Loshchilov and Hutter's, with PyTorch's constants; gradients clipped to a norm over all arrays."""

    def __init__(self, limit: float) -> None:
        self.limit, self.step, self.norms = limit, 0, list[float]()
        self.first: list[Any] = []
        self.second: list[Any] = []

    def descend(self, arrays: list[Floats], slopes: list[Floats]) -> list[Floats]:
        norm = np.sqrt(sum((slope**2).sum() for slope in slopes))
        self.norms.append(norm)
        slopes = [slope * min(1, self.limit / norm) for slope in slopes]
        self.first = [0.9 * old + 0.1 * slope for old, slope in zip(self.first or [0] * len(slopes), slopes, strict=True)]
        self.second = [0.999 * old + 0.001 * slope**2 for old, slope in zip(self.second or [0] * len(slopes), slopes, strict=True)]
        self.step += 1
        corrected = [
            first / (1 - 0.9**self.step) / (np.sqrt(second / (1 - 0.999**self.step)) + 1e-8)
            for first, second in zip(self.first, self.second, strict=True)
        ]
        return [array - LEARNING_RATE * (step + 0.1 * array) for array, step in zip(arrays, corrected, strict=True)]


def double(tree: Any) -> list[Floats]:
    return [np.array(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def fresh_state(config: pql.PQLConfig, seed: int = 3) -> pql.PQLState:
    # biases away from 0, targets away from the critics, statistics away from the identity, so that nothing agrees by accident
    generator = np.random.default_rng(seed)
    empty = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(lambda: pql.init(config, np.uint32(0)))._replace(key=None)
    )

    def filled(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: 0.6 * generator.standard_normal(leaf.shape).astype(np.float32), tree)

    return empty._replace(
        actor=filled(empty.actor),
        critics=filled(empty.critics),
        target_critics=filled(empty.target_critics),
        statistics=RunningStatistics(np.float32(30), *np.array([[0.5, -1, 0], [4, 0.3, 1]], np.float32)),
        key=jax.random.key(seed),
    )


def random_rows(count: int, seed: int = 1) -> Floats:
    rows = np.random.default_rng(seed).standard_normal((count, VALUES.row_size)).astype(np.float32)
    rows[:, 3:5] = np.tanh(rows[:, 3:5])
    rows[:, 6] = np.resize([0.99**2, 0, 0.99**2, 0.99, 1, 0, 0.99**2], count)  # full windows, ends by time and by termination
    return rows


def smoothing_noise(key: Any) -> tuple[Any, Floats]:
    key, noise_key = jax.random.split(key)
    return key, np.asarray(jax.random.normal(noise_key, (BATCH_SIZE, 2)), np.float64)


def update(
    config: pql.PQLConfig, minibatches: Sequence[Floats], *, critic: bool | Sequence[bool], actor: bool | Sequence[bool], seed: int = 3
) -> tuple[pql.PQLState, Any]:
    chunk = np.full((3, BATCH_SIZE, config.row_size), np.nan, np.float32)  # what lies beyond `count` must not be looked at
    do_critic, do_actor = np.ones((2, 3), bool)
    count = len(minibatches)
    chunk[:count], do_critic[:count], do_actor[:count] = minibatches, critic, actor
    return ALGORITHMS["pql"].update(
        config, fresh_state(config, seed), chunk, do_critic, do_actor, np.int32(count), np.float32(LEARNING_RATE)
    )


def updated(config: pql.PQLConfig, minibatches: Sequence[Floats], **options: Any) -> pql.PQLState:
    return update(config, minibatches, **options)[0]


@pytest.mark.parametrize(
    ("config", "clipped"),
    [(VALUES, [True, True, False]), (DISTRIBUTIONS, [True, True, True]), (ENTROPY, [True, True, True])],
    ids=["values", "distributions", "cross-entropy"],
)
def test_updates_are_those_of_the_equations(config: pql.PQLConfig, clipped: list[bool]) -> None:
    minibatches = [random_rows(BATCH_SIZE), random_rows(BATCH_SIZE, 2)]
    before, after = fresh_state(config), updated(config, minibatches, critic=True, actor=[False, True])

    actor, critics, targets, key = double(before.actor), double(before.critics), double(before.target_critics), before.key
    critic_steps, actor_steps = AdamW(config.gradient_norm_limit), AdamW(config.gradient_norm_limit)
    for rows in minibatches:
        batch = Rows(rows, before)
        key, noise = smoothing_noise(key)
        wanted = target(config, actor, targets, batch, noise)
        slopes = gradient(lambda arrays, batch=batch, wanted=wanted: critic_loss(config, arrays, batch, wanted), critics)
        critics = critic_steps.descend(critics, slopes)
        targets = [(1 - TARGET_RATE) * old + TARGET_RATE * new for old, new in zip(targets, critics, strict=True)]

    def actor_loss(arrays: list[Floats]) -> float:
        return float(-values(config, critics, batch.observation, policy(arrays, batch.observation)).min(axis=0).mean())

    actor = actor_steps.descend(actor, gradient(actor_loss, actor))
    assert [norm > config.gradient_norm_limit for norm in critic_steps.norms + actor_steps.norms] == clipped
    for found, expected in (
        (after.critic_optimiser.mu, critic_steps.first),
        (after.actor_optimiser.mu, actor_steps.first),
        (after.critics, critics),
        (after.target_critics, targets),
        (after.actor, actor),
    ):
        for one, other in zip(double(found), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_critic_update_leaves_the_actor_alone_and_an_actor_update_the_critics() -> None:
    before, rows = fresh_state(VALUES), [random_rows(BATCH_SIZE)]
    of_critics, of_actor = updated(VALUES, rows, critic=True, actor=False), updated(VALUES, rows, critic=False, actor=True)
    kept = [
        (of_critics.actor, before.actor),
        (of_critics.statistics, before.statistics),
        (of_actor.critics, before.critics),
        (of_actor.target_critics, before.target_critics),
    ]
    for found, expected in kept:
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_two_agents_under_vmap_are_each_alone() -> None:
    config, seeds, rates = DISTRIBUTIONS, (3, 8), np.array([LEARNING_RATE, LEARNING_RATE / 3], np.float32)
    chunks = np.stack([[random_rows(BATCH_SIZE, seed), random_rows(BATCH_SIZE, seed + 50)] for seed in seeds])

    @jax.jit
    def advance(*states: pql.PQLState) -> pql.PQLState:
        def advance_one(state: pql.PQLState, batches: Any, rate: Any) -> pql.PQLState:
            return ALGORITHMS["pql"].update(config, state, batches, np.array([True, True]), np.array([False, True]), 2, rate)[0]  # type: ignore[no-any-return]

        return jax.vmap(advance_one)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), chunks, rates)

    together = advance(*(fresh_state(config, seed) for seed in seeds))
    alone = updated(config, chunks[0], critic=True, actor=[False, True], seed=seeds[0])
    for name in ("actor", "critics", "target_critics"):
        for one, other in zip(double(getattr(together, name)), double(getattr(alone, name)), strict=True):
            np.testing.assert_allclose(one[0], other, rtol=1e-5, atol=1e-6)


@BOTH
def test_a_loss_that_is_not_finite_is_reported_whatever_comes_after_it(config: pql.PQLConfig) -> None:
    good, bad = random_rows(BATCH_SIZE), random_rows(BATCH_SIZE)
    bad[0, 5] = np.nan
    assert bool(update(config, [good, good], critic=True, actor=False)[1])
    assert not bool(update(config, [bad, good], critic=[True, False], actor=False)[1])


def test_diagnostics_are_squared_td_errors_of_the_means_and_gradient_norms() -> None:
    config = DISTRIBUTIONS
    state, rows, seed = fresh_state(config), random_rows(128 + 16 + 9), np.uint32(4)
    found = pql.diagnose(config, state, rows[:128], rows[128:144], rows[144:], seed)
    batch = Rows(rows, state)
    noise = np.asarray(jax.random.normal(jax.random.key(seed), (len(rows), 2)), np.float64)
    wanted = target(config, double(state.actor), double(state.target_critics), batch, noise)
    mean = wanted @ ATOMS / wanted.sum(axis=1)
    squared = ((values(config, double(state.critics), batch.observation, batch.action) - mean) ** 2).mean(axis=0)
    np.testing.assert_allclose(found.td_error_uniform, squared[:128].mean(), rtol=1e-5)
    np.testing.assert_allclose(found.td_error_newest, squared[128:144].mean(), rtol=1e-5)
    np.testing.assert_allclose(found.td_error_validation, squared[144:].mean(), rtol=1e-5)
    np.testing.assert_allclose(found.critic_parameter_norm, np.sqrt(sum((a**2).sum() for a in double(state.critics))), rtol=1e-6)

    def squared_norm(first: int, last: int) -> float:
        part = Rows(rows[first:last], state)
        slopes = gradient(lambda arrays: critic_loss(config, arrays, part, wanted[first:last]), double(state.critics))
        return float(sum((slope**2).sum() for slope in slopes))

    np.testing.assert_allclose(found.critic_gradient_norm_squared_64, (squared_norm(0, 64) + squared_norm(64, 128)) / 2, rtol=1e-4)
    np.testing.assert_allclose(found.critic_gradient_norm_squared_1024, squared_norm(0, 128), rtol=1e-4)


@pytest.mark.parametrize("environments", [1, 6])
def test_environment_i_of_n_explores_with_a_std_of_its_own(environments: int) -> None:
    state = fresh_state(VALUES)
    observations = np.random.default_rng(0).standard_normal((environments, 3)).astype(np.float32)
    noise = np.full((environments, 2), 0.01, np.float32)  # too little to be clipped
    moved = np.float64(pql.act(VALUES, state, observations, noise)) - np.float64(pql.act(VALUES, state, observations, None))
    expected = [0.05 + 0.75 * index / max(environments - 1, 1) for index in range(environments)]
    np.testing.assert_allclose(moved / 0.01, np.transpose([expected, expected]), atol=2e-5)


def test_actions_are_the_policys_at_normalised_observations_and_clipped() -> None:
    state = fresh_state(VALUES)
    observations = np.array([[0.3, -2.0, 1.0], [100.0, 0.0, 0.0]], np.float32)
    mean, variance = np.float64(state.statistics.mean), np.float64(state.statistics.variance)
    normalised = np.clip((observations - mean) / np.sqrt(variance + 1e-4), -1.5, 1.5)
    np.testing.assert_allclose(pql.act(VALUES, state, observations, None), policy(double(state.actor), normalised), atol=1e-6)
    extreme = np.array([[50, -50], [50, -50]], np.float32)
    np.testing.assert_array_equal(pql.act(VALUES, state, observations, extreme), [[1, -1], [1, -1]])


@pytest.mark.parametrize("distributional", [False, True])
def test_networks_have_the_stated_sizes_and_compute_counts_them(distributional: bool) -> None:
    config = pql.PQLConfig(observation_size=22, action_size=7, distributional=distributional)
    state = jax.eval_shape(lambda: pql.init(config, np.uint32(0)))
    hidden = 512 + 512 * 256 + 256 + 256 * 128 + 128
    actor = 22 * 512 + hidden + 128 * 7 + 7
    critics = 2 * (29 * 512 + hidden + 129 * (51 if distributional else 1))
    assert (count_parameters(state.actor), count_parameters(state.critics)) == (actor, critics)
    assert pql.costs(state) == (actor, critics, 2 * actor + 8 * critics, 6 * (actor + critics))
