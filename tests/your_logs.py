"""Logs as users have them: rising returns by σ, a long table of them, and what an import of them gave."""

import numpy as np
import pandas as pd

from tdscale.runs.store import RunStore

# what such logs do not say themselves
GIVEN = {"utd": "=1", "batch_size": "=64", "learning_rate": "=3e-4", "task": "=Pendulum-v1"}


def rising(utd: float, seed: int, n: int = 30) -> np.ndarray:
    """Returns that get to 1000 sooner at a higher σ."""
    noise = np.random.default_rng([int(100 * utd), seed]).normal(0, 5, n)
    return 1000 * (1 - np.exp(-np.arange(n) * utd**0.5 / 8)) + noise


def curves_of(folder):
    store = RunStore(folder)
    curves = store.curves(columns=None)
    return {(spec.utd, spec.seed): curves[run_id] for run_id, spec in store.specs().items()}


def messages(found):
    return {message.code: message.message for message in found.messages}


def long_table(**changes) -> pd.DataFrame:
    rows = [
        {"env_step": 100 * i, "return": r, "utd": utd, "batch_size": 64, "learning_rate": 3e-4, "env_id": "Pendulum-v1", "seed": seed}
        for utd in (0.5, 1.0, 2.0, 4.0)
        for seed in range(3)
        for i, r in enumerate(rising(utd, seed))
    ]
    return pd.DataFrame(rows).assign(**changes)
