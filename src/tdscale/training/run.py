"""`Run`: what one spec has of its own: environments, random streams, curve, counts. Its agent is in a slot of the batch's learner."""

import numpy as np
from numpy.typing import NDArray

from tdscale.study import RunSpec, TrainingSettings
from tdscale.training.experience import Experience
from tdscale.training.held_out import HeldOut
from tdscale.training.learner import seed
from tdscale.training.record import Record

Floats = NDArray[np.float32]


class Run(Record):
    """One spec on its environments. Nothing in it depends on how far it is asked to go, nor on other runs."""

    def __init__(self, spec: RunSpec, settings: TrainingSettings, env_steps: int) -> None:
        """Open the environments; `env_steps`, the most that is to be run, only bounds the memory taken.

        Raises:
            UserError: if the task can't be opened.
        """
        super().__init__(spec)
        # every run_id has its own streams, so that cells of one study are independent
        self._streams = [np.random.default_rng(stream) for stream in np.random.SeedSequence(int(spec.run_id, 16)).spawn(7)]
        self._acting, self.sampling, episodes, self.diagnosing, self._initial, *held_out = self._streams
        discount = getattr(settings, "discount", 1.0)
        self.experience = Experience(spec, settings.environments, episodes, n_step=settings.n_step, discount=discount)
        self._held_out = HeldOut(spec, settings, env_steps, *held_out) if settings.diagnostics_interval else None

    @property
    def held_out(self) -> HeldOut:
        """The validation environment of a run with diagnostics."""
        assert self._held_out is not None
        return self._held_out

    def new_seed(self) -> np.uint32:
        """Of the networks' next initialisation."""
        return seed(self._initial)

    def noise(self) -> Floats:
        """For the next actions, standard normal, shape (environments, action_size)."""
        return self._acting.standard_normal(self._actions_shape, dtype=np.float32)

    def random_actions(self) -> Floats:
        """Of warm-up: uniform in [-1, 1]."""
        return self._acting.uniform(-1.0, 1.0, self._actions_shape).astype(np.float32)

    @property
    def _actions_shape(self) -> tuple[int, int]:
        return self.experience.task.environments, self.experience.task.action_size

    def collect(self, actions: Floats) -> Floats:
        """Step the environments; the rows to be remembered. Raises EnvironmentFailure."""
        rows, returns, measures = self.experience.step(actions)
        self.env_step += len(actions)
        self.env_seconds = self.experience.seconds
        if len(returns):
            self.curve.log(self.env_step, **{name: float(values.mean()) for name, values in ({"return": returns} | measures).items()})
        return rows

    def close(self) -> None:
        """Close the environments."""
        self.experience.close()
        if self._held_out is not None:
            self._held_out.close()
