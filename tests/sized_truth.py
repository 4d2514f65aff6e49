"""Studies with sizes whose truth is known, for tests of laws with model size: points drawn from a law, and cells with curves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from known_truth import curve_cell
from tdscale.analysis.data_law import DataPoints
from tdscale.runs.types import Cell

SIZES = {"small": 5e5, "medium": 2e6, "large": 8e6, "huge": 3.2e7}
TASKS = ("one", "two", "three")
UTD = (0.5, 1.0, 2.0, 4.0, 8.0)

# log D of every task at σ and N of one shape: shape (n_tasks, n)
Truth = Callable[[np.ndarray, np.ndarray], np.ndarray]


def knees(kind: str, *, levels: Sequence[float], a: float, alpha: float, b: float, beta: float, turns: Sequence[float] = ()) -> Truth:
    """The sum or the product of both needs. `turns`: of each task, what an e-fold of N beyond 8e6 adds to log D."""

    def log_data(utd: np.ndarray, model_size: np.ndarray) -> np.ndarray:
        by_utd, by_size = (a / utd) ** alpha, (b / model_size) ** beta
        shape = 1 + by_utd + by_size if kind == "sum" else (1 + by_utd) * (1 + by_size)
        turned = np.outer(turns or np.zeros(len(levels)), np.maximum(np.log(model_size / 8e6), 0.0))
        return np.log(levels)[:, None] + np.log(shape) + turned

    return log_data


def sized_points(truth: Truth, *, noise: float, rng: np.random.Generator, n_draws: int = 40, sizes: Sequence[float] = ()) -> DataPoints:
    """D at one threshold on the grid of σ and N, with log-normal noise, and draws with the same noise about it."""
    model_size, utd = (axis.ravel() for axis in np.meshgrid(sorted(sizes or SIZES.values()), UTD, indexing="ij"))
    log_data = truth(utd, model_size)
    log_data = log_data + noise * rng.standard_normal(log_data.shape)
    draws = log_data + noise * rng.standard_normal((n_draws, *log_data.shape))
    return DataPoints(
        tasks=TASKS[: len(log_data)],
        thresholds=np.array([500.0]),
        utd=utd,
        data=np.exp(np.concatenate([log_data[None], draws]))[..., None],
        bound=np.full(log_data.shape, 1e12),
        n_seeds=np.full(log_data.shape, 5.0),
        model_size=model_size,
    )


def sized_cells(
    *,
    sizes: Mapping[str, float] = SIZES,
    utds: Sequence[float] = (0.5, 1.0, 2.0, 4.0),
    levels: Mapping[str, float] | None = None,
    names: Mapping[str, str] | None = None,
    noise: float = 0.05,
) -> list[Cell]:
    """A cell of stage 2 for each task, σ and size: D by a sum law, B = 64·σ^(−1/2), networks of N and N/2 parameters."""
    cells = []
    for task, level in (levels or {"one": 4000.0, "two": 9000.0}).items():
        for utd in utds:
            for name, model_size in sizes.items():
                cell = curve_cell(
                    task=task,
                    utd=utd,
                    data_at_top=level * (1 + (1.5 / utd) ** 0.8 + (1e6 / model_size) ** 0.6),
                    batch_size=round(64 * utd**-0.5),
                    noise=noise,
                    seed=round(model_size),
                )
                spec = replace(cell.spec, settings={"critic_width": round(model_size**0.5)})
                costs = {"critic_parameters": model_size, "actor_parameters": model_size / 2, "warm_up": 200.0}
                cells.append(replace(cell, spec=spec, costs=costs, size=(names or {}).get(name, name), model_size=model_size))
    return cells
