"""Designs compared on simulated studies: stage 1 on a grid and adaptive; its cost, how good B and η are, how precise stage 2 is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any, Literal, get_args

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.design.belief import Belief, see
from tdscale.design.candidates import Candidates
from tdscale.design.records import CellKey, CellRequest, Regret, request_of
from tdscale.design.replay import Archive, key_of, replay
from tdscale.design.rounds import Rules
from tdscale.planning import round_batch
from tdscale.running.rehearsal import RehearsedSweep, asked_utd, rehearsed_sweep, summarise
from tdscale.runs.types import Cell
from tdscale.simulate import Bowl, LawTruth, Noise, SweepDesign, Truth, random_truth, simulate_cell
from tdscale.study import Aggregate, Scaling, Study

Design = Literal["grid", "adaptive"]
DESIGNS: tuple[Design, ...] = get_args(Design)
_OTHER_SIZE = 100_003  # from the seed of one size's draws to that of the next one's
_ROWS = 200  # that the fastest simulated cell logs until it stops, about
_SLOWEST = (0.25, 0.75)  # share of a run's limit that the slowest σ of a task takes, where no laws are known
_MIDDLE = (0.25, 0.75)  # where in the grid, in logarithms, B* and η* of the middle σ then lie


@dataclass(frozen=True, kw_only=True)
class Training:
    """A part of a simulated cell's training.

    Attributes:
        key: which cell.
        first, seeds: the first of its seeds that are trained now, and how many.
        env_steps: of each of them.
    """

    key: CellKey
    first: int
    seeds: int
    env_steps: int


@dataclass(frozen=True, kw_only=True)
class RehearsedStudy:
    """Stage 1 of one simulated study.

    Attributes:
        rounds: what each of them trained; the grid has one.
        cells: what was run in the end, each with its seeds and the env steps that they took.
        env_steps, runs: of all of them.
        true_regret: log D at the B and η of its laws above the best ones', mean over tasks and σ of the answers; infinite where no cell
            reached a threshold.
        regret: what the design itself expected at the end; None for the grid, or where nothing was reached.
        pairs: B and η by its laws, by (task, σ of the answers), with sizes of the last one; empty where there are none.
    """

    rounds: tuple[tuple[Training, ...], ...]
    cells: tuple[CellRequest, ...]
    env_steps: float
    runs: int
    true_regret: float
    regret: Regret | None
    pairs: Mapping[tuple[str, float], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """10, 50 and 90 % quantiles over simulated studies."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of these values; infinite ones are allowed."""
        low, middle, high = np.quantile(np.asarray(values, dtype=np.float64), [0.1, 0.5, 0.9], method="closest_observation")
        return cls(low=float(low), middle=float(middle), high=float(high))


@dataclass(frozen=True, kw_only=True)
class RehearsedDesign:
    """A design on several simulated studies. `scaling` is stage 2 at its B and η; None where it was not simulated, or none has B and η."""

    design: Design
    studies: tuple[RehearsedStudy, ...]
    scaling: RehearsedSweep | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        spreads = {
            "env_steps": self.spread(lambda study: study.env_steps),
            "runs": self.spread(lambda study: study.runs),
            "cells": self.spread(lambda study: len(study.cells)),
            "rounds": self.spread(lambda study: len(study.rounds)),
            "true_regret": self.spread(lambda study: study.true_regret),
        }
        found: dict[str, Any] = {"design": self.design} | {name: asdict(spread) for name, spread in spreads.items()}
        expected = [(study.regret.expected, study.regret.bound, study.true_regret) for study in self.studies if study.regret is not None]
        return found | {
            "expected_regret": asdict(Spread.of([mean for mean, _, _ in expected])) if expected else None,
            "within_bound": float(np.mean([true < bound for _, bound, true in expected])) if expected else None,
            "scaling": None if self.scaling is None else asdict(self.scaling),
        }

    def spread(self, of: Callable[[RehearsedStudy], float]) -> Spread:
        """Of a number of each study."""
        return Spread.of([of(study) for study in self.studies])


def rehearse_design(
    design: Design,
    truths: Sequence[Truth],
    candidates: Candidates,
    thresholds: Sequence[float],
    rules: Rules,
    noise: Noise | str = "medium",
    *,
    seed: int = 0,
    on_study: Callable[[], None] = lambda: None,
) -> RehearsedDesign:
    """Run stage 1 of a simulated study for each truth.

    Args:
        design: which one.
        truths: one for each study.
        candidates: what may be run; the grid runs all of it but what lies beyond its ends.
        thresholds: J, rising; a cell stops a margin after it has reached the last.
        rules: of the adaptive design; the grid takes its margin.
        noise: its sizes, or a regime's name.
        seed: of the random draws; both designs see the same curves.
        on_study: called after each study.
    """
    studies = []
    for index, truth in enumerate(truths):
        archive = Archive(_simulated(truth, candidates, thresholds[-1], noise, seed + index), thresholds[-1], rules.margin)
        if design == "adaptive":
            replayed = replay(archive, candidates, thresholds, rules)
            rounds = _differences([one.cells for one in replayed])
            regret = replayed[-1].regret if replayed else None
        else:
            for request in _grid(candidates):
                archive.run(request)
            rounds, regret = _differences([archive.cells]), None
        true_regret, pairs = _chosen(archive.cells, truth, candidates, thresholds)
        studies.append(
            RehearsedStudy(
                rounds=rounds,
                cells=tuple(_as_run(cell) for cell in archive.cells),
                env_steps=archive.env_steps,
                runs=archive.runs,
                true_regret=true_regret,
                regret=regret,
                pairs=pairs,
            )
        )
        on_study()
    return RehearsedDesign(design=design, studies=tuple(studies))


def with_scaling(
    rehearsed: RehearsedDesign,
    truths: Sequence[Truth],
    scaling: Scaling,
    design: SweepDesign,
    options: FitOptions,
    noise: Noise | str = "medium",
    *,
    seed: int = 0,
    aggregate: Aggregate = "mean",
    on_study: Callable[[], None] = lambda: None,
) -> RehearsedDesign:
    """A design with stage 2 of each simulated study, at the B and η that the design chose there.

    Args:
        rehearsed: of `rehearse_design`.
        truths: the same.
        scaling: its seeds, and what B is rounded to.
        design: how stage 2 is logged and how long its cells run.
        options: of the fits; D is estimated at the highest threshold.
        noise, seed, on_study: as of `rehearse_design`.
        aggregate: what is taken over the seeds of a cell.
    """
    stage = replace(design, stage="scaling", seeds=scaling.seeds, first_seed=10_000)
    fits = []
    for index, (study, truth) in enumerate(zip(rehearsed.studies, truths, strict=True)):
        cells = []
        for place, (batch, rate) in study.pairs.items():
            pair = (round_batch(batch, scaling.batch_multiple), float(f"{rate:.3g}"))
            cells.append(replace(simulate_cell(truth, stage, place, pair, noise, seed=seed + index), aggregate=aggregate))
        if cells:
            fits.append((fit_laws(cells, options), float(sum(len(cell.seeds) * cell.last_step for cell in cells)), truth))
        on_study()
    if not fits:
        return rehearsed
    n_cells = len(options.tasks) * len(scaling.utd)
    return replace(rehearsed, scaling=summarise(fits, options, scaling.seeds, n_cells, asked_utd(scaling.utd)))


def grid_env_steps(truth: Truth, candidates: Candidates, top: float, margin: float) -> float:
    """Env steps of the whole grid if every cell crossed J at its true D: what `rehearse_design` simulates, without noise."""
    total = 0.0
    for task, utd in candidates.places:
        pairs = np.array(candidates.grid, dtype=np.float64)
        # D of all cells of a place: σ is repeated, so that each has its own B and η
        data = truth.data(task, np.full(len(pairs), utd), [top], batch_size=pairs[:, 0], learning_rate=pairs[:, 1])[:, 0]
        total += candidates.seeds * float(np.minimum((1 + margin) * data, candidates.env_steps[task]).sum())
    return total


def _simulated(truth: Truth, candidates: Candidates, top: float, noise: Noise | str, seed: int) -> Callable[[CellKey], Cell]:
    """A function that draws a cell, with all seeds and to its limit; all sizes learn alike, each with noise of its own."""
    fastest = min(float(truth.data(task, [max(candidates.utd)], [top])[0, 0]) for task in candidates.tasks)
    limit = min(min(candidates.env_steps.values()), fastest)
    design = SweepDesign(
        utd=candidates.utd,
        seeds=candidates.seeds,
        stage="sweep",
        length=None,
        env_steps=candidates.env_steps,
        top=top,
        log_interval=max(int(limit / _ROWS), 1),
    )

    def draw(key: CellKey) -> Cell:
        size = key[4] if len(key) == 5 else ""
        cell = simulate_cell(truth, design, key[:2], key[2:4], noise, seed=seed + _OTHER_SIZE * candidates.size_names.index(size))
        return replace(cell, size=size, model_size=candidates.sizes[size]) if size else cell

    return draw


def _grid(candidates: Candidates) -> list[CellRequest]:
    return [
        _request(candidates.cell(place, pair), candidates.seeds, candidates.env_steps[task])
        for place, (task, _) in enumerate(candidates.places)
        for pair in candidates.grid
    ]


def _differences(states: Sequence[Sequence[Cell]]) -> tuple[tuple[Training, ...], ...]:
    """What was trained from each state of a sweep to the next, the first one from nothing."""
    before: dict[CellKey, tuple[int, int]] = {}
    rounds = []
    for cells in states:
        found = []
        for cell in map(_as_run, cells):
            had, least = before.get(cell.cell, (0, 0))
            if cell.env_steps > least and had:
                found.append(Training(key=cell.cell, first=0, seeds=had, env_steps=cell.env_steps - least))
            if cell.seeds > had:
                found.append(Training(key=cell.cell, first=had, seeds=cell.seeds - had, env_steps=cell.env_steps))
            before[cell.cell] = (cell.seeds, cell.env_steps)
        rounds.append(tuple(found))
    return tuple(rounds)


def _as_run(cell: Cell) -> CellRequest:
    return _request(key_of(cell), len(cell.seeds), cell.last_step)


def _request(key: CellKey, seeds: int, env_steps: int) -> CellRequest:
    names = ("task", "utd", "batch_size", "learning_rate", "size")
    return request_of({**dict(zip(names, key, strict=False)), "seeds": seeds, "env_steps": env_steps})


def _chosen(
    cells: Sequence[Cell], truth: Truth, candidates: Candidates, thresholds: Sequence[float]
) -> tuple[float, dict[tuple[str, float], tuple[float, float]]]:
    """The true regret of the laws' B and η, and these, at the answers' σ; by the surface that the study's own fit has."""
    seen = see(cells, candidates, thresholds)
    if not np.isfinite(seen.data).any():
        return inf, {}
    belief = Belief(seen, candidates)
    axes = {"batch_size": candidates.batch_size, "learning_rate": candidates.learning_rate}
    one_value = {name: axis[0] for name, axis in axes.items() if len(axis) == 1}  # nothing better could be chosen
    pairs, regrets = {}, []
    for (number, utd), size in zip(belief.answers, belief.answer_sizes, strict=True):
        task = candidates.tasks[number]
        batch, rate = (float(value) for value in np.exp(_within(belief.law(number, utd, size), candidates)))
        pairs[task, utd] = (batch, rate)
        least = truth.data(task, [utd], [thresholds[-1]], **one_value)[0, 0]
        regrets.append(float(np.log(truth.data(task, [utd], [thresholds[-1]], batch_size=batch, learning_rate=rate)[0, 0] / least)))
    return float(np.mean(regrets)), pairs


def _within(log_pair: Floats, candidates: Candidates) -> Floats:
    """At most one step of the grid beyond its ends, as stage 2 takes it (`running.choosing`)."""
    found = log_pair.copy()
    for place, axis in enumerate((candidates.batch_size, candidates.learning_rate)):
        values = np.log(np.array(axis, dtype=np.float64))
        found[place] = np.clip(found[place], 2 * values[0] - values[1], 2 * values[-1] - values[-2]) if len(values) > 1 else values[0]
    return found


def likely_truths(
    study: Study, laws: ScalingLaws | None, candidates: Candidates, repeats: int, *, seed: int = 0
) -> tuple[list[Truth], list[str]]:
    """Truths to simulate a study from: its fitted laws, else one drawn for each from ranges that published sweeps make likely.

    Returns:
        One truth for each study, and in a sentence each what was assumed.

    Raises:
        ValueError: if the study names no σ.
    """
    if laws is not None and laws.data:
        truth, _, assumed = rehearsed_sweep(study, laws)
        return [truth] * repeats, assumed
    rng = np.random.default_rng([seed, 23])
    top = study.return_thresholds[-1]
    truths: list[Truth] = [_drawn(candidates, top, rng) for _ in range(repeats)]
    low, high = (f"{share:.0%}" for share in _SLOWEST)
    return truths, [
        "no laws are known yet: each simulated study has an α from 0.45 to 1.1 and a β from 0.4 to 4, as published sweeps have, B* and η* "
        f"in the middle half of the grid, and tasks whose slowest σ takes {low.rstrip('%')} to {high} of its limit of env steps"
    ]


def _drawn(candidates: Candidates, top: float, rng: np.random.Generator) -> LawTruth:
    drawn = random_truth(rng, n_tasks=len(candidates.tasks))
    unit = replace(drawn, tasks=candidates.tasks, d_min=dict.fromkeys(candidates.tasks, 1.0), plateau=1.125 * top, reference=top)
    slowest = float(unit.data(candidates.tasks[0], [min(candidates.utd)], [top])[0, 0])
    shares = rng.uniform(*_SLOWEST, len(candidates.tasks))
    d_min = {task: float(share) * candidates.env_steps[task] / slowest for task, share in zip(candidates.tasks, shares, strict=True)}
    middle = float(np.exp(np.log(candidates.utd).mean()))

    def bowl(published: Bowl, axis: Sequence[float]) -> Bowl:
        ends = np.log([axis[0], axis[-1]])
        values = np.exp(ends[0] + rng.uniform(*_MIDDLE, len(candidates.tasks)) * (ends[1] - ends[0])) / middle**published.exponent
        return replace(published, coefficients=dict(zip(candidates.tasks, map(float, values), strict=True)))

    return replace(
        unit,
        d_min=d_min,
        batch_size=bowl(drawn.batch_size, candidates.batch_size),
        learning_rate=bowl(drawn.learning_rate, candidates.learning_rate),
    )
