"""When updates are due: floor(σ·t) critic updates after t env steps past warm-up, and the actor's beside them."""

from fractions import Fraction
from typing import Literal, NamedTuple


class UpdateFlags(NamedTuple):
    """What one minibatch is used for."""

    critic: bool
    actor: bool


class UpdateSchedule:
    """The updates due as env steps past warm-up are made.

    "per-env-step": the actor is updated exactly once per step of the environments, on the step's last minibatch, or on one of
    its own where no critic update is due (σ < 1). "per-critic-update": on every minibatch or, with `every` above 1, on every
    so-manieth (PQL's pacing).
    """

    def __init__(self, utd: float, actor_updates: Literal["per-env-step", "per-critic-update"], every: int = 1) -> None:
        self._utd = exact_ratio(utd)
        self._per_env_step = actor_updates == "per-env-step"
        self._every = every

    def critic_updates_due(self, steps: int) -> int:
        """floor(σ·t) for t = `steps` past warm-up."""
        return self._utd.numerator * max(steps, 0) // self._utd.denominator

    def steps_until(self, critic_updates: int) -> int:
        """The least t, env steps past warm-up, after which so many critic updates have been due."""
        return -(-critic_updates * self._utd.denominator // self._utd.numerator)

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
