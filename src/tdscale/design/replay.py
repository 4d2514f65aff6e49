"""Replays: a design is tried on cells that are known whole, published or simulated, whose runs are revealed as they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tdscale.analysis.crossings import cell_curve, first_crossing
from tdscale.design.candidates import Candidates
from tdscale.design.records import CellKey, CellRequest, Regret
from tdscale.design.rounds import Next, Rules, next_round
from tdscale.runs.types import Cell


@dataclass(frozen=True, kw_only=True)
class ReplayedRound:
    """A design after one of its rounds.

    Attributes:
        env_steps: taken so far.
        runs: so far.
        regret: expected, of the choice of B and η by what was run so far; None where there is no surface.
        cells: what was run so far.
    """

    env_steps: float
    runs: int
    regret: Regret | None
    cells: tuple[Cell, ...]


class Archive:
    """Cells that are known whole: all seeds, to their ends."""

    def __init__(self, cells: Sequence[Cell] | Callable[[Any], Cell], top: float, margin: float = 0.1) -> None:
        """Nothing revealed yet.

        Args:
            cells: the whole ones, or a function that makes one when it is asked for, by `CellRequest.cell`.
            top: J at which a cell stops.
            margin: env steps of a run over those to its crossing.
        """
        self._make = cells if callable(cells) else None
        self._cells: dict[CellKey, Cell] = {} if callable(cells) else {key_of(cell): cell for cell in cells}
        self._top, self._margin = top, margin
        self._seen: dict[CellKey, Cell] = {}
        self.env_steps = 0.0
        self.runs = 0

    def whole(self, key: CellKey) -> Cell:
        """A cell with all that is known of it."""
        if key not in self._cells and self._make is not None:
            self._cells[key] = self._make(key)
        return self._cells[key]

    def run(self, request: CellRequest) -> None:
        """Reveal what a request asks for; seeds that were run before continue from where they stopped."""
        whole, before = self.whole(request.cell), self._seen.get(request.cell)
        seeds = min(request.seeds, len(whole.seeds))
        had = 0 if before is None else len(before.seeds)
        least = 0 if before is None else before.last_step
        seen = stopped(first_seeds(whole, seeds), self._top, max(request.env_steps, least), self._margin, least)
        self.env_steps += seeds * seen.last_step - had * least
        self.runs += seeds - had
        self._seen[request.cell] = seen

    def seen(self, key: CellKey) -> Cell:
        """A cell up to where it was revealed. Raises KeyError if it was not."""
        return self._seen[key]

    @property
    def cells(self) -> list[Cell]:
        """What was revealed so far."""
        return list(self._seen.values())


def key_of(cell: Cell) -> CellKey:
    """Which cell it is."""
    spec = cell.spec
    key = spec.task, spec.utd, spec.batch_size, spec.learning_rate
    return (*key, cell.size) if cell.size else key


def first_seeds(cell: Cell, count: int) -> Cell:
    """A cell with its first seeds alone."""
    kept = slice(0, count)
    return replace(cell, seeds=cell.seeds[kept], returns=cell.returns[kept], diverged=cell.diverged[kept], duplicate=cell.duplicate[kept])


def stopped(cell: Cell, top: float, limit: float, margin: float, least: float = 0.0) -> Cell:
    """A cell as it is when its runs stop a margin past the crossing of a return, or at a limit."""
    curve, counted = cell_curve(cell)
    index = int(first_crossing(curve, [top], counted=counted)[0])
    end = limit if index >= len(curve) else min(max((1 + margin) * float(cell.env_steps[index]), least), limit)
    count = max(int(np.searchsorted(cell.env_steps, end, side="right")), 1)
    last = int(min(max(end, cell.env_steps[0]), cell.last_step))
    return replace(
        cell, env_steps=cell.env_steps[:count], returns=cell.returns[:, :count], last_step=max(last, int(cell.env_steps[count - 1]))
    )


def replay(
    archive: Archive,
    candidates: Candidates,
    thresholds: Sequence[float],
    rules: Rules,
    *,
    on_round: Callable[[ReplayedRound], bool] = lambda done: False,
    most_rounds: int = 100,
) -> list[ReplayedRound]:
    """Run an adaptive sweep on an archive until it ends, or until `on_round` says so."""
    done: list[ReplayedRound] = []
    for _ in range(most_rounds):
        step: Next = next_round(archive.cells, thresholds, candidates, rules, spent=archive.env_steps)
        if archive.runs:
            done.append(ReplayedRound(env_steps=archive.env_steps, runs=archive.runs, regret=step.regret, cells=tuple(archive.cells)))
            if on_round(done[-1]):
                break
        if not step.cells:
            break
        for request in step.cells:
            archive.run(request)
    return done
