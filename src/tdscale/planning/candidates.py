"""What can be run: UTD ratios that train as they stand, each with the batch size that goes with it, and what that takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.arrays import Floats
from tdscale.planning.question import LEAST_SHARE, Question
from tdscale.planning.tradeoff import distance_price

Bools = NDArray[np.bool_]

# times a UTD ratio is computed again, from a file or by hand, its last digits may differ
_SAME = 1e-9
_COUNTS = (1, 1.5, 2, 3, 4, 5, 6, 7)


def runnable_ratios(low: float, high: float, ran: Sequence[float] = ()) -> Floats:
    """UTD ratios between two that train as they stand: so many updates a step, one update every so many steps, 3 every 2; those that ran.

    Above 8 in steps of a quarter to an eighth: 10, 12, 14, 16, 20, …; below 1 their inverses. Shape (n,), rising.
    """
    counts = [*_COUNTS, *(base * 2**power for power in range(14) for base in (8, 10, 12, 14))]
    inverses = [1 / count for count in counts if count != 1.5]
    every = np.unique([*counts, *inverses, *ran])
    every = every[np.concatenate([[True], np.diff(np.log(every)) > _SAME])]
    return np.asarray(every[(every >= low * (1 - _SAME)) & (every <= high * (1 + _SAME))])


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Pairs of σ and B, and what they take.

    Attributes:
        utd: shape (n,).
        batch_size: rounded, shape (n,); None where B*(σ) is not known.
        data, compute, budget: the point estimate in row 0, draws behind, shape (1 + n_draws, n); NaN where not known.
        distance: what the distance from the σ that were run counts, shape (n,) (`distance_price`).
    """

    utd: Floats
    batch_size: NDArray[np.int64] | None
    data: Floats
    compute: Floats
    budget: Floats
    distance: Floats

    def batch(self, index: int) -> int | None:
        """B of one of them."""
        return None if self.batch_size is None else int(self.batch_size[index])

    def side(self, name: str) -> Floats:
        """What is called so: "data", "compute" or "budget"."""
        return {"data": self.data, "compute": self.compute, "budget": self.budget}[name]


def candidates(question: Question, utd: Floats, *, rounded_down: bool = False) -> Candidates:
    """What each σ of shape (n,) takes with B*(σ) rounded; `rounded_down`: with the multiple below it, where that is near enough.

    A σ whose multiple below is not near enough keeps the nearest one.
    """
    batch = question.batch_sizes(utd)
    if rounded_down and batch is not None:
        assert question.batch_law is not None
        wanted = question.batch_law.predict(utd, question.task)
        lower = np.where(batch > wanted, batch - question.multiple, batch)
        batch = np.where(lower >= np.maximum(LEAST_SHARE * wanted, question.multiple), lower, batch)
    data, compute, budget = question.needs(utd, batch)
    return Candidates(
        utd=utd, batch_size=batch, data=data, compute=compute, budget=budget, distance=distance_price(utd, question.law.range)
    )


def chances(values: Floats, limit: float) -> Floats:
    """Share of the draws behind row 0 that meet a limit, shape (n,); NaN without draws. `values`: shape (1 + n_draws, n)."""
    if len(values) == 1:
        return np.full(values.shape[1], np.nan)
    return np.asarray((values[1:] <= limit * (1 + 1e-9)).mean(axis=0))


def meets(values: Floats, limit: float, sure: float) -> Bools:
    """Whether a limit is met, shape (n,): by the estimate and, above an even chance, by as large a share of the draws."""
    met = values[0] <= limit * (1 + 1e-9)
    if len(values) > 1 and sure > 0.5:
        met &= chances(values, limit) >= sure - 1e-9
    return np.asarray(met)


def surely(values: Floats, sure: float) -> Floats:
    """What is not exceeded with a chance of `sure`, shape (n,): the estimate at an even chance, above it a quantile of the draws, too."""
    if len(values) == 1 or sure <= 0.5:
        return np.asarray(values[0])
    place = int(np.ceil(sure * (len(values) - 1) - 1e-9)) - 1
    return np.asarray(np.maximum(values[0], np.sort(values[1:], axis=0)[place]))


def best_of(options: Candidates, objective: Floats, allowed: Bools) -> int | None:
    """Index of the least `objective`, distance counted, among those allowed, of equals the nearest to the runs; None without any."""
    if not allowed.any():
        return None
    cost = np.where(allowed, objective * options.distance, np.inf)
    return int(np.lexsort((options.utd, options.distance, cost))[0])
