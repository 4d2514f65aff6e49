"""The options of `tdscale import`: which key of a log means what."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

# fields of `tdscale.importers.Columns`
COLUMNS = (
    *("utd", "batch_size", "learning_rate", "task", "seed", "model_size", "algorithm", "env_step", "returns", "names"),
    *("utd_scale", "env_step_scale", "repeated", "where", "split_by", "ignore"),
    *("resumed", "return_window", "episode_length", "monitors"),
    *("step_column", "first_step", "step_every"),
)


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


def _option(*names: str, metavar: str | None = None, what: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=what, show_default=False)


def _key(what: str) -> Any:
    return _option(metavar="KEY", what=f"Key of {what}")


SourcePath = Annotated[str, typer.Argument(metavar="SOURCE", help="File or folder; of W&B's server ENTITY/PROJECT.", show_default=False)]
Into = Annotated[Path | None, _option("--dir", metavar="DIR", what="Folder of the study; several sources may go into one.")]
Mapping = Annotated[Path | None, _option("--map", metavar="TOML", what='The options below in a file, e.g. utd = "config.utd".')]
Utd = Annotated[str | None, _key("σ, e.g. config.utd, =1, =derived, exp_name:*_utd{utd} or replay_ratio/batch_size.")]
BatchSize = Annotated[str | None, _key("B, e.g. =256.")]
LearningRate = Annotated[str | None, _key("η.")]
Task = Annotated[str | None, _key("the task's name.")]
Seed = Annotated[str | None, _key("the seed; =count numbers the runs of a cell.")]
ModelSize = Annotated[str | None, _key("N, parameters of the critics.")]
Algorithm = Annotated[str | None, _key("the algorithm's name, e.g. =sac.")]
EnvStep = Annotated[str | None, _key("env steps of a curve.")]
Returns = Annotated[str | None, _option("--return", metavar="KEY", what="Key of the return, e.g. charts/episodic_return.")]
Names = Annotated[str | None, _option(metavar="PATTERN", what="What folders, files or columns are called, e.g. utd{utd}/seed{seed}.")]
UtdScale = Annotated[float | None, _option(metavar="X", what="Multiplies σ.")]
EnvStepScale = Annotated[float | None, _option(metavar="X", what="Multiplies env steps, e.g. by a frame skip.")]
Repeated = Annotated[
    str | None,
    _option(metavar="mean|last|seeds", what="What rows of one run and env step are: parallel episodes, a resumed run, several runs."),
]
Where = Annotated[list[str] | None, _option(metavar="KEY=V[,V]", what="Take only runs with this value; != for those without it.")]
SplitBy = Annotated[list[str] | None, _option(metavar="KEY", what="A study for each value of this key, in DIR/VALUE.")]
Ignore = Annotated[list[str] | None, _option(metavar="KEY", what="Differences in this key do not matter.")]
Resumed = Annotated[str | None, _option(metavar="HOW", what="A counter of env steps that begins at 0 again: continue or restart.")]
ReturnWindow = Annotated[str | None, _option(metavar="N", what="Episodes that the return is a moving mean of; none: take it as it is.")]
EpisodeLength = Annotated[str | None, _option(metavar="N", what="Env steps of an episode, where a moving mean's log does not say.")]
Monitors = Annotated[str | None, _option(metavar="WHAT", what="sb3: 0.monitor.csv, 1.monitor.csv, … are seeds or environments.")]
StepColumn = Annotated[
    str | None, _option(metavar="N", what="Arrays, tables without header: column of env steps, e.g. 0; others are seeds.")
]
FirstStep = Annotated[str | None, _option(metavar="F", what="Arrays without env steps: row r is at F + E·r.")]
StepEvery = Annotated[str | None, _option(metavar="E", what="See --first-step.")]
Low = Annotated[list[str] | None, _option(metavar="[TASK=]R", what="Return that counts as 0, for study.toml.")]
High = Annotated[list[str] | None, _option(metavar="[TASK=]R", what="Return that counts as 1000, for study.toml.")]
Thresholds = Annotated[str | None, _option(metavar="J,J,…", what="Normalised returns, for study.toml. [default: 300,500,800]")]
DataCost = Annotated[float | None, _option(metavar="δ", what="FLOPs per env step, for study.toml.")]
Layout = Annotated[str | None, _option(what="qscaled: which published file it is, where its name was changed.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out files and runs that can't be read or understood, and say so.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what was understood and write nothing.")]
