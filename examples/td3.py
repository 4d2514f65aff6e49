"""TD3 (Fujimoto, van Hoof and Meger 2018, "Addressing Function Approximation Error in Actor-Critic Methods") in one file.

    critic    both regress on  y = r + γ · continues · min of the two target critics at (s', ã)            equations 9 and 10
              ã = clip(target actor(s') + clip(std · noise, -c, c), -1, 1)                                  equation 14
    actor     ascends the first critic's value of its own action                                           equation 12
    targets   θ' ← θ' + τ · (θ - θ'): the critics' after a critic update, the actor's after an actor update

The delay of the paper (an actor update for every second critic update) is left to the study's schedule: with
`actor_updates = "per-env-step"` there is one for every σ critic updates. A study names this file as `algorithm = "td3:TD3"`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from pydantic import Field

from tdscale.agents.costs import Costs
from tdscale.agents.networks import Network, apply_network, apply_twins, count_parameters, init_network, init_twins, parameter_norm
from tdscale.agents.rows import Batch, RowSizes, unpack
from tdscale.study import TrainingSettings
from tdscale.training.algorithms import Algorithm

ADAM = optax.scale_by_adam()  # η comes in after it, as a value: one compilation serves every η


class TD3Settings(TrainingSettings):
    """What a study's [settings] may say, beside what every algorithm has. Mistakes are told by these ranges."""

    hidden_sizes: tuple[int, ...] = Field((256, 256), min_length=1, description="widths of actor and critics")
    discount: float = Field(0.99, gt=0, lt=1, description="γ")
    target_rate: float = Field(0.005, gt=0, le=1, description="τ")
    exploration_std: float = Field(0.1, ge=0, description="of the noise on actions that collect data")
    smoothing_std: float = Field(0.2, ge=0, description="of the noise on the target's actions")
    smoothing_clip: float = Field(0.5, ge=0, description="c, its bound")


@dataclass(frozen=True, kw_only=True)
class TD3Config(RowSizes):
    """All that shapes the compiled functions: the task's sizes, and what the settings say."""

    hidden_sizes: tuple[int, ...]
    discount: float
    target_rate: float
    exploration_std: float
    smoothing_std: float
    smoothing_clip: float


class TD3State(NamedTuple):
    """Everything that learning changes."""

    actor: Network
    target_actor: Network
    critics: Network
    target_critics: Network
    actor_optimiser: Any
    critic_optimiser: Any
    key: Array


class Diagnosis(NamedTuple):
    """Columns of the curve, and `finite`."""

    td_error_uniform: Array
    td_error_newest: Array
    critic_parameter_norm: Array
    finite: Array


@partial(jax.jit, static_argnums=0)
def init(config: TD3Config, seed: Array) -> TD3State:
    """A fresh agent from a 32-bit seed."""
    actor_key, critic_key, key = jax.random.split(jax.random.key(seed), 3)
    actor = init_network(actor_key, (config.observation_size, *config.hidden_sizes, config.action_size))
    critics = init_twins(critic_key, (config.observation_size + config.action_size, *config.hidden_sizes, 1))
    return TD3State(actor, actor, critics, critics, ADAM.init(actor), ADAM.init(critics), key)


@partial(jax.jit, static_argnums=0)
def act(config: TD3Config, state: TD3State, observations: Array, noise: Array | None) -> Array:
    """Actions in [-1, 1], shape (n, action_size); without noise those that are evaluated."""
    actions = jnp.tanh(apply_network(state.actor, observations))
    return actions if noise is None else jnp.clip(actions + config.exploration_std * noise, -1.0, 1.0)


def critic_step(config: TD3Config, state: TD3State, batch: Batch, learning_rate: Array) -> tuple[TD3State, Array]:
    """One Adam step on the squared TD error of both critics; their targets follow. The new state, and the loss."""
    key, noise_key = jax.random.split(state.key)
    target = target_value(config, state, batch, noise_key)

    def loss(critics: Network) -> Array:
        return jnp.sum(jnp.mean((values(critics, batch.observation, batch.action) - target) ** 2, axis=1))

    value, gradient = jax.value_and_grad(loss)(state.critics)
    critics, optimiser = descend(state.critics, gradient, state.critic_optimiser, learning_rate)
    targets = follow(config, state.target_critics, critics)
    return state._replace(critics=critics, critic_optimiser=optimiser, target_critics=targets, key=key), value


def actor_step(config: TD3Config, state: TD3State, batch: Batch, learning_rate: Array) -> tuple[TD3State, Array]:
    """One Adam step up the first critic; the target actor follows. The new state, and the loss."""
    first = jax.tree.map(lambda leaf: leaf[0], state.critics)

    def loss(actor: Network) -> Array:
        action = jnp.tanh(apply_network(actor, batch.observation))
        return -jnp.mean(apply_network(first, jnp.concatenate([batch.observation, action], axis=-1)))

    value, gradient = jax.value_and_grad(loss)(state.actor)
    actor, optimiser = descend(state.actor, gradient, state.actor_optimiser, learning_rate)
    return state._replace(actor=actor, actor_optimiser=optimiser, target_actor=follow(config, state.target_actor, actor)), value


def target_value(config: TD3Config, state: TD3State, batch: Batch, key: Array) -> Array:
    """y, shape (batch,)."""
    noise = config.smoothing_std * jax.random.normal(key, batch.action.shape)
    noise = jnp.clip(noise, -config.smoothing_clip, config.smoothing_clip)
    action = jnp.clip(jnp.tanh(apply_network(state.target_actor, batch.next_observation)) + noise, -1.0, 1.0)
    next_value = jnp.min(values(state.target_critics, batch.next_observation, action), axis=0)
    return batch.reward + config.discount * batch.continues * next_value


@partial(jax.jit, static_argnums=0)
def diagnose(config: TD3Config, state: TD3State, uniform: Array, newest: Array, validation: Array, seed: Array) -> Diagnosis:
    """Mean squared TD errors of rows drawn from the replay and of its newest. The state's own key is not advanced."""

    def error(rows: Array) -> Array:
        batch = unpack(rows, config.observation_size, config.action_size)
        target = target_value(config, state, batch, jax.random.key(seed))
        return jnp.mean((values(state.critics, batch.observation, batch.action) - target) ** 2)

    norm = parameter_norm(state.critics)
    return Diagnosis(error(uniform), error(newest), norm, jnp.isfinite(norm + parameter_norm(state.actor)))


def costs(state: TD3State) -> Costs:
    """With 2 FLOPs per parameter and transition forward and 4 backward; an actor update needs one critic only."""
    actor, critics = count_parameters(state.actor), count_parameters(state.critics)
    return Costs(actor, critics, critic_update_flops=2 * actor + 8 * critics, actor_update_flops=6 * actor + 3 * critics)


def values(critics: Network, observation: Array, action: Array) -> Array:
    """Of both critics, shape (2, batch)."""
    return apply_twins(critics, jnp.concatenate([observation, action], axis=-1))[..., 0]


def descend(parameters: Any, gradient: Any, optimiser: Any, learning_rate: Array) -> tuple[Any, Any]:
    """One Adam step; the new parameters and moments."""
    direction, optimiser = ADAM.update(gradient, optimiser)
    return jax.tree.map(lambda old, step: old - learning_rate * step, parameters, direction), optimiser


def follow(config: TD3Config, target: Any, network: Any) -> Any:
    """The target network moved by τ."""
    return jax.tree.map(lambda old, new: old + config.target_rate * (new - old), target, network)


TD3 = Algorithm(
    settings=TD3Settings,
    config=TD3Config,
    init=init,
    act=act,
    critic_step=critic_step,
    actor_step=actor_step,
    diagnose=diagnose,
    costs=costs,
)
