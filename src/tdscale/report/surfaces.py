"""The response surface of a sweep at each task and σ, with the cells that were run: what `figures.surface_figure` draws."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.fit import Measured
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.design.belief import Belief, see
from tdscale.design.candidates import AdaptiveSweep, Candidates
from tdscale.design.records import Key, RoundRecord

_POINTS = 40  # of the surface, along either hyperparameter
_MARGIN = 1.3  # beyond the outermost cells


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A sweep at one (task, σ).

    Attributes:
        batch_sizes, learning_rates: where the surface is known, shapes (n_B,), (n_η,).
        rise: log D above the best, shape (n_η, n_B); None where no cell has reached a threshold.
        cells: B and η of those that were run, shape (n_cells, 2).
        reached: whether each reached the threshold that they are compared at, shape (n_cells,).
        rounds: in which each was first asked for, 0 where it was in none, shape (n_cells,).
        best: the place's own B* and η*; None where there is no surface.
        law: B* and η* by the laws; None where there are none.
    """

    task: str
    utd: float
    batch_sizes: Floats
    learning_rates: Floats
    rise: Floats | None
    cells: Floats
    reached: Bools
    rounds: Floats
    best: tuple[float, float] | None
    law: tuple[Estimate, Estimate] | None


def sweep_belief(measured: Measured | None, adaptive: AdaptiveSweep | None) -> Belief | None:
    """The surface through a sweep's cells; None where none reached a threshold, or where B and η were not both swept."""
    if measured is None or not measured.sweep:
        return None
    candidates = _candidates(measured) if adaptive is None else adaptive.candidates
    if len(candidates.swept) < 2:
        return None
    seen = see(measured.sweep, candidates, measured.options.thresholds)
    return Belief(seen, candidates) if np.isfinite(seen.data).any() else None


def _candidates(measured: Measured) -> Candidates:
    """The grid that was run."""
    specs = [cell.spec for cell in measured.sweep]
    ends = {task: max((cell.last_step for cell in measured.sweep if cell.spec.task == task), default=1) for task in measured.options.tasks}
    return Candidates(
        tasks=tuple(task for task in measured.options.tasks if any(spec.task == task for spec in specs)),
        utd=tuple(sorted({spec.utd for spec in specs})),
        batch_size=tuple(sorted({spec.batch_size for spec in specs})),
        learning_rate=tuple(sorted({spec.learning_rate for spec in specs})),
        env_steps=ends,
    )


def surfaces(belief: Belief | None, laws: ScalingLaws, rounds: Sequence[RoundRecord] = ()) -> list[Surface]:
    """One for each (task, σ) that has cells, task by task, σ rising."""
    if belief is None:
        return []
    seen, candidates = belief.seen, belief.candidates
    first: dict[Key, int] = {}
    for record in rounds:
        for request in record.cells:
            first.setdefault(request.key, record.number)
    batches, rates = (
        np.geomspace(values.min() / _MARGIN, values.max() * _MARGIN, _POINTS) for values in (seen.values[:, 0], seen.values[:, 1])
    )
    rises = belief.rise(1, np.log(rates))[:, :, None] + belief.rise(0, np.log(batches))[:, None, :]
    row_of = {(int(task), round(float(x), 9)): row for row, (task, x) in enumerate(zip(*_places(belief), strict=True))}
    found = []
    for task, utd in sorted({(int(t), float(u)) for t, u in zip(seen.task, seen.utd, strict=True)}):
        here = (seen.task == task) & (seen.utd == utd)
        row = row_of.get((task, round(float(np.log(utd)), 9)))
        name = candidates.tasks[task]
        keys = [(name, utd, int(batch), float(rate)) for batch, rate in seen.values[here]]
        found.append(
            Surface(
                task=name,
                utd=utd,
                batch_sizes=batches,
                learning_rates=rates,
                rise=None if row is None else rises[row],
                cells=seen.values[here],
                reached=np.isfinite(seen.data[here]),
                rounds=np.array([first.get(key, 0) for key in keys], dtype=np.float64),
                best=None if row is None else (float(np.exp(belief.best[row, 0])), float(np.exp(belief.best[row, 1]))),
                law=_law(laws, name, utd),
            )
        )
    return found


def _places(belief: Belief) -> tuple[Sequence[int], Sequence[float]]:
    sweep = belief.model.sweep
    return sweep.task.tolist(), sweep.log_utd.tolist()


def _law(laws: ScalingLaws, task: str, utd: float) -> tuple[Estimate, Estimate] | None:
    batch, rate = laws.batch_size, laws.learning_rate
    if batch is None or rate is None or task not in laws.tasks or batch.source != "sweep" or rate.source != "sweep":
        return None
    pair = batch.estimate(utd, task), rate.estimate(utd, task)
    return pair if all(np.isfinite(one.value) for one in pair) else None
