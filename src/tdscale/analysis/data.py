"""From the cells at the chosen B and η to the data laws D_J(σ) (METHOD.md section 4, step 5)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.arrays import Floats
from tdscale.analysis.crossings import Crossings
from tdscale.analysis.data_law import ALPHA_BOUNDS, TAU_BOUNDS, fit_offset_law, fit_power_law
from tdscale.analysis.estimate import LEVEL
from tdscale.analysis.laws import DataLaw, Form
from tdscale.analysis.options import FitOptions
from tdscale.analysis.paper_law import fit_plain, task_medians
from tdscale.runs.types import Cell, RunWarning


@dataclass(frozen=True, kw_only=True)
class DataPoints:
    """D_J on a grid of tasks and σ, one cell each.

    Attributes:
        utd: shape (n_utds,).
        data: shape (1 + n_draws, n_tasks, n_utds, n_thresholds), the point estimate first; infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds).
    """

    tasks: tuple[str, ...]
    thresholds: Floats
    utd: Floats
    data: Floats
    bound: Floats

    def subset(self, keep: NDArray[np.bool_]) -> "DataPoints":
        """Only the σ where `keep`, of shape (n_utds,), is true."""
        return DataPoints(
            tasks=self.tasks, thresholds=self.thresholds, utd=self.utd[keep], data=self.data[:, :, keep], bound=self.bound[:, keep]
        )


def collect_points(cells: Sequence[Cell], crossings: Crossings, tasks: tuple[str, ...]) -> DataPoints:
    """Put cells, at most one for each (task, σ), on a grid. Raises ValueError where two claim one place."""
    utd = np.array(sorted({cell.spec.utd for cell in cells}))
    n_draws, _, n_thresholds = crossings.draws.shape
    data = np.full((1 + n_draws, len(tasks), len(utd), n_thresholds), np.nan)
    bound = np.ones((len(tasks), len(utd)))
    taken: set[tuple[int, int]] = set()
    for index, cell in enumerate(cells):
        place = (tasks.index(cell.spec.task), int(np.searchsorted(utd, cell.spec.utd)))
        if place in taken:
            raise ValueError(f"two cells of {cell.spec.task} at σ = {cell.spec.utd:g}")
        taken.add(place)
        data[(0, *place)], data[(slice(1, None), *place)] = crossings.data[index], crossings.draws[:, index]
        bound[place] = crossings.bound[index]
    return DataPoints(tasks=tasks, thresholds=crossings.thresholds, utd=utd, data=data, bound=bound)


def fit_data_laws(points: DataPoints, options: FitOptions) -> tuple[list[DataLaw], list[RunWarning]]:
    """One law per threshold. A threshold whose law can't be identified is left out, with a warning that says why."""
    laws: list[DataLaw] = []
    warnings: list[RunWarning] = []
    weights = None if options.paper else _form_weights(points)
    medians = task_medians(points.data) if options.paper else None
    for index, threshold in enumerate(points.thresholds):
        data = points.data[..., index]
        where = f"J = {threshold:.4g}"
        try:
            forms: tuple[Form, ...]
            if options.paper:
                assert medians is not None
                forms = (_paper_form(points, data, medians),)
            else:
                assert weights is not None
                forms = _default_forms(points, data, weights, options)
        except ValueError as error:
            warnings.append(RunWarning("not-identified", f"no data law at {where}: {error}", where))
            continue
        finite = np.where(np.isfinite(data[1:]), data[1:], np.inf)
        low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="nearest")
        law = DataLaw(
            threshold=float(threshold),
            tasks=points.tasks,
            forms=forms,
            utd=points.utd,
            data=data[0],
            data_low=low,
            data_high=high,
            bound=points.bound,
        )
        laws.append(law)
        warnings += _remarks(law, where)
    return laws, warnings


def _default_forms(points: DataPoints, data: Floats, weights: tuple[float, float], options: FitOptions) -> tuple[Form, ...]:
    """The offset law and the pure power law, on the point estimate and on draws that hold seed noise and misfit."""
    point = fit_offset_law(points.utd, data[:1], points.bound)
    used = np.isfinite(data[0])
    degrees = int(used.sum()) - int(used.any(axis=-1).sum()) - 2
    scatter = float((point.residual[0] ** 2).sum() / max(degrees, 1))
    draws = data[1:]
    finite = np.isfinite(draws) & used
    log_draws = np.log(np.where(finite, draws, 1.0))
    mean = log_draws.sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
    variance = np.where(finite, (log_draws - mean) ** 2, 0.0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
    seed_variance = float(variance[used].mean()) if used.any() else 0.0
    # what the seeds don't explain (tasks of other shape, a law that is not quite right) is noise of the points, too;
    # the same for every threshold, so that a draw's laws fit together
    extra = np.sqrt(max(scatter - seed_variance, 0.0))
    rng = np.random.default_rng([options.seed, 202])
    noisy = draws * np.exp(extra * rng.standard_normal((len(draws), len(points.tasks), len(points.utd))))
    spread = fit_offset_law(points.utd, noisy, points.bound)
    offset = Form(
        form="offset",
        weight=weights[0],
        log_scale=point.log_d_min[0],
        domain_log_scale=float(np.nanmean(point.log_d_min[0])),
        alpha=float(point.alpha[0]),
        log_ratio=float(point.log_ratio[0]),
        log_scale_draws=spread.log_d_min,
        domain_log_scale_draws=np.nanmean(spread.log_d_min, axis=1),
        alpha_draws=spread.alpha,
        log_ratio_draws=spread.log_ratio,
    )
    log_c, gamma = fit_power_law(points.utd, data[:1])
    log_c_draws, gamma_draws = fit_power_law(points.utd, noisy)
    power = Form(
        form="power",
        weight=weights[1],
        log_scale=log_c[0],
        domain_log_scale=float(np.nanmean(log_c[0])),
        alpha=float(gamma[0]),
        log_ratio=0.0,
        log_scale_draws=log_c_draws,
        domain_log_scale_draws=np.nanmean(log_c_draws, axis=1),
        alpha_draws=gamma_draws,
        log_ratio_draws=np.zeros(len(gamma_draws)),
    )
    return offset, power


def _form_weights(points: DataPoints) -> tuple[float, float]:
    """Weights of (offset, power): inverse mean squared error of log D at the smallest and the largest σ, left out in turn.

    Equal where there are fewer than five σ, too few to tell.
    """
    n = len(points.utd)
    if n < 5:
        return 0.5, 0.5
    errors = np.zeros(2)
    count = 0
    for left_out in (0, n - 1):
        rest = points.subset(np.arange(n) != left_out)
        for index in range(len(points.thresholds)):
            truth = points.data[0, :, left_out, index]
            try:
                fit = fit_offset_law(rest.utd, rest.data[:1, ..., index], rest.bound)
            except ValueError:
                continue
            log_c, gamma = fit_power_law(rest.utd, rest.data[:1, ..., index])
            log_utd = np.log(points.utd[left_out])
            predicted = np.stack(
                [fit.log_d_min[0] + np.logaddexp(0.0, fit.log_ratio[0] - fit.alpha[0] * log_utd), log_c[0] - gamma[0] * log_utd]
            )
            seen = np.isfinite(truth) & np.isfinite(predicted).all(axis=0)
            errors += ((predicted[:, seen] - np.log(truth[seen])) ** 2).sum(axis=1)
            count += int(seen.sum())
    if count == 0:
        return 0.5, 0.5
    inverse = 1 / (errors / count + 1e-4)
    share = float(inverse[0] / inverse.sum())
    return share, 1 - share


def _paper_form(points: DataPoints, data: Floats, medians: Floats) -> Form:
    """The authors' fit: mean over tasks of D over the task's median, censored cells left out, plain squared error."""
    ratio = np.where(np.isfinite(data), data, np.nan) / medians[..., None]
    keep = np.isfinite(ratio[0]).any(axis=0)
    if keep.sum() < 3:
        raise ValueError("fewer than three σ reach the threshold; a law of three parameters needs at least three, better five")
    z = np.stack([np.nanmean(np.where(np.isfinite(row).any(axis=0), row, 1.0), axis=0) for row in ratio[:, :, keep]])
    a, b, c = fit_plain(points.utd[keep], z)
    middle = np.median(medians, axis=1)
    d_min = np.maximum(c, 1e-9)
    log_ratio = a * np.log(b) - np.log(d_min)  # β^α with β = b·c^(−1/a)
    return Form(
        form="offset",
        weight=1.0,
        log_scale=np.log(d_min[0] * medians[0]),
        domain_log_scale=float(np.log(d_min[0] * middle[0])),
        alpha=float(a[0]),
        log_ratio=float(log_ratio[0]),
        log_scale_draws=np.log(d_min[1:, None] * medians[1:]),
        domain_log_scale_draws=np.log(d_min[1:] * middle[1:]),
        alpha_draws=a[1:],
        log_ratio_draws=log_ratio[1:],
    )


def _remarks(law: DataLaw, where: str) -> list[RunWarning]:
    remarks = []
    censored = int(np.isposinf(law.data).sum())
    if censored:
        message = (
            f"{censored} of {int((~np.isnan(law.data)).sum())} cells don't reach {where} by their last"
            " step; they enter the law as lower bounds"
        )
        remarks.append(RunWarning("censored", message, where))
    offset = law.offset
    tau = offset.log_ratio - offset.alpha * float(np.mean(np.log(law.utd)))
    if offset.alpha <= ALPHA_BOUNDS[0] * 1.01 or offset.alpha >= ALPHA_BOUNDS[1] * 0.99:
        remarks.append(
            RunWarning(
                "alpha-at-bound", f"α is at the end of what is allowed at {where}: the σ that were run don't settle the law's shape", where
            )
        )
    elif tau >= TAU_BOUNDS[1] * 0.98:
        remarks.append(
            RunWarning(
                "d-min-not-identified",
                f"D_min is not identified at {where}: a pure power law fits as well, D falls with σ as far as was run",
                where,
            )
        )
    elif tau <= TAU_BOUNDS[0] * 0.98:
        remarks.append(RunWarning("constant", f"D does not fall with σ at {where}: a constant fits as well", where))
    return remarks
