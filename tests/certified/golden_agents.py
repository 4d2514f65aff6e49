"""Two updates of our agents from the starting points of the reference programs, with the references' noise, held against theirs.

A program, too: `JAX_ENABLE_X64=1 python golden_agents.py FOLDER` does so in float64 and prints the largest differences as JSON. What
the files hold is in their README.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tdscale.agents import bro, pql, sac
from tdscale.agents.networks import Body, BroNet, Layer, NormedLayer, RunningStatistics, normalise
from tdscale.agents.rows import Batch
from tdscale.training.algorithms import ALGORITHMS, Algorithm

FLOAT = jnp.zeros(()).dtype  # float64 where JAX was told so
FILES = ("sac", "bro_minimal", "bro", "bro_alt", "pql", "pql_d")
OBSERVATION_FLOOR = 1e-4  # in the root of PQL's normalisation
Golden = dict[str, np.ndarray]
Get = Callable[[str], Any]


def read(folder: Path, name: str) -> tuple[Golden, dict[str, Any]]:
    """A file's arrays, and its settings."""
    with np.load(folder / f"{name}.npz") as file:
        golden = dict(file)
    return golden, json.loads(str(golden.pop("settings_json")))


def agent_of(said: dict[str, Any]) -> Any:
    """The module of ours that stands for the file's agent."""
    return {"sac": sac, "bro": bro, "bro_minimal": bro, "pql": pql, "pql_d": pql}[said["agent"]]


def config_of(said: dict[str, Any]) -> Any:
    """Our configuration for a file's settings."""
    sizes = {"observation_size": said["observation_dim"], "action_size": said["action_dim"], "target_rate": said["tau"]}
    if said["agent"] in ("pql", "pql_d"):
        atoms = {"atoms": said["num_atoms"], "value_min": said["v_min"], "value_max": said["v_max"]} if said["agent"] == "pql_d" else {}
        return pql.PQLConfig(
            **sizes,
            **atoms,
            distributional=said["agent"] == "pql_d",
            hidden_sizes=tuple(said["hidden"]),
            discount=said["gamma"],
            weight_decay=said["weight_decay"],
            gradient_norm_limit=said["gradient_clipping"]["max_norm"],
            smoothing_std=said["target_noise"]["std"],
            smoothing_limit=said["target_noise"]["clip"],
            observation_limit=said["observation_normalisation"]["clip"],
        )
    sizes |= {"discount": said["discount"], "target_entropy_per_dimension": said["target_entropy"] / said["action_dim"]}
    sizes["initial_temperature"] = said["initial_value"]["temperature"]
    if said["agent"] == "sac":
        return sac.SACConfig(**sizes, hidden_sizes=tuple(said["hidden"]))
    optimism = {
        "initial_optimism": said["initial_value"].get("optimism"),
        "initial_regulariser": said["initial_value"].get("regulariser"),
        "dual_learning_rate": said["learning_rate"].get("optimism"),
        "target_divergence_per_dimension": said.get("kl_target_per_action_dim"),
        "explorer_std_factor": said.get("std_multiplier"),
    }
    assert said["learning_rate"].get("optimism") == said["learning_rate"].get("regulariser")
    assert len(set(said["weight_decay"].values())) == 1
    return bro.BROConfig(
        **sizes,
        **({name: value for name, value in optimism.items() if value is not None}),
        optimistic=said["agent"] == "bro",
        critic_width=said["critic_width"],
        critic_blocks=said["critic_blocks"],
        actor_width=said["actor_width"],
        actor_blocks=said["actor_blocks"],
        quantiles=said["n_quantiles"],
        weight_decay=said["weight_decay"]["critic"],
        pessimism=said["pessimism"],
        temperature_learning_rate=said["learning_rate"]["temperature"],
    )


def parts(golden: Golden, said: dict[str, Any], place: str) -> dict[str, Any]:
    """What is below a place of the file (`before`, `after1`, `step1/grad`, …) in our layout, by name of our state's field."""
    mlp, residual = agent_of(said) is not bro, agent_of(said) is bro

    def getter(name: str) -> Get:
        return lambda key: np.asarray(golden[f"{place}/{name}/{key}"], FLOAT)

    def body(get: Get, blocks: int) -> Body:
        layers = [
            NormedLayer(*map(get, (f"dense{i}/kernel", f"dense{i}/bias", f"norm{i}/scale", f"norm{i}/bias"))) for i in range(2 * blocks + 1)
        ]
        return Body(layers[0], tuple(zip(layers[1::2], layers[2::2], strict=True)))

    def network(name: str, blocks: int, *heads: str) -> Any:
        get = getter(name)
        last = [np.concatenate([get(f"{head}/{array}") for head in heads], axis=-1) for array in ("kernel", "bias")]
        if residual:
            return BroNet(body(get, blocks), Layer(*last))
        return (*(Layer(get(f"dense{i}/kernel"), get(f"dense{i}/bias")) for i in range(len(said["hidden"]))), Layer(*last))

    def pair(name: str) -> Any:
        twins = [network(f"{name}{i}", 0 if mlp else said["critic_blocks"], "out") for i in (1, 2)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *twins)

    heads = ("out",) if agent_of(said) is pql else ("mean", "log_std")
    found = {"actor": network("actor", 0 if mlp else said["actor_blocks"], *heads), "critics": pair("critic")}
    if not place.startswith("step"):
        found["target_critics"] = pair("target")
    if agent_of(said) is not pql:
        found["log_temperature"] = getter("temperature")("raw")
    if said["agent"] == "bro":
        get = getter("explorer")
        found["explorer"] = bro.Explorer(body(get, said["explorer_blocks"]), get("shift/kernel"))
        found |= {f"raw_{name}": getter(name)("raw") for name in ("optimism", "regulariser")}
    return found


def fields(state: Any) -> dict[str, Any]:
    """The same parts of a state of ours."""
    held = getattr(state, "optimism", None)
    both = state._asdict() | ({} if held is None else held._asdict())
    names = ("actor", "critics", "target_critics", "log_temperature", "explorer", "raw_optimism", "raw_regulariser")
    return {name: both[name] for name in names if name in both}


def start(config: Any, said: dict[str, Any], given: dict[str, Any]) -> Any:
    """Our state with the given parts, and optimisers that have seen nothing."""
    state = agent_of(said).init(config, np.uint32(0))
    optimism = {name: given[name] for name in given if name in bro.Optimism._fields}
    state = state._replace(**{name: given[name] for name in given if name not in optimism})
    if optimism:
        state = state._replace(optimism=state.optimism._replace(**optimism))
    if agent_of(said) is pql:
        # rows are handed over normalised: the reference takes a root in float32, and `normalised` below looks at ours
        size = config.observation_size
        state = state._replace(statistics=RunningStatistics(np.float64(1), np.zeros(size), np.full(size, 1.0 - OBSERVATION_FLOOR)))
    return jax.tree.map(lambda leaf: np.asarray(leaf, FLOAT) if leaf.dtype in (np.float32, np.float64) else leaf, state)


def batch_of(golden: Golden, said: dict[str, Any], step: int) -> Batch:
    """The minibatch of an update. PQL's bootstrap factor γ³ is made of γ and the rows' γ²."""
    suffix, factor = ("_normalised", said["gamma"] ** (said["nstep"] - 1)) if agent_of(said) is pql else ("", 1.0)
    names = (f"observation{suffix}", "action", "reward", "mask", f"next_observation{suffix}")
    observation, action, reward, mask, next_observation = (np.asarray(golden[f"step{step}/batch/{name}"], FLOAT) for name in names)
    return Batch(observation, action, reward, np.asarray(factor * mask, FLOAT), next_observation)


@contextmanager
def noise(*draws: Any) -> Iterator[None]:
    """`jax.random.normal` gives these, in this order, each once."""
    left, normal = list(draws), jax.random.normal

    def given(key: Any, shape: tuple[int, ...]) -> Any:
        draw = left.pop(0)
        assert draw.shape == shape
        return draw

    jax.random.normal = given
    try:
        yield
    finally:
        jax.random.normal = normal
    assert not left


def draws_of(golden: Golden, step: int) -> dict[str, np.ndarray]:
    """An update's noise, in the order in which it is drawn."""
    found = {name: golden.get(f"step{step}/noise/{name}") for name in ("next_action", "actor", "explorer")}
    return {name: np.asarray(draw, FLOAT) for name, draw in found.items() if draw is not None}


def update_program(agent: Any, config: Any) -> Callable[..., Any]:
    """(state, noise, rows, whether critics are updated, whether actors are, η) to the state after one update, compiled."""

    algorithm = ALGORITHMS[agent.__name__.rpartition(".")[2]]

    def program(state: Any, draws: Any, rows: Any, critic: Any, actor: Any, rate: Any) -> Any:
        # both branches are traced, whatever the flags say
        with noise(*draws):
            return Algorithm.update.__wrapped__(algorithm, config, state, rows[None], critic[None], actor[None], np.int32(1), rate)[0]

    return jax.jit(program)


def updated(program: Callable[..., Any], said: dict[str, Any], state: Any, golden: Golden, step: int) -> Any:
    """The state after an update of critics, then actors: in one call where they have one learning rate."""
    rows = np.concatenate([np.reshape(part, (said["batch_size"], -1)) for part in batch_of(golden, said, step)], axis=1)
    draws = tuple(draws_of(golden, step).values())
    rates = [said["learning_rate"][name] for name in ("critic", "actor")]
    calls = [(True, True, rates[0])] if rates[0] == rates[1] else [(True, False, rates[0]), (False, True, rates[1])]
    for critic, actor, rate in calls:
        state = program(state, draws, rows, np.array(critic), np.array(actor), np.asarray(rate, FLOAT))
    return state


def gradients(config: Any, state: Any, before: Any) -> dict[str, Any]:
    """What the optimisers were given in the last update, from their first moments after it and before."""
    named = {"actor": "actor", "critics": "critic", "log_temperature": "temperature"}
    named |= {"explorer": "explorer", "raw_optimism": "optimism", "raw_regulariser": "regulariser"}
    found = {}
    for name, stem in named.items():
        holders = [getattr(one, "optimism", None) if name not in one._fields else one for one in (before, state)]
        if any(holder is None or f"{stem}_optimiser" not in holder._fields for holder in holders):
            continue
        decay = 0.5 if isinstance(config, bro.BROConfig) and stem in ("temperature", "optimism", "regulariser") else 0.9
        old, new = (getattr(holder, f"{stem}_optimiser").mu for holder in holders)
        found[name] = jax.tree.map(lambda last, first, decay=decay: (np.float64(last) - decay * np.float64(first)) / (1 - decay), new, old)
    return found


def intermediate_program(agent: Any, config: Any) -> Callable[..., dict[str, Any]]:
    """(state, actor and critics after an update, batch, noise) to what our functions compute on the way, by the file's names."""

    def of_pql(state: Any, actor: Any, critics: Any, batch: Batch, draws: Any) -> dict[str, Any]:
        with noise(draws["next_action"]):
            target = pql._target(config, state, batch, None)
        policy = partial(pql._policy, precision="float32")
        action = policy(state.actor, batch.observation)
        outputs = pql._outputs(config, state.critics, batch.observation, batch.action)
        outputs = jax.nn.softmax(outputs) if config.distributional else outputs[..., 0]
        values = pql._values(config, critics, batch.observation, action)
        target_name, name = ("target_probabilities_used", "probabilities") if config.distributional else ("target", "value")
        return {
            "next_action_without_noise": policy(state.actor, batch.next_observation),
            "actor_action": action,
            "critic_loss": pql._critic_loss(config, state.critics, batch, target),
            target_name: target,
            **{f"critic{i}_{name}": outputs[i - 1] for i in (1, 2)},
            **{f"actor_critic{i}_value": values[i - 1] for i in (1, 2)},
        }

    def of_gaussian(state: Any, actor: Any, critics: Any, batch: Batch, draws: Any) -> dict[str, Any]:
        with noise(draws["next_action"]):
            target = agent._target(config, state, batch, None)
        with noise(draws["next_action"], draws["actor"]):
            next_action, next_log_probability = agent._sample(config, state.actor, batch.next_observation, None)
            action, log_probability = agent._sample(config, state.actor, batch.observation, None)
        found = {"next_action": next_action, "next_log_prob": next_log_probability}
        found |= {"actor_action": action, "actor_log_prob": log_probability}
        if agent is sac:
            found |= {"target": target, "critic_loss": sac._critic_loss(config, state.critics, batch, target)}
            outputs, name = sac._value(config, state.critics, batch.observation, batch.action), "value"
        else:
            found |= {"target_quantiles": target, "critic_loss": bro._critic_gradient(config, state.critics, batch, target)[0]}
            outputs, name = bro._quantiles(config, state.critics, batch.observation, batch.action), "quantiles"
        if "explorer" in draws:
            # the explorer collects data: in its step the actor has moved already
            found["explorer_action"] = bro.act(config, state._replace(actor=actor), batch.observation, draws["explorer"])
        return found | {f"critic{i}_{name}": outputs[i - 1] for i in (1, 2)}

    return jax.jit(of_pql if agent is pql else of_gaussian)


def leaves(tree: Any) -> list[np.ndarray]:
    """A pytree's arrays."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def difference(found: Any, expected: Any, *, relative: bool) -> float:
    """The largest over a pytree's arrays; `relative` to each array's largest entry."""
    largest = 0.0
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        ours, theirs = np.asarray(one, np.float64), np.asarray(other, np.float64)
        assert ours.shape == theirs.shape
        scale = max(np.abs(theirs).max(), np.finfo(float).tiny) if relative else 1.0
        largest = max(largest, float(np.abs(ours - theirs).max() / scale))
    return largest


def differences(folder: Path, name: str) -> dict[str, float]:
    """By quantity: parameters absolute, gradients and intermediate numbers relative to the largest entry of the array."""
    golden, said = read(folder, name)
    agent, config = agent_of(said), config_of(said)
    update, compute = update_program(agent, config), intermediate_program(agent, config)
    state = start(config, said, parts(golden, said, "before"))
    found = {}
    for step in (1, 2):
        before = state
        state = updated(update, said, before, golden, step)
        for part, value in fields(state).items():
            found[f"parameters/{step}/{part}"] = difference(value, parts(golden, said, f"after{step}")[part], relative=False)
        place = f"step{step}/grad_clipped" if agent is pql else f"step{step}/grad"
        for part, value in gradients(config, state, before).items():
            found[f"gradients/{step}/{part}"] = difference(value, parts(golden, said, place)[part], relative=True)
        numbers = compute(before, state.actor, state.critics, batch_of(golden, said, step), draws_of(golden, step))
        for part, value in numbers.items():
            found[f"intermediate/{step}/{part}"] = difference(value, golden[f"step{step}/info/{part}"], relative=True)
    fresh = fields(agent.init(config, np.uint32(0)))
    for part in ("log_temperature", "raw_optimism", "raw_regulariser"):
        if part in fresh:
            found[f"initial/{part}"] = difference(fresh[part], parts(golden, said, "init")[part], relative=False)
    return found


def normalised(folder: Path, name: str) -> float:
    """How far our normalised observations are from PQL's."""
    golden, said = read(folder, name)
    statistics = RunningStatistics(jnp.ones(()), golden["observation_mean"], golden["observation_var"])
    pairs = [(f"step{step}/batch/{which}observation") for step in (1, 2) for which in ("", "next_")]
    limit = config_of(said).observation_limit
    return max(difference(normalise(statistics, golden[key], limit), golden[f"{key}_normalised"], relative=True) for key in pairs)


if __name__ == "__main__":
    print(json.dumps({name: differences(Path(sys.argv[1]), name) for name in FILES}))
