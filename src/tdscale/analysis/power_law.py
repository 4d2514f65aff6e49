"""The laws B*(σ), η*(σ) through best values: one slope for all tasks (METHOD.md sections 3 and 4, equations 4.6, 4.7)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Quantity = Literal["batch_size", "learning_rate"]
SYMBOLS: dict[Quantity, str] = {"batch_size": "B*", "learning_rate": "η*"}


@dataclass(frozen=True, kw_only=True)
class SharedSlope:
    """A line in log–log space: one slope for all tasks, one intercept each. Leading axes are those of the input."""

    slope: Floats
    intercepts: Floats
    residual_variance: Floats
    slope_standard_error: Floats
    degrees_of_freedom: int


def fit_shared_slope(log_utd: Floats, log_values: Floats) -> SharedSlope:
    """Least squares of log y = intercept[task] + slope · log σ (fixed effects).

    Args:
        log_utd: shape (n_utds,).
        log_values: shape (..., n_tasks, n_utds); NaN where missing (the same places on all leading axes).

    Raises:
        ValueError: if no task has two different σ: then there is no slope.
    """
    present = np.isfinite(log_values).reshape(-1, *log_values.shape[-2:]).all(axis=0)
    counts = present.sum(axis=-1)
    if (counts >= 2).sum() == 0:
        raise ValueError("no task has a best value at two different σ, so there is no slope to fit")
    used = counts > 0
    safe = np.where(present, log_values, 0.0)
    weight = np.maximum(counts, 1)
    mean_x = (present * log_utd).sum(axis=-1) / weight
    mean_y = safe.sum(axis=-1) / weight
    centred = np.where(present, log_utd - mean_x[:, None], 0.0)
    spread = (centred**2).sum()
    slope = (centred * safe).sum(axis=(-2, -1)) / spread
    intercepts = np.where(used, mean_y - slope[..., None] * mean_x, np.nan)
    residual = np.where(present, safe - intercepts[..., None] - slope[..., None, None] * log_utd, 0.0)
    residual = np.where(np.isfinite(residual), residual, 0.0)
    degrees = int(present.sum() - used.sum() - 1)
    variance = (residual**2).sum(axis=(-2, -1)) / max(degrees, 1)
    return SharedSlope(
        slope=slope,
        intercepts=intercepts,
        residual_variance=variance,
        slope_standard_error=np.sqrt(variance / spread),
        degrees_of_freedom=degrees,
    )


def widen_for_misfit(draws: SharedSlope, point: SharedSlope, log_utd: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draws of slope and intercepts whose spread covers both seed noise and what the line leaves unexplained.

    The bootstrap over seeds knows only seed noise. Where the regression's own standard error (from the residuals over
    tasks and σ) is larger, the difference in variance is added as Student-t noise about the centre of σ.

    Returns:
        slopes, shape (n_draws,), and intercepts, shape (n_draws, n_tasks).
    """
    n_draws = draws.slope.shape[0]
    centre = log_utd.mean()
    slopes, intercepts = draws.slope.copy(), draws.intercepts.copy()
    if point.degrees_of_freedom < 1:
        return slopes, intercepts
    extra = np.sqrt(max(float(point.slope_standard_error) ** 2 - float(np.var(slopes)), 0.0))
    change = extra * rng.standard_t(point.degrees_of_freedom, n_draws)
    slopes = slopes + change
    # turning about the centre of σ leaves the level there as it was
    intercepts = intercepts - change[:, None] * centre
    level_variance = float(point.residual_variance) / len(log_utd)
    seed_variance = np.var(draws.intercepts + draws.slope[:, None] * centre, axis=0)
    level = np.sqrt(np.maximum(level_variance - seed_variance, 0.0))
    return slopes, intercepts + level * rng.standard_t(point.degrees_of_freedom, (n_draws, intercepts.shape[1]))
