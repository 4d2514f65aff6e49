"""`Plan`: the answer to a planning problem, with its intervals and what to know about it."""

from dataclasses import dataclass
from typing import Any, Literal

from tdscale.analysis.estimate import Estimate, short

Problem = Literal["data", "compute", "budget"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An answer to P1, P2 or P3.

    Attributes:
        problem: which limit was given: "compute" (P1, least data), "data" (P2, least compute) or "budget" (P3, highest return).
        limit: C0 or F0 in FLOPs, or D0 in env steps.
        data_cost: δ, for "budget".
        task: None for the domain.
        feasible: False where nothing meets the limit; `reason` says why, and the rest is None.
        threshold: J, normalised return, that will be reached. None where the budget goes beyond the highest threshold fitted:
            the return there is not predicted.
        utd, batch_size, learning_rate: what to run, B rounded; utd_range, the interval of the best σ.
        data, compute, budget: what it takes at that σ; budget where δ is known.
        binding: what keeps the answer from being better, in words.
        extrapolation: by what factor σ lies outside what was run; 1 inside.
        notes: what the reader should know.
    """

    problem: Problem
    limit: float
    data_cost: float | None
    task: str | None
    feasible: bool
    reason: str = ""
    threshold: float | None = None
    utd: float | None = None
    utd_range: Estimate | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    data: Estimate | None = None
    compute: Estimate | None = None
    budget: Estimate | None = None
    binding: str = ""
    extrapolation: float = 1.0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; estimates as {value, low, high, level}."""
        values: dict[str, Any] = dict(self.__dict__)
        return {
            key: value.to_dict() if isinstance(value, Estimate) else list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
        }

    def sentence(self) -> str:
        """The answer in words."""
        if not self.feasible:
            return f"No plan: {self.reason}"
        assert self.utd is not None
        assert self.data is not None
        reach = (
            f"return {short(self.threshold)} (normalised)" if self.threshold is not None else "a return beyond the highest threshold fitted"
        )
        settings = [f"σ = {short(self.utd)}"]
        if self.batch_size is not None:
            settings.append(f"B = {self.batch_size}")
        if self.learning_rate is not None:
            settings.append(f"η = {short(self.learning_rate)}")
        cost = [f"D = {self.data} env steps"]
        if self.compute is not None:
            cost.append(f"C = {self.compute} FLOPs")
        if self.budget is not None:
            cost.append(f"F = {self.budget}")
        return f"For {reach} run {', '.join(settings)}: {', '.join(cost)}. {self.binding}"
