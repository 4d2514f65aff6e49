"""Many numbers in little text: log D of every draw, as the page's script unpacks it."""

import base64
import gzip

import numpy as np

from tdscale.analysis.arrays import Floats

UNKNOWN, INFINITE, LARGEST = 65535, 65534, 65000
_FINEST = 1e-5


def packed(log_values: Floats) -> tuple[str, float, float]:
    """log D of shape (n_draws, n) as base64 of gzip of 16-bit integers, with the offset and the step that they count in.

    Integer k stands for offset + k·step; `UNKNOWN` for NaN, `INFINITE` for what never ends. Along each row differences are stored, modulo
    2¹⁶, low bytes first, high bytes behind: neighbours hardly differ.
    """
    finite = np.isfinite(log_values)
    low, high = (float(log_values[finite].min()), float(log_values[finite].max())) if finite.any() else (0.0, 0.0)
    step = max((high - low) / LARGEST, _FINEST)
    whole = np.clip(np.round((np.where(finite, log_values, low) - low) / step), 0, LARGEST)
    whole = np.where(finite | np.isneginf(log_values), whole, np.where(np.isnan(log_values), UNKNOWN, INFINITE))
    flat = np.diff(whole.astype("<u2"), axis=1, prepend=np.uint16(0)).ravel().view(np.uint8)
    planes = np.concatenate([flat[0::2], flat[1::2]])
    return base64.b64encode(gzip.compress(planes.tobytes(), 9, mtime=0)).decode("ascii"), low, step
