"""Which σ, B, η for a data, a compute or a total budget, and what return to expect (METHOD.md section 2, P1 to P3)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.budget import minimum_on_grid, utd_grid
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.laws import DataLaw, ScalingLaws
from tdscale.errors import UserError

Problem = Literal["data", "compute", "budget"]

# How far beyond the σ that were run an answer is sought, on either side
REACH = 4.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An answer to P1, P2 or P3.

    Attributes:
        problem: which limit was given: "compute" (P1, least data), "data" (P2, least compute) or "budget" (P3, highest return).
        limit: C0 or F0 in FLOPs, or D0 in env steps.
        data_cost: δ, for "budget".
        task: None for the domain.
        feasible: False where nothing meets the limit; `reason` says why, and the rest is None.
        threshold: J, normalised return, that will be reached. None where the budget goes beyond the highest threshold fitted:
            the return there is not predicted.
        utd, batch_size, learning_rate: what to run, B rounded; utd_range, the interval of the best σ.
        data, compute, budget: what it takes at that σ; budget where δ is known.
        binding: what keeps the answer from being better, in words.
        extrapolation: by what factor σ lies outside what was run; 1 inside.
        notes: what the reader should know.
    """

    problem: Problem
    limit: float
    data_cost: float | None
    task: str | None
    feasible: bool
    reason: str = ""
    threshold: float | None = None
    utd: float | None = None
    utd_range: Estimate | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    data: Estimate | None = None
    compute: Estimate | None = None
    budget: Estimate | None = None
    binding: str = ""
    extrapolation: float = 1.0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; estimates as {value, low, high, level}."""
        values: dict[str, Any] = dict(self.__dict__)
        return {
            key: value.to_dict() if isinstance(value, Estimate) else list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
        }

    def sentence(self) -> str:
        """The answer in words."""
        if not self.feasible:
            return f"No plan: {self.reason}"
        assert self.utd is not None
        assert self.data is not None
        reach = (
            f"return {short(self.threshold)} (normalised)" if self.threshold is not None else "a return beyond the highest threshold fitted"
        )
        settings = [f"σ = {short(self.utd)}"]
        if self.batch_size is not None:
            settings.append(f"B = {self.batch_size}")
        if self.learning_rate is not None:
            settings.append(f"η = {short(self.learning_rate)}")
        cost = [f"D = {self.data} env steps"]
        if self.compute is not None:
            cost.append(f"C = {self.compute} FLOPs")
        if self.budget is not None:
            cost.append(f"F = {self.budget}")
        return f"For {reach} run {', '.join(settings)}: {', '.join(cost)}. {self.binding}"


@dataclass(frozen=True, kw_only=True)
class _Curves:
    """D, C on a grid of σ: the point estimate in row 0, draws behind; shape (1 + n_draws, n)."""

    utd: Floats
    data: Floats
    compute: Floats


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
    best = _last_allowed(curves, np.where(allowed, curves.data, np.inf), curves.compute, compute)
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
        best = _last_allowed(curves, np.where(allowed, curves.utd, np.inf), curves.data, data)
        start = replace(start, notes=("compute is not known for this study: this is the smallest σ that meets the data limit",))
        return _answer(laws, law, start, best, "The data limit binds.", batch_multiple)
    best = _last_allowed(curves, np.where(allowed, curves.compute, np.inf), curves.data, data)
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
    optima = [_cheapest(laws, law, task, cost) for law in laws.data]
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


def _prepare(laws: ScalingLaws, threshold: float | None, task: str | None, name: str, limit: float) -> tuple[DataLaw, _Curves]:
    _check(laws, task, name, limit)
    law = _law_at(laws, threshold)
    return law, _curves(laws, law, task)


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


def _curves(laws: ScalingLaws, law: DataLaw, task: str | None) -> _Curves:
    seen = law.utd[np.isfinite(law.data).any(axis=0)]
    utd = utd_grid(seen.min() / REACH, seen.max() * REACH, 600)
    data = np.concatenate([law.predict(utd, task)[None], law.predict_draws(utd, task)])
    return _Curves(utd=utd, data=data, compute=laws.flops(utd, data, task))


def _last_allowed(curves: _Curves, objective: Floats, limited: Floats, limit: float) -> Floats:
    """σ of least objective among those allowed, for each row; on the limit itself where the optimum lies against it. NaN where none is."""
    best = np.argmin(objective, axis=1)
    rows = np.arange(len(objective))
    log_utd = np.log(curves.utd)
    result = log_utd[best]
    with np.errstate(divide="ignore"):
        # below the warm-up C is nothing, far below any limit
        excess = np.maximum(np.log(limited) - np.log(limit), -700.0)
    for step in (1, -1):
        beside = np.clip(best + step, 0, len(log_utd) - 1)
        here, there = excess[rows, best], excess[rows, beside]
        crosses = (here <= 0) & (there > 0) & (beside != best)
        share = np.where(crosses, here, 0.0) / np.where(crosses, here - there, 1.0)
        result = np.where(crosses, result + share * (log_utd[beside] - log_utd[best]), result)
    return np.where(np.isfinite(objective.min(axis=1)), np.exp(result), np.nan)


def _cheapest(laws: ScalingLaws, law: DataLaw, task: str | None, cost: float) -> tuple[Floats, Floats, Floats]:
    curves = _curves(laws, law, task)
    return minimum_on_grid(np.log(curves.utd), curves.compute + cost * curves.data)


def _answer(laws: ScalingLaws, law: DataLaw, start: Plan, utd: Floats, binding: str, batch_multiple: int) -> Plan:
    """The whole of a plan at the σ in row 0 of `utd`."""
    value = float(utd[0])
    batch_size = _batch(laws, value, start.task, batch_multiple)
    data = law.estimate(value, start.task)
    compute = _compute_at(laws, law, value, start.task, batch_size)
    budget = None
    if compute is not None and start.data_cost is not None:
        draws = _compute_draws(laws, law, value, start.task, batch_size) + start.data_cost * law.predict_draws([value], start.task)[:, 0]
        budget = Estimate.from_draws(compute.value + start.data_cost * data.value, draws)
    factor = law.extrapolation(value)
    notes = list(start.notes)
    warm_up = max((laws.compute[name].warm_up for name in laws.compute), default=0.0)
    if data.value <= warm_up:
        notes.append(f"D lies within the warm-up of {short(warm_up)} random steps: the law does not reach there, ask for more return")
    if factor > 1.05:
        notes.append(f"σ = {short(value)} lies outside the σ that were run, by a factor of {factor:.2g}: this extrapolates")
    missed = float(np.isnan(utd[1:]).mean())
    if missed > 0.1:
        notes.append(f"in {missed:.0%} of the bootstrap draws nothing meets the limit")
    if law.offset.weight < 0.999 and factor > 1.05:
        notes.append("the forms of the data law disagree more the farther σ is from what was run; the interval holds both")
    return replace(
        start,
        feasible=True,
        utd=value,
        utd_range=Estimate.from_draws(value, utd[1:]),
        batch_size=batch_size,
        learning_rate=float(laws.learning_rate.predict([value], start.task)[0]) if laws.learning_rate is not None else None,
        data=data,
        compute=compute,
        budget=budget,
        binding=binding,
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
    centred = log_budget - log_budget.mean(axis=0)
    exponent = (centred * log_utd).sum(axis=0) / np.maximum((centred**2).sum(axis=0), 1e-12)
    utd = np.exp(log_utd.mean(axis=0) + exponent * (np.log(budget) - log_budget.mean(axis=0)))
    seen = law.utd[np.isfinite(law.data).any(axis=0)]
    utd = np.clip(utd, seen.min() / REACH, seen.max() * REACH)
    value = float(utd[0])
    batch_size = _batch(laws, value, start.task, batch_multiple)
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
    factor = law.extrapolation(value)
    notes = [
        f"the budget is {budget / points[-1][1]:.2g} times what the highest threshold fitted, J ="
        f" {law.threshold:.4g}, takes: the return beyond it is not predicted",
    ]
    if laws.budget is not None and laws.budget.data_cost == cost and not laws.budget.fitted:
        notes.append("σ*(F) is not identified: the cheapest σ lies at the end of those that were run at nearly every threshold")
    if factor > 1.05:
        notes.append(f"σ = {short(value)} lies outside the σ that were run, by a factor of {factor:.2g}: this extrapolates")
    return replace(
        start,
        feasible=True,
        utd=value,
        utd_range=Estimate.from_draws(value, utd[1:]),
        batch_size=batch_size,
        learning_rate=float(laws.learning_rate.predict([value], start.task)[0]) if laws.learning_rate is not None else None,
        data=Estimate.from_draws(data, data_draws),
        compute=Estimate.from_draws(budget - cost * data, budget - cost * data_draws),
        budget=Estimate.from_draws(budget, np.full(1, budget)),
        binding="D and C share the budget as the law σ*(F) says; their intervals are those of the best share.",
        extrapolation=factor,
        notes=tuple(notes),
    )
