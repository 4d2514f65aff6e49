"""Networks of several sizes among a log's runs: the setting that separates them and N of each, for [sizes] of study.toml."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tdscale.errors import UserError
from tdscale.importers.keys import plain_value
from tdscale.importers.meaning import Network
from tdscale.importers.model_size import how_to_tell, in_order, is_size
from tdscale.runs.where import as_text

COUNTED = "critic_parameters"  # the setting that separates sizes where only N does
_RESERVED = "model_size"
_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class SizedRun:
    """What matters of a run for its size: its task, the settings of its spec, its networks."""

    task: str
    settings: Mapping[str, Any]
    network: Network


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size.

    Attributes:
        name: in [sizes].
        value: what its runs have under the key.
        least, most: N over the tasks, whose spaces may make it differ.
    """

    name: str
    value: Any
    least: float
    most: float

    def table(self, key: str) -> dict[str, Any]:
        """As [sizes] has it; without N where that differs between tasks and is recorded with the runs."""
        size = int(self.most) if self.most.is_integer() else self.most
        return {key: self.value} | ({_RESERVED: size} if self.least == self.most else {})


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The sizes of some runs, by N.

    Attributes:
        key: the setting that separates them.
        carried: whether the runs have that setting; else their N is to be put there.
    """

    key: str
    sizes: tuple[Size, ...]
    carried: bool = True

    def tables(self) -> dict[str, dict[str, Any]]:
        """[sizes]."""
        return {size.name: size.table(self.key) for size in self.sizes}

    def of(self, run: SizedRun) -> str:
        """The name of a run's size."""
        text = as_text(run.settings[self.key] if self.carried else run.network.parameters)
        return next(size.name for size in self.sizes if as_text(size.value) == text)


def setting_of(key: str) -> str:
    """What a setting that names sizes is called in specs, where `model_size` is N alone."""
    return "network_size" if key == _RESERVED else key


def refuse_unknown(networks: Sequence[Network]) -> None:
    """Raises UserError where networks are named by a setting whose N nobody says."""
    missing = {network.key: network.value for network in networks if network.key and network.parameters is None}
    if not missing:
        return
    key = next(iter(missing))
    of_key = [network for network in networks if network.key == key]
    known = {network.value: network.parameters for network in of_key if network.parameters is not None}
    numbers = [f"{network.parameters:.12g}" for network in networks if network.source == key]
    values = in_order([*(network.value for network in of_key), *numbers])
    shown, without = (
        ", ".join(some[:_SHOWN]) + (" …" if len(some) > _SHOWN else "") for some in (values, in_order(set(values) - set(known)))
    )
    said = f"N is not given for {without}" if known else f"which is not {'all ' if numbers else ''}N, the critics' parameters"
    raise UserError(f"{key} is {shown}, {said}; give N of each value with {how_to_tell(key, values, known)}")


def axis_of(runs: Sequence[SizedRun], own: str | None = COUNTED) -> Axis | None:
    """The sizes of runs; None where no task has several, or N is not known, or nothing shows which are one size in several tasks.

    Args:
        runs: all of a study.
        own: the setting to put N into where no setting of theirs separates sizes; None: there is to be one.

    Raises:
        UserError: where one size has two N within a task, or two have one.
    """
    places: dict[str, set[Any]] = defaultdict(set)
    for run in runs:
        places[run.task].add(run.network.place)
    if all(len(there) < 2 for there in places.values()) or any(run.network.parameters is None for run in runs):
        return None
    named = next((run.network.key for run in runs if run.network.key), None)
    if named is not None:
        return _by_setting(runs, setting_of(named), strict=True)
    for key in _candidates(runs):
        found = _by_setting(runs, key, strict=False)
        if found is not None:
            return found
    most = max(places.values(), key=len)
    if own is None or not all(there <= most for there in places.values()):
        return None
    values = sorted({run.network.parameters for run in runs if run.network.parameters is not None})
    sizes = [Size(name=f"{value:.12g}", value=int(value), least=value, most=value) for value in values]
    return Axis(key=own, sizes=_named_apart(sizes), carried=False)


def untold(runs: Sequence[SizedRun]) -> tuple[str, list[str]] | None:
    """A setting that makes a network's size, by its name, and has several values within a task, and these; None if there is none."""
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for run in runs:
        for key, value in run.settings.items():
            if key != _RESERVED and is_size(key):
                values[key][run.task].add(as_text(value))
    several = [key for key, by_task in values.items() if max(map(len, by_task.values())) > 1]
    if not several:
        return None
    key = min(several, key=_preference)
    return key, in_order(set().union(*values[key].values()))


def _preference(key: str) -> tuple[bool, bool, str]:
    return "param" in key, key not in ("size", "width"), key


def _candidates(runs: Sequence[SizedRun]) -> list[str]:
    shared = set.intersection(*({key for key in run.settings if key != _RESERVED and is_size(key)} for run in runs))
    return sorted(shared, key=_preference)


def _by_setting(runs: Sequence[SizedRun], key: str, *, strict: bool) -> Axis | None:
    """Sizes separated by a setting; where N does not follow from it, or it from N, None or, strictly, a UserError."""
    sizes: dict[str, dict[str, float]] = defaultdict(dict)  # by value and task: N
    values: dict[str, Any] = {}
    for run in runs:
        if key not in run.settings:
            return None
        text, size = as_text(run.settings[key]), run.network.parameters
        assert size is not None
        values.setdefault(text, run.settings[key])
        other = sizes[text].setdefault(run.task, size)
        if other != size:
            if strict:
                raise UserError(
                    f"{key} = {text} has two N in {run.task}, {other:.12g} and {size:.12g}; a size has one N: "
                    f"{how_to_tell(key, sizes)}, or separate them by another key"
                )
            return None
    for task in {run.task for run in runs}:
        by_size: dict[float, str] = {}
        for text in sizes:
            if task not in sizes[text]:
                continue
            other_text = by_size.setdefault(sizes[text][task], text)
            if other_text != text:
                if strict:
                    raise UserError(
                        f"{key} = {other_text} and {text} have the same N in {task}, {sizes[text][task]:.12g}; different sizes "
                        f"must have different N: {how_to_tell(key, sizes)}"
                    )
                return None
    found = [
        Size(name=_name(text), value=plain_value(values[text]), least=min(by_task.values()), most=max(by_task.values()))
        for text, by_task in sizes.items()
    ]
    return Axis(key=key, sizes=_named_apart(sorted(found, key=lambda size: (math.log(size.least * size.most), size.name))))


def _name(text: str) -> str:
    """A value as a name that TOML takes as it is: "64x64" for [64, 64]."""
    plain = re.sub(r"\s*,\s*", "x", text.strip("[]{} "))
    return re.sub(r"[^A-Za-z0-9_-]+", "_", plain)[:60].strip("_") or "size"


def _named_apart(sizes: Sequence[Size]) -> tuple[Size, ...]:
    found: dict[str, Size] = {}
    for size in sizes:
        name, count = size.name, 1
        while name in found:
            count += 1
            name = f"{size.name}_{count}"
        found[name] = replace(size, name=name)
    return tuple(found.values())
