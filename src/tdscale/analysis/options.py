"""What a fit is asked for."""

from dataclasses import dataclass
from typing import Literal

from tdscale.analysis.compute import Accounting


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Attributes:
    study: name of the study.
    tasks: the tasks, in the order of reports.
    thresholds: J, rising, normalised return.
    method: "default", or "paper" for the authors' procedure.
    data_cost: δ in FLOPs per env step; None leaves the budget law out.
    accounting: how FLOPs are counted.
    model_size: N, for accounting "paper".
    n_draws: bootstrap replicates.
    seed: of the random draws.
    """

    study: str
    tasks: tuple[str, ...]
    thresholds: tuple[float, ...]
    method: Literal["default", "paper"] = "default"
    data_cost: float | None = None
    accounting: Accounting = "counted"
    model_size: float | None = None
    n_draws: int = 200
    seed: int = 0

    @property
    def paper(self) -> bool:
        """Whether the authors' procedure is asked for."""
        return self.method == "paper"
