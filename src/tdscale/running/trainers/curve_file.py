"""`CurveFile`: the CSV of env_step, return that the user's trainer writes, read while it grows."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.runs.types import ENV_STEP, RETURN, in_order, is_column
from tdscale.whole_file import write_whole

_LONGEST_LINE = 1 << 16
_CHUNK = 1 << 20
_EARLIER = "earlier.csv"


class CurveFile:
    """Rows by env step, and where the return stopped being finite.

    Attributes:
        path: what the trainer writes.
        rows: values of a curve's columns by env step, which rises; where several rows have one env step, their means.
        diverged_at: env step of the first return that is not finite; nothing is read after it. NaN before a try's first return says
            that no episode has ended yet.
    """

    def __init__(self, folder: Path) -> None:
        """Read what earlier tries left in one run's folder."""
        self.path = folder / "output.csv"
        self._earlier = folder / _EARLIER
        self.rows: dict[int, dict[str, float]] = {}
        self.diverged_at: int | None = None
        self._before: dict[int, dict[str, float]] = {}  # of earlier tries
        self._begin()
        if self._earlier.exists():
            self._read_on(self._earlier)
            self.close()
            before = self.rows
            self._begin()
            self._before = before
        self.rows = dict(self._before)

    def _begin(self) -> None:
        self.rows, self._before, self.diverged_at = {}, {}, None
        self._counts: dict[int, int] = {}
        self._found = False  # whether this try has had a return
        self._offset, self._line, self._rest = 0, 0, b""
        self._columns: list[str | None] | None = None
        self._waiting: list[int] = []  # env steps at which no episode had ended

    @property
    def last_step(self) -> int:
        """Env step of the last row; 0 before the first."""
        return max(next(reversed(self.rows), 0), *self._waiting[-1:], 0)

    @property
    def waited(self) -> bool:
        """Whether there are rows, and all of them say that no episode has ended."""
        return bool(self._waiting) and not self.rows

    def forget(self) -> None:
        """A try starts from the beginning: what earlier ones wrote is removed."""
        self.path.unlink(missing_ok=True)
        self._earlier.unlink(missing_ok=True)
        self._begin()

    def keep(self) -> None:
        """A try continues where earlier ones ended: their rows stay, up to where the new ones begin."""
        rows = self.rows
        if rows:
            columns = in_order({name for row in rows.values() for name in row})
            lines = [",".join((ENV_STEP, *columns))]
            lines += [",".join((str(step), *(repr(row.get(name, math.nan)) for name in columns))) for step, row in rows.items()]
            write_whole(self._earlier, ("\n".join(lines) + "\n").encode())
        self.path.unlink(missing_ok=True)
        self._begin()
        self.rows, self._before = dict(rows), rows

    def read(self) -> None:
        """Take in what was written since. Raises UserError at a line that is not a row of a curve."""
        self._read_on(self.path)

    def close(self) -> None:
        """The file is complete: its last line counts without a newline, too. Raises UserError as `read`."""
        rest, self._rest = self._rest, b""
        if rest.strip():
            self._take(rest)
        if self.rows and self._waiting and not self._found:
            self.diverged_at = self._waiting[0]  # it had returns before it resumed, and none since

    def curve(self, until: int) -> dict[str, NDArray[Any]]:
        """Columns up to an env step, with `return` among them."""
        rows = {step: row for step, row in self.rows.items() if step <= until}
        columns: dict[str, NDArray[Any]] = {ENV_STEP: np.fromiter(rows, np.int64, len(rows))}
        for name in in_order({RETURN, *(name for row in rows.values() for name in row)}):
            columns[name] = np.array([row.get(name, math.nan) for row in rows.values()], np.float64)
        return columns

    def longest_gap(self) -> int:
        """The most env steps from 0 or one row to the next."""
        return max(int(np.diff(np.fromiter(self.rows, np.int64, len(self.rows)), prepend=0).max(initial=0)), 0)

    def _read_on(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                if path.stat().st_size < self._offset:  # the trainer started it again
                    before = self._before
                    self._begin()
                    self.rows, self._before = dict(before), before
                file.seek(self._offset)
                while self.diverged_at is None and (chunk := file.read(_CHUNK)):
                    self._offset += len(chunk)
                    *lines, self._rest = (self._rest + chunk).split(b"\n")
                    for line in lines:
                        self._take(line)
                    if len(self._rest) > _LONGEST_LINE:
                        raise self._wrong(f"is longer than {_LONGEST_LINE} characters")
        except FileNotFoundError:
            return  # not yet

    def _take(self, line: bytes) -> None:
        self._line += 1
        if self.diverged_at is not None or not line.strip():
            return
        try:
            (cells,) = csv.reader([line.decode("utf-8-sig").rstrip("\r")])
        except (ValueError, csv.Error):
            raise self._wrong("is not a line of a CSV file") from None
        if self._columns is None:
            self._columns = self._header(cells)
            if _number(cells[0]) is None:
                return
        self._row(cells, self._columns)

    def _header(self, cells: Sequence[str]) -> list[str | None]:
        if len(cells) > 1 and all(_number(cell) is not None for cell in cells[:2]):
            return [ENV_STEP, RETURN, *(None for _ in cells[2:])]  # there is none
        names = [cell.strip() for cell in cells]
        for name in (ENV_STEP, RETURN):
            if names.count(name) != 1:
                raise self._wrong(f'names the columns {", ".join(names)[:80]!r}; "{ENV_STEP}" and "{RETURN}" must be among them, once each')
        return [name if is_column(name) else None for name in names]

    def _row(self, cells: Sequence[str], columns: Sequence[str | None]) -> None:
        if len(cells) != len(columns):
            raise self._wrong(f"has {len(cells)} values where there are {len(columns)} columns")
        texts = {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if name is not None}
        step = _number(texts.pop(ENV_STEP))
        if step is None or not 0 <= step < 1 << 62 or step != int(step):
            raise self._wrong(f"{cells[columns.index(ENV_STEP)][:40]!r} is not a number of env steps")
        values = {name: _number(text) if text else math.nan for name, text in texts.items()}
        for name, value in values.items():
            if value is None or (name == RETURN and not texts[name]):
                raise self._wrong(f"{texts[name][:40]!r} is not a number for {name}")
        self._add(int(step), {name: float(value) for name, value in values.items() if value is not None})

    def _add(self, step: int, values: dict[str, float]) -> None:
        last = next(reversed(self._counts), -1)
        if step < last:
            raise self._wrong(f"goes back to env step {step} after {last}; env steps count from the beginning of the run and never fall")
        if not self._counts and self._before:  # the first row of a try: it resumed from before here
            self.rows = {earlier: row for earlier, row in self._before.items() if earlier < step}
        if math.isnan(values[RETURN]) and not self._found:
            self._counts[step] = 0
            self._waiting.append(step)
            return
        if not math.isfinite(values[RETURN]):
            self.diverged_at = step
            return
        self._found = True
        count = self._counts[step] = self._counts.get(step, 0) + 1
        if count > 1:
            values = {name: self.rows[step][name] + (value - self.rows[step][name]) / count for name, value in values.items()}
        self.rows[step] = values

    def _wrong(self, what: str) -> UserError:
        return UserError(f"{self.path.name}, line {max(self._line, 1)}: {what}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
