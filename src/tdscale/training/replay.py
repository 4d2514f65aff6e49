"""The replay buffer: packed transitions in host memory, gathered into reused arrays."""

import numpy as np
from numpy.typing import NDArray


class Replay:
    """A ring of rows (see agents.rows). Memory is only touched as it fills."""

    def __init__(self, capacity: int, row_size: int) -> None:
        self._rows = np.empty((capacity, row_size), np.float32)
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, len(self._rows))

    def next_row(self) -> NDArray[np.float32]:
        """The row to fill in for the newest transition, in place of the oldest where the buffer is full."""
        row: NDArray[np.float32] = self._rows[self._added % len(self._rows)]
        self._added += 1
        return row

    def sample_into(self, out: NDArray[np.float32], generator: np.random.Generator) -> None:
        """Fill `out`, shape (..., row_size), with rows drawn uniformly with replacement."""
        indices = generator.integers(0, len(self), out.shape[:-1])
        # mode "clip" writes straight into `out`; the indices are in range anyway
        np.take(self._rows, indices, axis=0, out=out, mode="clip")

    def newest(self, count: int) -> NDArray[np.float32]:
        """A copy of the `count` newest rows, shape (count, row_size)."""
        return self._rows[np.arange(self._added - count, self._added) % len(self._rows)]
