"""D and C along σ, within reach of what was run: what a plan chooses from."""

from dataclasses import dataclass

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.budget import minimum_on_grid, utd_grid
from tdscale.analysis.laws import DataLaw, ScalingLaws

# How far beyond the σ that were run an answer is sought, on either side
REACH = 4.0


def reach(law: DataLaw) -> tuple[float, float]:
    """The least and the largest σ that a plan may name."""
    seen = law.utd[np.isfinite(law.data).any(axis=0)]
    return float(seen.min() / REACH), float(seen.max() * REACH)


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """D, C on a grid of σ: the point estimate in row 0, draws behind; shape (1 + n_draws, n)."""

    utd: Floats
    data: Floats
    compute: Floats


def tradeoff(laws: ScalingLaws, law: DataLaw, task: str | None) -> Tradeoff:
    """D and C of a task, or (None) of the domain, at one threshold."""
    utd = utd_grid(*reach(law), 600)
    data = np.concatenate([law.predict(utd, task)[None], law.predict_draws(utd, task)])
    return Tradeoff(utd=utd, data=data, compute=laws.flops(utd, data, task))


def last_allowed(curves: Tradeoff, objective: Floats, limited: Floats, limit: float) -> Floats:
    """σ of least objective among those allowed, for each row; on the limit itself where the optimum lies against it. NaN where none is."""
    best = np.argmin(objective, axis=1)
    rows = np.arange(len(objective))
    log_utd = np.log(curves.utd)
    result = log_utd[best]
    with np.errstate(divide="ignore"):
        # below the warm-up C is nothing, far below any limit
        excess = np.maximum(np.log(limited) - np.log(limit), -700.0)
    for step in (1, -1):
        beside = np.clip(best + step, 0, len(log_utd) - 1)
        here, there = excess[rows, best], excess[rows, beside]
        crosses = (here <= 0) & (there > 0) & (beside != best)
        share = np.where(crosses, here, 0.0) / np.where(crosses, here - there, 1.0)
        result = np.where(crosses, result + share * (log_utd[beside] - log_utd[best]), result)
    return np.where(np.isfinite(objective.min(axis=1)), np.exp(result), np.nan)


def cheapest(laws: ScalingLaws, law: DataLaw, task: str | None, cost: float) -> tuple[Floats, Floats, Floats]:
    curves = tradeoff(laws, law, task)
    return minimum_on_grid(np.log(curves.utd), curves.compute + cost * curves.data)
