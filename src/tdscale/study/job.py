"""`CellJob`: seeds of one cell that are trained together, and where they stop."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from tdscale.study.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class StopTarget:
    """A cell goes on for `margin`·(env steps so far) after its mean return has crossed `return_threshold`.

    Attributes:
        return_threshold: in the task's own (raw) units.
        margin: share of further env steps.
    """

    return_threshold: float
    margin: float


@dataclass(frozen=True, kw_only=True)
class CellJob:
    """Seeds of one cell to be trained together.

    Attributes:
        specs: alike but for the seed.
        env_steps: the limit per seed, or, without a target, the step to reach exactly.
        target: where to stop before it; None runs every seed to the limit.
    """

    specs: tuple[RunSpec, ...]
    env_steps: int
    target: StopTarget | None

    def __post_init__(self) -> None:
        if len({spec.cell_id for spec in self.specs}) != 1 or len({spec.run_id for spec in self.specs}) != len(self.specs):
            raise ValueError("a cell is made of specs which differ in their seeds and in nothing else")

    @property
    def shape(self) -> tuple[str, int]:
        """Jobs of one shape share a compiled program."""
        return self.specs[0].task, self.specs[0].batch_size

    @property
    def batch_id(self) -> str:
        """Jobs with one can be trained together on a GPU."""
        return self.specs[0].batch_id

    @property
    def cost(self) -> float:
        """Rough relative time if it runs to its limit: env steps, and updates that grow with B."""
        spec = self.specs[0]
        return len(self.specs) * self.env_steps * (0.3 + (spec.utd + 1.0) * (0.5 + spec.batch_size / 128))

    @property
    def environments(self) -> int:
        """Of each run, stepped together."""
        return int(self.specs[0].settings.get("environments", 1))

    @property
    def last_env_step(self) -> int:
        """Where a run stands at the limit: at a whole step of its environments."""
        return ceil(self.env_steps / self.environments) * self.environments

    def describe(self) -> str:
        """One line for progress displays."""
        return self.specs[0].describe()

    def to_message(self) -> dict[str, Any]:
        """As JSON types, for a worker."""
        target = None if self.target is None else asdict(self.target)
        return {"specs": [spec.to_dict() for spec in self.specs], "env_steps": self.env_steps, "target": target}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> "CellJob":
        """The inverse of `to_message`."""
        target = message["target"]
        return cls(
            specs=tuple(RunSpec.from_dict(values) for values in message["specs"]),
            env_steps=int(message["env_steps"]),
            target=None if target is None else StopTarget(**target),
        )
