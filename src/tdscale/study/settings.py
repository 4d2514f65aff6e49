"""What an algorithm does beyond (σ, B, η): every value that matters is a field, with the peers' default.

Sources of the defaults: Haarnoja et al. 2018 (SAC), jaxrl, CleanRL, Nauman et al. 2024 (BRO); see docs/algorithms.md.
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

    @property
    def environments(self) -> int:
        """Environments that a run steps together."""
        return 1

    @property
    def n_step(self) -> int:
        """Rewards that a transition sums up."""
        return 1

    @property
    def critic_updates_per_actor_update(self) -> int:
        """The pacing, where the actor is updated with critic updates."""
        return 1


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
        _check_log_std(self.log_std_min, self.log_std_max)
        return self


ResetRule = Literal["bro", "bro-fast", "gradient-steps", "env-steps", "none"]
RESET_ENV_STEPS = {"bro": (15_001, 50_001, 250_001, 500_001, 750_001, 1_000_001, 1_500_001, 2_000_001), "bro-fast": (15_001,)}


class BROMinimalSettings(TrainingSettings):
    """BRO (Nauman et al. 2024) without its optimistic explorer."""

    critic_width: Width = Field(512, description="width of the critics")
    critic_blocks: int = Field(2, ge=0, le=64, description="residual blocks of each critic")
    actor_width: Width = Field(256, description="width of the actor, and of the explorer")
    actor_blocks: int = Field(1, ge=0, le=64, description="residual blocks of the actor, and of the explorer")
    quantiles: int = Field(100, ge=1, le=1000, description="quantiles that a critic predicts")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's, on all parameters of critics and actors")
    discount: float = Field(0.99, gt=0, lt=1, description="γ")
    target_rate: float = Field(0.005, gt=0, le=1, description="τ, how far the target critics move at every critic update")
    initial_temperature: float = Field(1.0, gt=0, description="entropy temperature at the start")
    temperature_learning_rate: float = Field(3e-4, gt=0, lt=1, description="of the temperature's Adam, whatever η is")
    target_entropy_per_dimension: float = Field(-0.5, description="target entropy over dim(A)")
    log_std_min: float = Field(-10.0, description="lower bound that the policy's log standard deviation is squashed into")
    log_std_max: float = Field(2.0, description="upper bound")
    reset_rule: ResetRule = Field("gradient-steps", description="when networks and optimisers begin anew")
    reset_critic_updates: int = Field(2_500_000, ge=1, description='critic updates between resets, for reset_rule = "gradient-steps"')
    reset_env_steps: tuple[Annotated[int, Field(ge=1)], ...] = Field((), description='for reset_rule = "env-steps"')
    warm_up: int = Field(2500, ge=1, description="env steps of uniformly random actions before the first update")
    actor_updates: Literal["per-env-step", "per-critic-update"] = Field(
        "per-critic-update", description="when actors, temperature and dual variables are updated"
    )

    @property
    def optimistic(self) -> bool:
        """Whether an explorer collects the data."""
        return False

    @property
    def resets(self) -> Resets:
        """What `reset_rule` names."""
        if self.reset_rule == "gradient-steps":
            return Resets(critic_updates=self.reset_critic_updates)
        return Resets(env_steps=self.reset_env_steps or RESET_ENV_STEPS.get(self.reset_rule, ()))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_log_std(self.log_std_min, self.log_std_max)
        if (self.reset_rule == "env-steps") != bool(self.reset_env_steps):
            raise ValueError('reset_env_steps and reset_rule = "env-steps" go together, e.g. reset_env_steps = [15001, 50001]')
        return self


class BROSettings(BROMinimalSettings):
    """BRO in full (Nauman et al. 2024): an optimistic explorer collects the data."""

    reset_rule: ResetRule = Field("bro", description="when networks and optimisers begin anew")
    initial_optimism: float = Field(1.0, gt=0, description="factor on |Q1 - Q2| / 2 at the start")
    initial_regulariser: float = Field(0.25, gt=0, description="factor on the divergence of explorer from actor at the start")
    dual_learning_rate: float = Field(3e-5, gt=0, lt=1, description="of both factors' Adam, whatever η is")
    target_divergence_per_dimension: float = Field(0.05, gt=0, description="KL that both factors hold the explorer to, over dim(A)")
    explorer_std_factor: float = Field(0.75, gt=0, le=10, description="the explorer's standard deviation over the actor's")
    explorer_initial_scale: float = Field(0.01, ge=0, description="gain of the explorer's last layer at the start")

    @property
    def optimistic(self) -> bool:
        """Whether an explorer collects the data."""
        return True


def _check_log_std(low: float, high: float) -> None:
    if low >= high:
        raise ValueError(f"log_std_min = {low:g} must be below log_std_max = {high:g}")


SETTINGS: dict[str, type[TrainingSettings]] = {"sac": SACSettings, "bro": BROSettings, "bro-minimal": BROMinimalSettings}
