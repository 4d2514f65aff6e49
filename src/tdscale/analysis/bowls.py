"""Bowls: how log D rises away from the best B or η, as a convex function whose curvature varies from range to range."""

import numpy as np

from tdscale.analysis.arrays import Floats

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


def bowl_width(curvatures: Floats, height: float) -> Floats:
    """How far from its bottom a bowl reaches a height, to the left and to the right.

    Args:
        curvatures: as `bowl` takes them, shape (..., N_RANGES).
        height: of log D, > 0.

    Returns:
        Distances ≥ 0 in the log of the hyperparameter, shape (..., 2).
    """
    found = []
    for outwards in (curvatures[..., : len(EDGES) + 1][..., ::-1], curvatures[..., len(EDGES) + 1 :]):
        distance, left, slope = np.zeros(outwards.shape[:-1]), np.full(outwards.shape[:-1], height), np.zeros(outwards.shape[:-1])
        for index, width in enumerate(np.diff([0.0, *EDGES, np.inf])):
            curvature = outwards[..., index]
            # left = slope·t + curvature·t²/2, within this range; past the height nothing is left, and t is 0
            t = np.minimum(2 * left / np.maximum(slope + np.sqrt(slope**2 + 2 * curvature * left), 1e-300), width)
            distance, left, slope = distance + t, np.maximum(left - slope * t - curvature * t**2 / 2, 0.0), slope + curvature * t
        found.append(distance)
    return np.stack(found, axis=-1)
