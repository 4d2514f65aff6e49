"""BRO, "bigger, regularized, optimistic" (Nauman et al. 2024), as pure functions: init, act, critic_step, actor_step, diagnose.

Soft actor-critic with large critics of residual blocks and layer norm that predict quantiles, AdamW, no pessimism by default,
and an explorer that is optimistic where the critics differ. Resets are the training loop's. Rows are packed as in `agents.rows`.
"""

from dataclasses import dataclass
from functools import partial
from math import atanh, log
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tdscale.agents.adam import descend, init_adam
from tdscale.agents.costs import Costs
from tdscale.agents.diagnosis import Diagnosis, diagnosed
from tdscale.agents.distributions import quantile_huber
from tdscale.agents.networks import (
    Body,
    BroNet,
    apply_body,
    apply_bronet,
    body_layers,
    bronet_layers,
    count_parameters,
    follow,
    init_body,
    init_bronet,
    init_pair,
    init_policy_head,
    orthogonal_layer,
    parameter_norm,
    sample_squashed,
)
from tdscale.agents.products import Precision, multiply
from tdscale.agents.rows import Batch, RowSizes, unpack

_SLOW_DECAY = 0.5  # of the first moment, for temperature and dual variables
_DUAL_LOG_MIN, _DUAL_HALF_RANGE = -10.0, 8.75  # of the dual variables' logarithms


@dataclass(frozen=True, kw_only=True)
class BROConfig(RowSizes):
    """All that shapes the compiled functions."""

    critic_width: int = 512
    critic_blocks: int = 2
    actor_width: int = 256
    actor_blocks: int = 1
    quantiles: int = 100
    weight_decay: float = 1e-4
    discount: float = 0.99
    target_rate: float = 0.005
    initial_temperature: float = 1.0
    temperature_learning_rate: float = 3e-4
    target_entropy_per_dimension: float = -0.5
    pessimism: float = 0.0
    log_std_min: float = -10.0
    log_std_max: float = 2.0
    matmul_precision: Precision = "float32"
    optimistic: bool = True
    initial_optimism: float = 1.0
    initial_regulariser: float = 0.25
    dual_learning_rate: float = 3e-5
    target_divergence_per_dimension: float = 0.05
    explorer_std_factor: float = 0.75
    explorer_initial_scale: float = 0.01


class Explorer(NamedTuple):
    """What full BRO collects data with: the shift of the actor's mean, from an observation and that mean before the tanh.

    head: shape (actor_width, action_size).
    """

    body: Body
    head: Array


class Optimism(NamedTuple):
    """The explorer with its two dual variables, as what `dual_value` is given, and their optimisers."""

    explorer: Explorer
    raw_optimism: Array
    raw_regulariser: Array
    explorer_optimiser: Any
    optimism_optimiser: Any
    regulariser_optimiser: Any


class BROState(NamedTuple):
    """Everything that learning changes."""

    actor: BroNet
    critics: BroNet
    target_critics: BroNet
    log_temperature: Array
    optimism: Optimism | None
    actor_optimiser: Any
    critic_optimiser: Any
    temperature_optimiser: Any
    key: Array


@partial(jax.jit, static_argnums=0)
def init(config: BROConfig, seed: Array) -> BROState:
    """A fresh agent from a 32-bit seed. Weights are orthogonal: gain √2, but 1 for the log std and the explorer's own for its head."""
    actor_key, critic_key, explorer_key, key = jax.random.split(jax.random.key(seed), 4)
    body_key, head_key = jax.random.split(actor_key)
    actor = BroNet(
        init_body(body_key, config.observation_size, config.actor_width, config.actor_blocks),
        init_policy_head(head_key, config.actor_width, config.action_size, mean_gain=2.0**0.5, log_std_gain=1.0),
    )
    inputs = config.observation_size + config.action_size
    critics = init_pair(critic_key, lambda one: init_bronet(one, inputs, config.critic_width, config.critic_blocks, config.quantiles))
    log_temperature = jnp.array(log(config.initial_temperature), float)
    return BROState(
        actor=actor,
        critics=critics,
        target_critics=critics,
        log_temperature=log_temperature,
        optimism=_init_optimism(config, explorer_key) if config.optimistic else None,
        actor_optimiser=init_adam(actor),
        critic_optimiser=init_adam(critics),
        temperature_optimiser=init_adam(log_temperature),
        key=key,
    )


def _init_optimism(config: BROConfig, key: Array) -> Optimism:
    body_key, head_key = jax.random.split(key)
    body = init_body(body_key, config.observation_size + config.action_size, config.actor_width, config.actor_blocks)
    head = orthogonal_layer(head_key, config.actor_width, config.action_size, config.explorer_initial_scale)
    explorer = Explorer(body, head.weight)
    raw_optimism, raw_regulariser = map(_raw_dual, (config.initial_optimism, config.initial_regulariser))
    return Optimism(
        explorer=explorer,
        raw_optimism=raw_optimism,
        raw_regulariser=raw_regulariser,
        explorer_optimiser=init_adam(explorer),
        optimism_optimiser=init_adam(raw_optimism),
        regulariser_optimiser=init_adam(raw_regulariser),
    )


def dual_value(raw: Array) -> Array:
    """exp(−10 + 8.75·(1 + tanh raw)), between e⁻¹⁰ and e^7.5: optimism and regulariser, from what Adam moves."""
    return jnp.exp(_DUAL_LOG_MIN + _DUAL_HALF_RANGE * (1 + jnp.tanh(raw)))


def _raw_dual(value: float) -> Array:
    """The inverse of `dual_value`."""
    return jnp.array(atanh((log(value) - _DUAL_LOG_MIN) / _DUAL_HALF_RANGE - 1), float)


@partial(jax.jit, static_argnums=0)
def act(config: BROConfig, state: BROState, observations: Array, noise: Array | None) -> Array:
    """Actions in [-1, 1]; shapes (..., observation_size) and (..., action_size).

    What collects data is tanh(mean + std · noise) of the actor or, with an explorer, tanh(mean + shift + 0.75 · std · noise);
    what is evaluated (None) the actor's mean.
    """
    mean, log_std = _policy(config, state.actor, observations, "float32")
    if noise is None:
        return jnp.tanh(mean)
    if state.optimism is None:
        return jnp.tanh(mean + jnp.exp(log_std) * noise)
    shift = _shift(state.optimism.explorer, observations, mean, "float32")
    return jnp.tanh(mean + shift + config.explorer_std_factor * jnp.exp(log_std) * noise)


def _critic_gradient(config: BROConfig, critics: BroNet, batch: Batch, target: Array) -> tuple[Array, BroNet]:
    """Both critics' quantile Huber loss and its gradient."""
    predicted, pull_back = jax.vjp(lambda parameters: _quantiles(config, parameters, batch.observation, batch.action), critics)
    loss, slope = quantile_huber(predicted, target)
    return loss, pull_back(slope)[0]


def critic_step(config: BROConfig, state: BROState, batch: Batch, learning_rate: Array) -> tuple[BROState, Array]:
    """One AdamW step on both critics' quantile Huber loss; then their targets follow. The new state, and the loss."""
    key, noise_key = jax.random.split(state.key)
    target = _target(config, state, batch, noise_key)

    loss, gradient = _critic_gradient(config, state.critics, batch, target)
    critics, optimiser = _descend(config, state.critics, gradient, state.critic_optimiser, learning_rate)
    targets = follow(state.target_critics, critics, config.target_rate)
    return state._replace(critics=critics, critic_optimiser=optimiser, target_critics=targets, key=key), loss


def actor_step(config: BROConfig, state: BROState, batch: Batch, learning_rate: Array) -> tuple[BROState, tuple[Array, ...]]:
    """One AdamW step of the actor on E[temperature · log π − Q], one of the temperature; then the explorer's. Q: see `_lower`.

    The new state, and the losses of actor and explorer.
    """
    key, noise_key, explorer_key = jax.random.split(state.key, 3)
    temperature = jnp.exp(state.log_temperature)

    def loss(actor: BroNet) -> tuple[Array, Array]:
        action, log_probability = _sample(config, actor, batch.observation, noise_key)
        value = jnp.mean(_lower(config, _quantiles(config, state.critics, batch.observation, action)), axis=-1)
        return jnp.mean(temperature * log_probability - value), jnp.mean(log_probability)

    (value, mean_log_probability), gradient = jax.value_and_grad(loss, has_aux=True)(state.actor)
    actor, actor_optimiser = _descend(config, state.actor, gradient, state.actor_optimiser, learning_rate)
    # the loss temperature · (entropy − target entropy), with entropy = −E[log π]
    target_entropy = config.target_entropy_per_dimension * config.action_size
    log_temperature, temperature_optimiser = _descend_scalar(
        state.log_temperature,
        temperature * (-mean_log_probability - target_entropy),
        state.temperature_optimiser,
        config.temperature_learning_rate,
    )
    state = state._replace(
        actor=actor,
        actor_optimiser=actor_optimiser,
        log_temperature=log_temperature,
        temperature_optimiser=temperature_optimiser,
        key=key,
    )
    if state.optimism is None:
        return state, (value,)
    optimism, explorer_value = _explorer_step(config, state, state.optimism, batch.observation, explorer_key, learning_rate)
    return state._replace(optimism=optimism), (value, explorer_value)


def _explorer_step(
    config: BROConfig, state: BROState, held: Optimism, observation: Array, key: Array, learning_rate: Array
) -> tuple[Optimism, Array]:
    """One AdamW step on E[regulariser · KL − mean Q − optimism · |Q1 − Q2| / 2], where |Q1 − Q2| is the mean of the distances from
    quantile to quantile; then one Adam step of each dual variable, which hold KL to its target.

    KL(explorer ‖ actor) = Σ shift² / (2 std²) over the action's dimensions, before the tanh. What the fixed factor on std adds
    is left out: nothing learns it, and at 0.75 it is 0.069 a dimension, above the target, which no multiplier could then reach.
    """
    mean, log_std = _policy(config, state.actor, observation, config.matmul_precision)
    std = jnp.exp(log_std)
    noise = config.explorer_std_factor * std * jax.random.normal(key, mean.shape)
    optimism, optimism_slope = jax.value_and_grad(dual_value)(held.raw_optimism)
    regulariser, regulariser_slope = jax.value_and_grad(dual_value)(held.raw_regulariser)

    def loss(explorer: Explorer) -> tuple[Array, Array]:
        shift = _shift(explorer, observation, mean, config.matmul_precision)
        first, second = _quantiles(config, state.critics, observation, jnp.tanh(mean + shift + noise))
        divergence = jnp.mean(jnp.sum((shift / std) ** 2, axis=-1) / 2)
        upper = (first + second) / 2 + optimism * jnp.abs(first - second) / 2
        return regulariser * divergence - jnp.mean(upper), divergence

    (value, divergence), gradient = jax.value_and_grad(loss, has_aux=True)(held.explorer)
    explorer, explorer_optimiser = _descend(config, held.explorer, gradient, held.explorer_optimiser, learning_rate)
    # above the target optimism falls and the regulariser rises
    excess = divergence / config.action_size - config.target_divergence_per_dimension
    raw_optimism, optimism_optimiser = _descend_scalar(
        held.raw_optimism, optimism_slope * excess, held.optimism_optimiser, config.dual_learning_rate
    )
    raw_regulariser, regulariser_optimiser = _descend_scalar(
        held.raw_regulariser, -regulariser_slope * excess, held.regulariser_optimiser, config.dual_learning_rate
    )
    return Optimism(explorer, raw_optimism, raw_regulariser, explorer_optimiser, optimism_optimiser, regulariser_optimiser), value


def _target(config: BROConfig, state: BROState, batch: Batch, key: Array) -> Array:
    """r + γ · continues · (the target critics' quantiles as by `_lower` − temperature · log π), shape (batch, quantiles)."""
    next_action, log_probability = _sample(config, state.actor, batch.next_observation, key)
    next_quantiles = _lower(config, _quantiles(config, state.target_critics, batch.next_observation, next_action))
    soft_quantiles = next_quantiles - (jnp.exp(state.log_temperature) * log_probability)[:, None]
    return batch.reward[:, None] + config.discount * batch.continues[:, None] * soft_quantiles


def _quantiles(config: BROConfig, critics: BroNet, observation: Array, action: Array) -> Array:
    """Both critics' quantiles, shape (2, batch, quantiles)."""
    inputs = jnp.concatenate([observation, action], axis=-1)
    return jax.vmap(lambda one: apply_bronet(one, inputs, config.matmul_precision))(critics)


def _lower(config: BROConfig, quantiles: Array) -> Array:
    """(Q1 + Q2)/2 − pessimism · |Q1 − Q2|/2, quantile by quantile: shape (2, ...) gives (...)."""
    mean = jnp.mean(quantiles, axis=0)
    return mean if config.pessimism == 0 else mean - config.pessimism * jnp.abs(quantiles[0] - quantiles[1]) / 2


def _values(config: BROConfig, critics: BroNet, observation: Array, action: Array) -> Array:
    """Both critics' values, the means of their quantiles, shape (2, batch)."""
    return jnp.mean(_quantiles(config, critics, observation, action), axis=-1)


def _policy(config: BROConfig, actor: BroNet, observation: Array, precision: Precision) -> tuple[Array, Array]:
    """Mean and log std, the latter squashed into its bounds."""
    mean, unbounded = jnp.split(apply_bronet(actor, observation, precision), 2, axis=-1)
    return mean, config.log_std_min + (config.log_std_max - config.log_std_min) * 0.5 * (1 + jnp.tanh(unbounded))


def _shift(explorer: Explorer, observation: Array, mean: Array, precision: Precision) -> Array:
    inputs = jnp.concatenate([observation, mean], axis=-1)
    return multiply(apply_body(explorer.body, inputs, precision), explorer.head, precision)


def _sample(config: BROConfig, actor: BroNet, observation: Array, key: Array) -> tuple[Array, Array]:
    """A reparameterised action and its log density, of shapes (batch, action_size) and (batch,)."""
    return sample_squashed(*_policy(config, actor, observation, config.matmul_precision), key)


def _descend(config: BROConfig, parameters: Any, gradient: Any, optimiser: Any, learning_rate: Array) -> tuple[Any, Any]:
    """AdamW: weight decay, times η, on every parameter."""
    return descend(parameters, gradient, optimiser, learning_rate, weight_decay=config.weight_decay)


def _descend_scalar(parameter: Array, gradient: Array, optimiser: Any, learning_rate: float) -> tuple[Array, Any]:
    return descend(parameter, gradient, optimiser, learning_rate, first_decay=_SLOW_DECAY)


@partial(jax.jit, static_argnums=0)
def diagnose(config: BROConfig, state: BROState, uniform: Array, newest: Array, validation: Array, seed: Array) -> Diagnosis:
    """As `sac.diagnose`; TD errors are those of the values, the quantiles' means. Hidden units are those behind a ReLU, features
    what the head is given."""
    batch = unpack(jnp.concatenate([uniform, newest, validation]), config.observation_size, config.action_size)
    target = _target(config, state, batch, jax.random.key(seed))
    squared = jnp.mean((_values(config, state.critics, batch.observation, batch.action) - jnp.mean(target, axis=-1)) ** 2, axis=0)
    return diagnosed(
        state.critics,
        batch,
        target,
        squared,
        uniform=len(uniform),
        newest=len(newest),
        layers=bronet_layers(state.critics),
        active=lambda critic, inputs: body_layers(critic.body, inputs),
        gradient=lambda *given: _critic_gradient(config, *given)[1],
        others=parameter_norm(state.actor) + state.log_temperature,
        temperature=jnp.exp(state.log_temperature),
    )


def costs(state: BROState) -> Costs:
    """As `sac.costs`; the explorer adds the actor forward, itself and the critics forward and backward to an actor update."""
    actor, critics = count_parameters(state.actor), count_parameters(state.critics)
    explorer = 0 if state.optimism is None else count_parameters(state.optimism.explorer)
    optimism = 0 if state.optimism is None else 2 * actor + 6 * (explorer + critics)
    return Costs(
        actor_parameters=actor + explorer,
        critic_parameters=critics,
        critic_update_flops=2 * actor + 8 * critics,
        actor_update_flops=6 * (actor + critics) + optimism,
    )
