"""Frontier against frontier: D at equal C, C at equal D, J at equal F, F for equal J (docs/compare.md)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.compute import UNIT_NAMES
from tdscale.analysis.estimate import Estimate, short
from tdscale.errors import UserError
from tdscale.planning.comparable import Common, Contestant, common_ground, price_for_all
from tdscale.planning.comparison import Comparison, Contrast, Measure, Point
from tdscale.planning.frontiers import Frontier, Least, Study, return_for
from tdscale.planning.tradeoff import REACH

# Budgets along the range that the studies share; every so many of them stand in a short table
_ALONG = 21
_SHOWN_EACH = 5
# Share of the draws that can meet a limit where studies are compared, if none is asked for
_SURE = 0.95


def compare_laws(
    contestants: Sequence[Contestant],
    *,
    threshold: float | None = None,
    task: str | None = None,
    data_cost: float | None = None,
    budgets: Mapping[Measure, Sequence[float]] | None = None,
    by_task: bool = True,
) -> Comparison:
    """Studies side by side, each at its own best σ, B*(σ) and η*(σ), along the budgets that all of them were run at.

    Args:
        contestants: two or more; the first is what the others are compared with.
        threshold: J, normalised return, for D at equal C and C at equal D. None: the highest that all have a law at.
        task: one of the tasks; None for all that the studies share.
        data_cost: δ in the unit of C per env step, for F = C + δ·D; None for the studies' own, where it is one.
        budgets: where to compare instead: C for "data", D for "compute", F for "return", J for "budget".
        by_task: whether each task is compared, too.

    Raises:
        UserError: where the studies can't be compared; it says what does not agree, and what makes it agree.
    """
    common = common_ground(contestants, task)
    level = _level(common, contestants, threshold)
    laws_at = [one.law_at(level) for one in contestants]
    notes = list(common.notes)
    tasks = []
    for name in common.tasks:
        never = [one.name for one, law in zip(contestants, laws_at, strict=True) if law is not None and not one.reaches(law, name)]
        if never:
            others = "" if len(never) == len(contestants) else "; the others do, so that leaving it out flatters it"
            notes.append(f"left out: {name}, where no run of {' and '.join(never)} reaches J = {level:.4g}{others}")
        else:
            tasks.append(name)
    if not tasks:
        raise UserError(f"no task reaches J = {level:.4g} in every study ({'; '.join(notes)}); try a lower --threshold")
    cost, words = price_for_all(contestants, data_cost)
    if words and cost is not None:
        notes.append(words)
    given = budgets or {}
    asked = _Asked(contestants, common, level, cost, words, given, _studies(contestants))
    scopes: list[Sequence[str]] = [tasks]
    if by_task and len(tasks) > 1:
        scopes += [[name] for name in tasks]
    compared = [one for scope in scopes for one in asked.compared(scope)]
    same = [
        (one.name, other.name) for place, one in enumerate(contestants) for other in contestants[place + 1 :] if one.has_same_runs(other)
    ]
    notes += [f"{one} and {other} have the same runs: what they differ in is the fit alone" for one, other in same]
    first = contestants[0].laws
    return Comparison(
        names=tuple(one.name for one in contestants),
        tasks=tuple(tasks),
        threshold=level,
        data_cost=cost,
        unit=first.unit,
        accounting=next(iter(first.compute.values())).accounting,
        compared=tuple(compared),
        notes=tuple(notes),
        same_runs=bool(same),
    )


def _studies(contestants: Sequence[Contestant]) -> list[Study]:
    """With as many draws as all have; with none where one has none: half an interval would mislead."""
    n_draws = min(len(one.laws.data[0].drift_draws) for one in contestants)
    return [Study(one.laws, n_draws) for one in contestants]


def _level(common: Common, contestants: Sequence[Contestant], threshold: float | None) -> float:
    if threshold is None:
        return float(common.thresholds[-1])
    near = common.thresholds[np.argmin(np.abs(common.thresholds - threshold))]
    if abs(near - threshold) < 1.0:
        return float(near)
    known = ", ".join(f"{level:.4g}" for level in common.thresholds)
    raise UserError(f"--threshold: not every study has a law at {threshold:g}; all have laws at {known}")


@dataclass(frozen=True)
class _Asked:
    """What is asked for, and of whom."""

    contestants: Sequence[Contestant]
    common: Common
    level: float
    cost: float | None
    no_price: str
    budgets: Mapping[Measure, Sequence[float]]
    studies: Sequence[Study]

    def compared(self, tasks: Sequence[str]) -> list[Contrast]:
        """All measures, of one task or over several."""
        name = tasks[0] if len(tasks) == 1 else None
        found = [self._frontier(place, self.level, tasks) for place in range(len(self.contestants))]
        silent = [one.name for one, at in zip(self.contestants, found, strict=True) if at is None]
        if silent:
            refusal = f"the runs of {' and '.join(silent)} do not settle D{f' of {name}' if name else ''} at J = {self.level:.4g}"
            both = [Contrast(measure=measure, task=name, refusal=refusal) for measure in ("data", "compute")]
        else:
            frontiers = [at for at in found if at is not None]
            both = [self._at_equal("data", name, frontiers), self._at_equal("compute", name, frontiers)]
        return [*both, *self._priced(name, tasks)]

    def _frontier(self, place: int, level: float, tasks: Sequence[str]) -> Frontier | None:
        one = self.contestants[place]
        law = one.law_at(level)
        if law is None or not all(one.reaches(law, task) for task in tasks):
            return None
        return self.studies[place].frontier(law, tasks)

    def _at_equal(self, measure: Measure, task: str | None, frontiers: Sequence[Frontier]) -> Contrast:
        """D at equal C or C at equal D."""
        side = "compute" if measure == "data" else "data"
        reached = [_span(getattr(at.curves, side)[0]) for at in frontiers]
        sure = [_met(getattr(at.curves, side)) for at in frontiers]
        spans = [_span(getattr(at.inside, side)[0]) for at in frontiers]
        inside = [(max(low, met), high) for (low, high), met in zip(spans, sure, strict=True)]
        unit = UNIT_NAMES[self.contestants[0].laws.unit] if side == "compute" else "env steps"
        limits, shown, refusal = self._limits(measure, (inside, spans, reached), side, unit)
        if refusal:
            return Contrast(measure=measure, task=task, refusal=refusal)
        ask: Callable[[Frontier], Least] = lambda at: at.least_data(limits) if measure == "data" else at.least_compute(limits)  # noqa: E731
        least = [ask(at) for at in frontiers]
        return Contrast(measure=measure, task=task, points=_points(limits, least, frontiers), shown=shown)

    def _priced(self, task: str | None, tasks: Sequence[str]) -> list[Contrast]:
        """J at equal F and F at equal J."""
        if self.cost is None:
            return [Contrast(measure=measure, task=task, refusal=self.no_price) for measure in ("return", "budget")]
        budgets: list[Floats] = []
        levels: list[Floats] = []
        at_levels: dict[float, list[tuple[Least, Frontier]]] = {}
        for place, one in enumerate(self.contestants):
            own = {}
            for law in one.laws.data:
                found = self._frontier(place, law.threshold, tasks)
                if found is not None:
                    own[law.threshold] = (found.least_budget(self.cost), found)
            for level in self.common.thresholds:
                law_here = one.law_at(float(level))
                if law_here is not None and law_here.threshold in own:
                    at_levels.setdefault(float(level), []).append(own[law_here.threshold])
            levels.append(np.array(list(own)))
            budgets.append(np.concatenate([least.value for least, _ in own.values()], axis=1) if own else np.empty((1, 0)))
        return [self._return(task, budgets, levels), self._budget(task, at_levels)]

    def _return(self, task: str | None, budgets: Sequence[Floats], levels: Sequence[Floats]) -> Contrast:
        few = [one.name for one, own in zip(self.contestants, levels, strict=True) if len(own) < 2]
        if few:
            refusal = f"{' and '.join(few)}: laws at two returns or more are needed to tell the return of a budget"
            return Contrast(measure="return", task=task, refusal=refusal)
        rising = [np.maximum.accumulate(own[0]) for own in budgets]
        spans = [_span(own) for own in rising]
        # where hardly any draw lies beyond the thresholds
        sure = [(_met(own[:, :1]), 1 / _met(1 / np.maximum.accumulate(own, axis=1)[:, -1:])) for own in budgets]
        limits, shown, refusal = self._limits("return", (sure, spans), "budget", UNIT_NAMES[self.contestants[0].laws.unit])
        if refusal:
            return Contrast(measure="return", task=task, refusal=refusal)
        reached = [return_for(own, at, limits) for own, at in zip(budgets, levels, strict=True)]
        points = [_point(float(limit), [own[:, column] for own in reached], more=True) for column, limit in enumerate(limits)]
        return Contrast(measure="return", task=task, points=tuple(points), shown=shown)

    def _budget(self, task: str | None, at_levels: Mapping[float, Sequence[tuple[Least, Frontier]]]) -> Contrast:
        wanted = self.budgets.get("budget")
        points: list[Point] = []
        for level, found in at_levels.items():
            if len(found) < len(self.contestants) or (wanted is not None and not any(abs(level - at) < 1.0 for at in wanted)):
                continue
            least, frontiers = [one for one, _ in found], [at for _, at in found]
            points += _points(np.array([level]), least, frontiers)
        if not points:
            return Contrast(measure="budget", task=task, refusal="at no return do the runs of all studies settle the least budget")
        return Contrast(measure="budget", task=task, points=tuple(points), shown=_spread(len(points)))

    def _limits(
        self, measure: Measure, ranges: Sequence[Sequence[tuple[float, float]]], side: str, unit: str
    ) -> tuple[Floats, tuple[int, ...], str]:
        """Where to compare, which of these to show, and why there is nothing to compare.

        `ranges`: of each study's budgets, the first is taken in which the studies overlap; the last is as far as the laws tell.
        """
        given, reached = self.budgets.get(measure), ranges[-1]
        nothing: Floats = np.empty(0)
        if given is not None:
            for limit in given:
                for one, (low, high) in zip(self.contestants, reached, strict=True):
                    if limit < low * (1 - 1e-9) or limit > high * (1 + 1e-9):
                        ends = f"{short(low)} to {short(high)} {unit}"
                        where = f"the laws of {one.name} tell its {side} from {ends}"
                        return nothing, (), f"{short(limit)} {unit} lies outside: {where}"
            return np.array(sorted(given)), tuple(range(len(given))), ""
        for spans in ranges:
            low, high = max(span[0] for span in spans), min(span[1] for span in spans)
            if low < high * 0.98:
                return np.exp(np.linspace(np.log(low), np.log(high), _ALONG)), tuple(range(0, _ALONG, _SHOWN_EACH)), ""
        spans_told = ", ".join(
            f"{one.name} {short(low)} to {short(high)}" for one, (low, high) in zip(self.contestants, reached, strict=True)
        )
        beyond = "" if side == "budget" else f", σ up to {REACH:.0f} times beyond what was run"
        return nothing, (), f"there is no {side} that all studies have in common ({spans_told} {unit}{beyond})"


def _met(bounded: Floats) -> float:
    """The least limit that some σ meets in the point estimate and in nearly every draw, `bounded` of shape (1 + n_draws, n)."""
    least = bounded.min(axis=1)
    return float(max(least[0], np.quantile(least, _SURE, method="higher")))


def _span(values: Floats) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _spread(count: int) -> tuple[int, ...]:
    """Up to five of so many, both ends among them."""
    return tuple(dict.fromkeys(round(float(at)) for at in np.linspace(0, count - 1, min(count, 5))))


def _points(limits: Floats, least: Sequence[Least], frontiers: Sequence[Frontier]) -> tuple[Point, ...]:
    return tuple(
        _point(
            float(limit),
            [one.value[:, column] for one in least],
            utd=[float(one.utd[column]) for one in least],
            frontiers=frontiers,
        )
        for column, limit in enumerate(limits)
    )


def _point(
    at: float,
    values: Sequence[Floats],
    *,
    utd: Sequence[float] | None = None,
    frontiers: Sequence[Frontier] = (),
    more: bool = False,
) -> Point:
    """One point from each study's value, the estimate first, draws behind. `more`: more is better, and differences count."""
    known = utd if utd is not None else [float("nan")] * len(values)
    first, has_draws = values[0], min(len(own) for own in values) > 1
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # differences of logarithms, so that a swap turns the sign and nothing else
        relative = [own - first if more else np.exp(np.log(own) - np.log(first)) for own in values]
        relative[0] = np.full(len(first), 0.0 if more else 1.0)
        wins = [own > first if more else own < first for own in values]
        ties = [own == first for own in values]
    better = best = None
    if has_draws:
        better = tuple(float(np.mean(win[1:] + 0.5 * tie[1:])) for win, tie in zip(wins, ties, strict=True))
        table = np.array(values)[:, 1:] * (-1 if more else 1)
        first_place = table == table.min(axis=0)
        best = tuple(float(share) for share in (first_place / first_place.sum(axis=0)).mean(axis=1))
    return Point(
        at=at,
        values=tuple(_estimate(own, has_draws) for own in values),
        utd=tuple(known),
        extrapolation=tuple(
            one.extrapolation(sigma) if np.isfinite(sigma) else float("nan") for one, sigma in zip(frontiers, known, strict=True)
        )
        if frontiers
        else tuple([float("nan")] * len(values)),
        ratio=tuple(_estimate(own, has_draws) for own in relative),
        better=better,
        best=best,
    )


def _estimate(values: Floats, has_draws: bool) -> Estimate:
    return Estimate.from_draws(float(values[0]), values[1:] if has_draws else [])
