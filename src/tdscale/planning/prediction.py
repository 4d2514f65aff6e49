"""What the laws say at one UTD ratio, without a limit to plan for: B, η, D, C and seconds, with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.between import law_at
from tdscale.analysis.compute import Accounting, ComputeModel, ComputeUnit, compute_name
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.fitted_laws import Quantity, Tolerated
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.errors import UserError
from tdscale.planning.answer import NEAR
from tdscale.planning.question import batch_to_run, estimate, known


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the laws say at one σ.

    Attributes:
        laws: the study's name.
        task: None for the domain: D and B are geometric means over its tasks, C and seconds are means at them.
        utd: σ; threshold: J, normalised return; raw_threshold: in the task's own unit, where that is known.
        batch_size: B*(σ), rounded; batch_size_range: before that, as an estimate. None where there is no such law.
        learning_rate_range: η*(σ), as an estimate.
        batch_size_tolerated, learning_rate_tolerated: the range that costs at most 5 % more data; None without a sweep.
        not_optimised: of "batch_size" and "learning_rate", those that no sweep chose: their laws go through what the runs used.
        data: D_J in env steps; compute: C_J in `unit`, by `accounting`; seconds: of one run until J, environment and updates. None
            where they are not known, or where the law refuses D: then `refused` says why.
        extrapolation: by what factor σ, or N, lies outside what was run; 1 inside. size_extrapolation: N alone.
            hyperparameters_extrapolation: σ outside those at which B and η were swept; None without such laws.
        utd_run: the least and the largest σ at which a task reached J.
        size, model_size: the network, of a study with sizes.
    """

    laws: str
    task: str | None
    utd: float
    threshold: float
    raw_threshold: float | None = None
    batch_size: int | None
    batch_size_range: Estimate | None
    learning_rate_range: Estimate | None
    batch_size_tolerated: Tolerated | None
    learning_rate_tolerated: Tolerated | None
    not_optimised: tuple[Quantity, ...]
    data: Estimate | None
    compute: Estimate | None
    seconds: Estimate | None
    unit: ComputeUnit
    accounting: Accounting | None
    extrapolation: float
    hyperparameters_extrapolation: float | None
    utd_run: tuple[float, float]
    size_extrapolation: float = 1.0
    refused: str | None = None
    size: str | None = None
    model_size: float | None = None

    @property
    def compute_name(self) -> str:
        """Unit and accounting of C: "FLOPs, counted"."""
        return compute_name(self.unit, self.accounting)

    @property
    def where(self) -> str:
        """Whether this interpolates or extrapolates, and by what factor, in words."""
        low, high = self.utd_run
        outside = max(low / self.utd, self.utd / high, 1.0)
        ran = f"UTD {short(low)} to {short(high)} was run"
        words = f"extrapolates by a factor of {short(outside)}: {ran}" if outside > 1 else f"interpolates: {ran}"
        if self.size_extrapolation > 1:
            words += f"; N is extrapolated by a factor of {short(self.size_extrapolation)}"
        beyond = self.hyperparameters_extrapolation
        if beyond is not None and beyond > max(self.extrapolation, 1.0) * NEAR:
            words += f"; B* and η* are extrapolated by a factor of {short(beyond)}"
        return words

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; estimates as {value, low, high, level}. The keys of sizes stand there for a study that has some."""
        of_sizes = ("size", "model_size", "size_extrapolation")
        return {key: _plain(value) for key, value in self.__dict__.items() if self.model_size is not None or key not in of_sizes}


def predict(
    laws: ScalingLaws, utd: float, *, task: str | None = None, threshold: float | None = None, batch_multiple: int = 16
) -> Prediction:
    """B*(σ), η*(σ), D_J(σ), C_J(σ) and seconds at one σ, with intervals (equations 4.1, 4.2, 4.6, 4.7). Nothing is fitted again.

    Args:
        laws: of a study, or published ones; `at_size` names the network where there are several.
        utd: σ.
        task: None for the domain.
        threshold: J, from the lowest to the highest fitted; None for the highest. Between two that were fitted log D is interpolated.
        batch_multiple: B is rounded to a multiple of it.

    Raises:
        UserError: if the question can't be asked of these laws.
    """
    if not 0 < utd < np.inf:
        raise UserError(f"--utd: {utd:g} is not a UTD ratio; it must be > 0, e.g. 0.5")
    if task is not None and task not in laws.tasks:
        raise UserError(f"--task: there is no {task!r} in this study; there is {', '.join(laws.tasks)}")
    law = law_at(laws, threshold)
    batch_law, rate_law = (known(power, task) for power in (laws.batch_size, laws.learning_rate))
    batch = None if batch_law is None else batch_to_run(float(batch_law.predict([utd], task)[0]), batch_multiple)
    refused = law.refusal(utd, task)
    data = compute = seconds = None
    if refused is None:
        draws = np.concatenate([law.predict([utd], task), law.predict_draws([utd], task)[:, 0]])
        data = estimate(draws)
        names = [task] if task is not None else list(laws.tasks)
        compute = estimate(_mean_compute(laws.compute, names, utd, batch, draws))
        seconds = estimate(_run_seconds(laws, names, utd, batch, draws))
    swept = [power.beyond_points(utd) for power in (batch_law, rate_law) if power is not None]
    return Prediction(
        laws=laws.study,
        task=task,
        utd=utd,
        threshold=law.threshold,
        batch_size=batch,
        batch_size_range=None if batch_law is None else batch_law.estimate(utd, task),
        learning_rate_range=None if rate_law is None else rate_law.estimate(utd, task),
        batch_size_tolerated=None if batch_law is None else batch_law.tolerated(utd, task),
        learning_rate_tolerated=None if rate_law is None else rate_law.tolerated(utd, task),
        not_optimised=tuple(power.quantity for power in (batch_law, rate_law) if power is not None and not power.optimised),
        data=data,
        compute=compute,
        seconds=seconds,
        unit=laws.unit,
        accounting=next((model.accounting for model in laws.compute.values()), None),
        extrapolation=law.extrapolation(utd),
        size_extrapolation=law.beyond_size,
        hyperparameters_extrapolation=max(swept, default=None),
        utd_run=law.range,
        refused=refused,
        model_size=laws.model_size,
    )


def _mean_compute(models: Mapping[str, ComputeModel], names: list[str], utd: float, batch: int | None, data: Floats) -> Floats:
    """C with this very B, mean over tasks; NaN where it is not known."""
    own = [models[name] for name in names if name in models]
    if len(own) < len(names) or (batch is None and any(model.needs_batch_size for model in own)):
        return np.full(data.shape, np.nan)
    return np.asarray(np.mean([model.compute_for(utd, batch or 1, data) for model in own], axis=0))


def _run_seconds(laws: ScalingLaws, names: list[str], utd: float, batch: int | None, data: Floats) -> Floats:
    """Seconds of one run: its updates and its env steps; NaN where no times were recorded."""
    models = laws.other_units.get("seconds", {})
    prices = [models[name].measured_data_cost for name in names if name in models]
    known = [price for price in prices if price is not None]
    if len(known) < len(names):
        return np.full(data.shape, np.nan)
    return np.asarray(_mean_compute(models, names, utd, batch, data) + float(np.mean(known)) * data)


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, Estimate | Tolerated) else list(value) if isinstance(value, tuple) else value
