"""Which rows of a long table are one run, where columns without a known name may show it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tdscale.importers.curve import one_curve
from tdscale.importers.keys import incidental, tells_apart
from tdscale.importers.logged_run import number
from tdscale.runs.where import as_text

Floats = NDArray[np.float64]
_MAX_VALUES = 4096  # of a column; one with more is not a key of runs
_SPAN = 0.05  # of a run's env steps, which a value of a key lasts on average
_FLAGS = ("true", "false")


class KeyColumns:
    """Columns that may be keys of runs, as codes of their values, while a table is read in pieces."""

    def __init__(self, names: Iterable[str], ignored: Collection[str] = ()) -> None:
        """Those of the names that are not to be ignored."""
        self.names = [name for name in names if name and name not in ignored]
        self._values: dict[str, dict[Any, int]] = {name: {} for name in self.names}
        self._changing: set[str] = set()

    @property
    def alive(self) -> list[str]:
        """The columns that had few values so far."""
        return list(self._values)

    def codes(self, name: str, column: pa.Array) -> Floats | None:
        """A number for each row's value, the same in every piece; None where the column has too many values to be a key."""
        values = self._values[name]
        if pa.types.is_nested(column.type):
            del self._values[name]
            return None
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode(null_encoding="encode")
        known = [values.setdefault(value, len(values)) for value in coded.dictionary.to_pylist()]
        if coded.indices.null_count:
            known.append(values.setdefault(None, len(values)))
        if len(values) > _MAX_VALUES:
            del self._values[name]
            return None
        indices = coded.indices.fill_null(len(known) - 1) if coded.indices.null_count else coded.indices
        return np.array(known, dtype=np.float64)[np.asarray(indices)] if len(indices) else np.empty(0)

    def changes(self, name: str) -> None:
        """A column was seen to change where σ, B, η, task and seed stay."""
        self._changing.add(name)

    def is_setting(self, name: str) -> bool:
        """Whether a column stays wherever σ, B, η, task and seed do."""
        return name not in self._changing

    def value(self, name: str, code: float) -> Any:
        """The meaning of a code."""
        return list(self._values[name])[int(code)]

    def varied(self, name: str) -> bool:
        """Whether a column has several values."""
        return len(self._values.get(name, ())) > 1

    def of_text(self, name: str) -> bool:
        """Whether a column holds text, as names of methods and metrics are, and not numbers or flags alone."""
        return any(value is not None and number(as_text(value)) is None and as_text(value) not in _FLAGS for value in self._values[name])


def runs_of(
    steps: Floats, returns: Floats, columns: Mapping[str, Floats], keys: KeyColumns
) -> Iterator[tuple[NDArray[np.intp], dict[str, Any], tuple[str, ...]]]:
    """The rows of each run, what its columns say, and which of them distinguish it, among rows that agree in σ, B, η, task and seed.

    A column of text separates runs, and one whose name says that it decides a curve; a column of numbers does where rows of one env step,
    or passes through the env steps, would otherwise be one run, and it divides them into curves.

    Args:
        steps, returns: shape (n,), in the order of the table.
        columns: codes of `keys`, shape (n,).
    """
    everything = np.arange(len(steps))
    varied = {name: codes for name, codes in columns.items() if len(codes) and codes.min() != codes.max()}
    few = {name: codes for name, codes in varied.items() if _lasting(steps, codes)}
    certain = [name for name in few if tells_apart(name) or (keys.of_text(name) and not incidental(name))]
    settings = [name for name in columns if keys.is_setting(name) or name in certain]
    for rows in _divided(everything, [few[name] for name in certain]):
        parts, by = [rows], ""
        if not one_curve(steps[rows], returns[rows]):
            others = sorted((name for name in few if name not in certain), key=lambda name: len(np.unique(few[name][rows])))
            for name in others:
                pieces = _divided(rows, [few[name]])
                if len(pieces) > 1 and all(one_curve(steps[piece], returns[piece]) for piece in pieces):
                    parts, by = pieces, name
                    break
        apart = (*certain, *([by] if by else []))
        for part in parts:
            yield part, {name: keys.value(name, columns[name][part[0]]) for name in (*settings, *([by] if by else []))}, apart


def _lasting(steps: Floats, codes: Floats) -> bool:
    """Whether a column's values last: not one of each few rows, and each over some range of env steps, unlike a count or a time."""
    _, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if 2 * len(counts) > len(codes):
        return False
    known = np.isfinite(steps)
    if not known.any():
        return True
    most, least = np.full(len(counts), -np.inf), np.full(len(counts), np.inf)
    np.maximum.at(most, which[known], steps[known])
    np.minimum.at(least, which[known], steps[known])
    spans = np.maximum(most - least, 0)
    return bool(spans.mean() >= _SPAN * np.ptp(steps[known]))


def _divided(rows: NDArray[np.intp], columns: list[Floats]) -> list[NDArray[np.intp]]:
    """Rows by the values of columns, in the order in which they appear."""
    if not columns:
        return [rows]
    _, which = np.unique(np.stack([codes[rows] for codes in columns]), axis=1, return_inverse=True)
    which = which.reshape(-1)
    order = np.argsort(which, kind="stable")
    starts = np.flatnonzero(np.diff(which[order], prepend=-1))
    return sorted((rows[piece] for piece in np.split(order, starts[1:])), key=lambda piece: int(piece[0]))
