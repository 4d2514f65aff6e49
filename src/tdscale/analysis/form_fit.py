"""Fits of one form of the data law in log D, jointly over tasks and for all bootstrap draws at once.

With x = log σ, measured from the middle of the σ that were run, the law is log D = level[task] + curve(x). Given the curve
the levels are means, so that the squared error is a quadratic form in the curve's values at the σ that were run. What is
left is a search in the curve's few parameters: first every point of a grid, so that the optimum is the global one, then
Levenberg–Marquardt steps. Forms are in `forms.py`; `data_law.py` combines their fits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.forms import Form, Profile, grid_points

_RESTS = 3  # steps without a gain, each with six times the damping, before the search ends
_TASK_STEPS = 3
_CENSORED_ROUNDS = 8
_LEAST_VARIANCE = 1e-4
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, kw_only=True)
class Prior:
    """How the form's own prior (`Form.prior`) counts beside the data.

    Attributes:
        noise: of the points' log D, the root of their error variance; with it the squared error is weighed against the prior.
        shift: centres of the prior in standard deviations, shape (n_draws, n_parameters); None for 0.
    """

    noise: float = 0.15
    shift: Floats | None = None

    def only(self, draws: NDArray[np.intp]) -> "Prior":
        """The prior of some of the draws."""
        return self if self.shift is None else replace(self, shift=self.shift[draws])


@dataclass(frozen=True, kw_only=True)
class FormFit:
    """A form's parameters, leading axis the draws.

    Attributes:
        form: which.
        log_scale: shape (n_draws, n_tasks); NaN for a task without data.
        parameters: shape (n_draws, n_parameters).
        loss: mean squared error of log D over the points used, shape (n_draws,).
        residual: shape (n_draws, n_tasks, n_utds), 0 where nothing was fitted.
        filled: log D as fitted, censored points at their expectation, same shape; used: which of them were fitted.
        centre: the log σ (and log N, shape (2,)) from which x is measured in the fit. The parameters are those for x = log σ.
    """

    form: Form
    log_scale: Floats
    parameters: Floats
    loss: Floats
    residual: Floats
    filled: Floats
    used: Bools
    centre: float | Floats

    def parameter(self, name: str) -> Floats:
        """One of the parameters, shape (n_draws,)."""
        return np.asarray(self.parameters[:, self.form.parameters.index(name)])

    def log_data(self, log_utd: Floats) -> Floats:
        """log D at log σ of shape (n,): shape (n_draws, n_tasks, n)."""
        return np.asarray(self.log_scale[..., None] + self.form.curve(log_utd, self.parameters)[:, None])

    def followed(self, form: Form, utd: Floats, data: Floats, bound: Floats) -> tuple[float | Floats, float | Floats]:
        """The log σ between which `form` follows this curve, of draw 0: the arguments and the result of `Form.followed`."""
        return form.followed(utd, data, bound, lambda at: self.log_data(np.array([at]))[0, :, 0])


def too_few(utd: Floats, reached: Bools, needed: int = 3) -> str:
    """Why too few σ reach a threshold for a law, which of them do, and the cure.

    Args:
        utd: σ, shape (n_utds,).
        reached: which of them reach the threshold, same shape.
        needed: how many σ the law needs: as many as it has parameters.
    """
    named = [", ".join(f"{value:g}" for value in values) for values in (utd[reached], utd[~reached])]
    who = f"only σ = {named[0]} of the {len(utd)} that ran" if named[0] else f"none of the {len(utd)} σ that ran"
    reaches = "reach it" if reached.sum() > 1 else "reaches it"
    others = f" (σ = {named[1]} {'does' if (~reached).sum() == 1 else 'do'} not)" if named[1] else ""
    cure = "run more σ, or run longer, or take a lower threshold" if named[1] else "run more σ"
    least = f"a law of {_NUMBERS[needed]} parameters needs at least {_NUMBERS[needed]}, better {_NUMBERS[needed + 2]}"
    return f"{who} {reaches}{others}; {least}: {cure}"


def distinct(utd: Floats, reached: Bools) -> tuple[Floats, Bools]:
    """The different σ, and which of them reach the threshold, from those of points, each with its N: shapes (2, n) and (n,).

    σ alone, of shape (n,), are different already.
    """
    if utd.ndim == 1:
        return utd, reached
    values = np.unique(utd[0])
    return values, np.array([reached[utd[0] == value].any() for value in values])


def fit_form(
    form: Form, utd: Floats, data: Floats, bound: Floats | None = None, prior: Prior | None = None, known: Floats | None = None
) -> FormFit:
    """Fit a form to D of several tasks, which share its curve; the scale is each task's own.

    Censored points (infinite D) enter as "more than `bound`": the expectation of log D given the bound takes their
    place, round by round (the EM algorithm for censored normal regression).

    Args:
        form: which, one of its own parameters (`form.base` is itself).
        utd: σ, shape (n_utds,); of a form in σ and N both, shape (2, n_points), and n_points stands for n_utds.
        data: D in env steps, shape (n_draws, n_tasks, n_utds); infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds); needed where data is censored.
        prior: how the form's prior counts; None for plain least squares.
        known: the parameters where they are known already, shape (n_parameters,), for a form without a search; None to fit them.

    Raises:
        ValueError: with fewer different σ than the form needs.
    """
    reached: Bools = np.asarray(np.isfinite(data).any(axis=(0, 1)))
    values, reached_at = distinct(utd, reached)
    if reached_at.sum() < form.least_utds:
        raise ValueError(too_few(values, reached_at, form.least_utds))
    censored = np.isposinf(data)
    # a task in which nothing is reached tells nothing of the shape
    alive = np.isfinite(data).any(axis=-1, keepdims=True)
    used = (np.isfinite(data) | censored) & alive
    log_data = np.log(np.where(np.isfinite(data), data, 1.0))
    x = np.log(utd)
    # where x is measured from matters to a prior and to a search alone
    centre = np.zeros(x.shape[:-1]) if form.search is None and form.prior is None else x.mean(axis=-1)
    about = _about(x, centre)
    theta, level = np.empty((len(data), len(form.parameters))), np.empty(data.shape[:2])
    started = np.zeros(len(data), dtype=bool)

    def fit(draws: NDArray[np.intp], values: Floats, used: Bools) -> Floats:
        own = prior.only(draws) if prior else None
        if form.search is None:
            theta[draws], level[draws] = _fit_linear(form, about, values, used, own, known)
        else:
            problem = _Problem(form, about, values, used, own)
            theta[draws] = problem.refine(theta[draws]) if started[draws].all() else problem.solve()
            level[draws] = _centred(values - form.curve(about, form.from_search(theta[draws]))[:, None], used)[1]
        started[draws] = True
        parameters, gained = form.moved(form.from_search(theta[draws]), centre)
        return (level[draws] + gained[:, None])[..., None] + form.curve(x, parameters)[:, None]

    filled = fill_censored(log_data, censored, used, bound, fit)
    # draws without a censored point are not fitted yet, the others once more to their last expectations
    for draws in (np.flatnonzero(~started), np.flatnonzero(started)):
        if draws.size:
            fit(draws, filled[draws], used[draws])
    parameters = form.from_search(theta)
    residual = np.where(used, filled - form.curve(about, parameters)[:, None] - level[..., None], 0.0)
    parameters, gained = form.moved(parameters, centre)
    return FormFit(
        form=form,
        log_scale=np.where(used.any(axis=-1), level + gained[:, None], np.nan),
        parameters=parameters,
        loss=(residual**2).sum(axis=(-2, -1)) / np.maximum(used.sum(axis=(-2, -1)), 1),
        residual=residual,
        filled=filled,
        used=used,
        centre=centre,
    )


def expected_above(predicted: Floats, log_bound: Floats, scale: Floats | float) -> Floats:
    """Expectation of log D that is normal about `predicted` with standard deviation `scale`, given that it is above `log_bound`."""
    distance = (log_bound - predicted) / scale
    expected = predicted + scale * np.exp(-0.5 * distance**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-distance))
    return np.asarray(np.maximum(expected, log_bound))


def fill_censored(
    log_data: Floats, censored: Bools, used: Bools, bound: Floats | None, fit: Callable[[NDArray[np.intp], Floats, Bools], Floats]
) -> Floats:
    """log D with censored points at their expectation under a law that is fitted to them (the EM algorithm for censored normal regression).

    The first fit is to the points that are not censored. (One to the bounds themselves may end far away, if a bound says next to nothing.)

    Args:
        log_data: shape (n_draws, n_tasks, n_utds).
        censored, used: which points are, and which points are fitted at all; same shape.
        bound: last env step seen, shape (n_tasks, n_utds); None where nothing is censored.
        fit: called with the draws' indices, shape (n,), their log D and which points to use, each of shape (n, n_tasks, n_utds); fits the
            law to these and returns what it predicts of all points, of the same shape.

    Raises:
        ValueError: where a point is censored and `bound` is None.
    """
    filled = log_data.copy()
    some = np.flatnonzero((censored & used).any(axis=(1, 2)))
    if not some.size:
        return filled
    if bound is None:
        raise ValueError("data is censored, so the last env step seen (bound) is needed")
    log_bound = np.broadcast_to(np.log(bound), log_data.shape)[some]
    hidden, seen = (censored & used)[some], (used & ~censored)[some]
    values = log_data[some]
    predicted = fit(some, values, seen)
    for remaining in reversed(range(_CENSORED_ROUNDS)):
        squares = np.where(seen, (values - predicted) ** 2, 0.0).sum(axis=(1, 2))
        scale = np.sqrt(squares / np.maximum(seen.sum(axis=(1, 2)) - 3, 1) + _LEAST_VARIANCE)
        values = np.where(hidden, expected_above(predicted, log_bound, scale[:, None, None]), values)
        if remaining:
            predicted = fit(some, values, used[some])
    filled[some] = values
    return filled


@dataclass(frozen=True, kw_only=True)
class TaskCurves:
    """Each task's own curve about the shared one.

    Attributes:
        change: log of the task's own parameter over the shared one, shape (n_draws, n_tasks); variance: its variance from noise alone.
        parameters: of the tasks and, last, of the shared curve, shape (n_draws, n_tasks + 1, n_parameters).
        log_scale: shape (n_draws, n_tasks); NaN for a task without data.
        residual: log D less the task's law, shape (n_draws, n_tasks, n_utds).
    """

    change: Floats
    variance: Floats
    parameters: Floats
    log_scale: Floats
    residual: Floats


def task_curves(utd: Floats, fit: FormFit, log_data: Floats, noise: float, spread: float, shift: Floats) -> TaskCurves:
    """Each task's own parameter about the shared one, drawn towards it the more the less the task's runs say (partial pooling).

    Args:
        utd: σ, shape (n_utds,).
        fit: the shared curve, of a form with `of_task`.
        log_data: log D to fit, shape (n_draws, n_tasks, n_utds), where `fit.used`.
        noise: standard deviation of log D at a point; spread: that of the parameter's logarithm over tasks; infinity for no pooling.
        shift: centre of the logarithm's deviation, shape (n_draws, n_tasks).
    """
    form, x = fit.form, _about(np.log(utd), fit.centre)
    shared, _ = form.moved(fit.parameters, -fit.centre)
    change = shift.copy()
    information = np.ones_like(change)

    def parameters(change: Floats) -> Floats:
        own = np.repeat(shared[:, None], change.shape[1], axis=1)
        own[..., form.of_task] = own[..., form.of_task] * np.exp(change)
        return own

    for _ in range(_TASK_STEPS):
        own = parameters(change)
        residual, _ = _centred(log_data - form.curve(x, own), fit.used)
        basis, _ = _centred(form.task_gradient(x, own), fit.used)
        information = (basis**2).sum(axis=-1) / noise**2
        gradient = (basis * residual).sum(axis=-1) / noise**2 - (change - shift) / spread**2
        step = gradient / np.maximum(information + 1 / spread**2, 1e-9)
        change = np.clip(change + np.clip(step, -0.5, 0.5), -1.5, 1.5)
    own = parameters(change)
    curve = form.curve(x, own)
    _, level = _centred(log_data - curve, fit.used)
    level = np.where(fit.used.any(axis=-1), level, np.nan)
    residual = log_data - level[..., None] - curve
    everything, gained = form.moved(np.concatenate([own, shared[:, None]], axis=1), fit.centre)
    return TaskCurves(
        change=change,
        variance=1 / np.maximum(information, 1e-9),
        parameters=everything,
        log_scale=level + gained[:, :-1],
        residual=residual,
    )


def profile_likelihood(utd: Floats, fit: FormFit, noise: float) -> Profile:
    """What the runs alone settle of a form's parameters: their profile likelihoods on a fine grid, no prior.

    Args:
        utd: σ, shape (n_utds,).
        fit: of one draw, the point estimate, of a form with a search. Its filled points are what the likelihood is of; parameters
            are those for σ measured from the middle of the σ that were run.
        noise: standard deviation of log D about the law.
    """
    search = fit.form.search
    assert search is not None
    problem = _Problem(fit.form, _about(np.log(utd), fit.centre), fit.filled, fit.used, None)
    squares = problem.squares(grid_points(search.axes))[0]
    deviance = ((squares - squares.min()) / noise**2).reshape([len(axis) for axis in search.axes])
    indices = range(len(search.axes))
    # a grid's axis turned into values of its parameter, the others as they are
    others = np.array([axis[0] for axis in search.axes])
    values = {}
    for index, (name, axis) in enumerate(zip(fit.form.parameters, search.axes, strict=True)):
        theta = np.repeat(others[None], len(axis), axis=0)
        theta[:, index] = axis
        values[name] = fit.form.from_search(theta)[:, index]
    rises = {name: deviance.min(axis=tuple(other for other in indices if other != index)) for index, name in enumerate(fit.form.parameters)}
    return Profile(values=values, deviance=rises)


def _about(x: Floats, centre: float | Floats) -> Floats:
    """Coordinates of shape (..., n) measured from a point of shape (...)."""
    return np.asarray(x - np.asarray(centre)[..., None])


def _centred(values: Floats, used: Bools) -> tuple[Floats, Floats]:
    """Values minus their mean over the used σ of each task (0 elsewhere), and those means."""
    mean = np.where(used, values, 0.0).sum(axis=-1) / np.maximum(used.sum(axis=-1), 1)
    return np.where(used, values - mean[..., None], 0.0), mean


def _prior_terms(form: Form, n_draws: int, prior: Prior | None) -> tuple[Floats, Floats, float]:
    """Precision of the search coordinates, shape (n_parameters,), their centres (n_draws, n_parameters), and the data's weight."""
    n = len(form.parameters)
    if prior is None or form.prior is None:
        return np.zeros(n), np.zeros((n_draws, n)), 1.0
    centre = np.zeros((n_draws, n)) if prior.shift is None else prior.shift * form.prior
    return 1 / form.prior**2, centre, 1 / prior.noise**2


def _solve(matrices: Floats, sides: Floats) -> Floats:
    """Solutions of small linear systems, shapes (n, k, k) and (n, k): shape (n, k)."""
    if sides.shape[1] == 1:
        return np.asarray(sides / np.maximum(matrices[:, 0], 1e-12))
    if sides.shape[1] == 2:
        (p, q), (r, s) = matrices[:, 0].T, matrices[:, 1].T
        determinant = np.maximum(p * s - q * r, 1e-300)
        return np.asarray(np.stack([s * sides[:, 0] - q * sides[:, 1], p * sides[:, 1] - r * sides[:, 0]], axis=1) / determinant[:, None])
    return np.asarray(np.linalg.solve(matrices, sides[..., None])[..., 0])


def _fit_linear(form: Form, x: Floats, log_data: Floats, used: Bools, prior: Prior | None, known: Floats | None) -> tuple[Floats, Floats]:
    """The best search coordinates of a curve that is linear in them, and the tasks' levels; coordinates are 0 where nothing tells them.

    Returns:
        Shapes (n_draws, n_parameters) and (n_draws, n_tasks).
    """
    n_draws, n = len(log_data), len(form.parameters)
    slopes = form.gradient(x, form.from_search(np.zeros(n)))
    centred, means = zip(*(_centred(np.broadcast_to(slope, log_data.shape), used) for slope in slopes), strict=True)
    basis = np.stack(centred, axis=1)
    residual, mean = _centred(log_data, used)
    if known is None:
        precision, centre, weight = _prior_terms(form, n_draws, prior)
        sides = weight * (basis * residual[:, None]).sum(axis=(-2, -1)) + centre * precision
        matrices = weight * np.stack([(basis * basis[:, [index]]).sum(axis=(-2, -1)) for index in range(n)], axis=1)
        matrices[:, np.arange(n), np.arange(n)] += np.maximum(precision, 0.0 if n == 1 else 1e-12)
        theta = _solve(matrices, sides)
    else:
        theta = np.broadcast_to(known, (n_draws, n))
    return theta, mean - (theta[..., None] * np.stack(means, axis=1)).sum(axis=1)


class _Problem:
    """Squared error of the curve h as a quadratic form, hᵀ·A·h − 2·bᵀ·h + const, of each draw, and the prior.

    θ stands for the search coordinates.
    """

    def __init__(self, form: Form, x: Floats, log_data: Floats, used: Bools, prior: Prior | None) -> None:
        self.form, self.x = form, x
        assert form.search is not None
        self.search = form.search
        residual, _ = _centred(log_data, used)
        self.b = residual.sum(axis=1)
        # draws nearly always miss the same points: then one A serves all
        masks = used[:1] if (used == used[:1]).all() else used
        counts = np.maximum(masks.sum(axis=-1), 1)[..., None, None]
        outer = (masks[..., :, None] & masks[..., None, :]) / counts
        self.a = np.eye(x.shape[-1]) * masks.sum(axis=1)[:, None, :] - outer.sum(axis=1)
        self.precision, self.centre, self.weight = _prior_terms(form, len(log_data), prior)

    def solve(self) -> Floats:
        """The best θ of each draw, shape (n_draws, n_parameters)."""
        return self.refine(self._best_start())

    def squares(self, theta: Floats) -> Floats:
        """Squared error at every θ of shape (n_parameters, n) up to a constant, shape (n_draws, n)."""
        h = self.form.curve(self.x, self.form.from_search(theta.T))
        if len(self.a) == 1:
            energy = np.einsum("gi,dij,gj->dg", h, self.a, h, optimize=True)
        else:  # draw by draw: all at once takes eight times as long
            energy = np.stack([np.einsum("gj,gj->g", h @ a, h) for a in self.a])
        return np.asarray(energy - 2 * self.b @ h.T)

    def _best_start(self) -> Floats:
        starts = self.search.starts
        cost = self.weight * self.squares(starts)
        if self.precision.any():
            # (θ − μ)ᵀP(θ − μ) without its constant
            cost += self.precision @ starts**2 - 2 * (self.centre * self.precision) @ starts
        return np.asarray(starts.T[np.argmin(cost, axis=1)])

    def _cost(self, theta: Floats) -> tuple[Floats, Floats]:
        h = self.form.curve(self.x, self.form.from_search(theta))
        gradient = np.einsum("dij,dj->di", np.broadcast_to(self.a, (len(h), *self.a.shape[1:])), h) - self.b
        off = theta - self.centre
        return self.weight * (h * (gradient - self.b)).sum(axis=1) + off**2 @ self.precision, gradient

    def refine(self, theta: Floats) -> Floats:
        """Levenberg–Marquardt steps, all draws at once; a step that does not lower the cost is not taken."""
        damping = np.full(len(theta), 1e-3)
        cost, gradient = self._cost(theta)
        diagonal = np.arange(theta.shape[1])
        rests = 0
        for _ in range(self.search.steps):
            jacobian = self.form.gradient(self.x, self.form.from_search(theta))  # (n_draws, n_parameters, n_utds)
            curvature = self.weight * np.einsum("dpi,dqi->dpq", jacobian @ self.a, jacobian)
            curvature[:, diagonal, diagonal] += self.precision
            downhill = -self.weight * np.einsum("dpi,di->dp", jacobian, gradient) - (theta - self.centre) * self.precision
            curvature[:, diagonal, diagonal] *= 1 + damping[:, None]
            curvature[:, diagonal, diagonal] += 1e-12
            new = np.clip(theta + _solve(curvature, downhill), self.search.lower, self.search.upper)
            new_cost, new_gradient = self._cost(new)
            better = new_cost < cost
            settled = not (cost - new_cost > 1e-9 * (1 + np.abs(cost))).any()
            theta = np.where(better[:, None], new, theta)
            cost = np.where(better, new_cost, cost)
            gradient = np.where(better[:, None], new_gradient, gradient)
            damping = np.clip(np.where(better, damping / 6, damping * 6), 1e-9, 1e9)
            rests = rests + 1 if settled else 0
            if rests == _RESTS:
                break
        return theta
