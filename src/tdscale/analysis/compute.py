"""What training costs: C_J(σ) in FLOPs, gradient steps or seconds (equations 4.2, A.1, A.3; docs/method.md).

`ComputeModel` is C of one task in one unit; `compute_models` gets it from what the task's runs recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from tdscale.analysis.arrays import Floats
from tdscale.runs.types import Cell, RunWarning

Accounting = Literal["counted", "paper", "measured"]
ComputeUnit = Literal["flops", "gradient-steps", "seconds"]
UNITS: tuple[ComputeUnit, ...] = ("flops", "gradient-steps", "seconds")
UNIT_NAMES: dict[ComputeUnit, str] = {"flops": "FLOPs", "gradient-steps": "gradient steps", "seconds": "seconds"}


def compute_name(unit: ComputeUnit, accounting: Accounting | None) -> str:
    """Unit and accounting, as they stand behind a number: "FLOPs, counted"."""
    words = {"paper": ", paper accounting", "counted": ", counted", "measured": ", measured", None: ""}
    return UNIT_NAMES[unit] + words[accounting]


def update_flops(critic_parameters: float, actor_parameters: float) -> tuple[float, float]:
    """FLOPs per transition of a critic update and of an actor update, of an algorithm with critics and one actor (docs/method.md).

    Forward 2·N, backward 4·N: 8·N_critic + 2·N_actor and 6·(N_critic + N_actor); with networks of equal size the paper's 10·N and 12·N.
    """
    return 8.0 * critic_parameters + 2.0 * actor_parameters, 6.0 * (critic_parameters + actor_parameters)


@dataclass(frozen=True, kw_only=True)
class ComputeModel:
    """Compute of a run as a function of (σ, B, D), in `unit`.

    C = (D − warm_up)·(σ·(fixed_per_critic_update + B·per_critic_update) + r·(fixed_per_actor_update + B·per_actor_update)),
    where the actor's rate r is 1 with one actor update per env step and σ with one per critic update.

    Attributes:
        accounting: "paper" (C = 10·N·B·σ·D: the actor neglected, warm-up counted), "counted" (what is really done) or
            "measured" (seconds, fitted to those that the runs took).
        unit: of C.
        per_critic_update, per_actor_update: compute per transition of an update.
        fixed_per_critic_update, fixed_per_actor_update: compute of an update whatever B is.
        actor_per_critic_update: whether the actor is updated at every critic update, not at every env step.
        warm_up: env steps without updates.
        scatter: standard deviation of log(measured/fitted) over the cells, for "measured".
        measured_data_cost: δ as the runs measured it, in `unit` per env step: what the run does in the time of an env step, were it
            updating; None where no time was recorded.
    """

    accounting: Accounting
    unit: ComputeUnit = "flops"
    per_critic_update: float
    per_actor_update: float = 0.0
    fixed_per_critic_update: float = 0.0
    fixed_per_actor_update: float = 0.0
    actor_per_critic_update: bool = False
    warm_up: float = 0.0
    scatter: float = 0.0
    measured_data_cost: float | None = None

    @classmethod
    def paper(cls, model_size: float) -> "ComputeModel":
        """C = 10·N·B·σ·D with N parameters of the critics (equation 4.2)."""
        return cls(accounting="paper", per_critic_update=10.0 * model_size)

    @classmethod
    def counted(
        cls, critic_update_flops: float, actor_update_flops: float, *, actor_per_critic_update: bool, warm_up: float
    ) -> "ComputeModel":
        """What is really done, from the FLOPs of an update per transition: recorded, or `update_flops` of the networks' sizes."""
        return cls(
            accounting="counted",
            per_critic_update=critic_update_flops,
            per_actor_update=actor_update_flops,
            actor_per_critic_update=actor_per_critic_update,
            warm_up=warm_up,
        )

    @classmethod
    def gradient_steps(cls, *, warm_up: float = 0.0, paper: bool = False) -> "ComputeModel":
        """C = σ·(D − warm_up): critic updates, whatever they cost (equation A.3; `paper` counts the warm-up's too)."""
        return cls(
            accounting="paper" if paper else "counted",
            unit="gradient-steps",
            per_critic_update=0.0,
            fixed_per_critic_update=1.0,
            warm_up=0.0 if paper else warm_up,
        )

    @property
    def needs_batch_size(self) -> bool:
        """Whether C depends on B."""
        return self.per_critic_update > 0 or self.per_actor_update > 0

    def describe(self) -> str:
        """Unit and accounting (`compute_name`)."""
        return compute_name(self.unit, self.accounting)

    def rate(self, utd: ArrayLike, batch_size: ArrayLike) -> Floats:
        """C per env step past warm-up, for σ and B of shapes that broadcast."""
        ratio, batch = np.asarray(utd, dtype=np.float64), np.asarray(batch_size, dtype=np.float64)
        actor_rate = ratio if self.actor_per_critic_update else 1.0
        critic = self.fixed_per_critic_update + batch * self.per_critic_update
        actor = self.fixed_per_actor_update + batch * self.per_actor_update
        return np.asarray(critic * ratio + actor * actor_rate)

    def compute_for(self, utd: ArrayLike, batch_size: ArrayLike, data: ArrayLike) -> Floats:
        """C, in FLOPs unless `unit` says otherwise, for σ, B and D of shapes that broadcast; infinite where D is."""
        return np.asarray(self.rate(utd, batch_size) * np.maximum(np.asarray(data) - self.warm_up, 0.0))

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


Models = Mapping[ComputeUnit, Mapping[str, ComputeModel]]


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How the compute of a study is counted.

    Attributes:
        unit: what C is asked for in.
        accounting: "counted" or "paper".
        model_size: N, for accounting "paper".
        recorded_size: whether N, where it is not given, is the critics' size that the runs recorded.
    """

    unit: ComputeUnit = "flops"
    accounting: Accounting = "counted"
    model_size: float | None = None
    recorded_size: bool = False


def compute_models(
    cells: Sequence[Cell], measured: Sequence[Cell], tasks: Sequence[str], counting: Counting
) -> tuple[Models, list[RunWarning]]:
    """The models of every unit that all tasks have, and why the unit asked for is not among them.

    Args:
        cells: all of them; their seconds are what C in seconds is fitted to.
        measured: those at which D_J was measured; δ is measured at them.
        tasks: names.
        counting: how C is counted.
    """
    found: dict[ComputeUnit, dict[str, ComputeModel]] = {"flops": {}, "gradient-steps": {}, "seconds": {}}
    for task in tasks:
        own, at = [c for c in cells if c.spec.task == task], [c for c in measured if c.spec.task == task]
        costs = next((c.costs for c in [*at, *own] if c.costs), {})
        warm_up = costs.get("warm_up", 0.0)
        flops = _flops(at or own, counting)
        if flops is not None:
            found["flops"][task] = flops
        found["gradient-steps"][task] = ComputeModel.gradient_steps(warm_up=warm_up, paper=counting.accounting == "paper")
        seconds = fit_seconds(own)
        if seconds is not None:
            found["seconds"][task] = replace(seconds, warm_up=warm_up)
        for models in found.values():
            if task in models:
                models[task] = replace(models[task], measured_data_cost=_measured_data_cost(models[task], at))
    complete: Models = {unit: models for unit, models in found.items() if set(models) == set(tasks)}
    if counting.unit in complete:
        return complete, []
    return complete, [_missing(counting)]


def _missing(counting: Counting) -> RunWarning:
    if counting.unit == "seconds":
        message = (
            "the runs recorded no times, so compute can't be told in seconds (imported curves have none); use compute_unit ="
            ' "flops" or "gradient-steps"'
        )
        return RunWarning("no-times", message, "compute_unit")
    if counting.accounting == "paper" and not counting.recorded_size:
        message = "model_size (N) is not given, so compute can't be told; add model_size = … to study.toml"
        return RunWarning("no-model-size", message, "model_size")
    message = "the networks' sizes are not recorded, so compute can't be counted; set accounting = \"paper\" and model_size in study.toml"
    return RunWarning("no-network-size", message, "accounting")


def _flops(cells: Sequence[Cell], counting: Counting) -> ComputeModel | None:
    sized = [cell for cell in cells if "critic_parameters" in cell.costs and "actor_parameters" in cell.costs]
    if counting.accounting == "paper":
        size = counting.model_size
        if size is None and counting.recorded_size and sized:
            size = sized[0].costs["critic_parameters"]
        return None if size is None else ComputeModel.paper(size)
    # older runs recorded sizes alone, which leave BRO's explorer out
    recorded = [cell for cell in cells if "critic_update_flops" in cell.costs and "actor_update_flops" in cell.costs]
    cell = next(iter(recorded or sized), None)
    if cell is None:
        return None
    costs = cell.costs
    if recorded:
        flops = costs["critic_update_flops"], costs["actor_update_flops"]
    else:
        flops = update_flops(costs["critic_parameters"], costs["actor_parameters"])
    # PQL's pacing: the actor is updated once every few critic updates
    flops = flops[0], flops[1] / float(cell.spec.settings.get("critic_updates_per_actor_update", 1))
    return ComputeModel.counted(*flops, actor_per_critic_update=_actor_per_critic_update(cell), warm_up=costs.get("warm_up", 0.0))


def _actor_per_critic_update(cell: Cell) -> bool:
    return cell.spec.settings.get("actor_updates") == "per-critic-update"


def fit_seconds(cells: Sequence[Cell]) -> ComputeModel | None:
    """Seconds of updates per env step past warm-up, of one task: σ·(a + b·B) for the critic and r·(a' + b'·B) for the actor.

    Least squares of the relative error under the bound that no part is negative. Where the actor goes with the critic
    its part is the critic's; where only one B was run there is no b to tell. None where no cell recorded its times.
    """
    timed = [cell for cell in cells if cell.costs.get("update_seconds_per_critic_update", 0.0) > 0]
    if not timed:
        return None
    utd = np.array([cell.spec.utd for cell in timed])
    batch = np.array([cell.spec.batch_size for cell in timed], dtype=np.float64)
    seconds = utd * np.array([cell.costs["update_seconds_per_critic_update"] for cell in timed])
    together = _actor_per_critic_update(timed[0])
    parts: dict[str, Floats] = {"fixed_per_critic_update": utd}
    if len(set(batch)) > 1:
        parts["per_critic_update"] = utd * batch
    if not together and len(set(utd)) > 1:
        parts["fixed_per_actor_update"] = np.ones(len(timed))
        if len(set(batch)) > 1:
            parts["per_actor_update"] = batch
    design = np.stack(list(parts.values()), axis=1) / seconds[:, None]
    coefficients, _ = nnls(design, np.ones(len(timed)))
    fitted = design @ coefficients
    return ComputeModel(
        accounting="measured",
        unit="seconds",
        actor_per_critic_update=together,
        scatter=float(np.sqrt(np.mean(np.log(fitted) ** 2))),
        **{"per_critic_update": 0.0, **dict(zip(parts, map(float, coefficients), strict=True))},
    )


def _measured_data_cost(model: ComputeModel, cells: Sequence[Cell]) -> float | None:
    """δ: seconds per env step times what the updates do in a second, in the model's unit; None where no time was recorded."""
    timed = [c for c in cells if "step_seconds" in c.costs and c.costs.get("update_seconds_per_critic_update", 0.0) > 0]
    if not timed:
        return None
    # the median: a worker that was disturbed for a while must not decide
    step_seconds = float(np.median([cell.costs["step_seconds"] for cell in timed]))
    if model.unit == "seconds":
        return step_seconds
    done = sum(float(model.rate(cell.spec.utd, cell.spec.batch_size)) for cell in timed)
    seconds = sum(cell.spec.utd * cell.costs["update_seconds_per_critic_update"] for cell in timed)
    return step_seconds * done / seconds
