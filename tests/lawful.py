"""Logs of a known law, and the data that an imported folder needs at each σ, to be held against it."""

import re
import shlex

import numpy as np

from tdscale.analysis.crossings import first_crossing
from tdscale.runs.cells import load_cells
from tdscale.runs.store import RunStore
from tdscale.study import read_study

THRESHOLDS = (300.0, 500.0, 800.0)
SCALE = ("--low", "0", "--high", "1000", "--thresholds", "300,500,800")


def needed(utd: float, threshold: float, d_min: float) -> float:
    """Env steps to a return, of a law whose D to 800 of 1000 is d_min·(1 + 1/σ)."""
    return d_min * (1 + 1 / utd) * np.log(1 - threshold / 1000) / np.log(0.2)


def curve(steps: np.ndarray, utd: float, seed: int, d_min: float = 4000.0, spread: float = 10.0) -> np.ndarray:
    """Returns of that law: 1000·(1 − exp(−t/τ)), with noise of 1 %, or as much as is said."""
    noise = np.random.default_rng([int(100 * utd), seed, int(d_min)]).normal(0, spread, len(steps))
    return 1000 * (1 - np.exp(steps * np.log(0.2) / (d_min * (1 + 1 / utd)))) + noise


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


def answers_in(sentence: str, option: str) -> list[str]:
    """What a sentence says to type after an option, as a shell takes it."""
    found = re.findall(rf"{option} ((?:'[^']*'|[^ ;,')]|,(?! ))+)", sentence)
    return [shlex.split(text)[0] for text in found]
