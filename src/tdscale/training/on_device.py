"""A run of a small classic, wholly on the device: acting, stepping, replay and updates in one compiled loop."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tdscale.tasks.classics import Classic, Stepped
from tdscale.training.algorithms import Algorithm

Array = jax.Array
SEGMENT = 512  # env steps in one call, at most


@dataclass(frozen=True)
class Setting:
    """All that shapes the compiled loop."""

    algorithm: Algorithm
    config: Any
    classic: Classic
    batch_size: int
    capacity: int
    warm_up: int
    reward_scale: float


class Loop(NamedTuple):
    """Everything that a run's next step depends on."""

    agent: Any
    env: Array
    episode_step: Array
    episode_return: Array
    rows: Array
    env_step: Array
    acting: Array  # keys of random streams of their own
    sampling: Array
    episodes: Array


class Due(NamedTuple):
    """Updates at each of SEGMENT env steps: how many (SEGMENT,), and what for (SEGMENT, chunk)."""

    number: Array
    critic: Array
    actor: Array


class Seen(NamedTuple):
    """What each env step showed, shape (SEGMENT,): the return of the episode that ended there (NaN: none did), and `finite`."""

    returns: Array
    finite: Array


def begin(setting: Setting, agent: Any, seed: Array) -> Loop:
    """A run that has made no step. `seed` is that of its random streams."""
    acting, sampling, episodes, first = jax.random.split(jax.random.key(seed), 4)
    return Loop(
        agent=agent,
        env=setting.classic.reset(first),
        episode_step=jnp.int32(0),
        episode_return=jnp.float32(0.0),
        rows=jnp.zeros((setting.capacity, setting.config.row_size), jnp.float32),
        env_step=jnp.int32(0),
        acting=acting,
        sampling=sampling,
        episodes=episodes,
    )


def advance(setting: Setting, loop: Loop, due: Due, steps: Array, learning_rate: Array) -> tuple[Loop, Seen]:
    """Make the first `steps` env steps of a segment."""

    def one(index: Array, carried: tuple[Loop, Seen]) -> tuple[Loop, Seen]:
        loop, seen = carried
        loop, ended = _step_environment(setting, loop)
        here = Due(due.number[index], due.critic[index], due.actor[index])
        agent = jax.lax.cond(here.number > 0, partial(_learn, setting), _unchanged, loop, here, learning_rate)
        finite = jnp.asarray(agent.finite)
        seen = Seen(seen.returns.at[index].set(ended), seen.finite.at[index].set(finite))
        return loop._replace(agent=agent), seen

    nothing = Seen(jnp.full(SEGMENT, jnp.nan), jnp.ones(SEGMENT, bool))
    result: tuple[Loop, Seen] = jax.lax.fori_loop(0, steps, one, (loop, nothing))
    return result


def _transition(setting: Setting, env: Array, action: Array) -> tuple[Array, Stepped]:
    """The packed row (agents.rows) of one step, and what it brought."""
    classic = setting.classic
    after = classic.step(env, action)
    # time-limit ends bootstrap: only a true termination sets the factor to 0
    tail = jnp.stack([after.reward * setting.reward_scale, 1.0 - after.terminated])
    row = jnp.concatenate([classic.observe(env), action, tail, classic.observe(after.state)])
    return row.astype(jnp.float32), after


def _step_environment(setting: Setting, loop: Loop) -> tuple[Loop, Array]:
    """One env step into the replay; the return of the episode that ended, or NaN."""
    size = (1, setting.config.action_size)
    key = jax.random.fold_in(loop.acting, loop.env_step)
    chosen = setting.algorithm.act(setting.config, loop.agent, setting.classic.observe(loop.env)[None], jax.random.normal(key, size))
    at_random = jax.random.uniform(key, size, minval=-1.0, maxval=1.0)
    row, after = _transition(setting, loop.env, jnp.where(loop.env_step < setting.warm_up, at_random, chosen)[0])
    episode_step, total = loop.episode_step + 1, loop.episode_return + after.reward
    over = after.terminated | (episode_step >= setting.classic.episode_steps)
    fresh = setting.classic.reset(jax.random.fold_in(loop.episodes, loop.env_step))
    loop = loop._replace(
        env=jnp.where(over, fresh, after.state),
        episode_step=jnp.where(over, 0, episode_step),
        episode_return=jnp.where(over, 0.0, total),
        rows=loop.rows.at[loop.env_step % setting.capacity].set(row),
        env_step=loop.env_step + 1,
    )
    return loop, jnp.where(over, total, jnp.nan)


def _learn(setting: Setting, loop: Loop, due: Due, learning_rate: Array) -> Any:
    shape = (*due.critic.shape, setting.batch_size)
    key = jax.random.fold_in(loop.sampling, loop.env_step)
    indices = jax.random.randint(key, shape, 0, jnp.minimum(loop.env_step, setting.capacity))
    return setting.algorithm.update(setting.config, loop.agent, loop.rows[indices], due.critic, due.actor, due.number, learning_rate)


def _unchanged(loop: Loop, due: Due, learning_rate: Array) -> Any:
    return loop.agent


def roll_out(setting: Setting, agent: Any, key: Array, *, explore: bool) -> tuple[Array, Array, Array]:
    """An episode of a frozen agent: rows (episode_steps, row_size), how many of them are before its end, and its return."""
    first, acting = jax.random.split(key)
    env = setting.classic.reset(first)

    def one(carried: tuple[Array, Array], index: Array) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        env, over = carried
        noise = jax.random.normal(jax.random.fold_in(acting, index), (1, setting.config.action_size)) if explore else None
        action = setting.algorithm.act(setting.config, agent, setting.classic.observe(env)[None], noise)[0]
        row, after = _transition(setting, env, action)
        return (after.state, over | after.terminated), (row, over, jnp.where(over, 0.0, after.reward))

    _, (rows, over, rewards) = jax.lax.scan(one, (env, jnp.array(False)), jnp.arange(setting.classic.episode_steps))
    return rows, jnp.sum(~over), jnp.sum(rewards)
