"""From D_J on a grid of tasks and σ to the data laws D_J(σ), by tdscale's own method (docs/method.md).

Each form of the law (`forms.py`) is fitted by `form_fit.py`, weighed by `form_weights.py`, and given draws that hold all that
keeps the points from the law (`misfit.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tdscale.analysis import forms
from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.crossings import Crossings
from tdscale.analysis.estimate import LEVEL
from tdscale.analysis.fitted_laws import DataLaw, Tilt
from tdscale.analysis.form_fit import FormFit, Prior, fit_form, profile_likelihood, task_curves
from tdscale.analysis.form_weights import weigh_forms
from tdscale.analysis.forms import FittedForm, Form
from tdscale.analysis.misfit import (
    SHARED,
    beyond,
    generator_of_runs,
    measure_misfit,
    middle_of,
    noisy_draws,
    shift_of_tasks,
    tilts_of_tasks,
)
from tdscale.analysis.sizes import Sizes
from tdscale.runs.types import Cell, RunWarning


@dataclass(frozen=True, kw_only=True)
class DataPoints:
    """D_J on a grid of tasks and σ, one cell each.

    Attributes:
        utd: shape (n_utds,).
        data: shape (1 + n_draws, n_tasks, n_utds, n_thresholds), the point estimate first; infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds).
        n_seeds: distinct seeds of each cell, same shape; 0 where there is none.
        model_size: N of the points, shape (n_utds,), where the study has sizes: then a point is one (σ, N), in the order of N, then σ, and
            σ is not distinct. None without.
    """

    tasks: tuple[str, ...]
    thresholds: Floats
    utd: Floats
    data: Floats
    bound: Floats
    n_seeds: Floats
    model_size: Floats | None = None

    def subset(self, keep: Bools) -> "DataPoints":
        """Only the σ, or points, where `keep`, of shape (n_utds,), is true."""
        return replace(
            self,
            utd=self.utd[keep],
            data=self.data[:, :, keep],
            bound=self.bound[:, keep],
            n_seeds=self.n_seeds[:, keep],
            model_size=None if self.model_size is None else self.model_size[keep],
        )

    def at_size(self, model_size: float) -> "DataPoints":
        """The points of the nearest N alone, as those of a study without sizes."""
        if self.model_size is None:
            return self
        near = np.abs(np.log(self.model_size / model_size))
        return replace(self.subset(near <= near.min() + 1e-9), model_size=None)


def collect_points(cells: Sequence[Cell], crossings: Crossings, tasks: tuple[str, ...], sizes: Sizes | None = None) -> DataPoints:
    """Put cells, at most one for each (task, σ), or (task, σ, size), on a grid. Raises ValueError where two claim one place."""
    spots = sorted({_spot(cell, sizes) for cell in cells})
    n_draws, _, n_thresholds = crossings.draws.shape
    data = np.full((1 + n_draws, len(tasks), len(spots), n_thresholds), np.nan)
    bound, n_seeds = np.ones((len(tasks), len(spots))), np.zeros((len(tasks), len(spots)))
    taken: set[tuple[int, int]] = set()
    for index, cell in enumerate(cells):
        place = (tasks.index(cell.spec.task), spots.index(_spot(cell, sizes)))
        if place in taken:
            of_size = f", size {cell.size}" if sizes else ""
            raise ValueError(f"two cells of {cell.spec.task} at σ = {cell.spec.utd:g}{of_size}")
        taken.add(place)
        data[(0, *place)], data[(slice(1, None), *place)] = crossings.data[index], crossings.draws[:, index]
        bound[place], n_seeds[place] = crossings.bound[index], (~cell.duplicate).sum()
    model_size, utd = np.array(spots, dtype=np.float64).T
    return DataPoints(
        tasks=tasks,
        thresholds=crossings.thresholds,
        utd=utd,
        data=data,
        bound=bound,
        n_seeds=n_seeds,
        model_size=model_size if sizes else None,
    )


def _spot(cell: Cell, sizes: Sizes | None) -> tuple[float, float]:
    """N, 0 without sizes, and σ."""
    return (sizes.of_cell(cell) if sizes else 0.0), cell.spec.utd


def fit_data_laws(points: DataPoints, seed: int) -> tuple[list[DataLaw], list[RunWarning]]:
    """One law per threshold. A threshold whose law can't be identified is left out, with a warning that says why.

    Args:
        points: D_J.
        seed: of the random draws.
    """
    fitter = _Fitter(points, seed, forms.FORMS)
    return laws_of_thresholds(points, fitter.law)


def laws_of_thresholds(
    points: DataPoints, law_at: Callable[[int], tuple[DataLaw, tuple[str, str] | None]]
) -> tuple[list[DataLaw], list[RunWarning]]:
    """The laws of all thresholds, with remarks about each.

    Args:
        points: D_J.
        law_at: from a threshold's index, its law, and a warning's code and message (`Form.not_identified`). Raises
            ValueError where there is no law.
    """
    laws: list[DataLaw] = []
    warnings: list[RunWarning] = []
    for index, threshold in enumerate(points.thresholds):
        where = f"J = {threshold:.4g}"
        try:
            law, not_identified = law_at(index)
        except ValueError as error:
            warnings.append(RunWarning("not-identified", f"no data law at {where}: {error}", where))
            continue
        laws.append(law)
        warnings += remarks_of(law.tasks, law.data, where)
        if not_identified is not None:
            warnings.append(RunWarning(not_identified[0], not_identified[1].format(where=where), where))
    return laws, warnings


class _Fitter:
    """Fits with a prior and tasks' own curves, weighed forms; draws with all that keeps points from the law."""

    def __init__(self, points: DataPoints, seed: int, forms: Sequence[Form]) -> None:
        self.points, self.seed, self.forms = points, seed, forms
        self.misfit = measure_misfit(forms[0], points.utd, points.data, points.bound, points.n_seeds)
        self.weights = weigh_forms(forms, points.utd, points.data[0], points.bound, self.misfit.scatter)

    def law(self, index: int) -> tuple[DataLaw, tuple[str, str] | None]:
        """The law of a threshold, and what the runs do not identify of its first form."""
        points, misfit, first = self.points, self.misfit, self.forms[0]
        data = points.data[..., index]
        n_draws, n_tasks = len(data) - 1, len(points.tasks)
        # the same generator for every threshold, so that a draw's laws fit together
        rng = np.random.default_rng([self.seed, 202])
        shifts = {first: rng.standard_normal((n_draws, len(first.parameters)))}
        task_shift = misfit.tasks * rng.standard_normal((n_draws, n_tasks))
        drift = beyond(rng, n_draws)
        prior = Prior(noise=float(np.sqrt(misfit.scatter[index] ** 2 + n_tasks * SHARED**2)))
        noise = float(np.sqrt(np.mean(misfit.seeds[..., index] ** 2) + misfit.points**2 + 1e-4))
        own, shared = noisy_draws(data[1:], misfit, index, generator_of_runs(self.seed, points.data[0]))
        # what a finite number of tasks leaves open of their mean
        middle = shift_of_tasks(points.utd, rng, misfit.tasks / np.sqrt(n_tasks), n_draws)
        seen = np.isfinite(data[0])
        tilt = Tilt(
            draws=tilts_of_tasks(points.utd, seen, misfit, noise, n_draws, np.random.default_rng([self.seed, 203])),
            middle=middle_of(points.utd, seen),
        )
        reached = seen.any(axis=-1)
        fitted: dict[Form, FittedForm] = {}
        point_fits: dict[Form, FormFit] = {}
        for form in dict.fromkeys(form.base for form in self.forms):
            if form not in shifts:
                shifts[form] = rng.standard_normal((n_draws, len(form.parameters)))
            of_domain = shared if form.of_task is None else shared * middle[:, None]
            point = fit_form(form, points.utd, data[:1], points.bound, prior)
            draws = fit_form(form, points.utd, of_domain, points.bound, replace(prior, shift=shifts[form]))
            scale, parameters = self._of_places(point, data[:1], np.zeros((1, n_tasks)), noise)
            scale_draws, parameter_draws = self._of_places(draws, own, task_shift, noise)
            point_fits[form] = point
            fitted[form] = FittedForm(
                form=form,
                weight=1.0,
                log_scale=with_domain(scale, reached)[0],
                parameters=parameters[0],
                log_scale_draws=with_domain(scale_draws, reached),
                parameter_draws=parameter_draws,
            )
        weighed = tuple(
            fitted[form.base].as_form(form, float(share), points.utd, data[0], points.bound)
            for form, share in zip(self.forms, self.weights.shares, strict=True)
        )
        not_identified = None
        if first.search is not None:
            not_identified = first.not_identified(profile_likelihood(points.utd, point_fits[first], float(misfit.scatter[index])))
        return data_law(points, index, weighed, drift, tilt=tilt, identified=not_identified is None), not_identified

    def _of_places(self, fit: FormFit, data: Floats, shift: Floats, noise: float) -> tuple[Floats, Floats]:
        """log scale of the tasks, (n_draws, n_tasks); parameters of tasks and, last, domain, (n_draws, n_tasks + 1, n_parameters)."""
        if fit.form.of_task is None:
            return fit.log_scale, np.repeat(fit.parameters[:, None], data.shape[1] + 1, axis=1)
        seen = np.isfinite(data)
        log_data = np.where(seen, np.log(np.where(seen, data, 1.0)), fit.filled)
        curves = task_curves(self.points.utd, fit, log_data, noise, self.misfit.tasks, shift)
        return curves.log_scale, curves.parameters


def with_domain(per_task: Floats, reached: Bools) -> Floats:
    """Parameters of the tasks and, last, their mean: (n_draws, n_tasks) to (n_draws, n_tasks + 1).

    The mean is over the tasks that have `reached` J, shape (n_tasks,), in every draw: one in which such a task never reaches it
    says "more than was run", of the task and of the mean. NaN for the other tasks.
    """
    known = np.where(reached, np.where(np.isnan(per_task), np.inf, per_task), np.nan)
    return np.concatenate([known, known[:, reached].mean(axis=-1, keepdims=True)], axis=-1)


def data_law(
    points: DataPoints, index: int, forms: tuple[FittedForm, ...], drift: Floats, *, tilt: Tilt | None = None, identified: bool = True
) -> DataLaw:
    """The law of a threshold from its forms, beside the points that it was fitted to. Other arguments are those of `DataLaw`."""
    data = points.data[..., index]
    low, high = interval_of_points(data)
    return DataLaw(
        threshold=float(points.thresholds[index]),
        tasks=points.tasks,
        forms=forms,
        drift_draws=drift,
        tilt=tilt,
        utd=points.utd,
        data=data[0],
        data_low=low,
        data_high=high,
        bound=points.bound,
        identified=identified,
    )


def interval_of_points(data: Floats) -> tuple[Floats, Floats]:
    """The 80 % interval of D from seed noise, of `DataPoints.data` at one threshold: two arrays of shape (n_tasks, n_utds)."""
    finite = np.where(np.isfinite(data[1:]), data[1:], np.inf)
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="nearest")
    return np.asarray(low), np.asarray(high)


def remarks_of(tasks: Sequence[str], data: Floats, where: str) -> list[RunWarning]:
    """What to know about D at one threshold, shape (n_tasks, n_utds): tasks that never reach it, cells that don't."""
    remarks = []
    silent = np.asarray(~np.isfinite(data).any(axis=1))
    if silent.any():
        names = ", ".join(task for task, never in zip(tasks, silent, strict=True) if never)
        message = f"{names}: no cell reaches {where}; its law is of the other tasks, and so is the domain's D, not that at a lower J"
        remarks.append(RunWarning("task-never-reaches", message, where))
    censored = int(np.isposinf(data[~silent]).sum())
    if censored:
        message = (
            f"{censored} of {int((~np.isnan(data[~silent])).sum())} cells don't reach {where} by their last"
            " step; they enter the law as lower bounds"
        )
        remarks.append(RunWarning("censored", message, where))
    return remarks
