"""`DeviceLearner`: the agents of many runs advanced by one call, their replays on the device where they fit."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tdscale.agents.costs import Costs
from tdscale.agents.diagnosis import diagnosis_columns
from tdscale.training.algorithms import Algorithm
from tdscale.training.checkpoint import Ring
from tdscale.training.experience import Replay
from tdscale.training.learner import Ages, Floats, Generators, Learner, from_arrays, seed
from tdscale.training.schedule import UpdateFlags

_SHARE = 0.6  # of the device's memory that replays may take: half as much more while a batch is formed again


class DeviceLearner(Learner):
    """Runs that share shapes, under `vmap`: seeds and η differ. Calls return at once; the device works them off in order."""

    def __init__(
        self,
        algorithm: Algorithm,
        config: Any,
        *,
        seeds: Sequence[np.uint32],
        capacity: int,
        chunk: int,
        batch_size: int,
        learning_rates: Sequence[float],
        environments: int,
    ) -> None:
        """Compile, so that measured seconds are those of the work."""
        self._algorithm, self._config = algorithm, config
        self.slots = len(seeds)
        self.states = _init(algorithm, config, np.array(seeds))
        self._finite = jnp.ones(self.slots, bool)
        self._learning_rates = jnp.array(learning_rates, jnp.float32)
        self._chunk, self._batch_size, self._environments = chunk, batch_size, environments
        self._capacity = capacity
        self._added = [0] * self.slots
        self._rows: Any = None
        self._replays: list[Replay] = []
        if self.slots * capacity * config.row_size * 4 <= _SHARE * _free_memory():
            self._rows = jnp.zeros((self.slots, capacity, config.row_size), jnp.float32)
        else:
            self._replays = [Replay(capacity, config.row_size) for _ in range(self.slots)]
        self._update(0, np.zeros((self.slots, chunk, batch_size), np.int32))

    def act(self, observations: Floats, noise: Floats | None) -> Any:
        return _act(self._algorithm, self._config, self.states, observations, noise)

    def observe(self, observations: Floats) -> None:
        if self._algorithm.observe is not None:
            self.states = _observe(self._algorithm, self._config, self.states, observations)

    def remember(self, rows: Sequence[Floats | None]) -> None:
        if self._rows is None:
            for replay, new in zip(self._replays, rows, strict=True):
                if new is not None:
                    replay.add(new)
        else:
            self._write(rows)
        self._added = [added + (0 if new is None else len(new)) for added, new in zip(self._added, rows, strict=True)]

    def _write(self, rows: Sequence[Floats | None]) -> None:
        most = max((len(new) for new in rows if new is not None), default=0)
        if most == 0:
            return
        # n-step returns give as many rows as there are environments, or some multiple of it: few shapes to compile for
        width = -(-most // self._environments) * self._environments
        padded = np.zeros((self.slots, width, self._config.row_size), np.float32)
        where = np.full((self.slots, width), self._capacity, np.int32)  # out of bounds: dropped
        for slot, new in enumerate(rows):
            if new is not None:
                padded[slot, : len(new)] = new
                where[slot, : len(new)] = np.arange(self._added[slot], self._added[slot] + len(new)) % self._capacity
        self._rows = _write(self._rows, padded, where)

    def update(self, flags: Sequence[UpdateFlags], generators: Generators) -> None:
        # new arrays at every call: the device may read them later
        indices = np.zeros((self.slots, self._chunk, self._batch_size), np.int32)
        for slot, generator in enumerate(generators):
            indices[slot, : len(flags)] = generator.integers(0, self.remembered(slot), (len(flags), self._batch_size))
        self._update(len(flags), indices, flags)

    def _update(self, count: int, indices: NDArray[np.int32], flags: Sequence[UpdateFlags] = ()) -> None:
        do_critic, do_actor = np.zeros(self._chunk, bool), np.zeros(self._chunk, bool)
        do_critic[:count] = [flag.critic for flag in flags]
        do_actor[:count] = [flag.actor for flag in flags]
        batches = self._gather(indices)
        self.states, self._finite = _update(
            self._algorithm, self._config, self.states, self._finite, batches, do_critic, do_actor, np.int32(count), self._learning_rates
        )

    def _gather(self, indices: NDArray[np.int32]) -> Any:
        if self._rows is not None:
            return _take(self._rows, indices)
        batches = np.zeros((*indices.shape, self._config.row_size), np.float32)
        for replay, drawn, out in zip(self._replays, indices, batches, strict=True):
            if len(replay):
                replay.take(drawn.astype(np.int64), out)
        return batches

    def diagnose(self, uniform: int, newest: Ages, validation: Sequence[Floats], generators: Generators) -> list[dict[str, float]]:
        drawn = np.stack([generator.integers(0, self.remembered(slot), uniform) for slot, generator in enumerate(generators)])
        last = np.stack([(added - newest) % self._capacity for added in self._added])
        seeds = np.array([seed(generator) for generator in generators])
        found = _diagnose(
            self._algorithm,
            self._config,
            self.states,
            self._gather(drawn.astype(np.int32)),
            self._gather(last.astype(np.int32)),
            np.stack(validation),
            seeds,
        )
        columns = {name: np.asarray(values) for name, values in diagnosis_columns(found).items()}
        return [{name: float(values[slot]) for name, values in columns.items()} for slot in range(self.slots)]

    def remembered(self, slot: int) -> int:
        return max(min(self._added[slot], self._capacity), 1)

    def finite(self) -> NDArray[np.bool_]:
        return np.asarray(self._finite)

    def reset(self, seeds: Sequence[np.uint32]) -> None:
        self.states = _init(self._algorithm, self._config, np.array(seeds))

    def costs(self) -> Costs:
        return self._algorithm.costs(self.agent(0))

    def keep(self, slots: Sequence[int]) -> None:
        kept = np.array(slots)
        self.states = jax.tree.map(lambda leaf: leaf[kept], self.states)
        self._finite, self._learning_rates = self._finite[kept], self._learning_rates[kept]
        self._added = [self._added[slot] for slot in slots]
        self._replays = [self._replays[slot] for slot in slots] if self._replays else []
        if self._rows is not None:
            self._rows = self._rows[kept]
        self.slots = len(slots)

    def agent(self, slot: int) -> Any:
        return _agent(self.states, slot)

    def ring(self, slot: int) -> Ring:
        if self._rows is None:
            return self._replays[slot]
        return _DeviceRing(self._added[slot], self._capacity, lambda places: np.asarray(_take_from(self._rows, slot, places)))

    def restore(self, slot: int, agent: dict[str, NDArray[Any]], added: int, rows: Iterable[tuple[int, Floats]]) -> None:
        self.states = _put_agent(self.states, slot, from_arrays(self.agent(slot), agent))
        replay = Replay(self._capacity, self._config.row_size) if self._rows is not None else self._replays[slot]
        replay.restore(added, rows)
        self._added[slot] = added
        if self._rows is not None:
            self._rows = _put_into(self._rows, slot, replay.between(0, self._capacity))


@dataclass(frozen=True)
class _DeviceRing:
    """A slot's replay on the device; `take` gathers rows by their places in it."""

    added: int
    capacity: int
    take: Callable[[NDArray[np.int32]], Floats]

    def between(self, first: int, end: int) -> Floats:
        """See `checkpoint.Ring`."""
        count = end - first
        # whole powers of two: few shapes to compile for
        places = np.arange(first, first + (1 << max(count - 1, 0).bit_length())) % self.capacity
        return self.take(places.astype(np.int32))[:count]


def _free_memory() -> float:
    """Bytes of the device, or infinity where it does not say (a CPU)."""
    statistics = jax.devices()[0].memory_stats() or {}
    return float(statistics.get("bytes_limit", np.inf)) - float(statistics.get("bytes_in_use", 0))


@partial(jax.jit, static_argnums=(0, 1))
def _init(algorithm: Algorithm, config: Any, seeds: Any) -> Any:
    # one after the other: batched decompositions of wide matrices hang on a CPU (jaxlib 0.10)
    return jax.lax.map(partial(algorithm.init, config), seeds)


@partial(jax.jit, static_argnums=(0, 1))
def _act(algorithm: Algorithm, config: Any, states: Any, observations: Any, noise: Any) -> Any:
    return jax.vmap(partial(algorithm.act, config), (0, 0, None if noise is None else 0))(states, observations, noise)


@partial(jax.jit, static_argnums=(0, 1))
def _observe(algorithm: Algorithm, config: Any, states: Any, observations: Any) -> Any:
    assert algorithm.observe is not None
    return jax.vmap(partial(algorithm.observe, config))(states, observations)


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _update(
    algorithm: Algorithm,
    config: Any,
    states: Any,
    finite: Any,
    batches: Any,
    do_critic: Any,
    do_actor: Any,
    count: Any,
    learning_rates: Any,
) -> Any:
    states, now = jax.vmap(partial(algorithm.update, config), (0, 0, None, None, None, 0))(
        states, batches, do_critic, do_actor, count, learning_rates
    )
    return states, finite & now


@partial(jax.jit, static_argnums=(0, 1))
def _diagnose(algorithm: Algorithm, config: Any, states: Any, uniform: Any, newest: Any, validation: Any, seeds: Any) -> Any:
    return jax.vmap(partial(algorithm.diagnose, config))(states, uniform, newest, validation, seeds)


@partial(jax.jit, donate_argnums=0)
def _write(rows: Any, new: Any, where: Any) -> Any:
    return jax.vmap(lambda one, values, places: one.at[places].set(values, mode="drop"))(rows, new, where)


@jax.jit
def _take(rows: Any, indices: Any) -> Any:
    return jax.vmap(lambda one, drawn: one[drawn])(rows, indices)


@jax.jit
def _take_from(rows: Any, slot: Any, places: Any) -> Any:
    return rows[slot, places]


@partial(jax.jit, donate_argnums=0)
def _put_into(rows: Any, slot: Any, replay: Any) -> Any:
    return rows.at[slot].set(replay)


@jax.jit
def _agent(states: Any, slot: Any) -> Any:
    return jax.tree.map(lambda leaves: leaves[slot], states)


@partial(jax.jit, donate_argnums=0)
def _put_agent(states: Any, slot: Any, agent: Any) -> Any:
    return jax.tree.map(lambda leaves, leaf: leaves.at[slot].set(leaf), states, agent)
