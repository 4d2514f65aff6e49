"""D and C along σ, as far beyond the σ that were run as the law can tell: what a plan chooses from."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdscale.analysis.arrays import Floats
from tdscale.analysis.budget import minimum_on_grid, utd_grid
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws

# How far beyond the σ that were run an answer is sought, on either side
REACH = 4.0
# A σ outside those that were run must save at least this share of what is to be least for each doubling of its distance from them
WORTHWHILE = 0.1
# σ at which the law is asked whether it can tell D; between two that it can, it can
_ASKED = 41

Kind = Literal["limit", "inside", "end", "none"]


def reach(law: DataLaw) -> tuple[float, float]:
    """The least and the largest σ that a plan may name."""
    low, high = law.range
    return low / REACH, high * REACH


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """D and C on a grid of σ: equal steps of its logarithm below, within and above the σ that were run, whose ends are on it.

    Attributes:
        utd: shape (n,).
        data, compute: the point estimate in row 0, draws behind; shape (1 + n_draws, n). C is NaN where it is not known.
        predictable: where the law can tell D (`DataLaw.refusal`), shape (n,).
        run: the least and the largest σ that were run.
    """

    utd: Floats
    data: Floats
    compute: Floats
    predictable: NDArray[np.bool_]
    run: tuple[float, float]

    def part(self, keep: NDArray[np.bool_]) -> "Tradeoff":
        """The part where `keep`, of shape (n,), is true: from the first such σ to the last."""
        inside = np.flatnonzero(keep)
        where = slice(inside[0], inside[-1] + 1) if inside.size else slice(0, 0)
        return Tradeoff(
            utd=self.utd[where], data=self.data[:, where], compute=self.compute[:, where], predictable=self.predictable[where], run=self.run
        )


def distance_price(utd: ArrayLike, run: tuple[float, float]) -> Floats:
    """What a σ outside those that were run counts more than it takes: 1/0.9 for each doubling of its distance from them; 1 inside."""
    at = np.asarray(utd, dtype=np.float64)
    far = np.maximum(np.maximum(run[0] / at, at / run[1]), 1.0)
    return np.asarray(far ** -np.log2(1 - WORTHWHILE))


def tradeoff(laws: ScalingLaws, law: DataLaw, task: str | None, least_batch_size: int) -> Tradeoff:
    """D and C of a task, or (None) of the domain, at one threshold, with B*(σ) where it is no less than the least B."""
    low, high = reach(law)
    run = law.range
    parts = [utd_grid(low, run[0], 150)[:-1], utd_grid(*run, 300), utd_grid(run[1], high, 150)[1:]]
    utd = np.concatenate(parts)
    data = np.concatenate([law.predict(utd, task)[None], law.predict_draws(utd, task)])
    asked = utd_grid(low, high, _ASKED)
    can_tell = np.array([law.refusal(float(at), task) is None for at in asked])
    place = np.interp(np.log(utd), np.log(asked), np.arange(_ASKED))
    predictable = can_tell[np.floor(place + 1e-9).astype(int)] & can_tell[np.ceil(place - 1e-9).astype(int)]
    compute = laws.compute_for(utd, data, task, least_batch_size=least_batch_size)
    return Tradeoff(utd=utd, data=data, compute=compute, predictable=largest_stretch(predictable), run=run)


def largest_stretch(predictable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Only the longest run of true entries: a plan does not jump over σ at which the law can't tell."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], predictable.astype(int), [0]])))
    kept = np.zeros_like(predictable)
    if edges.size:
        starts, ends = edges[::2], edges[1::2]
        longest = int(np.argmax(ends - starts))
        kept[starts[longest] : ends[longest]] = True
    return kept


def least_within(curves: Tradeoff, objective: Floats, limited: Floats, limit: float) -> tuple[Floats, Kind]:
    """σ of the least `objective` among those with `limited` ≤ `limit`, for each row.

    Args:
        curves: the σ to choose from, at least five.
        objective, limited: shape (1 + n_draws, n).
        limit: upper bound of `limited`.

    Returns:
        σ, shape (1 + n_draws,), NaN where no σ is allowed; on the limit itself where the optimum lies against it. And what
        keeps row 0 where it is: "limit", "inside" (a minimum), "end" (of the σ to choose from) or "none" (nothing is allowed).
    """
    log_utd = np.log(curves.utd)
    free = np.log(minimum(curves, objective)[0])
    free_best = np.argmin(objective, axis=1)
    held = np.where(limited <= limit, objective, np.inf)
    best = np.argmin(held, axis=1)
    rows = np.arange(len(held))
    with np.errstate(divide="ignore"):
        # below the warm-up C is nothing, far below any limit
        excess = np.maximum(np.log(limited) - np.log(limit), -700.0)
    result, against = np.where(best == free_best, free, log_utd[best]), np.zeros(len(rows), dtype=bool)
    for step in (1, -1):
        beside = np.clip(best + step, 0, len(log_utd) - 1)
        here, there = excess[rows, best], excess[rows, beside]
        crosses = (here <= 0) & (there > 0) & (beside != best)
        share = np.where(crosses, here, 0.0) / np.where(crosses, here - np.where(crosses, there, 0.0), 1.0)
        edge = log_utd[best] + share * (log_utd[beside] - log_utd[best])
        # better beside, where the limit is broken, or a minimum between here and there: the answer lies on the limit
        wanted = np.where(best == free_best, step * (free - edge) > 0, objective[rows, beside] < objective[rows, best])
        result = np.where(crosses & wanted, edge, result)
        against |= crosses & wanted
    allowed = np.isfinite(held.min(axis=1))
    kind: Kind = "none" if not allowed[0] else "limit" if against[0] else "end" if best[0] in (0, len(log_utd) - 1) else "inside"
    return np.where(allowed, np.exp(result), np.nan), kind


def cheapest(curves: Tradeoff, cost: float) -> tuple[Floats, Floats]:
    """σ of the least F = C + δ·D and that F, for each row: each of shape (1 + n_draws,)."""
    return minimum(curves, curves.compute + cost * curves.data)


def minimum(curves: Tradeoff, values: Floats) -> tuple[Floats, Floats]:
    """σ of the least value and that value, for each row of shape (n,); `values` are smooth below, within and above the σ that were run."""
    best = np.argmin(values, axis=1)
    utd, lowest = curves.utd[best], values[np.arange(len(values)), best]
    low, high = np.array(curves.run) * (1 - 1e-9), np.array(curves.run) * (1 + 1e-9)
    for part in (curves.utd <= high[0], (curves.utd >= low[0]) & (curves.utd <= high[1]), curves.utd >= low[1]):
        if part.sum() < 5:
            continue
        log_utd, least, _ = minimum_on_grid(np.log(curves.utd[part]), np.maximum(values[:, part], 1e-300))
        utd, lowest = np.where(least < lowest, np.exp(log_utd), utd), np.minimum(least, lowest)
    return utd, lowest
