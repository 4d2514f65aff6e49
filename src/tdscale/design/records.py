"""What is kept of an adaptive design's rounds."""

from dataclasses import dataclass

from tdscale.design.belief import Regret
from tdscale.design.candidates import Candidates, CellRequest


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
    """

    number: int
    cells: tuple[CellRequest, ...]
    spent: float
    expected_env_steps: float
    regret: Regret | None = None
    expected_regret: float | None = None


@dataclass(frozen=True, kw_only=True)
class AdaptiveSweep:
    """An adaptive sweep as it was run.

    Attributes:
        candidates: what could be run.
        rounds: in order.
        goal: expected regret at which it ends.
        ended: why it has ended, in a sentence; empty where it goes on.
    """

    candidates: Candidates
    rounds: tuple[RoundRecord, ...]
    goal: float
    ended: str = ""
