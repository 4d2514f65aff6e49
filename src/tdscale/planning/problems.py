"""Which σ, B, η for a data, a compute or a total budget, and what return to expect (METHOD.md section 2, P1 to P3)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.budget import fit_line, minimum_on_grid
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.laws import DataLaw, ScalingLaws
from tdscale.errors import UserError
from tdscale.planning.plan import Plan
from tdscale.planning.tradeoff import Tradeoff, cheapest, last_allowed, reach, tradeoff

# A σ outside those that were run by less than this factor is not worth a word
NEAR = 1.05


def plan_compute(
    laws: ScalingLaws, compute: float, *, threshold: float | None = None, task: str | None = None, batch_multiple: int = 16
) -> Plan:
    """P1: the least data that reaches J with at most `compute` FLOPs: the σ of least D among those with C_J(σ) ≤ C0 (equation 4.3)."""
    law, curves = _prepare(laws, threshold, task, "compute", compute)
    allowed = curves.compute <= compute
    start = Plan(problem="compute", limit=compute, data_cost=laws.data_cost, task=task, feasible=False, threshold=law.threshold)
    if not allowed[0].any():
        least, lowest, _ = minimum_on_grid(np.log(curves.utd), curves.compute[:1])
        reason = (
            f"J = {law.threshold:.4g} takes at least {short(float(lowest[0]))} FLOPs (at σ ="
            f" {short(float(np.exp(least[0])))}); {short(compute)} is not enough"
        )
        return replace(start, reason=reason)
    best = last_allowed(curves, np.where(allowed, curves.data, np.inf), curves.compute, compute)
    at_end = best[0] >= curves.utd[-1] * 0.999
    binding = "More σ would be affordable, but lies too far beyond what was run." if at_end else "The compute limit binds."
    return _answer(laws, law, start, best, binding, batch_multiple)


def plan_data(laws: ScalingLaws, data: float, *, threshold: float | None = None, task: str | None = None, batch_multiple: int = 16) -> Plan:
    """P2: the least compute that reaches J within `data` env steps: the σ of least C among those with D_J(σ) ≤ D0 (equations 4.4, A.7)."""
    law, curves = _prepare(laws, threshold, task, "data", data)
    allowed = curves.data <= data
    start = Plan(problem="data", limit=data, data_cost=laws.data_cost, task=task, feasible=False, threshold=law.threshold)
    if not allowed[0].any():
        least = float(curves.data[0].min())
        reason = (
            f"J = {law.threshold:.4g} takes at least {short(least)} env steps up to σ ="
            f" {short(float(curves.utd[-1]))}; {short(data)} is not enough"
        )
        return replace(start, reason=reason)
    if np.isnan(curves.compute).any():
        # compute is not known, but it grows with σ past its minimum: the least σ that meets the limit
        best = last_allowed(curves, np.where(allowed, curves.utd, np.inf), curves.data, data)
        start = replace(start, notes=("compute is not known for this study: this is the smallest σ that meets the data limit",))
        return _answer(laws, law, start, best, "The data limit binds.", batch_multiple)
    best = last_allowed(curves, np.where(allowed, curves.compute, np.inf), curves.data, data)
    binds = float(law.predict([best[0]], task)[0]) > 0.98 * data
    binding = "The data limit binds." if binds else "The data limit does not bind: this σ needs the least compute of all."
    return _answer(laws, law, start, best, binding, batch_multiple)


def plan_budget(
    laws: ScalingLaws, budget: float, data_cost: float | None = None, *, task: str | None = None, batch_multiple: int = 16
) -> Plan:
    """P3: the highest J with C + δ·D ≤ `budget`; beyond the highest J fitted, the law σ*(F) and the D and C it leaves."""
    cost = data_cost if data_cost is not None else laws.data_cost
    if cost is None:
        raise UserError(
            "a total budget needs the price of an env step: give --data-cost, or data_cost in study.toml, in FLOPs per env step"
        )
    _check(laws, task, "budget", budget)
    optima = [cheapest(laws, law, task, cost) for law in laws.data]
    values = np.array([float(lowest[0]) for _, lowest, _ in optima])
    start = Plan(problem="budget", limit=budget, data_cost=cost, task=task, feasible=False)
    if budget < values.min():
        first = laws.data[int(np.argmin(values))]
        reason = (
            f"the lowest threshold fitted, J = {first.threshold:.4g}, takes F ="
            f" {short(float(values.min()))} at its best σ; {short(budget)} is not enough"
        )
        return replace(start, reason=reason)
    reached = int(np.flatnonzero(values <= budget)[-1])
    law = laws.data[reached]
    beyond = reached == len(values) - 1 and budget > 1.05 * values[-1]
    if not beyond:
        binding = (
            f"The next threshold fitted, J = {laws.data[reached + 1].threshold:.4g}, would take F = {short(float(values[reached + 1]))}."
            if reached + 1 < len(values)
            else ""
        )
        return _answer(
            laws, law, replace(start, threshold=law.threshold), np.exp(optima[reached][0]), binding or "The budget binds.", batch_multiple
        )
    points = [(float(np.exp(o[0][0])), float(o[1][0])) for o, law in zip(optima, laws.data, strict=True)]
    return _beyond(laws, law, start, budget, cost, optima, points, batch_multiple)


def _check(laws: ScalingLaws, task: str | None, name: str, limit: float) -> None:
    if not np.isfinite(limit) or limit <= 0:
        raise UserError(f"--{name}: {limit:g} is not a limit; it must be > 0, e.g. 1e6")
    if task is not None and task not in laws.tasks:
        raise UserError(f"--task: there is no {task!r} in this study; there is {', '.join(laws.tasks)}")
    if not laws.data:
        raise UserError("no data law could be fitted, so there is nothing to plan with; see the warnings of `tdscale fit`")
    if name != "data" and (not laws.compute or laws.batch_size is None):
        raise UserError(
            f"--{name}: compute is not known for this study (no network sizes or no batch size law); see the warnings of `tdscale fit`"
        )


def _prepare(laws: ScalingLaws, threshold: float | None, task: str | None, name: str, limit: float) -> tuple[DataLaw, Tradeoff]:
    _check(laws, task, name, limit)
    law = _law_at(laws, threshold)
    return law, tradeoff(laws, law, task)


def _law_at(laws: ScalingLaws, threshold: float | None) -> DataLaw:
    if threshold is None:
        return laws.data[-1]
    try:
        return laws.data_law(threshold)
    except KeyError:
        known = ", ".join(f"{law.threshold:.4g}" for law in laws.data)
        near = min(laws.data, key=lambda law: abs(law.threshold - threshold))
        if abs(near.threshold - threshold) < 0.6:  # thresholds are printed rounded
            return near
        raise UserError(f"--threshold: no law was fitted at {threshold:g}; there are laws at {known}") from None


def _answer(laws: ScalingLaws, law: DataLaw, start: Plan, utd: Floats, binding: str, batch_multiple: int) -> Plan:
    """The whole of a plan at the σ in row 0 of `utd`."""
    start = _settings(laws, law, start, utd, batch_multiple)
    assert start.utd is not None
    value, batch_size = start.utd, start.batch_size
    data = law.estimate(value, start.task)
    compute = _compute_at(laws, law, value, start.task, batch_size)
    if (
        start.problem == "compute"
        and compute is not None
        and batch_size is not None
        and compute.value > start.limit
        and batch_size > batch_multiple
    ):
        # rounding B up would break the limit
        batch_size -= batch_multiple
        start = replace(start, batch_size=batch_size)
        compute = _compute_at(laws, law, value, start.task, batch_size)
    budget = None
    if compute is not None and start.data_cost is not None:
        draws = _compute_draws(laws, law, value, start.task, batch_size) + start.data_cost * law.predict_draws([value], start.task)[:, 0]
        budget = Estimate.from_draws(compute.value + start.data_cost * data.value, draws)
    notes = list(start.notes)
    warm_up = max((laws.compute[name].warm_up for name in laws.compute), default=0.0)
    if data.value <= warm_up:
        notes.append(f"D lies within the warm-up of {short(warm_up)} random steps: the law does not reach there, ask for more return")
    missed = float(np.isnan(utd[1:]).mean()) if len(utd) > 1 else 0.0  # published laws have no draws
    if missed > 0.1:
        notes.append(f"in {missed:.0%} of the bootstrap draws nothing meets the limit")
    if law.offset.weight < 0.999 and start.extrapolation > NEAR:
        notes.append("the forms of the data law disagree more the farther σ is from what was run; the interval holds both")
    return replace(
        start,
        data=data,
        compute=compute,
        budget=budget,
        binding=binding,
        notes=tuple(notes),
    )


def _settings(laws: ScalingLaws, law: DataLaw, start: Plan, utd: Floats, batch_multiple: int) -> Plan:
    """The plan with σ of row 0, its interval, B and η there, and how far it extrapolates."""
    value = float(utd[0])
    factor = law.extrapolation(value)
    notes = list(start.notes)
    if factor > NEAR:
        notes.append(f"σ = {short(value)} lies outside the σ that were run, by a factor of {factor:.2g}: this extrapolates")
    return replace(
        start,
        feasible=True,
        utd=value,
        utd_range=Estimate.from_draws(value, utd[1:]),
        batch_size=_batch(laws, value, start.task, batch_multiple),
        learning_rate=float(laws.learning_rate.predict([value], start.task)[0]) if laws.learning_rate is not None else None,
        extrapolation=factor,
        notes=tuple(notes),
    )


def _batch(laws: ScalingLaws, utd: float, task: str | None, multiple: int) -> int | None:
    if laws.batch_size is None:
        return None
    return round_batch(float(laws.batch_size.predict([utd], task)[0]), multiple)


def round_batch(batch_size: float, multiple: int) -> int:
    """B to the nearest multiple, at least one of them."""
    return max(int(multiple * np.floor(batch_size / multiple + 0.5)), multiple)


def _compute_draws(laws: ScalingLaws, law: DataLaw, utd: float, task: str | None, batch_size: int | None) -> Floats:
    names: Sequence[str] = [task] if task is not None else laws.tasks
    data = law.predict_draws([utd], task)[:, 0]
    return np.asarray(np.mean([laws.compute[name].flops(utd, batch_size or 1, data) for name in names], axis=0))


def _compute_at(laws: ScalingLaws, law: DataLaw, utd: float, task: str | None, batch_size: int | None) -> Estimate | None:
    if not laws.compute or batch_size is None:
        return None
    names: Sequence[str] = [task] if task is not None else laws.tasks
    data = law.predict([utd], task)[0]
    value = float(np.mean([laws.compute[name].flops(utd, batch_size, data) for name in names]))
    return Estimate.from_draws(value, _compute_draws(laws, law, utd, task, batch_size))


def _beyond(
    laws: ScalingLaws,
    law: DataLaw,
    start: Plan,
    budget: float,
    cost: float,
    optima: Sequence[tuple[Floats, Floats, Floats]],
    points: Sequence[tuple[float, float]],
    batch_multiple: int,
) -> Plan:
    """A budget above the highest F_J: σ*(F) by the law through the optima, and D = F/(δ + C per env step) (P3)."""
    if len(points) < 2:
        return replace(
            start,
            reason=(
                f"F = {short(points[-1][1])} already reaches the only threshold fitted; one threshold gives no law σ*(F) to go beyond it"
            ),
        )
    log_budget = np.log(np.stack([lowest for _, lowest, _ in optima]))
    log_utd = np.stack([log_x for log_x, _, _ in optima])
    exponent, log_coefficient = fit_line(log_budget, log_utd)
    utd = np.clip(np.exp(log_coefficient + exponent * np.log(budget)), *reach(law))
    start = _settings(laws, law, start, utd, batch_multiple)
    assert start.utd is not None
    value, batch_size = start.utd, start.batch_size
    # C is linear in D past the warm-up: its rate and the warm-up's share follow from two values
    names: Sequence[str] = [start.task] if start.task is not None else laws.tasks
    far = 1e12
    warm_up = float(np.mean([laws.compute[name].warm_up for name in names]))

    def share(at: float, batch: float) -> float:
        """D that spends the whole budget at this σ and B."""
        rate = float(np.mean([laws.compute[name].flops(at, batch, far) for name in names])) / far
        return (budget + rate * warm_up) / (cost + rate)

    data = share(value, batch_size or 1)
    # the budget is spent whatever σ is; how it is best shared is as uncertain as σ*
    data_draws = np.array([share(float(at), float(_batch(laws, float(at), start.task, batch_multiple) or 1)) for at in utd[1:]])
    notes = [
        f"the budget is {budget / points[-1][1]:.2g} times what the highest threshold fitted, J ="
        f" {law.threshold:.4g}, takes: the return beyond it is not predicted",
    ]
    if laws.budget is not None and laws.budget.data_cost == cost and not laws.budget.fitted:
        notes.append("σ*(F) is not identified: the cheapest σ lies at the end of those that were run at nearly every threshold")
    return replace(
        start,
        data=Estimate.from_draws(data, data_draws),
        compute=Estimate.from_draws(budget - cost * data, budget - cost * data_draws),
        budget=Estimate.from_draws(budget, np.full(1, budget)),
        binding="D and C share the budget as the law σ*(F) says; their intervals are those of the best share.",
        notes=(*notes, *start.notes),
    )
