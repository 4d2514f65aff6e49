"""Which σ, B, η for a data or a compute limit (docs/equations.md, P1 and P2)."""

from dataclasses import replace
from typing import Literal

import numpy as np
from scipy.optimize import brentq

from tdscale.analysis.arrays import Floats
from tdscale.analysis.between import law_at
from tdscale.analysis.compute import UNIT_NAMES
from tdscale.analysis.estimate import short
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.views import measured_data_cost
from tdscale.errors import UserError
from tdscale.planning.answer import Choice, answer, beginning, with_prices
from tdscale.planning.candidates import Candidates, best_of, candidates, chances, meets, runnable_ratios, surely
from tdscale.planning.plan import Plan, Problem, name_of_ratio
from tdscale.planning.question import SURE, Question
from tdscale.planning.tradeoff import REACH, WORTHWHILE, Kind, Tradeoff, distance_price, least_within, tradeoff


def plan_compute(
    laws: ScalingLaws,
    compute: float,
    *,
    threshold: float | None = None,
    task: str | None = None,
    batch_multiple: int = 16,
    sure: float = SURE,
    any_utd: bool = False,
) -> Plan:
    """P1: the least data that reaches J with at most `compute`: the σ of least D among those with C_J(σ) ≤ C0 (equation 4.3).

    σ is sought where the law can tell D, up to 4 times beyond those that were run. Outside them it must save 10 % of the data for
    each doubling of the distance. It is one that trains as it stands: 6, 1.5, 1/4.

    Args:
        laws: of a study.
        compute: C0, in the laws' unit.
        threshold: J, from the lowest to the highest fitted; None for the highest. Between two that were fitted log D is interpolated.
        task: None for the domain.
        batch_multiple: B is rounded to a multiple of it.
        sure: the chance that the limit is met, as the share of the bootstrap draws; 0.5: by the estimate alone.
        any_utd: whether σ may be any number.

    Raises:
        UserError: if the question can't be asked of these laws.
    """
    return _plan(laws, "compute", compute, threshold, task, batch_multiple, sure, any_utd)


def plan_data(
    laws: ScalingLaws,
    data: float,
    *,
    threshold: float | None = None,
    task: str | None = None,
    batch_multiple: int = 16,
    sure: float = SURE,
    any_utd: bool = False,
) -> Plan:
    """P2: the least compute that reaches J within `data` env steps: the σ of least C among those with D_J(σ) ≤ D0 (equations 4.4, A.7).

    As `plan_compute`; outside the σ that were run it must save 10 % of the compute for each doubling. Where compute is not known,
    the answer is the smallest σ that meets the limit.
    """
    return _plan(laws, "data", data, threshold, task, batch_multiple, sure, any_utd)


def _plan(
    laws: ScalingLaws,
    problem: Literal["compute", "data"],
    limit: float,
    threshold: float | None,
    task: str | None,
    multiple: int,
    sure: float,
    any_utd: bool,
) -> Plan:
    check(laws, task, problem, limit, sure)
    law = law_at(laws, threshold)
    question = Question(laws, law, task, _known_price(laws, task), multiple, sure, any_utd)
    start = replace(beginning(question, problem, limit), threshold=law.threshold)
    every = tradeoff(laws, law, task, multiple)
    curves = every.part(every.predictable)
    if len(curves.utd) < 5:
        return replace(start, refused=True, reason=_refusal(law, float(np.sqrt(every.run[0] * every.run[1])), task))
    objective, bounded = _sides(curves, problem)
    priced = objective * distance_price(curves.utd, curves.run)
    utd, kind = least_within(curves, priced, np.concatenate([surely(bounded, sure)[None], bounded[1:]]), limit)
    if kind == "limit":
        utd = _on_the_limit(question, problem, limit, utd)
    choice = _choice(question, problem, limit, curves, float(utd[0]))
    if isinstance(choice, Candidates):
        return _nothing(question, start, every, curves, choice)
    start = replace(start, binding=_binding(problem, kind, question, curves, every, float(utd[0])))
    if problem == "data" and not laws.knows_compute:
        start = replace(start, notes=("compute is not known for this study: this is the smallest UTD ratio that meets the data limit",))
    return with_prices(question, answer(question, start, choice, utd[1:]), choice)


def _choice(question: Question, problem: Problem, limit: float, curves: Tradeoff, exact: float) -> Choice | Candidates:
    """The best σ that trains as it stands or, where none of them meets the limit, of all; what was tried where none of all does."""
    law = question.law
    plain = candidates(question, runnable_ratios(curves.utd[0], curves.utd[-1], law.reached))
    every = np.unique(np.concatenate([plain.utd, curves.utd, [] if np.isnan(exact) else [exact]]))
    tried = plain
    for rounded_down in (False, True):
        free = candidates(question, every, rounded_down=rounded_down)
        best = _best(question, problem, limit, curves, free)
        for tried in ([] if question.any_utd else [candidates(question, plain.utd, rounded_down=rounded_down)]) + [free]:
            index = _best(question, problem, limit, curves, tried)
            if index is None or best is None:
                continue
            needs = _objective(free, problem, curves.run)[best]
            return Choice(
                options=tried,
                index=index,
                others=plain,
                objective=_objective(tried, problem, curves.run),
                other_objective=_objective(plain, problem, curves.run),
                exact=exact,
                free=(float(free.utd[best]), float(needs)),
            )
    return tried


def _best(question: Question, problem: Problem, limit: float, curves: Tradeoff, options: Candidates) -> int | None:
    """Index of the best that meets the limit; None where none does."""
    return best_of(options, _objective(options, problem, curves.run), meets(options.side(problem), limit, question.sure))


def _objective(options: Candidates, problem: Problem, run: tuple[float, float]) -> Floats:
    """What is to be least, shape (n,). Compute that is not known grows with σ: the least σ that was run stands for it."""
    values = options.data[0] if problem == "compute" else options.compute[0]
    return np.asarray(np.where(np.isnan(values), np.maximum(options.utd, run[0]), values))


def _sides(curves: Tradeoff, problem: Problem) -> tuple[Floats, Floats]:
    """What is to be least and what is bounded, shape (1 + n_draws, n)."""
    if problem == "compute":
        return curves.data, curves.compute
    if np.isnan(curves.compute).any():
        return np.broadcast_to(np.maximum(curves.utd, curves.run[0]), curves.data.shape), curves.data
    return curves.compute, curves.data


def _on_the_limit(question: Question, problem: Problem, limit: float, utd: Floats) -> Floats:
    """Row 0 to full precision: the σ at which the smooth law itself meets the limit."""

    def over(log_utd: float) -> float:
        at = np.array([np.exp(log_utd)])
        data = np.concatenate([question.law.predict(at, question.task)[None], question.law.predict_draws(at, question.task)])
        value = surely(data if problem == "data" else question.smooth_compute(at, data), question.sure)
        return float(np.log(max(float(value[0]), 1e-300) / limit))

    centre, step = float(np.log(utd[0])), 0.02
    if over(centre - step) * over(centre + step) < 0:
        return np.concatenate([[np.exp(brentq(over, centre - step, centre + step, xtol=1e-13))], utd[1:]])
    return utd


def _nothing(question: Question, start: Plan, every: Tradeoff, curves: Tradeoff, tried: Candidates) -> Plan:
    """No σ meets the limit where the law can tell: infeasible, or refused where it may be met beyond."""
    law, task = question.law, question.task
    side = "compute" if start.problem == "compute" else "data"
    values, all_values = getattr(curves, side), getattr(every, side)
    best = int(np.argmin(values[0]))
    least, at = float(values[0, best]), float(curves.utd[best])
    unit = UNIT_NAMES[question.laws.unit] if side == "compute" else "env steps"
    beyond = np.flatnonzero(meets(all_values, start.limit, question.sure) & ~every.predictable)
    if beyond.size:
        where = float(every.utd[beyond[np.argmin(np.abs(np.log(every.utd[beyond] / at)))]])
        return replace(start, refused=True, reason=f"{short(start.limit)} may be met, but only where {_refusal(law, where, task)}")
    there = f"J = {law.threshold:.4g} takes at least {short(least)} {unit}"
    looked = f"the best of UTD {name_of_ratio(curves.utd[0])} to {name_of_ratio(curves.utd[-1])}"
    reason = f"{there} (at UTD {name_of_ratio(at)}, {looked}); {short(start.limit)} is not enough"
    if least <= start.limit and question.sure > 0.5:
        reason = f"no UTD ratio meets {short(start.limit)} {unit} with a chance of {question.sure:.0%}; {there} by the estimate"
    return with_best_chance(replace(start, reason=reason), tried)


def with_best_chance(plan: Plan, tried: Candidates) -> Plan:
    """The plan, that there is none, with the best chance to be had and its σ; as it is without draws."""
    share = chances(tried.side(plan.problem), plan.limit)
    if np.isnan(share).all():
        return plan
    best = int(np.lexsort((tried.distance, -share))[0])
    return replace(plan, chance=float(share[best]), chance_utd=float(tried.utd[best]))


def _refusal(law: DataLaw, utd: float, task: str | None) -> str:
    return law.refusal(utd, task) or f"the runs don't settle D beside σ = {short(utd)}"


def _binding(problem: Problem, kind: Kind, question: Question, curves: Tradeoff, every: Tradeoff, utd: float) -> str:
    name = "compute" if problem == "compute" else "data"
    if kind in ("limit", "none"):
        return f"The {name} limit binds."
    other = "data" if problem == "compute" else "compute"
    free = f"The {name} limit does not bind: "
    if problem == "data" and np.isnan(curves.compute).any():
        return free + "this is the smallest UTD ratio that was run."
    side, end = ("larger", -1) if utd >= every.run[1] * 0.99 else ("smaller", 0)
    if kind == "end":
        if curves.utd[end] != every.utd[end]:
            return free + f"{side} UTD ratios would be allowed, but beyond {name_of_ratio(curves.utd[end])} the runs don't settle D."
        return free + f"{side} UTD ratios would be allowed, but lie more than {REACH:.0f} times beyond what was run."
    outside = not every.run[0] * 1.01 < utd < every.run[1] * 0.99
    if outside and not np.isclose(utd, curves.utd[end]):
        farther = np.array([utd * (1.1 if end else 1 / 1.1)])
        here, there = (_needed(question, problem, at) for at in (np.array([utd]), farther))
        if there < here:
            return free + f"{side} UTD ratios would save less than {WORTHWHILE:.0%} of the {other} for each doubling beyond what was run."
    ratios = "of all" if question.any_utd else "of all that train as they stand"
    return free + f"this UTD ratio needs the least {other} {ratios}."


def _needed(question: Question, problem: Problem, at: Floats) -> float:
    """What is to be least, at one σ."""
    data = question.law.predict(at, question.task)
    return float((data if problem == "compute" else question.smooth_compute(at, data))[0])


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


def check(laws: ScalingLaws, task: str | None, name: str, limit: float, sure: float) -> None:
    """Raises UserError where a question can't be asked."""
    if not np.isfinite(limit) or limit <= 0:
        raise UserError(f"--{name}: {limit:g} is not a limit; it must be > 0, e.g. 1e6")
    if not 0.5 <= sure < 1:
        raise UserError(f"--sure: {sure:g} is not a chance to plan for; it must be from 0.5 to below 1, e.g. 0.8")
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
