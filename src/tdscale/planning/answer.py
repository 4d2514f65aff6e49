"""The whole of a plan at what was chosen: B and η, what it takes, the chance to meet the limit, the second best, what to know."""

from dataclasses import dataclass, replace

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.between import LawBetween
from tdscale.analysis.estimate import Estimate, short
from tdscale.planning.candidates import Bools, Candidates, best_of, chances, meets
from tdscale.planning.plan import LEAST, Alternative, Plan, Problem, Relaxed, name_of_ratio
from tdscale.planning.question import Question, estimate

# A σ outside those that were run by less than this factor is not worth a word
NEAR = 1.05
# Rounding σ that costs less than this share is not worth one either
_CHEAP = 0.005
SURER = 0.9
MORE = 1.1  # a plan shows what a limit relaxed by this factor would buy


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen, and from what.

    Attributes:
        options: those to choose from.
        index: the one chosen.
        others: those that other answers are taken from; each trains as it stands.
        objective, other_objective: what is to be least at `options` and at `others`, shapes (n,).
        exact: σ that is best by the smooth law, B not rounded; NaN where none meets the limit.
        free: σ that is best where any number will do, and what it needs of what is to be least.
    """

    options: Candidates
    index: int
    others: Candidates
    objective: Floats
    other_objective: Floats
    exact: float
    free: tuple[float, float]

    @property
    def utd(self) -> float:
        """σ."""
        return float(self.options.utd[self.index])

    @property
    def batch_size(self) -> int | None:
        """B, rounded."""
        return self.options.batch(self.index)

    @property
    def value(self) -> float:
        """What is to be least, at what was chosen."""
        return float(self.objective[self.index])

    def another(self, allowed: Bools) -> int | None:
        """Index of the best of `others` where `allowed`, of shape (n,), is true."""
        return best_of(self.others, self.other_objective, allowed)


def answer(question: Question, start: Plan, choice: Choice, utd: Floats) -> Plan:
    """The plan at what was chosen.

    Args:
        question: what is asked.
        start: the plan as far as it is known.
        choice: what was chosen.
        utd: best σ of each draw, shape (n_draws,), NaN where nothing meets the limit.
    """
    options, index = choice.options, choice.index
    start = settings(question, start, choice.utd, choice.batch_size, utd)
    bounded = options.side(start.problem)
    chance = float(chances(bounded, start.limit)[index])
    start = replace(
        start,
        data=estimate(options.data[:, index]),
        compute=estimate(options.compute[:, index]),
        budget=estimate(options.budget[:, index]),
        chance=None if np.isnan(chance) else chance,
        alternatives=_alternatives(question, start, choice),
        notes=(*start.notes, *_notes(question, start, choice, utd)),
    )
    if np.isfinite(choice.exact):
        start = replace(start, utd_exact=choice.exact)
    free, needs = choice.free
    if needs <= 0 or question.any_utd:
        return start
    cost = max(choice.value / needs - 1, 0.0)
    return replace(start, rounding_cost=cost, notes=(*_rounding(start, choice.utd, free, cost), *start.notes))


def _rounding(plan: Plan, utd: float, free: float, cost: float) -> list[str]:
    """What it costs that σ trains as it stands."""
    if abs(np.log(free / utd)) < 1e-3 or cost < _CHEAP:
        return []
    takes = f"takes {cost:.1%} more {LEAST[plan.problem]} than the best of all, {free:.3g}"
    return [f"UTD {name_of_ratio(utd)} trains as it stands; it {takes} (--any-utd)"]


def _notes(question: Question, start: Plan, choice: Choice, utd: Floats) -> list[str]:
    law, index = question.law, choice.index
    notes = []
    if isinstance(law, LawBetween):
        low, high = (short(level) for level in law.fitted)
        notes.append(f"J = {short(law.threshold)} was not fitted: log D is interpolated between the laws at J = {low} and {high}")
    warm_up = max((model.warm_up for model in question.laws.compute.values()), default=0.0)
    if choice.options.data[0, index] <= warm_up:
        notes.append(f"D lies within the warm-up of {short(warm_up)} random steps: the law does not reach there, ask for more return")
    missed = float(np.isnan(utd).mean()) if len(utd) else 0.0
    if missed > 0.1:
        notes.append(f"in {missed:.0%} of the bootstrap draws no UTD ratio meets the limit")
    wanted = start.batch_size_range
    if choice.batch_size is not None and wanted is not None and choice.batch_size < wanted.value - question.multiple / 2:
        notes.append(f"B is rounded down from {short(wanted.value)}: the nearest multiple of {question.multiple} would exceed the limit")
    if law.extrapolation(choice.utd) > NEAR and len(law.forms) > 1:
        notes.append("the forms of the data law disagree more the farther the UTD ratio is from what was run; the interval holds both")
    return notes


def settings(question: Question, start: Plan, value: float, batch_size: int | None, utd: Floats) -> Plan:
    """The plan with σ, its interval by the draws' best σ of shape (n_draws,), B and η there, and how far it extrapolates."""
    law, task = question.law, question.task
    batch_law, rate_law = question.batch_law, question.rate_law
    factor = law.extrapolation(value)
    notes = list(start.notes)
    if factor > NEAR:
        notes.append(f"UTD {name_of_ratio(value)} lies outside those that were run, by a factor of {factor:.2g}: this extrapolates")
    for power in (batch_law, rate_law):
        if power is None:
            continue
        beyond = power.beyond_points(value)
        if beyond > max(factor, 1.0) * NEAR:
            fitted = f"σ = {short(power.utd_range[0])} to {short(power.utd_range[1])}"
            notes.append(f"B*(σ) and η*(σ) were fitted at {fitted}: they are extrapolated by a factor of {beyond:.2g}")
            break
    return replace(
        start,
        feasible=True,
        utd=value,
        utd_range=Estimate.from_draws(value, utd),
        batch_size=batch_size,
        batch_size_range=batch_law.estimate(value, task) if batch_law is not None else None,
        learning_rate=float(rate_law.predict([value], task)[0]) if rate_law is not None else None,
        learning_rate_range=rate_law.estimate(value, task) if rate_law is not None else None,
        batch_size_tolerated=batch_law.tolerated(value, task) if batch_law is not None else None,
        learning_rate_tolerated=rate_law.tolerated(value, task) if rate_law is not None else None,
        not_optimised=tuple(power.quantity for power in (batch_law, rate_law) if power is not None and not power.optimised),
        extrapolation=factor,
        notes=tuple(notes),
    )


def _alternatives(question: Question, start: Plan, choice: Choice) -> tuple[Alternative, ...]:
    """What other σ take, each one that trains as it stands; none that meets the limit as surely and needs less."""
    others = choice.others
    bounded, here = others.side(start.problem), np.log(choice.utd)
    allowed = meets(bounded, start.limit, question.sure)
    offered = ~(allowed & (choice.other_objective < choice.value * (1 - 1e-9)))
    log_utd = np.log(others.utd)
    far = np.where(offered, np.abs(log_utd - here), np.inf)
    seen = np.log(question.law.utd[np.isfinite(question.law.data).any(axis=0)])
    nearest_run = seen[np.argmin(np.abs(seen - here))]

    def near(at: float, where: Bools) -> int | None:
        usable = np.where(offered & where, np.abs(log_utd - at), np.inf)
        return int(np.argmin(usable)) if np.isfinite(usable).any() else None

    asked = [
        ("smaller UTD", near(here - np.log(2), np.abs(log_utd - here + np.log(2)) < np.log(1.45))),
        ("larger UTD", near(here + np.log(2), np.abs(log_utd - here - np.log(2)) < np.log(1.45))),
        ("nearest UTD run", near(nearest_run, np.abs(log_utd - nearest_run) < 1e-6)),
    ]
    if len(bounded) > 1:
        if question.sure > 0.5:
            asked.append(("even chance", choice.another(meets(bounded, start.limit, 0.5))))
        if question.sure < SURER - 1e-9:
            asked.append((f"{SURER:.0%} sure", choice.another(meets(bounded, start.limit, SURER) & offered)))
    rows: list[Alternative] = []
    for label, index in asked:
        if index is None or not np.isfinite(far[index]) or far[index] < 1e-6 or any(row.utd == others.utd[index] for row in rows):
            continue
        data = estimate(others.data[:, index])
        assert data is not None
        chance = float(chances(bounded, start.limit)[index])
        rows.append(
            Alternative(
                label=label,
                utd=float(others.utd[index]),
                batch_size=others.batch(index),
                data=data,
                compute=estimate(others.compute[:, index]),
                budget=estimate(others.budget[:, index]),
                within_limit=bool(allowed[index]),
                chance=None if np.isnan(chance) else chance,
            )
        )
    return tuple(rows)


def with_prices(question: Question, plan: Plan, choice: Choice) -> Plan:
    """The plan with what being sure costs, and what a limit 10 % higher would buy, of a limit on D or C."""
    bounded = choice.others.side(plan.problem)

    def other(limit: float, sure: float) -> tuple[Relaxed, float] | None:
        index = choice.another(meets(bounded, limit, sure))
        if index is None:
            return None
        return _relaxed(question, limit, choice.others, index), float(choice.other_objective[index])

    more = other(MORE * plan.limit, question.sure)
    if more is not None and more[1] < choice.value * (1 - 1e-9):
        plan = replace(plan, relaxed=more[0])
    if question.sure > 0.5 and len(bounded) > 1:
        even = other(plan.limit, 0.5)
        if even is not None and even[1] <= choice.value and even[1] > 0:
            plan = replace(plan, even_chance=even[0], price_of_sure=choice.value / even[1] - 1)
    return plan


def _relaxed(question: Question, limit: float, options: Candidates, index: int) -> Relaxed:
    compute = float(options.compute[0, index])
    return Relaxed(
        limit=limit,
        utd=float(options.utd[index]),
        data=float(options.data[0, index]),
        compute=compute if np.isfinite(compute) else None,
        threshold=question.law.threshold,
    )


def beginning(question: Question, problem: Problem, limit: float) -> Plan:
    """What is known of a plan before its answer."""
    laws = question.laws
    return Plan(
        problem=problem,
        limit=limit,
        sure=question.sure,
        data_cost=question.cost,
        data_cost_source=laws.data_cost_source,
        task=question.task,
        unit=laws.unit,
        accounting=next((model.accounting for model in laws.compute.values()), None),
        feasible=False,
    )
