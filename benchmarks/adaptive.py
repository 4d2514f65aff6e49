"""What an adaptive sweep saves: published sweeps replayed, their runs revealed as a design asks for them, in random seed order.

Side by side, at several shares of the env steps that the full grid takes (every seed of each cell to its crossing):

* adaptive: the default rules of `tdscale.design`; Thompson sampling: the same but for how cells are chosen, each pick the best cell
  of one draw of the surface; no price: the same, the gain not divided by what a cell costs.
* random cells with five seeds, each to its crossing; random cells with two seeds, cut where adaptive cuts (1.5 times the least D seen
  at the same task and σ).
* one-at-a-time lines: B at the middle η, then η at the best B, at each task and σ, with 1, 2, 3 … seeds, each cell to its crossing.
* Optuna (`--peers`, a Python that has it): TPE with a pruner, a study for each task and σ, each trial a run of one seed.

Regret is that of `hyperparameters.py`: log D at the cell nearest to the laws' B and η above the best cell's, by all seeds, mean over task
and σ. The laws are those that the default method fits to what was run. Where a design says which cell is best at each task and σ, the
regret of that is told as well. A design is asked after its last round that fits into a share.

    python benchmarks/adaptive.py --replays 20 --peers .venv-bench/bin/python
    python benchmarks/adaptive.py --thin            # a smaller sweep: 4 tasks, 4 σ, 3 B, 3 η of each task, 8 seeds
    python benchmarks/adaptive.py --data DIR --file NAME.zip --from qscaled
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.fit import FitOptions
from tdscale.analysis.hyperparameters import Places, find_places, fit_surface_laws
from tdscale.design import rounds
from tdscale.design.belief import Belief
from tdscale.design.candidates import Candidates
from tdscale.design.records import CellRequest, Key
from tdscale.design.replay import Archive, ReplayedRound, key_of, replay, stopped
from tdscale.design.rounds import Rules
from tdscale.importers import import_runs
from tdscale.running.fitting import fit_options
from tdscale.running.folder import open_study
from tdscale.runs.cells import load_cells
from tdscale.runs.types import Cell

Floats = NDArray[np.float64]
SHARES = (0.0125, 0.02, 0.025, 0.05, 0.12, 0.25)
STOP = 0.05  # expected regret at which the default rules stop
RUNGS = np.geomspace(0.01, 0.95, 24)  # where Optuna's pruner looks, as shares of a run's longest


def data_folder() -> Path:
    """Where the published files are."""
    return Path(os.environ.get("TDSCALE_PUBLISHED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep that is known whole.

    Attributes:
        cells: all seeds, to their ends.
        options: tasks and thresholds among them.
    """

    cells: list[Cell]
    options: FitOptions

    @cached_property
    def keys(self) -> list[Key]:
        """Of the cells."""
        return [key_of(cell) for cell in self.cells]

    @cached_property
    def candidates(self) -> Candidates:
        """What may be run: the cells that there are."""
        axes = {name: tuple(sorted({getattr(c.spec, name) for c in self.cells})) for name in ("utd", "batch_size", "learning_rate")}
        whole = len(self.cells) == len(self.options.tasks) * np.prod([len(axis) for axis in axes.values()])
        return Candidates(
            tasks=self.options.tasks,
            **axes,
            env_steps={task: max(c.last_step for c in self.cells if c.spec.task == task) for task in self.options.tasks},
            seeds=max(len(c.seeds) for c in self.cells),
            answer_utd=axes["utd"],
            beyond=False,
            only=None if whole else frozenset(self.keys),
        )

    @cached_property
    def places(self) -> Places:
        """(task, σ) with their cells, those alone where a threshold is reached."""
        return find_places(self.cells, find_crossings(self.cells, self.options.thresholds, n_draws=0, seed=0))

    @cached_property
    def log_data(self) -> Floats:
        """log D of each cell by all seeds at its place's highest threshold, or its last step, shape (n_cells,)."""
        crossings = find_crossings(self.cells, self.options.thresholds, n_draws=0, seed=0)
        found = np.log(crossings.bound)
        for members, threshold in zip(self.places.members, self.places.threshold, strict=True):
            there = members[members >= 0]
            data = crossings.data[there, threshold]
            found[there] = np.where(np.isfinite(data), np.log(data), found[there])
        return found

    @cached_property
    def price(self) -> float:
        """Env steps of the full grid: every seed of each cell to its crossing of its place's threshold, or to its end."""
        total = 0.0
        for members, threshold in zip(self.places.members, self.places.threshold, strict=True):
            for index in members[members >= 0]:
                cell = self.cells[index]
                total += len(cell.seeds) * stopped(cell, self.options.thresholds[threshold], cell.last_step, 0.0).last_step
        return total

    def regret(self, choose: Callable[[str, float], Floats]) -> float:
        """Mean over task and σ of log D at the cell nearest to what is chosen there (log B, log η) above the best cell's."""
        total = []
        for task, utd, members in zip(self.places.task, self.places.utd, self.places.members, strict=True):
            there = members[members >= 0]
            wanted = choose(self.places.tasks[task], float(utd))
            specs = [self.cells[index].spec for index in there]
            distance = np.abs(np.log([(spec.batch_size, spec.learning_rate) for spec in specs]) - wanted).sum(axis=1)
            data = self.log_data[there]
            total.append(data[int(np.argmin(distance))] - data.min())
        return float(np.mean(total))

    @cached_property
    def middle(self) -> dict[str, Floats]:
        """log B, log η in the middle of each task's grid."""
        found = {}
        for task in self.options.tasks:
            own = np.log([(key[2], key[3]) for key in self.keys if key[0] == task])
            found[task] = np.array([np.mean(np.unique(column)) for column in own.T])
        return found

    def law_regret(self, cells: Sequence[Cell]) -> float:
        """Of the laws that the default method fits to these cells; NaN where there are none."""
        try:
            crossings = find_crossings(cells, self.options.thresholds, n_draws=2, seed=0)
            laws = fit_surface_laws(cells, crossings, self.options.tasks, 0)[:2]
        except (ValueError, np.linalg.LinAlgError):
            return float("nan")
        if any(law is None for law in laws):
            return float("nan")

        def choose(task: str, utd: float) -> Floats:
            values = np.array([np.log(law.predict([utd], task)[0]) for law in laws if law is not None])
            # a task of which nothing was seen
            return np.where(np.isfinite(values), values, self.middle[task])

        return self.regret(choose)

    def best_seen_regret(self, cells: Sequence[Cell]) -> float:
        """Of the cell with the least D at each task and σ among these, the middle one where none reached a threshold."""
        crossings = find_crossings(cells, self.options.thresholds, n_draws=0, seed=0)
        places = find_places(cells, crossings)
        best: dict[tuple[str, float], Floats] = {}
        for task, utd, members, threshold in zip(places.task, places.utd, places.members, places.threshold, strict=True):
            there = members[members >= 0]
            spec = cells[there[int(np.argmin(crossings.data[there, threshold]))]].spec
            best[places.tasks[task], float(utd)] = np.log([spec.batch_size, spec.learning_rate])
        return self.regret(lambda task, utd: best.get((task, utd), self.middle[task]))

    def shuffled(self, seed: int) -> list[Cell]:
        """The cells with their seeds in a random order."""
        rng = np.random.default_rng(seed)
        return [with_seeds(cell, rng.permutation(len(cell.seeds))) for cell in self.cells]

    def thinned(self, seed: int) -> "Sweep":
        """4 tasks, σ = 1, 2, 4, 8, 3 B, 3 η of each task's own, 8 seeds."""
        rng = np.random.default_rng([seed, 17])
        tasks = tuple(sorted(rng.choice(self.options.tasks, 4, replace=False).tolist()))
        axes = {name: sorted({getattr(c.spec, name) for c in self.cells}) for name in ("batch_size", "learning_rate")}
        batches = {axes["batch_size"][i] for i in rng.choice(len(axes["batch_size"]), 3, replace=False)}
        rates = {task: {axes["learning_rate"][i] for i in rng.choice(len(axes["learning_rate"]), 3, replace=False)} for task in tasks}
        kept = [
            with_seeds(cell, np.sort(rng.permutation(len(cell.seeds))[:8]))
            for cell in self.cells
            if (spec := cell.spec).task in tasks
            and spec.utd in (1, 2, 4, 8)
            and spec.batch_size in batches
            and spec.learning_rate in rates[spec.task]
        ]
        return Sweep(cells=kept, options=replace(self.options, tasks=tasks))


def with_seeds(cell: Cell, order: NDArray[np.intp]) -> Cell:
    """A cell with some of its seeds, in an order."""
    names = ("seeds", "returns", "diverged", "duplicate")
    return replace(cell, **{name: getattr(cell, name)[order] for name in names})


def load(path: Path, kind: str) -> Sweep:
    """The sweep's cells of a file."""
    with tempfile.TemporaryDirectory() as folder:
        import_runs(path, kind, folder)
        files = open_study(Path(folder))
        cells, _ = load_cells(files.store, files.study)
    swept = [cell for cell in cells if cell.spec.stage == "sweep"] or cells
    return Sweep(cells=swept, options=fit_options(files.study, "default", n_draws=2))


@dataclass(frozen=True, kw_only=True)
class State:
    """A design after so much.

    Attributes:
        share: env steps over the full grid's.
        cells: what it ran.
        expected, bound: regret as the design itself says; NaN where it says nothing.
    """

    share: float
    cells: Sequence[Cell]
    expected: float = float("nan")
    bound: float = float("nan")


Design = Callable[[Sweep, int, float], Iterator[State]]


def adaptive(sweep: Sweep, seed: int, most: float, *, greedy: type[rounds._Greedy] = rounds._Greedy) -> Iterator[State]:
    """The default rules of `tdscale.design`, without their end; `greedy`: in place of its way to take the next cells."""
    archive = Archive(sweep.shuffled(seed), sweep.options.thresholds[-1], 0.0)
    found: list[ReplayedRound] = []

    def keep(done: ReplayedRound) -> bool:
        found.append(done)
        return done.env_steps > most * sweep.price

    usual = rounds._Greedy
    rounds._Greedy = greedy
    try:
        replay(archive, sweep.candidates, sweep.options.thresholds, Rules(regret=0.0, margin=0.0, seed=seed), on_round=keep)
    finally:
        rounds._Greedy = usual
    for done in found:
        nan = float("nan")
        expected, bound = (nan, nan) if done.regret is None else (done.regret.expected, done.regret.bound)
        yield State(share=done.env_steps / sweep.price, cells=done.cells, expected=expected, bound=bound)


class Thompson(rounds._Greedy):
    """Each place in turn takes the cell nearest to the best B and η of one draw of the surface."""

    def __init__(self, belief: Belief, counts: NDArray[np.int64], rules: Rules) -> None:
        super().__init__(belief, counts, rules)
        self._rng = np.random.default_rng([rules.seed, int(counts.sum())])
        self._root = np.linalg.cholesky(belief.equations.shared_inverse + 1e-12 * np.eye(len(belief.equations.shared_inverse)))
        self._turn = 0
        self._may = self._allowed.copy()

    def next_seed(self) -> tuple[CellRequest, float] | None:
        """The draw leaves one cell allowed, and that is taken."""
        model, state, e = self._belief.model, self._belief.state, self._belief.equations
        candidates = self._belief.candidates
        open_places = np.flatnonzero((self._may & (self._have < candidates.seeds)).any(axis=1))
        if not open_places.size:
            return None
        place = int(open_places[self._turn % len(open_places)])
        self._turn += 1
        change = self._root @ self._rng.standard_normal(len(self._root))
        # the place's own parameters, given the shared ones
        mean = state.local[place] - e.local_inverse[place] @ e.cross[place] @ change
        local = state.local.copy()
        local[place] = self._rng.multivariate_normal(mean, e.local_inverse[place])
        best = candidates.log_pairs[0].copy()
        best[list(candidates.swept)] = model.best(state.shared + change.reshape(state.shared.shape), local)[:, place]
        free = np.flatnonzero(self._may[place] & (self._have[place] < candidates.seeds))
        self._allowed = np.zeros_like(self._may)
        self._allowed[place, free[np.argmin(np.abs(candidates.log_pairs[free] - best).sum(axis=1))]] = True
        return super().next_seed()


class WithoutPrice(rounds._Greedy):
    """As if each cell cost the same."""

    def __init__(self, belief: Belief, counts: NDArray[np.int64], rules: Rules) -> None:
        super().__init__(belief, counts, rules)
        self._price = np.ones_like(self._price)


def random_cells(sweep: Sweep, seed: int, most: float, *, seeds: int, cut: float | None) -> Iterator[State]:
    """Cells in a random order; with a cut, run to so many times the least D that was seen at their place, else to their crossing."""
    cells, rng = sweep.shuffled(seed), np.random.default_rng([seed, 3])
    archive, top = Archive(cells, sweep.options.thresholds[-1], 0.0), sweep.options.thresholds[-1]
    least: dict[tuple[str, float], float] = {}
    marks = [share for share in SHARES if share <= most]
    for index in rng.permutation(len(cells)):
        spec = cells[index].spec
        place, limit = (spec.task, spec.utd), float(cells[index].last_step)
        end = min(limit, cut * least.get(place, np.inf)) if cut is not None else limit
        before = archive.env_steps, archive.cells
        request = CellRequest(
            task=spec.task, utd=spec.utd, batch_size=spec.batch_size, learning_rate=spec.learning_rate, seeds=seeds, env_steps=int(end)
        )
        archive.run(request)
        data = find_crossings([archive.seen(request.key)], [top], n_draws=0, seed=0).data[0, 0]
        least[place] = min(least.get(place, np.inf), data)
        while marks and archive.env_steps > marks[0] * sweep.price:
            marks.pop(0)
            yield State(share=before[0] / sweep.price, cells=before[1])
        if not marks:
            return
    yield State(share=archive.env_steps / sweep.price, cells=archive.cells)


def lines(sweep: Sweep, seed: int, most: float) -> Iterator[State]:
    """B at the middle η, then η at the best B, at each task and σ; with one seed, with two, with three …"""
    cells = dict(zip(sweep.keys, sweep.shuffled(seed), strict=True))
    top = sweep.options.thresholds[-1]
    for seeds in range(1, sweep.candidates.seeds + 1):
        archive = Archive(list(cells.values()), top, 0.0)
        for task, utd in sweep.candidates.places:
            own = [key for key in cells if key[:2] == (task, utd)]
            rates = sorted({key[3] for key in own})
            middle = rates[len(rates) // 2]

            def run(keys: list[Key], archive: Archive = archive, seeds: int = seeds) -> Key:
                for key in keys:
                    limit = cells[key].last_step
                    archive.run(CellRequest(task=key[0], utd=key[1], batch_size=key[2], learning_rate=key[3], seeds=seeds, env_steps=limit))
                seen = find_crossings([archive.seen(key) for key in keys], sweep.options.thresholds, n_draws=0, seed=0)
                columns = np.flatnonzero(np.isfinite(seen.data).any(axis=0))
                return keys[int(np.argmin(seen.data[:, columns[-1]]))] if columns.size else keys[len(keys) // 2]

            best = run([key for key in own if key[3] == middle])
            run([key for key in own if key[2] == best[2]])
        yield State(share=archive.env_steps / sweep.price, cells=archive.cells)
        if archive.env_steps > most * sweep.price:
            return


def optuna(sweep: Sweep, seed: int, most: float, *, python: str, pruner: str) -> Iterator[State]:
    """TPE with a pruner, a study for each task and σ, all of them with as many trials; each trial is a run of one seed."""
    cells, top = sweep.shuffled(seed), sweep.options.thresholds[-1]
    runs = [[with_seeds(cell, np.array([index])) for index in range(len(cell.seeds))] for cell in cells]
    ends = np.array([[stopped(run, top, run.last_step, 0.0).last_step for run in of_cell] for of_cell in runs], dtype=np.float64)
    crossed = [np.isfinite(find_crossings(of_cell, [top], n_draws=0, seed=0).data[:, 0]) for of_cell in runs]
    studies = []
    for task, utd in sweep.candidates.places:
        own = [index for index, key in enumerate(sweep.keys) if key[:2] == (task, utd)]
        limit = max(cells[index].last_step for index in own)
        rungs = RUNGS * limit
        values = [[np.interp(rungs, run.env_steps, smooth(run.returns[0])).round(1).tolist() for run in runs[index]] for index in own]
        studies.append(
            {
                "cells": [(index, *sweep.keys[index][2:]) for index in own],
                "ends": ends[own].tolist(),
                "crossed": [crossed[index].tolist() for index in own],
                "rungs": rungs.tolist(),
                "returns": values,
            }
        )
    asked = {"studies": studies, "top": float(top), "seed": seed, "pruner": pruner, "env_steps": most * sweep.price}
    script = Path(__file__).with_name("optuna_peer.py")
    told = subprocess.run([python, str(script)], input=json.dumps(asked), capture_output=True, text=True, check=True).stdout
    taken, kept, marks = 0.0, [], [share for share in SHARES if share <= most]
    for trial in json.loads(told):
        for index, run, end in trial:
            while marks and taken + end > marks[0] * sweep.price:
                marks.pop(0)
                yield State(share=taken / sweep.price, cells=list(kept))
            taken += end
            kept.append(stopped(runs[index][run], top, end, 0.0))
    if marks:
        yield State(share=taken / sweep.price, cells=kept)


def smooth(returns: Floats, width: int = 10) -> Floats:
    """Mean of the last so many logged returns."""
    total = np.concatenate([[0.0], np.cumsum(returns)])
    ends = np.arange(1, len(returns) + 1)
    starts = np.maximum(ends - width, 0)
    return np.asarray((total[ends] - total[starts]) / (ends - starts))


def table(sweeps: Callable[[int], Sweep], designs: dict[str, Design], replays: int, most: float) -> dict[str, Any]:
    """Medians and quartiles over replays of the regret at each share; printed as they come."""
    shares = [share for share in SHARES if share <= most]
    print(f"  {'regret at a share of':34}" + "".join(f"{100 * share:>22.4g} %" for share in shares), flush=True)
    result: dict[str, Any] = {}
    for name, design in designs.items():
        started = time.process_time()
        law, seen, ends = np.full((replays, len(shares)), np.nan), np.full((replays, len(shares)), np.nan), []
        for number in range(replays):
            sweep = sweeps(number)
            states = list(design(sweep, number, shares[-1]))
            for column, share in enumerate(shares):
                within = [state for state in states if state.share <= share]
                if within:
                    law[number, column] = sweep.law_regret(within[-1].cells)
                    seen[number, column] = sweep.best_seen_regret(within[-1].cells)
            stop = next((state for state in states if state.expected < STOP), None)
            if stop is not None:
                ends.append((stop.share, sweep.law_regret(stop.cells), stop.expected, stop.bound))
        told = {"laws": law, "best cell seen": seen}
        result[name] = {what: quartiles(values) for what, values in told.items()}
        for what, values in told.items():
            text = "".join(f"{a:>12.3f} ({b:.3f}–{c:.3f})" if np.isfinite(a) else f"{'–':>24}" for b, a, c in quartiles(values))
            print(f"  {name + ', ' + what:34}{text}")
        if ends:
            stops = np.array(ends)
            share, real, expected, bound = np.median(stops, axis=0)
            below = float((stops[:, 1] < stops[:, 3]).mean())
            result[name]["stop"] = {"share": share, "regret": real, "expected": expected, "bound": bound, "below_bound": below}
            print(
                f"    stops at {100 * share:.2f} % with regret {real:.3f}, expected {expected:.3f}, 80 % bound {bound:.3f};"
                f" below the bound in {100 * below:.0f} %"
            )
        print(f"    {time.process_time() - started:.0f} s", flush=True)
    return result


def quartiles(values: Floats) -> list[list[float]]:
    """Lower quartile, median and upper quartile of each column; NaN where less than half have a value."""
    found = []
    for column in values.T:
        known = column[np.isfinite(column)]
        found.append(np.quantile(known, [0.25, 0.5, 0.75]).round(4).tolist() if 2 * len(known) > len(column) else [float("nan")] * 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder(), help="folder of the published files")
    parser.add_argument("--file", default="dmc_sweep.zip", help="a sweep's file there")
    parser.add_argument("--from", dest="kind", default="qscaled", help="its kind, as `tdscale import --from` takes it")
    parser.add_argument("--thin", action="store_true", help="thin it, each replay otherwise")
    parser.add_argument("--replays", type=int, default=20)
    parser.add_argument("--most", type=float, default=0.25, help="the largest share of the full grid's env steps")
    parser.add_argument("--only", nargs="*", help="designs, by the beginning of their name")
    parser.add_argument("--peers", help="a Python that has Optuna")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    path = options.data / options.file
    if not path.is_file():
        print(f"{path} is not there; --data names the folder, or set TDSCALE_PUBLISHED_DATA")
        return
    whole = load(path, options.kind)
    thinned = [whole.thinned(number) for number in range(options.replays)] if options.thin else []
    sweeps: Callable[[int], Sweep] = thinned.__getitem__ if options.thin else lambda number: whole
    designs: dict[str, Design] = {
        "adaptive": adaptive,
        "Thompson sampling": partial(adaptive, greedy=Thompson),
        "no price": partial(adaptive, greedy=WithoutPrice),
        "random cells, 5 seeds": partial(random_cells, seeds=5, cut=None),
        "random cells, 2 seeds, cut": partial(random_cells, seeds=2, cut=rounds.CUT),
        "lines": lines,
    }
    if options.peers:
        for pruner in ("median", "halving"):
            designs[f"Optuna, {pruner}"] = partial(optuna, python=options.peers, pruner=pruner)
    if options.only is not None:
        designs = {name: design for name, design in designs.items() if name.lower().startswith(tuple(n.lower() for n in options.only))}
    grids = [sweep.law_regret(sweep.cells) for sweep in (thinned or [whole])]
    first = sweeps(0)
    print(
        f"{options.file}{', thinned' if options.thin else ''}: {len(first.cells)} cells, {first.candidates.seeds} seeds, full grid"
        f" {first.price:.4g} env steps, regret {np.median(grids):.3f}; {options.replays} replays, medians (quartiles)"
    )
    result = {"grid": float(np.median(grids)), "designs": table(sweeps, designs, options.replays, options.most)}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
