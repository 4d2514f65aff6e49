"""`Run`: what one spec has of its own: environments, random streams, curve, counts. Its agent is in a slot of the batch's learner."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tdscale.agents.costs import Costs
from tdscale.runs.types import RunResult, RunState, RunStatus
from tdscale.study import RunSpec, TrainingSettings
from tdscale.training.compute import counted_flops
from tdscale.training.curve import CurveRecorder
from tdscale.training.experience import EnvironmentFailure, Experience
from tdscale.training.held_out import HeldOut
from tdscale.training.learner import seed
from tdscale.training.stopping import ReturnCurve

Floats = NDArray[np.float32]


class Run:
    """One spec on its environments. Nothing in it depends on how far it is asked to go, nor on other runs."""

    def __init__(self, spec: RunSpec, settings: TrainingSettings, env_steps: int) -> None:
        """Open the environments; `env_steps`, the most that is to be run, only bounds the memory taken.

        Raises:
            UserError: if the task can't be opened.
        """
        self.spec = spec
        self.env_step = 0
        self.state: RunState = "finished"
        self.reason: str | None = None
        self.left = False  # the batch it was in, before it ended
        self.critic_updates = self.actor_updates = 0
        self.wall_seconds = self.update_seconds = 0.0
        self.resets: list[int] = []
        self.curve = CurveRecorder()
        # every run_id has its own streams, so that cells of one study are independent
        self._streams = [np.random.default_rng(stream) for stream in np.random.SeedSequence(int(spec.run_id, 16)).spawn(7)]
        self._acting, self.sampling, episodes, self.diagnosing, self._initial, *held_out = self._streams
        discount = getattr(settings, "discount", 1.0)
        self.experience = Experience(spec, settings.environments, episodes, n_step=settings.n_step, discount=discount)
        self._held_out = HeldOut(spec, settings, env_steps, *held_out) if settings.diagnostics_interval else None

    @property
    def going(self) -> bool:
        """False once it has diverged, failed or left its batch."""
        return self.state == "finished" and not self.left

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
        if len(returns):
            self.curve.log(self.env_step, **{name: float(values.mean()) for name, values in ({"return": returns} | measures).items()})
        return rows

    def fail(self, why: EnvironmentFailure) -> None:
        """End as failed: what it would have come to is missing."""
        self._end("failed", str(why))

    def diverge(self, why: str) -> None:
        """End as diverged: an outcome, the threshold is not reached by the limit."""
        self._end("diverged", why)

    def _end(self, state: RunState, why: str) -> None:
        if self.state == "finished":
            self.state, self.reason = state, f"{why} at env step {self.env_step}"

    def return_curve(self) -> ReturnCurve:
        """The training-episode returns so far."""
        return ReturnCurve(*self.curve.returns())

    def result(self, costs: Costs, notes: dict[str, Any], versions: Mapping[str, str]) -> RunResult:
        """The run as it stands; `versions` beside those of the libraries and the task."""
        if self.resets:
            notes = notes | {"resets": self.resets}
        if self.state != "finished":
            notes = notes | {"last_finite": self.curve.last_finite_diagnostics()}
        status = RunStatus(
            state=self.state,
            last_step=self.env_step,
            reason=self.reason,
            critic_updates=self.critic_updates,
            actor_updates=self.actor_updates,
            flops=counted_flops(costs, self.critic_updates, self.actor_updates, self.spec.batch_size),
            critic_parameters=costs.critic_parameters,
            actor_parameters=costs.actor_parameters,
            critic_update_flops=costs.critic_update_flops,
            actor_update_flops=costs.actor_update_flops,
            wall_seconds=self.wall_seconds,
            env_seconds=self.experience.seconds,
            update_seconds=self.update_seconds,
            versions={"jax": jax.__version__, "numpy": version("numpy")} | self.experience.task.versions() | dict(versions),
            notes=notes,
        )
        return RunResult(spec=self.spec, columns=self.curve.columns(), status=status)

    def close(self) -> None:
        """Close the environments."""
        self.experience.close()
        if self._held_out is not None:
            self._held_out.close()
