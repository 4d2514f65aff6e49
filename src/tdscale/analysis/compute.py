"""What training costs: C_J(σ) in FLOPs (equations 4.2, A.1; METHOD.md section 3)."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Accounting = Literal["counted", "paper"]


@dataclass(frozen=True, kw_only=True)
class ComputeModel:
    """FLOPs of a run as a function of (σ, B, D).

    C = B·(D − warm_up)·(per_critic_update·σ + per_actor_update·actor_rate(σ)), where the actor rate is 1 with one actor
    update per env step and σ with one per critic update.

    Attributes:
        accounting: "paper" (C = 10·N·B·σ·D: the actor neglected, warm-up counted) or "counted" (what is really done).
        per_critic_update: FLOPs per transition of a critic update.
        per_actor_update: FLOPs per transition of an actor update.
        actor_per_critic_update: whether the actor is updated at every critic update, not at every env step.
        warm_up: env steps without updates.
    """

    accounting: Accounting
    per_critic_update: float
    per_actor_update: float = 0.0
    actor_per_critic_update: bool = False
    warm_up: float = 0.0

    @classmethod
    def paper(cls, model_size: float) -> "ComputeModel":
        """C = 10·N·B·σ·D with N parameters of the critics (equation 4.2)."""
        return cls(accounting="paper", per_critic_update=10.0 * model_size)

    @classmethod
    def counted(cls, critic_parameters: float, actor_parameters: float, *, actor_per_critic_update: bool, warm_up: float) -> "ComputeModel":
        """Forward 2·N, backward 4·N per transition and pass: 8·N_critic + 2·N_actor for a critic update, 6·(N_critic + N_actor)
        for an actor update; with networks of equal size the paper's 10·N and 12·N."""
        return cls(
            accounting="counted",
            per_critic_update=8.0 * critic_parameters + 2.0 * actor_parameters,
            per_actor_update=6.0 * (critic_parameters + actor_parameters),
            actor_per_critic_update=actor_per_critic_update,
            warm_up=warm_up,
        )

    def flops(self, utd: ArrayLike, batch_size: ArrayLike, data: ArrayLike) -> NDArray[np.float64]:
        """C for σ, B and D of shapes that broadcast; infinite where D is."""
        ratio = np.asarray(utd, dtype=np.float64)
        actor_rate = ratio if self.actor_per_critic_update else 1.0
        per_step = np.asarray(batch_size) * (self.per_critic_update * ratio + self.per_actor_update * actor_rate)
        return np.asarray(per_step * np.maximum(np.asarray(data) - self.warm_up, 0.0))

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)
