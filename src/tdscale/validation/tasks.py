"""A task left out: it has the domain's shape of D_J(σ) and its own D at one σ only."""

from dataclasses import dataclass, replace

import numpy as np

from tdscale.analysis.data_law import DataPoints
from tdscale.analysis.fit import FitOptions
from tdscale.analysis.form_fit import fit_form
from tdscale.analysis.forms import POWER
from tdscale.validation.held_out import as_percent, best_of
from tdscale.validation.predictors import measured_estimate, simple_predictions

# the constant is the nearest σ here: there is but one
TASK_PREDICTORS = ("law", "power law", "nearest σ")


@dataclass(frozen=True, kw_only=True)
class HeldOutTask:
    """One task's D predicted at all σ but one.

    Attributes:
        task: its name.
        given: the σ at which its D is known: where the other tasks need the fewest env steps. utd: the σ predicted.
        errors: mean |log predicted − log seen| of D, by predictor, over σ and thresholds; "power law" takes the other tasks' slope.
        width: the 80 % interval of its D as a factor up and down, typical of the σ predicted.
        full_width: the same where all of its runs are in the fit.
        covered, compared: how many D lie in the interval of a measured D, and of how many.
    """

    task: str
    given: float
    utd: tuple[float, ...]
    errors: dict[str, float]
    width: float
    full_width: float
    covered: int
    compared: int

    @property
    def percent(self) -> dict[str, float]:
        """The errors as percent."""
        return as_percent(self.errors)

    @property
    def best(self) -> str | None:
        """The predictor of least error."""
        return best_of(self.errors)


def leave_task_out(points: DataPoints, options: FitOptions, task: int, full_widths: dict[str, float]) -> HeldOutTask | str:
    """Fit with all runs of the other tasks and one σ of this one, and predict its others; a sentence where that can't be done.

    Args:
        points: the measurements.
        options: of the fit.
        task: place of the task.
        full_widths: log factor of each task's interval in the fit to all runs.
    """
    name = points.tasks[task]
    others = np.arange(len(points.tasks)) != task
    given = _cheapest(points, task, others)
    if given is None:
        return f"{name} left out: it reaches no threshold at a σ at which other tasks reach it"
    known = points.data.copy()
    known[:, task, np.arange(len(points.utd)) != given] = np.nan
    laws, warnings = options.method.data_laws(replace(points, data=known), options.seed)
    if not laws:
        return f"{name} left out: {warnings[0].message if warnings else 'nothing could be fitted'}"
    errors: dict[str, list[float]] = {predictor: [] for predictor in TASK_PREDICTORS}
    widths: list[float] = []
    predicted: set[int] = set()
    covered = 0
    for law in laws:
        index = int(np.argmin(np.abs(points.thresholds - law.threshold)))
        own = points.data[0, task, :, index]
        if not np.isfinite(own[given]):
            continue
        gamma = fit_form(POWER, points.utd, points.data[:1, ..., index][:, others], points.bound[others]).parameter("alpha")
        for column in np.flatnonzero(np.isfinite(own)):
            if column == given:
                continue
            at, seen = float(points.utd[column]), float(np.log(own[column]))
            simple = simple_predictions(known[0, [task], :, index], points.bound[[task]], points.utd, at, gamma=float(gamma[0]))
            estimate = law.estimate(at, name)
            errors["law"].append(abs(float(np.log(estimate.value)) - seen))
            for predictor in TASK_PREDICTORS[1:]:
                errors[predictor].append(abs(float(simple[predictor][0]) - seen))
            widths.append(float(np.log(estimate.high / estimate.low) / 2))
            interval = measured_estimate(law, points, task, int(column), index)
            covered += int(interval.low <= own[column] <= interval.high)
            predicted.add(int(column))
    if not predicted:
        return f"{name} left out: it reaches no threshold at a second σ"
    return HeldOutTask(
        task=name,
        given=float(points.utd[given]),
        utd=tuple(float(points.utd[column]) for column in sorted(predicted)),
        errors={predictor: float(np.mean(values)) for predictor, values in errors.items()},
        width=float(np.exp(np.median(widths))),
        full_width=float(np.exp(full_widths.get(name, float("nan")))),
        covered=covered,
        compared=len(widths),
    )


def _cheapest(points: DataPoints, task: int, others: np.ndarray) -> int | None:
    """Place of the σ, among those at which the task reaches the most thresholds, where the other tasks need the least data."""
    reached = np.isfinite(points.data[0, task]).sum(axis=-1)
    data = points.data[0, others]
    comparable = np.isfinite(data).any(axis=0).sum(axis=-1)
    candidates = np.flatnonzero((reached > 0) & (reached == reached.max()) & (comparable > 0))
    if not candidates.size:
        return None
    # on the thresholds that all tasks reach at every candidate, else on the lowest
    common = np.isfinite(data[:, candidates]).all(axis=(0, 1))
    index = int(np.flatnonzero(common)[-1]) if common.any() else 0
    log_data = np.log(np.where(np.isfinite(data[..., index]), data[..., index], points.data[0][np.isfinite(points.data[0])].max()))
    return int(candidates[np.argmin(log_data.mean(axis=0)[candidates])])
