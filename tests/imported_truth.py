"""Curves of which D is known at every σ, and the D that an import of them measures."""

import numpy as np

from tdscale.analysis.crossings import first_crossing
from tdscale.runs.cells import load_cells
from tdscale.runs.store import RunStore
from tdscale.study import read_study

THRESHOLDS = (300.0, 500.0, 800.0)
SCALE = {"low": ["0"], "high": ["1000"], "thresholds": THRESHOLDS}
D0 = 40_000.0  # D at 800 is D0·(1 + 1/σ)


def true_data(utd: float, threshold: float, d0: float = D0) -> float:
    """Env steps to a normalised return."""
    return d0 * (1 + 1 / utd) * np.log(1 - threshold / 1000) / np.log(1 - 0.8)


def returns_at(steps: np.ndarray, utd: float, seed: int, d0: float = D0, noise: float = 8.0) -> np.ndarray:
    """Returns between 0 and 1000 that reach each threshold at `true_data`, with noise of their own."""
    rate = -np.log(1 - 0.8) / (d0 * (1 + 1 / utd))
    generator = np.random.default_rng([int(1000 * utd), seed])
    return 1000 * (1 - np.exp(-rate * steps)) + generator.normal(0, noise, len(steps))


def measured_data(folder) -> dict[tuple[str, float, float], float]:
    """D by task, σ and threshold, of the mean over the seeds of each cell; infinite where it is not reached."""
    study = read_study(folder / "study.toml")
    cells, _ = load_cells(RunStore(folder), study)
    found = {}
    for cell in cells:
        indices = first_crossing(cell.returns.mean(axis=0), list(study.return_thresholds))
        for threshold, index in zip(study.return_thresholds, indices, strict=True):
            key = (cell.spec.task, cell.spec.utd, threshold)
            assert key not in found, f"two cells at {key}"
            found[key] = float(cell.env_steps[index]) if index < len(cell.env_steps) else np.inf
    return found


def assert_true(folder, tasks: dict[str, float], utds, interval: float) -> None:
    """D of every task, σ and threshold within 15 % or one logging interval of the truth, and no other task or σ; `tasks` have their D0."""
    found = measured_data(folder)
    assert {(task, utd) for task, utd, _ in found} == {(task, float(utd)) for task in tasks for utd in utds}
    for (task, utd, threshold), data in found.items():
        truth = true_data(utd, threshold, tasks[task])
        assert abs(data - truth) <= max(0.15 * truth, interval), (task, utd, threshold, data, truth)
