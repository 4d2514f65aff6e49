"""Forms of the data law with model size, D_J(σ, N): members of the protocol of `forms.py` in two coordinates, log σ and log N.

At one N each of them is a form of D_J(σ): `SizeForm.at_size` gives it. `size_law.py` combines them.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import short
from tdscale.analysis.forms import HELD, OFFSET, POWER, Form, Search, grid_points


class SizeForm(Form):
    """A form of D_J(σ, N). Where `Form` says log σ of shape (n,), here stand log σ and log N, shape (2, n).

    Attributes:
        sliced: the form of D_J(σ) that it is at one N.
        named: the parameters as `Form.described` gives them for people.
    """

    sliced: ClassVar[Form]

    @abstractmethod
    def at_size(self, log_size: float, log_scale: Floats, parameters: Floats) -> tuple[Floats, Floats]:
        """The law at one N: log scale, shape (...), and parameters, shape (..., n), of `sliced`."""


class _Knees(SizeForm):
    """Both knees, with parameters α, log a^α, β, log b^β; searched for in (log α, log a^α, log β, log b^β).

    Prior: as for σ alone. σ and N are chosen so that they matter, so that the knees lie about the middle of what is run; log α and log β
    are normal about 0.
    """

    _EXPONENT, _RATIO = (0.05, 5.0), (-9.0, 12.0)

    parameters: ClassVar[tuple[str, ...]] = ("alpha", "log_ratio", "beta", "log_size_ratio")
    belief = 2.0
    least_utds = 2
    search = Search(
        lower=np.array([np.log(_EXPONENT[0]), _RATIO[0]] * 2),
        upper=np.array([np.log(_EXPONENT[1]), _RATIO[1]] * 2),
        starts=grid_points((np.linspace(np.log(0.1), np.log(3.0), 8), np.linspace(-5.0, 6.0, 12)) * 2),
        axes=(np.log(np.geomspace(0.05, 5.0, 20)), np.linspace(*_RATIO, 22)) * 2,
        # without a prior the descent may follow a valley in which D_min trades against both needs
        steps=100,
    )
    prior = np.array([0.5, 1.25, 0.5, 1.25])
    sliced = OFFSET

    def from_search(self, theta: Floats) -> Floats:
        return np.stack([np.exp(theta[..., 0]), theta[..., 1], np.exp(theta[..., 2]), theta[..., 3]], axis=-1)

    def moved(self, parameters: Floats, by: float | Floats) -> tuple[Floats, Floats]:
        by_utd, by_size = np.broadcast_to(np.asarray(by), 2)
        alpha, log_ratio, beta, log_size_ratio = np.moveaxis(parameters, -1, 0)
        moved = np.stack([alpha, log_ratio + alpha * by_utd, beta, log_size_ratio + beta * by_size], axis=-1)
        return moved, np.zeros(alpha.shape)

    def needs(self, coordinates: Floats, parameters: Floats) -> tuple[Floats, Floats]:
        """log (a/σ)^α and log (b/N)^β, each of shape (..., n)."""
        alpha, log_ratio, beta, log_size_ratio = (parameters[..., index, None] for index in range(4))
        return log_ratio - alpha * coordinates[0], log_size_ratio - beta * coordinates[1]

    def _by_search(self, coordinates: Floats, parameters: Floats, shares: tuple[Floats, Floats]) -> Floats:
        """Slopes by the search coordinates from those of the curve by `needs`."""
        utd, size = shares
        alpha, beta = parameters[..., 0, None], parameters[..., 2, None]
        return np.stack([-alpha * coordinates[0] * utd, utd, -beta * coordinates[1] * size, size], axis=-2)

    def described(self, log_scale: Floats, parameters: Floats) -> dict[str, Floats]:
        alpha, log_ratio, beta, log_size_ratio = np.moveaxis(parameters, -1, 0)
        return {
            "d_min": _exp(log_scale),
            "a": _exp(log_ratio / alpha),
            "alpha": alpha,
            "b": _exp(log_size_ratio / beta),
            "beta": beta,
        }


class Sum(_Knees):
    """D = D_min·(1 + (a/σ)^α + (b/N)^β): the follow-up's law (METHOD.md, section 7)."""

    name = "sum"
    title = "sum of both knees"

    def curve(self, log_utd: Floats, parameters: Floats) -> Floats:
        utd, size = self.needs(log_utd, parameters)
        return np.asarray(np.logaddexp(np.logaddexp(0.0, utd), size))

    def gradient(self, log_utd: Floats, parameters: Floats) -> Floats:
        utd, size = self.needs(log_utd, parameters)
        curve = np.logaddexp(np.logaddexp(0.0, utd), size)
        return self._by_search(log_utd, parameters, (np.exp(utd - curve), np.exp(size - curve)))

    def at_size(self, log_size: float, log_scale: Floats, parameters: Floats) -> tuple[Floats, Floats]:
        alpha, log_ratio, beta, log_size_ratio = np.moveaxis(parameters, -1, 0)
        more = np.logaddexp(0.0, log_size_ratio - beta * log_size)
        return log_scale + more, np.stack([alpha, log_ratio - more], axis=-1)

    def formula(self, named: Mapping[str, float]) -> str:
        needs = f"({short(named['a'])}/σ)^{short(named['alpha'])} + ({short(named['b'])}/N)^{short(named['beta'])}"
        return f"{short(named['d_min'])}·(1 + {needs})"


class Product(_Knees):
    """D = D_min·(1 + (a/σ)^α)·(1 + (b/N)^β)."""

    name = "product"
    title = "product of both knees"

    def curve(self, log_utd: Floats, parameters: Floats) -> Floats:
        utd, size = self.needs(log_utd, parameters)
        return np.asarray(np.logaddexp(0.0, utd) + np.logaddexp(0.0, size))

    def gradient(self, log_utd: Floats, parameters: Floats) -> Floats:
        utd, size = self.needs(log_utd, parameters)
        shares = np.exp(utd - np.logaddexp(0.0, utd)), np.exp(size - np.logaddexp(0.0, size))
        return self._by_search(log_utd, parameters, shares)

    def at_size(self, log_size: float, log_scale: Floats, parameters: Floats) -> tuple[Floats, Floats]:
        more = np.logaddexp(0.0, parameters[..., 3] - parameters[..., 2] * log_size)
        return log_scale + more, np.asarray(parameters[..., :2])

    def formula(self, named: Mapping[str, float]) -> str:
        return (
            f"{short(named['d_min'])}·(1 + ({short(named['a'])}/σ)^{short(named['alpha'])})"
            f"·(1 + ({short(named['b'])}/N)^{short(named['beta'])})"
        )


class SizePower(SizeForm):
    """D = c·σ^(−α)·N^(−β)."""

    name = "size-power"
    title = "power law in both"
    parameters = ("alpha", "beta")
    belief = 1.0
    least_utds = 2
    sliced = POWER

    def curve(self, log_utd: Floats, parameters: Floats) -> Floats:
        return np.asarray(-(parameters[..., 0, None] * log_utd[0]) - parameters[..., 1, None] * log_utd[1])

    def gradient(self, log_utd: Floats, parameters: Floats) -> Floats:
        return np.broadcast_to(-log_utd, (*parameters.shape[:-1], *log_utd.shape))

    def moved(self, parameters: Floats, by: float | Floats) -> tuple[Floats, Floats]:
        return parameters, np.asarray(parameters @ np.broadcast_to(np.asarray(by), 2))

    def described(self, log_scale: Floats, parameters: Floats) -> dict[str, Floats]:
        return {"coefficient": _exp(log_scale), "exponent": -parameters[..., 0], "size_exponent": -parameters[..., 1]}

    def at_size(self, log_size: float, log_scale: Floats, parameters: Floats) -> tuple[Floats, Floats]:
        return log_scale - parameters[..., 1] * log_size, np.asarray(parameters[..., :1])

    def formula(self, named: Mapping[str, float]) -> str:
        return f"{short(named['coefficient'])}·σ^{short(named['exponent'])}·N^{short(named['size_exponent'])}"


class SizeHeld(Product):
    """The product as fitted, held constant beyond the σ and the N that were run."""

    name = "size-held"
    title = "no change beyond what was run"
    belief = 3.0
    sliced = HELD

    @property
    def base(self) -> Form:
        return PRODUCT

    def followed(self, utd: Floats, data: Floats, bound: Floats, law: Callable[[float], Floats]) -> tuple[float | Floats, float | Floats]:
        """From the least to the largest log σ and log N at which a task reached the threshold, each of shape (2, 1)."""
        reached = np.log(utd[:, np.isfinite(data).any(axis=0)])
        return reached.min(axis=1, keepdims=True), reached.max(axis=1, keepdims=True)


SUM, PRODUCT, SIZE_POWER, SIZE_HELD = Sum(), Product(), SizePower(), SizeHeld()
Sum.simpler = SIZE_POWER

# The forms that a prediction combines; the parameters of the first one are reported
SIZE_FORMS: tuple[SizeForm, ...] = (SUM, PRODUCT, SIZE_POWER, SIZE_HELD)


def _exp(value: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(value))
