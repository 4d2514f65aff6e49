"""n-step returns: what a transition's row holds when the reward of the next n steps is summed (Sutton 1988; D4PG, PQL)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


class NStepWindow:
    """Transitions of n environments in step, held back until n_step rewards are known or their episode ends.

    A row is (observation, action, Σ γ^k r_k, γ^(m−1) · not terminated, the observation m steps on), m = n_step or, at an
    episode's end, fewer: times γ, its fourth entry is the factor of the bootstrap.
    """

    def __init__(self, environments: int, row_size: int, observation_size: int, n_step: int, discount: float) -> None:
        self._n_step, self._discount, self._observation_size = n_step, discount, observation_size
        self._rows = np.zeros((n_step, environments, row_size), np.float32)
        self._age = np.zeros((n_step, environments), np.int64)
        self._held = np.zeros((n_step, environments), bool)
        self._step = 0

    def push(self, before: Floats, actions: Floats, rewards: NDArray[np.float64], terminated: Flags, ended: Flags, after: Floats) -> Floats:
        """Take one step of every environment; the rows that it completes, oldest first, shape (m, row_size)."""
        size = self._observation_size
        newest = self._step % self._n_step
        self._step += 1
        rows = self._rows[newest]
        rows[:, :size] = before
        rows[:, size : -size - 2] = actions
        rows[:, -size - 2] = 0.0
        self._age[newest] = 0
        self._held[newest] = True
        self._rows[..., -size - 2] += np.where(self._held, self._discount**self._age * rewards, 0.0)
        self._age += self._held
        complete = self._held & ((self._age == self._n_step) | ended)
        order = [(newest + 1 + index) % self._n_step for index in range(self._n_step)]
        found = []
        for slot in order:
            which = np.flatnonzero(complete[slot])
            if which.size:
                rows = self._rows[slot, which]
                rows[:, -size - 1] = np.where(terminated[which], 0.0, self._discount ** (self._age[slot, which] - 1))
                rows[:, -size:] = after[which]
                found.append(rows)
        self._held &= ~complete
        return np.concatenate(found) if found else np.zeros((0, self._rows.shape[-1]), np.float32)

    def state(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        return {"rows": self._rows, "age": self._age, "held": self._held, "step": np.array([self._step])}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self._rows[:], self._age[:], self._held[:] = state["rows"], state["age"], state["held"]
        self._step = int(state["step"][0])
