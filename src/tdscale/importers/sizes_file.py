"""[sizes] in a study.toml that is there already: added where an option asks for it, and nothing else in the file is changed."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tdscale.errors import UserError
from tdscale.importers.meaning import Network
from tdscale.importers.model_size import OPTION, Told, how_to_tell
from tdscale.importers.sizes import Axis, Size, SizedRun, axis_of, untold
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunWarning
from tdscale.runs.where import as_text, matching
from tdscale.study import Study, parse_study


def stored_runs(store: RunStore, without: Mapping[str, Any] | set[str], key: str | None, told: Told | None) -> list[SizedRun]:
    """The sizes of the runs of a folder.

    Args:
        store: the folder's.
        without: run_ids to leave out.
        key: the setting that names sizes; None if only N separates them.
        told: N as the user gives it.
    """
    statuses = store.statuses()
    found = []
    for run_id, spec in store.specs().items():
        if run_id in without:
            continue
        value = None if key is None else matching(key, spec.settings)
        status = statuses.get(run_id)
        size = None if status is None or status.critic_parameters is None else float(status.critic_parameters)
        if told is not None and value is not None:
            size = told.by_value.get(value, size)
        network = Network(parameters=size) if value is None or key is None else Network(parameters=size, key=key, value=value)
        found.append(SizedRun(task=spec.task, settings=spec.settings, network=network))
    return found


def with_sizes(study: Study, path: Path, runs: Sequence[SizedRun], *, asked: str | None) -> tuple[Study, str | None, list[RunWarning]]:
    """A folder's study with the sizes of its runs, the file's new text (None: it stays as it is), and what is to be said.

    Args:
        study: as it is in the file.
        path: the file.
        runs: all of the folder.
        asked: `Columns.model_size`; without it nothing is changed.

    Raises:
        UserError: where the option says something else than the file.
    """
    axis = axis_of(runs, None)
    if axis is None:
        open_question = untold(runs) if asked is None and not study.sizes else None
        return study, None, [] if open_question is None else [not_told(*open_question, str(path.parent))]
    missing = [size for size in axis.sizes if _there(study, axis.key, size) is None]
    for size in axis.sizes:
        name = _there(study, axis.key, size)
        there = None if name is None else study.sizes[name].get("model_size")
        if there is None or size.least != size.most or math.isclose(there, size.most, rel_tol=1e-6):
            continue
        says = f"{path} exists already and has N = {there:.12g} for {name!r}, not {size.most:.12g}"
        if asked is not None:
            raise UserError(f"{OPTION} {asked}: {says}; edit that file, or leave the option out")
        return study, None, [RunWarning("sizes-kept", f"{says}; it is not changed", str(path))]
    if not missing:
        return study, None, []
    lines = [_line(size, axis) for size in missing]
    if asked is None:
        message = f"its runs have several sizes, and study.toml does not have {_listed(missing)}: {OPTION} {axis.key} adds them to [sizes]"
        return study, None, [RunWarning("sizes-missing", message, str(path))]
    text = path.read_text(encoding="utf-8")
    added = _added(text, lines)
    wanted = {**study.sizes, **{size.name: size.table(axis.key) for size in missing}}
    try:
        found = parse_study(added, path.name)
    except UserError:
        found = study
    if found.sizes != wanted or found.model_copy(update={"sizes": study.sizes}) != study:
        raise UserError(f"{OPTION} {asked}: {path} exists already; write into its [sizes]: {'; '.join(lines)}")
    message = f"[sizes] of study.toml gets {_listed(missing)}; nothing else in the file is changed"
    return found, added, [RunWarning("sizes-added", message, str(path))]


def not_told(key: str, values: Sequence[str], where: str) -> RunWarning:
    """That runs are of several sizes, of which nobody says N."""
    shown = ", ".join(values[:6]) + (f" and {len(values) - 6} more" if len(values) > 6 else "")
    message = (
        f"networks are of several sizes ({key} is {shown}), and N, the critics' parameters, is not given; import again with "
        f"{how_to_tell(key, values)} to make size an axis of the laws; otherwise fit one size, e.g. --where {key}={values[0]}"
    )
    return RunWarning("sizes-not-told", message, where)


def _there(study: Study, key: str, size: Size) -> str | None:
    return next((name for name, one in study.sizes.items() if key in one and as_text(one[key]) == as_text(size.value)), None)


def _listed(sizes: Sequence[Size]) -> str:
    return ", ".join(size.name for size in sizes)


def _line(size: Size, axis: Axis) -> str:
    items = [f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in size.table(axis.key).items()]
    return f"{_key(size.name)} = {{ {', '.join(items)} }}"


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else json.dumps(text, ensure_ascii=False)


def _added(text: str, lines: Sequence[str]) -> str:
    """A study file's text with more lines in [sizes], which is added at the end where there is none."""
    header = re.search(r"^[ \t]*\[[ \t]*sizes[ \t]*\][^\n]*(?:\n|\Z)", text, flags=re.MULTILINE)
    more = "\n".join(lines) + "\n"
    if header is None:
        return f"{text.rstrip()}\n\n[sizes]\n{more}"
    # after the table's last line
    rest = text[header.end() :]
    ends = re.search(r"^[ \t]*\[", rest, flags=re.MULTILINE)
    table, after = (rest, "") if ends is None else (rest[: ends.start()], rest[ends.start() :])
    begin = text[: header.end()].rstrip("\n") + "\n"
    return begin + (f"{table.rstrip()}\n" if table.strip() else "") + more + (f"\n{after}" if after else "")
