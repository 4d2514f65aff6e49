"""`TrainingRun`: what one spec has of its own: environments, random streams, curve, counts, times, how it ended.

Its agent is in a slot of the batch's learner.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tdscale.agents.costs import Costs, counted_flops
from tdscale.runs.types import RunResult, RunState, RunStatus
from tdscale.study import RunSpec, TrainingSettings
from tdscale.training.checkpoint import Checkpoint
from tdscale.training.curve import CurveRecorder
from tdscale.training.experience import Experience
from tdscale.training.held_out_experience import HeldOutExperience
from tdscale.training.learner import seed
from tdscale.training.replay import Replay
from tdscale.training.resuming import named, part_of
from tdscale.training.stopping import ReturnCurve

Floats = NDArray[np.float32]
_RECORDED = ("env_step", "state", "reason", "critic_updates", "actor_updates", "wall_seconds", "update_seconds", "env_seconds", "resets")


# transitions whose TD errors (METHOD.md, "Overfitting") and, of the first, gradients ("Critical batch size") are diagnosed
UNIFORM, NEWEST, VALIDATION = (1024, 16, 256)


def newest_ages(environments: int, capacity: int) -> NDArray[np.int64]:
    """Which rows of a replay are diagnosed as the newest: 1 for the last one, shape (NEWEST,), the oldest first.

    Of many environments they are spread over one step of all: the last ones alone would be those that explore most (`agents.pql`).
    """
    span = max(min(environments, capacity), NEWEST)
    return np.arange(NEWEST, 0, -1) * span // NEWEST


class TrainingRun:
    """One spec on its environments. Nothing in it depends on how far it is asked to go, nor on other runs.

    Seconds are wall time, shared out over the runs that advance together.
    """

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
        self.wall_seconds = self.update_seconds = self.env_seconds = 0.0
        self.resets: list[int] = []
        self.curve = CurveRecorder()
        # every run_id has its own streams, so that cells of one study are independent
        self._streams = [np.random.default_rng(stream) for stream in np.random.SeedSequence(int(spec.run_id, 16)).spawn(7)]
        self._acting, self.sampling, episodes, self.diagnosing, self._initial, *held_out = self._streams
        discount = getattr(settings, "discount", 1.0)
        self.experience = Experience(spec, settings.environments, episodes, n_step=settings.n_step, discount=discount)
        self._held_out = HeldOutExperience(spec, settings, env_steps, *held_out) if settings.diagnostics_interval else None

    @property
    def held_out(self) -> HeldOutExperience:
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

    @property
    def going(self) -> bool:
        """False once it has diverged, failed or left its batch."""
        return self.state == "finished" and not self.left

    def fail(self, why: Exception) -> None:
        """End as failed: what it would have come to is missing."""
        self._end("failed", str(why))

    def diverge(self, why: str) -> None:
        """End as diverged: an outcome, the threshold is not reached by the limit."""
        self._end("diverged", why)

    def log_diagnosis(self, values: dict[str, float]) -> None:
        """Columns of a diagnosis with its `finite`: a run one of whose parameters is not ends as diverged."""
        self.curve.log(self.env_step, **{name: value for name, value in values.items() if name != "finite"})
        if not values["finite"]:
            self.diverge("a parameter is no longer finite")

    def log_counts(self, costs: Costs) -> None:
        """Updates made so far, and their FLOPs."""
        flops = counted_flops(costs, self.critic_updates, self.actor_updates, self.spec.batch_size)
        self.curve.log(self.env_step, critic_updates=self.critic_updates, actor_updates=self.actor_updates, flops=flops)

    def _end(self, state: RunState, why: str) -> None:
        if self.state == "finished":
            self.state, self.reason = state, f"{why} at env step {self.env_step}"

    def return_curve(self, env_step: int) -> ReturnCurve:
        """The training-episode returns up to an env step."""
        steps, returns = self.curve.returns()
        count = np.searchsorted(steps, env_step, side="right")
        return ReturnCurve(steps[:count], returns[:count])

    def recorded(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What the next steps and the result depend on but the agent and rows, for a checkpoint: JSON types, and arrays by name."""
        values = {name: getattr(self, name) for name in _RECORDED}
        values["streams"] = [stream.bit_generator.state for stream in self._streams]
        held_out = {} if self._held_out is None else self._held_out.state()
        return values, named(curve=self.curve.state(), experience=self.experience.state(), held_out=held_out)

    def rings(self) -> dict[str, Replay]:
        """Rows that a checkpoint holds besides the replay's."""
        return {} if self._held_out is None else {"validation": self._held_out.rows}

    def restore(self, checkpoint: Checkpoint, arrays: dict[str, NDArray[Any]]) -> None:
        """Become what wrote a checkpoint. Raises whatever a foreign one leads to; the run is of no use then."""
        for name in _RECORDED:
            setattr(self, name, checkpoint.values[name])
        curve = part_of(arrays, "curve")
        self.curve.set_state({name: curve[name] for name in self.curve.state()})
        for stream, state in zip(self._streams, checkpoint.values["streams"], strict=True):
            stream.bit_generator.state = state
        self.experience.set_state(part_of(arrays, "experience"))
        self.experience.seconds = self.env_seconds
        if self._held_out is not None:
            self._held_out.restore(part_of(arrays, "held_out"), checkpoint.added("validation"), checkpoint.rows("validation"))

    def library_versions(self) -> dict[str, str]:
        """Of what shapes every curve."""
        return {"jax": jax.__version__, "numpy": version("numpy")}

    def result(self, costs: Costs, versions: Mapping[str, str], notes: dict[str, Any]) -> RunResult:
        """The run as it stands; `versions` are the task's."""
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
            env_seconds=self.env_seconds,
            update_seconds=self.update_seconds,
            versions=self.library_versions() | dict(versions),
            notes=notes,
        )
        return RunResult(spec=self.spec, columns=self.curve.columns(), status=status)

    def close(self) -> None:
        """Close the environments."""
        self.experience.close()
        if self._held_out is not None:
            self._held_out.close()
