"""From the cells at the chosen B and η to the data laws D_J(σ) (METHOD.md section 4, step 5)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.arrays import Floats
from tdscale.analysis.crossings import Crossings
from tdscale.analysis.data_law import Prior, ShapeFit, fit_offset_law, fit_power_law, task_shapes, too_few
from tdscale.analysis.estimate import LEVEL
from tdscale.analysis.form_weights import weigh_forms
from tdscale.analysis.forms import Form
from tdscale.analysis.laws import DataLaw
from tdscale.analysis.misfit import SHARED, beyond, measure_misfit, noisy_draws, shift_of_tasks
from tdscale.analysis.options import FitOptions
from tdscale.analysis.paper_law import fit_plain, task_medians
from tdscale.analysis.profile import Profile, profile_shape
from tdscale.runs.types import Cell, RunWarning


@dataclass(frozen=True, kw_only=True)
class DataPoints:
    """D_J on a grid of tasks and σ, one cell each.

    Attributes:
        utd: shape (n_utds,).
        data: shape (1 + n_draws, n_tasks, n_utds, n_thresholds), the point estimate first; infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds).
        n_seeds: distinct seeds of each cell, same shape; 0 where there is none.
    """

    tasks: tuple[str, ...]
    thresholds: Floats
    utd: Floats
    data: Floats
    bound: Floats
    n_seeds: Floats

    def subset(self, keep: NDArray[np.bool_]) -> "DataPoints":
        """Only the σ where `keep`, of shape (n_utds,), is true."""
        return replace(self, utd=self.utd[keep], data=self.data[:, :, keep], bound=self.bound[:, keep], n_seeds=self.n_seeds[:, keep])


def collect_points(cells: Sequence[Cell], crossings: Crossings, tasks: tuple[str, ...]) -> DataPoints:
    """Put cells, at most one for each (task, σ), on a grid. Raises ValueError where two claim one place."""
    utd = np.array(sorted({cell.spec.utd for cell in cells}))
    n_draws, _, n_thresholds = crossings.draws.shape
    data = np.full((1 + n_draws, len(tasks), len(utd), n_thresholds), np.nan)
    bound, n_seeds = np.ones((len(tasks), len(utd))), np.zeros((len(tasks), len(utd)))
    taken: set[tuple[int, int]] = set()
    for index, cell in enumerate(cells):
        place = (tasks.index(cell.spec.task), int(np.searchsorted(utd, cell.spec.utd)))
        if place in taken:
            raise ValueError(f"two cells of {cell.spec.task} at σ = {cell.spec.utd:g}")
        taken.add(place)
        data[(0, *place)], data[(slice(1, None), *place)] = crossings.data[index], crossings.draws[:, index]
        bound[place], n_seeds[place] = crossings.bound[index], (~cell.duplicate).sum()
    return DataPoints(tasks=tasks, thresholds=crossings.thresholds, utd=utd, data=data, bound=bound, n_seeds=n_seeds)


def fit_data_laws(points: DataPoints, options: FitOptions) -> tuple[list[DataLaw], list[RunWarning]]:
    """One law per threshold. A threshold whose law can't be identified is left out, with a warning that says why."""
    laws: list[DataLaw] = []
    warnings: list[RunWarning] = []
    fitter: _Paper | _Default = _Paper(points) if options.paper else _Default(points, options)
    for index, threshold in enumerate(points.thresholds):
        where = f"J = {threshold:.4g}"
        try:
            law, profile = fitter.law(index)
        except ValueError as error:
            warnings.append(RunWarning("not-identified", f"no data law at {where}: {error}", where))
            continue
        laws.append(law)
        warnings += _remarks(law, profile, where)
    return laws, warnings


class _Default:
    """Offset law with a prior and task shapes, power law, held law; draws with all that keeps points from the law."""

    def __init__(self, points: DataPoints, options: FitOptions) -> None:
        self.points, self.options = points, options
        self.misfit = measure_misfit(points.utd, points.data, points.bound, points.n_seeds)
        self.weights = weigh_forms(points.utd, points.data[0], points.bound, self.misfit.scatter)

    def law(self, index: int) -> tuple[DataLaw, Profile | None]:
        points, misfit = self.points, self.misfit
        data = points.data[..., index]
        n_draws, n_tasks = len(data) - 1, len(points.tasks)
        # the same generator for every threshold, so that a draw's laws fit together
        rng = np.random.default_rng([self.options.seed, 202])
        shift, task_shift = rng.standard_normal((n_draws, 2)), misfit.tasks * rng.standard_normal((n_draws, n_tasks))
        drift = beyond(rng, n_draws)
        prior = Prior(noise=float(np.sqrt(misfit.scatter[index] ** 2 + n_tasks * SHARED**2)))
        noise = float(np.sqrt(np.mean(misfit.seeds[..., index] ** 2) + misfit.points**2 + 1e-4))
        own, shared = noisy_draws(data[1:], misfit, index, rng)
        # what a finite number of tasks leaves open of their mean
        middle = shift_of_tasks(points.utd, rng, misfit.tasks / np.sqrt(n_tasks), n_draws)
        point = fit_offset_law(points.utd, data[:1], points.bound, prior)
        draws = fit_offset_law(points.utd, shared * middle[:, None], points.bound, replace(prior, shift=shift))
        at, spread = (self._parameters(*case, noise) for case in ((point, data[:1], np.zeros((1, n_tasks))), (draws, own, task_shift)))
        reached = np.isfinite(data[0]).any(axis=-1)
        offset = Form(
            form="offset",
            weight=float(self.weights.shares[0]),
            log_scale=_with_domain(at[0], reached)[0],
            alpha=at[1][0],
            log_ratio=at[2][0],
            log_scale_draws=_with_domain(spread[0], reached),
            alpha_draws=spread[1],
            log_ratio_draws=spread[2],
        )
        c, gamma = fit_power_law(points.utd, data[:1], points.bound)
        c_draws, gamma_draws = fit_power_law(points.utd, shared, points.bound)
        power = Form(
            form="power",
            weight=float(self.weights.shares[1]),
            log_scale=_with_domain(c, reached)[0],
            alpha=np.full(n_tasks + 1, gamma[0]),
            log_ratio=np.zeros(n_tasks + 1),
            log_scale_draws=_with_domain(c_draws, reached),
            alpha_draws=np.repeat(gamma_draws[:, None], n_tasks + 1, axis=1),
            log_ratio_draws=np.zeros((n_draws, n_tasks + 1)),
        )
        profile = profile_shape(points.utd, point, float(misfit.scatter[index]))
        law = _law(points, index, (offset, power), held=float(self.weights.shares[2]), drift=drift)
        settled = profile.alpha_settled and not profile.power_law_will_do and not profile.constant_will_do
        return replace(law, identified=settled), profile

    def _parameters(self, fit: ShapeFit, data: Floats, shift: Floats, noise: float) -> tuple[Floats, Floats, Floats]:
        """log D_min of the tasks; α and log β^α of the tasks and, last, of the domain."""
        seen = np.isfinite(data)
        log_data = np.where(seen, np.log(np.where(seen, data, 1.0)), fit.filled)
        change, _, level = task_shapes(self.points.utd, fit, log_data, noise, self.misfit.tasks, shift)
        alpha = np.concatenate([fit.alpha[:, None] * np.exp(change), fit.alpha[:, None]], axis=1)
        return level, alpha, fit.tau[:, None] + alpha * fit.centre


def _with_domain(per_task: Floats, reached: NDArray[np.bool_]) -> Floats:
    """Parameters of the tasks and, last, their mean: (n_draws, n_tasks) to (n_draws, n_tasks + 1).

    The mean is over the tasks that have `reached` J, shape (n_tasks,), in every draw: one in which such a task never reaches it
    says "more than was run", of the task and of the mean. NaN for the other tasks.
    """
    known = np.where(reached, np.where(np.isnan(per_task), np.inf, per_task), np.nan)
    return np.concatenate([known, known[:, reached].mean(axis=-1, keepdims=True)], axis=-1)


def _law(points: DataPoints, index: int, forms: tuple[Form, ...], held: float, drift: Floats) -> DataLaw:
    data = points.data[..., index]
    finite = np.where(np.isfinite(data[1:]), data[1:], np.inf)
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="nearest")
    return DataLaw(
        threshold=float(points.thresholds[index]),
        tasks=points.tasks,
        forms=forms,
        held=held,
        drift_draws=drift,
        utd=points.utd,
        data=data[0],
        data_low=low,
        data_high=high,
        bound=points.bound,
    )


class _Paper:
    """The authors' fit: mean over tasks of D over the task's median, censored cells left out, plain squared error."""

    def __init__(self, points: DataPoints) -> None:
        self.points = points
        medians = task_medians(points.data)
        # a draw in which a task never reaches anything keeps the task's scale
        self.medians = np.where(np.isnan(medians), medians[:1], medians)

    def law(self, index: int) -> tuple[DataLaw, Profile | None]:
        data = self.points.data[..., index]
        ratio = np.where(np.isfinite(data), data, np.nan) / self.medians[..., None]
        keep = np.isfinite(ratio[0]).any(axis=0)
        if keep.sum() < 3:
            raise ValueError(too_few(self.points.utd, keep))
        z = np.stack([np.nanmean(np.where(np.isfinite(row).any(axis=0), row, 1.0), axis=0) for row in ratio[:, :, keep]])
        a, b, c = fit_plain(self.points.utd[keep], z)
        if b[0] == 0:
            raise ValueError("D does not fall with σ, and this law has no other form")
        scales = np.concatenate([self.medians, np.median(self.medians[:, np.isfinite(self.medians[0])], axis=1, keepdims=True)], axis=1)
        d_min = np.maximum(c, 1e-9)
        log_ratio = np.where(b > 0, a * np.log(np.where(b > 0, b, 1.0)) - np.log(d_min), -np.inf)  # β^α with β = b·c^(−1/a)
        log_scale = np.log(d_min[:, None] * scales)
        alpha, log_ratio = (np.repeat(values[:, None], scales.shape[1], axis=1) for values in (a, log_ratio))
        form = Form(
            form="offset",
            weight=1.0,
            log_scale=log_scale[0],
            alpha=alpha[0],
            log_ratio=log_ratio[0],
            log_scale_draws=log_scale[1:],
            alpha_draws=alpha[1:],
            log_ratio_draws=log_ratio[1:],
        )
        return _law(self.points, index, (form,), held=0.0, drift=np.zeros((len(a) - 1, 2))), None


def _remarks(law: DataLaw, profile: Profile | None, where: str) -> list[RunWarning]:
    remarks = []
    silent = np.asarray(~np.isfinite(law.data).any(axis=1))
    if silent.any():
        names = ", ".join(task for task, never in zip(law.tasks, silent, strict=True) if never)
        message = f"{names}: no cell reaches {where}; its law is of the other tasks, and so is the domain's D, not that at a lower J"
        remarks.append(RunWarning("task-never-reaches", message, where))
    censored = int(np.isposinf(law.data[~silent]).sum())
    if censored:
        message = (
            f"{censored} of {int((~np.isnan(law.data[~silent])).sum())} cells don't reach {where} by their last"
            " step; they enter the law as lower bounds"
        )
        remarks.append(RunWarning("censored", message, where))
    if profile is None:
        return remarks
    if profile.constant_will_do:
        remarks.append(RunWarning("constant", f"D does not clearly fall with σ at {where}: a constant fits nearly as well", where))
    elif profile.power_law_will_do:
        message = f"D_min is not identified at {where}: a pure power law fits nearly as well, D falls with σ as far as was run"
        remarks.append(RunWarning("d-min-not-identified", message, where))
    elif not profile.alpha_settled:
        message = f"α is not identified at {where}: the σ that were run don't settle the law's shape"
        remarks.append(RunWarning("alpha-not-identified", message, where))
    return remarks
