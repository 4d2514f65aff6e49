"""What is known of a sweep so far: the response surface through the cells that were run, read off at every cell that may be run.

`Belief` holds the surface and says how large the regret of today's choice of B and η is expected to be. `rounds.py` takes the next
cells from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.bowls import bowl
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.response_surface import DEVIATION_WEIGHT, TELLS, SurfaceModel, SweepCells
from tdscale.design.candidates import Candidates
from tdscale.design.records import Regret
from tdscale.runs.types import Cell

LEVEL = 0.8  # of the bound on the regret
_DRAWS = 500
_ITERATIONS = 20
_LEAST_DEGREES = 3.0  # of the cells' noise: with fewer its mean would be infinite


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The cells of a sweep that were run.

    Attributes:
        task: index into the candidates' tasks; utd: σ; values: B and η; shapes (n,), (n,), (n, 2).
        size: index into the candidates' `size_names`, shape (n,).
        data: D at the highest threshold that a cell of the same place reaches, infinite where this one does not, shape (n,).
        bound: last env step, shape (n,).
        seeds: shape (n,).
    """

    task: NDArray[np.intp]
    utd: Floats
    values: Floats
    size: NDArray[np.intp]
    data: Floats
    bound: Floats
    seeds: Floats

    def at(self, task: int, utd: float, size: int) -> Bools:
        """Which cells stand at a place, shape (n,)."""
        return np.asarray((self.task == task) & (self.utd == utd) & (self.size == size))


def see(cells: Sequence[Cell], candidates: Candidates, thresholds: Sequence[float]) -> Seen:
    """D of the cells of the candidates' tasks, the others left out; in an order of their own, so that sums have the same bytes."""
    sizes = candidates.size_names
    cells = sorted((cell for cell in cells if cell.spec.task in candidates.tasks and _size(cell, candidates) in sizes), key=_order)
    crossings = find_crossings(cells, thresholds, n_draws=0, seed=0)
    reached = np.isfinite(crossings.data)
    places: dict[tuple[str, float, str], list[int]] = {}
    for index, cell in enumerate(cells):
        places.setdefault((cell.spec.task, cell.spec.utd, _size(cell, candidates)), []).append(index)
    data = np.full(len(cells), np.inf)
    for members in places.values():
        columns = np.flatnonzero(reached[members].any(axis=0))
        if columns.size:
            data[members] = crossings.data[members, columns[-1]]
    return Seen(
        task=np.array([candidates.tasks.index(cell.spec.task) for cell in cells], dtype=np.intp),
        utd=np.array([cell.spec.utd for cell in cells], dtype=np.float64),
        values=np.array([[cell.spec.batch_size, cell.spec.learning_rate] for cell in cells], dtype=np.float64).reshape(-1, 2),
        size=np.array([sizes.index(_size(cell, candidates)) for cell in cells], dtype=np.intp),
        data=data,
        bound=crossings.bound,
        seeds=np.array([np.count_nonzero(~cell.duplicate) for cell in cells], dtype=np.float64),
    )


def _size(cell: Cell, candidates: Candidates) -> str:
    """Without sizes all cells are of one."""
    return cell.size if candidates.sizes else ""


def _order(cell: Cell) -> tuple[str, float, int, float, str]:
    spec = cell.spec
    return spec.task, spec.utd, spec.batch_size, spec.learning_rate, spec.cell_id


class Belief:
    """The surface through what was seen, at the places where a cell has reached a threshold.

    Attributes:
        candidates, seen: what it was made of.
        reached: places of the model, as indices into `candidates.places`, −1 for a σ that is not a candidate; shape (n_model_places,).
        model, state, equations: the surface; the candidates' cells are the last `n_pairs` of each place.
    """

    def __init__(self, seen: Seen, candidates: Candidates) -> None:
        """Fit the surface.

        Raises:
            ValueError: if no cell has reached a threshold.
        """
        self.candidates, self.seen = candidates, seen
        where = zip(seen.task, seen.utd, seen.size, seen.data, strict=True)
        known = sorted({(int(t), float(u), int(s)) for t, u, s, d in where if np.isfinite(d)})
        if not known:
            raise ValueError("no cell has reached a threshold")
        names = candidates.size_names
        numbers = [candidates.place_of(candidates.tasks[task], utd, names[size]) for task, utd, size in known]
        self.reached = np.array([-1 if number is None else number for number in numbers], dtype=np.intp)
        rows = [np.flatnonzero(seen.at(*place)) for place in known]
        self._first = max(map(len, rows))
        # B levels off with N, η does not
        model = SurfaceModel(self._cells(known, rows), levels=[quantity == 0 for quantity in candidates.swept])
        self.model = model
        self.state = model.solve(_ITERATIONS)
        self.equations = model.equations(self.state, expected=True)

    def _cells(self, known: Sequence[tuple[int, float, int]], rows: Sequence[NDArray[np.intp]]) -> SweepCells:
        """What was seen, and behind it every candidate as a cell that is not there."""
        seen, candidates = self.seen, self.candidates
        swept = list(candidates.swept)
        pairs = candidates.log_pairs[:, swept]
        shape = (len(known), self._first + len(pairs))
        values = np.zeros((*shape, len(swept)))
        values[:, : self._first] = pairs[0]
        values[:, self._first :] = pairs
        log_data, censored, present, seeds = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool), np.ones(shape)
        for place, members in enumerate(rows):
            here = (place, slice(0, len(members)))
            values[here] = np.log(seen.values[members][:, swept])
            censored[here] = ~np.isfinite(seen.data[members])
            log_data[here] = np.log(np.where(censored[here], seen.bound[members], seen.data[members]))
            present[here], seeds[here] = True, seen.seeds[members]
        axes = (np.log(np.array(candidates.batch_size, float)), np.log(np.array(candidates.learning_rate, float)))
        return SweepCells(
            task=np.array([task for task, _, _ in known], dtype=np.intp),
            log_utd=np.log([utd for _, utd, _ in known]),
            values=values,
            log_data=log_data,
            censored=censored,
            present=present,
            n_tasks=len(candidates.tasks),
            seeds=seeds,
            grids=tuple(axes[q] for q in swept),
            log_size=np.log(list(candidates.sizes.values()))[[size for _, _, size in known]] if candidates.sizes else None,
        )

    @property
    def by_shared(self) -> Floats:
        """Slopes of the surface by the shared parameters, at the candidates, shape (n_model_places, n_pairs, n_parameters)."""
        return self.equations.by_shared[:, self._first :]

    @property
    def by_local(self) -> Floats:
        """The same by the places' own parameters, shape (n_model_places, n_pairs, n_local)."""
        return self.equations.by_local[:, self._first :]

    @property
    def variance(self) -> Floats:
        """Of normal noise that says as much as one seed's log D about the surface, at the candidates, shape (n_model_places, n_pairs)."""
        return np.asarray(self.equations.variance[:, self._first :] / TELLS)

    @property
    def misfit(self) -> Floats:
        """The part of `variance` that more seeds do not lower."""
        return np.asarray(self.state.misfit * self.equations.excess[:, self._first :] ** 2 / TELLS)

    @property
    def log_data(self) -> Floats:
        """The surface at the candidates, shape (n_model_places, n_pairs)."""
        return np.asarray(self.state.local[:, [0]] + self.equations.excess[:, self._first :])

    def rise(self, quantity: int, log_values: Floats) -> Floats:
        """Rise of log D along one hyperparameter from its best value at each place; those of both add up.

        Args:
            quantity: 0: B, 1: η; one that was swept.
            log_values: shape (n,).

        Returns:
            Shape (n_model_places, n).
        """
        model, shared = self.model, self.state.shared
        row = self.candidates.swept.index(quantity)
        logs = shared[row, model.curvature] + shared[row, model.of_task][model.sweep.task]
        curvatures = model.curvatures(logs[:, None] + model.shape(shared)[row])
        return bowl(log_values - self.best[:, [quantity]], curvatures[:, None, :])[0]

    @property
    def best_level(self) -> Floats:
        """log D at the best B and η of each place, shape (n_model_places,)."""
        return np.asarray(self.state.local[:, 0])

    @property
    def least_seen(self) -> Floats:
        """The least D of the cells of each place, shape (n_model_places,)."""
        sweep = self.model.sweep
        return np.asarray(np.exp(np.where(sweep.present & ~sweep.censored, sweep.log_data, np.inf).min(axis=1)))

    @property
    def level_deviation(self) -> Floats:
        """Standard deviation of `best_level`, shape (n_model_places,)."""
        e = self.equations
        pull = e.local_inverse @ e.cross
        spread = e.local_inverse[:, 0, 0] + ((pull[:, 0] @ e.shared_inverse) * pull[:, 0]).sum(axis=-1)
        return np.asarray(np.sqrt(spread))

    @cached_property
    def best(self) -> Floats:
        """log of the best values at each place of the model, shape (n_model_places, 2); of what was not swept its one value."""
        found = np.tile(self.candidates.log_pairs[0], (len(self.reached), 1))
        found[:, list(self.candidates.swept)] = self.model.best(self.state.shared, self.state.local).T
        return found

    def law(self, task: int, utd: float, size: str = "") -> Floats:
        """log best B and η by the laws, shape (2,). `size`: one of the candidates', where they have sizes."""
        slopes, _, intercepts = self.model.power_law(self.state.shared)
        found = self.candidates.log_pairs[0].copy()
        found[list(self.candidates.swept)] = intercepts[:, task] + slopes * np.log(utd)
        if self.model.sizes:
            log_size = np.log([self.candidates.sizes[size]])
            found[list(self.candidates.swept)] += self.model.size_law(self.state.shared, log_size)[0][:, 0]
        return np.asarray(found)

    @cached_property
    def answers(self) -> list[tuple[int, float]]:
        """(task, σ) at which B and η are wanted: those of tasks with a place that has reached a threshold.

        With sizes each stands once for each of them (`answer_sizes`).
        """
        utd = self.candidates.answer_utd or self.candidates.utd
        return [(int(task), one) for task in np.unique(self.model.sweep.task) for one in utd for _ in self.candidates.size_names]

    @property
    def answer_sizes(self) -> list[str]:
        """Name of the size of each answer, empty without sizes."""
        names = self.candidates.size_names
        return names * (len(self.answers) // len(names))

    @cached_property
    def targets(self) -> tuple[Floats, Floats]:
        """What the answers hang on: log best value of each quantity and answer, as T·shared, and what a squared error of it costs.

        Returns:
            T, shape (n_targets, n_parameters), and weights of shape (n_targets,): half the curvature over the number of answers.
        """
        model, answers = self.model, self.answers
        size = model.n_shared
        curvature = np.exp(self.state.shared[:, [model.curvature]] + self.state.shared[:, model.of_task])
        if model.sizes:
            _, by_size, by_level = model.size_law(self.state.shared, np.log([self.candidates.sizes[size] for size in self.answer_sizes]))
        targets, weights = (
            np.zeros((model.n_quantities, len(answers), model.n_quantities * size)),
            np.zeros((model.n_quantities, len(answers))),
        )
        for q in range(model.n_quantities):
            for row, (task, utd) in enumerate(answers):
                targets[q, row, q * size + task] = 1.0
                targets[q, row, q * size + model.slope] = np.log(utd) - model.centre
                if model.sizes:
                    targets[q, row, q * size + model.size_slope] = by_size[q, row]
                    targets[q, row, q * size + model.level] = by_level[q, row]
                weights[q, row] = 0.5 * curvature[q, task] / len(answers)
        return targets.reshape(-1, targets.shape[-1]), weights.ravel()

    @property
    def noise_degrees(self) -> float:
        """Degrees of freedom of the cells' noise: cells that reached a threshold less what the surface took of them."""
        e, sweep = self.equations, self.model.sweep
        rows = e.by_shared - e.by_local @ (e.local_inverse @ e.cross)
        uncertain = ((e.by_local @ e.local_inverse) * e.by_local).sum(axis=-1) + ((rows @ e.shared_inverse) * rows).sum(axis=-1)
        exact = sweep.present & ~sweep.censored
        return max(float(exact.sum() - (e.weight * uncertain)[exact].sum()), _LEAST_DEGREES)

    @cached_property
    def regret(self) -> Regret:
        """Of the laws' B and η at the answers, by draws from the posterior of the laws, of the bowls, and of deviations from the laws."""
        model, state = self.model, self.state
        rng = np.random.default_rng(7)
        root = np.linalg.cholesky(self.equations.shared_inverse + 1e-12 * np.eye(len(self.equations.shared_inverse)))
        drawn = (rng.standard_normal((_DRAWS, len(root))) @ root.T).reshape(_DRAWS, *state.shared.shape)
        # few cells determine their noise poorly, few places the deviations from the laws: Student-t
        cells, places = self.noise_degrees, max(model.n_places - model.n_tasks - 1, 0) + DEVIATION_WEIGHT
        drawn = drawn * np.sqrt(cells / rng.chisquare(cells, (_DRAWS, 1, 1)))
        targets, _ = self.targets
        off = (drawn.reshape(_DRAWS, -1) @ targets.T).reshape(_DRAWS, model.n_quantities, -1)
        deviation = state.deviation[:, None] * np.sqrt(places / rng.chisquare(places, (_DRAWS, 1, 1)))
        off = off + deviation * rng.standard_normal(off.shape)
        shared = state.shared + drawn
        tasks = np.array([task for task, _ in self.answers])
        of_answer = shared[..., [model.curvature]] + shared[..., model.of_task.start + tasks]
        curvatures = model.curvatures(of_answer[..., None] + model.shape(shared)[..., None, :])
        height = bowl(-off, curvatures)[0].sum(axis=1).mean(axis=-1)
        # where little is known of the noise, the mean may lie above
        expected = float(height.mean())
        return Regret(expected=expected, bound=max(float(np.quantile(height, LEVEL)), expected))

    def may_run(self) -> Bools:
        """Which candidates may be asked for at each place of the model, shape (n_model_places, n_pairs).

        A cell beyond the grid only where the best value lies within half a step of that end, or beyond it.
        """
        candidates = self.candidates
        allowed = candidates.available[self.reached] & (self.reached >= 0)[:, None]
        for q, axis in enumerate((candidates.batch_size, candidates.learning_rate)):
            if len(axis) < 2:
                continue
            ends = np.log(np.array(axis, float))
            low, high = (ends[0] + ends[1]) / 2, (ends[-1] + ends[-2]) / 2
            side = candidates.outside[:, q]
            near = np.where(side < 0, self.best[:, [q]] < low, np.where(side > 0, self.best[:, [q]] > high, True))
            allowed &= near
        return allowed
