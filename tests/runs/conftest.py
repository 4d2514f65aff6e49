from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tdscale.runs.types import RunResult, RunStatus
from tdscale.study import RunSpec, Study, Task


@pytest.fixture
def make_result() -> Callable[..., RunResult]:
    """A run with `returns` at `steps`; by default a noisy rise over ten logged steps, different for every seed."""

    def make(
        seed: int = 0, *, steps: Any = None, returns: Any = None, status: dict[str, Any] | None = None, columns: Any = None, **spec: Any
    ) -> RunResult:
        steps = np.arange(1, 11) * 100 if steps is None else np.asarray(steps)
        if returns is None:
            returns = np.linspace(0, 900, len(steps)) + np.random.default_rng(seed).normal(0, 10, len(steps))
        fields = {
            "algorithm": "sac",
            "suite": "imported",
            "task": "Ant-v4",
            "utd": 1.0,
            "batch_size": 64,
            "learning_rate": 3e-4,
            "stage": "sweep",
        }
        return RunResult(
            spec=RunSpec(seed=seed, **(fields | spec)),
            columns={"env_step": steps, "return": np.asarray(returns, dtype=float)} | (columns or {}),
            status=RunStatus(**({"state": "finished", "last_step": int(steps[-1]) if len(steps) else 0} | (status or {}))),
        )

    return make


@pytest.fixture
def study() -> Study:
    return Study(
        name="test",
        algorithm="sac",
        return_thresholds=(500.0, 800.0),
        tasks={"Ant-v4": Task(suite="imported", high=1000.0), "Humanoid-v4": Task(suite="imported", low=-200.0, high=200.0)},
    )
