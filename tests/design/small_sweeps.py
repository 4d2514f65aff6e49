"""Small sweeps with a known truth, for tests of the design."""

from dataclasses import replace

import numpy as np

from tdscale.design.candidates import Candidates
from tdscale.design.records import Key
from tdscale.design.replay import Archive
from tdscale.runs.types import Cell
from tdscale.simulate import Bowl, LawTruth, Noise, SweepDesign, simulate_cell

THRESHOLDS = (300.0, 500.0, 800.0)
BATCH_SIZES = (32, 64, 128, 256, 512)
RATES = (1e-4, 2e-4, 4e-4, 8e-4)
UTD = (1.0, 2.0, 4.0)
TRUTH = LawTruth(
    d_min={"one": 30_000.0, "two": 60_000.0},
    batch_size=Bowl(coefficient=200.0, exponent=-0.5, curvature=0.1),
    learning_rate=Bowl(coefficient=4e-4, exponent=-0.3, curvature=0.2),
)
CANDIDATES = Candidates(
    tasks=TRUTH.tasks,
    utd=UTD,
    batch_size=BATCH_SIZES,
    learning_rate=RATES,
    env_steps={"one": 400_000, "two": 800_000},
    answer_utd=UTD,
)
LITTLE = Noise(early=0.03, late=0.06, plateau=0.01, fluctuation=20.0)


def archive_of(truth: LawTruth = TRUTH, noise: Noise = LITTLE, *, candidates: Candidates = CANDIDATES, seed: int = 0) -> Archive:
    """Cells of a simulated sweep, made as they are asked for."""
    design = SweepDesign(stage="sweep", seeds=candidates.seeds, env_steps=dict(candidates.env_steps), length=None, log_interval=2000)

    def make(key: Key) -> Cell:
        return simulate_cell(truth, design, key[:2], key[2:], noise, seed=seed)

    return Archive(make, THRESHOLDS[-1])


def with_best(batch_size: float = 200.0, learning_rate: float = 4e-4, *, slope: float = 0.0) -> LawTruth:
    """The same truth with other best values, the same ones at each σ."""
    return replace(
        TRUTH,
        batch_size=replace(TRUTH.batch_size, coefficient=batch_size, exponent=slope),
        learning_rate=replace(TRUTH.learning_rate, coefficient=learning_rate, exponent=slope),
    )


def regret_of(laws: dict[tuple[str, float], np.ndarray], truth: LawTruth = TRUTH) -> float:
    """Mean rise of the true log D over the best, for log B, log η chosen at each (task, σ)."""
    total = [
        truth.batch_size.excess(task, [utd], np.exp(b))[0] + truth.learning_rate.excess(task, [utd], np.exp(r))[0]
        for (task, utd), (b, r) in laws.items()
    ]
    return float(np.mean(total))
