"""What a fit is asked for."""

from dataclasses import dataclass
from typing import Literal

from tdscale.analysis.compute import ComputeUnit
from tdscale.analysis.laws import PowerLaw


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The questions and the ways of a fit.

    Attributes:
        study: name of the study.
        tasks: the tasks, in the order of reports.
        thresholds: J, rising, normalised return.
        method: "default", or "paper" for the authors' procedure.
        data_cost: δ in the compute unit per env step, or "measured"; None leaves the budget law out.
        accounting: how compute is counted.
        compute_unit: what C is told in.
        model_size: N, for accounting "paper".
        published: B*(σ) and η*(σ) known from elsewhere, for method "paper" where there is no sweep: the authors' compute and
            budget have the B of their own laws, not the rounded one that their runs used.
        n_draws: bootstrap replicates.
        seed: of the random draws.
        where: conditions on settings by which the runs were chosen, for example ("size=m",).
    """

    study: str
    tasks: tuple[str, ...]
    thresholds: tuple[float, ...]
    method: Literal["default", "paper"] = "default"
    data_cost: float | Literal["measured"] | None = None
    accounting: Literal["counted", "paper"] = "counted"
    compute_unit: ComputeUnit = "flops"
    model_size: float | None = None
    published: tuple[PowerLaw, PowerLaw] | None = None
    n_draws: int = 200
    seed: int = 0
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n_draws < 1:
            raise ValueError(f"n_draws is {self.n_draws}; there must be at least 1 bootstrap draw, better 100")

    @property
    def paper(self) -> bool:
        """Whether the authors' procedure is asked for."""
        return self.method == "paper"

    @property
    def asked(self) -> str:
        """What a study file asks for, as text: laws that were asked for otherwise are not this study's any more."""
        published = [(law.exponent, *law.coefficients.tolist()) for law in self.published or ()]
        return repr((self.tasks, self.thresholds, self.data_cost, self.accounting, self.compute_unit, self.model_size, published))
