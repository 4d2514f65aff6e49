"""`Learner`: the agents of a batch of runs with their replays; `HostLearner`: of one run, its replay in host memory.

`DeviceLearner`, for a GPU, is in `training.device_learner`. Below: an agent as the arrays that a checkpoint holds.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tdscale.agents.costs import Costs
from tdscale.agents.diagnosis import diagnosis_columns
from tdscale.training.algorithms import Algorithm
from tdscale.training.checkpoint import Ring
from tdscale.training.experience import Replay
from tdscale.training.schedule import UpdateFlags

Floats = NDArray[np.float32]
Ages = NDArray[np.int64]  # 1 for a replay's newest row
Generators = Sequence[np.random.Generator]


class Learner(Protocol):
    """Agents in `slots`, one for each run of a batch, all of one shape. Arrays' first axis is the slots'."""

    slots: int

    def act(self, observations: Floats, noise: Floats | None) -> Any:
        """Actions for observations of shape (slots, n, observation_size), explored with noise or, without it, evaluated.

        What comes back becomes an array of shape (slots, n, action_size) by `np.asarray`, which may wait for the device.
        """
        ...

    def observe(self, observations: Floats) -> None:
        """Take what is about to be acted on into the running statistics, where the algorithm has any."""
        ...

    def remember(self, rows: Sequence[Floats | None]) -> None:
        """Add each slot's new rows to its replay; None for a run that is over."""
        ...

    def update(self, flags: Sequence[UpdateFlags], generators: Generators) -> None:
        """One minibatch for each of `flags` (at most a chunk), drawn with each slot's generator."""
        ...

    def diagnose(self, uniform: int, newest: Ages, validation: Sequence[Floats], generators: Generators) -> list[dict[str, float]]:
        """Each slot's diagnostics: on so many uniformly drawn rows, on those so far back, and on rows of its validation environment."""
        ...

    def remembered(self, slot: int) -> int:
        """Rows in a slot's replay."""
        ...

    def finite(self) -> NDArray[np.bool_]:
        """Which slots' losses have all been finite."""
        ...

    def reset(self, seeds: Sequence[np.uint32]) -> None:
        """Networks and optimisers as they begin from these seeds; the replays are kept."""
        ...

    def costs(self) -> Costs:
        """Sizes and FLOPs, the same in every slot."""
        ...

    def keep(self, slots: Sequence[int]) -> None:
        """Drop all slots but these, which are then numbered in this order."""
        ...

    def agent(self, slot: int) -> Any:
        """The state of a slot's agent."""
        ...

    def ring(self, slot: int) -> Ring:
        """The rows of a slot's replay."""
        ...

    def restore(self, slot: int, agent: dict[str, NDArray[Any]], added: int, rows: Iterable[tuple[int, Floats]]) -> None:
        """Put an agent, as `to_arrays` gives it, and a replay, as `Replay.restore` takes it, into a slot."""
        ...


class HostLearner(Learner):
    """One agent on the CPU. Minibatches are gathered by NumPy; one observation is acted on by NumPy, too, where the algorithm can."""

    slots = 1

    def __init__(
        self, algorithm: Algorithm, config: Any, *, seed: np.uint32, capacity: int, chunk: int, batch_size: int, learning_rate: float
    ) -> None:
        """Compile, so that measured seconds are those of the work."""
        self._algorithm, self._config = algorithm, config
        self.state = algorithm.init(config, seed)
        self.replay = Replay(capacity, config.row_size)
        self._batches = np.zeros((chunk, batch_size, config.row_size), np.float32)
        self._do_critic, self._do_actor = np.zeros(chunk, bool), np.zeros(chunk, bool)
        self._learning_rate = jnp.float32(learning_rate)
        self._policy: Any = None
        self._finite = True
        self._call(0)

    def act(self, observations: Floats, noise: Floats | None) -> Floats:
        given = None if noise is None else noise[0]
        if self._algorithm.policy is None:
            return np.asarray(self._algorithm.act(self._config, self.state, observations[0], given))[None]
        if self._policy is None:
            self._policy = self._algorithm.policy(self._config, self.state)
        actions: Floats = self._policy.act(observations[0], given)
        return actions[None]

    def observe(self, observations: Floats) -> None:
        if self._algorithm.observe is not None:
            self._changed(self._algorithm.observe(self._config, self.state, observations[0]))

    def remember(self, rows: Sequence[Floats | None]) -> None:
        if rows[0] is not None:
            self.replay.add(rows[0])

    def update(self, flags: Sequence[UpdateFlags], generators: Generators) -> None:
        count = len(flags)
        self._do_critic[:count] = [flag.critic for flag in flags]
        self._do_actor[:count] = [flag.actor for flag in flags]
        batches = self._batches[:count]
        self.replay.take(self.replay.draw(batches.shape[:-1], generators[0]), batches)
        self._call(count)

    def diagnose(self, uniform: int, newest: Ages, validation: Sequence[Floats], generators: Generators) -> list[dict[str, float]]:
        rows = np.empty((uniform, self._config.row_size), np.float32)
        self.replay.take(self.replay.draw((uniform,), generators[0]), rows)
        found = self._algorithm.diagnose(self._config, self.state, rows, self.replay.back(newest), validation[0], seed(generators[0]))
        return [{name: float(value) for name, value in diagnosis_columns(found).items()}]

    def remembered(self, slot: int) -> int:
        return len(self.replay)

    def finite(self) -> NDArray[np.bool_]:
        return np.array([self._finite])

    def reset(self, seeds: Sequence[np.uint32]) -> None:
        self._changed(self._algorithm.init(self._config, seeds[0]))

    def costs(self) -> Costs:
        return self._algorithm.costs(self.state)

    def keep(self, slots: Sequence[int]) -> None:
        pass  # there is only one

    def agent(self, slot: int) -> Any:
        return self.state

    def ring(self, slot: int) -> Replay:
        return self.replay

    def restore(self, slot: int, agent: dict[str, NDArray[Any]], added: int, rows: Iterable[tuple[int, Floats]]) -> None:
        self._changed(from_arrays(self.state, agent))
        self.replay.restore(added, rows)

    def _call(self, count: int) -> None:
        updated, finite = self._algorithm.update(
            self._config, self.state, self._batches, self._do_critic, self._do_actor, np.int32(count), self._learning_rate
        )
        # waits: the device may read the batches where they lie, so they must not be overwritten before it is done
        self._finite &= bool(finite)
        self._changed(updated)

    def _changed(self, state: Any) -> None:
        self.state, self._policy = state, None


def seed(generator: np.random.Generator) -> np.uint32:
    """A 32-bit seed."""
    return np.uint32(generator.integers(0, 1 << 31))


def origin(agent: Any, versions: Mapping[str, str]) -> dict[str, Any]:
    """What must be the same for a run to resume bit for bit: the agent's structure, libraries, kind of device."""
    return {"agent": fingerprint(agent), "versions": {"tdscale": version("tdscale")} | dict(versions), "device": jax.default_backend()}


def to_arrays(tree: Any) -> dict[str, NDArray[Any]]:
    """The leaves in order, named by their place; of JAX's random keys, their data."""
    leaves = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)]
    return {f"{place:04d}": np.asarray(leaf) for place, leaf in enumerate(leaves)}


def from_arrays(like: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """The inverse of `to_arrays` for a tree of the structure of `like`. Raises KeyError if a leaf is missing."""
    leaves, structure = jax.tree.flatten(like)
    return jax.tree.unflatten(structure, [_leaf(leaf, arrays[f"{place:04d}"]) for place, leaf in enumerate(leaves)])


def fingerprint(tree: Any) -> str:
    """16 hexadecimal digits of SHA-256 over every leaf's path, shape and type."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    listed = [(jax.tree_util.keystr(path), np.shape(leaf), str(leaf.dtype)) for path, leaf in leaves]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _leaf(like: Any, array: NDArray[Any]) -> Any:
    # copies: what JAX is given to consume must not be memory that NumPy still owns
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.array(array, copy=True), impl=jax.random.key_impl(like))
    if array.dtype.kind == "V":  # NumPy's files know bfloat16 and the like as bytes
        array = array.view(like.dtype)
    return jnp.array(array, dtype=like.dtype, copy=True)
