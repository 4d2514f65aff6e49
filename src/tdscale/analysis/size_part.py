"""How B* and η* change with N, the parameters of the critics: a factor on their laws over σ."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import Estimate, round_digits, short


@dataclass(frozen=True, kw_only=True)
class SizePart:
    """The factor (1 + level)/(level + (N/reference)^(−exponent)) on a law over σ: 1 at N = reference.

    With a level it is ∝ 1/(1 + b·N^(−β)): it rises with N and levels off. With a level of 0 it is the power law (N/reference)^exponent.

    Attributes:
        exponent: β, or the slope in log N where the level is 0; exponent_draws of shape (n_draws,).
        level: 1/(b·reference^(−β)); level_draws of shape (n_draws,).
        reference: N of the law without this factor, the geometric mean of the places that it was fitted to.
        model_sizes: N of the points, rising, shape (n_sizes,).
    """

    exponent: float
    exponent_draws: Floats
    level: float
    level_draws: Floats
    reference: float
    model_sizes: Floats

    def factor(self, model_size: ArrayLike | None) -> Floats:
        """At N of any shape; None: 1, at the reference."""
        return self._factor(self.exponent, self.level, self._log(model_size))

    def factor_draws(self, model_size: ArrayLike | None) -> Floats:
        """The same for every draw: shape (n_draws, …)."""
        n = self._log(model_size)
        shape = (-1, *(1,) * n.ndim)
        return self._factor(self.exponent_draws.reshape(shape), self.level_draws.reshape(shape), n)

    def _log(self, model_size: ArrayLike | None) -> Floats:
        return np.asarray(np.log(np.asarray(self.reference if model_size is None else model_size, dtype=np.float64) / self.reference))

    @staticmethod
    def _factor(exponent: ArrayLike, level: ArrayLike, n: Floats) -> Floats:
        # (1 + E)/(E + e^(−β·n)), in logarithms so that no power overflows; a law without draws has NaN
        with np.errstate(divide="ignore", invalid="ignore"):
            below = np.logaddexp(np.log(level), -np.asarray(exponent) * n)
        return np.asarray(np.exp(np.log1p(level) - below))

    @property
    def slope(self) -> Estimate:
        """Of the log of the best value over log N at the reference, with its interval."""
        return Estimate.from_draws(self.exponent / (1 + self.level), self.exponent_draws / (1 + self.level_draws))

    @property
    def identified(self) -> bool:
        """Whether the interval of the slope holds one sign only."""
        return not np.isnan(self.slope.low) and not self.slope.holds_zero

    def nearest(self, model_size: float) -> int:
        """Index of the size of the points that is nearest to N, in logarithms."""
        return int(np.argmin(np.abs(np.log(self.model_sizes / model_size))))

    def formula(self, coefficient: float) -> tuple[float, str]:
        """What a law's coefficient at the reference becomes in a formula with N, and the factor as text: "·N^0.1", or "/(1 + b·N^−0.3)"."""
        power = short(round(self.exponent, 12))
        if self.level == 0:
            return coefficient * self.reference ** (-self.exponent), f"·N^{power}"
        # b = reference^β/E
        text = f"/(1 + {short(self.reference**self.exponent / self.level)}·N^{short(round(-self.exponent, 12))})"
        return coefficient * (1 + self.level) / self.level, text

    def to_dict(self) -> dict[str, Any]:
        """N of the sizes; the slope in log N at their middle with its interval; β; b, None for a power law."""
        b = self.reference**self.exponent / self.level if self.level else None
        return {
            "model_sizes": [round_digits(float(size)) for size in self.model_sizes],
            "reference": round_digits(self.reference),
            "slope": self.slope.to_dict(),
            "exponent": Estimate.from_draws(self.exponent, self.exponent_draws).to_dict(),
            "b": None if b is None else round_digits(b),
        }
