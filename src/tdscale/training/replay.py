"""The replay buffer: packed transitions in host memory, gathered into reused arrays."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_MULTIPLE = 4096


def replay_rows(capacity: int, env_steps: int) -> int:
    """Rows to make room for: `capacity`, or where a run is too short to fill it one of few sizes, for each is compiled for."""
    return min(capacity, -(-env_steps // _MULTIPLE) * _MULTIPLE)


class Replay:
    """A ring of rows (see agents.rows). Memory is only touched as it fills."""

    def __init__(self, capacity: int, row_size: int) -> None:
        self._rows = np.empty((capacity, row_size), np.float32)
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, len(self._rows))

    @property
    def capacity(self) -> int:
        """The most rows it holds."""
        return len(self._rows)

    def add(self, rows: NDArray[np.float32]) -> None:
        """Append rows, shape (n, row_size), in place of the oldest where the buffer is full."""
        kept = rows[-len(self._rows) :]
        start = (self.added + len(rows) - len(kept)) % len(self._rows)
        first = kept[: len(self._rows) - start]
        self._rows[start : start + len(first)] = first
        self._rows[: len(kept) - len(first)] = kept[len(first) :]
        self.added += len(rows)

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.int64]:
        """Indices of rows drawn uniformly with replacement."""
        return generator.integers(0, len(self), shape)

    def take(self, indices: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Fill `out`, shape (*indices.shape, row_size)."""
        # mode "clip" writes straight into `out`; the indices are in range anyway
        np.take(self._rows, indices, axis=0, out=out, mode="clip")

    def back(self, ages: NDArray[np.int64]) -> NDArray[np.float32]:
        """A copy of the rows so far back, 1 for the newest, shape (len(ages), row_size)."""
        return self._rows[(self.added - ages) % len(self._rows)]

    def between(self, first: int, end: int) -> NDArray[np.float32]:
        """A copy of rows first … end − 1, numbered from 0 in the order in which they were added."""
        return self._rows[np.arange(first, end) % len(self._rows)]

    def restore(self, added: int, kept: Iterable[tuple[int, NDArray[np.float32]]]) -> None:
        """Become what a replay was after so many rows.

        Args:
            added: how many.
            kept: rows of it, oldest first, each with the number of its first row.

        Raises:
            ValueError: if rows that this one would hold are not among them.
        """
        self.added = max(added - len(self._rows), 0)
        for first, rows in kept:
            if first > self.added:
                break
            self.add(rows[self.added - first :])
        if self.added != added:
            raise ValueError(f"row {self.added} of the replay is not there")
