"""Each task's compute models, one per unit, from what its runs recorded: network sizes, warm-up, seconds (METHOD.md section 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from tdscale.analysis.arrays import Floats
from tdscale.analysis.compute import ComputeModel, ComputeUnit, update_flops
from tdscale.analysis.options import FitOptions
from tdscale.runs.types import Cell, RunWarning

Models = Mapping[ComputeUnit, Mapping[str, ComputeModel]]


def compute_models(cells: Sequence[Cell], measured: Sequence[Cell], options: FitOptions) -> tuple[Models, list[RunWarning]]:
    """The models of every unit that all tasks have, and why the unit asked for is not among them.

    Args:
        cells: all of them; their seconds are what C in seconds is fitted to.
        measured: those at which D_J was measured; δ is measured at them.
        options: accounting, unit and N.
    """
    paper = options.paper or options.accounting == "paper"
    found: dict[ComputeUnit, dict[str, ComputeModel]] = {"flops": {}, "gradient-steps": {}, "seconds": {}}
    for task in options.tasks:
        own, at = [c for c in cells if c.spec.task == task], [c for c in measured if c.spec.task == task]
        costs = next((c.costs for c in [*at, *own] if c.costs), {})
        warm_up = costs.get("warm_up", 0.0)
        flops = _flops(at or own, options)
        if flops is not None:
            found["flops"][task] = flops
        found["gradient-steps"][task] = ComputeModel.gradient_steps(warm_up=warm_up, paper=paper)
        seconds = fit_seconds(own)
        if seconds is not None:
            found["seconds"][task] = replace(seconds, warm_up=warm_up)
        for models in found.values():
            if task in models:
                models[task] = replace(models[task], measured_data_cost=_measured_data_cost(models[task], at))
    complete: Models = {unit: models for unit, models in found.items() if set(models) == set(options.tasks)}
    if options.compute_unit in complete:
        return complete, []
    return complete, [_missing(options)]


def _missing(options: FitOptions) -> RunWarning:
    if options.compute_unit == "seconds":
        message = (
            "the runs recorded no times, so compute can't be told in seconds (imported curves have none); use compute_unit ="
            ' "flops" or "gradient-steps"'
        )
        return RunWarning("no-times", message, "compute_unit")
    if options.accounting == "paper" and not options.paper:
        message = "model_size (N) is not given, so compute can't be told; add model_size = … to study.toml"
        return RunWarning("no-model-size", message, "model_size")
    message = "the networks' sizes are not recorded, so compute can't be counted; set accounting = \"paper\" and model_size in study.toml"
    return RunWarning("no-network-size", message, "accounting")


def _flops(cells: Sequence[Cell], options: FitOptions) -> ComputeModel | None:
    if options.paper or options.accounting == "paper":
        if options.model_size is not None:
            return ComputeModel.paper(options.model_size)
        if not options.paper:
            return None
    sized = [cell for cell in cells if "critic_parameters" in cell.costs and "actor_parameters" in cell.costs]
    if options.paper:
        return ComputeModel.paper(sized[0].costs["critic_parameters"]) if sized else None
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
    # PQL's pacing: the actor is updated with every so-manieth critic update
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
