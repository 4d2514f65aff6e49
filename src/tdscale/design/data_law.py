"""Which (task, σ) of stage 2 gets a further seed, so that the data law D_J(σ) is known best for what the runs cost.

The law's draws say how it may yet change: log D at a place and log D at the targets vary together over them. A seed more at a place p
is an observation of log D there, and the variance of target k falls by cov(k, p)²/(var(p) + noise(p)). Seeds are taken one after the
other, each as if the ones before had come out as expected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.arrays import Floats
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.data_law import DataPoints, collect_points, fit_data_laws
from tdscale.analysis.estimate import LEVEL
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.forms import FORMS
from tdscale.analysis.misfit import measure_misfit
from tdscale.design.candidates import Pair
from tdscale.design.records import CellRequest, StepPrices
from tdscale.runs.types import Cell

Place = tuple[str, float]  # task, σ
FIRST_SEEDS = 2
_DRAWS = 200
_FAR = 3.0  # a draw's log D is no further than this from the middle one: "more than was run" is not a number
_SEED_NOISE = 0.15  # standard deviation of one seed's log D where no cell has two seeds
_HALF_WIDTH = 1.2815515655446004  # half the 80 % interval of a normal distribution, in standard deviations


@dataclass(frozen=True, kw_only=True)
class ScalingCandidates:
    """The runs that stage 2 may make.

    Attributes:
        values: B and η of each place, a (task, σ).
        env_steps: limit of a run, by task.
        seeds: the most in a cell.
        targets: (task, σ) where D is wanted; empty: the places.
    """

    values: Mapping[Place, Pair]
    env_steps: Mapping[str, int]
    seeds: int = 5
    targets: tuple[Place, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScalingRules:
    """How stage 2 continues and ends.

    Attributes:
        precision: it ends once half the 80 % interval of log D, mean over tasks, is below this at every σ that is wanted.
        worth: it ends once all seeds that are left would narrow that by less than this share; 0: never for that reason.
        round_size: seeds asked for at a time; None: half as many as there are places.
        most_env_steps: it ends before it takes more than this; None: no such limit.
        margin: env steps of a run over those to its crossing.
        step_price: cost of an env step by (task, σ, B), or (task, σ, B, size) with sizes (`sized_seeds`), where they differ, in any unit;
            empty: each costs the same.
    """

    precision: float = 0.1
    worth: float = 0.1
    round_size: int | None = None
    most_env_steps: float | None = None
    margin: float = 0.1
    step_price: StepPrices = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NextSeeds:
    """What of stage 2 is to be run next.

    Attributes:
        cells: with their seeds in all; none where stage 2 has ended.
        env_steps: that they are expected to take.
        precision: half the 80 % interval of log D today, mean over tasks, at the σ where it is widest; None where there is no law yet.
        expected: the same after these runs.
        why: a sentence, where stage 2 has ended.
    """

    cells: tuple[CellRequest, ...]
    env_steps: float = 0.0
    precision: float | None = None
    expected: float | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class RankedSeed:
    """One run of a ranking.

    Attributes:
        place: (task, σ).
        seeds: that there are with it.
        env_steps: that it is expected to take.
        expected: precision then.
        worth: fall of the targets' summed variance for its price.
    """

    place: Place
    seeds: int
    env_steps: float
    expected: float
    worth: float = 0.0


def next_seeds(
    cells: Sequence[Cell], thresholds: Sequence[float], candidates: ScalingCandidates, rules: ScalingRules, *, spent: float = 0.0
) -> NextSeeds:
    """The runs of stage 2 to make next, a function of what was run alone.

    Args:
        cells: of stage 2, those that were run; those at other B, η than the candidates' are left out.
        thresholds: J, rising, normalised return.
        candidates: what may be run.
        rules: when it ends, how many at a time.
        spent: env steps that stage 2 has taken.
    """
    here = {place: cell for cell in cells if (place := place_of(cell)) in candidates.values and values_of(cell) == candidates.values[place]}
    have = {place: 0 if place not in here else int((~here[place].duplicate).sum()) for place in candidates.values}
    first = min(FIRST_SEEDS, candidates.seeds)
    lacking = {place: first for place, count in have.items() if count < first}
    room = np.inf if rules.most_env_steps is None else rules.most_env_steps - spent
    if lacking:
        # without a law a run may take all that it is allowed
        prices = {place: (first - have[place]) * float(candidates.env_steps[place[0]]) for place in lacking}
        return _next(lacking, prices, candidates, room)
    known = LawDraws.of_cells(list(here.values()), thresholds, candidates)
    if known is None:
        rest = {place: count + 1 for place, count in have.items() if count < candidates.seeds}
        prices = {place: float(candidates.env_steps[place[0]]) for place in rest}
        return _next(rest, prices, candidates, room)
    precision = known.precision()
    if precision < rules.precision:
        return NextSeeds(
            cells=(),
            precision=precision,
            why=f"half the width of the 80 % interval of log D is below {rules.precision:g} at every UTD ratio",
        )
    all_of_them = known.after(dict.fromkeys(have, candidates.seeds), have)
    if rules.worth and all_of_them > (1 - rules.worth) * precision and any(count < candidates.seeds for count in have.values()):
        why = f"all remaining seeds would narrow the intervals of D by less than {rules.worth:.0%}"
        return NextSeeds(cells=(), precision=precision, why=why)
    size = rules.round_size or max(len(have) // 2, 1)
    ranked = known.ranked(have, size, candidates, rules)
    wanted, prices = {seed.place: seed.seeds for seed in ranked}, dict.fromkeys((seed.place for seed in ranked), 0.0)
    for seed in ranked:
        prices[seed.place] += seed.env_steps
    return _next(wanted, prices, candidates, room, precision=precision, expected=ranked[-1].expected if ranked else None)


def _next(
    wanted: Mapping[Place, int],
    prices: Mapping[Place, float],
    candidates: ScalingCandidates,
    room: float,
    *,
    precision: float | None = None,
    expected: float | None = None,
) -> NextSeeds:
    requests, total = [], 0.0
    for place, seeds in wanted.items():
        if total + prices[place] > room:
            break
        total += prices[place]
        (task, utd), (batch, rate) = place, candidates.values[place]
        limit = candidates.env_steps[task]
        requests.append(CellRequest(task=task, utd=utd, batch_size=batch, learning_rate=rate, seeds=seeds, env_steps=limit))
    why = "" if requests else ("the limit on env steps is reached" if wanted else "every cell has all of its seeds")
    return NextSeeds(cells=tuple(requests), env_steps=total, precision=precision, expected=expected if requests else None, why=why)


def place_of(cell: Cell) -> Place:
    """Its task and σ."""
    return cell.spec.task, cell.spec.utd


def values_of(cell: Cell) -> Pair:
    """Its B and η."""
    return cell.spec.batch_size, cell.spec.learning_rate


class LawDraws:
    """How log D may yet change, at places that may be run and at targets, by the draws of a data law.

    Attributes:
        places: (task, σ) that may be run.
        variance: of one seed's log D about its place's, shape (n_places,); misfit: of the place's from the law.
        data: D by the law, env steps, shape (n_places,).
    """

    def __init__(
        self, law: DataLaw, places: Sequence[Place], targets: Floats, groups: NDArray[np.intp], variance: Floats, misfit: float
    ) -> None:
        """Read the draws.

        Args:
            law: at one threshold.
            places: (task, σ) that may be run.
            targets: draws of what is wanted, log D or another number, shape (n_draws, n_targets); a draw with NaN is left out.
            groups: number of each target's group, shape (n_targets,): the precision is the mean over a group, at the widest one.
            variance, misfit: as the attributes.
        """
        self.places, self.variance, self.misfit = list(places), variance, misfit
        self.data = np.array([law.predict([utd], task)[0] for task, utd in self.places])
        at_places = np.stack([_log(law.predict_draws([utd], task)[:, 0]) for task, utd in self.places], axis=1)
        # a task that never reaches J: nothing is known about it, and it gives no information
        at_places = np.where(np.isnan(at_places).any(axis=0), 0.0, at_places)
        kept = np.isfinite(targets).all(axis=1)
        self._targets, self._groups = targets[kept], groups
        self._n = targets.shape[1]
        self._start = _covariance(np.concatenate([self._targets, at_places[kept]], axis=1))

    @classmethod
    def of_cells(cls, cells: Sequence[Cell], thresholds: Sequence[float], candidates: ScalingCandidates) -> "LawDraws | None":
        """By the laws of stage 2's cells: that of the highest threshold which every task reaches that reaches any; None without a law."""
        tasks = tuple(candidates.env_steps)
        points = collect_points(cells, find_crossings(cells, thresholds, n_draws=_DRAWS, seed=0), tasks)
        law = top_law(fit_data_laws(points, 0)[0])
        if law is None:
            return None
        places = list(candidates.values)
        return cls.of_law(law, points, places, candidates.targets or tuple(places))

    @classmethod
    def of_law(cls, law: DataLaw, points: DataPoints, places: Sequence[Place], targets: Sequence[Place]) -> "LawDraws":
        """With log D at (task, σ) as targets, those of one σ in a group.

        Args:
            law: fitted to `points`.
            points: D of the cells that were run.
            places: that may be run.
            targets: where D is wanted.
        """
        known = [place for place in targets if np.isfinite(law.predict([place[1]], place[0])[0])]
        draws = np.stack([_log(law.predict_draws([utd], task)[:, 0]) for task, utd in known], axis=1)
        groups = np.unique([utd for _, utd in known], return_inverse=True)[1]
        variance, misfit = noise_of_seeds(points, law, places)
        return cls(law, places, draws, groups, variance, misfit)

    def precision(self) -> float:
        """Half the 80 % interval of the targets, mean over each group, at the widest group."""
        low, high = np.quantile(self._targets, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return self._widest((high - low) / 2)

    def _widest(self, half: Floats) -> float:
        counts = np.bincount(self._groups)
        return float((np.bincount(self._groups, weights=half) / np.maximum(counts, 1))[counts > 0].max())

    def _narrowed(self, covariance: Floats) -> float:
        """The precision once the covariance is this: today's intervals, narrowed as the standard deviations are."""
        today, then = (np.sqrt(np.maximum(np.diag(c)[: self._n], 0.0)) for c in (self._start, covariance))
        low, high = np.quantile(self._targets, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return self._widest((high - low) / 2 * then / np.maximum(today, 1e-12))

    def after(self, seeds: Mapping[Place, int], have: Mapping[Place, int]) -> float:
        """The precision expected once the places have so many seeds."""
        covariance = self._start
        for index, place in enumerate(self.places):
            if seeds.get(place, 0) > have[place]:
                covariance = _observed(covariance, self._n + index, self._new_variance(index, have[place], seeds[place] - have[place]))
        return self._narrowed(covariance)

    def gain(self, covariance: Floats, have: Mapping[Place, int]) -> Floats:
        """Fall of the targets' summed variance by one more seed at each place, shape (n_places,)."""
        new = np.array([self._new_variance(index, have[place], 1) for index, place in enumerate(self.places)])
        own = np.diag(covariance)[self._n :]
        return np.asarray((covariance[: self._n, self._n :] ** 2).sum(axis=0) / (own + new))

    def _new_variance(self, index: int, have: int, more: int) -> float:
        """Variance of one observation of the law that says as much as so many more seeds: these have the place's misfit in common."""
        variance, misfit = float(self.variance[index]), self.misfit
        after = 1 / (variance / (have + more) + misfit)
        return 1 / max(after - (1 / (variance / have + misfit) if have else 0.0), 1e-12)

    def ranked(self, have: Mapping[Place, int], size: int, candidates: ScalingCandidates, rules: ScalingRules) -> list[RankedSeed]:
        """So many seeds, greedily by gain for each env step; fewer if the remaining ones give no information."""
        seeds, covariance = dict(have), self._start
        limits = np.array([candidates.env_steps[task] for task, _ in self.places], dtype=np.float64)
        steps = np.minimum(np.where(np.isfinite(self.data), (1 + rules.margin) * self.data, np.inf), limits)
        prices: Mapping[Any, float] = rules.step_price
        price = steps * [prices.get((*place, candidates.values[place][0]), 1.0) for place in self.places]
        ranked: list[RankedSeed] = []
        for _ in range(size):
            free = np.array([seeds[place] < candidates.seeds for place in self.places])
            score = np.where(free, self.gain(covariance, seeds) / price, -1.0)
            best = int(np.argmax(score))
            if score[best] <= 0:
                break
            place = self.places[best]
            covariance = _observed(covariance, self._n + best, self._new_variance(best, seeds[place], 1))
            seeds[place] += 1
            ranked.append(
                RankedSeed(
                    place=place,
                    seeds=seeds[place],
                    env_steps=float(steps[best]),
                    expected=self._narrowed(covariance),
                    worth=float(score[best]),
                )
            )
        return ranked


def top_law(laws: Sequence[DataLaw]) -> DataLaw | None:
    """That of the highest threshold among those which the most tasks reach; None where there is none."""
    if not laws:
        return None
    return max(laws, key=lambda law: (int(np.isfinite(law.data).any(axis=1).sum()), law.threshold))


def noise_of_seeds(points: DataPoints, law: DataLaw, places: Sequence[Place]) -> tuple[Floats, float]:
    """Variance of one seed's log D at each place, shape (n_places,), and of a place's log D from its task's law.

    A cell's own variance where it has several seeds, shrunk to that of all cells (few seeds are imprecise); elsewhere that of all cells.
    """
    misfit = measure_misfit(FORMS[0], points.utd, points.data, points.bound, points.n_seeds)
    column = int(np.argmin(np.abs(points.thresholds - law.threshold)))
    several = (points.n_seeds > 1) & np.isfinite(points.data[0, ..., column])
    one = misfit.seeds[..., column] ** 2 * points.n_seeds
    usual = float(one[several].mean()) if several.any() else _SEED_NOISE**2
    where = {(task, float(utd)): (t, u) for t, task in enumerate(points.tasks) for u, utd in enumerate(points.utd)}
    found = [one[where[place]] if place in where and several[where[place]] else usual for place in places]
    return np.maximum(np.array(found), 1e-6), misfit.points**2


def _log(draws: Floats) -> Floats:
    """log of draws; those of a D beyond what was run are cut at `_FAR` from the middle one. NaN stays."""
    if np.isnan(draws).any() or not np.isfinite(draws).any():
        return np.full(len(draws), np.nan)
    logs = np.log(draws)
    middle = float(np.median(logs[np.isfinite(logs)]))
    return np.clip(logs, middle - _FAR, middle + _FAR)


def _observed(covariance: Floats, index: int, variance: float) -> Floats:
    """The covariance after an observation of one of the numbers with that variance."""
    along = covariance[:, index]
    return np.asarray(covariance - np.outer(along, along) / (along[index] + variance))


def _covariance(draws: Floats) -> Floats:
    """Of draws, shape (n_draws, n) to (n, n), its correlations shrunk to 0 as few draws are imprecise (Schäfer and Strimmer, 2005)."""
    count = len(draws)
    deviation = draws.std(axis=0, ddof=1)
    scaled = (draws - draws.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    correlation = scaled.T @ scaled / (count - 1)
    off = ~np.eye(len(correlation), dtype=bool)
    squares = float((correlation[off] ** 2).sum())
    uncertain = float(((1 - correlation[off] ** 2) ** 2).sum()) / (count - 1)
    shrunk = correlation * (1 - min(uncertain / max(squares, 1e-12), 1.0))
    np.fill_diagonal(shrunk, 1.0)
    return np.asarray(shrunk * np.outer(deviation, deviation))
