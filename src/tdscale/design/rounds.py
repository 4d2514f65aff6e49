"""Which cells an adaptive sweep runs next, and when it has run enough.

The first round is spread evenly over the candidates. Each further round takes, one after the other, the cell that lowers the expected
regret of the choice of B and η the most for what it costs (the knowledge gradient for the linearised surface), as if the ones taken
before had come out as expected. The laws' parameters are Gaussian about today's: a cell with value y = g·shared + l·local + noise
lowers the covariance S of the shared ones by S·h·hᵀ·S/(variance of y), h = g − l·(local parameters' part that goes with the shared ones).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from tdscale.analysis.arrays import Floats
from tdscale.design.belief import Belief, Seen, see
from tdscale.design.candidates import Candidates, Pair
from tdscale.design.records import CellKey, CellRequest, Regret, SizedPlace, SizedRequest, StepPrices
from tdscale.runs.types import Cell

FIRST = 3  # cells of each (task, σ), and size, in the first round
DEAR = 2.0  # times the median price of an env step: not in the first round, whose runs may go to the limit
MOST_OF_GRID = 0.5  # of its env steps: noisy runs on few tasks may never get below the regret that is asked for
CUT_OF_SEEN = 1.25  # at least so many times the least D that was seen there
OPEN_MOST = 6  # cells of a (task, σ) where none has reached a threshold, before it is given up
CUT = 1.5  # times the D of the best cell of the place, and what it is uncertain by: where a run is cut


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How an adaptive sweep continues and ends.

    Attributes:
        regret: it ends once the expected regret is below this.
        round_size: cells asked for at a time; None: as many as there are places.
        most_env_steps: it ends before it takes more than this; None: no such limit.
        margin: env steps of a run over those to its crossing.
        seed: of the first round's spread.
        step_price: cost of an env step by (task, σ, B), or (task, σ, B, size) with sizes, where they differ, in any unit; empty: each costs
            the same.
    """

    regret: float = 0.05
    round_size: int | None = None
    most_env_steps: float | None = None
    margin: float = 0.1
    seed: int = 0
    step_price: StepPrices = field(default_factory=dict)

    def price(self, candidates: Candidates, place: int, batch: int) -> float:
        """Of an env step at a place, by its number, and B; only where `step_price` is given."""
        task, utd = candidates.places[place]
        prices: Mapping[Any, float] = self.step_price
        return prices[(task, utd, batch, candidates.place_sizes[place]) if candidates.sizes else (task, utd, batch)]


@dataclass(frozen=True, kw_only=True)
class Next:
    """What is to be run next.

    Attributes:
        cells: none where the sweep has ended.
        env_steps: that they are expected to take.
        regret: of the choice of B and η today; None where no surface can be fitted yet.
        expected: regret after these cells, where there is one today.
        why: a sentence, where the sweep has ended.
        given_up: (task, σ), or (task, σ, size), at which no cell reaches a threshold.
        precision: of stage 2, in place of the regret: half the 80 % interval of log D where it is widest; expected_precision: after.
    """

    cells: tuple[CellRequest, ...]
    env_steps: float = 0.0
    regret: Regret | None = None
    expected: float | None = None
    why: str = ""
    given_up: tuple[SizedPlace, ...] = ()
    precision: float | None = None
    expected_precision: float | None = None


def next_round(cells: Sequence[Cell], thresholds: Sequence[float], candidates: Candidates, rules: Rules, *, spent: float = 0.0) -> Next:
    """The cells to run next, a function of what was run alone.

    Args:
        cells: of the sweep, those that were run.
        thresholds: J, rising, normalised return.
        candidates: what may be run.
        rules: when it ends, how many at a time.
        spent: env steps that the sweep has taken.
    """
    seen = see(cells, candidates, thresholds)
    counts = _counts(seen, candidates)
    requests = {request.cell: request for request in _first(counts, seen, candidates, rules)}
    room = np.inf if rules.most_env_steps is None else rules.most_env_steps - spent
    if not np.isfinite(seen.data).any():
        wanted = tuple(requests.values()) or tuple(_open(counts, seen, None, candidates).values())
        wanted = _within(wanted, room, seen, candidates)
        why = "" if wanted else "no cell has reached a threshold, and none is left to try"
        return Next(cells=wanted, env_steps=float(sum(request.env_steps for request in wanted)), why=why)
    belief = Belief(seen, candidates)
    requests |= _open(counts, seen, belief, candidates)
    given_up = _given_up(counts, seen, candidates)
    regret = belief.regret
    if not requests and regret.expected < rules.regret:
        why = f"the expected regret is below {rules.regret:g}"
        return Next(cells=(), regret=regret, why=why, given_up=given_up)
    size = rules.round_size or len(candidates.places)
    picks = _best(belief, counts, rules, max(size - len(requests), 0))
    if not requests and picks.chosen and spent >= MOST_OF_GRID * grid_price(belief, rules):
        why = "it has taken half of the env steps of the whole grid"
        return Next(cells=(), regret=regret, why=why, given_up=given_up)
    for request, _ in picks.chosen:
        requests[request.cell] = request
    wanted = _within(tuple(requests.values()), room, seen, candidates)
    why = "" if wanted else ("the limit on env steps is reached" if requests else "every cell has all of its seeds")
    price = {request.cell: steps for request, steps in picks.chosen}
    return Next(
        cells=wanted,
        env_steps=float(sum(price.get(request.cell, request.env_steps) for request in wanted)),
        regret=regret,
        expected=picks.expected,
        why=why,
        given_up=given_up,
    )


@dataclass(frozen=True, kw_only=True)
class RankedRun:
    """One run of a ranking.

    Attributes:
        request: its cell, with the seeds that it has then; where the run may be cut.
        env_steps: that it is expected to take.
        regret: expected once it and those before it are there; None for the first cells of a (task, σ), which show where to look.
    """

    request: CellRequest
    env_steps: float
    regret: float | None


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Runs, most valuable first. `regret`: of the choice of B and η today; None where no surface can be fitted yet."""

    runs: tuple[RankedRun, ...]
    regret: Regret | None


def ranked_runs(
    cells: Sequence[Cell],
    thresholds: Sequence[float],
    candidates: Candidates,
    rules: Rules,
    size: int,
    *,
    pending: Sequence[CellKey] = (),
) -> Ranking:
    """The runs that are worth most, one by one, even if the rules would end the stage.

    Args:
        cells, thresholds, candidates, rules: as for `next_round`.
        size: how many.
        pending: cells of runs that were begun and have not ended, one for each run (`CellRequest.cell`): taken to come out as the
            surface says.
    """
    seen = see(cells, candidates, thresholds)
    counts = _counts(seen, candidates)
    for key in pending:
        if (where := candidates.where(key)) is not None:
            counts[where] += 1
    belief = Belief(seen, candidates) if np.isfinite(seen.data).any() else None
    first = {request.cell: request for request in _first(counts, seen, candidates, rules)} | _open(counts, seen, belief, candidates)
    runs = [
        RankedRun(request=request, env_steps=float(request.env_steps), regret=None)
        for request in _spread_out(first.values(), seen, candidates)
    ]
    runs = runs[:size]
    if belief is None:
        return Ranking(runs=tuple(runs), regret=None)
    greedy, today = _Greedy(belief, _counts(seen, candidates), rules), belief.regret
    start = greedy.regret
    for key in pending:
        greedy.take(key)
    while len(runs) < size and (found := greedy.next_seed()) is not None:
        # what the laws leave open is a part of today's regret: it falls by as much
        runs.append(RankedRun(request=found[0], env_steps=found[1], regret=max(today.expected - (start - greedy.regret), 0.0)))
    return Ranking(runs=tuple(runs), regret=today)


def _spread_out(requests: Iterable[CellRequest], seen: Seen, candidates: Candidates) -> list[CellRequest]:
    """One of each place before the second of any; cut where a cell of the place has reached a threshold before."""
    before: Counter[tuple[str, float, str]] = Counter()
    ordered = []
    for request in requests:
        place = request.task, request.utd, request.size
        here = seen.at(candidates.tasks.index(request.task), request.utd, candidates.size_names.index(request.size))
        least = float(np.min(seen.data[here], initial=np.inf))
        cut = int(min(np.ceil(CUT * least), request.env_steps)) if np.isfinite(least) else request.env_steps
        ordered.append((before[place], replace(request, env_steps=cut)))
        before[place] += 1
    return [request for _, request in sorted(ordered, key=lambda one: one[0])]


def grid_price(belief: Belief, rules: Rules) -> float:
    """Env steps that every cell of the grid would take with all of its seeds, by the surface; at a place without one, up to the limit."""
    candidates, total = belief.candidates, 0.0
    rows = {int(place): row for row, place in enumerate(belief.reached)}
    for number, (task, _) in enumerate(candidates.places):
        limit, can = float(candidates.env_steps[task]), candidates.available[number, : len(candidates.grid)]
        steps = np.full(len(can), limit)
        if number in rows:
            steps = np.minimum((1 + rules.margin) * np.exp(belief.log_data[rows[number], : len(can)]), limit)
        total += candidates.seeds * float(steps[can].sum())
    return total


def _counts(seen: Seen, candidates: Candidates) -> NDArray[np.int64]:
    """Seeds that each candidate has, shape (n_places, n_pairs)."""
    names = candidates.size_names
    pairs = {pair: number for number, pair in enumerate(candidates.pairs)}
    counts = np.zeros((len(candidates.places), len(pairs)), dtype=np.int64)
    for number, utd, size, value, seeds in zip(seen.task, seen.utd, seen.size, seen.values, seen.seeds, strict=True):
        place, pair = candidates.place_of(candidates.tasks[number], float(utd), names[size]), pairs.get((int(value[0]), float(value[1])))
        if place is not None and pair is not None:
            counts[place, pair] = int(seeds)
    return counts


def _first(counts: NDArray[np.int64], seen: Seen, candidates: Candidates, rules: Rules) -> list[CellRequest]:
    """Cells that a place lacks to its first ones."""
    spreads = _not_dear(candidates, rules).spread(FIRST, rules.seed)
    requests = []
    for number, ((task, _), spread) in enumerate(zip(candidates.places, spreads, strict=True)):
        there = counts[number] > 0
        lacking = len(spread) - int(there.sum())
        fresh = [pair for pair in spread if not there[candidates.pairs.index(pair)]]
        for batch, rate in fresh[: max(lacking, 0)]:
            requests.append(_request(candidates, number, (batch, rate), 1, candidates.env_steps[task]))
    return requests


def _not_dear(candidates: Candidates, rules: Rules) -> Candidates:
    """The candidates without cells whose env steps cost over `DEAR` times the median of their place."""
    if not rules.step_price:
        return candidates
    kept: set[CellKey] = set()
    for number in range(len(candidates.places)):
        prices = np.array([rules.price(candidates, number, batch) for batch, _ in candidates.grid])
        cheap = (prices <= DEAR * np.median(prices)) & candidates.available[number, : len(prices)]
        kept |= {candidates.cell(number, pair) for pair, kept_here in zip(candidates.grid, cheap, strict=True) if kept_here}
    return replace(candidates, only=frozenset(kept))


def _open(counts: NDArray[np.int64], seen: Seen, belief: Belief | None, candidates: Candidates) -> dict[CellKey, CellRequest]:
    """One cell more where the first ones have not reached a threshold: the one nearest to the laws' best values."""
    found = {}
    for number, (task, utd) in enumerate(candidates.places):
        there = counts[number] > 0
        if not FIRST <= there.sum() < OPEN_MOST or _reaches(seen, candidates, number):
            continue
        free = [index for index in range(len(candidates.grid)) if candidates.available[number, index] and not there[index]]
        if not free:
            continue
        middle = (
            candidates.log_pairs[: len(candidates.grid)].mean(axis=0)
            if belief is None
            else belief.law(candidates.tasks.index(task), utd, candidates.place_sizes[number])
        )
        best = min(free, key=lambda index: float(np.abs(candidates.log_pairs[index] - middle).sum()))
        request = _request(candidates, number, candidates.pairs[best], 1, candidates.env_steps[task])
        found[request.cell] = request
    return found


def _given_up(counts: NDArray[np.int64], seen: Seen, candidates: Candidates) -> tuple[SizedPlace, ...]:
    possible = candidates.available[:, : len(candidates.grid)].sum(axis=1)
    return tuple(
        (*place, candidates.place_sizes[number]) if candidates.sizes else place
        for number, place in enumerate(candidates.places)
        if (counts[number] > 0).sum() >= min(OPEN_MOST, possible[number]) and not _reaches(seen, candidates, number)
    )


def _reaches(seen: Seen, candidates: Candidates, place: int) -> bool:
    (task, utd), size = candidates.places[place], candidates.place_sizes[place]
    here = seen.at(candidates.tasks.index(task), utd, candidates.size_names.index(size))
    return bool(np.isfinite(seen.data[here]).any())


def _request(candidates: Candidates, place: int, pair: Pair, seeds: int, env_steps: float) -> CellRequest:
    (task, utd), size = candidates.places[place], candidates.place_sizes[place]
    steps = int(min(np.ceil(env_steps), candidates.env_steps[task]))
    if size:
        return SizedRequest(task=task, utd=utd, batch_size=pair[0], learning_rate=pair[1], seeds=seeds, env_steps=steps, size=size)
    return CellRequest(task=task, utd=utd, batch_size=pair[0], learning_rate=pair[1], seeds=seeds, env_steps=steps)


def _within(requests: Sequence[CellRequest], room: float, seen: Seen, candidates: Candidates) -> tuple[CellRequest, ...]:
    """The first of them that fit into a limit on env steps, even if none reaches its threshold before it is cut."""
    if not np.isfinite(room):
        return tuple(requests)
    names = candidates.size_names
    had = {
        (candidates.tasks[task], float(utd), int(batch), float(rate), names[size]): (seeds, bound)
        for task, utd, size, (batch, rate), seeds, bound in zip(
            seen.task, seen.utd, seen.size, seen.values, seen.seeds, seen.bound, strict=True
        )
    }
    kept, total = [], 0.0
    for request in requests:
        seeds, bound = had.get((*request.key, request.size), (0.0, 0.0))
        total += request.seeds * max(request.env_steps, bound) - seeds * bound
        if total > room:
            break
        kept.append(request)
    return tuple(kept)


@dataclass(frozen=True, kw_only=True)
class Picks:
    """Cells with the env steps that each is expected to take, most valuable first, and the regret expected after them."""

    chosen: tuple[tuple[CellRequest, float], ...]
    expected: float


def _best(belief: Belief, counts: NDArray[np.int64], rules: Rules, size: int) -> Picks:
    """So many seeds, greedily, each as if the ones before had come out as the surface says."""
    greedy = _Greedy(belief, counts, rules)
    requests: dict[CellKey, tuple[CellRequest, float]] = {}
    for _ in range(size):
        found = greedy.next_seed()
        if found is None:
            break
        request, steps = found
        requests[request.cell] = request, steps + (requests[request.cell][1] if request.cell in requests else 0.0)
    return Picks(chosen=tuple(requests.values()), expected=greedy.regret)


class _Greedy:
    """Takes one seed after the other, that which lowers the expected regret the most for its price."""

    def __init__(self, belief: Belief, counts: NDArray[np.int64], rules: Rules) -> None:
        self._belief, self._gain = belief, _Gain(belief)
        candidates = belief.candidates
        places = np.flatnonzero(belief.reached >= 0)
        self._have = np.zeros(belief.log_data.shape, dtype=np.int64)
        self._have[places] = counts[belief.reached[places]]
        limits = np.array([candidates.env_steps[candidates.tasks[t]] for t in belief.model.sweep.task], dtype=np.float64)
        clearly_worse = CUT * np.exp(belief.best_level + belief.level_deviation)
        self._cut = np.minimum(np.maximum(clearly_worse, CUT_OF_SEEN * belief.least_seen), limits)
        self._steps = np.minimum((1 + rules.margin) * np.exp(belief.log_data), self._cut[:, None])
        self._price = self._steps * _step_prices(belief, rules)
        self._allowed = belief.may_run()
        spread = np.sqrt(belief.variance + self._gain.variance)
        self._told = censored_information((np.log(self._cut)[:, None] - belief.log_data) / spread)

    @property
    def regret(self) -> float:
        """Expected, of what the laws leave open, after the seeds taken so far."""
        return self._gain.regret()

    def next_seed(self) -> tuple[CellRequest, float] | None:
        """The next seed, its cell with the seeds that it has then, and env steps that it is expected to take; None: there is none left."""
        free = self._allowed & (self._have < self._belief.candidates.seeds)
        if not free.any():
            return None
        score = np.where(free, self._gain.of(self._variance()) / self._price, -1.0)
        place, pair = map(int, np.unravel_index(np.argmax(score), score.shape))
        self._take(place, pair)
        candidates = self._belief.candidates
        seeds, cut = int(self._have[place, pair]), float(self._cut[place])
        number = int(self._belief.reached[place])
        return _request(candidates, number, candidates.pairs[pair], seeds, cut), float(self._steps[place, pair])

    def take(self, key: CellKey) -> None:
        """As if a seed of this cell had been run; nothing where no cell of its place has reached a threshold."""
        where = self._belief.candidates.where(key)
        if where is None:
            return
        for place in np.flatnonzero(self._belief.reached == where[0]):
            self._take(int(place), where[1])

    def _take(self, place: int, pair: int) -> None:
        self._gain.take(place, pair, float(self._variance()[place, pair]))
        self._have[place, pair] += 1

    def _variance(self) -> Floats:
        """Of an observation of the surface that says as much as one seed more, shape (n_model_places, n_pairs)."""
        return np.asarray(_new_seed_variance(self._belief, self._have) / self._told)


def censored_information(z: Floats) -> Floats:
    """The information about its mean in a normal variable censored above, as a share of that of an uncensored one; any shape.

    Φ(z) + φ(z)·(φ(z)/(1 − Φ(z)) − z): the expected information of type I censoring at z standard deviations above the mean.
    """
    log_density = -(z**2) / 2 - 0.5 * np.log(2 * np.pi)
    hazard = np.exp(log_density - log_ndtr(-z))
    return np.asarray(np.clip(ndtr(z) + np.exp(log_density) * (hazard - z), 1e-6, 1.0))


def _step_prices(belief: Belief, rules: Rules) -> Floats:
    """Shape (n_model_places, n_pairs)."""
    candidates = belief.candidates
    found = np.ones(belief.log_data.shape)
    if rules.step_price:
        for row, place in enumerate(belief.reached):
            if place >= 0:
                found[row] = [rules.price(candidates, int(place), batch) for batch, _ in candidates.pairs]
    return found


def _new_seed_variance(belief: Belief, have: NDArray[np.int64]) -> Floats:
    """Variance of a cell of its own that says as much as one seed more: seeds' noise falls with their number, the misfit does not."""
    noise = belief.variance - belief.misfit
    more = 1 / (noise / (have + 1) + belief.misfit)
    before = np.where(have > 0, 1 / (noise / np.maximum(have, 1) + belief.misfit), 0.0)
    return np.asarray(1 / np.maximum(more - before, 1e-12))


class _Gain:
    """How much each candidate lowers the expected regret, kept up to date as cells are taken."""

    def __init__(self, belief: Belief) -> None:
        e = belief.equations
        self._g, self._l = belief.by_shared, belief.by_local
        self._local, self._cross = e.local_inverse.copy(), e.cross.copy()
        self._covariance = e.shared_inverse.copy()
        self._targets, self._weights = belief.targets
        self._rows = self._g - self._l @ (self._local @ self._cross)
        self._refresh()

    def _refresh(self) -> None:
        shape = self._rows.shape[:2]
        flat = self._rows.reshape(-1, self._rows.shape[-1]) @ self._covariance
        self._by_target = (flat @ self._targets.T).reshape(*shape, -1)
        self._own = (flat * self._rows.reshape(-1, self._rows.shape[-1])).sum(axis=-1).reshape(shape)
        self._of_place = ((self._l @ self._local) * self._l).sum(axis=-1)

    @property
    def variance(self) -> Floats:
        """Of the surface at each candidate, shape (n_model_places, n_pairs)."""
        return np.asarray(self._own + self._of_place)

    def of(self, variance: Floats) -> Floats:
        """Fall of the expected regret by one observation of that variance, shape (n_model_places, n_pairs)."""
        return np.asarray((self._by_target**2 @ self._weights) / (self._own + self._of_place + variance))

    def take(self, place: int, pair: int, variance: float) -> None:
        """As if a candidate had been observed."""
        row, own = self._rows[place, pair], self._l[place, pair]
        total = self._own[place, pair] + self._of_place[place, pair] + variance
        along = self._covariance @ row
        by_target = self._by_target[place, pair].copy()
        of_rows = self._rows @ along
        self._covariance = self._covariance - np.outer(along, along) / total
        self._by_target = self._by_target - of_rows[..., None] * by_target / total
        self._own = self._own - of_rows**2 / total
        # the place's own parameters are better known, too, and other combinations of the shared ones are left to its cells
        precision = np.linalg.inv(self._local[place]) + np.outer(own, own) / variance
        self._cross[place] = self._cross[place] + np.outer(own, self._g[place, pair]) / variance
        self._local[place] = np.linalg.inv(precision)
        self._rows[place] = self._g[place] - self._l[place] @ (self._local[place] @ self._cross[place])
        flat = self._rows[place] @ self._covariance
        self._by_target[place] = flat @ self._targets.T
        self._own[place] = (flat * self._rows[place]).sum(axis=-1)
        self._of_place[place] = ((self._l[place] @ self._local[place]) * self._l[place]).sum(axis=-1)

    def regret(self) -> float:
        """Expected, of what the laws leave open."""
        return float((((self._targets @ self._covariance) * self._targets).sum(axis=-1) * self._weights).sum())
