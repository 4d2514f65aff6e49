"""What is kept of a round of an adaptive sweep: what was asked for, and what was known before it."""

from dataclasses import dataclass

from tdscale.design.belief import Regret
from tdscale.design.candidates import CellRequest


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """A round.

    Attributes:
        number: from 1.
        cells: that it asked for.
        spent: env steps that the sweep had taken before it.
        expected_env_steps: that its cells were expected to take.
        regret: of the choice of B and η before it; None where no surface could be fitted yet.
        expected_regret: after it, where there was one before it.
    """

    number: int
    cells: tuple[CellRequest, ...]
    spent: float
    expected_env_steps: float
    regret: Regret | None
    expected_regret: float | None
