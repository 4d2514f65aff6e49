"""What an adaptive sweep may run: σ × B × η of each task, and one step of the grid beyond the ends of B and η."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.arrays import Floats

Pair = tuple[int, float]
Key = tuple[str, float, int, float]  # task, σ, B, η
LARGEST_RATE = 0.5
# an additive recurrence of low discrepancy in the plane: powers of the inverse of the root of x³ = x + 1 (M. Roberts, 2018)
_STEP = np.array([0.7548776662466927, 0.5698402909980532])


@dataclass(frozen=True, kw_only=True)
class CellRequest:
    """A cell that is to be run.

    Attributes:
        task, utd, batch_size, learning_rate: which one.
        seeds: in all, with those that it has already.
        env_steps: where it is cut if it has not reached the threshold by then.
    """

    task: str
    utd: float
    batch_size: int
    learning_rate: float
    seeds: int
    env_steps: int

    @property
    def key(self) -> Key:
        """Which cell it is."""
        return self.task, self.utd, self.batch_size, self.learning_rate


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The cells that may be run. A *place* is a (task, σ); places are numbered task by task, in the order of `utd`.

    Attributes:
        tasks: names.
        utd: σ that may be run, rising; batch_size, learning_rate: rising.
        env_steps: limit of a run, by task.
        seeds: the most in a cell.
        answer_utd: σ at which B and η are wanted.
        beyond: whether one step of the grid beyond the ends of B and η may be run.
        largest_batch: no larger B is run.
        excluded: cells that are not asked for.
    """

    tasks: tuple[str, ...]
    utd: tuple[float, ...]
    batch_size: tuple[int, ...]
    learning_rate: tuple[float, ...]
    env_steps: Mapping[str, int]
    seeds: int = 3
    answer_utd: tuple[float, ...] = ()
    beyond: bool = True
    largest_batch: int = 1 << 20
    excluded: frozenset[Key] = frozenset()

    @property
    def places(self) -> list[tuple[str, float]]:
        """(task, σ) of each place."""
        return [(task, utd) for task in self.tasks for utd in self.utd]

    @cached_property
    def grid(self) -> list[Pair]:
        """(B, η) of the grid."""
        return [(batch, rate) for batch in self.batch_size for rate in self.learning_rate]

    @cached_property
    def pairs(self) -> list[Pair]:
        """(B, η) that may be run: the grid first, then what lies one step beyond it."""
        if not self.beyond:
            return self.grid
        batches = [*self.batch_size, *(round(b) for b in _beyond(self.batch_size) if 1 <= round(b) <= self.largest_batch)]
        rates = [*self.learning_rate, *(float(f"{rate:.3g}") for rate in _beyond(self.learning_rate) if rate <= LARGEST_RATE)]
        every = [(batch, rate) for batch in dict.fromkeys(batches) for rate in dict.fromkeys(rates)]
        return self.grid + [pair for pair in every if pair not in self.grid]

    @cached_property
    def log_pairs(self) -> Floats:
        """log of `pairs`, shape (n_pairs, 2)."""
        return np.log(np.array(self.pairs, dtype=np.float64))

    @cached_property
    def outside(self) -> NDArray[np.int64]:
        """−1, 0 or 1 for each pair and hyperparameter: below the grid, within it, above it, shape (n_pairs, 2)."""
        axes = (self.batch_size, self.learning_rate)
        return np.array([[(v > axis[-1]) * 1 - (v < axis[0]) * 1 for v, axis in zip(pair, axes, strict=True)] for pair in self.pairs])

    @cached_property
    def swept(self) -> tuple[int, ...]:
        """Which of B and η has more than one value."""
        return tuple(index for index, axis in enumerate((self.batch_size, self.learning_rate)) if len(axis) > 1)

    def spread(self, count: int, seed: int) -> list[list[Pair]]:
        """So many cells of the grid for each place, evenly spread over it, others at each σ of a task.

        Each task has a sequence of its own over (log B, log η), of low discrepancy from a random start; each σ gets the next points of
        it. A cell that has come up at the place already is passed over.
        """
        shape = np.array([len(self.batch_size), len(self.learning_rate)])
        count = min(count, len(self.grid))
        dealt: list[list[Pair]] = []
        for task in range(len(self.tasks)):
            point = np.random.default_rng([seed, task]).random(2)
            for _ in self.utd:
                found: list[Pair] = []
                while len(found) < count:
                    point = (point + _STEP) % 1.0
                    b, r = (point * shape).astype(int)
                    pair = (self.batch_size[b], self.learning_rate[r])
                    if pair not in found:
                        found.append(pair)
                dealt.append(found)
        return dealt


def _beyond(values: Sequence[float]) -> list[float]:
    """One step beyond either end, in logarithms; none of a single value."""
    return [values[0] ** 2 / values[1], values[-1] ** 2 / values[-2]] if len(values) > 1 else []
