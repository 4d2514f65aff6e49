"""Numbers as people write them: counts such as 300k, 1.5M and 2e15, times such as 90min, 2h and 1d."""

import math
import re

_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_WRITTEN = re.compile(r"\s*([-+]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)([A-Za-z]*)\s*", re.ASCII)


def number(text: object) -> float | None:
    """A finite number, also with k, M, B or G, or T behind it (thousand, 1e6, 1e9, 1e12, in either case); None for anything else."""
    return _read(text, _COUNTS)


def seconds(text: object) -> float | None:
    """A time with its unit: s, min, h or d; None for anything else, also for a number without a unit."""
    return _read(text, _SECONDS)


def _read(text: object, units: dict[str, float]) -> float | None:
    match = None if isinstance(text, bool) else _WRITTEN.fullmatch(str(text))
    unit = units.get(match[2].lower()) if match else None
    if match is None or unit is None:
        return None
    try:
        found = float(match[1]) * unit
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) else None
