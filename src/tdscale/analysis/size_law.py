"""`SizeLaw`: D_J(σ, N) of a domain at one threshold. At one N it is an ordinary `DataLaw`; `size_fit.py` fits it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.fitted_laws import DataLaw, Field
from tdscale.analysis.forms import FittedForm
from tdscale.analysis.size_forms import SizeForm

# How far log D over the law reaches along log σ and log N: where it has fallen to 1/e
UTD_LENGTH, SIZE_LENGTH = 2.0, 3.0


def kernel(points: Floats, others: Floats) -> Floats:
    """How much what log D has over the law at one place says of another: exp(−|Δlog σ|/length − |Δlog N|/length).

    Args:
        points, others: log σ and log N, shapes (2, n) and (2, m).

    Returns:
        Shape (n, m).
    """
    apart = np.abs(points[:, :, None] - others[:, None])
    return np.asarray(np.exp(-apart[0] / UTD_LENGTH - apart[1] / SIZE_LENGTH))


@dataclass(frozen=True, kw_only=True)
class SizeLaw:
    """D_J(σ, N) of a domain at one threshold; each task has its own scale (METHOD.md, section 7).

    A prediction is the weighed mean of forms in log D, and a smooth field of what the points have over it.

    Attributes:
        threshold: J, normalised return.
        tasks: names, in the order of the forms' parameters.
        forms: fitted members of `size_forms.SIZE_FORMS`; their weights sum to 1.
        drift_draws, size_drift_draws: by how much log D may rise above the law for each e-fold of σ (of N) below and above those that
            were run, shape (n_draws, 2).
        utd, model_size: σ and N of the points, shape (n_points,).
        data: D of each task there, shape (n_tasks, n_points), infinite where censored, NaN where missing; data_low, data_high: their
            intervals from seed noise; bound: last env step seen; same shape.
        field_weights: of the field's kernel about each point, of each task and, last, of the domain, shape (n_tasks + 1, n_points);
            field_weight_draws: shape (n_draws, n_tasks + 1, n_points). unseen_draws: of the field far from every point, shape
            (n_draws, n_tasks + 1).
        identified: whether the runs alone settle the first form.
    """

    threshold: float
    tasks: tuple[str, ...]
    forms: tuple[FittedForm, ...]
    drift_draws: Floats
    size_drift_draws: Floats
    utd: Floats
    model_size: Floats
    data: Floats
    data_low: Floats
    data_high: Floats
    bound: Floats
    field_weights: Floats
    field_weight_draws: Floats
    unseen_draws: Floats
    identified: bool = True

    @property
    def size_range(self) -> tuple[float, float]:
        """The least and the largest N at which a task reached the threshold."""
        reached = self.model_size[np.isfinite(self.data).any(axis=0)]
        return float(reached.min()), float(reached.max())

    def at_size(self, model_size: float) -> DataLaw:
        """The law of σ at one N. Its points are those of the nearest N at which a task reached the threshold."""
        log_size = float(np.log(model_size))
        low, high = np.log(self.size_range)
        outside = np.array([max(low - log_size, 0.0), max(log_size - high, 0.0)])
        drift = self.size_drift_draws @ outside
        return DataLaw(
            threshold=self.threshold,
            tasks=self.tasks,
            forms=tuple(self._sliced(fitted, log_size, drift) for fitted in self.forms),
            drift_draws=self.drift_draws,
            identified=self.identified,
            field=self._field(log_size, float(outside.max())),
            beyond_size=float(np.exp(outside.max())),
            **self._points(log_size),
        )

    def _sliced(self, fitted: FittedForm, log_size: float, drift: Floats) -> FittedForm:
        form = fitted.form
        assert isinstance(form, SizeForm)
        log_range = fitted.log_range
        if form.base is not form:
            (low, *_), (high, *_) = (np.asarray(end) for end in log_range)
            (_, least), (_, largest) = (np.ravel(end) for end in log_range)
            log_size, log_range = float(np.clip(log_size, least, largest)), (float(np.ravel(low)[0]), float(np.ravel(high)[0]))
        log_scale, parameters = form.at_size(log_size, fitted.log_scale, fitted.parameters)
        log_scale_draws, parameter_draws = form.at_size(log_size, fitted.log_scale_draws, fitted.parameter_draws)
        return replace(
            fitted,
            form=form.sliced,
            log_scale=log_scale,
            parameters=parameters,
            log_scale_draws=log_scale_draws + drift[:, None],
            parameter_draws=parameter_draws,
            log_range=log_range,
        )

    def _field(self, log_size: float, outside: float) -> Field:
        knots, place = np.unique(np.log(self.utd), return_inverse=True)
        near = np.exp(-np.abs(np.log(self.model_size) - log_size) / SIZE_LENGTH)
        # points of one σ have one knot
        gathered = near[:, None] * (place[:, None] == np.arange(len(knots)))
        return Field(
            knots=knots,
            weights=self.field_weights @ gathered,
            weight_draws=self.field_weight_draws @ gathered,
            length=UTD_LENGTH,
            unseen_draws=self.unseen_draws,
            size_distance=outside / SIZE_LENGTH,
        )

    def _points(self, log_size: float) -> dict[str, Any]:
        sizes = np.unique(self.model_size[np.isfinite(self.data).any(axis=0)])
        at = np.flatnonzero(self.model_size == sizes[np.argmin(np.abs(np.log(sizes) - log_size))])
        at = at[np.argsort(self.utd[at])]
        return {
            "utd": self.utd[at],
            "data": self.data[:, at],
            "data_low": self.data_low[:, at],
            "data_high": self.data_high[:, at],
            "bound": self.bound[:, at],
        }

    def parameters(self, task: str | None = None) -> dict[str, Estimate]:
        """The first form's scale and parameters by name: d_min in env steps, a, alpha, b (parameters), beta."""
        place, first = -1 if task is None else self.tasks.index(task), self.forms[0]
        value = first.form.described(first.log_scale[place], first.parameters[place])
        draws = first.form.described(first.log_scale_draws[:, place], first.parameter_draws[:, place])
        return {name: Estimate.from_draws(float(value[name]), draws[name]) for name in value}

    def formula(self, task: str | None = None) -> str:
        """The first form as text; where it is not identified, the simpler form that fits as well."""
        shown = self.forms[0]
        if not self.identified:
            shown = next((fitted for fitted in self.forms if fitted.form is shown.form.simpler), shown)
        place = -1 if task is None else self.tasks.index(task)
        named = shown.form.described(shown.log_scale[place], shown.parameters[place])
        return f"D_J(σ, N) = {shown.form.formula({name: float(value) for name, value in named.items()})}"
