"""What is trained: `RunSpec`, all that decides one run's result, and `CellJob`, seeds of one cell that are trained together."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from math import ceil
from types import MappingProxyType
from typing import Any, Literal

Aggregate = Literal["mean", "iqm", "median"]  # what is taken over the seeds of a cell
Stage = Literal["sweep", "scaling", "baseline", "confirm"]
STAGES: tuple[Stage, ...] = ("sweep", "scaling", "baseline", "confirm")
# settings of tdscale's agents that say what is recorded of a run; its curve of returns does not depend on them
RECORDING = ("evaluation_interval", "evaluation_episodes", "diagnostics_interval")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run: an algorithm on a task at one (σ, B, η), with one seed.

    How long it is to run is not part of it, so a raised limit or threshold continues the same run. Returns are recorded
    as the task gives them: normalisation is part of the study, not of the run.

    Attributes:
        algorithm: name of the algorithm, for example "sac".
        suite: where the task comes from: "gymnasium", "dm_control", "tdscale", or "imported" for curves read from logs.
        task: name of the task within the suite, for example "HalfCheetah-v4" or "cartpole-swingup".
        utd: σ, critic updates per env step.
        batch_size: B, transitions per critic update.
        learning_rate: η.
        seed: of the run's random generator.
        stage: the workflow's step that asked for it ("sweep" chooses B and η, "scaling" measures D_J(σ) at the fitted
            ones, "baseline" keeps them constant, "confirm" checks a plan).
        reward_scale: factor on the rewards the learner sees; recorded returns are without it.
        settings: every other setting of the algorithm that decides the curve, by name.
        recording: settings of what is recorded beside the returns (`RECORDING`). Not part of the run's identity: specs that
            differ in it alone are equal and have one run_id.
    """

    algorithm: str
    suite: str
    task: str
    utd: float
    batch_size: int
    learning_rate: float
    seed: int
    stage: Stage
    reward_scale: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    recording: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "utd", float(self.utd))
        object.__setattr__(self, "learning_rate", float(self.learning_rate))
        object.__setattr__(self, "reward_scale", float(self.reward_scale))
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        object.__setattr__(self, "recording", MappingProxyType(dict(self.recording)))

    def __hash__(self) -> int:
        # settings, a mapping, has none
        return hash((self.algorithm, self.suite, self.task, self.utd, self.batch_size, self.learning_rate, self.seed, self.stage))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types, in the order of the fields; an empty `recording` is left out."""
        values = self._values() | ({"recording": dict(self.recording)} if self.recording else {})
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _NAMES} | {"settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunSpec":
        """The inverse of `to_dict`. Raises TypeError or KeyError on foreign keys."""
        return cls(**values)

    @cached_property
    def run_id(self) -> str:
        """16 hexadecimal digits of SHA-256 over the canonical form."""
        return _digest(self._values())

    @cached_property
    def cell_id(self) -> str:
        """The same for all seeds of one spec."""
        return _digest(self._values() | {"seed": None})

    @cached_property
    def batch_id(self) -> str:
        """The same for specs that differ in η, seed and stage alone: their runs can advance together on one device."""
        return _digest(self._values() | {"learning_rate": None, "seed": None, "stage": None})

    def describe(self) -> str:
        """One line for progress displays and messages."""
        return f"{self.task} σ={self.utd:g} B={self.batch_size} η={self.learning_rate:.3g}"


def with_size(text: str, size: str) -> str:
    """A run or cell as it is described, with the name of its size, where there is one."""
    return f"{text}, size {size}" if size else text


_NAMES = tuple(one.name for one in fields(RunSpec) if one.name != "recording")


def _digest(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class StopTarget:
    """A cell continues for `margin`·(env steps so far) after the return over its seeds has crossed `return_threshold`.

    Attributes:
        return_threshold: in the task's own (raw) units.
        margin: share of further env steps.
        aggregate: what is taken over the seeds.
    """

    return_threshold: float
    margin: float
    aggregate: Aggregate = "mean"


@dataclass(frozen=True, kw_only=True)
class CellJob:
    """Seeds of one cell to be trained together.

    Attributes:
        specs: alike but for the seed.
        env_steps: the limit per seed, or, without a target, the step to reach exactly.
        target: where to stop before it; None runs every seed to the limit.
        cut: where to stop if the target's return has not been crossed by then; None: at the limit.
        least: env steps that the cell is brought to in any case: where it stood before, with fewer seeds.
        size: name of its network's size, in a study with [sizes].
        weight: roughly what its updates take, per transition, in units of one of two layers of 256 (`sizes.update_weight`).
        likely_env_steps: where a seed will likely stop, for the time left; None where that is not known. No part of what is asked for.
    """

    specs: tuple[RunSpec, ...]
    env_steps: int
    target: StopTarget | None
    cut: int | None = None
    least: int = 0
    size: str = ""
    weight: float = 1.0
    likely_env_steps: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if len({spec.cell_id for spec in self.specs}) != 1 or len({spec.run_id for spec in self.specs}) != len(self.specs):
            raise ValueError("a cell is made of specs which differ in their seeds and in nothing else")

    @property
    def shape(self) -> tuple[str, int, str]:
        """Jobs of one shape share a compiled program."""
        return self.specs[0].task, self.specs[0].batch_size, self.size

    @property
    def batch_id(self) -> str:
        """Jobs with one can be trained together on a GPU."""
        return self.specs[0].batch_id

    @property
    def cost(self) -> float:
        """Rough relative time if it does not stop early: env steps, and updates that grow with B and with the network."""
        spec = self.specs[0]
        return len(self.specs) * self.most_env_steps * (0.3 + (spec.utd + 1.0) * (0.5 + self.weight * spec.batch_size / 128))

    @property
    def most_env_steps(self) -> int:
        """The last env step of a seed if the cell does not cross the target's return."""
        return self.env_steps if self.cut is None else min(max(self.cut, self.least), self.env_steps)

    @property
    def environments(self) -> int:
        """Number of environments of each run, stepped together."""
        return int(self.specs[0].settings.get("environments", 1))

    @property
    def last_env_step(self) -> int:
        """The last env step of a run at the limit: a whole step of its environments."""
        return ceil(self.env_steps / self.environments) * self.environments

    def describe(self) -> str:
        """One line for progress displays."""
        return with_size(self.specs[0].describe(), self.size)

    def to_message(self) -> dict[str, Any]:
        """As JSON types, for a worker."""
        target = None if self.target is None else asdict(self.target)
        values = {"specs": [spec.to_dict() for spec in self.specs], "env_steps": self.env_steps, "target": target}
        return values | {"cut": self.cut, "least": self.least}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> "CellJob":
        """The inverse of `to_message`."""
        target = message["target"]
        return cls(
            specs=tuple(RunSpec.from_dict(values) for values in message["specs"]),
            env_steps=int(message["env_steps"]),
            target=None if target is None else StopTarget(**target),
            cut=message["cut"],
            least=int(message["least"]),
        )
