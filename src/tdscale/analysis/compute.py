"""What training costs: C_J(σ) in FLOPs, gradient steps or seconds (equations 4.2, A.1, A.3; METHOD.md section 3)."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Accounting = Literal["counted", "paper", "measured"]
ComputeUnit = Literal["flops", "gradient-steps", "seconds"]
UNITS: tuple[ComputeUnit, ...] = ("flops", "gradient-steps", "seconds")
UNIT_NAMES: dict[ComputeUnit, str] = {"flops": "FLOPs", "gradient-steps": "gradient steps", "seconds": "seconds"}


def compute_name(unit: ComputeUnit, accounting: Accounting | None) -> str:
    """Unit and accounting, as they stand behind a number: "FLOPs, counted"."""
    words = {"paper": ", paper accounting", "counted": ", counted", "measured": ", measured", None: ""}
    return UNIT_NAMES[unit] + words[accounting]


def update_flops(critic_parameters: float, actor_parameters: float) -> tuple[float, float]:
    """FLOPs per transition of a critic update and of an actor update, of an algorithm with critics and one actor (METHOD.md section 3).

    Forward 2·N, backward 4·N: 8·N_critic + 2·N_actor and 6·(N_critic + N_actor); with networks of equal size the paper's 10·N and 12·N.
    """
    return 8.0 * critic_parameters + 2.0 * actor_parameters, 6.0 * (critic_parameters + actor_parameters)


@dataclass(frozen=True, kw_only=True)
class ComputeModel:
    """Compute of a run as a function of (σ, B, D), in `unit`.

    C = (D − warm_up)·(σ·(fixed_per_critic_update + B·per_critic_update) + r·(fixed_per_actor_update + B·per_actor_update)),
    where the actor's rate r is 1 with one actor update per env step and σ with one per critic update.

    Attributes:
        accounting: "paper" (C = 10·N·B·σ·D: the actor neglected, warm-up counted), "counted" (what is really done) or
            "measured" (seconds, fitted to those that the runs took).
        unit: of C.
        per_critic_update, per_actor_update: compute per transition of an update.
        fixed_per_critic_update, fixed_per_actor_update: compute of an update whatever B is.
        actor_per_critic_update: whether the actor is updated at every critic update, not at every env step.
        warm_up: env steps without updates.
        scatter: standard deviation of log(measured/fitted) over the cells, for "measured".
        measured_data_cost: δ as the runs measured it, in `unit` per env step: what the run does in the time of an env step, were it
            updating; None where no time was recorded.
    """

    accounting: Accounting
    unit: ComputeUnit = "flops"
    per_critic_update: float
    per_actor_update: float = 0.0
    fixed_per_critic_update: float = 0.0
    fixed_per_actor_update: float = 0.0
    actor_per_critic_update: bool = False
    warm_up: float = 0.0
    scatter: float = 0.0
    measured_data_cost: float | None = None

    @classmethod
    def paper(cls, model_size: float) -> "ComputeModel":
        """C = 10·N·B·σ·D with N parameters of the critics (equation 4.2)."""
        return cls(accounting="paper", per_critic_update=10.0 * model_size)

    @classmethod
    def counted(
        cls, critic_update_flops: float, actor_update_flops: float, *, actor_per_critic_update: bool, warm_up: float
    ) -> "ComputeModel":
        """What is really done, from the FLOPs of an update per transition: recorded, or `update_flops` of the networks' sizes."""
        return cls(
            accounting="counted",
            per_critic_update=critic_update_flops,
            per_actor_update=actor_update_flops,
            actor_per_critic_update=actor_per_critic_update,
            warm_up=warm_up,
        )

    @classmethod
    def gradient_steps(cls, *, warm_up: float = 0.0, paper: bool = False) -> "ComputeModel":
        """C = σ·(D − warm_up): critic updates, whatever they cost (equation A.3; `paper` counts the warm-up's too)."""
        return cls(
            accounting="paper" if paper else "counted",
            unit="gradient-steps",
            per_critic_update=0.0,
            fixed_per_critic_update=1.0,
            warm_up=0.0 if paper else warm_up,
        )

    @property
    def needs_batch_size(self) -> bool:
        """Whether C depends on B."""
        return self.per_critic_update > 0 or self.per_actor_update > 0

    def describe(self) -> str:
        """Unit and accounting (`compute_name`)."""
        return compute_name(self.unit, self.accounting)

    def rate(self, utd: ArrayLike, batch_size: ArrayLike) -> NDArray[np.float64]:
        """C per env step past warm-up, for σ and B of shapes that broadcast."""
        ratio, batch = np.asarray(utd, dtype=np.float64), np.asarray(batch_size, dtype=np.float64)
        actor_rate = ratio if self.actor_per_critic_update else 1.0
        critic = self.fixed_per_critic_update + batch * self.per_critic_update
        actor = self.fixed_per_actor_update + batch * self.per_actor_update
        return np.asarray(critic * ratio + actor * actor_rate)

    def compute_for(self, utd: ArrayLike, batch_size: ArrayLike, data: ArrayLike) -> NDArray[np.float64]:
        """C, in FLOPs unless `unit` says otherwise, for σ, B and D of shapes that broadcast; infinite where D is."""
        return np.asarray(self.rate(utd, batch_size) * np.maximum(np.asarray(data) - self.warm_up, 0.0))

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)
