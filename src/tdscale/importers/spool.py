"""Arrays that wait on disk, so that memory does not grow with a log."""

import tempfile
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Place = tuple[int, int]


class Spool:
    """Arrays of numbers in a temporary file. Use as a context manager."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, values: Floats) -> Place:
        """Put an array of shape (n,) down; returns where it is."""
        offset = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(values, dtype=np.float64).data)
        return offset, len(values)

    def get(self, places: list[Place]) -> Floats:
        """Arrays put down before, end to end."""
        parts = [np.empty(0)]
        for offset, count in places:
            self._file.seek(offset)
            parts.append(np.frombuffer(self._file.read(8 * count), np.float64))
        return np.concatenate(parts)
