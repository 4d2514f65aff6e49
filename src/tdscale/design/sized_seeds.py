"""Stage 2 with networks of several sizes: which (task, σ, size) gets a further seed.

Each size has a data law of its own over σ here, so that a seed is informative for its size alone; the sizes' most valuable seeds are
merged, most valuable for their price first. `data_law.py` does it for one size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tdscale.design.data_law import (
    FIRST_SEEDS,
    LawDraws,
    NextSeeds,
    Place,
    RankedSeed,
    ScalingCandidates,
    ScalingRules,
    place_of,
    values_of,
)
from tdscale.design.records import CellRequest, SizedRequest
from tdscale.runs.types import Cell


@dataclass(frozen=True, kw_only=True)
class _Size:
    """What is known of one size: seeds of each place, and the draws of its law; None without one."""

    name: str
    candidates: ScalingCandidates
    rules: ScalingRules
    have: Mapping[Place, int]
    law: LawDraws | None

    def up_to(self, seeds: Mapping[Place, int]) -> "list[_Wanted]":
        """What the places lack to so many seeds; without a law a run may take all that it is allowed."""
        limits, most = self.candidates.env_steps, self.candidates.seeds
        wanted = {place: min(count, most) for place, count in seeds.items()}
        return [
            _Wanted(self, place, count, (count - self.have[place]) * float(limits[place[0]]))
            for place, count in wanted.items()
            if count > self.have[place]
        ]


@dataclass(frozen=True)
class _Wanted:
    size: _Size
    place: Place
    seeds: int
    env_steps: float

    def request(self) -> CellRequest:
        (task, utd), candidates = self.place, self.size.candidates
        batch, rate = candidates.values[self.place]
        return SizedRequest(
            task=task,
            utd=utd,
            batch_size=batch,
            learning_rate=rate,
            seeds=self.seeds,
            env_steps=candidates.env_steps[task],
            size=self.size.name,
        )


def next_sized_seeds(
    cells: Sequence[Cell],
    thresholds: Sequence[float],
    candidates: Mapping[str, ScalingCandidates],
    rules: ScalingRules,
    *,
    spent: float = 0.0,
) -> NextSeeds:
    """The runs of stage 2 to make next, at every size, a function of what was run alone.

    Args:
        cells: of stage 2, those that were run; those of other sizes, or at other B, η than the candidates', are left out.
        thresholds: J, rising, normalised return.
        candidates: what may be run, by the sizes' names.
        rules: when it ends, how many at a time; the precision is wanted at each size. With sizes `step_price` is by (task, σ, B, size).
        spent: env steps that stage 2 has taken.
    """
    sizes = [_size(name, [cell for cell in cells if cell.size == name], thresholds, own, rules) for name, own in candidates.items()]
    room = np.inf if rules.most_env_steps is None else rules.most_env_steps - spent
    if first := [wanted for size in sizes for wanted in size.up_to(dict.fromkeys(size.have, FIRST_SEEDS))]:
        return _within(first, room)
    laws = [(size, size.law) for size in sizes if size.law is not None]
    precision = max((law.precision() for _, law in laws), default=None)
    more = [wanted for size in sizes if size.law is None for wanted in size.up_to({place: n + 1 for place, n in size.have.items()})]
    if more or precision is None:
        return _within(more, room, precision=precision)
    wide = [(size, law) for size, law in laws if law.precision() >= rules.precision]
    if not wide:
        why = f"half the width of the 80 % interval of log D is below {rules.precision:g} at every UTD ratio and size"
        return NextSeeds(cells=(), precision=precision, why=why)
    worthwhile = [(size, law) for size, law in wide if not _worth_little(size, law)]
    if not worthwhile and any(size.up_to(dict.fromkeys(size.have, size.candidates.seeds)) for size, _ in wide):
        why = f"all remaining seeds would narrow the intervals of D by less than {rules.worth:.0%}"
        return NextSeeds(cells=(), precision=precision, why=why)
    chosen = _merged(worthwhile, rules.round_size or max(sum(len(size.have) for size in sizes) // 2, 1))
    wanted: dict[tuple[str, Place], _Wanted] = {}
    for size, seed in chosen:
        before = wanted.get((size.name, seed.place))
        steps = seed.env_steps + (before.env_steps if before else 0.0)
        wanted[size.name, seed.place] = _Wanted(size, seed.place, seed.seeds, steps)
    last = {size.name: seed.expected for size, seed in chosen}
    expected = max(last.get(size.name, law.precision()) for size, law in laws)
    return _within(list(wanted.values()), room, precision=precision, expected=expected)


def _size(name: str, cells: Sequence[Cell], thresholds: Sequence[float], candidates: ScalingCandidates, rules: ScalingRules) -> _Size:
    here = {place: cell for cell in cells if (place := place_of(cell)) in candidates.values and values_of(cell) == candidates.values[place]}
    have = {place: 0 if place not in here else int((~here[place].duplicate).sum()) for place in candidates.values}
    prices: Mapping[Any, float] = rules.step_price
    own = replace(rules, step_price={key[:3]: price for key, price in prices.items() if key[3] == name})
    enough = all(count >= min(FIRST_SEEDS, candidates.seeds) for count in have.values())
    law = LawDraws.of_cells(list(here.values()), thresholds, candidates) if enough else None
    return _Size(name=name, candidates=candidates, rules=own, have=have, law=law)


def _worth_little(size: _Size, law: LawDraws) -> bool:
    all_of_them = law.after(dict.fromkeys(size.have, size.candidates.seeds), size.have)
    return bool(size.rules.worth and all_of_them > (1 - size.rules.worth) * law.precision())


def _merged(sizes: Sequence[tuple[_Size, LawDraws]], count: int) -> list[tuple[_Size, RankedSeed]]:
    """The seeds of all sizes, most valuable for their price first; each size's own stay in their order."""
    queues = [(size, law.ranked(size.have, count, size.candidates, size.rules)) for size, law in sizes]
    found: list[tuple[_Size, RankedSeed]] = []
    while len(found) < count and (heads := [(size, ranked) for size, ranked in queues if ranked]):
        size, ranked = max(heads, key=lambda head: head[1][0].worth)
        found.append((size, ranked.pop(0)))
    return found


def _within(wanted: Sequence[_Wanted], room: float, *, precision: float | None = None, expected: float | None = None) -> NextSeeds:
    """The first of them that fit into a limit on env steps."""
    kept, total = [], 0.0
    for one in wanted:
        if total + one.env_steps > room:
            break
        total += one.env_steps
        kept.append(one.request())
    why = "" if kept else ("the limit on env steps is reached" if wanted else "every cell has all of its seeds")
    return NextSeeds(cells=tuple(kept), env_steps=total, precision=precision, expected=expected if kept else None, why=why)
