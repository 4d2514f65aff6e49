"""Which seeds of a cell are copies of another one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# A success rate over ten episodes that jumps from 0 to 1 is the same in many honest seeds; four distinct values in one
# order are not.
_DISTINCT_VALUES = 4


def copies(curves: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> list[int | None]:
    """For each curve the index of an earlier one that it equals byte for byte, or None.

    A curve of fewer than four distinct returns is never called a copy: where a task is never or always solved, honest
    seeds coincide, and leaving them out would shift the mean.

    Args:
        curves: (env_steps, returns) of each seed, each of shape (n_steps,), returns finite.
    """
    first: dict[tuple[bytes, bytes], int] = {}
    found: list[int | None] = []
    for index, (steps, returns) in enumerate(curves):
        key = (steps.tobytes(), returns.tobytes())
        earlier = first.setdefault(key, index)
        copied = earlier != index and len(np.unique(returns)) >= _DISTINCT_VALUES
        found.append(earlier if copied else None)
    return found
