"""`Plan`: the answer to a planning problem, with its intervals, its second best and what to know about it."""

from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

from tdscale.analysis.compute import UNIT_NAMES, Accounting, ComputeUnit, compute_name
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.fitted_laws import NOT_OPTIMISED, Quantity, Tolerated

Problem = Literal["data", "compute", "budget"]


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another σ than the plan's, and what it takes.

    Attributes:
        label: which one: "half σ", "twice σ", "nearest σ run", "90 % sure" (the best σ that keeps the limit in 90 % of the draws).
        utd, batch_size: as in the plan.
        data, compute, budget: as in the plan.
        within_limit: whether the estimate keeps the plan's limit.
    """

    label: str
    utd: float
    batch_size: int | None
    data: Estimate
    compute: Estimate | None
    budget: Estimate | None
    within_limit: bool


@dataclass(frozen=True, kw_only=True)
class Relaxed:
    """The answer with a limit 10 % higher: what that would buy. `threshold` as in the plan."""

    limit: float
    utd: float
    data: float
    compute: float | None
    threshold: float | None


@dataclass(frozen=True, kw_only=True)
class BySize:
    """The same question's answer with the network of one size; fields as in the plan, None where there is no answer."""

    size: str
    model_size: float
    feasible: bool
    threshold: float | None
    utd: float | None
    batch_size: int | None
    data: Estimate | None
    compute: Estimate | None
    budget: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An answer to P1, P2 or P3.

    Attributes:
        problem: which limit was given: "compute" (P1, least data), "data" (P2, least compute) or "budget" (P3, highest return).
        limit: C0 or F0 in `unit`, or D0 in env steps.
        data_cost: δ in `unit` per env step, None where it is not known; data_cost_source: "given" or "measured".
        task: None for the domain.
        unit, accounting: of C and F.
        feasible: whether there is an answer. If not, `reason` says why, and what follows is None.
        refused: there is none because the law can't tell, not because nothing meets the limit.
        chance: share of the bootstrap draws that keep the limit at this σ and B; where nothing meets it, in which some σ does.
        threshold: J, normalised return, that will be reached. None where the budget goes beyond the highest threshold fitted:
            the return there is not predicted.
        threshold_range: for "budget", the interval of the J that the budget reaches.
        utd, batch_size, learning_rate: what to run, B rounded.
        utd_range: interval of the best σ; batch_size_range, learning_rate_range: B*(σ) and η*(σ) at `utd`, unrounded, as estimates.
        not_optimised: of "batch_size" and "learning_rate", those that no sweep chose: their laws go through what the runs used.
        batch_size_tolerated, learning_rate_tolerated: the range at `utd` that costs at most 5 % more data; None without a sweep.
        data, compute, budget: what it takes at that σ and B; budget where δ is known.
        regret: for "budget", F at `utd` over the least F of each draw, minus 1: what the uncertainty of σ costs.
        binding: what keeps the answer from being better, in words.
        extrapolation: by what factor σ lies outside what was run; 1 inside.
        alternatives: the second best.
        relaxed: what 10 % more would buy; None where the limit does not bind.
        notes: what the reader should know.
        size, model_size: the network, where the study has sizes: its name, or what makes it, and N; by_size: the answers of the others.
    """

    problem: Problem
    limit: float
    data_cost: float | None
    task: str | None
    feasible: bool
    refused: bool = False
    reason: str = ""
    data_cost_source: Literal["given", "measured"] = "given"
    unit: ComputeUnit = "flops"
    accounting: Accounting | None = None
    chance: float | None = None
    threshold: float | None = None
    threshold_range: Estimate | None = None
    utd: float | None = None
    utd_range: Estimate | None = None
    batch_size: int | None = None
    batch_size_range: Estimate | None = None
    learning_rate: float | None = None
    learning_rate_range: Estimate | None = None
    not_optimised: tuple[Quantity, ...] = ()
    batch_size_tolerated: Tolerated | None = None
    learning_rate_tolerated: Tolerated | None = None
    data: Estimate | None = None
    compute: Estimate | None = None
    budget: Estimate | None = None
    regret: Estimate | None = None
    binding: str = ""
    extrapolation: float = 1.0
    alternatives: tuple[Alternative, ...] = ()
    relaxed: Relaxed | None = None
    notes: tuple[str, ...] = ()
    size: str | None = None
    model_size: float | None = None
    by_size: tuple[BySize, ...] = ()

    @property
    def replayed(self) -> float | None:
        """Transitions replayed for each env step, σ·B; None where B is not known."""
        return None if self.utd is None or self.batch_size is None else self.utd * self.batch_size

    @property
    def compute_name(self) -> str:
        """Unit and accounting of C: "FLOPs, counted"."""
        return compute_name(self.unit, self.accounting)

    @property
    def unit_name(self) -> str:
        """Unit of C and F, in words."""
        return UNIT_NAMES[self.unit]

    def shown(self, quantity: Quantity) -> str:
        """B*(σ) or η*(σ) at `utd`, as people read it; empty where there is no such law."""
        value: Estimate | None = getattr(self, f"{quantity}_range")
        if value is None:
            return ""
        return f"{short(value.value)} ({NOT_OPTIMISED})" if quantity in self.not_optimised else str(value)

    def run_with(self, quantity: Quantity) -> str:
        """B, rounded, or η, as people read it; "–" where it is not known."""
        value = self.batch_size if quantity == "batch_size" else self.learning_rate
        if value is None:
            return "–"
        return (str(value) if quantity == "batch_size" else short(value)) + (
            f" ({NOT_OPTIMISED})" if quantity in self.not_optimised else ""
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; estimates as {value, low, high, level}. The keys of sizes stand there for a study that has some."""
        of_sizes = ("size", "model_size", "by_size")
        return {key: _plain(value) for key, value in self.__dict__.items() if self.size is not None or key not in of_sizes}

    def _repr_html_(self) -> str:
        rows = {"UTD ratio": self.utd_range, "batch size": self.batch_size, "learning rate": self.learning_rate_range}
        rows |= {"env steps": self.data, f"compute ({self.compute_name})": self.compute}
        shown = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items() if value is not None
        )
        return f"<p>{escape(self.sentence())}</p><table>{shown}</table>"

    def sentence(self) -> str:
        """The answer in words."""
        if not self.feasible:
            return f"{'No answer' if self.refused else 'No plan'}: {self.reason}"
        assert self.utd is not None
        assert self.data is not None
        reach = (
            f"return {short(self.threshold)} (normalised)" if self.threshold is not None else "a return beyond the highest threshold fitted"
        )
        settings = [f"σ = {short(self.utd)}"]
        if self.model_size is not None:
            settings.insert(0, f"size {self.size} (N = {short(self.model_size)})")
        if self.batch_size is not None:
            settings.append(f"B = {self.run_with('batch_size')}")
        if self.learning_rate is not None:
            settings.append(f"η = {self.run_with('learning_rate')}")
        cost = [f"D = {self.data} env steps"]
        if self.compute is not None:
            cost.append(f"C = {self.compute} {self.compute_name}")
        if self.budget is not None:
            cost.append(f"F = {self.budget} {self.unit_name}")
        return f"For {reach} run {', '.join(settings)}: {', '.join(cost)}. {self.binding}"


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate | Tolerated):
        return value.to_dict()
    if isinstance(value, Alternative | BySize):
        return {key: _plain(item) for key, item in value.__dict__.items()}
    if isinstance(value, Relaxed):
        return asdict(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
