"""The shape of log D about the best value of one hyperparameter: a convex bowl with a curvature of its own on each side, near and far."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# How far off "far" begins, as the log of a factor
FAR = float(np.log(3.0))
# left far, left near, right near, right far
SIDES = 4


def bowl(offset: Floats, curvatures: Floats) -> tuple[Floats, Floats, Floats]:
    """The convex function with least value 0 at 0 whose second derivative is constant within each of four ranges.

    The ranges end at −FAR, 0 and FAR. With four equal curvatures c it is the parabola c·u²/2.

    Args:
        offset: u, log of the hyperparameter over its best value, shape (...).
        curvatures: second derivatives from left to right, > 0, shape (..., 4), leading axes that broadcast with u's.

    Returns:
        The bowl, shape (...); its slope by u, same; its slope by the log of each curvature, shape (..., 4).
    """
    size = np.abs(offset)
    near = np.minimum(size, FAR)
    far = size - near
    left = offset < 0
    weights = np.zeros((*size.shape, SIDES))
    of_near, of_far = near**2 / 2 + near * far, far**2 / 2
    weights[..., 0], weights[..., 3] = np.where(left, of_far, 0.0), np.where(left, 0.0, of_far)
    weights[..., 1], weights[..., 2] = np.where(left, of_near, 0.0), np.where(left, 0.0, of_near)
    by_log_curvature = weights * curvatures
    steep = np.where(left, curvatures[..., 1], curvatures[..., 2]) * near + np.where(left, curvatures[..., 0], curvatures[..., 3]) * far
    return by_log_curvature.sum(axis=-1), np.where(left, -steep, steep), by_log_curvature
