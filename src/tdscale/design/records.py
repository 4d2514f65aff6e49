"""What is kept of an adaptive design's rounds."""

from dataclasses import dataclass

from tdscale.design.belief import Regret
from tdscale.design.candidates import CellRequest


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
