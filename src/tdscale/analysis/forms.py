"""Forms of the data law D_J(σ): the functional shapes that are fitted, weighed and combined in a prediction.

A form is one subclass of `Form` and one entry in `FORMS`. `form_fit.py` fits forms, `form_weights.py` weighs them,
`data_law.py` puts them together, and `fitted_laws.DataLaw` predicts with them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from pydantic import InstanceOf

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import short

# −2·log likelihood ratio of an 80 % interval of one parameter (χ² of one degree of freedom)
DEVIANCE = 1.642


def grid_points(axes: Sequence[Floats]) -> Floats:
    """Every point of the grid with these axes, the last one running fastest: shape (n_axes, n_points)."""
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where the parameters of a form that is not linear are searched for.

    Attributes:
        lower, upper: bounds of the search coordinates, shape (n_parameters,).
        starts: the points tried first; the best one starts the descent. Shape (n_parameters, n_points).
        axes: by parameter, the values at which its likelihood profile is drawn, in the order of the parameters.
        steps: of the descent, at most.
    """

    lower: Floats
    upper: Floats
    starts: Floats
    axes: tuple[Floats, ...]
    steps: int = 30


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How fast the likelihood falls along each parameter of a form, with the other parameters at their best. No prior.

    Attributes:
        values: by parameter's name, its values in rising order, shape (n,).
        deviance: by parameter's name, −2·log likelihood above its least value, shape (n,).
    """

    values: Mapping[str, Floats]
    deviance: Mapping[str, Floats]

    def interval(self, name: str) -> tuple[float, float]:
        """The 80 % likelihood interval of a parameter, out to the next value outside it."""
        values, inside = self.values[name], np.flatnonzero(self.deviance[name] <= DEVIANCE)
        return float(values[max(inside[0] - 1, 0)]), float(values[min(inside[-1] + 1, len(values) - 1)])

    def holds_low(self, name: str) -> bool:
        """Whether the interval reaches the lower end of the values searched."""
        return bool(self.deviance[name][0] <= DEVIANCE)

    def holds_high(self, name: str) -> bool:
        """Whether the interval reaches the upper end of the values searched."""
        return bool(self.deviance[name][-1] <= DEVIANCE)


class Form(ABC):
    """One shape of the data law: log D = log scale[task] + curve(log σ).

    The curve's parameters are shared by the tasks, except that each task may have its own value of one of them. Arrays of
    parameters have a last axis of length n_parameters. The fit searches in coordinates of its own ("search coordinates"),
    in which the prior is normal about 0; `from_search` turns them into parameters.

    Attributes:
        name: in laws.json and in tables.
        title: in a sentence: "20% <title>".
        parameters: names of the curve's parameters, as laws.json has them.
        belief: weight before any error is seen, relative to that of the other forms.
        least_utds: how many different σ a fit needs; 0 if what no run tells is 0.
        search: where to search; None for a curve that is linear in its search coordinates, which is fitted exactly.
        prior: standard deviations of the search coordinates, shape (n_parameters,); None for no prior.
        of_task: index of the parameter that each task has of its own, a positive one whose search coordinate is its logarithm;
            None if tasks share the whole curve.
        simpler: the form that fits as well where the runs do not identify this one.
        zeros: further columns that laws.json has for this form, always 0.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    belief: ClassVar[float]
    least_utds: ClassVar[int] = 0
    search: ClassVar[Search | None] = None
    prior: ClassVar[Floats | None] = None
    of_task: ClassVar[int | None] = None
    simpler: "ClassVar[Form | None]" = None
    zeros: ClassVar[tuple[str, ...]] = ()

    @property
    def base(self) -> "Form":
        """The form whose fitted parameters this one takes: itself, unless it only changes how another one is continued."""
        return self

    @abstractmethod
    def curve(self, log_utd: Floats, parameters: Floats) -> Floats:
        """log D − log scale at log σ of shape (n,), for parameters of shape (..., n_parameters): shape (..., n)."""

    @abstractmethod
    def gradient(self, log_utd: Floats, parameters: Floats) -> Floats:
        """Derivatives of the curve by the search coordinates, shape (..., n_parameters, n)."""

    def task_gradient(self, log_utd: Floats, parameters: Floats) -> Floats:
        """Derivative of the curve by the search coordinate of the task's own parameter, shape (..., n)."""
        assert self.of_task is not None
        return self.gradient(log_utd, parameters)[..., self.of_task, :]

    def from_search(self, theta: Floats) -> Floats:
        """Parameters from search coordinates, both of shape (..., n_parameters)."""
        return theta

    @abstractmethod
    def moved(self, parameters: Floats, by: float | Floats) -> tuple[Floats, Floats]:
        """The same curve with log σ measured from a point that lies `by` lower.

        Returns:
            Its parameters, shape (..., n_parameters), and what log scale gains, shape (...).
        """

    def followed(self, utd: Floats, data: Floats, bound: Floats, law: Callable[[float], Floats]) -> tuple[float | Floats, float | Floats]:
        """The least and the largest log σ between which the curve is followed; beyond them the form is constant.

        Args:
            utd: σ, shape (n_utds,).
            data: D, shape (n_tasks, n_utds); infinity where censored, NaN where missing.
            bound: last env step seen, same shape.
            law: log D of each task at one log σ by the curve, shape (n_tasks,).
        """
        return -np.inf, np.inf

    def not_identified(self, profile: Profile) -> tuple[str, str] | None:
        """Code and message of the warning that the runs alone do not identify this form; {where} stands for J. None if they do."""
        return None

    @abstractmethod
    def described(self, log_scale: Floats, parameters: Floats) -> dict[str, Floats]:
        """Scale and parameters by the names and in the units that people read, each of the shape of `log_scale`."""

    @abstractmethod
    def formula(self, named: Mapping[str, float]) -> str:
        """The law as text, with the values that `described` names, from "D_J(σ) = " on."""


class Offset(Form):
    """D = D_min·(1 + (σ/β)^(−α)) (equations 4.1, D.5), with parameters α and log β^α; searched for in (log α, log β^α).

    Prior: α is 1 where a task needs a certain number of updates whatever the data, which is what a law of this form says far
    below β. So log α is normal about 0. σ is chosen so that it matters: β lies about the middle of the σ that are run, so
    that log β^α, with σ measured from there, is normal about 0, too. Where the runs say more, they decide.
    """

    # α and log β^α stay within what curves over a factor of 10⁵ in σ can tell apart
    _ALPHA, _RATIO = (0.05, 5.0), (-9.0, 12.0)

    name = "offset"
    title = "offset law"
    parameters: ClassVar[tuple[str, ...]] = ("alpha", "log_ratio")
    belief = 4.0
    least_utds = 3
    search = Search(
        lower=np.array([np.log(_ALPHA[0]), _RATIO[0]]),
        upper=np.array([np.log(_ALPHA[1]), _RATIO[1]]),
        starts=grid_points((np.linspace(np.log(_ALPHA[0]), np.log(_ALPHA[1]), 36), np.linspace(-7.0, 10.0, 52))),
        axes=(np.log(np.geomspace(*_ALPHA, 140)), np.linspace(*_RATIO, 60)),
    )
    prior = np.array([0.5, 1.25])
    of_task = 0

    def curve(self, log_utd: Floats, parameters: Floats) -> Floats:
        return np.asarray(np.logaddexp(0.0, parameters[..., 1, None] - parameters[..., 0, None] * log_utd))

    def gradient(self, log_utd: Floats, parameters: Floats) -> Floats:
        alpha = parameters[..., 0, None]
        share = 0.5 * (1 + np.tanh((parameters[..., 1, None] - alpha * log_utd) / 2))
        return np.stack([-alpha * log_utd * share, share], axis=-2)

    def task_gradient(self, log_utd: Floats, parameters: Floats) -> Floats:
        # as the first row of `gradient`; another formula for the share would change the last digits of laws.json
        fall = parameters[..., 0, None] * log_utd
        return np.asarray(-fall / (1 + np.exp(np.clip(fall - parameters[..., 1, None], -500, 500))))

    def from_search(self, theta: Floats) -> Floats:
        return np.stack([np.exp(theta[..., 0]), theta[..., 1]], axis=-1)

    def moved(self, parameters: Floats, by: float | Floats) -> tuple[Floats, Floats]:
        alpha, log_ratio = parameters[..., 0], parameters[..., 1]
        return np.stack([alpha, log_ratio + alpha * by], axis=-1), np.zeros(alpha.shape)

    def not_identified(self, profile: Profile) -> tuple[str, str] | None:
        if profile.holds_low("log_ratio"):
            return "constant", "D does not clearly fall with σ at {where}: a constant fits nearly as well"
        if profile.holds_high("log_ratio"):
            message = "D_min is not identified at {where}: a pure power law fits nearly as well, D falls with σ as far as was run"
            return "d-min-not-identified", message
        if profile.holds_low("alpha") or profile.holds_high("alpha"):
            return "alpha-not-identified", "α is not identified at {where}: the σ that were run don't settle the law's shape"
        return None

    def described(self, log_scale: Floats, parameters: Floats) -> dict[str, Floats]:
        alpha, log_ratio = parameters[..., 0], parameters[..., 1]
        return {"d_min": _exp(log_scale), "beta": _exp(log_ratio / alpha), "alpha": alpha}

    def formula(self, named: Mapping[str, float]) -> str:
        return f"{short(named['d_min'])}·(1 + (σ/{short(named['beta'])})^−{short(named['alpha'])})"


class Power(Form):
    """D = c·σ^(−γ), with γ, named alpha in laws.json, as its parameter: the offset law's limit for σ far below β."""

    name = "power"
    title = "pure power law"
    parameters = ("alpha",)
    belief = 1.0
    zeros = ("log_ratio",)

    def curve(self, log_utd: Floats, parameters: Floats) -> Floats:
        return np.asarray(-(parameters[..., 0, None] * log_utd))

    def gradient(self, log_utd: Floats, parameters: Floats) -> Floats:
        return np.broadcast_to(-log_utd, (*parameters.shape, len(log_utd)))

    def moved(self, parameters: Floats, by: float | Floats) -> tuple[Floats, Floats]:
        return parameters, parameters[..., 0] * by

    def described(self, log_scale: Floats, parameters: Floats) -> dict[str, Floats]:
        return {"coefficient": _exp(log_scale), "exponent": -parameters[..., 0]}

    def formula(self, named: Mapping[str, float]) -> str:
        return f"{short(named['coefficient'])}·σ^{short(named['exponent'])}"


class Held(Offset):
    """The offset law as fitted, held constant beyond the σ that were run."""

    name = "held"
    title = "no change beyond the σ that were run"
    belief = 1.0

    @property
    def base(self) -> Form:
        return OFFSET

    def followed(self, utd: Floats, data: Floats, bound: Floats, law: Callable[[float], Floats]) -> tuple[float, float]:
        """From the least to the largest σ at which a task reached the threshold.

        A smaller σ at which none did counts, too, if a bound there lies above the constant: then the runs themselves say
        that D went on rising.
        """
        low, high = reached_range(utd, data)
        for place in np.flatnonzero(utd < low)[np.argsort(-utd[utd < low])]:
            censored = np.isposinf(data[:, place])
            if (np.log(bound[censored, place]) > law(float(np.log(low)))[censored]).any():
                low = float(utd[place])
        return float(np.log(low)), float(np.log(high))


class Rising(Offset):
    """D = D_min·(1 + (σ/β)^(−α) + σ/κ): the offset law, and more data again at high σ, where updates on the same data hurt.

    The third parameter is log 1/κ. Its prior puts κ at about twelve times the middle of the σ that are run, give or take a factor of two:
    published curves rise again at σ = 16, if they do.
    """

    _LOG_RISE = -2.5
    _RISE = (-6.0, 6.0)

    name = "rising"
    title = "offset law that rises again"
    parameters = (*Offset.parameters, "log_rise")
    belief = 1.0
    search = Search(
        lower=np.array([*Offset.search.lower, _RISE[0]]),
        upper=np.array([*Offset.search.upper, _RISE[1]]),
        starts=grid_points(
            (np.linspace(Offset.search.lower[0], Offset.search.upper[0], 18), np.linspace(-7.0, 10.0, 26), np.linspace(-3.0, 3.0, 5))
        ),
        axes=(np.log(np.geomspace(*Offset._ALPHA, 40)), np.linspace(*Offset._RATIO, 40), np.linspace(*_RISE, 25)),
    )
    prior = np.array([*Offset.prior, 0.7])
    task_gradient = Form.task_gradient

    def curve(self, log_utd: Floats, parameters: Floats) -> Floats:
        return np.asarray(np.logaddexp(super().curve(log_utd, parameters), parameters[..., 2, None] + log_utd))

    def gradient(self, log_utd: Floats, parameters: Floats) -> Floats:
        rises = np.exp(parameters[..., 2, None] + log_utd - self.curve(log_utd, parameters))[..., None, :]
        return np.concatenate([(1 - rises) * super().gradient(log_utd, parameters), rises], axis=-2)

    def from_search(self, theta: Floats) -> Floats:
        return np.concatenate([super().from_search(theta), self._LOG_RISE + theta[..., 2:]], axis=-1)

    def moved(self, parameters: Floats, by: float | Floats) -> tuple[Floats, Floats]:
        moved, gained = super().moved(parameters, by)
        return np.concatenate([moved, parameters[..., 2:] - by], axis=-1), gained

    def described(self, log_scale: Floats, parameters: Floats) -> dict[str, Floats]:
        return super().described(log_scale, parameters) | {"kappa": _exp(-parameters[..., 2])}

    def formula(self, named: Mapping[str, float]) -> str:
        return f"{super().formula(named)[:-1]} + σ/{short(named['kappa'])})"


OFFSET, POWER, HELD, RISING = Offset(), Power(), Held(), Rising()
Offset.simpler = POWER

# The forms that a prediction combines. The first one is the law whose parameters are reported and whose misfit is measured
FORMS: tuple[Form, ...] = (OFFSET, POWER, HELD, RISING)


def reached_range(utd: Floats, data: Floats) -> tuple[float, float]:
    """The least and the largest σ, of shape (n_utds,), at which a task reached the threshold: D, shape (n_tasks, n_utds), is finite."""
    reached = utd[np.isfinite(data).any(axis=0)]
    return float(reached.min()), float(reached.max())


@dataclass(frozen=True, kw_only=True)
class FittedForm:
    """A form with its fitted parameters: a place for each task and, last, one for the domain; n_places = n_tasks + 1.

    Attributes:
        form: which.
        weight: share of the prediction.
        log_scale: shape (n_places,); log_scale_draws: shape (n_draws, n_places).
        parameters: shape (n_places, n_parameters); parameter_draws: shape (n_draws, n_places, n_parameters).
        log_range: the least and the largest log σ between which the curve is followed (`Form.followed`).
    """

    form: InstanceOf[Form]
    weight: float
    log_scale: Floats
    parameters: Floats
    log_scale_draws: Floats
    parameter_draws: Floats
    log_range: tuple[float | Floats, float | Floats] = (-np.inf, np.inf)

    def log_data(self, log_utd: Floats, place: int) -> Floats:
        """log D at log σ of shape (n,) for the task at this place, −1 for the domain: shape (n,)."""
        return np.asarray(self.log_scale[place] + self.form.curve(np.clip(log_utd, *self.log_range), self.parameters[place]))

    def log_data_draws(self, log_utd: Floats, place: int) -> Floats:
        """The same for every draw: shape (n_draws, n)."""
        curve = self.form.curve(np.clip(log_utd, *self.log_range), self.parameter_draws[:, place])
        return np.asarray(self.log_scale_draws[:, place, None] + curve)

    def as_form(self, form: Form, weight: float, utd: Floats, data: Floats, bound: Floats) -> "FittedForm":
        """A form with these parameters, as fitted to D: arguments as for `Form.followed`."""
        n_tasks = len(data)

        def law(at: float) -> Floats:
            return np.array([self.log_data(np.array([at]), place)[0] for place in range(n_tasks)])

        return replace(self, form=form, weight=weight, log_range=form.followed(utd, data, bound, law))


def _exp(value: Floats) -> Floats:
    """The exponential, without a warning where it is infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(value))
