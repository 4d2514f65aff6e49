"""Soft actor-critic (Haarnoja et al. 2018) as pure functions: init, act, critic_step, actor_step, diagnose.

Transitions are packed in rows (`agents.rows`) of `SACConfig.row_size` values.
"""

from dataclasses import dataclass
from functools import partial
from math import log
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tdscale.agents.adam import descend, init_adam
from tdscale.agents.costs import Costs
from tdscale.agents.diagnosis import Diagnosis, diagnosed
from tdscale.agents.networks import (
    Network,
    apply_network,
    apply_twins,
    count_parameters,
    follow,
    hidden_layers,
    init_network,
    init_policy_head,
    init_twins,
    parameter_norm,
    sample_squashed,
)
from tdscale.agents.products import Precision
from tdscale.agents.rows import Batch, RowSizes, unpack


@dataclass(frozen=True, kw_only=True)
class SACConfig(RowSizes):
    """All that shapes the compiled functions."""

    hidden_sizes: tuple[int, ...] = (256, 256)
    discount: float = 0.99
    target_rate: float = 0.005
    initial_temperature: float = 1.0
    target_entropy_per_dimension: float = -0.5
    log_std_min: float = -10.0
    log_std_max: float = 2.0
    matmul_precision: Precision = "float32"


class SACState(NamedTuple):
    """Everything that learning changes."""

    actor: Network
    critics: Network
    target_critics: Network
    log_temperature: Array
    actor_optimiser: Any
    critic_optimiser: Any
    temperature_optimiser: Any
    key: Array


@partial(jax.jit, static_argnums=0)
def init(config: SACConfig, seed: Array) -> SACState:
    """A fresh agent from a 32-bit seed. Weights are orthogonal: gain √2, but 1 for the actor's mean and log std, as in jaxrl."""
    actor_key, critic_key, key = jax.random.split(jax.random.key(seed), 3)
    hidden_key, head_key = jax.random.split(actor_key)
    hidden = init_network(hidden_key, (config.observation_size, *config.hidden_sizes))
    actor = (*hidden, init_policy_head(head_key, config.hidden_sizes[-1], config.action_size, mean_gain=1.0, log_std_gain=1.0))
    critics = init_twins(critic_key, (config.observation_size + config.action_size, *config.hidden_sizes, 1))
    log_temperature = jnp.array(log(config.initial_temperature), float)
    return SACState(
        actor=actor,
        critics=critics,
        target_critics=critics,
        log_temperature=log_temperature,
        actor_optimiser=init_adam(actor),
        critic_optimiser=init_adam(critics),
        temperature_optimiser=init_adam(log_temperature),
        key=key,
    )


@partial(jax.jit, static_argnums=0)
def act(config: SACConfig, state: SACState, observations: Array, noise: Array | None) -> Array:
    """tanh(mean + std · noise), in [-1, 1]; None: the mean policy. Shapes (..., observation_size), (..., action_size)."""
    mean, log_std = _policy(config, state.actor, observations, "float32")
    return jnp.tanh(mean if noise is None else mean + jnp.exp(log_std) * noise)


def _critic_loss(config: SACConfig, critics: Network, batch: Batch, target: Array) -> Array:
    """Mean squared TD error, summed over both critics."""
    return jnp.sum(jnp.mean((_value(config, critics, batch.observation, batch.action) - target) ** 2, axis=1))


def critic_step(config: SACConfig, state: SACState, batch: Batch, learning_rate: Array) -> tuple[SACState, Array]:
    """One Adam step on both critics' mean squared TD error; then their targets follow. The new state, and the loss."""
    key, noise_key = jax.random.split(state.key)
    target = _target(config, state, batch, noise_key)

    loss, gradient = jax.value_and_grad(_critic_loss, argnums=1)(config, state.critics, batch, target)
    critics, optimiser = descend(state.critics, gradient, state.critic_optimiser, learning_rate)
    targets = follow(state.target_critics, critics, config.target_rate)
    return state._replace(critics=critics, critic_optimiser=optimiser, target_critics=targets, key=key), loss


def actor_step(config: SACConfig, state: SACState, batch: Batch, learning_rate: Array) -> tuple[SACState, Array]:
    """One Adam step of the actor on E[temperature · log π − min Q], and of log temperature towards the target entropy.

    The new state, and the actor's loss.
    """
    key, noise_key = jax.random.split(state.key)
    temperature = jnp.exp(state.log_temperature)

    def loss(actor: Network) -> tuple[Array, Array]:
        action, log_probability = _sample(config, actor, batch.observation, noise_key)
        value = jnp.min(_value(config, state.critics, batch.observation, action), axis=0)
        return jnp.mean(temperature * log_probability - value), jnp.mean(log_probability)

    (value, mean_log_probability), gradient = jax.value_and_grad(loss, has_aux=True)(state.actor)
    actor, actor_optimiser = descend(state.actor, gradient, state.actor_optimiser, learning_rate)
    # the loss temperature · (entropy − target entropy), with entropy = −E[log π]
    target_entropy = config.target_entropy_per_dimension * config.action_size
    temperature_gradient = temperature * (-mean_log_probability - target_entropy)
    log_temperature, temperature_optimiser = descend(
        state.log_temperature, temperature_gradient, state.temperature_optimiser, learning_rate
    )
    state = state._replace(
        actor=actor,
        actor_optimiser=actor_optimiser,
        log_temperature=log_temperature,
        temperature_optimiser=temperature_optimiser,
        key=key,
    )
    return state, value


def _target(config: SACConfig, state: SACState, batch: Batch, key: Array) -> Array:
    """r + γ · continues · (min of the target critics − temperature · log π) at a fresh action in the next observation."""
    next_action, log_probability = _sample(config, state.actor, batch.next_observation, key)
    next_value = jnp.min(_value(config, state.target_critics, batch.next_observation, next_action), axis=0)
    soft_value = next_value - jnp.exp(state.log_temperature) * log_probability
    return batch.reward + config.discount * batch.continues * soft_value


def _value(config: SACConfig, critics: Network, observation: Array, action: Array) -> Array:
    """Both critics' values, shape (2, batch)."""
    inputs = jnp.concatenate([observation, action], axis=-1)
    return apply_twins(critics, inputs, precision=config.matmul_precision)[..., 0]


def _policy(config: SACConfig, actor: Network, observation: Array, precision: Precision) -> tuple[Array, Array]:
    mean, log_std = jnp.split(apply_network(actor, observation, precision=precision), 2, axis=-1)
    return mean, jnp.clip(log_std, config.log_std_min, config.log_std_max)


def _sample(config: SACConfig, actor: Network, observation: Array, key: Array) -> tuple[Array, Array]:
    """A reparameterised action and its log density, of shapes (batch, action_size) and (batch,)."""
    mean, log_std = _policy(config, actor, observation, config.matmul_precision)
    return sample_squashed(mean, log_std, key)


@partial(jax.jit, static_argnums=0)
def diagnose(config: SACConfig, state: SACState, uniform: Array, newest: Array, validation: Array, seed: Array) -> Diagnosis:
    """TD errors on rows drawn uniformly, on the newest and on those of another environment; all else on the uniform ones.

    The state's own key is not advanced.

    Args:
        config, state: the agent.
        uniform: shape (n, row_size), n a multiple of 64.
        newest, validation: shapes (m, row_size) and (v, row_size); v may be 0.
        seed: of the next actions.
    """
    batch = unpack(jnp.concatenate([uniform, newest, validation]), config.observation_size, config.action_size)
    target = _target(config, state, batch, jax.random.key(seed))
    squared = jnp.mean((_value(config, state.critics, batch.observation, batch.action) - target) ** 2, axis=0)
    return diagnosed(
        state.critics,
        batch,
        target,
        squared,
        uniform=len(uniform),
        newest=len(newest),
        layers=state.critics,
        active=lambda critic, inputs: (hidden := hidden_layers(critic, inputs), hidden[-1]),
        gradient=partial(jax.grad(_critic_loss, argnums=1), config),
        others=parameter_norm(state.actor) + state.log_temperature,
        temperature=jnp.exp(state.log_temperature),
    )


def costs(state: SACState) -> Costs:
    """A critic update: the actor and the target critics forward at the next observation, the critics forward and backward.

    An actor update: actor and critics forward and backward. With networks of one size N these are the paper's 10·N and 12·N.
    """
    actor, critics = count_parameters(state.actor), count_parameters(state.critics)
    return Costs(actor, critics, critic_update_flops=2 * actor + 8 * critics, actor_update_flops=6 * (actor + critics))
