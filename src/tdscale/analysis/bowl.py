"""The shape of log D about the best value of one hyperparameter: a convex bowl whose curvature varies from range to range."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Where the ranges end, on either side of the best value, as the log of a factor
EDGES = np.log([np.sqrt(3.0), 3.0])
N_RANGES = 2 * (len(EDGES) + 1)


def range_middles() -> Floats:
    """Middles of the ranges from left to right, the outermost as wide as its neighbour, shape (N_RANGES,)."""
    ends = np.concatenate([[0.0], EDGES, [2 * EDGES[-1] - EDGES[-2]]])
    right = (ends[1:] + ends[:-1]) / 2
    return np.concatenate([-right[::-1], right])


def bowl(offset: Floats, curvatures: Floats) -> tuple[Floats, Floats, Floats]:
    """The convex function with least value 0 at 0 whose second derivative is constant within each range.

    The ranges end at 0 and at ±EDGES. With equal curvatures c it is the parabola c·u²/2.

    Args:
        offset: u, log of the hyperparameter over its best value, shape (...).
        curvatures: second derivatives from left to right, > 0, shape (..., N_RANGES), leading axes that broadcast with u's.

    Returns:
        The bowl, shape (...); its slope by u, same; its slope by the log of each curvature, shape (..., N_RANGES).
    """
    size = np.abs(offset)
    left = offset < 0
    by_log_curvature = np.zeros((*size.shape, N_RANGES))
    slope = np.zeros(size.shape)
    starts = (0.0, *EDGES)
    for index, (start, end) in enumerate(zip(starts, (*EDGES, np.inf), strict=True)):
        inside = np.clip(size - start, 0.0, end - start)
        height = inside * (np.maximum(size - start, 0.0) - inside / 2)
        below, above = len(EDGES) - index, len(EDGES) + 1 + index
        by_log_curvature[..., below] = np.where(left, height, 0.0)
        by_log_curvature[..., above] = np.where(left, 0.0, height)
        slope += inside * np.where(left, -curvatures[..., below], curvatures[..., above])
    by_log_curvature *= curvatures
    return by_log_curvature.sum(axis=-1), slope, by_log_curvature
