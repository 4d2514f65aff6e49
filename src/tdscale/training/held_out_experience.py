"""`HeldOutExperience`: a second environment driven by the policy of training. Nothing learns from its transitions: they are diagnosed."""

from collections.abc import Iterable
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.study import RunSpec, TrainingSettings
from tdscale.training.experience import Experience
from tdscale.training.replay import Replay

# transitions of training for one of these: a sample of a few thousand is enough, and costs next to nothing
SHARE = 16
SHARE_OF_MANY = 64  # of several environments, where little else is done for a transition
_ROWS = 65_536  # what is kept at most: the newest million of training, thinned out so


class HeldOutExperience:
    """Validation environments, their transitions, and the random streams of both."""

    def __init__(
        self, spec: RunSpec, settings: TrainingSettings, env_steps: int, episodes: np.random.Generator, acting: np.random.Generator
    ) -> None:
        """Open them: one for SHARE of training's. Raises UserError if the task can't be opened."""
        count = max(settings.environments // SHARE, 1)
        share = SHARE if settings.environments == 1 else SHARE_OF_MANY
        self.every = share * count // settings.environments or 1  # steps of training's environments for one of these
        self._experience = Experience(spec, count, episodes, n_step=settings.n_step, discount=getattr(settings, "discount", 1.0))
        self._acting = acting
        most = ceil(env_steps * count / (settings.environments * self.every)) + count * settings.n_step
        self.rows = Replay(min(_ROWS, most), self._experience.row_size)

    @property
    def observations(self) -> NDArray[np.float32]:
        """What is acted on next, shape (environments, observation_size)."""
        return self._experience.observations

    def noise(self) -> NDArray[np.float32]:
        """For the next actions, standard normal, shape (environments, action_size)."""
        return self._acting.standard_normal(self._actions_shape, dtype=np.float32)

    def random_actions(self) -> NDArray[np.float32]:
        """Of warm-up: uniform in [-1, 1]."""
        return self._acting.uniform(-1.0, 1.0, self._actions_shape).astype(np.float32)

    def begin(self) -> None:
        """Start episodes where the last ones are over. Raises EnvironmentFailure."""
        self._experience.begin_episodes()

    def step(self, actions: NDArray[np.float32]) -> None:
        """Step, and keep the rows. Raises EnvironmentFailure."""
        self.rows.add(self._experience.step(actions).rows)

    def sample(self, count: int) -> NDArray[np.float32]:
        """Rows drawn uniformly, shape (count, row_size)."""
        drawn = np.empty((count, self._experience.row_size), np.float32)
        self.rows.take(self.rows.draw((count,), self._acting), drawn)
        return drawn

    def state(self) -> dict[str, NDArray[Any]]:
        """Of the environments, as `Experience.state`; the rows and the streams are apart."""
        return self._experience.state()

    def restore(self, state: dict[str, NDArray[Any]], added: int, rows: Iterable[tuple[int, NDArray[np.float32]]]) -> None:
        """The inverse of `state`, with rows as `Replay.restore` takes them."""
        self._experience.set_state(state)
        self.rows.restore(added, rows)

    def close(self) -> None:
        """Close the environments."""
        self._experience.close()

    @property
    def _actions_shape(self) -> tuple[int, int]:
        return self._experience.task.environments, self._experience.task.action_size
