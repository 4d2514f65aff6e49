"""What a text file is, by its content: a table divided by commas, semicolons, tabs or blanks, with or without a header, or JSON lines."""

import codecs
import csv
import gzip
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

from tdscale.errors import UserError
from tdscale.importers.logged_run import flat, number

BLANKS = " "
JSON_LINES = "{"
_MAX_HEADER = 1 << 20
_MAX_LINE = 1 << 24
_MAX_KEYS = 10_000
_LOOK = 20
_SLICE = 1 << 16
# what a text of curves may be called, where nothing else says what it is
_TEXTS = ("", ".txt", ".tsv", ".dat", ".data", ".log", ".out", ".json", ".jsonl", ".ndjson")
_RLLIB = re.compile(r"training_iteration|timesteps_total|num_env_steps_sampled.*|(env_runners|sampler_results|info)[/.].*")
_SB3 = "time/total_timesteps"

Kind = Literal["csv", "rllib", "sb3"]


@dataclass(frozen=True)
class TableFormat:
    """How a table is written.

    Attributes:
        delimiter: one character; `BLANKS` = one or more of them; `JSON_LINES` = each line is an object.
        names: of the columns, in order; without a header their numbers.
        skip: lines before the first row.
        header: whether the names stand in the file.
        constants: of JSON lines: values that are the same wherever they stand.
    """

    delimiter: str
    names: tuple[str, ...]
    skip: int = 0
    header: bool = True
    constants: tuple[tuple[str, Any], ...] = ()


def opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    """A file, unpacked where it is gzipped."""
    file = path.open("rb")
    if file.read(2) == b"\x1f\x8b":
        file.close()
        return gzip.open(path, "rb")
    file.seek(0)
    return file


def form_of(path: Path) -> TableFormat:
    """The format of a text file; of JSON lines every line is read.

    Raises:
        UserError: if it begins with nothing that could be a table.
        UnicodeDecodeError: if its beginning is not UTF-8.
    """
    lines = _beginning(path)
    if lines and lines[0][1].lstrip().startswith("{"):
        return _json_form(path)
    form = _table_form(lines)
    if form is None:
        raise UserError(f"{path}: begins with an empty line; the first line must name the columns, or be a row of numbers")
    return form


def kind_of_text(path: Path) -> Kind | None:
    """Which kind of log a text file is, by its content; None if it is not a table of numbers, or can't be read."""
    try:
        lines = _beginning(path)
        if lines and lines[0][1].lstrip().startswith("{"):
            objects = [json.loads(line) for _, line in lines[:2]]
            if not all(isinstance(one, dict) for one in objects):
                return None
            names = {key.replace(".", "/") for one in objects for key in flat(one)}
            return _named(names) or ("csv" if len(objects) > 1 else None)
        form = _table_form(lines)
    except (OSError, EOFError, ValueError, RecursionError, csv.Error):
        return None
    if form is None or len(form.names) < 2:
        return None
    named = _named(set(form.names)) if form.header else None
    rows = [cells_of(line, form.delimiter) for place, line in lines if place >= form.skip]
    whole = [row for row in rows if len(row) == len(form.names) and sum(number(cell) is not None for cell in row) * 2 >= len(row)]
    return named or ("csv" if whole and 2 * len(whole) >= len(rows) else None)


def may_be_text(name: str) -> bool:
    """Whether a file's name leaves it open that it is a text of curves."""
    return os.path.splitext(name)[1].lower() in _TEXTS and not name.startswith(".")


def _named(names: set[str]) -> Kind | None:
    if _SB3 in names:
        return "sb3"
    return "rllib" if any(_RLLIB.fullmatch(name) for name in names) else None


def _beginning(path: Path) -> list[tuple[int, str]]:
    """Numbers and texts of the first lines that are not empty."""
    found = []
    with opened(path) as file:
        head = file.read(_MAX_HEADER)
    text = head.decode("utf-8-sig") if len(head) < _MAX_HEADER else head[: head.rfind(b"\n") + 1 or None].decode("utf-8-sig")
    for place, line in enumerate(text.splitlines()):
        if line.strip():
            found.append((place, line))
        if len(found) > _LOOK:
            break
    return found


def _table_form(lines: list[tuple[int, str]]) -> TableFormat | None:
    comments = [(place, line) for place, line in lines if line.lstrip().startswith("#")]
    rows = lines[len(comments) :] if lines[: len(comments)] == comments else lines
    if not rows:
        return None
    first, text = rows[0]
    delimiter = _delimiter([line for _, line in rows])
    cells = cells_of(text, delimiter)
    if not _numeric(cells) or (len(rows) > 1 and _counted(cells, cells_of(rows[1][1], delimiter))):
        return TableFormat(delimiter, tuple(cells), first + 1)
    if comments and rows is not lines:
        # as NumPy's savetxt writes a header
        names = cells_of(comments[-1][1].lstrip().lstrip("#"), delimiter)
        if len(names) == len(cells) and not _numeric(names):
            return TableFormat(delimiter, tuple(names), first)
    return TableFormat(delimiter, tuple(map(str, range(len(cells)))), first, header=False)


def _numeric(cells: list[str]) -> bool:
    return all(re.fullmatch(r"[+-]?(nan|inf(inity)?)", cell, re.IGNORECASE) or number(cell) is not None for cell in cells)


def _counted(cells: list[str], below: list[str]) -> bool:
    """Whether 0,1,2 … are names, as of a table that was an array."""
    names = cells == [str(n) for n in range(len(cells))]
    return names and (len(cells) > 2 or any("." in cell for cell in below))


def _delimiter(lines: list[str]) -> str:
    counts = {mark: lines[0].count(mark) for mark in ",;\t"}
    best = max(counts, key=lambda mark: counts[mark])
    if counts[best]:
        return best
    return BLANKS if len(lines[0].split()) > 1 and (len(lines) < 2 or len(lines[0].split()) == len(lines[1].split())) else ","


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of one line."""
    if delimiter == BLANKS:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and texts of a file's lines. Raises UserError where one is endless, UnicodeDecodeError where it is not UTF-8."""
    with opened(path) as file:
        for place, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), 1):
            if len(line) == _MAX_LINE:
                raise UserError(f"{path}, line {place}: is longer than {_MAX_LINE >> 20} MiB; this is not a table")
            yield place, line.decode("utf-8-sig" if place == 1 else "utf-8").rstrip("\r\n")


def json_objects(path: Path) -> Iterator[dict[str, Any] | None]:
    """The objects of JSON lines, nested keys joined by dots; None for a line that is none.

    Raises:
        UserError: if another line than the last is not an object.
    """
    torn = 0
    for place, line in text_lines(path):
        if not line.strip():
            continue
        if torn:
            raise UserError(f"{path}, line {torn}: is not a JSON object; every line must be one, only the last may be incomplete")
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield flat(found)
        else:
            torn = place
    if torn:
        yield None


def _json_form(path: Path) -> TableFormat:
    values: dict[str, Any] = {}
    several: set[str] = set()
    for found in json_objects(path):
        for key, value in (found or {}).items():
            if value is None or isinstance(value, list):
                continue
            if len(values) > _MAX_KEYS:
                raise UserError(f"{path}: has over {_MAX_KEYS} keys; this is not a log of curves")
            if key not in values:
                values[key] = value
            elif values[key] != value:
                several.add(key)
    constants = tuple((key, value) for key, value in values.items() if key not in several)
    return TableFormat(JSON_LINES, tuple(values), constants=constants)


def rows_of(path: Path, form: TableFormat) -> Iterator[list[Any] | None]:
    """Cells of each row in the order of the form's names, for tables that no library reads: blanks and JSON lines. None: not whole."""
    if form.delimiter == JSON_LINES:
        for found in json_objects(path):
            yield None if found is None else [found.get(name) for name in form.names]
        return
    for _, line in islice(text_lines(path), form.skip, None):
        cells = line.split()
        if cells:
            yield cells if len(cells) == len(form.names) else None


def stream_of(path: Path) -> io.BufferedIOBase:
    """The file's bytes, checked to be UTF-8 as they go. Reading raises UnicodeDecodeError where they are not."""
    return _Checked(path)


class _Checked(io.BufferedIOBase):
    """Arrow reports invalid UTF-8 from where nothing can be raised, so it is checked here."""

    def __init__(self, path: Path) -> None:
        self._file = opened(path)
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._file.read(-1 if size is None else size)
        for start in range(0, len(data), _SLICE):
            self._decoder.decode(memoryview(data)[start : start + _SLICE])
        if not data:
            self._decoder.decode(b"", final=True)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()
