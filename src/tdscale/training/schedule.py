"""When updates are due: floor(σ·t) critic updates after t env steps past warm-up, and the actor's beside them."""

from fractions import Fraction
from typing import Literal, NamedTuple


class UpdateFlags(NamedTuple):
    """What one minibatch is used for."""

    critic: bool
    actor: bool


class UpdateSchedule:
    """The updates due at each env step past warm-up.

    "per-env-step": the actor is updated exactly once per env step, on the step's last minibatch, or on one of its own where
    no critic update is due (σ < 1). "per-critic-update": on every minibatch.
    """

    def __init__(self, utd: float, actor_updates: Literal["per-env-step", "per-critic-update"]) -> None:
        self._utd = exact_ratio(utd)
        self._per_env_step = actor_updates == "per-env-step"

    def critic_updates_due(self, steps: int) -> int:
        """floor(σ·t) for t = `steps` past warm-up."""
        return self._utd.numerator * max(steps, 0) // self._utd.denominator

    def due_at(self, step: int) -> list[UpdateFlags]:
        """The minibatches that the `step`-th env step past warm-up (1, 2, …) brings."""
        count = self.critic_updates_due(step) - self.critic_updates_due(step - 1)
        if not self._per_env_step:
            return [UpdateFlags(critic=True, actor=True)] * count
        if count == 0:
            return [UpdateFlags(critic=False, actor=True)]
        return [UpdateFlags(critic=True, actor=False)] * (count - 1) + [UpdateFlags(critic=True, actor=True)]


def exact_ratio(utd: float) -> Fraction:
    """The ratio that was meant by a float: 1/10 for 0.1, 1/3 for 0.333…, so that floor(σ·t) is never one short."""
    simple = Fraction(utd).limit_denominator(1 << 20)
    return simple if abs(float(simple) - utd) <= 1e-14 * utd else Fraction(utd)
