"""`Plan`: the answer to a planning problem, with its intervals, its second best and what to know about it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

import numpy as np

from tdscale.analysis.compute import UNIT_NAMES, Accounting, ComputeUnit, compute_name
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.fitted_laws import NOT_OPTIMISED, Quantity, Tolerated

Problem = Literal["data", "compute", "budget"]
LEAST: dict[Problem, str] = {"data": "compute", "compute": "data", "budget": "budget"}  # what is to be least


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another σ than the plan's, and what it takes.

    Attributes:
        label: which one: "smaller UTD", "larger UTD" (the nearest to half and to twice), "nearest UTD run", "even chance" (the answer
            by the estimate alone), "90% sure" (the best that meets the limit in 90 % of the draws).
        utd, batch_size: as in the plan.
        data, compute, budget: as in the plan.
        within_limit: whether the limit is met with the chance that was asked for.
        chance: share of the draws that meet it; None without draws.
    """

    label: str
    utd: float
    batch_size: int | None
    data: Estimate
    compute: Estimate | None
    budget: Estimate | None
    within_limit: bool
    chance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Relaxed:
    """The answer to an easier question, a limit 10 % higher or an even chance: what that would buy. `threshold` as in the plan."""

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
        sure: the chance with which the limit was to be met; 0.5: by the estimate alone.
        chance: share of the bootstrap draws that meet the limit at this σ and B; where there is no plan, the best chance to be had, and
            `chance_utd` the σ that has it.
        threshold: J, normalised return, that will be reached. None where the budget goes beyond the highest threshold fitted:
            the return there is not predicted.
        raw_threshold: J in the task's own units, where one task is asked about and its scale is known.
        threshold_range: for "budget", the interval of the J that the budget reaches.
        utd, batch_size, learning_rate: what to run, σ one that trains as it stands, B rounded.
        utd_exact: the best σ, were any number allowed; rounding_cost: by what share `utd` needs more of what was to be least.
        utd_range: interval of the best σ; batch_size_range, learning_rate_range: B*(σ) and η*(σ) at `utd`, unrounded, as estimates.
        not_optimised: of "batch_size" and "learning_rate", those that no sweep chose: their laws go through what the runs used.
        batch_size_tolerated, learning_rate_tolerated: the range at `utd` that costs at most 5 % more data; None without a sweep.
        data, compute, budget: what it takes at that σ and B; budget where δ is known.
        regret: for "budget", F at `utd` over the least F of each draw, minus 1: what the uncertainty of σ costs.
        binding: what keeps the answer from being better, in words.
        extrapolation: by what factor σ lies outside what was run; 1 inside.
        alternatives: the second best.
        relaxed: what 10 % more would buy; None where it buys nothing.
        even_chance: the answer with an even chance, `sure` = 0.5; price_of_sure: by what share the plan needs more of what was to be
            least; None for "budget", whose price is the lower J.
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
    sure: float = 0.5
    chance: float | None = None
    chance_utd: float | None = None
    threshold: float | None = None
    raw_threshold: float | None = None
    threshold_range: Estimate | None = None
    utd: float | None = None
    utd_range: Estimate | None = None
    utd_exact: float | None = None
    rounding_cost: float | None = None
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
    even_chance: Relaxed | None = None
    price_of_sure: float | None = None
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

    def ratio(self) -> str:
        """σ with the interval of the best σ, as people read it; "–" where there is no plan."""
        if self.utd is None:
            return "–"
        found = self.utd_range
        if found is None or not found.low < found.high:
            return name_of_ratio(self.utd)
        return f"{name_of_ratio(self.utd)} [{short(found.low)}, {short(found.high)}]"

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
        """The answer in one line: what to run, what it reaches, what it takes, and with what chance the limit is met."""
        if not self.feasible:
            return f"{'no answer' if self.refused else 'no plan'}: {self.reason}{self._best_chance()}"
        assert self.utd is not None
        assert self.data is not None
        settings = [f"UTD {name_of_ratio(self.utd)}{_between(self.utd_range, name_of_ratio)}"]
        if self.model_size is not None:
            settings.insert(0, f"size {self.size} (N = {plain_number(self.model_size)})")
        if self.batch_size is not None:
            settings.append(f"batch {self.batch_size}")
        if self.learning_rate is not None:
            settings.append(f"lr {plain_number(self.learning_rate)}")
        takes = f"in {plain_number(self.data.value)} env steps{_between(self.data, plain_number)}"
        if self.compute is not None:
            takes += f", {plain_number(self.compute.value)} {self.unit_name}"
        if self.budget is not None and self.problem == "budget":
            takes += f", F = {plain_number(self.budget.value)} {self.unit_name}"
        return f"{', '.join(settings)}: {self.reached} {takes}{self.met}"

    @property
    def reached(self) -> str:
        """The return that will be reached, in words."""
        if self.threshold is None:
            return "a return beyond the highest threshold fitted"
        raw = f" (raw {self.raw_threshold:.4g})" if self.raw_threshold is not None else ""
        return f"return {self.threshold:.4g}{raw}"

    @property
    def met(self) -> str:
        """With what chance the limit is met, as the end of a sentence."""
        return "" if self.chance is None else f"; the limit is met with a chance of {percent(self.chance)}"

    def _best_chance(self) -> str:
        if not self.chance or self.chance_utd is None or self.refused:
            return ""
        best = f"; the best chance to be had is {percent(self.chance)}, at UTD {name_of_ratio(self.chance_utd)}"
        return best + (f" (--sure {np.floor(100 * self.chance) / 100:.2g} has a plan)" if 0.5 < self.chance < self.sure else "")


def sure_in_words(plan: Plan) -> str:
    """What being sure costs, against an even chance; empty where there is nothing to say."""
    even = plan.even_chance
    if even is None:
        return ""
    at = f"UTD {name_of_ratio(even.utd)}"
    if plan.problem == "budget":
        return f"With an even chance the budget would reach J = {even.threshold or 0:.4g}, at {at}."
    if not plan.price_of_sure or plan.price_of_sure < 0.0005:
        return ""
    return f"Being {percent(plan.sure)} sure costs {plan.price_of_sure:.1%} more {LEAST[plan.problem]} than an even chance, at {at}."


def percent(share: float) -> str:
    """A share as a percentage."""
    return "less than 1 %" if 0 < share < 0.01 else f"{int(100 * share + 1e-6)} %"  # never up: 79.5 % is not 80 %


def _between(found: Estimate | None, say: Callable[[float], str]) -> str:
    """The ends of an interval, in brackets; nothing where there is none."""
    if found is None or not (np.isfinite(found.low) and np.isfinite(found.high)):
        return ""
    low, high = say(found.low), say(found.high)
    return f" ({low} to {high})" if low != high else ""


def name_of_ratio(utd: float) -> str:
    """A UTD ratio as people write it: 6, 1.5, 1/4."""
    inverse = 1 / utd
    if utd < 1 and abs(inverse - round(inverse)) < 1e-6 * inverse:
        return f"1/{round(inverse)}"
    return f"{utd:.3g}"


def plain_number(value: float) -> str:
    """A number as it can be typed: 281k, 1.5M, 4.8e14, 2.8e-4."""
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-2:
        return f"{value:.1e}".replace("e+", "e").replace("e0", "e").replace("e-0", "e-")
    for unit, scale in (("M", 1e6), ("k", 1e3)):
        if size >= 0.9995 * scale:
            return f"{float(f'{value / scale:.3g}'):g}{unit}"
    return f"{value:.3g}"


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate | Tolerated):
        return value.to_dict()
    if isinstance(value, Alternative | BySize):
        return {key: _plain(item) for key, item in value.__dict__.items()}
    if isinstance(value, Relaxed):
        return asdict(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
