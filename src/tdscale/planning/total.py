"""The highest return for a total budget (docs/equations.md, P3), and how to share a budget beyond every threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.budget import fit_line, regret_at, regret_in_words
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning.answer import Question, answer, settings
from tdscale.planning.plan import Plan, Relaxed
from tdscale.planning.problems import MORE, beginning, check, price
from tdscale.planning.tradeoff import Tradeoff, cheapest, reach, tradeoff


@dataclass(frozen=True)
class _Cheapest:
    """The cheapest way to one threshold: σ and F of the point estimate and the draws, each of shape (1 + n_draws,)."""

    law: DataLaw
    curves: Tradeoff
    utd: Floats
    budget: Floats


def plan_budget(
    laws: ScalingLaws,
    budget: float,
    data_cost: float | Literal["measured"] | None = None,
    *,
    task: str | None = None,
    batch_multiple: int = 16,
) -> Plan:
    """P3: the highest J fitted with C + δ·D ≤ `budget`; beyond the highest, the law σ*(F) and the D and C it leaves.

    Args:
        laws: of a study.
        budget: F0, in the laws' unit.
        data_cost: δ, in the laws' unit per env step, or "measured"; None for the study's.
        task: None for the domain.
        batch_multiple: B is rounded to a multiple of it.

    Raises:
        UserError: if the question can't be asked of these laws.
    """
    check(laws, task, "budget", budget)
    cost, source = price(laws, data_cost, task)
    top = Question(laws, laws.data[-1], task, cost, batch_multiple)
    start = replace(beginning(top, "budget", budget), data_cost_source=source)
    found = [entry for law in laws.data if (entry := _cheapest(replace(top, law=law), cost)) is not None]
    if not found:
        middle = float(np.sqrt(np.prod(reach(top.law))))
        return replace(start, refused=True, reason=top.law.refusal(middle, task) or "the runs don't settle D at any threshold")
    values = np.array([entry.budget[0] for entry in found])
    if budget < values.min():
        return _nothing(start, found, values)
    reached = int(np.flatnonzero(values <= budget)[-1])
    entry = found[reached]
    question = replace(top, law=entry.law)
    over = reached == len(found) - 1 and budget > 1.05 * values[-1]
    if over and (utd := _law_of_budgets(question, found, budget)) is not None:
        return _beyond(question, start, utd, float(values[-1]))
    following = found[reached + 1] if reached + 1 < len(found) else None
    utd, remark = _near_the_runs(entry, budget, cost)
    alone = "one threshold gives no law σ*(F): what the rest of the budget could buy beyond this return is not known" if over else ""
    start = replace(
        start,
        notes=tuple(note for note in (alone, remark) if note),
        threshold=entry.law.threshold,
        threshold_range=_thresholds(found, budget, entry.law.threshold),
        regret=regret_at(entry.law, question.smooth_compute, cost, float(utd[0]), entry.budget, task),
        binding="The budget does not bind." if over else _binding(budget, entry, following),
    )
    plan = answer(question, start, utd, entry.curves)
    if following is not None and following.budget[0] <= MORE * budget:
        at = following.utd[:1]
        data = following.law.predict(at, task)
        compute = float(question.smooth_compute(at, data)[0])
        bought = Relaxed(limit=MORE * budget, utd=float(at[0]), data=float(data[0]), compute=compute, threshold=following.law.threshold)
        plan = replace(plan, relaxed=bought)
    assert plan.regret is not None
    if np.isnan(plan.regret.value):
        return plan
    return replace(plan, notes=(*plan.notes, regret_in_words(plan.regret)))


def _cheapest(question: Question, cost: float) -> _Cheapest | None:
    """None where the law can't tell D at all."""
    every = tradeoff(question.laws, question.law, question.task, question.multiple)
    curves = every.part(every.predictable)
    if len(curves.utd) < 5:
        return None
    return _Cheapest(question.law, curves, *cheapest(curves, cost))


def _near_the_runs(entry: _Cheapest, budget: float, cost: float) -> tuple[Floats, str]:
    """σ*; where it lies outside the σ that were run and F is flat, the σ nearest to them that takes 1 % more than the least F."""
    curves, best = entry.curves, float(entry.utd[0])
    low, high = curves.run
    if low * (1 - 1e-9) <= best <= high * (1 + 1e-9):
        return entry.utd, ""
    total = curves.compute[0] + cost * curves.data[0]
    good = total <= min(1.01 * float(entry.budget[0]), budget)
    between = (curves.utd >= min(best, high)) & (curves.utd <= max(best, low))
    if not (good & between).any():
        return entry.utd, ""
    distance = np.where(good & between, np.maximum(np.log(curves.utd / high), np.log(low / curves.utd)), np.inf)
    nearest = float(curves.utd[np.argmin(distance)])
    remark = f"the least F lies at σ = {short(best)}; the σ nearer to those that were run takes at most 1% more"
    if best in (curves.utd[0], curves.utd[-1]):
        remark = f"F still falls at σ = {short(best)}, the farthest looked at; the σ nearer to those that were run takes at most 1% more"
    return np.concatenate([[nearest], entry.utd[1:]]), remark


def _nothing(start: Plan, found: Sequence[_Cheapest], values: Floats) -> Plan:
    first = found[int(np.argmin(values))]
    chance = float((first.budget[1:] <= start.limit).mean()) if len(first.budget) > 1 else 0.0
    reason = (
        f"the lowest threshold fitted, J = {first.law.threshold:.4g}, takes F = {short(float(first.budget[0]))} at its best σ ="
        f" {short(float(first.utd[0]))}; {short(start.limit)} is not enough"
    )
    if chance >= 0.01:
        reason += f" (it is in {chance:.0%} of the bootstrap draws)"
    return replace(start, reason=reason, chance=chance)


def _thresholds(found: Sequence[_Cheapest], budget: float, value: float) -> Estimate:
    """The interval of the highest J that the budget reaches; draws in which it reaches none count as the lowest."""
    levels = np.array([entry.law.threshold for entry in found])
    reached = np.stack([entry.budget[1:] for entry in found]) <= budget  # (n_thresholds, n_draws)
    highest = np.where(reached, levels[:, None], levels[0]).max(axis=0)
    return Estimate.from_draws(value, highest)


def _binding(budget: float, entry: _Cheapest, following: _Cheapest | None) -> str:
    if following is None:
        return "The budget binds."
    least, needed = float(entry.budget[0]), float(following.budget[0])
    share = np.log(budget / least) / np.log(needed / least)
    return (
        f"The budget binds: the next threshold fitted, J = {short(following.law.threshold)}, would take F = {short(needed)}, and this is"
        f" {share:.0%} of the way (in log F)."
    )


def _law_of_budgets(question: Question, found: Sequence[_Cheapest], budget: float) -> Floats | None:
    """σ*(F) by the law through the optima, or by the study's; None where there is neither."""
    known = question.laws.budget
    if len(found) > 1:
        with np.errstate(invalid="ignore", over="ignore"):  # draws that never reach J; budgets that hardly differ
            exponent, log_coefficient = fit_line(np.log([entry.budget for entry in found]), np.log([entry.utd for entry in found]))
            return np.asarray(np.exp(log_coefficient + exponent * np.log(budget)))
    if known is not None and known.fitted and known.data_cost == question.cost:  # published laws have it though not its points
        return np.concatenate([[known.predict(budget)], known.predict_draws(budget)])
    return None


def _beyond(question: Question, start: Plan, utd: Floats, highest: float) -> Plan:
    """A budget above the highest F_J: σ*(F), and D = F/(δ + C per env step) (P3)."""
    laws, law, budget, cost = question.laws, question.law, start.limit, question.cost
    assert cost is not None
    utd = np.clip(utd, *reach(law))
    start = settings(question, start, utd, question.batch_size(float(utd[0])))
    models = [laws.compute[name] for name in question.names]

    by_warm_up = sorted(models, key=lambda model: model.warm_up)

    def share(at: float) -> float:
        """D that spends the whole budget at this σ and the B that goes with it: C is linear in D past each task's warm-up."""
        batch_size = question.batch_size(at) or 1
        rates = np.array([0.0, *(float(model.rate(at, batch_size)) / len(models) for model in by_warm_up)])
        idle = rates * [0.0, *(model.warm_up for model in by_warm_up)]
        # F(D) is the largest of these lines, one for each number of tasks that are past theirs
        return float(np.min((budget + idle.cumsum()) / (cost + rates.cumsum())))

    data = share(float(utd[0]))
    # the budget is spent whatever σ is; how it is best shared is as uncertain as σ*
    data_draws = np.array([share(float(at)) for at in utd[1:]])
    notes = [
        f"the budget is {budget / highest:.2g} times what the highest threshold fitted, J = {law.threshold:.4g}, takes: the return"
        " beyond it is not predicted",
    ]
    if laws.budget is not None and laws.budget.data_cost == cost and not laws.budget.fitted:
        notes.append("σ*(F) is not identified: the cheapest σ lies at the end of those that were run at nearly every threshold")
    return replace(
        start,
        data=Estimate.from_draws(data, data_draws),
        compute=Estimate.from_draws(budget - cost * data, budget - cost * data_draws),
        budget=Estimate.from_draws(budget, np.full(1, budget)),
        binding="The budget binds: D and C share it as the law σ*(F) says; their intervals are those of the best share.",
        notes=(*notes, *start.notes),
    )
