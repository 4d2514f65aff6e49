"""`Comparison`: studies side by side, each at its own best σ, B*(σ), η*(σ): the result and how it reads."""

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tdscale.analysis.compute import UNIT_NAMES, Accounting, ComputeUnit, compute_name
from tdscale.analysis.estimate import LEVEL, Estimate, short

if TYPE_CHECKING:
    import pandas as pd

Measure = Literal["data", "compute", "return", "budget"]
MEASURES: tuple[Measure, ...] = ("data", "compute", "return", "budget")
# what is compared, and what is the same for all
_NEEDED = {"data": "env steps", "compute": "compute", "budget": "budget"}
_EQUAL = {"data": "compute", "compute": "data", "return": "budget", "budget": "return"}


@dataclass(frozen=True, kw_only=True)
class Point:
    """The studies at one budget, or one return.

    Attributes:
        at: what is the same for all: C for "data", D for "compute", F for "return", J for "budget".
        values: what each study needs there, D, C or F, or the J that it reaches. An infinite value: it can't at any σ.
        utd: best σ of each, NaN for "return".
        extrapolation: by what factor that σ lies outside the σ that the study ran; 1 inside.
        ratio: each study's value over the first's, itself with 1; of "return" the difference instead, itself with 0.
        better: chance that each needs less than the first (of "return": reaches more); draws that say "the same" count half. None where
            a study has no draws.
        best: chance that each needs the least of all, or reaches the most; they sum to 1. None likewise.
    """

    at: float
    values: tuple[Estimate, ...]
    utd: tuple[float, ...]
    extrapolation: tuple[float, ...]
    ratio: tuple[Estimate, ...]
    better: tuple[float, ...] | None
    best: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One measure, of a task or over tasks.

    Attributes:
        measure: "data" at equal compute, "compute" at equal data, "return" at equal budgets, "budget" for equal returns.
        task: None: over the tasks.
        points: along the budgets that the studies share; empty where there is a refusal.
        shown: index of the points of a short table.
        refusal: why there is no answer, in a sentence; else "".
    """

    measure: Measure
    task: str | None
    points: tuple[Point, ...] = ()
    shown: tuple[int, ...] = ()
    refusal: str = ""

    @property
    def middle(self) -> Point:
        """The point in the middle; of "budget" the last one, the highest return."""
        return self.points[-1 if self.measure == "budget" else self.shown[len(self.shown) // 2]]

    @property
    def outside(self) -> float:
        """By what factor the σ lie outside those that were run, at most; 1 where nothing is extrapolated."""
        return max((factor for point in self.points for factor in point.extrapolation if np.isfinite(factor)), default=1.0)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Studies side by side.

    Attributes:
        names: of the studies; the first is what the others are compared with.
        tasks: that all of them ran and that reach the return in all of them.
        threshold: J of "data" and "compute", normalised return.
        data_cost: δ, the same for all; None where none is known.
        unit, accounting: of C and F.
        compared: over the tasks first, then of each task; each with all measures.
        notes: what the reader should know.
        same_runs: whether two of the studies have the same runs.
    """

    names: tuple[str, ...]
    tasks: tuple[str, ...]
    threshold: float
    data_cost: float | None
    unit: ComputeUnit
    accounting: Accounting | None
    compared: tuple[Contrast, ...]
    notes: tuple[str, ...] = ()
    same_runs: bool = False

    @property
    def compute_name(self) -> str:
        """Unit and accounting of C: "FLOPs, counted"."""
        return compute_name(self.unit, self.accounting)

    def of(self, measure: Measure, task: str | None = None) -> Contrast:
        """One measure, of a task or (None) over the tasks. Raises KeyError where it was not asked for."""
        for one in self.compared:
            if one.measure == measure and one.task == (self.tasks[0] if task is None and len(self.tasks) == 1 else task):
                return one
        raise KeyError((measure, task))

    def at_equal(self, measure: Measure, point: Point) -> str:
        """What is equal, as people read it."""
        if measure == "data":
            return f"equal compute, {short(point.at)} {UNIT_NAMES[self.unit]}"
        if measure == "compute":
            return f"equal data, {short(point.at)} env steps"
        return f"equal budgets, {short(point.at)} {UNIT_NAMES[self.unit]}" if measure == "return" else f"return {short(point.at)}"

    def sentence(self) -> str:
        """The answer in a sentence: env steps at equal compute, in the middle of what the studies share; else the first that is known."""
        scope = f"on {self.tasks[0]}" if len(self.tasks) == 1 else f"over {len(self.tasks)} tasks"
        for measure in ("data", "compute", "budget", "return"):
            one = self.of(measure)
            if one.refusal:
                continue
            return "; ".join(self._words(one, index) for index in range(1, len(self.names))) + f"; {scope}"
        return "no answer: " + "; ".join(dict.fromkeys(self.of(measure).refusal for measure in MEASURES))

    def _words(self, one: Contrast, index: int) -> str:
        point, first, name = one.middle, self.names[0], self.names[index]
        ratio = point.ratio[index]
        sure = "" if point.better is None else f"; chance that it {{}} {percent(point.better[index])}"
        if one.measure == "return":
            more = f"{abs(ratio.value):.0f} {'less' if ratio.value < 0 else 'more'} of the normalised return than {first}"
            interval = "" if point.better is None else f" ({interval_of(ratio)}{sure.format('reaches more')})"
            return f"{name} reaches {more} at {self.at_equal('return', point)}{interval}"
        interval = "" if point.better is None else f" ({interval_of(ratio)}{sure.format('needs less')})"
        start = f"{name} needs {short(ratio.value)} times the {_NEEDED[one.measure]} of {first}"
        where = "for" if one.measure == "budget" else "at"
        return f"{start} {where} {self.at_equal(one.measure, point)}{interval}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; estimates as {value, low, high, level}."""
        return {
            "answer": self.sentence(),
            "studies": list(self.names),
            "tasks": list(self.tasks),
            "threshold": self.threshold,
            "data_cost": self.data_cost,
            "unit": self.unit,
            "accounting": self.accounting,
            "same_runs": self.same_runs,
            "compared": [
                {
                    "measure": one.measure,
                    "at_equal": _EQUAL[one.measure],
                    "task": one.task,
                    "refusal": one.refusal or None,
                    "points": [self._point(point) for point in one.points],
                }
                for one in self.compared
            ],
            "notes": list(self.notes),
        }

    def _point(self, point: Point) -> dict[str, Any]:
        return {
            "at": point.at,
            "studies": [
                {
                    "study": name,
                    "value": point.values[index].to_dict(),
                    "utd": _finite(point.utd[index]),
                    "extrapolation": _finite(point.extrapolation[index]),
                    "ratio": point.ratio[index].to_dict(),
                    "better": None if point.better is None else point.better[index],
                    "best": None if point.best is None else point.best[index],
                }
                for index, name in enumerate(self.names)
            ],
        }

    def to_frame(self) -> "pd.DataFrame":
        """A row for each measure, task (empty: over the tasks), point and study. `ratio` of "return" is a difference."""
        import pandas as pd

        rows = []
        for one in self.compared:
            for point in one.points:
                for index, name in enumerate(self.names):
                    value, ratio = point.values[index], point.ratio[index]
                    row: dict[str, Any] = {"measure": one.measure, "task": one.task or "", "at_equal": _EQUAL[one.measure], "at": point.at}
                    row |= {"study": name, "value": value.value, "low": value.low, "high": value.high, "utd": point.utd[index]}
                    row |= {"extrapolation": point.extrapolation[index], "ratio": ratio.value, "ratio_low": ratio.low}
                    row |= {"ratio_high": ratio.high, "better": np.nan if point.better is None else point.better[index]}
                    rows.append(row | {"best": np.nan if point.best is None else point.best[index]})
        columns = ["measure", "task", "at_equal", "at", "study", "value", "low", "high", "utd", "extrapolation"]
        return pd.DataFrame(rows, columns=[*columns, "ratio", "ratio_low", "ratio_high", "better", "best"])

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        kept = frame[frame["task"] == (self.tasks[0] if len(self.tasks) == 1 else "")]
        shown = [point for one in self.compared for point in (one.points[index].at for index in one.shown)]
        table = kept[kept["at"].isin(shown)].to_html(index=False, float_format=lambda value: short(float(value)), na_rep="–")
        return f"<p>{escape(self.sentence())}</p>{table}"


def percent(chance: float) -> str:
    """A share of the draws; they are too few to tell 0 % or 100 %."""
    return "over 99 %" if chance > 0.994 else "under 1 %" if chance < 0.006 else f"{100 * chance:.0f} %"


def interval_of(ratio: Estimate) -> str:
    """ "0.5 to 0.8"."""
    return f"{short(ratio.low)} to {short(ratio.high)}, {LEVEL:.0%} interval"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
