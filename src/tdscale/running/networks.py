"""The networks that a study's plan may name: its sizes, and those between and beyond them that can be built."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning import Network, networks_run
from tdscale.study import Study
from tdscale.study.sizes import size_settings

_BETWEEN = 2  # widths tried between two sizes
_BEYOND = (1.41, 2.0)  # and by what factors of N beyond the largest
_WIDTH_MULTIPLE = 16


def buildable(study: Study, laws: ScalingLaws) -> list[Network]:
    """The sizes of a study, N rising, and where one width makes them, further widths between them and up to twice the largest N.

    A width's N is read off the sizes': log N as a piecewise linear function of log width.
    """
    ran = networks_run(laws)
    widths = [_width(size_settings(study.sizes[network.name])) if network.name in study.sizes else None for network in ran]
    if len(ran) < 2 or None in widths:
        return ran
    known = [width for width in widths if width is not None]
    log_width, log_size = np.log([width for _, width, _ in known]), np.log([network.model_size for network in ran])
    # one key, one depth, N rising with the width
    if len({(key, depth) for key, _, depth in known}) > 1 or (np.diff(log_width) <= 0).any():
        return ran
    key, _, depth = known[0]
    between = [np.linspace(a, b, _BETWEEN + 2)[1:-1] for a, b in pairwise(log_size)]
    targets = [*np.concatenate(between), *(log_size[-1] + math.log(factor) for factor in _BEYOND)]
    further = {}
    for target in targets:
        width = round(math.exp(_line(target, log_size, log_width)) / _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE
        if width > 0 and np.abs(log_width - math.log(width)).min() > 0.02:
            further[width] = math.exp(_line(math.log(width), log_width, log_size))
    named = [Network(name=f"{key} = {_written(width, depth)}", model_size=size, ran=False) for width, size in further.items()]
    return sorted([*ran, *named], key=lambda network: network.model_size)


def _width(settings: dict[str, Any]) -> tuple[str, int, int | None] | None:
    """The one width that makes a size: its key, the width, and of a list of equal widths its length; None where there is no such thing."""
    if len(settings) != 1:
        return None
    key, value = next(iter(settings.items()))
    if isinstance(value, list | tuple) and value and all(one == value[0] for one in value) and _is_width(value[0]):
        return key, int(value[0]), len(value)
    return (key, int(value), None) if _is_width(value) and "width" in key else None


def _is_width(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _written(width: int, depth: int | None) -> str:
    return str(width) if depth is None else "[" + ", ".join([str(width)] * depth) + "]"


def _line(at: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Piecewise linear, on from the last two points."""
    left = int(np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2))
    return float(y[left] + (at - x[left]) * (y[left + 1] - y[left]) / (x[left + 1] - x[left]))
