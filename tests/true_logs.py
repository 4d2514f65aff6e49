"""Logs of runs of which D is known, and whether an import of them gives it."""

import os
from pathlib import Path

import numpy as np
import pytest

from tdscale.analysis.crossings import first_crossing
from tdscale.runs.cells import load_cells
from tdscale.runs.store import RunStore
from tdscale.study import read_study

UTDS = (1.0, 2.0, 4.0)
# env steps to 300, 500, 800 at σ → ∞; twice that at σ = 1
D_MIN = {300.0: 13_300.0, 500.0: 25_840.0, 800.0: 60_000.0}
# what such logs do not say themselves
SAID = {"batch_size": "=256", "learning_rate": "=3e-4", "task": "=HalfCheetah-v4"}
SCALE = {"low": ("0",), "high": ("10000",), "thresholds": (300.0, 500.0, 800.0)}
CASES = Path(os.environ.get("TDSCALE_CASES", Path(__file__).parents[2] / "shared" / "cases"))


def true_returns(steps, utd, seed, noise=150.0):
    """Returns of episodes that end at these env steps."""
    tau = 60_000 * (1 + 1 / utd) / np.log(5)
    return 10_000 * (1 - np.exp(-np.asarray(steps) / tau)) + np.random.default_rng([seed, int(100 * utd)]).normal(0, noise, len(steps))


def case(name):
    """A shared log, skipped where it is not there."""
    if not (CASES / name).exists():
        pytest.skip(f"{CASES / name} is not there; TDSCALE_CASES names the folder of such logs")
    return CASES / name


def assert_true(folder, d_min=D_MIN, room=0.15, seeds=None):
    """Every σ's D at every threshold is D_min·(1 + 1/σ), within `room` or one interval of the log."""
    cells, _ = load_cells(RunStore(folder), read_study(folder / "study.toml"))
    assert len(cells) >= 3
    for cell in cells:
        assert seeds is None or len(cell.seeds) == seeds
        assert not cell.diverged.any()
        steps, mean = cell.env_steps, cell.returns.mean(axis=0)
        for threshold, least in d_min.items():
            truth = least * (1 + 1 / cell.spec.utd)
            index = int(first_crossing(mean, [threshold])[0])
            assert index < len(steps), (cell.spec.utd, threshold, "never reached")
            before = int(steps[index - 1]) if index else 0
            measured = (before + int(steps[index])) / 2
            allowed = max(room * truth, int(steps[index]) - before)
            assert abs(measured - truth) <= allowed, (cell.spec.utd, threshold, measured, truth)
