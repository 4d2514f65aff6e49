"""Sweeps with a known truth: curves drawn from known laws, for tests of the statistics."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tdscale.runs.types import Cell
from tdscale.simulate import LawTruth, SweepDesign
from tdscale.simulate.folder import write_simulation
from tdscale.study import RunSpec, Stage

SIZES = {"critic_parameters": 9000.0, "actor_parameters": 4500.0, "warm_up": 200.0}


def curve_cell(
    *,
    task: str,
    utd: float,
    data_at_top: float,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    n_seeds: int = 5,
    stage: Stage = "scaling",
    noise: float = 0.1,
    last_step: int | None = None,
    grid_step: int = 200,
    seed: int = 0,
) -> Cell:
    """Curves that rise as 1000·(1 − exp(−t/τ)) and reach 800 at `data_at_top` env steps, each seed's time scaled by log-normal noise."""
    rng = np.random.default_rng([seed, int(utd * 1000), batch_size, int(learning_rate * 1e6), len(task), sum(map(ord, task))])
    end = last_step or int(1.5 * data_at_top // grid_step + 2) * grid_step
    steps = np.arange(grid_step, end + 1, grid_step)
    times = data_at_top * np.exp(noise * rng.standard_normal(n_seeds))
    returns = 1000 * (1 - 0.2 ** (steps / times[:, None]))
    spec = RunSpec(
        algorithm="sac", suite="gymnasium", task=task, utd=utd, batch_size=batch_size, learning_rate=learning_rate, seed=0, stage=stage
    )
    return Cell(
        spec=spec,
        seeds=np.arange(n_seeds),
        env_steps=steps,
        returns=returns,
        last_step=int(steps[-1]),
        diverged=np.zeros(n_seeds, dtype=bool),
        duplicate=np.zeros(n_seeds, dtype=bool),
        costs=SIZES,
    )


def law_data(utd: float, d_min: float, beta: float, alpha: float) -> float:
    """D_min·(1 + (σ/β)^(−α))."""
    return d_min * (1 + (utd / beta) ** -alpha)


def synthetic_study(
    *,
    tasks: Sequence[tuple[str, float]] = (("one", 4000.0), ("two", 9000.0)),
    utds: Sequence[float] = (0.25, 0.5, 1, 2, 4, 8),
    beta: float = 1.5,
    alpha: float = 0.8,
    batch_exponent: float = -0.5,
    rate_exponent: float = -0.25,
    n_seeds: int = 5,
    noise: float = 0.08,
    seed: int = 0,
) -> list[Cell]:
    """Stage 1 on a grid and stage 2 at B*, η*: B* = 64·σ^batch_exponent, η* = 1e-3·σ^rate_exponent, D by the offset law."""
    cells = []
    for task, d_min in tasks:
        for utd in utds:
            best = law_data(utd, d_min, beta, alpha)
            batch, rate = 64 * utd**batch_exponent, 1e-3 * utd**rate_exponent
            cells.append(
                curve_cell(
                    task=task,
                    utd=utd,
                    data_at_top=best,
                    batch_size=max(round(batch), 1),
                    learning_rate=rate,
                    n_seeds=n_seeds,
                    noise=noise,
                    seed=seed,
                )
            )
            if 0.5 <= utd <= 4:
                for batch_size in (16, 32, 64, 128, 256):
                    for learning_rate in (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3):
                        worse = 0.15 * np.log(batch_size / batch) ** 2 + 0.15 * np.log(learning_rate / rate) ** 2
                        cells.append(
                            curve_cell(
                                task=task,
                                utd=utd,
                                data_at_top=best * np.exp(worse),
                                batch_size=batch_size,
                                learning_rate=learning_rate,
                                n_seeds=n_seeds,
                                stage="sweep",
                                noise=noise,
                                seed=seed + 1,
                            )
                        )
    return cells


def write_swept(folder: Path, truth: LawTruth) -> None:
    """A simulated study with a sweep at three σ and stage 2 at four, of low noise; nothing is fitted."""
    sweep = SweepDesign(
        utd=(1.0, 2.0, 4.0), seeds=3, stage="sweep", batch_size=(32, 128, 512), learning_rate=(1.5e-4, 6e-4, 2.4e-3), log_interval=2000
    )
    scaling = SweepDesign(utd=(0.5, 1.0, 2.0, 4.0), seeds=3, log_interval=2000)
    write_simulation(folder, truth, [sweep, scaling], "low", thresholds=(400, 800), data_cost=1e9)
