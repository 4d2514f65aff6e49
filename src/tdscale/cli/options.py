"""The options of every command, each declared once. Nothing heavy is imported here: `tdscale --help` must be fast.

A dataclass below is a group of options that several commands share or that make one object. A command takes a group as one argument;
`tdscale.cli.app.command` turns its fields into options. Next: `tdscale.cli.commands`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tdscale.amounts import number
from tdscale.cli.amounts import COMPUTE, ENV_STEPS, MODEL_SIZE, THRESHOLD, Duration, amount
from tdscale.errors import UserError

if TYPE_CHECKING:
    from tdscale.analysis.scaling_laws import ScalingLaws
    from tdscale.importers import Scale
    from tdscale.planning import Plan
    from tdscale.running import Engine
    from tdscale.study import Study


class NoiseRegime(StrEnum):
    """Sizes of simulated noise."""

    low = "low"
    medium = "medium"
    high = "high"


class Device(StrEnum):
    """Where runs are trained."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class Unit(StrEnum):
    """The unit of compute."""

    flops = "flops"
    gradient_steps = "gradient-steps"
    seconds = "seconds"


class FitMethod(StrEnum):
    """Ways to fit."""

    default = "default"
    paper = "paper"


class Source(StrEnum):
    """Kinds of logs that can be imported."""

    auto = "auto"
    wandb = "wandb"
    tensorboard = "tensorboard"
    sb3 = "sb3"
    rllib = "rllib"
    csv = "csv"
    parquet = "parquet"
    qscaled = "qscaled"
    arrays = "arrays"


def option(*names: str, what: str, metavar: str | None = None, **limits: Any) -> Any:
    """An option that is optional, or says its default in `what`."""
    return typer.Option(*names, metavar=metavar, help=what, show_default=False, **limits)


_FACTOR = amount("a factor", "4")
_RESET = amount("an env step", "15001,50k", whole=True)


def _key(what: str) -> Any:
    return option(metavar="KEY", what=f"Key of {what}")


Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The study's folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")]
Offsets = Annotated[bool, typer.Option("--offsets", help="B* = B_min + β·σ^−α and η* likewise (the paper's D.2, D.3), of a sweep.")]
Workers = Annotated[
    int | None,
    option(
        "--workers",
        "-w",
        metavar="N",
        parser=amount("a number of processes", "2", least=1, whole=True),
        what="Worker processes. [default: one per core, or per GPU, the most there]",
    ),
]


# groups have no methods that they do not need: each costs a millisecond whenever `tdscale` starts
@dataclass(kw_only=True, eq=False, repr=False)
class TrainingOptions:
    """Where runs are trained."""

    workers: Workers = None
    device: Annotated[
        Device, typer.Option("--device", help="gpu: runs that share shapes advance together on it. auto: the GPU where JAX finds one.")
    ] = Device.auto
    ray: Annotated[str | None, option(metavar="ADDRESS", what="Train on a Ray cluster: auto, or HOST:PORT. All nodes must see DIR.")] = None
    cores: Annotated[
        int, typer.Option(metavar="N", parser=amount("a number of cores", "2", least=1, whole=True), help="With --ray: a worker's cores.")
    ] = 1
    retries: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=amount("a number of retries", "2", least=0, whole=True),
            help="How often a cell is tried again whose worker died.",
        ),
    ] = 1

    def engine(self, *, custom: bool = False) -> "Engine":
        """What trains. `custom`: a trainer of the user's, which is not for `--device gpu`."""
        from tdscale.running import Engine, default_workers
        from tdscale.training.devices import gpu_problem, visible_gpus

        device = Device.cpu if custom else self.device
        if custom and self.device == Device.gpu:
            raise UserError("--device gpu: is about tdscale's own agents; a trainer of your own takes what devices it finds")
        if self.ray is not None:
            return Engine(workers=self.workers, gpu=device == Device.gpu, ray=self.ray, cores=self.cores, retries=self.retries)
        problem = None if device == Device.cpu else gpu_problem()
        if device == Device.gpu and problem is not None:
            raise UserError(f"--device gpu: {problem}")
        if device == Device.cpu or problem is not None:
            return Engine(workers=self.workers or default_workers(), retries=self.retries)
        count = len(visible_gpus())
        return Engine(workers=min(self.workers or count, count), gpu=True, retries=self.retries)


@dataclass(kw_only=True, eq=False, repr=False)
class PlanOptions:
    """What `plan` and `confirm` are asked."""

    data: Annotated[
        float | None, option(metavar="D0", parser=ENV_STEPS, what="At most so many env steps, e.g. 300k: the least compute.")
    ] = None
    compute: Annotated[
        float | None, option(metavar="C0", parser=COMPUTE, what="At most so much compute, e.g. 2e15 FLOPs (or --unit): the least data.")
    ] = None
    budget: Annotated[
        float | None, option(metavar="F0", parser=COMPUTE, what="At most C + δ·D, in the unit of compute, e.g. 2e15: the highest return.")
    ] = None
    data_cost: Annotated[
        str | None,
        option(
            metavar="δ",
            what="Compute that one env step is worth, or measured: by the seconds that the runs took. [default: the study's]",
        ),
    ] = None
    unit: Annotated[Unit | None, option("--unit", what="What compute is told in. [default: the study's]")] = None
    threshold: Annotated[
        float | None,
        option(metavar="J", parser=THRESHOLD, what="Return to reach, normalised, for --data and --compute. [default: the highest]"),
    ] = None
    sure: Annotated[float, typer.Option(metavar="P", help="Chance with which the limit is met; 0.5: by the estimate alone.")] = 0.8
    task: Annotated[str | None, option(metavar="T", what="One task instead of the mean over all tasks.")] = None
    any_utd: Annotated[bool, typer.Option("--any-utd", help="Any UTD ratio, such as 6.04, not only those that train as they stand.")] = (
        False
    )
    batch_multiple: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=amount("a batch size", "16", least=1, whole=True),
            help="Round B to a multiple of this.",
        ),
    ] = 16
    size: Annotated[str | None, option(metavar="NAME", what="One of the study's sizes. [default: the one that serves best]")] = None
    max_model_size: Annotated[
        float | None, option(metavar="N", parser=MODEL_SIZE, what="No larger network than this, in parameters of its critics, e.g. 1.5M.")
    ] = None

    def answer(self, laws_with: "Callable[[bool], ScalingLaws]", study: "Study | None" = None) -> "Plan":
        """P1, P2 or P3, by the limit that is given.

        `laws_with`: the laws, with measured times where its argument is true. `study`: whose they are; None for published ones.
        """
        from tdscale.analysis.compute import UNIT_NAMES
        from tdscale.analysis.views import in_unit
        from tdscale.planning import plan_budget, plan_compute, plan_data, plan_sizes
        from tdscale.running.networks import buildable
        from tdscale.running.plans import in_raw_units

        limits = {"--data": self.data, "--compute": self.compute, "--budget": self.budget}
        given = [name for name, value in limits.items() if value is not None]
        if len(given) != 1:
            raise UserError(f"a plan takes exactly one limit of --data, --compute, --budget; {', '.join(given) or 'none'} was given")
        if self.data_cost is not None and self.budget is None:
            raise UserError("--data-cost goes with --budget: the other limits don't price env steps")
        price = self._price()
        if self.threshold is not None and self.budget is not None:
            raise UserError("--threshold does not go with --budget, whose answer is the threshold")
        laws = laws_with(self.unit == Unit.seconds or price == "measured")
        if self.unit is not None:
            laws = in_unit(laws, self.unit.value)
        if isinstance(limits[given[0]], Duration) and laws.unit != "seconds":
            raise UserError(f"{given[0]}: is a time, but compute is told in {UNIT_NAMES[laws.unit]}; add --unit seconds, or give e.g. 2e15")
        if self.size is not None and self.max_model_size is not None:
            raise UserError("--size goes without --max-model-size: it names the network")

        how: dict[str, Any] = {"batch_multiple": self.batch_multiple, "sure": self.sure, "any_utd": self.any_utd}

        def ask(at: "ScalingLaws") -> "Plan":
            if self.budget is not None:
                return plan_budget(at, self.budget, price, task=self.task, **how)
            if self.data is not None:
                return plan_data(at, self.data, threshold=self.threshold, task=self.task, **how)
            assert self.compute is not None
            return plan_compute(at, self.compute, threshold=self.threshold, task=self.task, **how)

        networks = buildable(study, laws) if study is not None and self.size is None else None
        answer = plan_sizes(laws, ask, networks, most=self.max_model_size, size=self.size)
        return answer if study is None else in_raw_units(answer, study)

    def _price(self) -> float | Literal["measured"] | None:
        text = self.data_cost
        if text is None:
            return None
        if text.strip() == "measured":
            return "measured"
        value = number(text)
        if value is None or value <= 0:
            raise UserError(f"--data-cost: {text} is not a price; it must be > 0, in units of compute per env step, e.g. 5e9, or measured")
        return value


@dataclass(kw_only=True, eq=False, repr=False)
class ColumnOptions:
    """Which key of a log means what: the fields of `tdscale.importers.Columns`."""

    utd: Annotated[str | None, _key("σ, e.g. config.utd, =1, =derived, exp_name:*_utd{utd} or replay_ratio/batch_size.")] = None
    batch_size: Annotated[str | None, _key("B, e.g. =256.")] = None
    learning_rate: Annotated[str | None, _key("η.")] = None
    task: Annotated[str | None, _key("the task's name.")] = None
    seed: Annotated[str | None, _key("the seed; =count numbers the runs of a cell.")] = None
    model_size: Annotated[
        str | None, _key("N, parameters of the critics; KEY:VALUE=N,VALUE=N: of each size, e.g. width:64=12k,256=0.2M.")
    ] = None
    algorithm: Annotated[str | None, _key("the algorithm's name, e.g. =sac.")] = None
    env_step: Annotated[str | None, _key("env steps of a curve.")] = None
    returns: Annotated[str | None, option("--return", metavar="KEY", what="Key of the return, e.g. charts/episodic_return.")] = None
    names: Annotated[str | None, option(metavar="PATTERN", what="What folders, files or columns are called, e.g. utd{utd}/seed{seed}.")] = (
        None
    )
    utd_scale: Annotated[float | None, option(metavar="X", parser=_FACTOR, what="Multiplies σ.")] = None
    env_step_scale: Annotated[float | None, option(metavar="X", parser=_FACTOR, what="Multiplies env steps, e.g. by a frame skip.")] = None
    repeated: Annotated[
        str | None,
        option(metavar="mean|last|seeds", what="What rows of one run and env step are: parallel episodes, a resumed run, several runs."),
    ] = None
    where: Annotated[list[str] | None, option(metavar="KEY=V[,V]", what="Take only runs with this value; != for those without it.")] = None
    split_by: Annotated[list[str] | None, option(metavar="KEY", what="A study for each value of this key, in DIR/VALUE.")] = None
    ignore: Annotated[list[str] | None, option(metavar="KEY", what="Differences in this key do not matter.")] = None
    resumed: Annotated[str | None, option(metavar="HOW", what="A counter of env steps that begins at 0 again: continue or restart.")] = None
    return_window: Annotated[
        str | None, option(metavar="N", what="Episodes that the return is a moving mean of; none: take it as it is.")
    ] = None
    episode_length: Annotated[str | None, option(metavar="N", what="Env steps of an episode, where a moving mean's log does not say.")] = (
        None
    )
    monitors: Annotated[str | None, option(metavar="WHAT", what="sb3: 0.monitor.csv, 1.monitor.csv, … are seeds or environments.")] = None
    step_column: Annotated[
        str | None, option(metavar="N", what="Arrays, tables without header: column of env steps, e.g. 0; others are seeds.")
    ] = None
    first_step: Annotated[str | None, option(metavar="F", what="Arrays without env steps: row r is at F + E·r.")] = None
    step_every: Annotated[str | None, option(metavar="E", what="See --first-step.")] = None


@dataclass(kw_only=True, eq=False, repr=False)
class ScaleOptions:
    """What an imported study's file says of returns and prices: the fields of `tdscale.importers.Scale`."""

    low: Annotated[list[str] | None, option(metavar="[TASK=]R", what="Return that counts as 0, for study.toml.")] = None
    high: Annotated[list[str] | None, option(metavar="[TASK=]R", what="Return that counts as 1000, for study.toml.")] = None
    thresholds: Annotated[str | None, option(metavar="J,J,…", what="Normalised returns, for study.toml. [default: 300,500,800]")] = None
    data_cost: Annotated[
        float | None, option(metavar="δ", parser=amount("the price of an env step", "5e9"), what="FLOPs per env step, for study.toml.")
    ] = None
    reset_critic_updates: Annotated[
        int | None,
        option(
            metavar="N",
            parser=amount("a number of critic updates", "250k", least=1, whole=True),
            what="Networks were reset after every N critic updates, for study.toml.",
        ),
    ] = None
    reset_env_steps: Annotated[str | None, option(metavar="E,E,…", what="Networks were reset at these env steps, for study.toml.")] = None

    def drafted(self) -> "Scale":
        """As the importers take it."""
        from tdscale.importers import Scale

        try:
            thresholds = tuple(float(text) for text in self.thresholds.split(",")) if self.thresholds is not None else None
        except ValueError:
            raise UserError(f"--thresholds {self.thresholds}: must be numbers with commas between, e.g. 300,500,800") from None
        try:
            steps = tuple(map(_RESET, self.reset_env_steps.split(","))) if self.reset_env_steps is not None else ()
        except typer.BadParameter as error:
            raise UserError(f"--reset-env-steps {self.reset_env_steps}: {error}") from None
        return Scale(
            low=self.low or (),
            high=self.high or (),
            thresholds=thresholds,
            data_cost=self.data_cost,
            reset_critic_updates=self.reset_critic_updates,
            reset_env_steps=steps,
        )
