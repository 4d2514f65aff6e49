"""`Run`: what one spec has of its own: environments, random streams, curve, counts. Its agent is in a slot of the batch's learner."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.study import RunSpec, TrainingSettings
from tdscale.training.checkpoint import Checkpoint
from tdscale.training.experience import Experience
from tdscale.training.held_out import HeldOut
from tdscale.training.learner import seed
from tdscale.training.record import Record
from tdscale.training.replay import Replay
from tdscale.training.resuming import named, part_of

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
    def environments(self) -> int:
        """Stepped together."""
        return self.experience.task.environments

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

    def recorded(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What the next steps and the result depend on but the agent and rows, for a checkpoint: JSON types, and arrays by name."""
        values, arrays = super().recorded()
        values["streams"] = [stream.bit_generator.state for stream in self._streams]
        held_out = {} if self._held_out is None else self._held_out.state()
        return values, arrays | named(experience=self.experience.state(), held_out=held_out)

    def rings(self) -> dict[str, Replay]:
        """Rows that a checkpoint holds besides the replay's."""
        return {} if self._held_out is None else {"validation": self._held_out.rows}

    def restore(self, checkpoint: Checkpoint, arrays: dict[str, NDArray[Any]]) -> None:
        """Become what wrote a checkpoint. Raises whatever a foreign one leads to; the run is of no use then."""
        self.set_recorded(checkpoint.values, arrays)
        for stream, state in zip(self._streams, checkpoint.values["streams"], strict=True):
            stream.bit_generator.state = state
        self.experience.set_state(part_of(arrays, "experience"))
        self.experience.seconds = self.env_seconds
        if self._held_out is not None:
            self._held_out.restore(part_of(arrays, "held_out"), checkpoint.added("validation"), checkpoint.rows("validation"))

    def close(self) -> None:
        """Close the environments."""
        self.experience.close()
        if self._held_out is not None:
            self._held_out.close()
