"""What an algorithm does beyond (σ, B, η): every value that matters is a field, with the peers' default.

Sources of the defaults: Haarnoja et al. 2018 (SAC), jaxrl, CleanRL; see docs/algorithms.md.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Width = Annotated[int, Field(ge=1, le=8192)]


@dataclass(frozen=True)
class Resets:
    """When training begins anew with fresh networks and optimisers, the replay kept.

    Attributes:
        env_steps: before the updates of these env steps.
        critic_updates: after every so many critic updates; None for never.
    """

    env_steps: tuple[int, ...] = ()
    critic_updates: int | None = None


class TrainingSettings(BaseModel):
    """What the training loop reads, whatever the algorithm."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    warm_up: int = Field(5000, ge=1, description="env steps of uniformly random actions before the first update")
    replay_capacity: int = Field(1_000_000, ge=1, description="transitions kept")
    actor_updates: Literal["per-env-step", "per-critic-update"] = Field(
        "per-env-step", description="when the actor and the temperature are updated"
    )
    update_block: int = Field(
        1, ge=1, le=1024, description="env steps whose due updates are applied together; above 1 it is faster and delays the policy"
    )
    evaluation_interval: int = Field(5000, ge=0, description="env steps between evaluations of the mean policy; 0 = none")
    evaluation_episodes: int = Field(3, ge=1, description="episodes of each evaluation")
    diagnostics_interval: int = Field(1000, ge=0, description="env steps between diagnostics; 0 = none")

    @property
    def resets(self) -> Resets:
        """None, unless the algorithm has them."""
        return Resets()


class SACSettings(TrainingSettings):
    """Soft actor-critic with twin critics and a learnt temperature (Haarnoja et al. 2018)."""

    hidden_sizes: tuple[Width, ...] = Field((256, 256), min_length=1, description="widths of actor and critics")
    discount: float = Field(0.99, gt=0, lt=1, description="γ")
    target_rate: float = Field(0.005, gt=0, le=1, description="τ, how far the target critics move at every critic update")
    initial_temperature: float = Field(1.0, gt=0, description="entropy temperature at the start")
    target_entropy_per_dimension: float = Field(
        -0.5, description="target entropy over dim(A): -0.5 as jaxrl, -1 as CleanRL and Stable-Baselines3"
    )
    log_std_min: float = Field(-10.0, description="lower clip of the policy's log standard deviation")
    log_std_max: float = Field(2.0, description="upper clip of the policy's log standard deviation")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.log_std_min >= self.log_std_max:
            raise ValueError(f"log_std_min = {self.log_std_min:g} must be below log_std_max = {self.log_std_max:g}")
        return self


SETTINGS: dict[str, type[TrainingSettings]] = {"sac": SACSettings}
