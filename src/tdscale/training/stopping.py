"""When a cell has seen enough: nearly all bootstrap means of its seeds have crossed the threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tdscale.runs.types import RunState
from tdscale.study import StopTarget

_SEGMENTS = 50  # how often, within the limit, the stop rule is asked
_EPISODES_AFTER = 3  # the margin holds at least so many episodes
_RESAMPLES = 200
_SHARE = 0.95
_GRID = 500


@dataclass(frozen=True)
class ReturnCurve:
    """Training-episode returns of one seed: env steps at which episodes ended, shape (n,), and raw returns, shape (n,)."""

    env_steps: NDArray[np.int64]
    returns: NDArray[np.float64]


def has_crossed(returns: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Whether the isotonic fit of each curve reaches the threshold; shape (..., n) gives (...).

    With P_k = sum over i < k of (y_i − J), the fit first reaches J at the smallest minimiser of P_k, k = 0 … n; k = n
    means never (METHOD.md, "Crossing").
    """
    sums = np.cumsum(returns - threshold, axis=-1)
    sums = np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)
    crossed: NDArray[np.bool_] = np.argmin(sums, axis=-1) < returns.shape[-1]
    return crossed


def crossed_share(curves: Sequence[ReturnCurve], threshold: float) -> float:
    """Share of bootstrap means over seeds that have crossed the threshold.

    Seeds are put on one grid of env steps, where the last return is held after a curve's end (a diverged seed's, that
    is). 0 where fewer than two episodes are there to judge by.
    """
    if not curves or all(len(curve.returns) < 2 for curve in curves):
        return 0.0
    worst = min(curve.returns.min() for curve in curves if len(curve.returns))
    # a seed that ended no episode (it diverged before) has nothing to show: it counts as the worst return seen
    curves = [curve if len(curve.returns) else ReturnCurve(np.zeros(1, np.int64), np.full(1, worst)) for curve in curves]
    steps = np.unique(np.concatenate([curve.env_steps for curve in curves]))
    steps = steps[steps >= max(curve.env_steps[0] for curve in curves)]
    if len(steps) > _GRID:
        steps = steps[np.linspace(0, len(steps) - 1, _GRID).round().astype(int)]
    on_grid = np.stack([np.interp(steps, curve.env_steps, curve.returns) for curve in curves])
    drawn = np.random.default_rng(0).integers(0, len(curves), (_RESAMPLES, len(curves)))
    weights = np.stack([np.bincount(row, minlength=len(curves)) for row in drawn]) / len(curves)
    return float(np.mean(has_crossed(weights @ on_grid, threshold)))


def enough_have_crossed(curves: Sequence[ReturnCurve], threshold: float) -> bool:
    """At least 95 % of the bootstrap means have crossed."""
    return crossed_share(curves, threshold) >= _SHARE


def longest_episode(curves: Sequence[ReturnCurve]) -> int:
    """Env steps of the longest training episode seen."""
    return max(int(np.diff(curve.env_steps, prepend=0).max(initial=0)) for curve in curves)


class Trained(Protocol):
    """A run on its way, as the stop rule sees it."""

    state: RunState

    @property
    def env_step(self) -> int:
        """Where it stands."""
        ...

    @property
    def going(self) -> bool:
        """False once it has diverged or failed."""
        ...

    def return_curve(self, env_step: int) -> ReturnCurve:
        """Its training-episode returns up to an env step."""
        ...


@dataclass
class StopRule:
    """When the seeds of a cell stop, all at one env step.

    Attributes:
        limit: env steps at which they do in any case.
        target: where to stop before it; None for never.
        end: env steps at which they stop, as far as is known.
        next_stop: env step at which `is_done_at` is to be asked next.
    """

    limit: int
    target: StopTarget | None
    end: int = field(init=False)
    next_stop: int = field(init=False)

    def __post_init__(self) -> None:
        self.end = self.limit
        self.segment = ceil(self.limit / _SEGMENTS)
        self.next_stop = min(self.segment, self.end)

    def is_done_at(self, step: int, runs: Sequence[Trained], *, not_before: int = 0) -> bool:
        """Whether the cell stops at an env step that all of its runs have reached.

        Args:
            step: rises from call to call and leaves out no `next_stop`.
            runs: the cell's seeds. Gone on from a checkpoint, one may be past this step already, or have ended after it.
            not_before: an `end` that is now decided on is not before this env step.
        """
        going = [run for run in runs if run.going or run.env_step > step]
        if going and step == self.next_stop and self.target is not None:
            curves = [run.return_curve(step) for run in runs if run.state != "failed" or run.env_step > step]
            if not enough_have_crossed(curves, self.target.return_threshold):
                self.end = self.limit  # a lucky episode may cross and the next ones take it back
            elif self.end == self.limit:
                end = step + max(ceil(self.target.margin * step), _EPISODES_AFTER * longest_episode(curves))
                self.end = min(self.limit, max(end, not_before))
        if not going or step >= self.end:
            return True
        if step == self.next_stop:
            self.next_stop = min(step + self.segment, self.end)
        return False
