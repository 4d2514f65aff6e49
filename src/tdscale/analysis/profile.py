"""What the runs alone settle of the data law's shape: profile likelihoods, no prior."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.data_law import ALPHA_BOUNDS, ShapeFit, squares_of_shapes

Floats = NDArray[np.float64]

# −2·log likelihood ratio of an 80 % interval of one parameter (χ² of one degree of freedom)
_DEVIANCE = 1.642
_N_ALPHA, _N_TAU = 140, 60
_TAU = (-9.0, 12.0)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The likelihood's rise along one parameter, the other ones at their best for each value.

    Attributes:
        alpha: values of α, shape (n,); alpha_deviance: −2·log likelihood above its least there, same shape.
        tau: values of log β^α in units of the middle σ, shape (m,); tau_deviance likewise. The law is a pure power law at the upper end
            of τ and a constant at the lower one.
    """

    alpha: Floats
    alpha_deviance: Floats
    tau: Floats
    tau_deviance: Floats

    @property
    def alpha_range(self) -> tuple[float, float]:
        """The 80 % likelihood interval of α, on the grid."""
        inside = np.flatnonzero(self.alpha_deviance <= _DEVIANCE)
        # to the next point outside
        return float(self.alpha[max(inside[0] - 1, 0)]), float(self.alpha[min(inside[-1] + 1, len(self.alpha) - 1)])

    @property
    def alpha_settled(self) -> bool:
        """Whether the interval of α ends before the range searched does, on both sides."""
        return bool(self.alpha_deviance[0] > _DEVIANCE and self.alpha_deviance[-1] > _DEVIANCE)

    @property
    def power_law_will_do(self) -> bool:
        """Whether D_min = 0, a pure power law, lies within the interval."""
        return bool(self.tau_deviance[-1] <= _DEVIANCE)

    @property
    def constant_will_do(self) -> bool:
        """Whether a D that does not depend on σ lies within the interval."""
        return bool(self.tau_deviance[0] <= _DEVIANCE)


def profile_shape(utd: Floats, fit: ShapeFit, noise: float) -> Profile:
    """Profiles of α and τ, on a fine grid of both.

    Args:
        utd: σ, shape (n_utds,).
        fit: of one draw, the point estimate; its filled points are what the likelihood is of.
        noise: standard deviation of log D about the law.
    """
    log_alpha, tau = np.log(np.geomspace(*ALPHA_BOUNDS, _N_ALPHA)), np.linspace(*_TAU, _N_TAU)
    shapes = np.stack([axis.ravel() for axis in np.meshgrid(log_alpha, tau, indexing="ij")])
    squares = squares_of_shapes(utd, fit, shapes)[0].reshape(_N_ALPHA, _N_TAU)
    deviance = (squares - squares.min()) / noise**2
    return Profile(alpha=np.exp(log_alpha), alpha_deviance=deviance.min(axis=1), tau=tau, tau_deviance=deviance.min(axis=0))
