"""From D_J on a grid of tasks, σ and N to the laws D_J(σ, N), by tdscale's own method (docs/method.md, "Model size").

The forms of `size_forms.py` are fitted jointly over tasks and weighed by leaving out the smallest and the largest σ and N. What the
points have over them is a smooth field, shared by the tasks and of each task's own: the posterior mean of a Gaussian process
(kriging). A draw has other seeds, another form, another prior and another field.
"""

from dataclasses import dataclass

import numpy as np

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.data_law import DataPoints, interval_of_points, remarks_of, with_domain
from tdscale.analysis.fitted_laws import form_of_draws
from tdscale.analysis.form_fit import FormFit, Prior, fit_form, profile_likelihood
from tdscale.analysis.form_weights import weigh_forms
from tdscale.analysis.forms import FittedForm, Form, Profile
from tdscale.analysis.misfit import SHARED, Misfit, beyond, generator_of_runs, noisy_draws, seed_deviation
from tdscale.analysis.size_forms import SIZE_FORMS, SUM
from tdscale.analysis.size_law import SizeLaw, kernel
from tdscale.runs.types import RunWarning

# Standard deviations of log D over the law: of what tasks share, of each task's own, of a point about both beyond its seeds
_DOMAIN_FIELD, _TASK_FIELD, _POINT = 0.1, 0.35, 0.05
# An error of a left-out σ or N below this is luck: the end of an axis has few points
_LUCK = 0.15
# beyond the N that were run, for each e-fold
_SIZE_DRIFT = 0.06


def fit_size_laws(points: DataPoints, seed: int) -> tuple[list[SizeLaw], list[RunWarning]]:
    """One law per threshold. A threshold at which fewer than two σ or two N are reached is left out, with a warning.

    Args:
        points: D_J, with `model_size`.
        seed: of the random draws.
    """
    fitter = _Fitter(points, seed)
    laws: list[SizeLaw] = []
    warnings: list[RunWarning] = []
    for index, threshold in enumerate(points.thresholds):
        where = f"J = {threshold:.4g}"
        try:
            law, missing = fitter.law(index)
        except ValueError as error:
            warnings.append(RunWarning("not-identified", f"no data law at {where}: {error}", where))
            continue
        laws.append(law)
        warnings += remarks_of(law.tasks, law.data, where)
        if missing:
            warnings.append(RunWarning("not-identified", missing.format(where=where), where))
    return laws, warnings


class _Fitter:
    def __init__(self, points: DataPoints, seed: int) -> None:
        assert points.model_size is not None
        self.points, self.seed = points, seed
        self.at = np.stack([points.utd, points.model_size])
        seeds = seed_deviation(points.data, points.n_seeds)
        scatter = np.array([self._scatter(index, seeds[..., index]) for index in range(points.data.shape[-1])])
        self.misfit = Misfit(seeds=seeds, points=_POINT, tasks=_TASK_FIELD, scatter=scatter, tilts=np.zeros(0))
        self.weights = weigh_forms(SIZE_FORMS, self.at, points.data[0], points.bound, scatter, outs=self._ends(), luck=_LUCK)

    def _ends(self) -> list[Bools]:
        """The smallest and the largest σ and N, each to be left out in turn, where three others remain."""
        found = []
        for axis in self.at:
            values = np.unique(axis)
            if len(values) >= 4:
                found += [axis == end for end in (values[0], values[-1])]
        return found

    def _scatter(self, index: int, seeds: Floats) -> float:
        """Standard deviation of log D about the first form that tasks share, all causes together."""
        data = self.points.data[:1, ..., index]
        seen = np.isfinite(data[0])
        noise = float(np.mean(seeds[seen] ** 2)) if seen.any() else 0.0
        guess = float(np.sqrt(noise + _TASK_FIELD**2 + _POINT**2))
        try:
            fit = fit_form(SUM, self.at, data, self.points.bound, Prior(noise=guess))
        except ValueError:
            return guess
        squares = float((np.where(seen, fit.residual[0], 0.0) ** 2).sum())
        freedom = max(int(seen.sum()) - int(seen.any(axis=-1).sum()) - len(SUM.parameters), 0)
        return float(np.sqrt((squares + 3.0 * guess**2) / (freedom + 3.0)))

    def law(self, index: int) -> tuple[SizeLaw, str]:
        """The law of a threshold, and what the runs leave open of the first form; empty where nothing."""
        points, misfit = self.points, self.misfit
        data = points.data[..., index]
        n_draws, n_tasks = len(data) - 1, len(points.tasks)
        seen = np.isfinite(data[0])
        _refuse_too_few(self.at, seen)
        # the same generator for every threshold, so that a draw's laws fit together
        rng = np.random.default_rng([self.seed, 204])
        drift = beyond(rng, n_draws)
        size_drift = _SIZE_DRIFT * rng.standard_normal((n_draws, 2))
        prior = Prior(noise=float(np.sqrt(misfit.scatter[index] ** 2 + n_tasks * SHARED**2)))
        own, _ = noisy_draws(data[1:], misfit, index, generator_of_runs(self.seed, points.data[0]))
        fits: dict[Form, tuple[FormFit, FormFit]] = {}
        for form in dict.fromkeys(form.base for form in SIZE_FORMS):
            shift = rng.standard_normal((n_draws, len(form.parameters)))
            point = fit_form(form, self.at, data[:1], points.bound, prior)
            fits[form] = point, fit_form(form, self.at, own, points.bound, Prior(noise=prior.noise, shift=shift))
        shares = self.weights.shares
        reached = seen.any(axis=-1)
        fitted = tuple(
            _fitted(*fits[form.base], float(share), reached).as_form(form, float(share), self.at, data[0], points.bound)
            for form, share in zip(SIZE_FORMS, shares, strict=True)
        )
        # what the points have over the weighed forms, and over the form that a draw takes
        log_at = np.log(self.at)
        over = fits[SUM][0].filled[0] - sum(
            share * fits[form.base][0].log_data(log_at)[0] for form, share in zip(SIZE_FORMS, shares, strict=True)
        )
        chosen = form_of_draws(shares.tolist(), n_draws)
        each = np.stack([fits[form.base][1].filled - fits[form.base][1].log_data(log_at) for form in SIZE_FORMS])
        over_draws = each[chosen, np.arange(n_draws)]
        noise = np.sqrt(misfit.seeds[..., index] ** 2 + misfit.points**2)
        used = fits[SUM][0].used[0]
        process = _Process(log_at, used, noise)
        low, high = interval_of_points(data)
        missing = _open(profile_likelihood(self.at, fits[SUM][0], float(misfit.scatter[index])))
        law = SizeLaw(
            threshold=float(points.thresholds[index]),
            tasks=points.tasks,
            forms=fitted,
            drift_draws=drift,
            size_drift_draws=size_drift,
            utd=self.at[0],
            model_size=self.at[1],
            data=data[0],
            data_low=low,
            data_high=high,
            bound=points.bound,
            field_weights=process.weights(process.mean(np.where(used, over, 0.0)[None]))[0],
            field_weight_draws=process.weights(process.draws(np.where(used, over_draws, 0.0), rng)),
            unseen_draws=_unseen(n_draws, reached, rng),
            identified=not missing,
        )
        return law, missing


@dataclass(frozen=True)
class _Process:
    """The field of what points have over the law: Gaussian, one part shared by the tasks and one of each task's own.

    Attributes:
        at: log σ and log N of the points, shape (2, n_points).
        used: which points each task has, shape (n_tasks, n_points).
        noise: standard deviation of each, same shape.
    """

    at: Floats
    used: Bools
    noise: Floats

    def mean(self, over: Floats, prior: Floats | None = None) -> Floats:
        """Posterior mean at the points, given log D over the law there.

        Args:
            over: shape (n_draws, n_tasks, n_points), 0 where there is none.
            prior: draws of the shared part and of the tasks' own before the data, shape (n_draws, 1 + n_tasks, n_points), about which the
                posterior lies; None for 0.

        Returns:
            Of the tasks and, last, their mean over those that have points, shape (n_draws, n_tasks + 1, n_points).
        """
        before = np.zeros((len(over), over.shape[1] + 1, over.shape[2])) if prior is None else prior
        k = kernel(self.at, self.at)
        count = self.used.sum(axis=0)
        variance = np.where(self.used, self.noise**2 + _TASK_FIELD**2, 0.0).sum(axis=0) / np.maximum(count, 1) ** 2
        mean = np.where(self.used, over - before[:, 1:], 0.0).sum(axis=1) / np.maximum(count, 1)
        gain = _gain(_DOMAIN_FIELD**2 * k, np.where(count > 0, variance, np.inf))
        shared = before[:, 0] + np.where(count > 0, mean - before[:, 0], 0.0) @ gain.T
        found = []
        for task, used in enumerate(self.used):
            own = before[:, 1 + task]
            gain = _gain(_TASK_FIELD**2 * k, np.where(used, self.noise[task] ** 2, np.inf))
            found.append(shared + own + np.where(used, over[:, task] - shared - own, 0.0) @ gain.T)
        tasks = np.stack(found, axis=1)
        return np.concatenate([tasks, tasks[:, self.used.any(axis=1)].mean(axis=1, keepdims=True)], axis=1)

    def draws(self, over: Floats, rng: np.random.Generator) -> Floats:
        """Posterior draws (Matheron's rule): `over` has its own noise in every draw already."""
        n_draws, n_tasks, n = over.shape
        root = np.linalg.cholesky(kernel(self.at, self.at) + 1e-9 * np.eye(n))
        prior = rng.standard_normal((n_draws, n_tasks + 1, n)) @ root.T
        prior[:, 0] *= _DOMAIN_FIELD
        prior[:, 1:] *= _TASK_FIELD
        return self.mean(over, prior)

    def weights(self, values: Floats) -> Floats:
        """Weights of the kernel about each point that give these values there; both of shape (..., n_points)."""
        k = kernel(self.at, self.at) + 1e-9 * np.eye(self.at.shape[1])
        return np.asarray(np.linalg.solve(k, np.swapaxes(values, -1, -2)).swapaxes(-1, -2))


def _unseen(n_draws: int, reached: Bools, rng: np.random.Generator) -> Floats:
    """Draws of the field where no point tells it, of the tasks and, last, their mean over the `reached`: shape (n_draws, n_tasks + 1)."""
    tasks = _TASK_FIELD * rng.standard_normal((n_draws, len(reached))) + _DOMAIN_FIELD * rng.standard_normal((n_draws, 1))
    return np.concatenate([tasks, tasks[:, reached].mean(axis=1, keepdims=True)], axis=1)


def _gain(covariance: Floats, variance: Floats) -> Floats:
    """How a posterior mean follows observations of these variances, infinite where there is none: shape (n, n)."""
    seen = np.isfinite(variance)
    gain = np.zeros(covariance.shape)
    inner = covariance[np.ix_(seen, seen)] + np.diag(variance[seen])
    gain[:, seen] = np.linalg.solve(inner, covariance[:, seen].T).T
    return gain


def _fitted(point: FormFit, draws: FormFit, weight: float, reached: Bools) -> FittedForm:
    n_places = len(reached) + 1
    return FittedForm(
        form=point.form,
        weight=weight,
        log_scale=with_domain(point.log_scale, reached)[0],
        parameters=np.repeat(point.parameters, n_places, axis=0),
        log_scale_draws=with_domain(draws.log_scale, reached),
        parameter_draws=np.repeat(draws.parameters[:, None], n_places, axis=1),
    )


def _refuse_too_few(at: Floats, seen: Bools) -> None:
    reached = seen.any(axis=0)
    for name, axis in (("UTD ratio", at[0]), ("size", at[1])):
        values = np.unique(axis[reached])
        if len(values) < 2:
            there = f"only {name} {values[0]:.4g} of the {len(np.unique(axis))}" if len(values) else f"no {name}"
            raise ValueError(f"{there} that ran reaches it; a law with model size needs two; run longer, or take a lower threshold")


def _open(profile: Profile) -> str:
    """What the runs leave open of the sum form, in a sentence; {where} stands for J."""
    if profile.holds_low("log_ratio"):
        return "D does not clearly fall with σ at {where}: a law of N alone fits nearly as well"
    if profile.holds_low("log_size_ratio"):
        return "D does not clearly fall with N at {where}: a law of σ alone fits nearly as well"
    if profile.holds_high("log_ratio") or profile.holds_high("log_size_ratio"):
        return "D_min is not identified at {where}: D falls with σ or N as far as was run"
    return ""
