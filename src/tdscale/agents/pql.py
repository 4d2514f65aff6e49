"""PQL, parallel Q-learning (Li et al. 2023), as pure functions: init, act, observe, prepare, critic_step, actor_step,
diagnose.

A deterministic policy and twin critics (the DDPG family, without a target actor) for thousands of environments in step, each
with noise of its own size. Observations are normalised by their running statistics. The critics predict values or, in PQL-D,
distributions over atoms (`agents.distributions`). Rows are packed as in `agents.rows`, with n-step rewards.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tdscale.agents.adam import descend, init_adam
from tdscale.agents.costs import Costs
from tdscale.agents.diagnosis import Diagnosis, diagnosed
from tdscale.agents.distributions import binary_cross_entropy, cross_entropy, expectation, pessimistic_target
from tdscale.agents.networks import (
    Network,
    RunningStatistics,
    apply_network,
    apply_twins,
    count_parameters,
    fan_in_layer,
    follow,
    hidden_layers,
    init_network,
    init_twins,
    merge,
    no_statistics,
    normalise,
    parameter_norm,
)
from tdscale.agents.products import Precision
from tdscale.agents.rows import Batch, RowSizes, unpack

_CLIP_EPSILON = 1e-6  # added to a gradient's norm before it is clipped


@dataclass(frozen=True, kw_only=True)
class PQLConfig(RowSizes):
    """All that shapes the compiled functions."""

    hidden_sizes: tuple[int, ...] = (512, 256, 128)
    distributional: bool = False
    atoms: int = 51
    value_min: float = -10.0
    value_max: float = 10.0
    critic_loss: Literal["binary-cross-entropy", "cross-entropy"] = "binary-cross-entropy"
    discount: float = 0.99
    target_rate: float = 0.05
    weight_decay: float = 1e-2
    gradient_norm_limit: float = 0.5
    smoothing_std: float = 0.8
    smoothing_limit: float = 0.2
    exploration_std_min: float = 0.05
    exploration_std_max: float = 0.8
    observation_limit: float = 5.0
    matmul_precision: Precision = "float32"


class PQLState(NamedTuple):
    """Everything that learning changes."""

    actor: Network
    critics: Network
    target_critics: Network
    statistics: RunningStatistics
    actor_optimiser: Any
    critic_optimiser: Any
    key: Array


@partial(jax.jit, static_argnums=0)
def init(config: PQLConfig, seed: Array) -> PQLState:
    """A fresh agent from a 32-bit seed. Weights and biases are uniform within ±1/√inputs: actions and values begin near 0."""
    actor_key, critic_key, key = jax.random.split(jax.random.key(seed), 3)
    actor = init_network(actor_key, (config.observation_size, *config.hidden_sizes, config.action_size), fan_in_layer)
    outputs = config.atoms if config.distributional else 1
    critics = init_twins(critic_key, (config.observation_size + config.action_size, *config.hidden_sizes, outputs), fan_in_layer)
    return PQLState(
        actor=actor,
        critics=critics,
        target_critics=critics,
        statistics=no_statistics(config.observation_size),
        actor_optimiser=init_adam(actor),
        critic_optimiser=init_adam(critics),
        key=key,
    )


@partial(jax.jit, static_argnums=0)
def act(config: PQLConfig, state: PQLState, observations: Array, noise: Array | None) -> Array:
    """Actions in [-1, 1] for n environments, shape (n, action_size); observations of shape (n, observation_size).

    Mixed exploration: environment i adds noise (standard normal, of the actions' shape) times a std of its own, spaced evenly
    from `exploration_std_min` to `exploration_std_max`. Without noise, the policy itself.
    """
    actions = _policy(state.actor, _normalised(config, state, observations), "float32")
    if noise is None:
        return actions
    std = jnp.linspace(config.exploration_std_min, config.exploration_std_max, len(observations))
    return jnp.clip(actions + std[:, None] * noise, -1.0, 1.0)


@partial(jax.jit, static_argnums=0)
def observe(config: PQLConfig, state: PQLState, observations: Array) -> PQLState:
    """Take observations, shape (n, observation_size), into the running statistics."""
    return state._replace(statistics=merge(state.statistics, observations))


def prepare(config: PQLConfig, state: PQLState, rows: Array) -> Batch:
    """Rows as a batch of normalised observations."""
    batch = unpack(rows, config.observation_size, config.action_size)
    return batch._replace(
        observation=_normalised(config, state, batch.observation), next_observation=_normalised(config, state, batch.next_observation)
    )


def critic_step(config: PQLConfig, state: PQLState, batch: Batch, learning_rate: Array) -> tuple[PQLState, Array]:
    """One AdamW step on both critics' loss; then their targets follow. The new state, and the loss."""
    key, noise_key = jax.random.split(state.key)
    target = _target(config, state, batch, noise_key)

    loss, gradient = jax.value_and_grad(_critic_loss, argnums=1)(config, state.critics, batch, target)
    critics, optimiser = _descend(config, state.critics, gradient, state.critic_optimiser, learning_rate)
    targets = follow(state.target_critics, critics, config.target_rate)
    return state._replace(critics=critics, critic_optimiser=optimiser, target_critics=targets, key=key), loss


def actor_step(config: PQLConfig, state: PQLState, batch: Batch, learning_rate: Array) -> tuple[PQLState, Array]:
    """One AdamW step of the actor on −E[min Q] at its own actions. The new state, and the loss."""

    def loss(actor: Network) -> Array:
        action = _policy(actor, batch.observation, config.matmul_precision)
        return -jnp.mean(jnp.min(_values(config, state.critics, batch.observation, action), axis=0))

    value, gradient = jax.value_and_grad(loss)(state.actor)
    actor, optimiser = _descend(config, state.actor, gradient, state.actor_optimiser, learning_rate)
    return state._replace(actor=actor, actor_optimiser=optimiser), value


def _target(config: PQLConfig, state: PQLState, batch: Batch, key: Array) -> Array:
    """r + γ · continues · (the smaller of the target critics) at the smoothed next action: shape (batch,), PQL-D's (batch, atoms)."""
    noise = config.smoothing_std * jax.random.normal(key, batch.action.shape)
    smoothing = jnp.clip(noise, -config.smoothing_limit, config.smoothing_limit)
    next_action = jnp.clip(_policy(state.actor, batch.next_observation, config.matmul_precision) + smoothing, -1.0, 1.0)
    outputs = _outputs(config, state.target_critics, batch.next_observation, next_action)
    factor = config.discount * batch.continues
    if config.distributional:
        return pessimistic_target(outputs, batch.reward, factor, _atoms(config))
    return batch.reward + factor * jnp.min(outputs[..., 0], axis=0)


def _critic_loss(config: PQLConfig, critics: Network, batch: Batch, target: Array) -> Array:
    """Mean squared TD error or, of PQL-D, mean `critic_loss`; summed over both critics."""
    outputs = _outputs(config, critics, batch.observation, batch.action)
    if config.distributional:
        errors = (cross_entropy if config.critic_loss == "cross-entropy" else binary_cross_entropy)(outputs, target)
    else:
        errors = (outputs[..., 0] - target) ** 2
    return jnp.sum(jnp.mean(errors, axis=1))


def _outputs(config: PQLConfig, critics: Network, observation: Array, action: Array) -> Array:
    """Both critics' values or logits, shape (2, batch, 1 or atoms)."""
    return apply_twins(critics, jnp.concatenate([observation, action], axis=-1), jax.nn.elu, config.matmul_precision)


def _values(config: PQLConfig, critics: Network, observation: Array, action: Array) -> Array:
    """Both critics' values, shape (2, batch)."""
    outputs = _outputs(config, critics, observation, action)
    return _mean(config, jax.nn.softmax(outputs) if config.distributional else outputs[..., 0])


def _mean(config: PQLConfig, target: Array) -> Array:
    """Values as they are, distributions' means."""
    return expectation(target, _atoms(config)) if config.distributional else target


def _atoms(config: PQLConfig) -> Array:
    return jnp.linspace(config.value_min, config.value_max, config.atoms)


def _policy(actor: Network, observation: Array, precision: Precision) -> Array:
    return jnp.tanh(apply_network(actor, observation, jax.nn.elu, precision))


def _normalised(config: PQLConfig, state: PQLState, observations: Array) -> Array:
    return normalise(state.statistics, observations, config.observation_limit)


def _descend(config: PQLConfig, parameters: Any, gradient: Any, optimiser: Any, learning_rate: Array) -> tuple[Any, Any]:
    """AdamW (weight decay, times η, on every parameter) on the gradient, its norm over all parameters clipped as PyTorch does it."""
    scale = jnp.minimum(1.0, config.gradient_norm_limit / (parameter_norm(gradient) + _CLIP_EPSILON))
    clipped = jax.tree.map(lambda slope: scale * slope, gradient)
    return descend(parameters, clipped, optimiser, learning_rate, weight_decay=config.weight_decay)


@partial(jax.jit, static_argnums=0)
def diagnose(config: PQLConfig, state: PQLState, uniform: Array, newest: Array, validation: Array, seed: Array) -> Diagnosis:
    """TD errors on uniform, newest and validation rows, shapes (…, row_size), gradients on the first, a multiple of 64.

    PQL-D's TD errors are of the distributions' means; gradients are those before the clip of their norm.
    """
    batch = prepare(config, state, jnp.concatenate([uniform, newest, validation]))
    target = _target(config, state, batch, jax.random.key(seed))
    squared = jnp.mean((_values(config, state.critics, batch.observation, batch.action) - _mean(config, target)) ** 2, axis=0)
    return diagnosed(
        state.critics,
        batch,
        target,
        squared,
        uniform=len(uniform),
        newest=len(newest),
        layers=state.critics,
        active=lambda critic, inputs: (hidden := hidden_layers(critic, inputs, jax.nn.elu), hidden[-1]),
        gradient=partial(jax.grad(_critic_loss, argnums=1), config),
        others=parameter_norm(state.actor),
    )


def costs(state: PQLState) -> Costs:
    """As `sac.costs`: what is not a matrix product, the projection of PQL-D's targets too, is not counted."""
    actor, critics = count_parameters(state.actor), count_parameters(state.critics)
    return Costs(actor, critics, critic_update_flops=2 * actor + 8 * critics, actor_update_flops=6 * (actor + critics))
