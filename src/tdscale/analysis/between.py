"""The data law at a return between two fitted thresholds: log D is interpolated, in the estimate and in every draw."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import short
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.errors import UserError

# thresholds are printed rounded: one that is asked for so is the fitted one
_PRINTED = 0.6


@dataclass(frozen=True, kw_only=True)
class LawBetween(DataLaw):
    """log D_J(σ) = (1 − w)·log D_low(σ) + w·log D_high(σ), w = (J − J_low)/(J_high − J_low); the other fields are those of `above`.

    Attributes:
        below, above: the laws fitted at the thresholds on either side.
    """

    below: DataLaw
    above: DataLaw

    @property
    def weight(self) -> float:
        """w, from 0 at the threshold below to 1 at the one above."""
        return (self.threshold - self.below.threshold) / (self.above.threshold - self.below.threshold)

    @property
    def fitted(self) -> tuple[float, float]:
        """The thresholds on either side."""
        return self.below.threshold, self.above.threshold

    def predict(self, utd: ArrayLike, task: str | None = None) -> Floats:
        """D in env steps at σ of shape (n,): shape (n,)."""
        return mixed(self.below.predict(utd, task), self.above.predict(utd, task), self.weight)

    def predict_draws(self, utd: ArrayLike, task: str | None = None) -> Floats:
        """The same for every draw: shape (n_draws, n)."""
        return mixed(self.below.predict_draws(utd, task), self.above.predict_draws(utd, task), self.weight)

    def formula(self, task: str | None = None) -> str:
        """Which laws it lies between."""
        low, high = (short(level) for level in self.fitted)
        return f"D_J(σ) between the laws at J = {low} and {high}"


def mixed(low: Floats, high: Floats, weight: float) -> Floats:
    """Geometric mean of D at two thresholds; the one above counts `weight`."""
    return np.asarray(np.exp((1 - weight) * np.log(low) + weight * np.log(high)))


def law_between(below: DataLaw, above: DataLaw, threshold: float) -> LawBetween:
    """The law at a threshold between those of two laws."""
    fields = dict(above.__dict__) | {"threshold": threshold}
    return LawBetween(**fields, below=below, above=above)


def fitted_at(laws: ScalingLaws, threshold: float) -> DataLaw | None:
    """The law fitted at a threshold, or at one that differs by the rounding with which it is printed; None where there is none."""
    near = min(laws.data, key=lambda law: abs(law.threshold - threshold), default=None)
    return near if near is not None and abs(near.threshold - threshold) < _PRINTED else None


def law_at(laws: ScalingLaws, threshold: float | None) -> DataLaw:
    """The law at a threshold, fitted there or between two that were; None: the highest.

    Raises:
        UserError: if it lies beyond the thresholds that were fitted, or none was.
    """
    if not laws.data:
        raise UserError("no data law could be fitted; see the warnings of `tdscale fit`")
    if threshold is None:
        return laws.data[-1]
    if (fitted := fitted_at(laws, threshold)) is not None:
        return fitted
    levels = [law.threshold for law in laws.data]
    if not levels[0] < threshold < levels[-1]:
        known = f"from {levels[0]:.4g} to {levels[-1]:.4g}" if len(levels) > 1 else f"at {levels[0]:.4g} alone"
        raise UserError(f"--threshold: {threshold:g} lies beyond the returns that were fitted; there are laws {known}")
    place = int(np.searchsorted(levels, threshold))
    return law_between(laws.data[place - 1], laws.data[place], threshold)
