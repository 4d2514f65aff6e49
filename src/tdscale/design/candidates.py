"""What an adaptive sweep may run: σ × B × η of each task and size, and one step of the grid beyond the ends of B and η."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.arrays import Bools, Floats
from tdscale.design.records import CellKey, RoundRecord

Pair = tuple[int, float]
LARGEST_RATE = 0.5
# an additive recurrence of low discrepancy in the plane: powers of the inverse of the root of x³ = x + 1 (M. Roberts, 2018)
_STEP = np.array([0.7548776662466927, 0.5698402909980532])


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The cells that may be run. A *place* is a (task, σ), or (task, σ, size) with sizes.

    Places are numbered task by task, in the order of `utd`, those of one (task, σ) in the order of `sizes`.

    Attributes:
        tasks: names.
        utd: σ that may be run, rising; batch_size, learning_rate: rising.
        env_steps: limit of a run, by task.
        seeds: the most in a cell.
        answer_utd: σ at which B and η are wanted.
        beyond: whether one step of the grid beyond the ends of B and η may be run.
        largest_batch: no larger B is run.
        only: where not every σ × B × η of each task can be run, those cells that can; with sizes their names come last.
        sizes: N of each size by its name, rising; empty: a study without sizes.
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
    only: frozenset[CellKey] | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def places(self) -> list[tuple[str, float]]:
        """(task, σ) of each place; with sizes each stands once for each of them."""
        return [(task, utd) for task in self.tasks for utd in self.utd for _ in self.size_names]

    @property
    def size_names(self) -> list[str]:
        """Names of the sizes, N rising; one empty name without sizes."""
        return list(self.sizes) or [""]

    @property
    def place_sizes(self) -> list[str]:
        """Name of each place's size, empty without sizes."""
        return self.size_names * (len(self.tasks) * len(self.utd))

    @cached_property
    def _place_numbers(self) -> dict[tuple[str, float, str], int]:
        return {(*place, size): number for number, (place, size) in enumerate(zip(self.places, self.place_sizes, strict=True))}

    def place_of(self, task: str, utd: float, size: str = "") -> int | None:
        """Number of a place; None where it is none."""
        return self._place_numbers.get((task, utd, size))

    def cell(self, place: int, pair: Pair) -> CellKey:
        """The cell with this B and η at a place, by its number."""
        key = (*self.places[place], *pair)
        return (*key, self.place_sizes[place]) if self.sizes else key

    def where(self, key: CellKey) -> tuple[int, int] | None:
        """Numbers of a cell's place and pair; None where it is not a candidate."""
        task, utd, batch, rate = key[:4]
        place, pair = self.place_of(task, utd, key[4] if len(key) > 4 else ""), (batch, rate)
        return (place, self.pairs.index(pair)) if place is not None and pair in self.pairs else None

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
    def available(self) -> Bools:
        """Which pairs can be run at each place, shape (n_places, n_pairs)."""
        only = self.only
        if only is None:
            return np.ones((len(self.places), len(self.pairs)), dtype=bool)
        return np.array([[self.cell(place, pair) in only for pair in self.pairs] for place in range(len(self.places))])

    def without(self, cells: frozenset[CellKey]) -> "Candidates":
        """Without some cells, for example those that failed."""
        every = frozenset(self.cell(place, pair) for place in range(len(self.places)) for pair in self.pairs)
        return replace(self, only=(every if self.only is None else self.only) - cells)

    @cached_property
    def swept(self) -> tuple[int, ...]:
        """Which of B and η has more than one value."""
        return tuple(index for index, axis in enumerate((self.batch_size, self.learning_rate)) if len(axis) > 1)

    def spread(self, count: int, seed: int) -> list[list[Pair]]:
        """So many cells of the grid for each place, evenly spread over it, others at each σ and size of a task.

        Each task has a sequence of its own over (log B, log η), of low discrepancy from a random start; each σ and size gets the next
        points of it. A cell that has come up at the place already is passed over.
        """
        shape = np.array([len(self.batch_size), len(self.learning_rate)])
        grid = {pair: number for number, pair in enumerate(self.grid)}
        can = self.available[:, : len(grid)].reshape(len(self.tasks), len(self.utd) * len(self.size_names), -1)
        dealt: list[list[Pair]] = []
        for task in range(len(self.tasks)):
            point = np.random.default_rng([seed, task]).random(2)
            for possible in can[task]:
                found: list[Pair] = []
                while len(found) < min(count, possible.sum()):
                    point = (point + _STEP) % 1.0
                    b, r = (point * shape).astype(int)
                    pair = (self.batch_size[b], self.learning_rate[r])
                    if pair not in found and possible[grid[pair]]:
                        found.append(pair)
                dealt.append(found)
        return dealt


@dataclass(frozen=True, kw_only=True)
class AdaptiveSweep:
    """An adaptive sweep as it was run.

    Attributes:
        candidates: what could be run.
        rounds: in order.
        goal: expected regret at which it ends.
        ended: why it has ended, in a sentence; empty if it continues.
    """

    candidates: Candidates
    rounds: tuple[RoundRecord, ...]
    goal: float
    ended: str = ""


def _beyond(values: Sequence[float]) -> list[float]:
    """One step beyond either end, in logarithms; none of a single value."""
    return [values[0] ** 2 / values[1], values[-1] ** 2 / values[-2]] if len(values) > 1 else []
