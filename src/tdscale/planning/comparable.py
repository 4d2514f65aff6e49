"""Whether studies can be set side by side: what must agree, and one sentence about what does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.between import fitted_at
from tdscale.analysis.compute import UNIT_NAMES
from tdscale.analysis.estimate import short
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A study that is compared.

    Attributes:
        name: what it is called.
        laws: of the study, at one N.
        scales: by task, the raw returns that count as 0 and as 1000; None where they are not known.
        aggregate: what was taken over the seeds: "mean", "iqm" or "median"; None where it is not known.
    """

    name: str
    laws: ScalingLaws
    scales: Mapping[str, tuple[float, float]] | None = None
    aggregate: str | None = None

    @property
    def source(self) -> str:
        """Where its study file lies, for messages."""
        return f"{self.name}/study.toml"

    def law_at(self, threshold: float) -> DataLaw | None:
        """The law at J, or at a J that differs by rounding."""
        return fitted_at(self.laws, threshold)

    def reaches(self, law: DataLaw, task: str) -> bool:
        """Whether a run of the task reached the law's J, so that it tells D."""
        return bool(np.isfinite(law.predict([1.0], task)[0]))

    def has_same_runs(self, other: "Contestant") -> bool:
        """Whether the laws of both are fitted to the same curves."""
        if self.laws.inputs or other.laws.inputs:
            return self.laws.inputs == other.laws.inputs
        one, two = ([law.data for law in side.laws.data] for side in (self, other))
        return len(one) == len(two) and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, two, strict=True))


@dataclass(frozen=True, kw_only=True)
class Common:
    """What the studies share.

    Attributes:
        tasks: those that all of them ran.
        thresholds: J that all of them have laws at, rising.
        notes: what is left out of the comparison.
    """

    tasks: tuple[str, ...]
    thresholds: Floats
    notes: tuple[str, ...]


def common_ground(contestants: Sequence[Contestant], task: str | None = None) -> Common:
    """What can be compared.

    Args:
        contestants: two or more.
        task: the one that is asked about; None for all.

    Raises:
        UserError: where something must agree and does not: it says what, and which edit or option makes it agree.
    """
    if len(contestants) < 2:
        raise UserError("a comparison takes two studies or more; give each one's folder")
    first = contestants[0]
    for one in contestants:
        if not one.laws.data:
            raise UserError(f"{one.name}: no data law could be fitted, so there is nothing to compare; see the warnings of `tdscale fit`")
        if not one.laws.knows_compute:
            raise UserError(f"{one.name}: its compute is not known, so there is no frontier to compare; see the warnings of `tdscale fit`")
        _check_counting(first, one)
        if None not in (first.aggregate, one.aggregate) and first.aggregate != one.aggregate:
            raise UserError(
                f"{first.name} takes the {first.aggregate} over seeds, {one.name} the {one.aggregate}; give both study.toml files the same"
                " aggregate"
            )
    shared = [name for name in first.laws.tasks if all(name in one.laws.tasks for one in contestants)]
    if task is not None and task not in shared:
        missing = next(one.name for one in contestants if task not in one.laws.tasks)
        raise UserError(f"--task: there is no {task!r} in {missing}; all have {', '.join(shared) or 'no task in common'}")
    if not shared:
        lists = "; ".join(f"{one.name}: {', '.join(one.laws.tasks)}" for one in contestants)
        raise UserError(f"the studies have no task in common ({lists}); names of tasks must be the same in each study.toml")
    notes = []
    for one in contestants:
        alone = [name for name in one.laws.tasks if name not in shared]
        if alone and task is None:
            notes.append(f"left out, because not every study ran it: {_listed(alone)} (of {one.name})")
    tasks = tuple(shared if task is None else [task])
    for one, other in pairwise(contestants):
        _check_scales(one, other, tasks)
    unknown = [one.name for one in contestants if one.scales is None]
    if unknown:
        notes.append(
            f"{' and '.join(unknown)} does not say which raw returns count as 0 and 1000: check that they are those of the others"
            if len(unknown) < len(contestants)
            else "none of the studies says which raw returns count as 0 and 1000: check that they are the same"
        )
    thresholds = [law.threshold for law in first.laws.data if all(one.law_at(law.threshold) is not None for one in contestants)]
    if not thresholds:
        lists = "; ".join(f"{one.name}: {', '.join(f'{law.threshold:.4g}' for law in one.laws.data)}" for one in contestants)
        raise UserError(f"the studies have no law at the same return ({lists}); give each study.toml the same return_thresholds")
    return Common(tasks=tasks, thresholds=np.array(thresholds), notes=tuple(notes))


def _check_counting(first: Contestant, one: Contestant) -> None:
    units = first.laws.unit, one.laws.unit
    if units[0] != units[1]:
        raise UserError(
            f"{first.name} counts compute in {UNIT_NAMES[units[0]]}, {one.name} in {UNIT_NAMES[units[1]]}; --unit sets one unit for both"
        )
    ways = tuple(next(iter(side.laws.compute.values())).accounting for side in (first, one))
    if ways[0] != ways[1]:
        raise UserError(
            f'{first.name} has {_accounting(ways[0])}, {one.name} {_accounting(ways[1])}: set accounting = "{ways[0]}" in'
            f' {one.source} or "{ways[1]}" in {first.source}'
        )


def _accounting(way: str) -> str:
    return {"paper": "compute by the paper's accounting", "counted": "counted compute", "measured": "measured compute"}[way]


def _check_scales(one: Contestant, other: Contestant, tasks: Sequence[str]) -> None:
    if one.scales is None or other.scales is None:
        return
    for task in tasks:
        scales = one.scales[task], other.scales[task]
        for name, values in (("low", [scale[0] for scale in scales]), ("high", [scale[1] for scale in scales])):
            if abs(values[0] - values[1]) > 1e-6 * max(abs(values[0]), abs(values[1])):
                raise UserError(
                    f"task {task}: {name} is {_raw(values[0])} in {one.source} and {_raw(values[1])} in {other.source}, so that one J"
                    f" stands for two returns; give both the same {name}"
                )


def _raw(value: float) -> str:
    return f"{value:.10g}".replace("-", "−")


def price_for_all(contestants: Sequence[Contestant], data_cost: float | None) -> tuple[float | None, str]:
    """δ, the same for all, and what to say of it: the price given, or the studies' own where it is one; None where they differ."""
    if data_cost is not None:
        return data_cost, ""
    own = {one.name: one.laws.data_cost for one in contestants if one.laws.data_cost is not None}
    measured = any(one.laws.data_cost_source == "measured" for one in contestants)
    if not own:
        return None, "no study has a price of an env step (data_cost); give --data-cost"
    values = list(own.values())
    if max(values) > min(values) * (1 + 1e-9):
        prices = ", ".join(f"{name} {short(value)}" for name, value in own.items())
        how = " (as measured)" if measured else ""
        return None, f"the studies price an env step differently{how}: {prices}; --data-cost sets one price for all"
    lacking = [one.name for one in contestants if one.laws.data_cost is None]
    return values[0], f"{' and '.join(lacking)}: an env step is priced as in {next(iter(own))}" if lacking else ""


def _listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
