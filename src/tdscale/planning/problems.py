"""Which σ, B, η for a data or a compute limit (docs/equations.md, P1 and P2)."""

from dataclasses import replace
from typing import Literal

import numpy as np
from scipy.optimize import brentq

from tdscale.analysis.arrays import Floats
from tdscale.analysis.compute import UNIT_NAMES
from tdscale.analysis.estimate import short
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.views import measured_data_cost
from tdscale.errors import UserError
from tdscale.planning.answer import Question, answer, snapped
from tdscale.planning.plan import Plan, Problem, Relaxed
from tdscale.planning.tradeoff import REACH, WORTHWHILE, Kind, Tradeoff, least_within, tradeoff

MORE = 1.1  # a plan shows what a limit relaxed by this factor would buy


def plan_compute(
    laws: ScalingLaws, compute: float, *, threshold: float | None = None, task: str | None = None, batch_multiple: int = 16
) -> Plan:
    """P1: the least data that reaches J with at most `compute`: the σ of least D among those with C_J(σ) ≤ C0 (equation 4.3).

    σ is sought where the law can tell D, up to 4 times beyond those that were run. The largest of them are left out where they
    would save less than 5 % of the data.

    Args:
        laws: of a study.
        compute: C0, in the laws' unit.
        threshold: J, one of those fitted; None for the highest.
        task: None for the domain.
        batch_multiple: B is rounded to a multiple of it.

    Raises:
        UserError: if the question can't be asked of these laws.
    """
    return _plan(laws, "compute", compute, threshold, task, batch_multiple)


def plan_data(laws: ScalingLaws, data: float, *, threshold: float | None = None, task: str | None = None, batch_multiple: int = 16) -> Plan:
    """P2: the least compute that reaches J within `data` env steps: the σ of least C among those with D_J(σ) ≤ D0 (equations 4.4, A.7).

    As `plan_compute`; the smallest σ are left out where they would save less than 5 % of the compute. Where compute is
    not known, the answer is the smallest σ that meets the limit.
    """
    return _plan(laws, "data", data, threshold, task, batch_multiple)


def _plan(
    laws: ScalingLaws, problem: Literal["compute", "data"], limit: float, threshold: float | None, task: str | None, multiple: int
) -> Plan:
    check(laws, task, problem, limit)
    law = _law_at(laws, threshold)
    question = Question(laws, law, task, _known_price(laws, task), multiple)
    start = replace(beginning(question, problem, limit), threshold=law.threshold)
    every = tradeoff(laws, law, task, multiple)
    curves = every.part(every.predictable)
    if len(curves.utd) < 5:
        return replace(start, refused=True, reason=_refusal(law, float(np.sqrt(every.run[0] * every.run[1])), task))
    choice = _choice(curves, problem)
    objective, bounded = _sides(choice, problem)
    utd, kind = least_within(choice, objective, bounded, limit)
    if kind == "none":
        # the part that was left out as not worthwhile may still meet the limit
        choice = curves
        objective, bounded = _sides(choice, problem)
        utd, kind = least_within(choice, objective, bounded, limit)
    if kind == "none":
        return _nothing(question, start, every, curves)
    if kind == "limit":
        utd = _on_the_limit(question, problem, limit, utd)
    utd = snapped(utd, kind, choice)
    start = replace(start, binding=_binding(problem, kind, choice, curves, every, float(utd[0])))
    if problem == "data" and not laws.knows_compute:
        start = replace(start, notes=("compute is not known for this study: this is the smallest σ that meets the data limit",))
    plan = answer(question, start, utd, choice, objective)
    if kind != "limit":
        return plan
    more, _ = least_within(choice, objective, bounded, MORE * limit)
    return replace(plan, relaxed=_relaxed(question, problem, MORE * limit, float(more[0])))


def _choice(curves: Tradeoff, problem: Problem) -> Tradeoff:
    """The σ worth choosing from."""
    if problem == "compute":
        return curves.worthwhile_upwards()
    if np.isnan(curves.compute).any():
        return curves.part(curves.utd >= curves.run[0] * (1 - 1e-9))
    return curves.worthwhile_downwards()


def _sides(curves: Tradeoff, problem: Problem) -> tuple[Floats, Floats]:
    """What is to be least and what is bounded, shape (1 + n_draws, n)."""
    if problem == "compute":
        return curves.data, curves.compute
    if np.isnan(curves.compute).any():
        # compute grows with σ past its minimum: the least σ stands for it
        return np.broadcast_to(curves.utd, curves.data.shape), curves.data
    return curves.compute, curves.data


def _on_the_limit(question: Question, problem: Problem, limit: float, utd: Floats) -> Floats:
    """Row 0 to full precision: the σ at which the smooth law itself meets the limit."""

    def over(log_utd: float) -> float:
        at = np.array([np.exp(log_utd)])
        data = question.law.predict(at, question.task)
        value = data if problem == "data" else question.smooth_compute(at, data)
        return float(np.log(max(float(value[0]), 1e-300) / limit))

    centre, step = float(np.log(utd[0])), 0.02
    if over(centre - step) * over(centre + step) < 0:
        return np.concatenate([[np.exp(brentq(over, centre - step, centre + step, xtol=1e-13))], utd[1:]])
    return utd


def _nothing(question: Question, start: Plan, every: Tradeoff, curves: Tradeoff) -> Plan:
    """No σ meets the limit where the law can tell: infeasible, or refused where it may be met beyond."""
    law, task = question.law, question.task
    side = "compute" if start.problem == "compute" else "data"
    values, all_values = getattr(curves, side), getattr(every, side)
    best = int(np.argmin(values[0]))
    least, at = float(values[0, best]), float(curves.utd[best])
    unit = UNIT_NAMES[question.laws.unit] if side == "compute" else "env steps"
    beyond = np.flatnonzero((all_values[0] <= start.limit) & ~every.predictable)
    if beyond.size:
        where = float(every.utd[beyond[np.argmin(np.abs(np.log(every.utd[beyond] / at)))]])
        return replace(start, refused=True, reason=f"{short(start.limit)} may be met, but only where {_refusal(law, where, task)}")
    chance = float((values[1:].min(axis=1) <= start.limit).mean()) if len(values) > 1 else 0.0
    reason = (
        f"J = {law.threshold:.4g} takes at least {short(least)} {unit} (at σ = {short(at)}, the best of σ ="
        f" {short(float(curves.utd[0]))} to {short(float(curves.utd[-1]))}); {short(start.limit)} is not enough"
    )
    if chance >= 0.01:
        reason += f" (it is in {chance:.0%} of the bootstrap draws)"
    return replace(start, reason=reason, chance=chance)


def _refusal(law: DataLaw, utd: float, task: str | None) -> str:
    return law.refusal(utd, task) or f"the runs don't settle D beside σ = {short(utd)}"


def _binding(problem: Problem, kind: Kind, choice: Tradeoff, curves: Tradeoff, every: Tradeoff, utd: float) -> str:
    name = "compute" if problem == "compute" else "data"
    if kind == "limit":
        return f"The {name} limit binds."
    other = "data" if problem == "compute" else "compute"
    free = f"The {name} limit does not bind: "
    if kind == "inside":
        return free + f"this σ needs the least {other} of all."
    if problem == "data" and np.isnan(choice.compute).any():
        return free + "this is the smallest σ that was run."
    side = "larger" if utd >= every.run[1] * 0.99 else "smaller"
    end = -1 if side == "larger" else 0
    if curves.utd[end] != every.utd[end]:
        return free + f"{side} σ would be allowed, but beyond σ = {short(float(curves.utd[end]))} the runs don't settle D."
    if choice.utd[end] != curves.utd[end]:
        return free + f"{side} σ would save less than {WORTHWHILE:.0%} of the {other}."
    return free + f"{side} σ would be allowed, but lies more than {REACH:.0f} times beyond what was run."


def _relaxed(question: Question, problem: Problem, limit: float, utd: float) -> Relaxed:
    data = float(question.law.predict([utd], question.task)[0])
    compute = float(question.smooth_compute(np.array([utd]), np.array([data]))[0])
    return Relaxed(limit=limit, utd=utd, data=data, compute=compute if np.isfinite(compute) else None, threshold=question.law.threshold)


def beginning(question: Question, problem: Problem, limit: float) -> Plan:
    """What is known of a plan before its answer."""
    laws = question.laws
    return Plan(
        problem=problem,
        limit=limit,
        data_cost=question.cost,
        data_cost_source=laws.data_cost_source,
        task=question.task,
        unit=laws.unit,
        accounting=next((model.accounting for model in laws.compute.values()), None),
        feasible=False,
    )


def _known_price(laws: ScalingLaws, task: str | None) -> float | None:
    """δ as the study has it; a measured one is the task's own."""
    if laws.data_cost_source == "measured" and task is not None:
        return measured_data_cost(laws, task)
    return laws.data_cost


def price(laws: ScalingLaws, data_cost: float | Literal["measured"] | None, task: str | None) -> tuple[float, Literal["given", "measured"]]:
    """δ as asked for, else the study's, and where it comes from. Raises UserError where there is none."""
    if data_cost == "measured" or (data_cost is None and laws.data_cost_source == "measured"):
        measured = measured_data_cost(laws, task)
        if measured is None:
            reason = "the runs recorded no times (imported curves have none)"
            raise UserError(f"the price of an env step can't be measured: {reason}; give --data-cost a number")
        return measured, "measured"
    cost = data_cost if data_cost is not None else laws.data_cost
    if cost is None:
        raise UserError(
            f"a total budget needs the price of an env step: give --data-cost, in {UNIT_NAMES[laws.unit]} per env step or measured, or"
            " data_cost in study.toml"
        )
    return cost, "given"


def check(laws: ScalingLaws, task: str | None, name: str, limit: float) -> None:
    """Raises UserError where a question can't be asked."""
    if not np.isfinite(limit) or limit <= 0:
        raise UserError(f"--{name}: {limit:g} is not a limit; it must be > 0, e.g. 1e6")
    if task is not None and task not in laws.tasks:
        raise UserError(f"--task: there is no {task!r} in this study; there is {', '.join(laws.tasks)}")
    if name != "data" and task is not None and laws.knows_compute and np.isnan(laws.compute_for(np.ones(1), np.ones(1), task)[0]):
        raise UserError(f"--{name}: the sweep tells no B*(σ) of {task}, so its compute is not known; see the warnings of `tdscale fit`")
    if not laws.data:
        raise UserError("no data law could be fitted, so there is nothing to plan with; see the warnings of `tdscale fit`")
    if name != "data" and not laws.knows_compute:
        raise UserError(
            f"--{name}: compute is not known for this study (no network sizes or no batch size law); see the warnings of `tdscale fit`"
        )


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
