"""What the scatter of a return's rows tells of the window that they are means over."""

import numpy as np

from tdscale.importers.raw import Floats, LoggedRun

_FOUND = 4.0  # standard errors by which a window shows in the rows


def _local(values: Floats) -> Floats:
    """Medians of the values within 4 rows."""
    return np.array([np.median(values[max(0, i - 4) : i + 5]) for i in range(len(values))])


def neighbours(returns: Floats) -> float:
    """Autocorrelation of what neighbouring rows differ by, beyond the trend: -1/2 where each row has noise of its own."""
    rises = np.diff(returns)
    if rises.size < 4:
        return 0.0
    rises = rises - _local(rises)
    scale = _local(np.abs(rises))
    scaled = np.clip(rises / np.where(scale > 0, scale, np.inf), -3, 3)
    power = float(scaled @ scaled)
    return float(scaled[1:] @ scaled[:-1]) / power if power > 0 else 0.0


def leaving(runs: list[LoggedRun], most: int) -> dict[float, tuple[float, int]]:
    """How clearly episodes leave the window after so many rows: there the mean moves by their noise, turned round.

    Returns:
        By rows, in halves: standard errors, and how many rows tell.
    """
    series = []
    for run in runs:
        bends = np.diff(run.returns, 2)
        scale = _local(np.abs(bends)) if bends.size else bends
        scaled = np.clip(bends / np.where(scale > 0, scale, np.inf), -3, 3)
        power = float(np.mean(scaled**2)) if scaled.size else 0.0
        series += [scaled / np.sqrt(power)] if power > 0 else []
    products, counts = np.zeros(most + 3), np.zeros(most + 3)
    for bends in series:
        for lag in range(1, min(most + 3, len(bends) - 8)):
            products[lag] += float(bends[lag:] @ bends[: len(bends) - lag])
            counts[lag] += len(bends) - lag
    shown: dict[float, tuple[float, int]] = {}
    for lag in range(2, most + 1):
        if counts[lag + 2]:
            # second differences of a moving mean have these correlations: +1/4, -1/2, +1/4 about the window's length
            before, at, after, later = products[lag - 1 : lag + 3]
            shown[lag] = ((before + after) / 2 - at) / np.sqrt(1.5 * counts[lag]), int(counts[lag])
            # or, where episodes leave it between two rows: +1/8, -1/8, -1/8, +1/8
            shown[lag + 0.5] = (before + later - at - after) / np.sqrt(4 * counts[lag]), int(counts[lag])
    return shown


def rows_of_window(runs: list[LoggedRun], most: int) -> float | None:
    """After how many rows episodes leave the window; None if that does not show."""
    shown = {rows: clear for rows, (clear, _) in leaving(runs, most).items()}
    if not shown:
        return None
    best = max(shown, key=lambda lag: shown[lag])
    others = max((value for lag, value in shown.items() if abs(lag - best) > 1.5), default=0.0)
    return best if shown[best] >= _FOUND and others < 0.6 * shown[best] else None
