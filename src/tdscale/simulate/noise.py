"""Noise of curves: how seeds of one cell differ, and how a run's returns fluctuate (docs/simulate.md says what was measured).

A curve lives in *progress time* q. Without noise its return, as a share of the plateau, is f(q) = 1 − e^(−q). A seed is
faster or slower by log-normal factors, one up to a third of the plateau and another one after it (on the published Gym
runs the two are nearly unrelated), ends at a plateau of its own, and may diverge. The mean over infinitely many seeds is a
known function M(q), so that the sweep can be given any mean curve m(t) exactly: env step t is progress q = M⁻¹(m(t)).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# progress at a third of the plateau: there the second pace begins
_TURN = float(-np.log(2 / 3))
# a run that diverges does so at a progress drawn evenly up to here (98 % of the plateau)
_LAST_DIVERGENCE = 4.0
_NODES = 31


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Sizes of the noise.

    Attributes:
        early: sd of a seed's log pace up to a third of the plateau; late: after it, independent of it.
        plateau: sd of the return a seed ends at, as a share of the mean.
        fluctuation: sd of single logged returns around the seed's own curve, normalised return; smaller below 300.
        autocorrelation: of those from one logged row to the next.
        divergence: share of seeds whose loss turns NaN somewhere on the way.
        unequal: seeds end at a share of the cell's length drawn evenly from 1 − unequal to 1.
    """

    early: float = 0.0
    late: float = 0.0
    plateau: float = 0.0
    fluctuation: float = 0.0
    autocorrelation: float = 0.0
    divergence: float = 0.0
    unequal: float = 0.0

    def __post_init__(self) -> None:
        for name in ("early", "late", "plateau", "fluctuation"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; a standard deviation must be 0 or above")
        for name in ("autocorrelation", "divergence", "unequal"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 0 to below 1")

    def mean(self, progress: Floats) -> Floats:
        """M(q): mean return over infinitely many seeds as a share of the plateau, at progress of any shape."""
        known, mean = _mean_curve(self.early, self.late, self.divergence)
        return np.interp(progress, known, mean)

    def progress(self, share: Floats) -> Floats:
        """The inverse of `mean`: progress at which the mean over seeds is that share; infinity where it never is."""
        known, mean = _mean_curve(self.early, self.late, self.divergence)
        return np.where(share < mean[-1], np.interp(share, mean, known), np.inf)

    def seeds(self, count: int, rng: np.random.Generator) -> Floats:
        """What makes seeds differ, shape (count, 5): factors on early pace, late pace, plateau; progress at divergence; share of length."""
        normal = rng.standard_normal((count, 3)) * [self.early, self.late, self.plateau]
        # of a stream of their own: more seeds must not change those there are
        uniform = rng.spawn(1)[0].random((count, 3))
        diverges = np.where(uniform[:, 0] < self.divergence, _LAST_DIVERGENCE * uniform[:, 1], np.inf)
        return np.column_stack([np.exp(normal[:, :2]), np.maximum(1 + normal[:, 2], 0.01), diverges, 1 - self.unequal * uniform[:, 2]])

    def fluctuations(self, level: Floats, rng: np.random.Generator) -> Floats:
        """Deviations of logged returns, shape (n_seeds, n_steps) as that of `level`, the seeds' own curves in normalised return."""
        normal = rng.standard_normal(level.shape)
        if self.autocorrelation:
            normal[:, 1:] *= np.sqrt(1 - self.autocorrelation**2)
            # Σ_k ρ^k·L^k = (1 + ρ·L)(1 + ρ²·L²)(1 + ρ⁴·L⁴)…, L the shift by a row
            factor, shift = self.autocorrelation, 1
            while shift < normal.shape[1] and factor > 1e-12:
                normal[:, shift:] += factor * normal[:, :-shift]
                factor, shift = factor**2, 2 * shift
        # near an idle policy's return there is little that could vary
        return self.fluctuation * np.clip(level / 300, 0.15, 1) * normal


def pace(progress: Floats, early: Floats, late: Floats) -> Floats:
    """A seed's own progress where the cell's is `progress`: early and late pace, of broadcasting shapes."""
    turn = _TURN / early
    return np.where(progress <= turn, early * progress, _TURN + late * (progress - turn))


@lru_cache(maxsize=64)
def _mean_curve(early: float, late: float, divergence: float) -> tuple[Floats, Floats]:
    """M on a grid of progress: mean over both paces by Gauss–Hermite quadrature, over divergence by integration along q."""
    grid = np.concatenate([[0.0], np.geomspace(1e-4, 200.0, 600)])
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    mean = np.zeros_like(grid)
    for node, weight in zip(nodes, weights, strict=True):
        own = pace(grid, np.exp(early * node), np.exp(late * nodes[:, None]))
        mean += weight * (weights @ -np.expm1(-own))
    if divergence:
        # a seed that diverges at q' stays at M(q'): the mean of M over q', up to q, and M(q) for those that diverge later
        inside = np.minimum(grid, _LAST_DIVERGENCE)
        steps = np.diff(inside) * (mean[1:] + mean[:-1]) / 2
        stopped = np.concatenate([[0.0], np.cumsum(steps)]) / _LAST_DIVERGENCE
        mean = (1 - divergence) * mean + divergence * (stopped + (1 - inside / _LAST_DIVERGENCE) * mean)
    return grid, np.maximum.accumulate(mean)


# "medium" is the size of the published Gym runs (gym_ours); "low" half of it; "high" half as much again, and what goes wrong besides
NOISE: dict[str, Noise] = {
    "low": Noise(early=0.1, late=0.22, plateau=0.045, fluctuation=60.0),
    "medium": Noise(early=0.2, late=0.45, plateau=0.09, fluctuation=120.0),
    "high": Noise(early=0.3, late=0.7, plateau=0.13, fluctuation=180.0, autocorrelation=0.5, divergence=0.03, unequal=0.2),
}
