"""The runs of any log: read, selected by the user's conditions, and put into parts, each of which becomes a study (`importers.part`)."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from tdscale.errors import UserError
from tdscale.importers.conventions import Conventions
from tdscale.importers.curve import passes
from tdscale.importers.drafts import Scale
from tdscale.importers.files import Spool
from tdscale.importers.logged_run import COUNT, Columns, LoggedRun, Unreadable, number, shown_keys, without_numbers
from tdscale.importers.meaning import value_of
from tdscale.importers.part import Part
from tdscale.importers.patterns import USUAL_NAMES
from tdscale.importers.preview import ImportReport, Preview
from tdscale.runs.where import matching, parse_where

__all__ = ["Gathered", "Scale"]

_SOME = 3


class Gathered:
    """The runs of a log, read and checked, held in a temporary file. Use as a context manager.

    Attributes:
        parts: the studies that they become, by the values of `Columns.split_by`; one, called "", without it.
    """

    def __init__(
        self,
        runs: Iterable[LoggedRun | Unreadable],
        kind: str,
        source: str,
        columns: Columns,
        *,
        conventions: Conventions | None = None,
        skip_bad: bool = False,
    ) -> None:
        """Read them all. Raises UserError where one can't be understood, unless such are to be skipped, or none is there."""
        self._source, self._kind, self._columns, self._conventions = source, kind, columns, conventions
        self._name = re.split(r"[/\\]", source.rstrip("/\\"))[-1] or kind
        self._where = parse_where(columns.where)
        self._where_values: dict[str, Counter[str]] = defaultdict(Counter)
        self._spool = Spool()
        self.parts: dict[str, Part] = {}
        try:
            self._read(runs, skip_bad)
        except BaseException:
            self._spool.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.__exit__()

    @property
    def preview(self) -> Preview:
        """What was understood, where the runs are one study."""
        return self._only().preview

    def write(self, directory: Path, scale: Scale | None = None, before: Callable[[], None] | None = None) -> ImportReport:
        """Into a study's folder. The same source again replaces what it brought before.

        Args:
            directory: the folder; made if absent.
            scale: for the study.toml that is drafted where there is none; where there is one, it must say the same.
            before: called when all is checked and nothing is written yet.

        Raises:
            UserError: if the folder holds another study, or one of these runs from another source.
        """
        return self._only().write(directory, scale or Scale(), before)

    def write_each(self, directory: Path, scale: Scale | None = None) -> dict[str, ImportReport]:
        """Each part into a study of its own, a folder below this one that is called as the part. Raises UserError as `write` does."""
        for label, part in self.parts.items():
            part.study(directory / label, scale or Scale(), [])
        return {label: part.write(directory / label, scale or Scale(), None) for label, part in self.parts.items()}

    def _only(self) -> Part:
        if len(self.parts) > 1:
            raise UserError(
                f"--split-by {', '.join(self._columns.split_by)}: makes {len(self.parts)} studies, which Gathered.write_each writes"
            )
        return next(iter(self.parts.values()))

    def _read(self, runs: Iterable[LoggedRun | Unreadable], skip_bad: bool) -> None:
        bad: list[str] = []
        unnamed: list[str] = []
        elsewhere: list[str] = []
        found = unreadable = 0
        for run in runs:
            found += 1
            if isinstance(run, Unreadable):
                bad.append(run.why)
                unreadable += 1
                continue
            named = self._named(run)
            if named is None:
                unnamed.append(run.name)
                continue
            if not self._meant(named):
                elsewhere.append(run.name)
                continue
            try:
                part = self._part(named)
                for piece in passes(named) if self._columns.repeated == "seeds" else [named]:
                    part.add(piece)
            except UserError as error:
                bad.append(str(error))
        self._refuse_conditions(found - unreadable - len(unnamed), elsewhere)
        for part in self.parts.values():
            part.keys.refuse_algorithms()
        held = any(self.parts.values())
        if bad and not (held and skip_bad):
            raise UserError(_refusal(bad, found, held=held))
        if not held:
            why = (
                f"none of its {found} runs fits --names {self._columns.names}, the first is {unnamed[0]!r}"
                if unnamed
                else "holds no run with a return"
            )
            raise UserError(f"{self._source}: {why}{self._left_out_so_far()}")
        self.parts = {label: part for label, part in self.parts.items() if part}
        first = next(iter(self.parts.values()))
        for why in bad[:_SOME]:
            first.say("left-out", f"left out: {why}")
        if len(bad) > _SOME:
            first.say("left-out", f"left out for the same reasons: {len(bad) - _SOME} more")
        if unnamed:
            first.say("names-left-out", f"{len(unnamed)} runs don't fit --names and are left out, the first: {unnamed[0]}")
        if elsewhere:
            first.say(
                "where-left-out",
                f"{len(elsewhere)} of {found} runs don't fit --where {' --where '.join(self._where.texts)} and are left out",
            )
        for part in self.parts.values():
            part.finish()

    def _named(self, run: LoggedRun) -> LoggedRun | None:
        """With scaled env steps and what --names says of it; None where it does not fit."""
        scale = number(self._columns.env_step_scale)
        if scale is not None:
            evaluations = None if run.evaluations is None else (np.round(run.evaluations[0] * scale), run.evaluations[1])
            run = replace(run, steps=np.round(run.steps * scale), evaluations=evaluations, last_step=round(run.last_step * scale))
        if self._columns.names is None or not re.search(r"\{|\*", self._columns.names):
            return run
        keys = run.fitted(self._columns.names)
        return None if keys is None else replace(run, config={**run.config, **keys}, named=keys, logged=run.config)

    def _meant(self, run: LoggedRun) -> bool:
        """Whether the conditions of --where hold."""
        if not self._where:
            return True
        settings = self._settings(run, self._where.keys)
        for key in self._where.keys:
            text = matching(key, settings)
            if text is not None:
                self._where_values[key][text] += 1
        return self._where.holds(settings)

    def _settings(self, run: LoggedRun, keys: Iterable[str]) -> Mapping[str, Any]:
        """A run's configuration, with σ, B and so on under their own names where they are needed and have other names in the log."""
        own: dict[str, Any] = {}
        for key in keys:
            if key in USUAL_NAMES and matching(key, run.config) is None:
                found = value_of(key, run, self._columns)
                own |= {} if found is None else {key: found.value}
        return {**run.config, **own}

    def _refuse_conditions(self, found: int, elsewhere: list[str]) -> None:
        for condition in self._where.conditions:
            values = self._where_values[condition.key]
            if found and not values:
                raise UserError(f"--where {condition}: no run of {self._source} has a key {condition.key}")
            missing = [value for value in condition.values if value not in values]
            if found and missing:
                there = ", ".join(list(values)[:6]) + (f" and {len(values) - 6} more" if len(values) > 6 else "")
                raise UserError(f"--where {condition}: no run has {condition.key} = {missing[0]}; it is {there}")
        if elsewhere and not self.parts:
            raise UserError(f"{self._source}: none of its {found} runs fits --where {' --where '.join(self._where.texts)}")

    def _part(self, run: LoggedRun) -> Part:
        labels = []
        settings = self._settings(run, self._columns.split_by)
        for key in self._columns.split_by:
            text = matching(key, settings)
            if text is None:
                raise UserError(f"{run.name}: has no {key!r}, which --split-by names; its configuration has {shown_keys(run.config)}")
            labels.append(re.sub(r"[^A-Za-z0-9._+=-]+", "_", text).strip("._") or "_")
        label = "_".join(labels)[:100]
        if label not in self.parts:
            name = f"{self._name} {label}" if label else self._name
            columns = replace(self._columns, seed=COUNT) if self._columns.repeated == "seeds" else self._columns
            self.parts[label] = Part(name, self._kind, self._source, columns, self._spool, self._conventions)
        return self.parts[label]

    def _left_out_so_far(self) -> str:
        said = [message.message for part in self.parts.values() for message in part.messages]
        return f" ({said[-1]})" if said else ""


def _refusal(bad: list[str], found: int, *, held: bool) -> str:
    """What prevents an import: the first problem, and how many more there are."""
    whys = [without_numbers(why.partition(": ")[2] or why) for why in bad]
    other = next((why for why, short in zip(bad, whys, strict=True) if short != whys[0]), None)
    more = ""
    if len(bad) > 1:
        count = len(bad) - 1
        more = f"; the same holds for {count} more of {found} runs"
        more = more if other is None else f"; {count} more of {found} can't be imported either, the next: {other}"
    return f"{bad[0]}{more}{'; --skip-bad imports the others' if held else ''}"
