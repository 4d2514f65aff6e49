"""What an algorithm does beyond (σ, B, η): every value that matters is a field, with the peers' default.

Sources of the defaults: Haarnoja et al. 2018 (SAC), jaxrl, CleanRL, Nauman et al. 2024 (BRO), Li et al. 2023 (PQL); see docs/algorithms.md.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

Width = Annotated[int, Field(ge=1, le=8192)]
Precision = Literal["float32", "bfloat16"]
Factor = Annotated[float, Field(gt=4.54e-5, lt=1808)]  # what BRO's dual variables can be: e^-10 to e^7.5
# settings that came later, and what holds without them
_UNSAID = {"environments": 1, "n_step": 1, "critic_updates_per_actor_update": 1, "matmul_precision": "float32", "pessimism": 0.0}


@dataclass(frozen=True)
class Resets:
    """When networks and optimisers are reset; the replay buffer is not.

    Attributes:
        env_steps: before the updates of these env steps.
        critic_updates: after every so many critic updates; None for never.
        same_weights: whether networks and random key begin as they first did, not from a new seed.
    """

    env_steps: tuple[int, ...] = ()
    critic_updates: int | None = None
    same_weights: bool = False


class TrainingSettings(BaseModel):
    """What the training loop reads, for every algorithm."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    warm_up: int = Field(5000, ge=1, description="env steps of uniformly random actions before the first update")
    replay_capacity: int = Field(1_000_000, ge=1, description="transitions in the replay buffer")
    actor_updates: Literal["per-env-step", "per-critic-update"] = Field(
        "per-env-step", description="when the actor and the temperature are updated"
    )
    update_block: int = Field(
        1, ge=1, le=1024, description="env steps whose updates are made together; above 1 it is faster, and the policy lags"
    )
    evaluation_interval: int = Field(5000, ge=0, description="env steps between evaluations of the mean policy; 0 = none")
    evaluation_episodes: int = Field(3, ge=1, description="episodes of each evaluation")
    diagnostics_interval: int = Field(1000, ge=0, description="env steps between diagnostics; 0 = none")
    environments: int = Field(1, ge=1, le=65_536, description="environments of one run, stepped together")
    n_step: int = Field(1, ge=1, le=100, description="rewards that a transition sums up before its bootstrap")
    critic_updates_per_actor_update: int = Field(
        1, ge=1, description='critic updates for each of the actor, where actor_updates = "per-critic-update"'
    )

    @model_serializer(mode="wrap")
    def _without_unsaid(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out settings that came later where default and choice are what held before: specs from then keep their run_id."""
        values: dict[str, Any] = handler(self)
        defaults = type(self).model_fields
        unsaid = {name for name, before in _UNSAID.items() if name in values and values[name] == defaults[name].default == before}
        return {name: value for name, value in values.items() if name not in unsaid}

    @property
    def resets(self) -> Resets:
        """None, unless the algorithm has them."""
        return Resets()


class NetworkSettings(TrainingSettings):
    """What the networks of SAC, BRO and PQL have in common."""

    matmul_precision: Precision = Field(
        "float32", description="precision of the factors in matrix products of updates; bfloat16 is faster on GPUs and newer CPUs"
    )


class SACSettings(NetworkSettings):
    """Soft actor-critic with twin critics and a learnt temperature (Haarnoja et al. 2018)."""

    hidden_sizes: tuple[Width, ...] = Field((256, 256), min_length=1, description="layer widths of actor and critics")
    discount: float = Field(0.99, gt=0, lt=1, description="γ")
    target_rate: float = Field(0.005, gt=0, le=1, description="τ, step of the target critics at every critic update")
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


class BROMinimalSettings(NetworkSettings):
    """BRO (Nauman et al. 2024) without its optimistic explorer."""

    critic_width: Width = Field(512, description="width of the critics")
    critic_blocks: int = Field(2, ge=0, le=64, description="residual blocks of each critic")
    actor_width: Width = Field(256, description="width of the actor, and of the explorer")
    actor_blocks: int = Field(1, ge=0, le=64, description="residual blocks of the actor, and of the explorer")
    quantiles: int = Field(100, ge=1, le=1000, description="quantiles that a critic predicts")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay of AdamW, on all parameters of critics and actors")
    discount: float = Field(0.99, gt=0, lt=1, description="γ")
    target_rate: float = Field(0.005, gt=0, le=1, description="τ, step of the target critics at every critic update")
    initial_temperature: float = Field(1.0, gt=0, description="entropy temperature at the start")
    temperature_learning_rate: float = Field(3e-4, gt=0, lt=1, description="learning rate of the temperature, independent of η")
    target_entropy_per_dimension: float = Field(-0.5, description="target entropy over dim(A)")
    pessimism: float = Field(
        0.0, ge=0, le=10, description="factor on |Q1 - Q2| / 2 taken off targets and the actor's value; 1 = the smaller critic"
    )
    log_std_min: float = Field(-10.0, description="lower bound that the policy's log standard deviation is squashed into")
    log_std_max: float = Field(2.0, description="upper bound")
    reset_rule: ResetRule = Field("gradient-steps", description="when networks and optimisers are reset")
    reset_critic_updates: int = Field(2_500_000, ge=1, description='critic updates between resets, for reset_rule = "gradient-steps"')
    reset_weights: Literal["initial", "fresh"] = Field(
        "initial", description="weights and random key after a reset: the run's first ones (the authors' code), or fresh ones (paper)"
    )
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
        same_weights = self.reset_weights == "initial"
        if self.reset_rule == "gradient-steps":
            return Resets(critic_updates=self.reset_critic_updates, same_weights=same_weights)
        return Resets(env_steps=self.reset_env_steps or RESET_ENV_STEPS.get(self.reset_rule, ()), same_weights=same_weights)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_log_std(self.log_std_min, self.log_std_max)
        if (self.reset_rule == "env-steps") != bool(self.reset_env_steps):
            raise ValueError('reset_env_steps and reset_rule = "env-steps" go together, e.g. reset_env_steps = [15001, 50001]')
        return self


class BROSettings(BROMinimalSettings):
    """BRO in full (Nauman et al. 2024): an optimistic explorer collects the data."""

    reset_rule: ResetRule = Field("bro", description="when networks and optimisers are reset")
    initial_optimism: Factor = Field(1.0, description="factor on |Q1 - Q2| / 2 at the start")
    initial_regulariser: Factor = Field(0.25, description="factor on the divergence of explorer from actor at the start")
    dual_learning_rate: float = Field(
        3e-5, gt=0, lt=1, description="learning rate of both factors, for x of exp(-10 + 8.75 (1 + tanh x)), independent of η"
    )
    target_divergence_per_dimension: float = Field(0.05, gt=0, description="target of the explorer's KL, over dim(A)")
    explorer_std_factor: float = Field(0.75, gt=0, le=10, description="the explorer's standard deviation over the actor's")
    explorer_initial_scale: float = Field(0.01, ge=0, description="gain of the explorer's last layer at the start")

    @property
    def optimistic(self) -> bool:
        """Whether an explorer collects the data."""
        return True


class PQLSettings(NetworkSettings):
    """Parallel Q-learning (Li et al. 2023): a deterministic policy, twin critics, thousands of environments."""

    hidden_sizes: tuple[Width, ...] = Field((512, 256, 128), min_length=1, description="layer widths of actor and critics")
    discount: float = Field(0.99, gt=0, lt=1, description="γ, per step of the environment: γ^n_step at the bootstrap")
    target_rate: float = Field(0.05, gt=0, le=1, description="τ, step of the target critics at every critic update")
    weight_decay: float = Field(1e-2, ge=0, description="weight decay of AdamW, on all parameters of critics and actor")
    gradient_norm_limit: float = Field(0.5, gt=0, description="gradients of actor and of critics are clipped to this norm")
    smoothing_std: float = Field(0.8, ge=0, description="standard deviation of the noise on the target's action")
    smoothing_limit: float = Field(0.2, ge=0, description="that noise is clipped to ± this")
    exploration_std_min: float = Field(0.05, ge=0, description="standard deviation of the noise on the first environment's actions")
    exploration_std_max: float = Field(
        0.8, ge=0, description="standard deviation of the noise on the last environment's actions; evenly spaced between"
    )
    observation_limit: float = Field(5.0, gt=0, description="normalised observations are clipped to ± this")
    environments: int = Field(4096, ge=1, le=65_536, description="environments of one run, stepped together")
    n_step: int = Field(3, ge=1, le=100, description="rewards that a transition sums up before its bootstrap")
    critic_updates_per_actor_update: int = Field(
        2, ge=1, description='critic updates for each of the actor, where actor_updates = "per-critic-update"'
    )
    actor_updates: Literal["per-env-step", "per-critic-update"] = Field(
        "per-critic-update", description="when the actor is updated: once per step of all environments, or by critic updates"
    )
    warm_up: int = Field(32 * 4096, ge=1, description="env steps, over all environments, of random actions before the first update")
    replay_capacity: int = Field(5_000_000, ge=1, description="transitions in the replay buffer")
    evaluation_interval: int = Field(1_000_000, ge=0, description="env steps between evaluations of the policy; 0 = none")
    diagnostics_interval: int = Field(1_000_000, ge=0, description="env steps between diagnostics; 0 = none")

    @property
    def distributional(self) -> bool:
        """Whether critics predict distributions."""
        return False

    @model_validator(mode="after")
    def _rising(self) -> Self:
        low, high = self.exploration_std_min, self.exploration_std_max
        if low > high:
            raise ValueError(f"exploration_std_min = {low:g} must not be above exploration_std_max = {high:g}")
        return self


class PQLDSettings(PQLSettings):
    """PQL-D: the critics predict distributions of the return over fixed atoms."""

    atoms: int = Field(51, ge=2, le=256, description="values that a return may take")
    value_min: float = Field(-10.0, description="the lowest of them; lower returns count as this")
    value_max: float = Field(10.0, description="the highest")
    critic_loss: Literal["binary-cross-entropy", "cross-entropy"] = Field(
        "binary-cross-entropy", description="loss of the critics: binary, atom by atom (the authors' code), or of the whole distribution"
    )

    @property
    def distributional(self) -> bool:
        """Whether critics predict distributions."""
        return True

    @model_validator(mode="after")
    def _has_range(self) -> Self:
        if self.value_min >= self.value_max:
            raise ValueError(f"value_min = {self.value_min:g} must be below value_max = {self.value_max:g}")
        return self


def _check_log_std(low: float, high: float) -> None:
    if low >= high:
        raise ValueError(f"log_std_min = {low:g} must be below log_std_max = {high:g}")


SETTINGS: dict[str, type[TrainingSettings]] = {
    "sac": SACSettings,
    "bro": BROSettings,
    "bro-minimal": BROMinimalSettings,
    "pql": PQLSettings,
    "pql-d": PQLDSettings,
}
