"""One fitted law each: B*(σ) or η*(σ), D_J(σ), σ*(F). They predict, hold their draws and explain themselves.

`scaling_laws.py` puts those of a study together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import Estimate, estimates, short
from tdscale.analysis.forms import FittedForm, reached_range
from tdscale.analysis.size_part import SizePart

Quantity = Literal["batch_size", "learning_rate"]
Source = Literal["sweep", "as-run", "published"]
# B and η are good enough where D is at most this share more than the least
MORE_DATA = 0.05
NOT_OPTIMISED = "not optimised"
SYMBOLS: dict[Quantity, str] = {"batch_size": "B*", "learning_rate": "η*"}

# An 80 % interval of D wider than this factor is refused as an answer
REFUSED_WIDTH = 10.0


@dataclass(frozen=True, kw_only=True)
class Leeway:
    """How exact B or η must be: how far from its best value D is `MORE_DATA` more than the least, the other one at its best.

    From the response surface's bowl, which has one shape at all σ: the range is [below, above] times B*(σ) or η*(σ).

    Attributes:
        below, above: factors, < 1 and > 1, of each task and, last, of the domain (all tasks moved by the same factor; D is their
            geometric mean), shape (n_tasks + 1,); below_draws, above_draws of shape (n_draws, n_tasks + 1).
        swept: the least and the largest value that was run; beyond them the range rests on the bowl's shape alone.
    """

    below: Floats
    above: Floats
    below_draws: Floats
    above_draws: Floats
    swept: tuple[float, float]

    def factors(self, place: int = -1) -> tuple[Estimate, Estimate]:
        """Both factors with their intervals, of a task by its index, or of the domain."""
        sides = ((self.below, self.below_draws), (self.above, self.above_draws))
        low, high = (Estimate.from_draws(float(value[place]), draws[:, place]) for value, draws in sides)
        return low, high


@dataclass(frozen=True, kw_only=True)
class Tolerated:
    """The range of B or η at one σ that costs at most `MORE_DATA` more data. `beyond`: an end lies outside the values that were swept."""

    low: Estimate
    high: Estimate
    beyond: bool

    def to_dict(self) -> dict[str, Any]:
        """Keys low and high, estimates, and beyond."""
        return {"low": self.low.to_dict(), "high": self.high.to_dict(), "beyond": self.beyond}

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True, kw_only=True)
class LeastValue:
    """B_min or η_min of equations D.2 and D.3 over each task's coefficient β: the same for all tasks; draws of shape (n_draws,)."""

    ratio: float
    draws: Floats


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """B*(σ) or η*(σ): coefficient[task]·σ^exponent, one exponent for all tasks (equations 4.6, 4.7).

    With an offset coefficient[task]·(σ^exponent + ratio), one ratio for all tasks: B_min[task] + β[task]·σ^exponent (D.2, D.3).
    Of networks of several sizes it is a law over σ and N, B*(σ, N) or η*(σ, N), with a factor for N, one for all tasks. Where no N is
    named it is the law at the geometric mean of the sizes; `at_size` is an ordinary law over σ.

    Attributes:
        quantity: "batch_size" or "learning_rate".
        tasks: names, in the order of the coefficients.
        exponent: −α; exponent_draws of shape (n_draws,).
        coefficients: value at σ = 1, without the offset, shape (n_tasks,); coefficient_draws of shape (n_draws, n_tasks).
        utd: σ of the points, shape (n_utds,); points: best value found there, shape (n_tasks, n_utds), NaN where none;
            points_low, points_high: their intervals, same shape. With sizes one axis more, (n_tasks, n_utds, n_sizes).
        source: "sweep" (chosen by D_J), "as-run" (no sweep: the law through the values that the runs used, which are the
            points; not optimised, so without intervals) or "published" (a law known from elsewhere, without intervals; the points
            are what the runs used).
        leeway: how exact the values must be; None where no response surface tells.
        offset: None for the pure power law.
        size: the factor for N; None for a law over σ alone.
    """

    quantity: Quantity
    tasks: tuple[str, ...]
    exponent: float
    exponent_draws: Floats
    coefficients: Floats
    coefficient_draws: Floats
    utd: Floats
    points: Floats
    points_low: Floats
    points_high: Floats
    source: Source = "sweep"
    leeway: Leeway | None = None
    offset: LeastValue | None = None
    size: SizePart | None = None

    def at_size(self, model_size: float) -> "PowerLaw":
        """The law over σ at one N, with its draws; its points are those of the nearest size. A law over σ alone is what it is."""
        if self.size is None:
            return self
        nearest = self.size.nearest(model_size)
        return replace(
            self,
            coefficients=self.coefficients * self.size.factor(model_size),
            coefficient_draws=self.coefficient_draws * self.size.factor_draws(model_size)[:, None],
            points=self.points[..., nearest],
            points_low=self.points_low[..., nearest],
            points_high=self.points_high[..., nearest],
            size=None,
        )

    @property
    def optimised(self) -> bool:
        """Whether anything chose these values; not so where there was no sweep and they are what the runs used."""
        return self.source != "as-run"

    @property
    def identified(self) -> bool:
        """Whether the interval of the exponent holds one sign only. A law that is not optimised has none."""
        return self.optimised and not self.exponent_estimate.holds_zero

    @property
    def utd_range(self) -> tuple[float, float]:
        """The least and the largest σ with a best value; of all σ where none has one."""
        known = np.isfinite(self.points).any(axis=tuple(axis for axis in range(self.points.ndim) if axis != 1))
        seen = self.utd[known] if known.any() else self.utd
        return float(seen.min()), float(seen.max())

    def beyond_points(self, utd: float) -> float:
        """By what factor σ lies outside `utd_range`; 1 inside."""
        low, high = self.utd_range
        return max(low / utd, utd / high, 1.0)

    def shown(self, estimate: Estimate) -> str:
        """A value of the law, or a parameter, as people read it."""
        return str(estimate) if self.optimised else f"{short(estimate.value)} ({NOT_OPTIMISED})"

    @property
    def exponent_estimate(self) -> Estimate:
        """The exponent with its interval."""
        return Estimate.from_draws(self.exponent, self.exponent_draws)

    def coefficient_estimate(self, task: str) -> Estimate:
        """A task's value at σ = 1 with its interval; of a law with an offset what it has there beyond that."""
        index = self.tasks.index(task)
        return Estimate.from_draws(float(self.coefficients[index]), self.coefficient_draws[:, index])

    def offset_estimate(self, task: str) -> Estimate | None:
        """A task's B_min or η_min with its interval; None for the pure power law."""
        if self.offset is None:
            return None
        index = self.tasks.index(task)
        return Estimate.from_draws(
            float(self.coefficients[index] * self.offset.ratio), self.coefficient_draws[:, index] * self.offset.draws
        )

    def predict(self, utd: ArrayLike, task: str | None = None, model_size: ArrayLike | None = None) -> Floats:
        """Value at σ of shape (n,), for a task or (None) the geometric mean over tasks: shape (n,).

        With sizes at N, one or of shape (n,); None: the geometric mean of the sizes. A law over σ alone is the same at each N.
        """
        ratio = 0.0 if self.offset is None else self.offset.ratio
        value = self._coefficient(self.coefficients, task) * (np.asarray(utd, dtype=np.float64) ** self.exponent + ratio)
        return value if self.size is None else np.asarray(value * self.size.factor(model_size))

    def predict_draws(self, utd: ArrayLike, task: str | None = None, model_size: ArrayLike | None = None) -> Floats:
        """The same for every draw: shape (n_draws, n)."""
        coefficient = self._coefficient(self.coefficient_draws, task)
        ratio = np.zeros(1) if self.offset is None else self.offset.draws
        value = coefficient[:, None] * (np.asarray(utd, dtype=np.float64) ** self.exponent_draws[:, None] + ratio[:, None])
        if self.size is None:
            return value
        factor = self.size.factor_draws(model_size)
        return np.asarray(value * factor.reshape(len(factor), -1))

    @overload
    def estimate(self, utd: float, task: str | None = None, model_size: float | None = None) -> Estimate: ...
    @overload
    def estimate(self, utd: Sequence[float] | Floats, task: str | None = None, model_size: float | None = None) -> list[Estimate]: ...
    def estimate(self, utd: ArrayLike, task: str | None = None, model_size: float | None = None) -> Estimate | list[Estimate]:
        """Value at σ, and N, with its interval; of several σ a list."""
        at = np.atleast_1d(np.asarray(utd, dtype=np.float64))
        found = estimates(self.predict(at, task, model_size), self.predict_draws(at, task, model_size))
        return found if np.ndim(utd) else found[0]

    def tolerated(self, utd: float, task: str | None = None, model_size: float | None = None) -> Tolerated | None:
        """The range at σ, for a task or the domain, that costs at most `MORE_DATA` more data; None where it is not known.

        Each end has the interval that both the best value and the bowl leave it. The bowl is that of all sizes.
        """
        leeway, best = self.leeway, float(self.predict([utd], task, model_size)[0])
        if leeway is None or np.isnan(best):
            return None
        place = -1 if task is None else self.tasks.index(task)
        draws = self.predict_draws([utd], task, model_size)[:, 0]
        low = Estimate.from_draws(best * leeway.below[place], draws * leeway.below_draws[:, place])
        high = Estimate.from_draws(best * leeway.above[place], draws * leeway.above_draws[:, place])
        return Tolerated(low=low, high=high, beyond=low.value < leeway.swept[0] or high.value > leeway.swept[1])

    def _coefficient(self, coefficients: Floats, task: str | None) -> Floats:
        if task is not None:
            return coefficients[..., self.tasks.index(task)]
        known = np.isfinite(coefficients)
        total = np.where(known, np.log(np.where(known, coefficients, 1.0)), 0.0).sum(axis=-1)
        count = known.sum(axis=-1)
        # NaN where no task's is known, as in the draws of a published law
        return np.asarray(np.exp(total / np.where(count > 0, count, np.nan)))

    def formula(self, task: str | None = None) -> str:
        """The fitted law as text."""
        symbol = SYMBOLS[self.quantity]
        coefficient = float(self._coefficient(self.coefficients, task))
        axes, factor = "σ", ""
        if self.size is not None:
            axes = "σ, N"
            coefficient, factor = self.size.formula(coefficient)
        least = "" if self.offset is None else f"{short(coefficient * self.offset.ratio)} + "
        law = f"{least}{short(coefficient)}·σ^{short(round(self.exponent, 12))}"
        return f"{symbol}({axes}) = {f'({law})' if least and factor else law}{factor}"


@dataclass(frozen=True, kw_only=True)
class Tilt:
    """By how much log D of a task may turn against its law for each e-fold of σ away from the middle of the task's own runs.

    Attributes:
        draws: shape (n_draws, n_tasks); 0 where nothing is known of it.
        middle: log σ, shape (n_tasks,).
    """

    draws: Floats
    middle: Floats


@dataclass(frozen=True, kw_only=True)
class Field:
    """What log D has over the law, as a smooth function of log σ: Σ weight·exp(−|log σ − knot|/length) (docs/method.md, "Model size").

    Attributes:
        knots: log σ, shape (n_knots,).
        weights: of each task and, last, of the domain, shape (n_places, n_knots); weight_draws: shape (n_draws, n_places, n_knots).
        length: of log σ, over which it falls to 1/e.
        unseen_draws: what a draw's field is far from every point, shape (n_draws, n_places): it comes in beyond the knots.
        size_distance: how far N lies outside the N that were run, in lengths of log N.
    """

    knots: Floats
    weights: Floats
    weight_draws: Floats
    length: float
    unseen_draws: Floats
    size_distance: float

    def at(self, log_utd: Floats, place: int) -> Floats:
        """At log σ of shape (n,), for the task at this place, −1 for the domain: shape (n,)."""
        return np.asarray(self._basis(log_utd) @ self.weights[place])

    def draws_at(self, log_utd: Floats, place: int) -> Floats:
        """The same for every draw: shape (n_draws, n)."""
        outside = np.maximum(np.maximum(self.knots[0] - log_utd, log_utd - self.knots[-1]), 0.0) / self.length
        # the part of a stationary process's deviation that points at this distance leave open
        unseen = np.sqrt(-np.expm1(-2 * (outside + self.size_distance)))
        return np.asarray(self.weight_draws[:, place] @ self._basis(log_utd).T + self.unseen_draws[:, place, None] * unseen)

    def _basis(self, log_utd: Floats) -> Floats:
        return np.asarray(np.exp(-np.abs(log_utd[:, None] - self.knots) / self.length))


def form_of_draws(weights: Sequence[float], n_draws: int) -> NDArray[np.intp]:
    """Which form each draw takes, shape (n_draws,), as often as its weight says; the weights sum to 1."""
    # the golden ratio's multiples spread the forms evenly over the draws, the same way every time
    position = (np.arange(n_draws) * 0.6180339887498949) % 1.0
    return np.searchsorted(np.cumsum(weights)[:-1] - 1e-12, position, side="right")


@dataclass(frozen=True, kw_only=True)
class DataLaw:
    """D_J(σ) of a domain at one threshold; each task has its own scale and leans on the shared shape (equations 4.1, D.5).

    Predictions combine forms of the law (`forms.FORMS`), in log D. A draw takes one of them, as often as its weight says, so
    that the interval holds their disagreement.

    Attributes:
        threshold: J, normalised return.
        tasks: names, in the order of the forms' parameters.
        forms: fitted forms, whose weights sum to 1. The parameters of the first one, the offset law, are reported.
        drift_draws: by how much log D may rise above the law for each e-fold of σ below and above those that were run, shape (n_draws, 2).
        utd: σ of the points, shape (n_utds,); data: D of each task there, shape (n_tasks, n_utds), infinite where
            censored, NaN where missing; data_low, data_high: their intervals from seed noise, same shape.
        bound: last env step seen, shape (n_tasks, n_utds).
        identified: whether the runs alone settle the first form: tell the offset law from a pure power law and settle α (80 %
            profile likelihood).
        tilt: how far a task's law may turn beyond what its own runs settle; None where no turn is counted.
        field: what log D has over the forms; None for nothing.
        beyond_size: by what factor N lies outside the N that were run; 1 inside, and for a law without model size.
    """

    threshold: float
    tasks: tuple[str, ...]
    forms: tuple[FittedForm, ...]
    drift_draws: Floats
    utd: Floats
    data: Floats
    data_low: Floats
    data_high: Floats
    bound: Floats
    identified: bool = True
    tilt: Tilt | None = None
    field: Field | None = None
    beyond_size: float = 1.0

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest σ at which a task reached the threshold."""
        return reached_range(self.utd, self.data)

    @property
    def reached(self) -> list[float]:
        """Every σ at which a task reached the threshold."""
        return [float(at) for at in self.utd[np.isfinite(self.data).any(axis=0)]]

    def place(self, task: str | None) -> int:
        """Index of a task's parameters; −1, the last, for the domain."""
        return -1 if task is None else self.tasks.index(task)

    def parameters(self, task: str | None = None) -> dict[str, Estimate]:
        """The first form's scale and parameters by name: of the offset law d_min in env steps, beta, alpha."""
        place, first = self.place(task), self.forms[0]
        value = first.form.described(first.log_scale[place], first.parameters[place])
        draws = first.form.described(first.log_scale_draws[:, place], first.parameter_draws[:, place])
        return {name: Estimate.from_draws(float(value[name]), draws[name]) for name in value}

    def d_min(self, task: str | None = None) -> Estimate:
        """D_min in env steps."""
        return self.parameters(task)["d_min"]

    def alpha(self, task: str | None = None) -> Estimate:
        """α."""
        return self.parameters(task)["alpha"]

    def beta(self, task: str | None = None) -> Estimate:
        """β, the σ at which D is twice D_min."""
        return self.parameters(task)["beta"]

    def predict(self, utd: ArrayLike, task: str | None = None) -> Floats:
        """D in env steps at σ of shape (n,): shape (n,)."""
        log_utd, place = np.log(np.asarray(utd, dtype=np.float64)), self.place(task)
        log_data = sum(form.weight * form.log_data(log_utd, place) for form in self.forms)
        return np.asarray(np.exp(log_data if self.field is None else log_data + self.field.at(log_utd, place)))

    def predict_draws(self, utd: ArrayLike, task: str | None = None) -> Floats:
        """The same for every draw: shape (n_draws, n)."""
        log_utd, place = np.log(np.asarray(utd, dtype=np.float64)), self.place(task)
        chosen = form_of_draws([form.weight for form in self.forms], len(self.drift_draws))[:, None]
        result = np.choose(chosen, [form.log_data_draws(log_utd, place) for form in self.forms])
        low, high = np.log(self.range)
        below, above = np.maximum(low - log_utd, 0.0), np.maximum(log_utd - high, 0.0)
        if task is not None and self.tilt is not None:
            result = result + self.tilt.draws[:, place, None] * (log_utd - self.tilt.middle[place])
        if self.field is not None:
            result = result + self.field.draws_at(log_utd, place)
        return np.asarray(np.exp(result + self.drift_draws @ np.stack([below, above])))

    @overload
    def estimate(self, utd: float, task: str | None = None) -> Estimate: ...
    @overload
    def estimate(self, utd: Sequence[float] | Floats, task: str | None = None) -> list[Estimate]: ...
    def estimate(self, utd: ArrayLike, task: str | None = None) -> Estimate | list[Estimate]:
        """D at σ with its interval; of several σ a list."""
        at = np.atleast_1d(np.asarray(utd, dtype=np.float64))
        found = estimates(self.predict(at, task), self.predict_draws(at, task))
        return found if np.ndim(utd) else found[0]

    def extrapolation(self, utd: float) -> float:
        """By what factor σ, or N, lies outside those that were run; 1 inside."""
        low, high = self.range
        return float(max(low / utd, utd / high, self.beyond_size, 1.0))

    def refusal(self, utd: float, task: str | None = None) -> str | None:
        """Why the law can't tell D at σ, in a sentence; None where it can.

        An interval wider than a factor of `REFUSED_WIDTH` is no answer: the runs don't settle the law there.
        """
        interval = self.estimate(utd, task)
        if np.isnan(interval.value):
            return f"no run of {task or 'any task'} reaches J = {self.threshold:.4g}, so that no law tells its D there"
        if np.isnan(interval.low) or interval.high <= REFUSED_WIDTH * interval.low:  # a published law has no interval
            return None
        return (
            f"the runs don't settle D at σ = {short(utd)}, J = {self.threshold:.4g}: anything from {short(interval.low)} to"
            f" {short(interval.high)} env steps agrees with them; run σ nearer to it, or more seeds"
        )

    def formula(self, task: str | None = None) -> str:
        """The first form as text; where it is not identified, the simpler form that fits as well."""
        shown = self.forms[0]
        if not self.identified:
            shown = next((fitted for fitted in self.forms if fitted.form is shown.form.simpler), shown)
        place = self.place(task)
        named = shown.form.described(shown.log_scale[place], shown.parameters[place])
        return f"D_J(σ) = {shown.form.formula({name: float(value) for name, value in named.items()})}"


@dataclass(frozen=True, kw_only=True)
class BudgetPoint:
    """The cheapest way to a threshold: min over σ of F = C + δ·D (docs/equations.md, P3).

    Attributes:
        at_edge: the optimum lies at the end of the σ that were run, so that the true one may lie beyond.
        regret: how much more than the least budget of its own each draw would pay at this σ*, as a share: F(σ*)/min F − 1. Small
            where the optimum is flat, however wide the interval of σ* is.
    """

    threshold: float
    budget: Estimate
    utd: Estimate
    data: float
    compute: float
    at_edge: bool
    budget_draws: Floats
    utd_draws: Floats
    regret: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class BudgetLaw:
    """σ*(F) = coefficient·F^exponent (equation 4.5), through the points of several thresholds.

    `coefficient` and `exponent` are NaN where fewer than two points lie inside the σ that were run. A draw's line goes
    through the thresholds that it reaches; with fewer than two it has none, and its coefficient and exponent are NaN.
    `regret` is that of the law's own σ*(F) at the points it is fitted to, mean over them.
    """

    data_cost: float
    coefficient: float
    exponent: float
    coefficient_draws: Floats
    exponent_draws: Floats
    points: tuple[BudgetPoint, ...]
    regret: Estimate | None = None

    @property
    def fitted(self) -> bool:
        """Whether there were points enough."""
        return bool(np.isfinite(self.exponent))

    @property
    def exponent_estimate(self) -> Estimate:
        """The exponent with its interval. A draw that reaches fewer than two of the thresholds leaves it open, to either side."""
        return Estimate.from_open_draws(self.exponent, self.exponent_draws)

    @property
    def coefficient_estimate(self) -> Estimate:
        """σ* at F = 1 with its interval, likewise."""
        return Estimate.from_open_draws(self.coefficient, self.coefficient_draws, least=0.0)

    def predict(self, budget: float) -> float:
        """σ* for a budget in the compute unit."""
        return float(self.coefficient * budget**self.exponent)

    def predict_draws(self, budget: float) -> Floats:
        """The same for every draw, shape (n_draws,)."""
        return self.coefficient_draws * budget**self.exponent_draws

    def formula(self) -> str:
        """The fitted law as text."""
        return f"σ*(F) = {short(self.coefficient)}·F^{short(self.exponent)}"
