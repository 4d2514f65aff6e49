"""`Study`: the question, as a user writes it in one TOML file."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from tdscale.errors import UserError
from tdscale.study.custom import TrainerOptions, check_command, is_custom
from tdscale.study.settings import SETTINGS
from tdscale.study.sizes import MODEL_SIZE, check_beside, check_networks, check_sizes, parse_sizes, size_settings
from tdscale.study.spec import RECORDING, Aggregate, RunSpec, Stage

# of each stage: no two have a seed in common
FIRST_SEEDS: dict[Stage, int] = {"sweep": 0, "scaling": 10_000, "baseline": 30_000, "confirm": 50_000}
_MOST = 10**15  # env steps or critic updates: beyond any run, and exact in float64


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _distinct(values: tuple[float, ...]) -> tuple[float, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{value:g} is there twice; give each value once")
    return values


SUITES = ("gymnasium", "dm_control", "tdscale", "imported")
Utd = Annotated[float, Field(gt=0, le=4096)]
BatchSize = Annotated[int, Field(ge=1, le=1 << 20)]
LearningRate = Annotated[float, Field(gt=0, lt=1)]
Utds = Annotated[tuple[Utd, ...], Field(min_length=1), AfterValidator(_distinct)]


class Task(_Part):
    """A task and the scale of its return: `low` is normalised to 0, `high` to 1000."""

    suite: str = Field("gymnasium", description="where the task comes from: one of SUITES, any text for your own trainer")
    low: float = Field(0.0, description="return of an idle or random policy")
    high: float = Field(description="reference return")
    reward_scale: float = Field(1.0, gt=0, description="factor on the rewards that the agent learns from")
    env_steps: int | None = Field(None, ge=1, description="overrides limits.env_steps")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"high = {self.high:g} must be above low = {self.low:g}")
        return self


class Sweep(_Part):
    """Stage 1: finds the best B and η at each σ. The grid design runs every combination, the adaptive one the most informative ones."""

    utd: Utds
    batch_size: Annotated[tuple[BatchSize, ...], Field(min_length=1), AfterValidator(_distinct)]
    learning_rate: Annotated[tuple[LearningRate, ...], Field(min_length=1), AfterValidator(_distinct)]
    seeds: int = Field(3, ge=1, le=1000, description="seeds of each cell; in the adaptive design, the maximum")
    design: Literal["grid", "adaptive"] = Field(
        "grid", description="which cells are run: all of them, or the most informative ones, in rounds"
    )
    regret: float | None = Field(
        None,
        gt=0,
        description="adaptive: stage 1 ends once the chosen B and η are expected to need at most this much more data than the best ones, "
        "as a difference of log D, mean over tasks and σ; None: 0.05",
    )
    round_size: int | None = Field(None, ge=1, description="adaptive: cells of each round after the first; None: tasks × UTD ratios")
    most_env_steps: int | None = Field(None, ge=1, le=_MOST, description="adaptive: stage 1 ends before it takes more env steps than this")
    price: Literal["env-steps", "seconds"] | None = Field(
        None,
        description="adaptive: what a run costs when cells are compared: its env steps, or its seconds, measured once before the first "
        "round; None: env-steps",
    )

    @model_validator(mode="after")
    def _of_adaptive(self) -> Self:
        given = [name for name in ("regret", "round_size", "most_env_steps", "price") if getattr(self, name) is not None]
        if given and self.design != "adaptive":
            raise ValueError(f'{given[0]}: is for the adaptive design only; add design = "adaptive", or leave {given[0]} out')
        return self

    @property
    def is_adaptive(self) -> bool:
        """Whether its cells are chosen in rounds."""
        return self.design == "adaptive"


class Scaling(_Part):
    """Stage 2: fresh seeds at the fitted B*(σ), η*(σ)."""

    utd: Utds
    seeds: int = Field(5, ge=1, le=1000, description="seeds at each task and UTD ratio; in the adaptive design, the maximum")
    design: Literal["grid", "adaptive"] | None = Field(
        None, description="grid: all seeds at every task and σ; adaptive: in rounds, more where D is least known; None: as in [sweep]"
    )
    precision: float | None = Field(
        None,
        gt=0,
        description="adaptive: stage 2 ends once half the 80 % interval of log D, mean over tasks, is below this at every σ; None: 0.1",
    )
    batch_multiple: int = Field(16, ge=1, description="B* is rounded to the nearest multiple of this")


class Baseline(_Part):
    """Runs at the σ of stage 2 with the best B and η of one σ kept constant, to see what fitting them is worth."""

    utd: Utd | None = Field(None, description="the UTD ratio whose B and η are kept; None: the one of the sweep nearest to 2, the paper's")
    at: Utds | None = Field(None, description="the UTD ratios to run; None: those of stage 2")
    seeds: int | None = Field(None, ge=1, le=1000, description="None: as many as in stage 2")


class Limits(_Part):
    """How long a run may take, and when a cell may stop."""

    env_steps: int = Field(ge=1, description="a cell that has not reached the top threshold by then is censored")
    margin: float = Field(0.1, ge=0, le=10, description="share of further env steps after the top threshold is reached")


class Checkpoints(_Part):
    """What is stored of runs that are not done, so that they resume after an interruption."""

    minutes: float = Field(2.0, ge=0, description="minutes between two, at least; more if writing takes over 1 % of the time; 0: none")
    keep: bool = Field(
        False, description="also keep those of finished runs, which then resume from there when a limit or the last threshold is raised"
    )
    gigabytes: float = Field(
        4.0,
        ge=0,
        description="adaptive design: disk space for those of runs that were stopped early and may be needed; beyond it the oldest are "
        "removed, and such a run begins from the start",
    )


class Study(_Part):
    """A study: algorithm, tasks, sweep and limits.

    `return_thresholds` are on the normalised scale, 0 to 1000. Stages that are absent are not run; a study of imported
    curves has none.
    """

    name: str = Field(min_length=1, max_length=200)
    algorithm: str
    command: tuple[str, ...] | None = Field(None, description="program and arguments of your own trainer")
    function: str | None = Field(None, description='your own trainer as "module:name"')
    trainer: TrainerOptions | None = Field(None, description="about either of them")
    return_thresholds: tuple[float, ...] = Field(min_length=1)
    tasks: dict[str, Task] = Field(min_length=1)
    data_cost: float | Literal["measured"] | None = Field(
        None, description="δ, what one env step is worth in the compute unit, or measured: by the seconds it takes"
    )
    accounting: Literal["counted", "paper"] = "counted"
    compute_unit: Literal["flops", "gradient-steps", "seconds"] = Field("flops", description="unit of compute")
    model_size: float | None = Field(None, gt=0, description="N, for accounting = paper")
    published_laws: str | None = Field(None, description="published laws whose B* and η* the runs follow, for method paper without a sweep")
    sweep: Sweep | None = None
    scaling: Scaling | None = None
    baseline: Baseline | None = Field(None, description="runs at constant B and η; true for the defaults")
    limits: Limits | None = None
    checkpoints: Checkpoints | None = None
    aggregate: Aggregate = Field("mean", description="how the seeds of a cell are combined, step by step")
    reset_critic_updates: int | None = Field(None, ge=1, le=_MOST, description="critic updates between resets of the networks")
    reset_env_steps: tuple[Annotated[int, Field(ge=1, le=_MOST)], ...] = Field((), description="env steps of the resets of the networks")
    settings: dict[str, Any] = Field(default_factory=dict)
    sizes: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="networks of several sizes, by name, each with the settings that make it and, where tdscale does not build it, "
        "its model_size N; or one setting with a list of values",
    )
    origin: str | None = Field(None, description="where imported curves came from")
    _own_settings: dict[str, Any] | None = PrivateAttr(None)
    _own_sizes: dict[str, dict[str, Any]] = PrivateAttr(default_factory=dict)

    @field_validator("return_thresholds")
    @classmethod
    def _thresholds(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        for index, value in enumerate(values):
            if not 0 < value <= 1000:
                raise ValueError(
                    f"threshold {value:g} (entry {index}) is outside the tasks' range; it is on the normalised scale, above 0 (low) "
                    f"and at most 1000 (high)"
                )
        if list(values) != sorted(set(values)):
            raise ValueError("must rise from one to the next, e.g. [300, 500, 800]")
        return values

    @field_validator("reset_env_steps")
    @classmethod
    def _rising(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError("must rise from one to the next, e.g. [15001, 50001]")
        return values

    @field_validator("baseline", mode="before")
    @classmethod
    def _usual(cls, value: Any) -> Any:
        if isinstance(value, dict):  # past this point a list is no longer a tuple
            return {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return {True: {}, False: None}[value] if isinstance(value, bool) else value

    @field_validator("sizes", mode="before")
    @classmethod
    def _sizes(cls, value: Any) -> Any:
        return parse_sizes(value)

    @field_validator("sizes")
    @classmethod
    def _distinct_sizes(cls, values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        check_sizes(values)
        return values

    @field_validator("data_cost", mode="before")
    @classmethod
    def _price(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None or value == "measured" or (number and 0 < value < float("inf")):
            return value
        shown = f"{value:g}" if number else repr(value)
        raise ValueError(f'{shown} is not the price of an env step; it must be > 0, e.g. 5e9, or "measured"')

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        if self.command is not None and self.function is not None:
            raise ValueError("function: can't be combined with command; give one of them")
        if self.function is not None and not is_custom(self.function):
            raise ValueError(f'function: {self.function!r} names no function; it must be "module:name", e.g. "train:train"')
        if self.trainer is not None and not self.has_custom_trainer:
            raise ValueError("trainer: needs a command or a function, and there is none")
        if self.has_custom_trainer and self.sweep is None:
            raise ValueError(f"{'function' if self.command is None else 'command'}: there is no [sweep], so nothing that it could run")
        given = [name for name in ("reset_critic_updates", "reset_env_steps") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{given[1]}: can't be combined with {given[0]}; one of them gives the resets")
        if given and self.sweep is not None and not self.has_custom_trainer:
            raise ValueError(
                f"{given[0]}: is for imported curves and your own trainer; tdscale's agents record their resets, and "
                "settings.reset_rule says when there are any"
            )
        for name, task in self.tasks.items():
            if task.suite not in SUITES and not self.has_custom_trainer:
                known = ", ".join(map(repr, SUITES[:-1]))
                raise ValueError(f"tasks.{name}.suite: {task.suite!r} is not known; it must be {known} or {SUITES[-1]!r}")
        if self.command is not None and self.sweep is not None:
            counts = {name: len(getattr(self.sweep, name)) for name in ("utd", "batch_size", "learning_rate")}
            counts |= {"task": len(self.tasks), "seed": self.sweep.seeds}
            if self.scaling is not None:
                counts |= {"utd": len({*self.sweep.utd, *self.scaling.utd}), "seed": self.sweep.seeds + self.scaling.seeds}
            check_command(self.command, self.settings, counts, self.sizes)
        return self

    @model_validator(mode="after")
    def _sized(self) -> Self:
        check_beside(self.sizes, self.settings, self.model_size, counted=self.sweep is not None and not self.has_custom_trainer)
        return self

    @model_validator(mode="after")
    def _runnable(self) -> Self:
        if self.sweep is None and self.scaling is None:
            return self  # imported curves: nothing is run
        if not self.has_custom_trainer and self.algorithm not in SETTINGS and not is_custom(self.algorithm):
            known = ", ".join(map(repr, SETTINGS))
            raise ValueError(f'algorithm: there is no {self.algorithm!r}; there is {known}, or your own as "module:name"')
        if self.limits is None:
            raise ValueError("limits: missing; give the maximum length of a run, e.g. [limits] env_steps = 100000")
        if self.sweep is None:
            raise ValueError("sweep: missing; [scaling] needs the B and η that a [sweep] finds")
        if self.scaling is not None and self.scaling.precision is not None and not self.in_rounds("scaling"):
            raise ValueError('scaling.precision: is for the adaptive design only; add design = "adaptive", or leave precision out')
        if self.sweep.is_adaptive and self.scaling is None:
            raise ValueError(
                'sweep.design: "adaptive" needs a [scaling]: stage 1 only chooses B and η, and D_J(σ) is measured with fresh seeds'
            )
        if self.sweep.is_adaptive and len(self.sweep.batch_size) == len(self.sweep.learning_rate) == 1:
            raise ValueError('sweep.design: "adaptive" has one B and one η to choose from; give several, or design = "grid"')
        if self.sweep.price == "seconds" and self.has_custom_trainer:
            raise ValueError('sweep.price: "seconds" is measured on tdscale\'s own agents; with your own trainer use "env-steps"')
        unknown = [name for name, size in self.sizes.items() if MODEL_SIZE not in size]
        if self.sweep.is_adaptive and self.has_custom_trainer and unknown:
            raise ValueError(
                f"sizes.{unknown[0]}.{MODEL_SIZE}: missing; the adaptive design needs N of each size, its critics' parameters, before its "
                "runs: add it to each, e.g. model_size = 2.83e6"
            )
        if self.baseline is not None and self.scaling is None:
            raise ValueError("baseline: needs a [scaling] to compare with, and there is none")
        if self.baseline is not None and self.scaling is not None:
            alone = [utd for utd in self.baseline.at or () if utd not in self.scaling.utd]
            if alone:
                raise ValueError(
                    f"baseline.at: {alone[0]:g} is not a σ of [scaling], whose runs it would be compared with; add it to scaling.utd"
                )
        if self.algorithm in SETTINGS and not self.has_custom_trainer:
            check_networks(self.sizes, SETTINGS[self.algorithm].model_fields)
            for name, study in self.by_size().items():
                try:
                    study._check_room(study.full_settings)
                except ValueError as error:
                    raise ValueError(f"sizes.{name}: {error}") from None if name else error
        return self

    def _check_room(self, settings: Mapping[str, Any]) -> None:
        """Raises ValueError where warm-up or minibatches don't fit into what a task's runs collect."""
        assert self.limits is not None
        assert self.sweep is not None
        for name, task in self.tasks.items():
            steps = task.env_steps or self.limits.env_steps
            if settings["warm_up"] >= steps:
                raise ValueError(f"settings.warm_up: {settings['warm_up']} env steps of warm-up leave nothing of {name}'s {steps}")
            room = min(steps, settings["replay_capacity"])
            for index, batch_size in enumerate(self.sweep.batch_size):
                if batch_size > room:
                    raise ValueError(
                        f"sweep.batch_size[{index}]: {batch_size} is too large; {name} collects at most {room} transitions "
                        f"(limits.env_steps, settings.replay_capacity)"
                    )

    @property
    def has_custom_trainer(self) -> bool:
        """Whether runs are trained by a command or a function of the user's, not by tdscale's agents."""
        return self.command is not None or self.function is not None

    def in_rounds(self, stage: Stage) -> bool:
        """Whether the runs of a stage are chosen in rounds."""
        adaptive = self.sweep is not None and self.sweep.is_adaptive
        if stage == "scaling" and self.scaling is not None:
            return self.scaling.design == "adaptive" or (self.scaling.design is None and adaptive)
        return stage == "sweep" and adaptive

    @property
    def full_settings(self) -> dict[str, Any]:
        """The algorithm's settings with every default filled in, as JSON types; those of a custom trainer as they are.

        Raises:
            UserError: if the algorithm is the user's and its settings are not known yet (`with_full_settings`).
            ValueError: in a study with [sizes], each of which has its own (`by_size`).
        """
        if self.sizes:
            raise ValueError("a study with [sizes] has settings for each of them")
        if self.has_custom_trainer:
            return dict(self.settings)
        if self.algorithm in SETTINGS:
            return SETTINGS[self.algorithm](**self.settings).model_dump(mode="json")
        if self._own_settings is None:
            raise UserError(f"the settings of {self.algorithm!r} are not known yet; `tdscale run` asks its module for them")
        return dict(self._own_settings)

    @property
    def spec_settings(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The full settings in two parts: those that decide a curve, and those of what is recorded beside it (`RunSpec`).

        Raises:
            UserError: as `full_settings`.
        """
        settings = self.full_settings
        recorded = () if self.has_custom_trainer else RECORDING
        recording = {name: settings.pop(name) for name in recorded if name in settings}
        return settings, recording

    def at_size(self, name: str) -> Self:
        """The study of one of its sizes: without [sizes], that size's settings beside the others, its N as `model_size` where it is given.

        Raises:
            KeyError: if there is no such size.
        """
        settings = self.settings | size_settings(self.sizes[name])
        model_size = self.sizes[name].get(MODEL_SIZE, self.model_size)
        study = self.model_copy(update={"sizes": {}, "settings": settings, "model_size": model_size})
        study._own_settings = self._own_sizes.get(name)
        return study

    def by_size(self) -> dict[str, Self]:
        """The study of each of its sizes, by name; of a study without [sizes] itself, under ""."""
        return {name: self.at_size(name) for name in self.sizes} or {"": self}

    def with_full_settings(self, settings: Mapping[str, Mapping[str, Any]]) -> Self:
        """This study of a user's algorithm, with all of its settings, defaults filled in, as JSON types.

        Args:
            settings: for each size, by its name; under "" without [sizes].

        Raises:
            ValueError: if they don't fit the limits, or two sizes are the same.
        """
        seen: list[Mapping[str, Any]] = []
        for name in self.sizes or ("",):
            self._check_room(settings[name])
            if settings[name] in seen:
                raise ValueError(f"sizes.{name}: has the settings of another size; each size once is enough")
            seen.append(settings[name])
        study = self.model_copy()
        if self.sizes:
            study._own_sizes = {name: dict(settings[name]) for name in self.sizes}
        else:
            study._own_settings = dict(settings[""])
        return study

    def env_step_limit(self, task: str) -> int:
        """Env steps after which a run of `task` ends whether it reached the top threshold or not."""
        if self.limits is None:
            raise ValueError("a study of imported curves has no limits")
        return self.tasks[task].env_steps or self.limits.env_steps

    def raw_return(self, task: str, normalised: float) -> float:
        """A return on the normalised scale, in the task's own units."""
        scale = self.tasks[task]
        return scale.low + normalised / 1000 * (scale.high - scale.low)

    def sweep_specs(self) -> list[RunSpec]:
        """Every run of stage 1, size by size, cell by cell."""
        if self.sweep is None:
            return []
        points = [
            (task, utd, batch_size, learning_rate)
            for task in self.tasks
            for utd in self.sweep.utd
            for batch_size in self.sweep.batch_size
            for learning_rate in self.sweep.learning_rate
        ]
        return self.specs(points, "sweep", self.sweep.seeds)

    def scaling_specs(self, hyperparameters: Mapping[tuple[str, float], tuple[int, float]]) -> list[RunSpec]:
        """Every run of stage 2, given (B, η) for each (task, σ). Its seeds are none of stage 1's."""
        if self.scaling is None or self.sweep is None:
            return []
        points = [(task, utd, *hyperparameters[task, utd]) for task in self.tasks for utd in self.scaling.utd]
        return self.specs(points, "scaling", self.scaling.seeds)

    def baseline_specs(self, hyperparameters: Mapping[str, tuple[int, float]]) -> list[RunSpec]:
        """Every run at constant hyperparameters, given (B, η) for each task. Their seeds are none of the stages' before."""
        if self.baseline is None or self.scaling is None:
            return []
        points = [(task, utd, *hyperparameters[task]) for task in self.tasks for utd in self.baseline.at or self.scaling.utd]
        return self.specs(points, "baseline", self.baseline.seeds or self.scaling.seeds)

    def confirm_specs(self, points: Mapping[str, tuple[float, int, float]], seeds: int) -> list[RunSpec]:
        """Runs of what a plan says, given (σ, B, η) for each of its tasks. Their seeds are none of the stages' before."""
        return self.specs([(task, *point) for task, point in points.items()], "confirm", seeds)

    def expected_stages(self) -> dict[Stage, list[RunSpec]]:
        """Stage 2 and the baseline, where asked for, at the middle of the sweep's B and η; stage 1 decides at which they are run."""
        if self.scaling is None or self.sweep is None:
            return {}
        batch_sizes, learning_rates = sorted(self.sweep.batch_size), sorted(self.sweep.learning_rate)
        middle = (batch_sizes[len(batch_sizes) // 2], learning_rates[len(learning_rates) // 2])
        expected: dict[Stage, list[RunSpec]] = {
            "scaling": self.scaling_specs({(task, utd): middle for task in self.tasks for utd in self.scaling.utd})
        }
        if constant := self.baseline_specs(dict.fromkeys(self.tasks, middle)):
            expected["baseline"] = constant
        return expected

    def specs(self, points: Iterable[tuple[str, float, int, float]], stage: Stage, seeds: int) -> list[RunSpec]:
        """Runs of a stage at each (task, σ, B, η), with its first seeds, cell by cell; of a study with [sizes] at each size, one by one."""
        if self.sizes:
            points = list(points)
            return [spec for study in self.by_size().values() for spec in study.specs(points, stage, seeds)]
        settings, recording = self.spec_settings
        return [
            RunSpec(
                algorithm=self.algorithm,
                suite=self.tasks[task].suite,
                task=task,
                utd=utd,
                batch_size=batch_size,
                learning_rate=learning_rate,
                seed=seed,
                stage=stage,
                reward_scale=self.tasks[task].reward_scale,
                settings=settings,
                recording=recording,
            )
            for task, utd, batch_size, learning_rate in points
            for seed in range(FIRST_SEEDS[stage], FIRST_SEEDS[stage] + seeds)
        ]
