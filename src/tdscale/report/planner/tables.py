"""What the page's planner looks up: for each task, return and UTD ratio what the draws say it takes, and the settings that go with it.

Nothing is fitted or predicted in the page. The chance to meet a limit, and the choice of a ratio, are counted over the same draws as
`tdscale plan` counts them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.compute import UNIT_NAMES, ComputeModel, ComputeUnit
from tdscale.analysis.estimate import Estimate, round_digits
from tdscale.analysis.fitted_laws import MORE_DATA, NOT_OPTIMISED, DataLaw, PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.views import at_size, measured_data_cost
from tdscale.planning.candidates import candidates, runnable_ratios
from tdscale.planning.plan import name_of_ratio
from tdscale.planning.question import SURE, Question
from tdscale.planning.sizes import networks_run
from tdscale.planning.tradeoff import distance_price, reach, tradeoff
from tdscale.report.planner.packed import packed

BATCH_MULTIPLE = 16
# numbers that the page holds; beyond, every so many draws are taken
_MOST_VALUES = 1_500_000
_FEWEST_DRAWS = 50


@dataclass(frozen=True)
class _Shape:
    """At which UTD ratios, and every how many draws, the tables are."""

    utd: Floats
    every: int


def planner_tables(laws: ScalingLaws, scales: Mapping[str, tuple[float, float]] | None = None, folder: str = "") -> dict[str, Any] | None:
    """The tables as JSON types; None where there is no data law to plan with.

    Args:
        laws: of a study, at all its sizes.
        scales: by task, the raw returns that are 0 and 1000 on the normalised scale, where they are known.
        folder: the study's, as a command line names it.
    """
    if not laws.data:
        return None
    names: list[str | None] = [*([None] if len(laws.tasks) > 1 else []), *laws.tasks]
    networks = networks_run(laws)
    by_size = [at_size(laws, network.model_size, with_budgets=False) for network in networks] or [laws]
    ratios = [_ratios(one.data) for one in by_size]
    values = sum(len(utd) for utd in ratios) * len(names) * len(laws.data) * (1 + laws.n_draws)
    every = min(max(int(np.ceil(values / _MOST_VALUES)), 1), max(laws.n_draws // _FEWEST_DRAWS, 1))
    sizes = []
    for place, (one, utd) in enumerate(zip(by_size, ratios, strict=True)):
        shape = _Shape(utd, every)
        tasks = [_of_task(one, name, shape) for name in names]
        named = {"name": networks[place].name, "parameters": networks[place].model_size} if networks else {}
        sizes.append({**named, **_of_ratios(one, shape), "tasks": tasks})
    return {
        "study": laws.study,
        "folder": folder or laws.study,
        "sure": SURE,
        "more_data": MORE_DATA,
        "batch_multiple": BATCH_MULTIPLE,
        "draws": len(range(0, laws.n_draws, every)),
        "all_draws": laws.n_draws,
        "levels": [round_digits(law.threshold, 8) for law in laws.data],
        "tasks": [_named(name, laws, scales or {}) for name in names],
        "units": [_unit(unit, laws, by_size[0]) for unit in _units(laws, by_size)],
        "sizes": sizes,
    }


def _ratios(data: Sequence[DataLaw]) -> Floats:
    low, high = min(reach(law)[0] for law in data), max(reach(law)[1] for law in data)
    return runnable_ratios(low, high, sorted({at for law in data for at in law.reached}))


def _named(name: str | None, laws: ScalingLaws, scales: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    label = f"all {len(laws.tasks)} tasks (geometric mean)" if name is None else name
    scale = scales.get(name) if name is not None else None
    return {"name": name, "label": label, "scale": None if scale is None else [float(end) for end in scale]}


def _units(laws: ScalingLaws, by_size: Sequence[ScalingLaws]) -> list[ComputeUnit]:
    """Those that compute can be told in, the study's own first; gradient steps only where they are the study's own."""
    wanted: list[ComputeUnit] = [laws.unit, *[unit for unit in ("flops", "seconds") if unit != laws.unit]]
    return [unit for unit in wanted if all(_knows(one, unit) for one in by_size)]


def _knows(laws: ScalingLaws, unit: ComputeUnit) -> bool:
    models = _models(laws, unit)
    return set(models) == set(laws.tasks) and (laws.batch_size is not None or not any(model.needs_batch_size for model in models.values()))


def _models(laws: ScalingLaws, unit: ComputeUnit) -> Mapping[str, ComputeModel]:
    return laws.compute if unit == laws.unit else laws.other_units.get(unit, {})


def _unit(unit: ComputeUnit, laws: ScalingLaws, one: ScalingLaws) -> dict[str, Any]:
    """δ is the study's own in its unit; in another one, what an env step took, where that was measured."""
    cost = laws.data_cost if unit == laws.unit else None
    if cost is None:
        costs = [model.measured_data_cost for model in _models(one, unit).values()]
        cost = float(np.mean([c for c in costs if c is not None])) if costs and None not in costs else None
    by_task = [measured_data_cost(laws, task) for task in laws.tasks] if laws.data_cost_source == "measured" and unit == laws.unit else None
    return {
        "key": unit,
        "name": UNIT_NAMES[unit],
        "described": next(iter(_models(one, unit).values())).describe(),
        "own": unit == laws.unit,
        "cost": None if cost is None else round_digits(cost, 6),
        "cost_by_task": by_task,
    }


def _of_ratios(laws: ScalingLaws, shape: _Shape) -> dict[str, Any]:
    """What is of the UTD ratios alone: names, how a library writes them, distances from the runs for each return."""
    return {
        "utd": [round_digits(float(at), 12) for at in shape.utd],
        "names": [name_of_ratio(float(at)) for at in shape.utd],
        "updates": [updates_per_steps(float(at)) for at in shape.utd],
        "range": [[round_digits(end, 6) for end in law.range] for law in laws.data],
        "distance": [[round_digits(float(price), 8) for price in distance_price(shape.utd, law.range)] for law in laws.data],
        "identified": [law.identified for law in laws.data],
        "forms": [len(law.forms) for law in laws.data],
    }


def updates_per_steps(utd: float) -> list[int] | None:
    """(updates, env steps) that a UTD ratio means: 6 is [6, 1], 1.5 is [3, 2], 1/4 is [1, 4]; None where no small pair is it."""
    for steps in range(1, 1025):
        updates = utd * steps
        if round(updates) >= 1 and abs(updates - round(updates)) < 1e-6 * updates:
            return [round(updates), steps]
    return None


def _of_task(laws: ScalingLaws, task: str | None, shape: _Shape) -> dict[str, Any]:
    first = Question(laws, laws.data[-1], task, None, BATCH_MULTIPLE)
    near, lower = candidates(first, shape.utd), candidates(first, shape.utd, rounded_down=True)
    batches = None if near.batch_size is None or lower.batch_size is None else [near.batch_size, lower.batch_size]
    return {
        "batch": None if batches is None else [[int(batch) for batch in row] for row in batches],
        "batch_size": _settings(first.batch_law, shape.utd, task),
        "learning_rate": _settings(first.rate_law, shape.utd, task),
        "compute": {
            unit: _costs(laws, unit, task, shape.utd, batches)
            for unit in _units(laws, [laws])
            if batches is not None or not any(model.needs_batch_size for model in _models(laws, unit).values())
        },
        "levels": [_level(laws, law, task, shape) for law in laws.data],
    }


def _settings(law: PowerLaw | None, utd: Floats, task: str | None) -> dict[str, Any] | None:
    """B*(σ) or η*(σ) with intervals, and the range that costs little more data."""
    if law is None:
        return None
    found = [law.estimate(float(at), task) for at in utd]
    tolerated = [law.tolerated(float(at), task) for at in utd]
    return {
        "values": [_estimate(one) for one in found],
        "tolerated": [None if one is None else [_finite(one.low.value), _finite(one.high.value)] for one in tolerated],
        "seen": [round_digits(end, 6) for end in law.utd_range],
        "remark": "" if law.optimised else NOT_OPTIMISED,
        "identified": law.identified,
    }


def _costs(laws: ScalingLaws, unit: ComputeUnit, task: str | None, utd: Floats, batches: Sequence[Any] | None) -> list[list[Any]]:
    """C as a table of D, for B to the nearest multiple and for B rounded down: [warm-up, C per env step past it at each ratio], …

    C is the sum over these of the rate times the env steps past the warm-up (`ComputeModel.compute_for`, mean over tasks).
    """
    models = _models(laws, unit)
    names = [task] if task is not None else list(laws.tasks)
    rows: list[list[Any]] = []
    for batch in batches if batches is not None else [np.ones(len(utd))] * 2:
        parts: dict[float, Floats] = {}
        for name in names:
            rate = models[name].rate(utd, batch) / len(names)
            parts[models[name].warm_up] = parts.get(models[name].warm_up, 0.0) + rate
        rows.append([[warm_up, [round_digits(float(one), 6) for one in rates]] for warm_up, rates in sorted(parts.items())])
    return rows


def _level(laws: ScalingLaws, law: DataLaw, task: str | None, shape: _Shape) -> dict[str, Any] | None:
    """D of the estimate, log D of the draws, and the ratios at which the law can tell it; None where it can nowhere."""
    curves = tradeoff(laws, law, task, BATCH_MULTIPLE)
    can_tell = curves.part(curves.predictable).utd
    if len(can_tell) < 5:
        return None
    allowed = np.flatnonzero((shape.utd >= can_tell[0] * (1 - 1e-9)) & (shape.utd <= can_tell[-1] * (1 + 1e-9)))
    if not allowed.size:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        text, offset, step = packed(np.log(law.predict_draws(shape.utd, task)[:: shape.every]))
    data = [_finite(float(one), 8) for one in law.predict(shape.utd, task)]
    ends = [bool(can_tell[0] > curves.utd[0] * 1.001), bool(can_tell[-1] < curves.utd[-1] * 0.999)]
    first, last = int(allowed[0]), int(allowed[-1])
    return {"first": first, "last": last, "unsettled": ends, "data": data, "offset": offset, "step": step, "log_draws": text}


def _estimate(found: Estimate) -> list[float | None]:
    return [_finite(found.value), _finite(found.low), _finite(found.high)]


def _finite(value: float, digits: int = 6) -> float | None:
    return round_digits(value, digits) if np.isfinite(value) else None
