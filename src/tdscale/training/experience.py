"""What a run collects: its environments, the episodes they are in, and the rows of transitions that these leave.

`Experience` is what a run learns from, `HeldOutExperience` what it is only diagnosed on. `training.run` holds one of each.
"""

import time
from collections.abc import Iterable
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import OUT_OF_MEMORY, first_line
from tdscale.study import RunSpec, TrainingSettings
from tdscale.tasks import ParallelTask, Steps, make_parallel_task
from tdscale.training.checkpoint import named, part_of

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


class EnvironmentFailure(Exception):
    """An environment raised: its run is lost, the others continue."""


def guarded(call: Any, *arguments: Any) -> Any:
    """The call's result. Raises EnvironmentFailure for anything that a simulator or the user's environment raises.

    An error that says that a device is out of memory is passed on: the caller then trains in smaller batches.
    """
    try:
        return call(*arguments)
    except Exception as error:
        if OUT_OF_MEMORY in str(error):
            raise
        raise EnvironmentFailure(f"the environment raised {type(error).__name__}: {first_line(error)}") from error


class Collected(NamedTuple):
    """What one step of the environments brought.

    rows: shape (m, row_size), packed as in agents.rows. returns and measures: of the episodes that ended, shape (ended,).
    """

    rows: NDArray[np.float32]
    returns: NDArray[np.float64]
    measures: dict[str, NDArray[np.float64]]


class Experience:
    """n environments of one run. `observations`, shape (n, observation_size), is what is acted on next."""

    def __init__(
        self, spec: RunSpec, settings: TrainingSettings, environments: int, episodes: np.random.Generator, acting: np.random.Generator
    ) -> None:
        """Open the environments.

        Args:
            spec: names the task.
            settings: `n_step` and, for n-step returns, `discount`.
            environments: how many are stepped together.
            episodes: seeds their episodes.
            acting: draws the noise of exploration and the actions of warm-up.

        Raises:
            UserError: if the task can't be opened.
        """
        self.task: ParallelTask = make_parallel_task(spec.suite, spec.task, environments)
        self._episodes, self._acting = episodes, acting
        self._reward_scale = spec.reward_scale
        self.row_size = 2 * self.task.observation_size + self.task.action_size + 2
        self._window = None
        if settings.n_step > 1:
            discount = getattr(settings, "discount", 1.0)
            self._window = NStepWindow(environments, self.row_size, self.task.observation_size, settings.n_step, discount)
        self.observations = np.zeros((environments, self.task.observation_size), np.float32)
        self._actions_shape = environments, self.task.action_size
        self._returns = np.zeros(environments)
        self._over = np.ones(environments, bool)
        self.seconds = 0.0

    def noise(self) -> Floats:
        """For the next actions, standard normal, shape (environments, action_size)."""
        return self._acting.standard_normal(self._actions_shape, dtype=np.float32)

    def random_actions(self) -> Floats:
        """Actions of the warm-up: uniform in [-1, 1], shape (environments, action_size)."""
        return self._acting.uniform(-1.0, 1.0, self._actions_shape).astype(np.float32)

    def begin_episodes(self) -> None:
        """Start an episode wherever the last one is over. Raises EnvironmentFailure."""
        if not self._over.any():
            return
        which = np.flatnonzero(self._over)
        seeds = self._episodes.integers(0, 1 << 31, which.size).astype(np.uint32)
        self.observations[which] = self._timed(self.task.reset, which, seeds)
        self._returns[which] = 0.0
        self._over[which] = False

    def step(self, actions: NDArray[np.float32]) -> Collected:
        """Take one action in each environment, shape (n, action_size). Raises EnvironmentFailure."""
        after: Steps = self._timed(self.task.step, actions)
        self._returns += after.rewards
        self._over = after.terminated | after.truncated
        rows = self._packed(actions, after)
        # a copy: the next episodes' observations are written into it
        self.observations = after.observations.copy()
        if not self._over.any():
            return Collected(rows, np.zeros(0), {})
        measures = {name: values[self._over] for name, values in self.task.measures().items()}
        return Collected(rows, self._returns[self._over], measures)

    def _packed(self, actions: NDArray[np.float32], after: Steps) -> NDArray[np.float32]:
        """Time-limit ends bootstrap: only a true termination sets the factor of the bootstrap to 0."""
        rewards = (after.rewards + after.shaping) * self._reward_scale
        if self._window is not None:
            return self._window.push(self.observations, actions, rewards, after.terminated, self._over, after.observations)
        size = self.task.observation_size
        rows = np.empty((len(actions), self.row_size), np.float32)
        rows[:, :size] = self.observations
        rows[:, size : -size - 2] = actions
        rows[:, -size - 2] = rewards
        rows[:, -size - 1] = ~after.terminated
        rows[:, -size:] = after.observations
        return rows

    def state(self) -> dict[str, NDArray[Any]]:
        """All that the next steps depend on but the generators, as arrays."""
        own: dict[str, NDArray[Any]] = {"observations": self.observations, "returns": self._returns, "over": self._over}
        return own | named(task=self.task.state(), window={} if self._window is None else self._window.state())

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self.task.set_state(part_of(state, "task"))
        if self._window is not None:
            self._window.set_state(part_of(state, "window"))
        self.observations, self._returns, self._over = (state[name].copy() for name in ("observations", "returns", "over"))

    def close(self) -> None:
        """Close the environments."""
        self.task.close()

    def _timed(self, call: Any, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return guarded(call, *arguments)
        finally:
            self.seconds += time.perf_counter() - started


_MULTIPLE = 4096


def replay_rows(capacity: int, env_steps: int) -> int:
    """Rows to make room for: `capacity`, or where a run is too short to fill it one of few sizes, for each is compiled for."""
    return min(capacity, -(-env_steps // _MULTIPLE) * _MULTIPLE)


class Replay:
    """The replay buffer: a ring of packed transitions (see `agents.rows`) in host memory, which is only touched as it fills."""

    def __init__(self, capacity: int, row_size: int) -> None:
        self._rows = np.empty((capacity, row_size), np.float32)
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, len(self._rows))

    @property
    def capacity(self) -> int:
        """The most rows it holds."""
        return len(self._rows)

    def add(self, rows: NDArray[np.float32]) -> None:
        """Append rows, shape (n, row_size), in place of the oldest where the buffer is full."""
        kept = rows[-len(self._rows) :]
        start = (self.added + len(rows) - len(kept)) % len(self._rows)
        first = kept[: len(self._rows) - start]
        self._rows[start : start + len(first)] = first
        self._rows[: len(kept) - len(first)] = kept[len(first) :]
        self.added += len(rows)

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.int64]:
        """Indices of rows drawn uniformly with replacement."""
        return generator.integers(0, len(self), shape)

    def take(self, indices: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Fill `out`, shape (*indices.shape, row_size)."""
        # mode "clip" writes straight into `out`; the indices are in range anyway
        np.take(self._rows, indices, axis=0, out=out, mode="clip")

    def back(self, ages: NDArray[np.int64]) -> NDArray[np.float32]:
        """A copy of the rows so far back, 1 for the newest, shape (len(ages), row_size)."""
        return self._rows[(self.added - ages) % len(self._rows)]

    def between(self, first: int, end: int) -> NDArray[np.float32]:
        """A copy of rows first … end − 1, numbered from 0 in the order in which they were added."""
        return self._rows[np.arange(first, end) % len(self._rows)]

    def restore(self, added: int, kept: Iterable[tuple[int, NDArray[np.float32]]]) -> None:
        """Become what a replay was after so many rows.

        Args:
            added: how many.
            kept: rows of it, oldest first, each with the number of its first row.

        Raises:
            ValueError: if rows that this one would hold are not among them.
        """
        self.added = max(added - len(self._rows), 0)
        for first, rows in kept:
            if first > self.added:
                break
            self.add(rows[self.added - first :])
        if self.added != added:
            raise ValueError(f"row {self.added} of the replay is not there")


# env steps of training for one of the validation environments: a sample of a few thousand transitions is enough, and costs next to nothing
SHARE = 16
SHARE_OF_MANY = 64  # where training has several environments, and little else is done for a transition
_ROWS = 65_536  # transitions kept at most: about those of the newest million of training


class HeldOutExperience(Experience):
    """Validation environments, driven by the policy of training, and their transitions. Nothing learns from these: they are diagnosed."""

    def __init__(
        self, spec: RunSpec, settings: TrainingSettings, env_steps: int, episodes: np.random.Generator, acting: np.random.Generator
    ) -> None:
        """Open one environment for `SHARE` of training's. Raises UserError if the task can't be opened."""
        count = max(settings.environments // SHARE, 1)
        super().__init__(spec, settings, count, episodes, acting)
        share = SHARE if settings.environments == 1 else SHARE_OF_MANY
        self.every = share * count // settings.environments or 1  # steps of training's environments for one of these
        most = ceil(env_steps * count / (settings.environments * self.every)) + count * settings.n_step
        self.kept = Replay(min(_ROWS, most), self.row_size)

    def sample(self, count: int) -> Floats:
        """Rows drawn uniformly, shape (count, row_size)."""
        drawn = np.empty((count, self.row_size), np.float32)
        self.kept.take(self.kept.draw((count,), self._acting), drawn)
        return drawn
