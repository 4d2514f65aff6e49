"""The data law D_J(σ) = D_min·(1 + (σ/β)^(−α)) (equations 4.1, D.5), fitted in log D, jointly over tasks.

With x = log σ, measured from the middle of the σ that were run, and h(x) = log(1 + exp(τ − α·x)), the law is
log D = log D_min[task] + h(x). Given the shape (α, τ) the D_min are means, so that the squared error is a quadratic form in h
and a fit a search in two dimensions, done for all draws at once: every point of a grid first (the optimum is the global one),
Levenberg–Marquardt steps after.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.censoring import fill_censored

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# α and τ stay within what curves over a factor of 10⁵ in σ can tell apart
ALPHA_BOUNDS = (0.05, 5.0)
TAU_BOUNDS = (-9.0, 12.0)
_LOWER = np.array([np.log(ALPHA_BOUNDS[0]), TAU_BOUNDS[0]])
_UPPER = np.array([np.log(ALPHA_BOUNDS[1]), TAU_BOUNDS[1]])
_GRID = np.stack([g.ravel() for g in np.meshgrid(np.linspace(_LOWER[0], _UPPER[0], 36), np.linspace(-7.0, 10.0, 52), indexing="ij")])
_STEPS = 30
_RESTS = 3  # steps without a gain, each with six times the damping, before the search ends
_TASK_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is believed of the shape before any run.

    α is 1 where a task needs a certain number of updates whatever the data, which is what a law of this form says far below β;
    so log α is normal about 0. σ is chosen so that it matters: β lies about the middle of the σ that are run, and τ = log (β^α) there
    is normal about 0. Where the runs say more, they decide.

    Attributes:
        log_alpha, tau: standard deviations.
        noise: of the points' log D, the root of their error variance; with it the squared error is weighed against the prior.
        shift: centres of the priors in standard deviations, shape (n_draws, 2); None for 0.
    """

    log_alpha: float = 0.5
    tau: float = 1.25
    noise: float = 0.15
    shift: Floats | None = None

    def only(self, draws: NDArray[np.intp]) -> "Prior":
        """The prior of some of the draws."""
        return self if self.shift is None else replace(self, shift=self.shift[draws])


@dataclass(frozen=True, kw_only=True)
class ShapeFit:
    """The law's parameters, leading axis the draws.

    Attributes:
        log_d_min: shape (n_draws, n_tasks); NaN for a task without data.
        alpha: shape (n_draws,).
        log_ratio: shape (n_draws,): log of β^α, the offset's share at σ = 1.
        loss: mean squared error of log D over the points used, shape (n_draws,).
        residual: shape (n_draws, n_tasks, n_utds), 0 where nothing was fitted.
        filled: log D as fitted, censored points at their expectation, same shape; used: which of them were fitted.
        centre: the log σ from which x is measured.
    """

    log_d_min: Floats
    alpha: Floats
    log_ratio: Floats
    loss: Floats
    residual: Floats
    filled: Floats
    used: Bools
    centre: float

    @property
    def beta(self) -> Floats:
        """σ at which D is twice D_min, shape (n_draws,)."""
        return np.exp(np.clip(self.log_ratio / self.alpha, -300, 300))

    @property
    def tau(self) -> Floats:
        """log of β^α in units of the middle σ, shape (n_draws,)."""
        return self.log_ratio - self.alpha * self.centre


def too_few(utd: Floats, reached: Bools) -> str:
    """Why too few σ reach a threshold for a law, which of them do, and the cure; `utd` and `reached` have shape (n_utds,)."""
    named = [", ".join(f"{value:g}" for value in values) for values in (utd[reached], utd[~reached])]
    who = f"only σ = {named[0]} of the {len(utd)} that ran" if named[0] else f"none of the {len(utd)} σ that ran"
    reaches = "reach it" if reached.sum() > 1 else "reaches it"
    others = f" (σ = {named[1]} {'does' if (~reached).sum() == 1 else 'do'} not)" if named[1] else ""
    cure = "run more σ, or run longer, or take a lower threshold" if named[1] else "run more σ"
    return f"{who} {reaches}{others}; a law of three parameters needs at least three, better five: {cure}"


def log_shape(utd: Floats, alpha: Floats, log_ratio: Floats) -> Floats:
    """log(1 + (σ/β)^(−α)) for σ of shape (n,) and parameters of shape (...,): shape (..., n)."""
    return np.logaddexp(0.0, log_ratio[..., None] - alpha[..., None] * np.log(utd))


def fit_offset_law(utd: Floats, data: Floats, bound: Floats | None = None, prior: Prior | None = None) -> ShapeFit:
    """Fit the law to D of several tasks, sharing its shape; D_min is each task's own.

    Censored points (infinite D) enter as "more than `bound`": the expectation of log D given the bound takes their
    place, round by round (the EM algorithm for censored normal regression).

    Args:
        utd: σ, shape (n_utds,).
        data: D in env steps, shape (n_draws, n_tasks, n_utds); infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds); needed where data is censored.
        prior: of the shape; None for plain least squares.

    Raises:
        ValueError: with fewer than three different σ, which can't identify a law of three parameters.
    """
    reached: Bools = np.asarray(np.isfinite(data).any(axis=(0, 1)))
    if reached.sum() < 3:
        raise ValueError(too_few(utd, reached))
    censored = np.isposinf(data)
    # a task in which nothing is reached tells nothing of the shape
    alive = np.isfinite(data).any(axis=-1, keepdims=True)
    used = (np.isfinite(data) | censored) & alive
    log_data = np.log(np.where(np.isfinite(data), data, 1.0))
    x = np.log(utd)
    centre = float(x.mean())
    theta = np.empty((len(data), 2))
    known = np.zeros(len(data), dtype=bool)

    def fit(draws: NDArray[np.intp], values: Floats, used: Bools) -> Floats:
        problem = _Problem(x - centre, values, used, prior.only(draws) if prior else None)
        theta[draws] = problem.refine(theta[draws]) if known[draws].all() else problem.solve()
        known[draws] = True
        result = _result(x, centre, values, used, theta[draws])
        return result.log_d_min[..., None] + log_shape(utd, result.alpha, result.log_ratio)[:, None]

    filled = fill_censored(log_data, censored, used, bound, fit)
    # draws without a censored point are not fitted yet, the others once more to their last expectations
    for draws in (np.flatnonzero(~known), np.flatnonzero(known)):
        if draws.size:
            fit(draws, filled[draws], used[draws])
    return _result(x, centre, filled, used, theta)


def squares_of_shapes(utd: Floats, fit: ShapeFit, shapes: Floats) -> Floats:
    """Squared error of log D at shapes (log α, τ) of shape (2, n), up to a constant: shape (n_draws, n)."""
    return _Problem(np.log(utd) - fit.centre, fit.filled, fit.used, None).squares(shapes)


def task_shapes(utd: Floats, fit: ShapeFit, log_data: Floats, noise: float, spread: float, shift: Floats) -> tuple[Floats, Floats, Floats]:
    """Each task's own α about the shared one, drawn towards it the more the less the task's runs say (partial pooling).

    Args:
        utd: σ, shape (n_utds,).
        fit: the shared shape.
        log_data: log D to fit, shape (n_draws, n_tasks, n_utds), where `fit.used`.
        noise: standard deviation of log D at a point; spread: that of log α over tasks; infinity for no pooling.
        shift: centre of log α's deviation, shape (n_draws, n_tasks).

    Returns:
        log α − log of the shared α, its variance from noise alone, and log D_min, each of shape (n_draws, n_tasks).
    """
    x = np.log(utd) - fit.centre
    tau = fit.tau[:, None, None]
    change = shift.copy()
    information = np.ones_like(change)
    for _ in range(_TASK_STEPS):
        slope = (fit.alpha[:, None] * np.exp(change))[..., None] * x
        residual, _ = _centred(log_data - np.logaddexp(0.0, tau - slope), fit.used)
        basis, _ = _centred(-slope / (1 + np.exp(np.clip(slope - tau, -500, 500))), fit.used)
        information = (basis**2).sum(axis=-1) / noise**2
        gradient = (basis * residual).sum(axis=-1) / noise**2 - (change - shift) / spread**2
        step = gradient / np.maximum(information + 1 / spread**2, 1e-9)
        change = np.clip(change + np.clip(step, -0.5, 0.5), -1.5, 1.5)
    slope = (fit.alpha[:, None] * np.exp(change))[..., None] * x
    _, log_d_min = _centred(log_data - np.logaddexp(0.0, tau - slope), fit.used)
    return change, 1 / np.maximum(information, 1e-9), np.where(fit.used.any(axis=-1), log_d_min, np.nan)


def fit_power_law(utd: Floats, data: Floats, bound: Floats | None = None, gamma: float | None = None) -> tuple[Floats, Floats]:
    """Fit the simpler law D = c[task]·σ^(−γ), a line in log–log space; censored points enter as in `fit_offset_law`.

    Args:
        utd: σ, shape (n_utds,).
        data: D in env steps, shape (n_draws, n_tasks, n_utds); infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds); needed where data is censored.
        gamma: γ where it is known already, 0 for a constant; None to fit it.

    Returns:
        log c of shape (n_draws, n_tasks), NaN for a task that reaches J nowhere, and γ of shape (n_draws,), 0 where nothing tells it.
    """
    reached, censored = np.isfinite(data), np.isposinf(data)
    used = (reached | censored) & reached.any(axis=-1, keepdims=True)
    x = np.log(utd)

    def line(values: Floats, used: Bools) -> tuple[Floats, Floats]:
        centred, mean_x = _centred(np.broadcast_to(x, values.shape), used)
        residual, mean = _centred(values, used)
        squares = np.maximum((centred**2).sum(axis=(-2, -1)), 1e-12)
        falls = np.full(len(values), gamma) if gamma is not None else -(centred * residual).sum(axis=(-2, -1)) / squares
        return mean + falls[:, None] * mean_x, falls

    def fit(_: NDArray[np.intp], values: Floats, used: Bools) -> Floats:
        log_c, falls = line(values, used)
        return log_c[..., None] - falls[:, None, None] * x

    filled = fill_censored(np.log(np.where(reached, data, 1.0)), censored, used, bound, fit)
    log_c, falls = line(filled, used)
    return np.where(used.any(axis=-1), log_c, np.nan), falls


def _result(x: Floats, centre: float, filled: Floats, used: Bools, theta: Floats) -> ShapeFit:
    alpha, tau = np.exp(theta[:, 0]), theta[:, 1]
    shape = np.logaddexp(0.0, tau[:, None] - alpha[:, None] * (x - centre))[:, None, :]
    residual, mean = _centred(filled - shape, used)
    return ShapeFit(
        log_d_min=np.where(used.any(axis=-1), mean, np.nan),
        alpha=alpha,
        log_ratio=tau + alpha * centre,
        loss=(residual**2).sum(axis=(-2, -1)) / np.maximum(used.sum(axis=(-2, -1)), 1),
        residual=residual,
        filled=filled,
        used=used,
        centre=centre,
    )


def _centred(values: Floats, used: Bools) -> tuple[Floats, Floats]:
    """Values minus their mean over the used σ of each task (0 elsewhere), and those means."""
    mean = np.where(used, values, 0.0).sum(axis=-1) / np.maximum(used.sum(axis=-1), 1)
    return np.where(used, values - mean[..., None], 0.0), mean


class _Problem:
    """Squared error of h as a quadratic form, hᵀ·A·h − 2·bᵀ·h + const, for each draw, and the prior of θ = (log α, τ)."""

    def __init__(self, x: Floats, log_data: Floats, used: Bools, prior: Prior | None) -> None:
        self.x = x
        residual, _ = _centred(log_data, used)
        self.b = residual.sum(axis=1)
        # draws nearly always miss the same points: then one A serves all
        masks = used[:1] if (used == used[:1]).all() else used
        counts = np.maximum(masks.sum(axis=-1), 1)[..., None, None]
        outer = (masks[..., :, None] & masks[..., None, :]) / counts
        self.a = np.eye(len(x)) * masks.sum(axis=1)[:, None, :] - outer.sum(axis=1)
        n_draws = len(log_data)
        self.precision = np.zeros(2)
        self.centre = np.zeros((n_draws, 2))
        self.weight = 1.0
        if prior is not None:
            deviations = np.array([prior.log_alpha, prior.tau])
            self.precision = 1 / deviations**2
            self.weight = 1 / prior.noise**2
            if prior.shift is not None:
                self.centre = prior.shift * deviations

    def solve(self) -> Floats:
        """The best θ of each draw, shape (n_draws, 2)."""
        return self.refine(self._best_of_grid())

    def squares(self, theta: Floats) -> Floats:
        """Squared error at every θ of shape (2, n) up to a constant, shape (n_draws, n)."""
        h = np.logaddexp(0.0, theta[1][:, None] - np.exp(theta[0])[:, None] * self.x)
        energy = np.einsum("gi,dij,gj->dg", h, self.a, h, optimize=True)
        return np.asarray(energy - 2 * self.b @ h.T)

    def _best_of_grid(self) -> Floats:
        cost = self.weight * self.squares(_GRID)
        if self.precision.any():
            # (θ − μ)ᵀP(θ − μ) without its constant
            cost += self.precision @ _GRID**2 - 2 * (self.centre * self.precision) @ _GRID
        return np.asarray(_GRID.T[np.argmin(cost, axis=1)])

    def _cost(self, theta: Floats) -> tuple[Floats, Floats, Floats]:
        z = theta[:, 1:] - np.exp(theta[:, :1]) * self.x
        h = np.logaddexp(0.0, z)
        gradient = np.einsum("dij,dj->di", np.broadcast_to(self.a, (len(h), *self.a.shape[1:])), h) - self.b
        off = theta - self.centre
        return self.weight * (h * (gradient - self.b)).sum(axis=1) + off**2 @ self.precision, gradient, z

    def refine(self, theta: Floats) -> Floats:
        """Levenberg–Marquardt steps, all draws at once; a step that does not lower the cost is not taken."""
        damping = np.full(len(theta), 1e-3)
        cost, gradient, z = self._cost(theta)
        diagonal = np.arange(2)
        rests = 0
        for _ in range(_STEPS):
            slope = 0.5 * (1 + np.tanh(z / 2))  # ∂h/∂τ
            jacobian = np.stack([-np.exp(theta[:, :1]) * self.x * slope, slope], axis=1)  # (n_draws, 2, n_utds)
            curvature = self.weight * np.einsum("dpi,dqi->dpq", jacobian @ self.a, jacobian)
            curvature[:, diagonal, diagonal] += self.precision
            downhill = -self.weight * np.einsum("dpi,di->dp", jacobian, gradient) - (theta - self.centre) * self.precision
            curvature[:, diagonal, diagonal] *= 1 + damping[:, None]
            curvature[:, diagonal, diagonal] += 1e-12
            (p, q), (r, s) = curvature[:, 0].T, curvature[:, 1].T
            determinant = np.maximum(p * s - q * r, 1e-300)
            step = np.stack([s * downhill[:, 0] - q * downhill[:, 1], p * downhill[:, 1] - r * downhill[:, 0]], axis=1)
            new = np.clip(theta + step / determinant[:, None], _LOWER, _UPPER)
            new_cost, new_gradient, new_z = self._cost(new)
            better = new_cost < cost
            settled = not (cost - new_cost > 1e-9 * (1 + np.abs(cost))).any()
            theta = np.where(better[:, None], new, theta)
            cost = np.where(better, new_cost, cost)
            gradient = np.where(better[:, None], new_gradient, gradient)
            z = np.where(better[:, None], new_z, z)
            damping = np.clip(np.where(better, damping / 6, damping * 6), 1e-9, 1e9)
            rests = rests + 1 if settled else 0
            if rests == _RESTS:
                break
        return theta
