"""When updates are due, and when a cell of runs has seen enough to stop. Without JAX: trainers of other programs use both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tdscale.runs.types import RunState, over_seeds, seeds_trimmed
from tdscale.study import Aggregate, StopTarget

_SEGMENTS = 50  # how often, within the limit, the stop rule is asked
_EPISODES_AFTER = 3  # episodes that a cell trains for at least after it has crossed
_RESAMPLES = 200  # bootstrap means over seeds
_SHARE = 0.95  # of them that must have crossed
_GRID = 500  # env steps at which curves are compared, at most


class UpdateFlags(NamedTuple):
    """What one minibatch is used for."""

    critic: bool
    actor: bool


class UpdateSchedule:
    """The updates due as env steps past warm-up are made.

    "per-env-step": the actor is updated exactly once per step of the environments, on the step's last minibatch, or on one of
    its own where no critic update is due (σ < 1). "per-critic-update": on every minibatch, or on every `every`-th one
    (PQL's pacing).
    """

    def __init__(self, utd: float, actor_updates: Literal["per-env-step", "per-critic-update"], every: int = 1) -> None:
        self._utd = exact_ratio(utd)
        self._per_env_step = actor_updates == "per-env-step"
        self._every = every

    def critic_updates_due(self, steps: int) -> int:
        """floor(σ·t) for t = `steps` past warm-up."""
        return self._utd.numerator * max(steps, 0) // self._utd.denominator

    def due_between(self, before: int, after: int) -> list[UpdateFlags]:
        """The minibatches brought by a step of the environments, from `before` to `after` env steps past warm-up."""
        first, end = self.critic_updates_due(before), self.critic_updates_due(after)
        if not self._per_env_step:
            return [UpdateFlags(critic=True, actor=(index + 1) % self._every == 0) for index in range(first, end)]
        if first == end:
            return [UpdateFlags(critic=False, actor=True)]
        return [UpdateFlags(critic=True, actor=False)] * (end - first - 1) + [UpdateFlags(critic=True, actor=True)]


def exact_ratio(utd: float) -> Fraction:
    """The ratio that was meant by a float: 1/10 for 0.1, 1/3 for 0.333…, so that floor(σ·t) is never one short."""
    simple = Fraction(utd).limit_denominator(1 << 20)
    return simple if abs(float(simple) - utd) <= 1e-14 * utd else Fraction(utd)


@dataclass(frozen=True)
class ReturnCurve:
    """Training-episode returns of one seed: env steps at which episodes ended, shape (n,), and raw returns, shape (n,)."""

    env_steps: NDArray[np.int64]
    returns: NDArray[np.float64]


def has_crossed(returns: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Whether the isotonic fit of each curve reaches the threshold; shape (..., n) gives (...).

    With P_k = sum over i < k of (y_i − J), the fit first reaches J at the smallest minimiser of P_k, k = 0 … n; k = n
    means never (docs/method.md).
    """
    sums = np.cumsum(returns - threshold, axis=-1)
    sums = np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)
    crossed: NDArray[np.bool_] = np.argmin(sums, axis=-1) < returns.shape[-1]
    return crossed


def crossed_share(curves: Sequence[ReturnCurve], threshold: float, aggregate: Aggregate = "mean") -> float:
    """Share of bootstrap means (interquartile means, medians) over seeds that have crossed the threshold.

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
    if seeds_trimmed(aggregate, len(curves)):
        return float(np.mean([has_crossed(over_seeds(on_grid[row], aggregate), threshold) for row in drawn]))
    weights = np.stack([np.bincount(row, minlength=len(curves)) for row in drawn]) / len(curves)
    return float(np.mean(has_crossed(weights @ on_grid, threshold)))


def enough_have_crossed(curves: Sequence[ReturnCurve], target: StopTarget) -> bool:
    """At least 95 % of the bootstrap means have crossed."""
    return crossed_share(curves, target.return_threshold, target.aggregate) >= _SHARE


def longest_episode(curves: Sequence[ReturnCurve]) -> int:
    """Env steps of the longest training episode seen."""
    return max(int(np.diff(curve.env_steps, prepend=0).max(initial=0)) for curve in curves)


class Trained(Protocol):
    """A run being trained, as the stop rule sees it."""

    state: RunState

    @property
    def env_step(self) -> int:
        """Env steps done."""
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
        limit: env steps at which they stop in any case.
        target: where to stop before it; None for never.
        cut: where they stop if they have not crossed by then; None: at the limit.
        least: env steps that they are brought to in any case.
        crossed: whether they have crossed, if known.
        end: env steps at which they stop, if known.
        next_stop: env step at which `is_done_at` is to be called next.
    """

    limit: int
    target: StopTarget | None
    cut: int | None = None
    least: int = 0
    crossed: bool = field(init=False, default=False)
    end: int = field(init=False)
    next_stop: int = field(init=False)

    def __post_init__(self) -> None:
        self.end = self._uncrossed_end
        self.segment = ceil(self.limit / _SEGMENTS)
        self.next_stop = min(self.segment, self.end)

    @property
    def _uncrossed_end(self) -> int:
        return self.limit if self.cut is None else min(max(self.cut, self.least), self.limit)

    @property
    def stopped_at(self) -> float | None:
        """The return whose crossing ended the cell before its limit; None where that was not why."""
        return self.target.return_threshold if self.target is not None and self.crossed and self.end < self.limit else None

    def is_done_at(self, step: int, runs: Sequence[Trained], *, not_before: int = 0) -> bool:
        """Whether the cell stops at an env step that all of its runs have reached.

        Args:
            step: rises from call to call and leaves out no `next_stop`.
            runs: the cell's seeds. One that was resumed may be past this step already, or have ended after it.
            not_before: the least `end` that may be set now.
        """
        going = [run for run in runs if run.going or run.env_step > step]
        if going and step == self.next_stop and self.target is not None:
            curves = [run.return_curve(step) for run in runs if run.state != "failed" or run.env_step > step]
            if not enough_have_crossed(curves, self.target):
                # a lucky episode may cross and the next ones take it back
                self.crossed, self.end = False, max(self._uncrossed_end, step)
            elif not self.crossed:
                end = step + max(ceil(self.target.margin * step), _EPISODES_AFTER * longest_episode(curves))
                self.crossed, self.end = True, min(self.limit, max(end, not_before, self.least))
        if not going or step >= self.end:
            return True
        if step == self.next_stop:
            self.next_stop = min(step + self.segment, self.end)
        return False
