"""Forms of the data law: what a prediction of D combines."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tdscale.analysis.arrays import Floats

FormName = Literal["offset", "power"]


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form of the data law: "offset" D_min·(1 + (σ/β)^(−α)) or "power" c·σ^(−γ).

    The last axis of every parameter holds the tasks and, behind them, the domain: n = n_tasks + 1.

    Attributes:
        form: which.
        weight: share of the prediction.
        log_scale: log D_min or log c, shape (n,); draws (n_draws, n).
        alpha: α or γ, likewise.
        log_ratio: log β^α, likewise; of no meaning for "power".
    """

    form: FormName
    weight: float
    log_scale: Floats
    alpha: Floats
    log_ratio: Floats
    log_scale_draws: Floats
    alpha_draws: Floats
    log_ratio_draws: Floats

    def log_data(self, log_utd: Floats, place: int) -> Floats:
        """log D at log σ of shape (n,) for the task at this place, −1 for the domain: shape (n,)."""
        at_point = self._at(log_utd, self.log_scale[None, place], self.alpha[None, place], self.log_ratio[None, place])
        return np.asarray(at_point[0])

    def log_data_draws(self, log_utd: Floats, place: int) -> Floats:
        """The same for every draw: shape (n_draws, n)."""
        return self._at(log_utd, self.log_scale_draws[:, place], self.alpha_draws[:, place], self.log_ratio_draws[:, place])

    def _at(self, log_utd: Floats, scale: Floats, alpha: Floats, log_ratio: Floats) -> Floats:
        fall = alpha[:, None] * log_utd
        if self.form == "power":
            return np.asarray(scale[:, None] - fall)
        return np.asarray(scale[:, None] + np.logaddexp(0.0, log_ratio[:, None] - fall))


def held_range(utd: Floats, data: Floats, bound: Floats, law: Callable[[float], Floats]) -> tuple[float, float]:
    """The least and the largest σ between which the held form follows the offset law; beyond them it is constant.

    These are the σ at which a task reached the threshold. A smaller σ at which none did counts, too, if a bound there lies above the
    constant: then the runs themselves say that D went on rising.

    Args:
        utd: σ, shape (n_utds,).
        data: D, shape (n_tasks, n_utds); infinity where censored, NaN where missing.
        bound: last env step seen, same shape.
        law: log D of each task at one log σ, shape (n_tasks,).
    """
    reached = utd[np.isfinite(data).any(axis=0)]
    low, high = float(reached.min()), float(reached.max())
    for place in np.flatnonzero(utd < low)[np.argsort(-utd[utd < low])]:
        censored = np.isposinf(data[:, place])
        if (np.log(bound[censored, place]) > law(float(np.log(low)))[censored]).any():
            low = float(utd[place])
    return low, high
