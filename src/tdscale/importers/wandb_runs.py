"""W&B: runs recorded offline, read without network; and a project's runs through W&B's server."""

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.errors import UserError, first_line
from tdscale.importers.files import files_below
from tdscale.importers.logged_run import Columns, Floats, LoggedRun, MeanOf, Unreadable, flat, float_or_nan, number, series_keys
from tdscale.importers.moving_mean import companions, mean_of, preferred
from tdscale.importers.patterns import SCALARS as USUAL_RETURNS
from tdscale.importers.resumed import joined

USUAL_STEPS = ("global_step", "env_step", "env_steps", "timesteps", "step")
_INSTALL = "reading W&B runs needs wandb; pip install 'tdscale[wandb]'"
# the file: a header, then blocks of records that may be cut into fragments
_MAGIC = b":W&B\xe1\xbe\x00"
_BLOCK, _HEADER = 1 << 15, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_MAX_RECORD = 1 << 26
_PAGE = 1000


def read_wandb(source: Path | str, columns: Columns) -> Iterator[LoggedRun | Unreadable]:
    """The runs recorded offline below a folder, of one `.wandb` file, or of a project on W&B's server, "entity/project".

    Raises:
        UserError: if W&B's package is missing, its server can't be reached, or a key that was named is not there.
    """
    if not Path(source).exists() and re.fullmatch(r"[\w.-]+/[\w. -]+", str(source)):
        yield from project_runs(_api(), str(source), columns)
        return
    paths = files_below(Path(source), lambda name: name.endswith(".wandb"))
    runs: dict[str, list[LoggedRun]] = {}
    for path in sorted(paths, key=lambda path: path.parent.name):  # it begins with the time
        try:
            run_id, run = _offline_run(path, columns)
        except UserError as error:
            yield Unreadable(str(error))
        else:
            runs.setdefault(run_id or str(path), []).append(run)
    for pieces in runs.values():
        yield _joined(pieces)


def _joined(pieces: list[LoggedRun]) -> LoggedRun:
    """A run that was resumed is recorded in several files."""
    if len(pieces) == 1:
        return pieces[0]
    config = {key: value for piece in pieces for key, value in piece.config.items()}
    remark = ("resumed-run", f"it is recorded in {len(pieces)} files, which are joined")
    return replace(
        pieces[0],
        config=config,
        steps=np.concatenate([piece.steps for piece in pieces]),
        returns=np.concatenate([piece.returns for piece in pieces]),
        begins=joined([len(piece.steps) for piece in pieces]),
        mean_of=_joined_mean(pieces),
        remarks=(*(remark for piece in pieces for remark in piece.remarks), remark),
    )


def _joined_mean(pieces: list[LoggedRun]) -> MeanOf | None:
    means = [piece.mean_of for piece in pieces]
    known = [mean for mean in means if mean is not None]
    if not known:
        return None

    def series(name: str) -> Floats | None:
        parts = [getattr(mean, name) if mean is not None else None for mean in means]
        if all(part is None for part in parts):
            return None
        return np.concatenate(
            [np.full(len(piece.steps), np.nan) if part is None else part for piece, part in zip(pieces, parts, strict=True)]
        )

    return replace(known[0], lengths=series("lengths"), episodes=series("episodes"))


def _offline_run(path: Path, columns: Columns) -> tuple[str, LoggedRun]:
    """With the run's id, empty where it does not say it."""
    try:
        from wandb.proto.wandb_internal_pb2 import Record
    except ImportError:
        raise UserError(_INSTALL) from None
    config: dict[str, Any] = {}
    rows, run_id = _History(columns), ""
    name, ended, damage = path.parent.name if path.parent.name.startswith(("offline-run", "run-")) else path.stem, False, None
    try:
        for data in _records(path):
            record = Record()
            record.ParseFromString(data)
            match record.WhichOneof("record_type"):
                case "run":
                    _update(config, record.run.config)
                    run_id = record.run.run_id
                    name = f"{name}/{record.run.display_name}" if record.run.display_name else name
                case "config":
                    _update(config, record.config)
                case "history":
                    items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
                    rows.add({key: _value(text) for key, text in items.items() if rows.wants(key)}, items)
                case "exit":
                    ended = True
                case _:
                    pass
    except _DamagedError as error:
        damage = str(error)
    except Exception as error:  # protobuf's own, at bytes that are no record
        damage = f"holds a record that can't be parsed ({type(error).__name__})"
    remarks = []
    if damage is not None:
        remarks.append(("damaged-file", f"{path.name} {damage}; the part before is used"))
    elif not ended:
        remarks.append(("not-ended", f"{path.name} does not show that the run ended; its content is used"))
    return run_id, rows.run(name, {key: value for key, value in flat(config).items() if not key.startswith("_wandb")}, tuple(remarks))


class _DamagedError(Exception):
    """A file of records is damaged; the message is a clause."""


def _records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _DamagedError("is not a W&B file, which starts with :W&B")
        parts: list[bytes] = []
        while True:
            left = _BLOCK - file.tell() % _BLOCK
            if left < _HEADER:
                file.seek(left, 1)
            header = file.read(_HEADER)
            if not header:
                if parts:
                    raise _DamagedError("ends within a record")
                return
            if len(header) < _HEADER:
                raise _DamagedError("ends within a record")
            check, length, kind = struct.unpack("<IHB", header)
            data = file.read(length)
            if len(data) < length:
                raise _DamagedError("ends within a record")
            if zlib.crc32(data, zlib.crc32(bytes([kind]))) != check or kind not in (_FULL, _FIRST, _MIDDLE, _LAST):
                raise _DamagedError("holds a record whose checksum is wrong")
            parts = [data] if kind in (_FULL, _FIRST) else [*parts, data]
            if sum(map(len, parts)) > _MAX_RECORD:
                raise _DamagedError("holds a record of over 64 MiB")
            if kind in (_FULL, _LAST):
                yield b"".join(parts)
                parts = []


def _update(config: dict[str, Any], record: Any) -> None:
    for item in record.update:
        value = _value(item.value_json)
        names = [item.key] if item.key else list(item.nested_key)
        inner = config
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                break
        else:
            inner[names[-1]] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class _History:
    """(env step, return) out of rows of a history. A row without the env step has that of the row before."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._steps = (columns.env_step,) if columns.env_step is not None else USUAL_STEPS
        self._returns = (columns.returns,) if columns.returns is not None else USUAL_RETURNS
        self._beside = {name: companions(name) for name in self._returns}
        self._names = {*self._steps, *self._returns, *(key for pair in self._beside.values() for names in pair for key in names)}
        self._keys: dict[str, None] = {}
        # env step, return, mean length of the episodes, their count
        self._found: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
        self._latest: dict[str, float] = {}

    def wants(self, key: str) -> bool:
        return key in self._names

    def add(self, values: Mapping[str, Any], keys: Mapping[str, Any]) -> None:
        # W&B's server gives "NaN" and "Infinity" as text
        self._keys |= dict.fromkeys(keys)
        for step in self._steps:
            at = number(values.get(step))
            if at is not None:
                self._latest[step] = at
        for name in self._returns:
            if name in values:
                more = [next((float_or_nan(values[key]) for key in keys if key in values), np.nan) for keys in self._beside[name]]
                for step, at in self._latest.items():
                    self._found.setdefault((step, name), []).append((at, float_or_nan(values[name]), more[0], more[1]))

    def run(self, name: str, config: Mapping[str, Any], remarks: tuple[tuple[str, str], ...]) -> LoggedRun:
        rows: list[tuple[float, float, float, float]] = []
        value = ""
        if self._keys:
            step, value = series_keys(self._columns, self._keys, USUAL_STEPS, USUAL_RETURNS, name)
            rows = self._found.get((step, value), [])
        steps, returns, lengths, episodes = np.array(rows, dtype=np.float64).reshape(-1, 4).T
        mean = mean_of(value, self._columns, config) if value else None
        return LoggedRun(
            name=name,
            config=config,
            steps=steps,
            returns=returns,
            mean_of=None if mean is None else replace(mean, lengths=lengths, episodes=episodes),
            remarks=remarks,
            of_log=preferred(value, self._keys, self._columns.returns),
        )


def _api() -> Any:
    try:
        import wandb
    except ImportError:
        raise UserError(_INSTALL) from None
    try:
        return wandb.Api(timeout=30)
    except Exception as error:
        raise UserError(
            f"W&B's server: not logged in, or not reachable ({first_line(error) or type(error).__name__}); try `wandb login`"
        ) from None


def project_runs(api: Any, project: str, columns: Columns) -> Iterator[LoggedRun]:
    """The runs of "entity/project" on W&B's server, page by page.

    Args:
        api: a `wandb.Api`.

    Raises:
        UserError: if the server can't be reached or does not know the project.
    """
    try:
        for run in api.runs(project, per_page=50, order="+created_at"):
            rows = _History(columns)
            for row in run.scan_history(page_size=_PAGE):
                rows.add({key: value for key, value in row.items() if rows.wants(key)}, row)
            remarks = (("not-ended", "the run is still running; what it has logged so far is used"),) if run.state == "running" else ()
            config = {key: value for key, value in flat(run.config).items() if not key.startswith("_wandb")}
            yield rows.run(f"{project}/{run.name}", config, remarks)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{project}: it can't be read from W&B's server ({first_line(error) or type(error).__name__}); "
            "check the network, `wandb login` and the name"
        ) from None
