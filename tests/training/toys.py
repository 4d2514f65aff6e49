"""Environments of a few microseconds: walk to the origin in 20 steps."""

from typing import Any

import gymnasium
import numpy as np

from tdscale.study import RunSpec, SACSettings

EPISODE = 20


class Walk(gymnasium.Env[Any, Any]):
    """Reward −|x| per step; `fault` happens in the first instance made since `instances` was set to 0, at its step `at`.

    An action that is NaN is refused, as dm_control refuses it.
    """

    instances = 0

    def __init__(self, fault: str = "none", at: int = 75) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)
        self._fault, self._at = fault if Walk.instances == 0 else "none", at
        Walk.instances += 1
        self._total = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._position, self._step = self.np_random.uniform(-1, 1), 0
        return np.array([self._position, 0.0]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        self._total += 1
        if not np.isfinite(action).all():
            raise ValueError("the action is not finite")
        if self._total == self._at and self._fault == "raise":
            raise RuntimeError("the motor\nis on fire")
        self._position = float(np.clip(self._position + 0.1 * action[0], -2, 2))
        reward = -abs(self._position)
        if self._total == self._at and self._fault == "infinite":
            reward = float("inf")
        return np.array([self._position, self._step / EPISODE]), reward, False, self._step == EPISODE, {}


for name, kwargs in {
    "Walk-v0": {},
    "WalkRaises-v0": {"fault": "raise"},
    "WalkRaisesAtOnce-v0": {"fault": "raise", "at": 5},
    "WalkInfinite-v0": {"fault": "infinite"},
}.items():
    if name not in gymnasium.registry:
        gymnasium.register(name, entry_point=Walk, kwargs=kwargs, disable_env_checker=True)


def walk_spec(seed: int = 0, task: str = "Walk-v0", utd: float = 1.0, learning_rate: float = 3e-3, **settings: Any) -> RunSpec:
    """Tiny networks; warm-up 40. One set of shapes for all tests, so that JAX compiles once."""
    chosen: dict[str, Any] = {"hidden_sizes": (8,), "warm_up": 40, "evaluation_interval": 0, "diagnostics_interval": 0} | settings
    return RunSpec(
        algorithm="sac",
        suite="gymnasium",
        task=task,
        utd=utd,
        batch_size=8,
        learning_rate=learning_rate,
        seed=seed,
        stage="sweep",
        settings=SACSettings(**chosen).model_dump(mode="json"),
    )
