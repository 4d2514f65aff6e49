"""The highest return for a total budget (docs/equations.md, P3), and how to share a budget beyond every threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.between import law_between, mixed
from tdscale.analysis.budget import fit_line, regret_at, regret_in_words
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning.answer import MORE, Choice, answer, beginning, settings
from tdscale.planning.candidates import Bools, Candidates, best_of, candidates, meets, runnable_ratios, surely
from tdscale.planning.plan import Plan, Relaxed, name_of_ratio
from tdscale.planning.problems import check, price, with_best_chance
from tdscale.planning.question import SURE, Question
from tdscale.planning.tradeoff import Tradeoff, distance_price, minimum, reach, tradeoff

# Steps in which the return between two thresholds is sought: halvings
_HALVINGS = 14


@dataclass(frozen=True)
class _Level:
    """What reaching one threshold takes.

    Attributes:
        law: at the threshold.
        curves: D and C along σ.
        options: pairs of σ and B that can be run.
        exact: σ of the least F, the distance from the runs counted, by the smooth law: shape (1 + n_draws,).
        least: the least F, no distance counted, shape (1 + n_draws,).
    """

    law: DataLaw
    curves: Tradeoff
    options: Candidates
    exact: Floats
    least: Floats


def plan_budget(
    laws: ScalingLaws,
    budget: float,
    data_cost: float | Literal["measured"] | None = None,
    *,
    task: str | None = None,
    batch_multiple: int = 16,
    sure: float = SURE,
    any_utd: bool = False,
) -> Plan:
    """P3: the highest J with C + δ·D ≤ `budget`; beyond the highest fitted, the law σ*(F) and the D and C it leaves.

    Between two thresholds that were fitted log D is interpolated. σ is chosen as in `plan_compute`.

    Args:
        laws: of a study.
        budget: F0, in the laws' unit.
        data_cost: δ, in the laws' unit per env step, or "measured"; None for the study's.
        task: None for the domain.
        batch_multiple: B is rounded to a multiple of it.
        sure: the chance that J is reached within the budget, as the share of the bootstrap draws; 0.5: by the estimate alone.
        any_utd: whether σ may be any number.

    Raises:
        UserError: if the question can't be asked of these laws.
    """
    check(laws, task, "budget", budget, sure)
    cost, source = price(laws, data_cost, task)
    top = Question(laws, laws.data[-1], task, cost, batch_multiple, sure, any_utd)
    start = replace(beginning(top, "budget", budget), data_cost_source=source)
    levels = [level for law in laws.data if (level := _level(replace(top, law=law))) is not None]
    if not levels:
        middle = float(np.sqrt(np.prod(reach(top.law))))
        return replace(start, refused=True, reason=top.law.refusal(middle, task) or "the runs don't settle D at any threshold")
    found = _highest(top, levels, budget, sure)
    if found is None:
        return _nothing(start, levels)
    highest = levels[-1]
    over = found is highest and _allowed(highest.options, budget / 1.05, sure).any()
    if over and (utd := _law_of_budgets(top, levels, budget)) is not None:
        return _beyond(top, start, utd, float(highest.least[0]))
    question = replace(top, law=found.law)
    alone = "one threshold gives no law σ*(F): what the rest of the budget could buy beyond this return is not known" if over else ""
    choice = _choice(question, found, budget, sure)
    start = replace(
        start,
        notes=(alone,) if alone else (),
        threshold=found.law.threshold,
        threshold_range=_reached(question, levels, choice, budget, found.law.threshold),
        regret=regret_at(found.law, question.smooth_compute, cost, choice.utd, found.least, task),
        binding="The budget does not bind." if over else "The budget binds.",
    )
    plan = answer(question, start, choice, found.exact[1:])
    if not over:
        plan = _with_prices(top, levels, plan, choice)
    assert plan.regret is not None
    if np.isnan(plan.regret.value):
        return plan
    return replace(plan, notes=(*plan.notes, regret_in_words(plan.regret)))


def _level(question: Question) -> _Level | None:
    """None where the law can't tell D at all."""
    every = tradeoff(question.laws, question.law, question.task, question.multiple)
    curves = every.part(every.predictable)
    if len(curves.utd) < 5:
        return None
    assert question.cost is not None
    total = curves.compute + question.cost * curves.data
    far = distance_price(curves.utd, curves.run)
    exact, _ = minimum(curves, total * far)
    law = question.law
    ratios = runnable_ratios(curves.utd[0], curves.utd[-1], law.reached)
    if question.any_utd:
        ratios = np.unique(np.concatenate([ratios, curves.utd, exact[:1]]))
    return _Level(law, curves, candidates(question, ratios), exact, minimum(curves, total)[1])


def _allowed(options: Candidates, budget: float, sure: float) -> Bools:
    """Within the budget, the distance from the runs counted; without it where nothing is else."""
    within = meets(options.budget * options.distance, budget, sure)
    return within if within.any() else meets(options.budget, budget, sure)


def _highest(question: Question, levels: Sequence[_Level], budget: float, sure: float) -> _Level | None:
    """The highest J within the budget: a threshold that was fitted, or between two of them."""
    reached = [place for place, level in enumerate(levels) if _allowed(level.options, budget, sure).any()]
    if not reached:
        return None
    last = reached[-1]
    if last == len(levels) - 1:
        return levels[last]
    below, above = levels[last], levels[last + 1]
    low, high = below.law.threshold, above.law.threshold
    utd = np.intersect1d(below.options.utd, above.options.utd)
    ends = [candidates(replace(question, law=level.law), utd) for level in (below, above)]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        between = law_between(below.law, above.law, middle)
        options = _with_data(question, ends[1], mixed(ends[0].data, ends[1].data, between.weight))
        low, high = (middle, high) if utd.size and _allowed(options, budget, sure).any() else (low, middle)
    level = float(np.floor(low)) if low >= 100 else float(f"{low:.3g}")
    if not below.law.threshold < level <= low:
        return below
    found = _level(replace(question, law=law_between(below.law, above.law, level)))
    return below if found is None or not _allowed(found.options, budget, sure).any() else found


def _with_data(question: Question, options: Candidates, data: Floats) -> Candidates:
    """The same σ and B with another D."""
    compute = question.compute(options.utd, options.batch_size, data)
    return replace(options, data=data, compute=compute, budget=compute + (question.cost or 0.0) * data)


def _choice(question: Question, level: _Level, budget: float, sure: float) -> Choice:
    """The σ of the least F that is as sure as asked among those within the budget."""
    options = level.options
    objective = surely(options.budget, sure)
    index = best_of(options, objective, _allowed(options, budget, sure))
    assert index is not None
    question = replace(question, law=level.law)
    every = candidates(question, np.unique(np.concatenate([options.utd, level.curves.utd, level.exact[:1]])))
    best = best_of(every, every.budget[0], np.ones(len(every.utd), dtype=bool))
    assert best is not None
    return Choice(
        options=options,
        index=index,
        others=options,
        objective=options.budget[0],
        other_objective=options.budget[0],
        exact=float(level.exact[0]),
        free=(float(every.utd[best]), float(every.budget[0, best])),
    )


def _with_prices(question: Question, levels: Sequence[_Level], plan: Plan, choice: Choice) -> Plan:
    """The plan with the J that an even chance, and a budget 10 % higher, would reach."""

    def other(budget: float, sure: float) -> Relaxed | None:
        found = _highest(question, levels, budget, sure)
        if found is None or plan.threshold is None or found.law.threshold <= plan.threshold:
            return None
        one = _choice(question, found, budget, sure)
        data, compute = float(one.options.data[0, one.index]), float(one.options.compute[0, one.index])
        return Relaxed(limit=budget, utd=one.utd, data=data, compute=compute, threshold=found.law.threshold)

    even = other(plan.limit, 0.5) if question.sure > 0.5 and len(choice.options.budget) > 1 else None
    return replace(plan, relaxed=other(MORE * plan.limit, question.sure), even_chance=even)


def _nothing(start: Plan, levels: Sequence[_Level]) -> Plan:
    first = min(levels, key=lambda level: float(level.options.budget[0].min()))
    at = int(np.argmin(first.options.budget[0]))
    least, utd = float(first.options.budget[0, at]), name_of_ratio(float(first.options.utd[at]))
    takes = f"the lowest threshold fitted, J = {first.law.threshold:.4g}, takes F = {short(least)} at its best UTD ratio, {utd}"
    reason = f"{takes}; {short(start.limit)} is not enough"
    if least <= start.limit and start.sure > 0.5:
        reason = f"no UTD ratio meets {short(start.limit)} with a chance of {start.sure:.0%}; {takes} by the estimate"
    return with_best_chance(replace(start, reason=reason), first.options)


def _reached(question: Question, levels: Sequence[_Level], choice: Choice, budget: float, value: float) -> Estimate:
    """The interval of the J that the budget reaches at this σ and B, by log F between thresholds; draws below all count as the lowest."""
    needs = []
    for level in levels:
        batch = None if choice.batch_size is None else np.array([choice.batch_size])
        needs.append(replace(question, law=level.law).needs(np.array([choice.utd]), batch)[2][1:, 0])
    thresholds = np.array([level.law.threshold for level in levels])
    highest = []
    for row in np.log(np.stack(needs, axis=1)):  # a draw's, shape (n_thresholds,)
        known = np.isfinite(row)
        rising = np.maximum.accumulate(row[known])
        highest.append(float(np.interp(np.log(budget), rising, thresholds[known])) if known.any() else float(thresholds[0]))
    return Estimate.from_draws(value, highest)


def _law_of_budgets(question: Question, levels: Sequence[_Level], budget: float) -> Floats | None:
    """σ*(F) by the law through the optima, or by the study's; None where there is neither."""
    known = question.laws.budget
    if len(levels) > 1:
        with np.errstate(invalid="ignore", over="ignore"):  # draws that never reach J; budgets that hardly differ
            log_f, log_utd = np.log([level.least for level in levels]), np.log([level.exact for level in levels])
            exponent, log_coefficient = fit_line(log_f, log_utd)
            return np.asarray(np.exp(log_coefficient + exponent * np.log(budget)))
    if known is not None and known.fitted and known.data_cost == question.cost:  # published laws have it though not its points
        return np.concatenate([[known.predict(budget)], known.predict_draws(budget)])
    return None


def _beyond(question: Question, start: Plan, utd: Floats, highest: float) -> Plan:
    """A budget above the highest F_J: σ*(F), and D = F/(δ + C per env step) (P3)."""
    laws, law, budget, cost = question.laws, question.law, start.limit, question.cost
    assert cost is not None
    utd = np.clip(utd, *reach(law))
    exact = float(utd[0])
    ratios = runnable_ratios(*reach(law), law.reached)
    value = exact if question.any_utd else float(ratios[np.argmin(np.abs(np.log(ratios / exact)))])
    start = replace(settings(question, start, value, question.batch_size(value), utd[1:]), utd_exact=exact)
    models = [laws.compute[name] for name in question.names]

    by_warm_up = sorted(models, key=lambda model: model.warm_up)

    def share(at: float) -> float:
        """D that spends the whole budget at this σ and the B that goes with it: C is linear in D past each task's warm-up."""
        batch_size = question.batch_size(at) or 1
        rates = np.array([0.0, *(float(model.rate(at, batch_size)) / len(models) for model in by_warm_up)])
        idle = rates * [0.0, *(model.warm_up for model in by_warm_up)]
        # F(D) is the largest of these lines, one for each number of tasks that are past theirs
        return float(np.min((budget + idle.cumsum()) / (cost + rates.cumsum())))

    data = share(value)
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
