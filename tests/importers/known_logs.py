"""Logs as users have them, curves of a known law among them, and whether an import of those gives the law's D."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tdscale.analysis.crossings import first_crossing
from tdscale.runs.cells import load_cells
from tdscale.runs.store import RunStore
from tdscale.study import read_study

# --- logs, and what an import of them gave

# what such logs do not say themselves
GIVEN = {"utd": "=1", "batch_size": "=64", "learning_rate": "=3e-4", "task": "=Pendulum-v1"}


def rising(utd: float, seed: int, n: int = 30) -> np.ndarray:
    """Returns that get to 1000 sooner at a higher σ."""
    noise = np.random.default_rng([int(100 * utd), seed]).normal(0, 5, n)
    return 1000 * (1 - np.exp(-np.arange(n) * utd**0.5 / 8)) + noise


def long_table(**changes) -> pd.DataFrame:
    rows = [
        {"env_step": 100 * i, "return": r, "utd": utd, "batch_size": 64, "learning_rate": 3e-4, "env_id": "Pendulum-v1", "seed": seed}
        for utd in (0.5, 1.0, 2.0, 4.0)
        for seed in range(3)
        for i, r in enumerate(rising(utd, seed))
    ]
    return pd.DataFrame(rows).assign(**changes)


def curves_of(folder):
    store = RunStore(folder)
    curves = store.curves(columns=None)
    return {(spec.utd, spec.seed): curves[run_id] for run_id, spec in store.specs().items()}


def messages(found):
    return {message.code: message.message for message in found.messages}


def answers_in(sentence: str, option: str) -> list[str]:
    """What a sentence says to type after an option, as a shell takes it."""
    found = re.findall(rf"{option} ((?:'[^']*'|[^ ;,')]|,(?! ))+)", sentence)
    return [shlex.split(text)[0] for text in found]


# --- shared logs

CASES = Path(os.environ.get("TDSCALE_CASES", Path(__file__).parents[3] / "shared" / "cases"))


def case(name: str) -> Path:
    """A shared log, skipped where it is not there."""
    if not (CASES / name).exists():
        pytest.skip(f"{CASES / name} is not there; TDSCALE_CASES names the folder of such logs")
    return CASES / name


# --- a known law

THRESHOLDS = (300.0, 500.0, 800.0)
SCALE = ("--low", "0", "--high", "1000", "--thresholds", "300,500,800")
# of `true_returns`: their scale, their σ, and what such logs do not say themselves
TRUE_SCALE = {"low": ("0",), "high": ("10000",), "thresholds": THRESHOLDS}
UTDS = (1.0, 2.0, 4.0)
UNSAID = {"batch_size": "=256", "learning_rate": "=3e-4", "task": "=HalfCheetah-v4"}


def needed(utd: float, threshold: float, d_min: float) -> float:
    """Env steps to a return, of a law whose D to 800 of 1000 is d_min·(1 + 1/σ)."""
    return d_min * (1 + 1 / utd) * np.log(1 - threshold / 1000) / np.log(0.2)


def curve(steps: np.ndarray, utd: float, seed: int, d_min: float = 4000.0, spread: float = 10.0) -> np.ndarray:
    """Returns of that law: 1000·(1 − exp(−t/τ)), with noise of standard deviation `spread`."""
    noise = np.random.default_rng([int(100 * utd), seed, int(d_min)]).normal(0, spread, len(steps))
    return 1000 * (1 - np.exp(steps * np.log(0.2) / (d_min * (1 + 1 / utd)))) + noise


def true_returns(steps, utd: float, seed: int, noise: float = 150.0) -> np.ndarray:
    """Returns up to 10,000 of episodes that end at these env steps; d_min is 60,000."""
    scatter = np.random.default_rng([seed, int(100 * utd)]).normal(0, noise, len(steps))
    return 10 * curve(np.asarray(steps), utd, seed, 60_000.0, spread=0.0) + scatter


def data_of(folder) -> dict[tuple[str, float], list[float]]:
    """By task and σ: D at each threshold, infinite where it is not reached, and the last env step."""
    study = read_study(folder / "study.toml")
    cells, _ = load_cells(RunStore(folder), study)
    found = {}
    for cell in cells:
        at = first_crossing(cell.returns.mean(axis=0), study.return_thresholds)
        ends = np.concatenate([[0], cell.env_steps])  # D is known to an interval of the log: its middle
        data = [float(ends[i] + ends[i + 1]) / 2 if i < len(cell.env_steps) else np.inf for i in at]
        found[cell.spec.task, cell.spec.utd] = [*data, float(cell.last_step)]
    return found


def assert_lawful(folder, utds, interval: float, d_min: dict[str, float]) -> None:
    """D within 15 % of the law, or one logging interval, at every σ, task and threshold; none where it lies near or beyond the end."""
    found = data_of(folder)
    assert set(found) == {(task, utd) for task in d_min for utd in utds}
    for (task, utd), (*data, end) in found.items():
        for threshold, measured in zip(THRESHOLDS, data, strict=True):
            true = needed(utd, threshold, d_min[task])
            if np.isinf(measured) and true > 0.9 * end:
                continue
            assert abs(measured - true) <= max(0.15 * true, interval), (task, utd, threshold, measured, true)


def assert_true(folder, d_min: float = 60_000.0, thresholds=THRESHOLDS, room: float = 0.15, seeds: int | None = None) -> None:
    """D of every cell at every threshold is the law's, within `room` of it or one interval of the log, wherever that stands in the log."""
    cells, _ = load_cells(RunStore(folder), read_study(folder / "study.toml"))
    assert len(cells) >= 3
    for cell in cells:
        assert seeds is None or len(cell.seeds) == seeds
        assert not cell.diverged.any()
        steps, mean = cell.env_steps, cell.returns.mean(axis=0)
        for threshold in thresholds:
            true = needed(cell.spec.utd, threshold, d_min)
            index = int(first_crossing(mean, [threshold])[0])
            assert index < len(steps), (cell.spec.utd, threshold, "never reached")
            before = int(steps[index - 1]) if index else 0
            measured = (before + int(steps[index])) / 2
            assert abs(measured - true) <= max(room * true, int(steps[index]) - before), (cell.spec.utd, threshold, measured, true)
