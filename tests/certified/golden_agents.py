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
from tdscale.agents.bronet import Body, BroNet, NormedLayer
from tdscale.agents.networks import Layer
from tdscale.agents.normaliser import RunningStatistics, normalise
from tdscale.agents.rows import Batch

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
        return lambda key: jnp.asarray(golden[f"{place}/{name}/{key}"], float)

    def body(get: Get, blocks: int) -> Body:
        layers = [NormedLayer(*map(get, (f"dense{i}/kernel", f"dense{i}/bias", f"norm{i}/scale", f"norm{i}/bias"))) for i in range(2 * blocks + 1)]
        return Body(layers[0], tuple(zip(layers[1::2], layers[2::2], strict=True)))

    def network(name: str, blocks: int, *heads: str) -> Any:
        get = getter(name)
        last = [jnp.concatenate([get(f"{head}/{array}") for head in heads], axis=-1) for array in ("kernel", "bias")]
        if residual:
            return BroNet(body(get, blocks), Layer(*last))
        return (*(Layer(get(f"dense{i}/kernel"), get(f"dense{i}/bias")) for i in range(len(said["hidden"]))), Layer(*last))

    def pair(name: str) -> Any:
        twins = [network(f"{name}{i}", 0 if mlp else said["critic_blocks"], "out") for i in (1, 2)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *twins)

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
        state = state._replace(statistics=RunningStatistics(jnp.ones(()), jnp.zeros(size), jnp.full(size, 1.0 - OBSERVATION_FLOOR)))
    return jax.tree.map(lambda leaf: leaf.astype(float) if leaf.dtype == np.float32 else leaf, state)


def batch_of(golden: Golden, said: dict[str, Any], step: int) -> Batch:
    """The minibatch of an update. PQL's bootstrap factor γ³ is made of γ and the rows' γ²."""
    suffix, factor = ("_normalised", said["gamma"] ** (said["nstep"] - 1)) if agent_of(said) is pql else ("", 1.0)
    given = {name: np.asarray(golden[f"step{step}/batch/{name}"], float) for name in ("action", "reward", "mask")}
    observations = (golden[f"step{step}/batch/{name}{suffix}"] for name in ("observation", "next_observation"))
    observation, next_observation = (jnp.asarray(one, float) for one in observations)
    return Batch(observation, jnp.asarray(given["action"]), jnp.asarray(given["reward"]), jnp.asarray(factor * given["mask"]), next_observation)


@contextmanager
def noise(*draws: np.ndarray) -> Iterator[None]:
    """`jax.random.normal` gives these, in this order, each once."""
    left, normal = list(draws), jax.random.normal

    def given(key: Any, shape: tuple[int, ...]) -> Any:
        draw = left.pop(0)
        assert draw.shape == shape
        return jnp.asarray(draw, float)

    jax.random.normal = given
    try:
        yield
    finally:
        jax.random.normal = normal
    assert not left


def updated(config: Any, said: dict[str, Any], state: Any, golden: Golden, step: int) -> Any:
    """The state after an update of critics, then actors: in one call where they have one learning rate."""
    agent, batch = agent_of(said), batch_of(golden, said, step)
    rows = jnp.concatenate([batch.observation, batch.action, batch.reward[:, None], batch.continues[:, None], batch.next_observation], axis=1)
    draws = {name: golden.get(f"step{step}/noise/{name}") for name in ("next_action", "actor", "explorer")}
    rates = [said["learning_rate"][name] for name in ("critic", "actor")]
    calls = [(True, True, rates[0])] if rates[0] == rates[1] else [(True, False, rates[0]), (False, True, rates[1])]
    for critic, actor, rate in calls:
        flags = jnp.array([critic]), jnp.array([actor])
        # both branches are traced, whatever the flags say
        with noise(*(draw for draw in draws.values() if draw is not None)):
            program = jax.jit(partial(agent.update.__wrapped__, config))
            state = program(state, rows[None], *flags, np.int32(1), jnp.asarray(rate, float))
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
        found[name] = jax.tree.map(lambda last, first, decay=decay: (last - decay * first) / (1 - decay), new, old)
    return found


def intermediates(config: Any, said: dict[str, Any], state: Any, after: Any, golden: Golden, step: int) -> dict[str, tuple[Any, Any]]:
    """What our functions compute on the way, beside the file's `info`, by its names there."""
    agent, batch = agent_of(said), batch_of(golden, said, step)
    info = {key.rpartition("/")[2]: value for key, value in golden.items() if key.startswith(f"step{step}/info/")}
    draws = {name: golden.get(f"step{step}/noise/{name}") for name in ("next_action", "actor", "explorer")}
    found: dict[str, Any] = {}
    with noise(draws["next_action"]):
        target = agent._target(config, state, batch, None)
    if agent is pql:
        policy = partial(pql._policy, precision="float32")
        found["next_action_without_noise"] = policy(state.actor, batch.next_observation)
        found["actor_action"] = policy(state.actor, batch.observation)
        values = pql._values(config, after.critics, batch.observation, found["actor_action"])
        found |= {"actor_critic1_value": values[0], "actor_critic2_value": values[1]}
        outputs = pql._outputs(config, state.critics, batch.observation, batch.action)
        outputs = jax.nn.softmax(outputs) if config.distributional else outputs[..., 0]
        name = "probabilities" if config.distributional else "value"
        found["target_probabilities_used" if config.distributional else "target"] = target
        found["critic_loss"] = pql._critic_loss(config, state.critics, batch, target)
    else:
        for name, place in (("next_action", batch.next_observation), ("actor", batch.observation)):
            with noise(draws[name]):
                action, log_probability = agent._sample(config, state.actor, place, None)
            found |= {"next_action": action, "next_log_prob": log_probability} if name == "next_action" else {}
            found |= {"actor_action": action, "actor_log_prob": log_probability} if name == "actor" else {}
        found["target_quantiles" if agent is bro else "target"] = target
        name = "quantiles" if agent is bro else "value"
        outputs = (bro._quantiles if agent is bro else sac._value)(config, state.critics, batch.observation, batch.action)
        loss = bro._critic_gradient if agent is bro else sac._critic_loss
        loss = loss(config, state.critics, batch, target)
        found["critic_loss"] = loss[0] if agent is bro else loss
    found |= {f"critic1_{name}": outputs[0], f"critic2_{name}": outputs[1]}
    if said["agent"] == "bro":
        # the explorer collects data: in its step the actor has moved already
        acting = state._replace(actor=after.actor)
        found["explorer_action"] = bro.act(config, acting, batch.observation, jnp.asarray(draws["explorer"], float))
    return {name: (value, info[name]) for name, value in found.items()}


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
    config = config_of(said)
    state = start(config, said, parts(golden, said, "before"))
    found = {}
    for step in (1, 2):
        before = jax.tree.map(jnp.copy, state)
        state = updated(config, said, state, golden, step)
        for part, value in fields(state).items():
            found[f"parameters/{step}/{part}"] = difference(value, parts(golden, said, f"after{step}")[part], relative=False)
        place = f"step{step}/grad_clipped" if agent_of(said) is pql else f"step{step}/grad"
        for part, value in gradients(config, state, before).items():
            found[f"gradients/{step}/{part}"] = difference(value, parts(golden, said, place)[part], relative=True)
        for part, (value, expected) in intermediates(config, said, before, state, golden, step).items():
            found[f"intermediate/{step}/{part}"] = difference(value, expected, relative=True)
    fresh = fields(agent_of(said).init(config, np.uint32(0)))
    for part in ("log_temperature", "raw_optimism", "raw_regulariser"):
        if part in fresh:
            found[f"initial/{part}"] = difference(fresh[part], parts(golden, said, "init")[part], relative=False)
    return found


def normalised(folder: Path, name: str) -> float:
    """How far our normalised observations are from PQL's."""
    golden, said = read(folder, name)
    statistics = RunningStatistics(jnp.ones(()), jnp.asarray(golden["observation_mean"]), jnp.asarray(golden["observation_var"]))
    pairs = [(f"step{step}/batch/{which}observation") for step in (1, 2) for which in ("", "next_")]
    limit = config_of(said).observation_limit
    return max(difference(normalise(statistics, golden[key], limit), golden[f"{key}_normalised"], relative=True) for key in pairs)


if __name__ == "__main__":
    print(json.dumps({name: differences(Path(sys.argv[1]), name) for name in FILES}))
