"""The whole of a plan at a σ: B and η, what it takes, the chance to keep the limit, the second best, what to know."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.fitted_laws import DataLaw, PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning.plan import Alternative, Plan
from tdscale.planning.tradeoff import Kind, Tradeoff, reach

# A σ outside those that were run by less than this factor is not worth a word
NEAR = 1.05
# Rounding may take B down to this share of B*(σ) to keep a limit; below, σ gives way instead
_LEAST_SHARE = 0.75
SURE = 0.9


@dataclass(frozen=True)
class Question:
    """What is asked of which law, and on what scale.

    Attributes:
        laws, law: of the study, at the threshold.
        task: None for the domain.
        cost: δ, None where it is not known.
        multiple: B is rounded to it.
    """

    laws: ScalingLaws
    law: DataLaw
    task: str | None
    cost: float | None
    multiple: int

    @property
    def names(self) -> Sequence[str]:
        """The tasks asked about."""
        return [self.task] if self.task is not None else self.laws.tasks

    @property
    def batch_law(self) -> PowerLaw | None:
        """B*(σ); None where it is not known, of this task or at all."""
        return _known(self.laws.batch_size, self.task)

    @property
    def rate_law(self) -> PowerLaw | None:
        """η*(σ), likewise."""
        return _known(self.laws.learning_rate, self.task)

    def batch_size(self, utd: float) -> int | None:
        """B*(σ), rounded; None where there is no such law."""
        law = self.batch_law
        return None if law is None else round_batch(float(law.predict([utd], self.task)[0]), self.multiple)

    def compute(self, utd: float, batch_size: int | None, data: Floats) -> Floats:
        """C with this very B, for D of any shape; NaN where it is not known."""
        if not self.laws.knows_compute:
            return np.full(np.shape(data), np.nan)
        return np.asarray(np.mean([self.laws.compute[name].compute_for(utd, batch_size or 1, data) for name in self.names], axis=0))

    def smooth_compute(self, utd: Floats, data: Floats) -> Floats:
        """C at B*(σ), that no rounding makes jump; a B below the multiple is not to be had."""
        return self.laws.compute_for(utd, data, self.task, least_batch_size=self.multiple)

    def needs(self, utd: float, batch_size: int | None) -> tuple[Floats, Floats, Floats]:
        """D, C and F (NaN where not known) at a σ and B: the point estimate first, draws behind, each of shape (1 + n_draws,)."""
        data = np.concatenate([self.law.predict([utd], self.task), self.law.predict_draws([utd], self.task)[:, 0]])
        compute = self.compute(utd, batch_size, data)
        return data, compute, compute + (self.cost if self.cost is not None else np.nan) * data


def _known(law: PowerLaw | None, task: str | None) -> PowerLaw | None:
    return law if law is not None and np.isfinite(law.predict([1.0], task)[0]) else None


def round_batch(batch_size: float, multiple: int) -> int:
    """B to the nearest multiple, at least one of them."""
    return max(int(multiple * np.floor(batch_size / multiple + 0.5)), multiple)


def estimate(values: Floats) -> Estimate | None:
    """The estimate in row 0 with the draws behind it; None where it is not known."""
    return Estimate.from_draws(float(values[0]), values[1:]) if np.isfinite(values[0]) else None


def limited(problem: str, needs: tuple[Floats, Floats, Floats]) -> Floats:
    """What a problem's limit bounds."""
    return needs[("data", "compute", "budget").index(problem)]


def answer(question: Question, start: Plan, utd: Floats, curves: Tradeoff, objective: Floats | None = None) -> Plan:
    """The plan at the σ in row 0 of `utd`.

    Args:
        question: what is asked.
        start: the plan as far as it is known.
        utd: best σ of the point estimate and of each draw, NaN where nothing meets the limit.
        curves: the σ to choose a second best from.
        objective: what is to be least along `curves`, shape (1 + n_draws, n); None if σ is no matter of choice.
    """
    law, task = question.law, question.task
    value, batch_size, changed = _keep_limit(question, start, float(utd[0]))
    needs = question.needs(value, batch_size)
    if value != utd[0]:
        start = replace(start, binding=f"The {start.problem} limit binds, with B in multiples of {question.multiple}.")
    start = settings(question, start, np.concatenate([[value], utd[1:]]), batch_size)
    kept = limited(start.problem, needs)
    chance = float(np.mean(kept[1:] <= start.limit * (1 + 1e-9))) if len(kept) > 1 and np.isfinite(kept[0]) else None
    notes = [*start.notes, *changed]
    warm_up = max((model.warm_up for model in question.laws.compute.values()), default=0.0)
    if needs[0][0] <= warm_up:
        notes.append(f"D lies within the warm-up of {short(warm_up)} random steps: the law does not reach there, ask for more return")
    missed = float(np.isnan(utd[1:]).mean()) if len(utd) > 1 else 0.0
    if missed > 0.1:
        notes.append(f"in {missed:.0%} of the bootstrap draws nothing meets the limit")
    if kept[0] > start.limit * 1.001:
        notes.append(f"B comes in multiples of {question.multiple}: that takes {kept[0] / start.limit - 1:.1%} more than the limit")
    if law.extrapolation(value) > NEAR and len(law.forms) > 1:
        notes.append("the forms of the data law disagree more the farther σ is from what was run; the interval holds both")
    return replace(
        start,
        data=estimate(needs[0]),
        compute=estimate(needs[1]),
        budget=estimate(needs[2]),
        chance=chance,
        alternatives=_alternatives(question, start, value, curves, objective, task),
        notes=tuple(notes),
    )


def settings(question: Question, start: Plan, utd: Floats, batch_size: int | None) -> Plan:
    """The plan with σ of row 0, its interval, B and η there with theirs, and how far it extrapolates."""
    law, task = question.law, question.task
    batch_law, rate_law = question.batch_law, question.rate_law
    value = float(utd[0])
    factor = law.extrapolation(value)
    notes = list(start.notes)
    if factor > NEAR:
        notes.append(f"σ = {short(value)} lies outside the σ that were run, by a factor of {factor:.2g}: this extrapolates")
    for power in (batch_law, rate_law):
        if power is None:
            continue
        known = np.isfinite(power.points).any(axis=0)
        seen = power.utd[known] if known.any() else power.utd
        beyond = float(max(seen.min() / value, value / seen.max()))
        if beyond > max(factor, 1.0) * NEAR:
            fitted = f"σ = {short(float(seen.min()))} to {short(float(seen.max()))}"
            notes.append(f"B*(σ) and η*(σ) were fitted at {fitted}: they are extrapolated by a factor of {beyond:.2g}")
            break
    return replace(
        start,
        feasible=True,
        utd=value,
        utd_range=Estimate.from_draws(value, utd[1:]),
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


def _keep_limit(question: Question, start: Plan, utd: float) -> tuple[float, int | None, list[str]]:
    """σ and B at which rounding B does not break a limit on C or F: B a multiple less or, where that is far from B*(σ), less σ."""
    batch_size = question.batch_size(utd)

    def over(at: float, batch: int | None) -> float:
        return _log(limited(start.problem, question.needs(at, batch))[0] / start.limit)

    if start.problem == "data" or batch_size is None or over(utd, batch_size) <= 1e-6:
        return utd, batch_size, []
    assert question.batch_law is not None
    wanted = float(question.batch_law.predict([utd], question.task)[0])
    smaller = _smaller(question, batch_size, wanted)
    if smaller is not None:
        return utd, smaller, [f"B is rounded down from {short(wanted)}: the next multiple of {question.multiple} would break the limit"]
    low = reach(question.law)[0]
    if start.problem == "compute" and over(low, batch_size) < 0 < over(utd, batch_size):
        less = float(brentq(over, low, utd, args=(batch_size,)))
        if question.batch_size(less) == batch_size and question.law.refusal(less, question.task) is None:
            note = f"with B = {short(wanted)} a higher σ would keep the limit, but B comes in multiples of {question.multiple}"
            return less, batch_size, [note]
    return utd, batch_size, []


def _log(ratio: float) -> float:
    """The logarithm, far below any limit where C is 0: warm-up alone reaches the threshold."""
    return float(np.log(max(ratio, 1e-300)))


def _smaller(question: Question, batch_size: int, wanted: float) -> int | None:
    """The next lower multiple, unless that is far below B*(σ)."""
    smaller = batch_size - question.multiple
    return smaller if smaller >= max(_LEAST_SHARE * wanted, question.multiple) else None


def _alternatives(
    question: Question, start: Plan, utd: float, curves: Tradeoff, objective: Floats | None, task: str | None
) -> tuple[Alternative, ...]:
    """What another σ would take: half and twice the plan's, the nearest that was run, and the best that surely keeps the limit."""
    low, high = reach(question.law)
    seen = question.law.utd[np.isfinite(question.law.data).any(axis=0)]
    nearest = float(seen[np.argmin(np.abs(np.log(seen / utd)))])
    asked = [("half σ", utd / 2), ("twice σ", utd * 2), ("nearest σ run", nearest)]
    bounded = {"data": curves.data, "compute": curves.compute, "budget": None}[start.problem]
    if objective is not None and bounded is not None and len(bounded) > 1:
        share = (bounded[1:] <= start.limit).mean(axis=0)
        if (share >= SURE).any() and not np.isnan(bounded).any():
            asked.append((f"{SURE:.0%} sure", float(curves.utd[np.argmin(np.where(share >= SURE, objective[0], np.inf))])))
    rows = []
    for label, at in asked:
        if not low * 0.999 <= at <= high * 1.001 or abs(np.log(at / utd)) < np.log(NEAR) or question.law.refusal(at, task) is not None:
            continue
        batch_size = question.batch_size(at)
        needs = question.needs(at, batch_size)
        if batch_size is not None and question.batch_law is not None and limited(start.problem, needs)[0] > start.limit:
            smaller = _smaller(question, batch_size, float(question.batch_law.predict([at], task)[0]))
            if smaller is not None and limited(start.problem, question.needs(at, smaller))[0] <= start.limit:
                batch_size, needs = smaller, question.needs(at, smaller)
        data = estimate(needs[0])
        assert data is not None
        rows.append(
            Alternative(
                label=label,
                utd=at,
                batch_size=batch_size,
                data=data,
                compute=estimate(needs[1]),
                budget=estimate(needs[2]),
                within_limit=bool(limited(start.problem, needs)[0] <= start.limit * 1.001),
            )
        )
    return tuple(rows)


def snapped(utd: Floats, kind: Kind, curves: Tradeoff) -> Floats:
    """An answer at the end of the σ to choose from that is the end of those that were run is put on it: 16, not 16.04."""
    step = float(np.log(curves.utd[1] / curves.utd[0]))
    for end in curves.run:
        if kind == "end" and abs(np.log(utd[0] / end)) <= step * 1.01:
            return np.concatenate([[end], utd[1:]])
    return utd
