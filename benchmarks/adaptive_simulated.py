"""Adaptive sweeps of which the truth is known: how often the true regret lies below the bound at which they stop; time; idle workers.

*Coverage*: simulated sweeps of several shapes of bowl and of data law, best values within the grid or beyond it, that scatter about their
laws, 2 and 7 tasks, little, medium and much noise. Each runs by the default rules until it stops by itself. True regret: how much log D
at the laws' B and η lies above that at the true best ones, mean over task and σ. The bound should lie above it in 80 % of the sweeps.

*Time*: one round's choice for 10 tasks × 8 σ × 50 cells, at several numbers of cells that were run.

*Idle workers*: the cells of each round start dearest first on so many workers, and the next round waits for the last one. Told is the
share of the workers' time that they wait, for several sizes of a round, with the env steps until the sweep stops.

    python benchmarks/adaptive_simulated.py --sweeps 24
"""

import argparse
import heapq
import json
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdscale.design.belief import Belief, see
from tdscale.design.candidates import Candidates
from tdscale.design.records import CellRequest, Key
from tdscale.design.replay import Archive, ReplayedRound, replay
from tdscale.design.rounds import Rules, next_round
from tdscale.runs.types import Cell
from tdscale.simulate import Bowl, LawTruth, SweepDesign, random_truth, simulate_cell

Floats = NDArray[np.float64]
BATCH_SIZES = (32, 64, 128, 256, 512, 1024)
RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
UTD = (1.0, 2.0, 4.0, 8.0)
THRESHOLDS = (300.0, 500.0, 800.0)
SEEDS = 3
CURVATURES = {"batch_size": 0.08, "learning_rate": 0.15}
# log D above the best at u, the log of value over best, all of them about c·u² near it
BOWLS: dict[str, Callable[[Floats, float], Floats]] = {
    "parabola": lambda u, c: c * u**2,
    "steep to the left": lambda u, c: c * np.where(u < 0, 2.0, 0.6) * u**2,
    "cliff to the right": lambda u, c: 2 * c * (np.exp(1.2 * u) - 1 - 1.2 * u) / 1.44,
    "pointed": lambda u, c: c * np.abs(u) ** 1.5,
}
# data law, bowl
SHAPES = (("offset", "parabola"), ("minimum", "steep to the left"), ("power", "cliff to the right"), ("broken", "pointed"))


@dataclass(frozen=True, kw_only=True)
class ShapedBowl(Bowl):
    """A bowl of another shape, with best values that scatter about their law.

    Attributes:
        shape: of `BOWLS`.
        deviation: sd of log best value about the law, always the same for the same task and σ.
        name: of the hyperparameter, so that both have deviations of their own.
    """

    shape: str = "parabola"
    deviation: float = 0.0
    name: str = ""

    def best(self, task: str, utd: ArrayLike) -> Floats:
        """The law's, and the deviation."""
        ratios = np.atleast_1d(np.asarray(utd, dtype=np.float64))
        keys = [zlib.crc32(repr((self.name, task, float(ratio), self.coefficients[task])).encode()) for ratio in ratios]
        off = np.array([np.random.default_rng(key).standard_normal() for key in keys])
        return super().best(task, ratios) * np.exp(self.deviation * off)

    def excess(self, task: str, utd: ArrayLike, value: ArrayLike) -> Floats:
        """Rise of log D at a value."""
        return BOWLS[self.shape](np.log(np.asarray(value, dtype=np.float64) / self.best(task, utd)), self.curvature)


def truth_of(rng: np.random.Generator, law: str, bowl: str, n_tasks: int, deviation: float) -> LawTruth:
    """A truth with best values from the grid's ends to its middle, in a fifth of the tasks beyond an end by up to a step."""
    plain = random_truth(rng, law, n_tasks=n_tasks)

    def shaped(name: str, low: float, high: float, exponents: tuple[float, float]) -> ShapedBowl:
        return ShapedBowl(
            name=name,
            coefficient=1.0,
            exponent=float(rng.uniform(*exponents)),
            curvature=float(CURVATURES[name] * np.exp(0.4 * rng.standard_normal())),
            coefficients={task: float(np.exp(rng.uniform(np.log(low), np.log(high)))) for task in plain.tasks},
            shape=bowl,
            deviation=deviation,
        )

    return replace(
        plain,
        batch_size=shaped("batch_size", 60, 600, (-0.8, 0.0)),
        learning_rate=shaped("learning_rate", 2e-4, 1.2e-3, (-0.5, 0.1)),
    )


@dataclass(frozen=True, kw_only=True)
class SimulatedSweep:
    """A truth, what may be run of it, and the archive that simulates its cells as they are asked for."""

    truth: LawTruth
    candidates: Candidates
    archive: Archive

    @classmethod
    def of(cls, truth: LawTruth, noise: str, seed: int) -> "SimulatedSweep":
        """With runs to three times the best D of the slowest σ."""
        top = THRESHOLDS[-1]
        limits = {task: int(3 * truth.data(task, UTD, [top]).max()) for task in truth.tasks}
        candidates = Candidates(
            tasks=truth.tasks, utd=UTD, batch_size=BATCH_SIZES, learning_rate=RATES, env_steps=limits, seeds=SEEDS, answer_utd=UTD
        )
        least = min(truth.data(task, [UTD[-1]], [top])[0, 0] for task in truth.tasks)
        design = SweepDesign(
            utd=UTD, seeds=SEEDS, stage="sweep", length=None, env_steps=limits, top=top, log_interval=max(int(least / 40), 1)
        )

        def make(key: Key) -> Cell:
            return simulate_cell(truth, design, key[:2], key[2:], noise, seed=seed)

        return cls(truth=truth, candidates=candidates, archive=Archive(make, top))

    def regret(self, belief: Belief) -> float:
        """Of the laws, by the truth."""
        total = []
        for index, task in enumerate(self.truth.tasks):
            for utd in UTD:
                batch, rate = np.exp(belief.law(index, utd))
                total.append(self.truth.batch_size.excess(task, utd, batch)[0] + self.truth.learning_rate.excess(task, utd, rate)[0])
        return float(np.mean(total))

    @property
    def price(self) -> float:
        """Env steps of the full grid: each cell to a tenth past its crossing, or to its limit."""
        total = 0.0
        for task in self.truth.tasks:
            for utd in UTD:
                for batch, rate in self.candidates.grid:
                    data = self.truth.data(task, [utd], [THRESHOLDS[-1]], batch_size=batch, learning_rate=rate)[0, 0]
                    total += SEEDS * min(1.1 * data, self.candidates.env_steps[task])
        return total


def stopped_sweep(seed: int, law: str, bowl: str, n_tasks: int, noise: str, rules: Rules) -> tuple[SimulatedSweep, list[ReplayedRound]]:
    """A sweep that ran until it stopped."""
    rng = np.random.default_rng([seed, n_tasks, zlib.crc32(f"{law} {bowl}".encode())])
    sweep = SimulatedSweep.of(truth_of(rng, law, bowl, n_tasks, deviation=0.1), noise, seed)
    return sweep, replay(sweep.archive, sweep.candidates, THRESHOLDS, replace(rules, seed=seed))


def coverage(number: int, only: str = "") -> list[dict[str, Any]]:
    """One row for each number of tasks, noise and shape."""
    rows = []
    print("tasks, noise, data law, bowl: below the bound; true regret mean, median; expected, bound; rounds, runs, share of the grid")
    for n_tasks in (2, 7):
        for noise in ("low", "medium", "high"):
            for law, bowl in SHAPES:
                if only not in f"{n_tasks} {noise} {law} {bowl}":
                    continue
                found = []
                for seed in range(number):
                    sweep, done = stopped_sweep(seed, law, bowl, n_tasks, noise, Rules())
                    belief = Belief(see(sweep.archive.cells, sweep.candidates, THRESHOLDS), sweep.candidates)
                    end = belief.regret
                    share = sweep.archive.env_steps / sweep.price
                    found.append((sweep.regret(belief), end.expected, end.bound, len(done), sweep.archive.runs, share))
                row = np.array(found)
                mean, below = row.mean(axis=0), float((row[:, 0] < row[:, 2]).mean())
                rows.append({"tasks": n_tasks, "noise": noise, "law": law, "bowl": bowl, "below": below, "true": row[:, 0].tolist()})
                rows[-1] |= dict(zip(("expected", "bound", "rounds", "runs", "share"), mean[1:].round(4).tolist(), strict=True))
                print(
                    f"{n_tasks} {noise:6} {law:8} {bowl:18} {100 * below:3.0f} %; {mean[0]:.3f}, {np.median(row[:, 0]):.3f};"
                    f" {mean[1]:.3f}, {mean[2]:.3f}; {mean[3]:.1f}, {mean[4]:.0f}, {100 * mean[5]:.1f} %",
                    flush=True,
                )
    for what in ("low", "medium", "high", 2, 7):
        of = [row["below"] for row in rows if what in (row["noise"], row["tasks"])]
        if of:
            print(f"{what}: {100 * np.mean(of):.0f} % below the bound")
    return rows


class Logged(Archive):
    """Keeps what each cell took: σ, where it could be cut at most, env steps."""

    def __init__(self, archive: Archive, top: float) -> None:
        super().__init__(archive.whole, top)
        self.taken: list[tuple[float, float, float]] = []

    def run(self, request: CellRequest) -> None:
        """As any archive."""
        before = self.env_steps
        super().run(request)
        self.taken.append((request.utd, request.seeds * request.env_steps, self.env_steps - before))


def idle(number: int) -> list[dict[str, Any]]:
    """Share of the workers' time in which they wait for a round's last cell, by the size of a round; 7 tasks, medium noise."""
    rows = []
    print("size of a round: rounds, share of the grid's env steps; idle share of 2, 8, 32 workers")
    for size in (7, 14, None, 56):
        found = []
        for seed in range(number):
            rng = np.random.default_rng([seed, 7])
            sweep = SimulatedSweep.of(truth_of(rng, "offset", "parabola", 7, 0.1), "medium", seed)
            archive, ends = Logged(sweep.archive, THRESHOLDS[-1]), [0]

            def ended(_: ReplayedRound, archive: Logged = archive, ends: list[int] = ends) -> bool:
                ends.append(len(archive.taken))
                return False

            done = replay(archive, sweep.candidates, THRESHOLDS, Rules(round_size=size, seed=seed), on_round=ended)
            batches = [archive.taken[start:end] for start, end in pairwise(ends)]
            waits = [idle_share(batches, workers) for workers in (2, 8, 32)]
            found.append((len(done), archive.env_steps / sweep.price, *waits))
        mean = np.mean(found, axis=0)
        places = len(sweep.candidates.places)
        rows.append({"round_size": size or places, "rounds": mean[0], "share": mean[1], "idle": mean[2:].round(3).tolist()})
        waits = ", ".join(f"{100 * value:.0f} %" for value in mean[2:])
        print(f"{size or places:3}: {mean[0]:.1f}, {100 * mean[1]:.1f} %; {waits}", flush=True)
    return rows


def idle_share(batches: Sequence[Sequence[tuple[float, float, float]]], workers: int) -> float:
    """Of rounds that wait for each other, cells dearest first by what they may take; an env step takes time 1 + σ."""
    busy, elapsed = 0.0, 0.0
    for batch in batches:
        free = [0.0] * workers
        for utd, _, steps in sorted(batch, key=lambda cell: -(1 + cell[0]) * cell[1]):
            heapq.heapreplace(free, free[0] + (1 + utd) * steps)
            busy += (1 + utd) * steps
        elapsed += max(free)
    return 1 - busy / (workers * elapsed)


def times() -> list[dict[str, Any]]:
    """CPU seconds of a round's choice for 10 tasks × 8 σ × 50 cells."""
    rng = np.random.default_rng(0)
    utd = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    truth = truth_of(rng, "offset", "parabola", 10, 0.1)
    batches = tuple(int(32 * 2 ** (step / 2)) for step in range(10))
    limits = {task: int(3 * truth.data(task, utd, [THRESHOLDS[-1]]).max()) for task in truth.tasks}
    candidates = Candidates(
        tasks=truth.tasks, utd=utd, batch_size=batches, learning_rate=RATES, env_steps=limits, seeds=SEEDS, answer_utd=utd
    )
    design = SweepDesign(stage="sweep", seeds=SEEDS, length=None, env_steps=limits, log_interval=max(limits.values()) // 400)
    archive = Archive(lambda key: simulate_cell(truth, design, key[:2], key[2:], "medium"), THRESHOLDS[-1])
    rows = []
    for _ in range(6):
        started = time.process_time()
        step = next_round(archive.cells, THRESHOLDS, candidates, Rules(regret=0.0), spent=archive.env_steps)
        rows.append({"cells": len(archive.cells), "seconds": round(time.process_time() - started, 2)})
        print(f"{rows[-1]['cells']} cells run: {rows[-1]['seconds']:.2f} s", flush=True)
        for request in step.cells:
            archive.run(request)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=16, help="for each number of tasks, noise and shape")
    parser.add_argument("--only", nargs="*", default=["coverage", "time", "idle"], choices=("coverage", "time", "idle"))
    parser.add_argument("--which", default="", help="of coverage's rows, those with this in their name, e.g. '2 low'")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    if "time" in options.only:
        result["time"] = times()
    if "idle" in options.only:
        result["idle"] = idle(max(options.sweeps // 2, 1))
    if "coverage" in options.only:
        result["coverage"] = coverage(options.sweeps, options.which)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
