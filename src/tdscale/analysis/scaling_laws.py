"""`ScalingLaws`: all laws of a study, the result of a fit. `fit.py` makes it, `laws_file.py` stores it, `planning/` plans with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import InstanceOf

from tdscale.analysis.arrays import Floats
from tdscale.analysis.compute import UNIT_NAMES, ComputeModel, ComputeUnit
from tdscale.analysis.estimate import Estimate, estimates, short
from tdscale.analysis.fitted_laws import BudgetLaw, DataLaw, PowerLaw
from tdscale.analysis.method import Method
from tdscale.analysis.size_family import SizeFamily
from tdscale.runs.types import RunWarning

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class ScalingLaws:
    """All laws of a study.

    Attributes:
        study: its name.
        method: by which they were fitted.
        n_draws, seed: of the bootstrap.
        where: conditions on settings by which the runs were chosen, as in `FitOptions`.
        tasks: names.
        thresholds: J, normalised return.
        batch_size, learning_rate: None where no σ has a known best value.
        data: one law per threshold that could be fitted, thresholds rising.
        budget: None where δ is not known or nothing could be fitted.
        compute: compute model of each task, in `unit`; empty where it is not known.
        data_cost: δ, the number used, in `unit` per env step; data_cost_source: whether it was given or measured.
        unit: of C, F and δ.
        other_units: the tasks' compute models in every unit that is known, `unit` among them.
        used_batch_size: by task, the σ that were run and the (rounded) B used there.
        asked: what the study file asked for when these laws were fitted.
        inputs: fingerprint of the curves.
        warnings: what the reader should know, in order of the steps.
        versions: of the libraries.
        model_size, sizes: N at which all of this holds, and the laws over σ and N that it is taken from (`views.at_size`); None for a
            study without sizes.
    """

    study: str
    method: InstanceOf[Method]
    tasks: tuple[str, ...]
    thresholds: tuple[float, ...]
    batch_size: PowerLaw | None
    learning_rate: PowerLaw | None
    data: tuple[DataLaw, ...]
    budget: BudgetLaw | None
    compute: Mapping[str, ComputeModel]
    data_cost: float | None
    data_cost_source: Literal["given", "measured"] = "given"
    unit: ComputeUnit = "flops"
    other_units: Mapping[ComputeUnit, Mapping[str, ComputeModel]] = field(default_factory=dict)
    used_batch_size: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    n_draws: int = 200
    seed: int = 0
    where: tuple[str, ...] = ()
    asked: str = ""
    inputs: str = ""
    warnings: tuple[RunWarning, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    model_size: float | None = None
    sizes: SizeFamily | None = None

    @property
    def asks_for_times(self) -> bool:
        """Whether the laws rest on measured seconds, which differ from one run of a study to the next."""
        return self.unit == "seconds" or self.data_cost_source == "measured"

    def without_times(self) -> "ScalingLaws":
        """The same laws but for what was measured in seconds."""

        def plain(models: Mapping[str, ComputeModel]) -> dict[str, ComputeModel]:
            return {task: replace(model, measured_data_cost=None) for task, model in models.items()}

        def untimed(units: Mapping[ComputeUnit, Mapping[str, ComputeModel]]) -> dict[ComputeUnit, Mapping[str, ComputeModel]]:
            return {unit: plain(models) for unit, models in units.items() if unit != "seconds"}

        family = self.sizes
        if family is not None:
            family = replace(family, models={name: untimed(units) for name, units in family.models.items()})
        return replace(self, compute=plain(self.compute), other_units=untimed(self.other_units), sizes=family)

    def data_law(self, threshold: float) -> DataLaw:
        """The law at a threshold. Raises KeyError where none was fitted there."""
        for law in self.data:
            if abs(law.threshold - threshold) < 1e-6 * max(threshold, 1.0):
                return law
        raise KeyError(threshold)

    @property
    def compute_name(self) -> str:
        """Unit and accounting of C, as they stand behind a number: "FLOPs, counted"."""
        model = next(iter(self.compute.values()), None)
        return model.describe() if model is not None else UNIT_NAMES[self.unit]

    @property
    def knows_compute(self) -> bool:
        """Whether C is known."""
        needed = any(model.needs_batch_size for model in self.compute.values())
        return bool(self.compute) and (self.batch_size is not None or not needed)

    def compute_for(self, utd: Floats, data: Floats, task: str | None = None, *, as_run: bool = False, least_batch_size: int = 0) -> Floats:
        """C at σ and D of broadcasting shapes; NaN where it is not known. In FLOPs, or what else `unit` says.

        B is the fitted B*(σ), so that C is smooth in σ, but no less than `least_batch_size`; `as_run`: the rounded B of the runs at
        the σ that were run. For the domain (task None) D is a geometric mean over tasks, and so is B unless the method says otherwise; C is
        the mean of the tasks' C at them.
        """
        if not self.knows_compute:
            return np.full(np.broadcast(utd, data).shape, np.nan)
        names = [task] if task is not None else list(self.tasks)
        ratio = np.asarray(utd, dtype=np.float64)
        batch = self.batch_size_at(ratio, task) if as_run else self._fitted_batch_size(ratio, task)
        batch = np.maximum(batch, least_batch_size)
        return np.asarray(np.mean([self.compute[name].compute_for(ratio, batch, data) for name in names], axis=0))

    def compute_estimate(self, utd: ArrayLike, threshold: float | None = None, task: str | None = None) -> Estimate | list[Estimate]:
        """C at σ, with the interval that D leaves it; of several σ a list.

        Args:
            utd: one σ, or several.
            threshold: J, one of those fitted; None for the highest.
            task: None for the domain.

        Raises:
            KeyError: where no law was fitted at the threshold.
        """
        law = self.data[-1] if threshold is None else self.data_law(threshold)
        at = np.atleast_1d(np.asarray(utd, dtype=np.float64))
        compute = (self.compute_for(at, data, task) for data in (law.predict(at, task), law.predict_draws(at, task)))
        found = estimates(*compute)
        return found if np.ndim(utd) else found[0]

    def to_frame(self) -> "pd.DataFrame":
        """B*, η*, D and C at the σ that were run: a row for each quantity, task (empty: the domain), J and σ, with its 80 % interval."""
        import pandas as pd

        rows: list[dict[str, Any]] = []

        def add(quantity: str, task: str | None, threshold: float, utd: Floats, found: list[Estimate]) -> None:
            for ratio, one in zip(utd, found, strict=True):
                row = {"quantity": quantity, "task": task or "", "threshold": threshold, "utd": float(ratio)}
                rows.append(row | {"value": one.value, "low": one.low, "high": one.high})

        scopes: list[str | None] = [None, *self.tasks]
        for law in filter(None, (self.batch_size, self.learning_rate)):
            for task in scopes:
                add(law.quantity, task, float("nan"), law.utd, law.estimate(law.utd, task))
        for at in self.data:
            for task in scopes:
                add("data", task, at.threshold, at.utd, at.estimate(at.utd, task))
                if self.knows_compute:
                    compute = self.compute_estimate(at.utd, at.threshold, task)
                    assert isinstance(compute, list)
                    add("compute", task, at.threshold, at.utd, compute)
        return pd.DataFrame(rows, columns=["quantity", "task", "threshold", "utd", "value", "low", "high"])

    def _repr_html_(self) -> str:
        """D and C of the domain at the highest J."""
        frame = self.to_frame()
        top = frame[(frame["task"] == "") & (frame["threshold"].isna() | (frame["threshold"] == frame["threshold"].max()))]
        table = top.drop(columns="task").to_html(index=False, float_format=lambda value: short(float(value)), na_rep="")
        return f"<p>{escape(self.study)}: laws over {len(self.tasks)} tasks, {escape(self.method.name)} method</p>{table}"

    def batch_size_at(self, utd: ArrayLike, task: str | None = None) -> Floats:
        """B at σ of any shape: that of the runs where σ was run, B*(σ) between and beyond; the domain's is the geometric mean."""
        ratio = np.asarray(utd, dtype=np.float64)
        batch = self._fitted_batch_size(ratio, task)
        names = [task] if task is not None else list(self.tasks)
        used = [dict(self.used_batch_size.get(name, ())) for name in names]
        for known in set.intersection(*map(set, used)):
            here = np.isclose(ratio, known, rtol=1e-9)
            batch = np.where(here, np.exp(np.mean([np.log(values[known]) for values in used])), batch)
        return batch

    def _fitted_batch_size(self, utd: Floats, task: str | None) -> Floats:
        if self.batch_size is None:
            return np.ones(utd.shape)
        flat = np.ravel(utd)
        batch = self.method.domain_batch_size(self.batch_size, flat) if task is None else self.batch_size.predict(flat, task)
        return batch.reshape(utd.shape)
