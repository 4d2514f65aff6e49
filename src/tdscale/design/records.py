"""What an adaptive design asks for, and what is kept of its rounds. Plain values: nothing that fits is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Key = tuple[str, float, int, float]  # task, σ, B, η of a cell
SizedKey = tuple[str, float, int, float, str]  # and its size, in a study with sizes
CellKey = Key | SizedKey
SizedPlace = tuple[str, float] | tuple[str, float, str]  # task, σ, and with sizes the size
# cost of an env step by (task, σ, B), or (task, σ, B, size) with sizes
StepPrices = Mapping[tuple[str, float, int], float] | Mapping[tuple[str, float, int, str], float]


@dataclass(frozen=True, kw_only=True)
class CellRequest:
    """A cell that is to be run.

    Attributes:
        task, utd, batch_size, learning_rate: which one.
        seeds: in all, with those that it has already.
        env_steps: where it is cut if it has not reached the threshold by then.
    """

    task: str
    utd: float
    batch_size: int
    learning_rate: float
    seeds: int
    env_steps: int

    @property
    def size(self) -> str:
        """Name of its network's size; empty in a study without sizes."""
        return ""

    @property
    def key(self) -> Key:
        """Which cell of its size it is."""
        return self.task, self.utd, self.batch_size, self.learning_rate

    @property
    def cell(self) -> CellKey:
        """Which cell it is: with sizes the size comes last."""
        return (*self.key, self.size) if self.size else self.key


@dataclass(frozen=True, kw_only=True)
class SizedRequest(CellRequest):
    """A cell of a study with sizes: a class of its own, so that rounds.json of a study without names none."""

    size: str = ""  # without a default it would be the property of a plain request


def request_of(values: Mapping[str, Any]) -> CellRequest:
    """A request from its fields by name, as `dataclasses.asdict` gives them. Raises TypeError where they are none."""
    return SizedRequest(**values) if values.get("size") else CellRequest(**{k: v for k, v in values.items() if k != "size"})


@dataclass(frozen=True, kw_only=True)
class Regret:
    """How much more data the choice of B and η costs than the best one, as log D above it, mean over tasks and σ.

    Attributes:
        expected: mean of the posterior draws.
        bound: it is below this with a chance of 80 %.
    """

    expected: float
    bound: float


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """A round as it was asked for.

    Attributes:
        number: from 1.
        cells: what was asked for.
        spent: env steps that the stage had taken before it.
        expected_env_steps: that it was expected to take.
        regret: of the choice of B and η before it; None where there was no surface yet.
        expected_regret: after it.
        precision: of stage 2, in place of the regret: half the 80 % interval of log D where it is widest; expected_precision: after.
    """

    number: int
    cells: tuple[CellRequest, ...]
    spent: float
    expected_env_steps: float
    regret: Regret | None = None
    expected_regret: float | None = None
    precision: float | None = None
    expected_precision: float | None = None
