"""`Record`: what is known of a run while it is trained: its curve, counts, times, and how it ended."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tdscale.agents.costs import Costs
from tdscale.runs.types import RunResult, RunState, RunStatus
from tdscale.study import RunSpec
from tdscale.training.compute import counted_flops
from tdscale.training.curve import CurveRecorder
from tdscale.training.stopping import ReturnCurve

_RECORDED = ("env_step", "state", "reason", "critic_updates", "actor_updates", "wall_seconds", "update_seconds", "env_seconds", "resets")


# transitions whose TD errors (METHOD.md, "Overfitting") and, of the first, gradients ("Critical batch size") are diagnosed
UNIFORM, NEWEST, VALIDATION = (1024, 16, 256)


def newest_ages(environments: int, capacity: int) -> NDArray[np.int64]:
    """Which rows of a replay are diagnosed as the newest: 1 for the last one, shape (NEWEST,), the oldest first.

    Of many environments they are spread over one step of all: the last ones alone would be those that explore most (`agents.pql`).
    """
    span = max(min(environments, capacity), NEWEST)
    return np.arange(NEWEST, 0, -1) * span // NEWEST


class Record:
    """Of one spec. Seconds are wall time, shared out over the runs that advance together."""

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.env_step = 0
        self.state: RunState = "finished"
        self.reason: str | None = None
        self.left = False  # the batch it was in, before it ended
        self.critic_updates = self.actor_updates = 0
        self.wall_seconds = self.update_seconds = self.env_seconds = 0.0
        self.resets: list[int] = []
        self.curve = CurveRecorder()

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
        """All of it but the spec, for a checkpoint: JSON types, and arrays by name."""
        return {name: getattr(self, name) for name in _RECORDED}, {f"curve/{name}": array for name, array in self.curve.state().items()}

    def set_recorded(self, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `recorded`; raises KeyError if something is missing."""
        for name in _RECORDED:
            setattr(self, name, values[name])
        self.curve.set_state({name: arrays[f"curve/{name}"] for name in self.curve.state()})

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
