"""Every algorithm solves a cheap task from several seeds: walking to the origin, where a random policy gets −8 and the best −1."""

from typing import Any

import numpy as np
import pytest

from tdscale.study import SETTINGS, RunSpec
from tdscale.training import train_cell

toys = pytest.importorskip("toys", reason='needs pip install "tdscale[train]"')

SMALL = {"critic_width": 32, "critic_blocks": 1, "actor_width": 32, "actor_blocks": 0, "quantiles": 5, "update_block": 4}
# (σ, η, env steps, settings): small networks, so that all of it takes seconds
CASES: dict[str, tuple[float, float, int, dict[str, Any]]] = {
    "sac": (2.0, 1e-2, 1000, {"hidden_sizes": (8,)}),
    "bro": (2.0, 3e-3, 1600, SMALL | {"reset_rule": "none"}),
    "bro-minimal": (2.0, 3e-3, 1000, SMALL),
    "pql": (1 / 4, 3e-3, 3840, {"hidden_sizes": (32, 32), "environments": 16}),
    # a policy that walks off earns −30: were that below the lowest atom, nothing would say which way is better
    "pql-d": (1 / 4, 3e-3, 4320, {"hidden_sizes": (32, 32), "environments": 16, "value_min": -40.0, "value_max": 0.0}),
}


@pytest.mark.parametrize("algorithm", ["sac", *(pytest.param(name, marks=pytest.mark.slow) for name in CASES if name != "sac")])
def test_a_cheap_task_is_solved_from_every_seed(algorithm: str) -> None:
    utd, learning_rate, env_steps, chosen = CASES[algorithm]
    settings = SETTINGS[algorithm](**chosen, warm_up=320, evaluation_interval=env_steps, evaluation_episodes=10, diagnostics_interval=0)
    specs = [
        RunSpec(
            algorithm=algorithm,
            suite="gymnasium",
            task="Walk-v0",
            utd=utd,
            batch_size=64,
            learning_rate=learning_rate,
            seed=seed,
            stage="sweep",
            settings=settings.model_dump(mode="json"),
        )
        for seed in range(3)
    ]
    results = train_cell(specs, env_steps=env_steps, target=None)
    solved = [result.columns["evaluation_return"][-1] for result in results]
    random = [result.columns["return"][0] for result in results]
    assert np.mean(random) < -5
    assert min(solved) > -2.5, solved
