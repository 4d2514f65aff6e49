"""`TrainingRun`: what one run has of its own: environments, random streams, curve, counts, times, and how it ended.

Its agent is in a slot of a learner (`training.learner`), which the runs of a batch share (`training.batch`). `CurveRecorder` turns
what a run logs into columns; `Evaluation` measures the returns of several runs' policies without exploration.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tdscale.agents.costs import Costs, counted_flops
from tdscale.runs.types import DIAGNOSTICS, RETURN, RunResult, RunState, RunStatus, in_order, is_column, is_diagnostic
from tdscale.study import RunSpec, TrainingSettings
from tdscale.tasks import ParallelTask, make_parallel_task
from tdscale.training.checkpoint import Checkpoint, named, part_of
from tdscale.training.experience import EnvironmentFailure, Experience, HeldOutExperience, Replay, guarded
from tdscale.training.learner import Learner, seed
from tdscale.training.schedule import ReturnCurve

Floats = NDArray[np.float32]
EVALUATION = "evaluation_return"
_RECORDED = ("env_step", "state", "reason", "critic_updates", "actor_updates", "wall_seconds", "update_seconds", "env_seconds", "resets")


class CurveRecorder:
    """One row per distinct env step; NaN where a column was not logged."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, float]] = {}

    def log(self, env_step: int, **values: float) -> None:
        """Record values at an env step, which never falls from one call to the next."""
        self._rows.setdefault(env_step, {}).update(values)

    def returns(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Env steps at which training episodes ended, and their raw returns; one that is not finite is left out."""
        ended = [(step, row[RETURN]) for step, row in self._rows.items() if np.isfinite(row.get(RETURN, np.nan))]
        return np.array([step for step, _ in ended], np.int64), np.array([value for _, value in ended], np.float64)

    def last_finite_diagnostics(self) -> dict[str, float]:
        """The newest row of diagnostics that are all finite, with its env step; empty where there is none."""
        for step, row in reversed(self._rows.items()):
            values = {name: value for name, value in row.items() if is_diagnostic(name)}
            if values and np.isfinite(list(values.values())).all():
                return {"env_step": step} | values
        return {}

    def columns(self) -> dict[str, NDArray[Any]]:
        """`env_step` (int64, strictly rising), returns and diagnostics of runs/types.py, and the norms of layers that were logged."""
        columns: dict[str, NDArray[Any]] = {"env_step": np.fromiter(self._rows, np.int64, len(self._rows))}
        logged = {name for row in self._rows.values() for name in row if is_column(name)}
        for name in in_order({RETURN, EVALUATION, *DIAGNOSTICS} | logged):
            columns[name] = np.array([row.get(name, np.nan) for row in self._rows.values()], np.float64)
        return columns

    def state(self) -> dict[str, NDArray[Any]]:
        """All values that were logged: env step, column (a place in `names`) and value of each, in their order, shape (n,)."""
        logged = [(step, name, value) for step, row in self._rows.items() for name, value in row.items()]
        names = sorted({name for _, name, _ in logged})
        places = {name: place for place, name in enumerate(names)}
        return {
            "steps": np.array([step for step, _, _ in logged], np.int64),
            "columns": np.array([places[name] for _, name, _ in logged], np.int64),
            "values": np.array([value for _, _, value in logged], np.float64),
            "names": np.array(names, str),
        }

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self._rows = {}
        names = state["names"].tolist()
        for step, column, value in zip(state["steps"].tolist(), state["columns"].tolist(), state["values"].tolist(), strict=True):
            self.log(step, **{names[column]: value})


# transitions whose TD errors (docs/diagnostics.md) and, of the first, gradients ("Critical batch size") are diagnosed
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
        # every run_id has its own random streams, so that cells of one study are independent
        self._streams = [np.random.default_rng(stream) for stream in np.random.SeedSequence(int(spec.run_id, 16)).spawn(7)]
        acting, self.sampling, episodes, self.diagnosing, self._initial, *held_out = self._streams
        self.experience = Experience(spec, settings, settings.environments, episodes, acting)
        self._held_out = HeldOutExperience(spec, settings, env_steps, *held_out) if settings.diagnostics_interval else None

    @property
    def held_out(self) -> HeldOutExperience:
        """The validation environment of a run with diagnostics."""
        assert self._held_out is not None
        return self._held_out

    def new_seed(self) -> np.uint32:
        """Seed of the networks' next initialisation."""
        return seed(self._initial)

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
        """End as failed: the rest of its curve is missing."""
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
        return {} if self._held_out is None else {"validation": self._held_out.kept}

    def restore(self, checkpoint: Checkpoint, arrays: dict[str, NDArray[Any]]) -> None:
        """Become what wrote a checkpoint. May raise anything for a foreign one; the run is of no use then."""
        for name in _RECORDED:
            setattr(self, name, checkpoint.values[name])
        curve = part_of(arrays, "curve")
        self.curve.set_state({name: curve[name] for name in self.curve.state()})
        for stream, state in zip(self._streams, checkpoint.values["streams"], strict=True):
            stream.bit_generator.state = state
        self.experience.set_state(part_of(arrays, "experience"))
        self.experience.seconds = self.env_seconds
        if self._held_out is not None:
            self._held_out.set_state(part_of(arrays, "held_out"))
            self._held_out.kept.restore(checkpoint.added("validation"), checkpoint.rows("validation"))

    def library_versions(self) -> dict[str, str]:
        """Versions of the libraries that shape every curve."""
        return {"jax": jax.__version__, "numpy": version("numpy")}

    def result(self, costs: Costs, versions: Mapping[str, str], notes: dict[str, Any]) -> RunResult:
        """The run in its present state; `versions` are the task's."""
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


class Evaluation:
    """The mean return of a few episodes without exploration, those of a batch's runs side by side.

    The environments are opened when they are first needed. Nothing here disturbs training.
    """

    def __init__(self, settings: TrainingSettings, mapped: Callable[..., Iterable[Any]]) -> None:
        """`mapped` is `map`, or a thread pool's."""
        self._episodes, self._mapped = settings.evaluation_episodes, mapped
        self._tasks: dict[str, ParallelTask] = {}

    def returns(self, runs: list[TrainingRun], learner: Learner) -> dict[TrainingRun, float]:
        """Mean raw return of each run that is going. The episodes' seeds depend on the run and its env step alone.

        Args:
            runs: one for each of the learner's slots.
            learner: acts.
        """
        places = {slot: self._task(run) for slot, run in enumerate(runs) if run.going}
        size = next(iter(places.values())).observation_size
        observations = np.zeros((len(runs), self._episodes, size), np.float32)
        totals = np.zeros((len(runs), self._episodes))
        over = np.ones((len(runs), self._episodes), bool)

        def begin(slot: int) -> None:
            generator = np.random.default_rng([int(runs[slot].spec.run_id, 16), runs[slot].env_step])
            seeds = generator.integers(0, 1 << 31, self._episodes).astype(np.uint32)
            observations[slot] = guarded(places[slot].reset, np.arange(self._episodes), seeds)
            over[slot] = False

        def step(slot: int) -> None:
            after = guarded(places[slot].step, actions[slot])
            totals[slot] += np.where(over[slot], 0.0, after.rewards)
            over[slot] |= after.terminated | after.truncated
            observations[slot] = after.observations

        def alone(call: Callable[[int], None], slot: int) -> None:
            try:
                call(slot)
            except EnvironmentFailure as failure:
                runs[slot].fail(failure)
                over[slot] = True

        self._all(lambda slot: alone(begin, slot), places)
        while not over.all():
            actions = np.asarray(learner.act(observations, None))
            self._all(lambda slot: alone(step, slot), [slot for slot in places if not over[slot].all()])
        return {runs[slot]: float(totals[slot].mean()) for slot in places if runs[slot].going}

    def _all(self, call: Callable[[int], None], slots: Iterable[int]) -> None:
        for _ in self._mapped(call, slots):
            pass

    def _task(self, run: TrainingRun) -> ParallelTask:
        if run.spec.run_id not in self._tasks:
            self._tasks[run.spec.run_id] = make_parallel_task(run.spec.suite, run.spec.task, self._episodes)
        return self._tasks[run.spec.run_id]

    def forget(self, run: TrainingRun) -> None:
        """Close the environments of a run that is over."""
        task = self._tasks.pop(run.spec.run_id, None)
        if task is not None:
            task.close()

    def close(self) -> None:
        """Close the environments."""
        for task in self._tasks.values():
            task.close()
