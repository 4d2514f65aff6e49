"""Arrays of curves, `.npy` and `.npz`, in a zip or a folder: env steps and a column a seed. The published files are presets of this."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.importers.archive import Archive, Folder, arrays_of, shown
from tdscale.importers.conventions import Conventions
from tdscale.importers.headless import StepSource, given_steps, why_not_steps
from tdscale.importers.layouts import EXTRAS, LAYOUTS, RETURNS, Layout, conventions_for, keys_of, published_as
from tdscale.importers.logged_run import Columns, LoggedRun, Unreadable, series_keys, shown_keys
from tdscale.importers.model_size import told_sizes
from tdscale.importers.patterns import from_name
from tdscale.importers.tables import USUAL_RETURNS, USUAL_STEPS
from tdscale.runs.records import step_problem

_MAX_SEEDS = 50  # columns beyond which an array that is wider than long lies on its side

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Entry:
    """One array: its name, with which --names is compared, and what its path says."""

    name: str
    label: str
    keys: dict[str, str]


def open_arrays(
    source: Path, kind: str, columns: Columns, layout: str | None = None
) -> tuple[Iterator[LoggedRun | Unreadable], Columns, Conventions]:
    """The runs of arrays, which of their keys mean what, and the conventions that go with them.

    Args:
        source: a zip, a folder, or one file.
        kind: "qscaled": the paths must be of one of the authors' layouts. "arrays": they are compared with `Columns.names`, if that is
            given, else against those layouts, else they say nothing.
        columns: `step_column`, or `first_step` and `step_every`, say where env steps are, where that can't be seen.
        layout: which published file it is, a key of `LAYOUTS`; None = seen by its folder or its cells.

    Raises:
        UserError: if there is no array, or it is not clear where its env steps or returns are.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"--layout {layout}: is not known; it must be one of {', '.join(LAYOUTS)}")
    with arrays_of(source) as archive:
        label = source.resolve().name if isinstance(archive, Folder) else source.name.removesuffix(".zip")
        entries = _entries(archive, label, columns)
        theirs = [keys_of(entry.name) for entry in entries]
        by_path = bool(entries) and None not in theirs
        if by_path:
            # what --names says of a path goes before what the layout says
            entries = [replace(entry, keys={**(keys or {}), **entry.keys}) for entry, keys in zip(entries, theirs, strict=True)]
        if kind == "qscaled" and not by_path and columns.names is None:
            if layout is not None or source.stem in LAYOUTS:
                raise UserError(f"{source}: holds no array of the layout {layout or source.stem!r}, e.g. {_example(layout or source.stem)}")
            raise UserError(
                f"{source}: holds no array in a layout of the paper's authors, e.g. {_example('gym_ours')}; "
                "describe their names with --from arrays --names PATTERN"
            )
        if not entries:
            raise UserError(f"{source}: {_nothing(archive, columns)}")
        known = published_as([entry.keys for entry in entries], layout) if by_path else None
        if layout is not None and (known is None or not _of(known, entries)):
            raise UserError(f"{source}: holds no array of the layout {layout!r}, e.g. {_example(layout)}")
        if by_path:
            entries = _returns(source, entries, columns, known)
        assumed = known or (conventions_for([entry.keys for entry in entries]) if by_path else None)
        _one_variant(source, entries, columns)
        conventions = Conventions(
            layout=assumed, published=known is not None, by_path=by_path, source=source.name, asked_size=columns.model_size
        )
        conventions.note_entries(source.stem, [entry.keys for entry in entries], _left(archive, entries))
        steps = _steps(source, archive, entries, columns, known)
    filled = replace(columns, names=None, returns=None) if by_path else columns
    told = None if known is None else told_sizes(known.sizes)
    if known is not None and told is not None and columns.model_size in (None, told.key):
        filled = replace(filled, model_size=known.sizes)
    return _runs(source, entries, steps, conventions, columns), filled, conventions


def _nothing(archive: Archive | Folder, columns: Columns) -> str:
    if not archive.names:
        return "has no array (.npy, .npz)"
    return f"no array fits --names {columns.names}; the first is {shown(archive.names[0])}"


def _example(layout: str) -> str:
    return {
        "dmc_sweep": "dmc_sweep/utd_1/walker-walk/online_returns/bs_64_lr_3e-4.npy",
        "dmc_bro_ablations": "ablations_rr/rr10_m/dog-run.npy",
        "simbav2": "simbav2_model_scaling/w256/utd_1/h1-stand-v0/avg_return/bs_256.npy",
    }.get(layout, f"{layout}/utd_2/Ant-v4/episode.return/bs_256_lr_0.0003.npy")


def _entries(archive: Archive | Folder, label: str, columns: Columns) -> list[_Entry]:
    """The arrays that are returns by --names; without it those in the authors' layouts, and if there is none all of them."""
    if columns.names is not None:
        labels = {
            name: _label(f"{label}/{name}" if len(archive.names) > 1 or "/" in name else name, columns.names) for name in archive.names
        }
        found = {name: from_name(columns.names, text) for name, text in labels.items()}
        return [_Entry(name, labels[name], dict(keys)) for name, keys in found.items() if keys is not None]
    known = [_Entry(name, name, keys) for name in archive.names if (keys := keys_of(name)) is not None]
    return known or [_Entry(name, f"{label}/{name}" if name != label else name, {}) for name in archive.names]


def _label(name: str, pattern: str) -> str:
    """A name with or without its suffix, as the pattern has it; of an array within an `.npz` file that file's."""
    name = re.sub(r"\.npz/[^/]*$", ".npz", name)
    return name if pattern.endswith((".npy", ".npz", "*")) else re.sub(r"\.np[yz]$", "", name)


def _of(layout: Layout, entries: list[_Entry]) -> bool:
    return any(entry.keys.get("metric") == layout.metric for entry in entries)


def _returns(source: Path, entries: list[_Entry], columns: Columns, known: Layout | None) -> list[_Entry]:
    """The arrays in the authors' layouts that hold returns."""
    metrics = {entry.keys["metric"] for entry in entries if "metric" in entry.keys}
    if not metrics:
        return entries
    if columns.returns is not None:
        asked = {columns.returns, columns.returns.replace("/", "."), columns.returns.replace("/", "🦕")} & metrics
        if not asked:
            raise UserError(f"{source}: has no {columns.returns!r}, which --return names; there are {shown_keys(sorted(metrics))}")
        usual = sorted(asked)
    else:
        usual = [known.metric] if known is not None and known.metric in metrics else sorted(metrics & set(RETURNS))
        usual = usual or [name for name in sorted(metrics) if re.search("return|reward|score", name) and name not in EXTRAS]
    if len(usual) != 1:
        there = shown_keys(usual or sorted(metrics))
        raise UserError(f"{source}: it is not clear which of its folders holds the return; give --return FOLDER; there are {there}")
    return [entry for entry in entries if entry.keys.get("metric", usual[0]) == usual[0]]


def _one_variant(source: Path, entries: list[_Entry], columns: Columns) -> None:
    """Raises UserError where arrays agree in all that makes a cell, and differ in what else their paths say."""
    first: dict[tuple[tuple[str, str], ...], _Entry] = {}
    for entry in entries:
        cell = tuple(sorted((key, value) for key, value in entry.keys.items() if key not in ("variant", "root")))
        other = first.setdefault(cell, entry)
        if other is not entry and cell and columns.names is None:
            place = other.name if other.keys.get("variant") != entry.keys.get("variant") else entry.name
            pattern = place
            for key, value in (("utd", "utd_"), ("batch_size", "bs_"), ("learning_rate", "lr_")):
                pattern = pattern.replace(f"{value}{other.keys.get(key)}", f"{value}{{{key}}}")
            pattern = pattern.replace(f"/{other.keys['task']}/", "/{task}/")
            if "width" in other.keys and "model_size" in other.keys:
                pattern = pattern.replace(f"w{other.keys['width']}p{other.keys['model_size']}/utd", "w{width}p{model_size}/utd")
            elif "width" in other.keys:
                pattern = pattern.replace(f"w{other.keys['width']}/utd", "w{width}/utd")
            raise UserError(
                f"{source}: {shown(other.name)} and {shown(entry.name)} are of one task, σ, B and η; choose with "
                f"--from arrays --names '{pattern}'"
            )


def _left(archive: Archive | Folder, entries: list[_Entry]) -> list[str]:
    """Names of entries that are neither returns nor what was logged beside them."""
    used = {entry.name for entry in entries}
    beside = {name for entry in entries for name in _siblings(entry.name, set(archive.names))}
    return sorted(set(archive.names) - used - beside) + archive.others


def _siblings(name: str, there: set[str]) -> dict[str, str]:
    """Arrays that differ from a return's in one folder of the path, which names what else was logged; and the column of each."""
    parts, found = name.split("/"), {}
    for place in range(len(parts) - 1):
        for folder, column in EXTRAS.items():
            other = "/".join([*parts[:place], folder, *parts[place + 1 :]])
            if other in there and other != name:
                found[other] = column
    return found


def _steps(source: Path, archive: Archive | Folder, entries: list[_Entry], columns: Columns, known: Layout | None) -> StepSource:
    """Where the env steps are: as the options say, as the published file has it, or as all arrays show. Raises UserError."""
    given = given_steps(columns)
    if given is not None:
        return given
    if known is not None:
        return (
            StepSource(column=0) if known.first_step is None or known.step is None else StepSource(first=known.first_step, every=known.step)
        )
    why = _why_not_column_0(archive, entries)
    if why is None:
        return StepSource(column=0)
    raise UserError(
        f"{source}: it is not clear where its env steps are: {why}; give --step-column 0 if column 0 holds them, or --first-step F and "
        "--step-every E if no column does: row r is env step F + E·r"
    )


def _why_not_column_0(archive: Archive | Folder, entries: list[_Entry]) -> str | None:
    """Why column 0 is not seen to be env steps; None if it is: it alone looks like them, and in every array."""
    alone = not entries
    for entry in entries:
        if ".npz/" in entry.name:
            alone = True
            continue
        array = archive.array(entry.name, None)
        if array.ndim == 1 or array.shape[1] < 2:
            return f"{shown(entry.name)} has one column"
        problem = why_not_steps(array[:, 0])
        if problem:
            return f"column 0 {problem} in {shown(entry.name)}"
        alone |= len(array) > 2 and all(why_not_steps(column) is not None for column in array[:, 1:].T)
    return None if alone else "other columns rise in whole numbers, too"


def _runs(
    source: Path, entries: list[_Entry], steps: StepSource, conventions: Conventions, columns: Columns
) -> Iterator[LoggedRun | Unreadable]:
    with arrays_of(source) as archive:
        there = set(archive.names)
        for entry, parts in _grouped(entries):
            try:
                yield from _of_entry(archive, there, entry, parts, steps, conventions, columns)
            except UserError as error:
                if conventions.published:
                    raise
                yield Unreadable(str(error))


def _grouped(entries: list[_Entry]) -> Iterator[tuple[_Entry, list[str]]]:
    """Arrays of one `.npz` file together; other ones alone."""
    groups: dict[str, list[_Entry]] = {}
    for entry in entries:
        outer, npz, _ = entry.name.rpartition(".npz/")
        groups.setdefault(f"{outer}.npz" if npz else entry.name, []).append(entry)
    for members in groups.values():
        yield members[0], [member.name for member in members] if ".npz/" in members[0].name else []


def _of_entry(
    archive: Archive | Folder,
    there: set[str],
    entry: _Entry,
    parts: list[str],
    rule: StepSource,
    conventions: Conventions,
    columns: Columns,
) -> Iterator[LoggedRun]:
    where = f"{archive.path}, {shown(entry.name)}"
    if parts:
        steps, returns = _named(archive, parts, where, columns)
        strict, numbers = False, list(range(len(returns)))
    else:
        array = archive.array(entry.name, 2 if conventions.published else None)
        array = array[:, None] if array.ndim == 1 else array
        strict = conventions.published
        steps, returns = _split(array, rule, where, strict)
        numbers = [n for n in range(array.shape[1]) if n != rule.column]
    remarks: list[tuple[str, str]] = []
    extras: dict[str, Floats] = {}
    for name, column in ({} if parts else _siblings(entry.name, there)).items():
        found = archive.array(name)
        if found.shape != array.shape or (rule.column is not None and not np.array_equal(found[:, rule.column], array[:, rule.column])):
            remarks.append(("columns-left-out", f"{shown(name)} is left out: its steps and columns differ from those of the returns"))
            continue
        extras[column] = np.ascontiguousarray(found[:, numbers].T)
    config, settings = conventions.of_run(entry.keys, where)
    conventions.note_array(entry.name, config, steps, returns)
    for index, seed in enumerate(numbers):
        notes: dict[str, str | bool] = {"steps_unverified": True} if conventions.unverified(len(steps)) else {}
        yield LoggedRun(
            name=entry.label,
            config=config | {"seed": seed},
            steps=steps.astype(np.float64),
            returns=returns[index],
            columns={name: values[index] for name, values in extras.items()},
            nan_at_end_is_divergence=False,  # a shorter run's column is filled up with NaN
            settings=settings,
            notes=notes,
            remarks=tuple(remarks) if index == 0 else (),
        )


def _split(array: Floats, rule: StepSource, where: str, strict: bool) -> tuple[NDArray[np.int64], Floats]:
    """Env steps of shape (n_steps,) and returns of shape (n_seeds, n_steps), checked."""
    if rule.column is not None and array.shape[1] < 2:
        raise UserError(f"{where}: has {array.shape[1]} column; it must have the env step and at least one seed")
    if rule.column is not None and rule.column >= array.shape[1]:
        raise UserError(
            f"{where}: has {array.shape[1]} columns, and the last is number {array.shape[1] - 1}; --step-column {rule.column} is none"
        )
    if array.shape[1] > max(_MAX_SEEDS, len(array)):
        raise UserError(
            f"{where}: has {len(array)} rows of {array.shape[1]} columns; rows must be env steps and columns seeds: transpose it"
        )
    others = [n for n in range(array.shape[1]) if n != rule.column]
    returns = np.ascontiguousarray(array[:, others].T)
    bad = np.argwhere(~np.isfinite(returns)) if strict else np.argwhere(np.isinf(returns))
    if bad.size and strict:
        seed, row = (int(i) for i in bad[0])
        raise UserError(f"{where}: row {row}, column {others[seed]} is {returns[seed, row]}; every return must be a finite number")
    if rule.column is None:
        return rule.first + rule.every * np.arange(len(array), dtype=np.int64), returns
    problem = step_problem(array[:, rule.column])
    if problem:
        raise UserError(f"{where}: {problem} (column {rule.column})")
    return array[:, rule.column].astype(np.int64), returns


def _named(archive: Archive | Folder, parts: list[str], where: str, columns: Columns) -> tuple[NDArray[np.int64], Floats]:
    """Env steps, and returns of shape (n_seeds, n_steps), from an `.npz` file with several arrays."""
    names = {part.rpartition(".npz/")[2]: part for part in parts}
    step, value = series_keys(columns, names, USUAL_STEPS, USUAL_RETURNS, where)
    steps, returns = archive.array(names[step], None), archive.array(names[value], None)
    if steps.ndim != 1:
        raise UserError(f"{where}: {step} has {steps.ndim} axes; --env-step must name an array of one")
    problem = step_problem(steps)
    if problem:
        raise UserError(f"{where}, {step}: {problem}")
    returns = returns[:, None] if returns.ndim == 1 else returns
    if len(returns) != len(steps):
        raise UserError(f"{where}: {value} has {len(returns)} rows, but {step} has {len(steps)}; each row must belong to one env step")
    return steps.astype(np.int64), np.ascontiguousarray(returns.T)
