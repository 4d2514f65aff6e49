"""`Estimate`: a number with its interval, as everything fitted or predicted carries one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.8


@dataclass(frozen=True)
class Estimate:
    """A value and the interval [low, high] that should hold the truth with probability `level`.

    A bound may be infinite or NaN where the draws don't settle it; `value` is NaN where there is no answer.
    """

    value: float
    low: float
    high: float
    level: float = LEVEL

    @classmethod
    def from_draws(cls, value: float, draws: ArrayLike, level: float = LEVEL) -> "Estimate":
        """Central interval of bootstrap draws, shape (n_draws,), widened where need be to hold the value itself."""
        array = np.asarray(draws, dtype=np.float64)
        array = array[~np.isnan(array)]
        if array.size == 0 or np.isnan(value):
            return cls(float(value), float("nan"), float("nan"), level)
        # the nearest draws, not between them: an infinite draw must not turn into NaN
        low = float(np.quantile(array, (1 - level) / 2, method="lower"))
        high = float(np.quantile(array, (1 + level) / 2, method="higher"))
        return cls(float(value), min(low, float(value)), max(high, float(value)), level)

    @classmethod
    def from_open_draws(cls, value: float, draws: ArrayLike, least: float = -np.inf) -> "Estimate":
        """`from_draws`, where NaN stands for a draw that leaves the number open: half of these count as `least`, half as ∞.

        All NaN, as where there are no draws to tell it by, gives an interval of NaN.
        """
        array = np.array(draws, dtype=np.float64)
        unknown = np.flatnonzero(np.isnan(array))
        if unknown.size < array.size:
            array[unknown[0::2]], array[unknown[1::2]] = np.inf, least
        return cls.from_draws(value, array)

    @property
    def holds_zero(self) -> bool:
        """Whether the sign is open."""
        dust = 1e-9 * max(abs(self.low), abs(self.high))  # of rounding
        return self.low <= dust and self.high >= -dust

    def to_dict(self) -> dict[str, float | None]:
        """Keys value, low, high, level; null for what is not finite (JSON has no infinity)."""
        return {key: _number(getattr(self, key)) for key in ("value", "low", "high", "level")}

    @classmethod
    def from_dict(cls, values: dict[str, float | None]) -> "Estimate":
        """The inverse of `to_dict`; null becomes NaN for the value, and an open bound for the ends."""
        value, low, high = (values[key] for key in ("value", "low", "high"))
        return cls(
            float("nan") if value is None else value,
            float("-inf") if low is None else low,
            float("inf") if high is None else high,
            values["level"] or LEVEL,
        )

    def __str__(self) -> str:
        dust = 1e-9 * max((abs(x) for x in (self.value, self.low, self.high) if np.isfinite(x)), default=0.0)
        value, low, high = (0.0 if abs(x) < dust else x for x in (self.value, self.low, self.high))
        if np.isnan(low) and np.isnan(high):
            return f"{short(value)} (no interval)"
        return f"{short(value)} [{short(low)}, {short(high)}]"


def estimates(values: NDArray[np.float64], draws: NDArray[np.float64]) -> list[Estimate]:
    """`Estimate.from_draws` of each of n values, with draws of shape (n_draws, n)."""
    return [Estimate.from_draws(float(value), draws[:, index]) for index, value in enumerate(values)]


def short(value: float) -> str:
    """A number as people read it: three digits, thousands as they are, larger ones as 2.17e5; whole numbers below 10,000 in full."""
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e5 or size < 0.0009995:  # as it will be rounded
        mantissa, exponent = f"{value:.2e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    elif size >= 999.5 and size < 10_000 and value == round(value):
        text = f"{value:.0f}"
    elif size >= 999.5:
        text = f"{round(value / 10 ** (int(np.log10(size)) - 2)) * 10 ** (int(np.log10(size)) - 2):.0f}"
    else:
        text = f"{value:.3g}"
    return text.replace("-", "−")


def _number(value: float) -> float | None:
    return round_digits(value) if np.isfinite(value) else None


def round_digits(value: float, digits: int = 10) -> float:
    """A float with so many significant digits: laws.json need not hold the last bits."""
    return float(f"{value:.{digits}g}")
