"""The commands and their options. Each one's work is in `tdscale.cli.commands`, imported when it is called."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tdscale.cli import keys
from tdscale.cli.choices import Device, FitMethod, NoiseRegime, Unit

app = typer.Typer(
    name="tdscale",
    help="Predicts what value-based deep RL will need, data and compute, before the money is spent.",
    epilog="A first look: tdscale demo trains a small real study and ends with its plan and report.",
    no_args_is_help=True,
    add_completion=False,
    # plain help: importing rich for it would take longer than all the rest
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The study's folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        min=1,
        help="Worker processes. [default: one per core, or per GPU, the most there]",
        show_default=False,
    ),
]


def _run(name: str, **arguments: Any) -> None:
    from tdscale.cli import commands
    from tdscale.cli.console import answering

    answering(getattr(commands, name))(**arguments)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"tdscale {version('tdscale')}")
        raise typer.Exit


DeviceOption = Annotated[
    Device, typer.Option("--device", help="gpu: runs that share shapes advance together on it. auto: the GPU where JAX finds one.")
]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Train on a Ray cluster: auto, or HOST:PORT. All nodes must see DIR.", show_default=False),
]
Cores = Annotated[int, typer.Option(min=1, help="With --ray: cores that a worker holds.")]
Retries = Annotated[int, typer.Option(min=0, help="How often a cell is tried again whose worker died.")]
DataLimit = Annotated[float | None, typer.Option(metavar="D0", help="At most so many env steps: the least compute.", show_default=False)]
ComputeLimit = Annotated[
    float | None, typer.Option(metavar="C0", help="At most so much compute (FLOPs, or --unit): the least data.", show_default=False)
]
BudgetLimit = Annotated[
    float | None, typer.Option(metavar="F0", help="At most C + δ·D, in the unit of compute: the highest return.", show_default=False)
]
DataCost = Annotated[
    str | None,
    typer.Option(
        metavar="δ",
        help="Compute that one env step is worth, or measured: by the seconds that the runs took. [default: the study's]",
        show_default=False,
    ),
]
ComputeUnit = Annotated[Unit | None, typer.Option("--unit", help="What compute is told in. [default: the study's]", show_default=False)]
Threshold = Annotated[
    float | None,
    typer.Option(metavar="J", help="Return to reach, normalised, for --data and --compute. [default: the highest]", show_default=False),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Only runs with this setting; KEY=A,B for one of several, KEY!=VALUE for all others. Can be repeated.",
        show_default=False,
    ),
]
OneTask = Annotated[str | None, typer.Option(metavar="T", help="One task instead of the mean over all tasks.", show_default=False)]
BatchMultiple = Annotated[int, typer.Option(min=1, help="Round B to a multiple of this.")]


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)] = False,
) -> None:
    pass


@app.command(epilog="Example:  tdscale demo --dir demo")
def demo(
    directory: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Folder of the study.")] = Path("tdscale-demo"),
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Train a real small study end to end, here and now; ends with laws, a plan and a report.

    SAC on Pendulum and Reacher, some minutes on two cores. Killed and called again, it goes on where it was.
    """
    _run("demo", directory=directory, workers=workers, as_json=as_json)


@app.command(epilog="Example:  tdscale run study.toml --dir my-study --workers 2")
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study's file; see examples/.", show_default=False)],
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Folder of the study. [default: the file's name]", show_default=False)
    ] = None,
    workers: Workers = None,
    device: DeviceOption = Device.auto,
    ray: RayAddress = None,
    cores: Cores = 1,
    retries: Retries = 1,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="The same end to end in seconds, cut down, into NAME-smoke; its numbers mean nothing.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what it would take: runs, env steps, FLOPs, disk, and time, by a probe of 20 s or so."),
    ] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on with a changed file of your own; the runs that are done stay as they are.")
    ] = False,
    rechoose: Annotated[
        bool, typer.Option("--rechoose", help="Choose the B and η of stage 2 again, by today's sweep; stage 2 is then run at the new ones.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start a study, or go on with it: both stages, then the laws and the report.

    Runs that are done are not repeated, whatever ended the call before. An edited study runs only what is new.
    """
    _run(
        "run",
        study=study,
        directory=directory,
        where={"workers": workers, "device": device.value, "ray": ray, "cores": cores, "retries": retries},
        smoke=smoke,
        dry_run=dry_run,
        accept_changes=accept_changes,
        rechoose=rechoose,
        as_json=as_json,
    )


@app.command(epilog="Example:  tdscale status my-study")
def status(
    directory: Directory,
    watch: Annotated[bool, typer.Option("--watch", help="On a terminal: again every few seconds, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """What is done, running, failed and left of a study, and how long it still takes."""
    from tdscale.cli.console import answering
    from tdscale.cli.status import status as show  # without the libraries that fit

    answering(show)(directory=directory, as_json=as_json, watch=watch)


@app.command(epilog="Example:  tdscale compact my-study")
def compact(directory: Directory, as_json: Json = False) -> None:
    """Pack the folders of runs that ended into a few files; `tdscale run` does it by itself once there are thousands."""
    _run("compact", directory=directory, as_json=as_json)


@app.command(
    name="import",
    epilog="Example:  tdscale import logs --from sb3 --names 'gs{utd}/seed{seed}' --dir mine    |    tdscale import gym_ours.zip --dir gym",
)
def import_(
    source: keys.SourcePath,
    directory: keys.Into = None,
    kind: Annotated[keys.Source, typer.Option("--from", help="What it is; auto sees by names and content.")] = keys.Source.auto,
    mapping: keys.Mapping = None,
    utd: keys.Utd = None,
    batch_size: keys.BatchSize = None,
    learning_rate: keys.LearningRate = None,
    task: keys.Task = None,
    seed: keys.Seed = None,
    model_size: keys.ModelSize = None,
    algorithm: keys.Algorithm = None,
    env_step: keys.EnvStep = None,
    returns: keys.Returns = None,
    names: keys.Names = None,
    utd_scale: keys.UtdScale = None,
    env_step_scale: keys.EnvStepScale = None,
    repeated: keys.Repeated = None,
    where: keys.Where = None,
    split_by: keys.SplitBy = None,
    ignore: keys.Ignore = None,
    resumed: keys.Resumed = None,
    return_window: keys.ReturnWindow = None,
    episode_length: keys.EpisodeLength = None,
    monitors: keys.Monitors = None,
    step_column: keys.StepColumn = None,
    first_step: keys.FirstStep = None,
    step_every: keys.StepEvery = None,
    low: keys.Low = None,
    high: keys.High = None,
    thresholds: keys.Thresholds = None,
    data_cost: keys.DataCost = None,
    layout: keys.Layout = None,
    skip_bad: keys.SkipBad = False,
    dry_run: keys.DryRun = False,
    as_json: Json = False,
) -> None:
    """Bring learning curves from elsewhere into a study's folder; everything after it is the same road.

    KEY is a name in the log's configuration or table, or =VALUE, the same for every run. KEY:PATTERN takes a value out of a key's text.
    """
    given = locals()
    columns = {name: given[name] for name in keys.COLUMNS}
    scale = {"low": low, "high": high, "thresholds": thresholds, "data_cost": data_cost}
    places = {"directory": directory, "mapping": mapping, "layout": layout}
    how = {"skip_bad": skip_bad, "dry_run": dry_run, "as_json": as_json}
    _run("import_", source=source, kind=kind.value, columns=columns, scale=scale, **places, **how)


@app.command(epilog="Example:  tdscale fit my-study    |    tdscale fit imported --where size=m")
def fit(
    directory: Directory,
    method: Annotated[FitMethod, typer.Option(help="paper is the authors' own procedure.")] = FitMethod.default,
    draws: Annotated[int, typer.Option(min=20, max=100_000, help="Bootstrap draws.")] = 200,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Fit the laws B*(σ), η*(σ), D_J(σ), σ*(F); writes laws.json and prints a summary with intervals.

    plan, validate and report use what was fitted here. Where the runs or the study have changed, they fit again with the same method,
    draws and conditions.
    """
    _run("fit", directory=directory, method=method.value, draws=draws, where=where or [], as_json=as_json)


@app.command(epilog="Example:  tdscale plan my-study --data 2e5    |    tdscale plan published:gym --data 3e5 --task HalfCheetah-v4")
def plan(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The study's folder, or published:NAME for published laws.", show_default=False)
    ],
    data: DataLimit = None,
    compute: ComputeLimit = None,
    budget: BudgetLimit = None,
    data_cost: DataCost = None,
    unit: ComputeUnit = None,
    threshold: Threshold = None,
    task: OneTask = None,
    batch_multiple: BatchMultiple = 16,
    as_json: Json = False,
) -> None:
    """Which σ, B and η to use under a data, a compute or a total budget, and what to expect. Give exactly one limit.

    σ: critic updates per env step. B: batch size. η: learning rate. D: env steps. C: compute. F = C + δ·D: both, with env steps priced at
    δ. A number is followed by its 80 % interval.
    """
    question = {
        "data": data,
        "compute": compute,
        "budget": budget,
        "data_cost": data_cost,
        "unit": unit.value if unit else None,
        "threshold": threshold,
        "task": task,
        "batch_multiple": batch_multiple,
    }
    _run("plan", directory=directory, question=question, as_json=as_json)


@app.command(epilog="Example:  tdscale confirm my-study --data 2e5 --workers 2")
def confirm(
    directory: Directory,
    data: DataLimit = None,
    compute: ComputeLimit = None,
    budget: BudgetLimit = None,
    data_cost: DataCost = None,
    unit: ComputeUnit = None,
    threshold: Threshold = None,
    task: OneTask = None,
    batch_multiple: BatchMultiple = 16,
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Of each task. [default: as in stage 2]", show_default=False)] = None,
    workers: Workers = None,
    device: DeviceOption = Device.auto,
    ray: RayAddress = None,
    cores: Cores = 1,
    retries: Retries = 1,
    as_json: Json = False,
) -> None:
    """Run what a plan says, with fresh seeds, and put what was seen beside what was foretold: D, C and seconds.

    The question is asked as of `plan`. What is done is not done again, and no law changes by it.
    """
    question = {
        "data": data,
        "compute": compute,
        "budget": budget,
        "data_cost": data_cost,
        "unit": unit.value if unit else None,
        "threshold": threshold,
        "task": task,
        "batch_multiple": batch_multiple,
    }
    where = {"workers": workers, "device": device.value, "ray": ray, "cores": cores, "retries": retries}
    _run("confirm", directory=directory, question=question, seeds=seeds, where=where, as_json=as_json)


@app.command(epilog="Example:  tdscale published HalfCheetah-v4 --utd 0.5 4")
def published(
    # numbers here are further σ, so that `--utd 0.5 4` reads as it should
    asked: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK]", help="One task; all of them without it.", show_default=False)
    ] = None,
    utd: Annotated[
        list[str] | None, typer.Option(metavar="σ…", help="Predict at these σ. [default: the paper's, for one task]", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """The published laws, the paper's printed ones and the authors' committed ones: B, η and D for any σ."""
    _run("published", asked=asked or [], utd=utd or [], as_json=as_json)


@app.command(epilog="Example:  tdscale validate my-study")
def validate(directory: Directory, as_json: Json = False) -> None:
    """Predictions against runs that the fit did not see: held-out σ, held-out budgets, simpler laws."""
    _run("validate", directory=directory, as_json=as_json)


@app.command(epilog="Example:  tdscale report my-study")
def report(directory: Directory, as_json: Json = False) -> None:
    """Write report.html (one file, opened without network), figures and tables."""
    _run("report", directory=directory, as_json=as_json)


@app.command(epilog="Example:  tdscale simulate study.toml --seeds 3 5 10    |    tdscale simulate my-study --dir rehearsal")
def simulate(
    source: Annotated[
        Path, typer.Argument(metavar="STUDY.toml|DIR", help="A study's file, or folder: its laws.json is the truth.", show_default=False)
    ],
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    seeds: Annotated[str, typer.Option(metavar="N …", help="Numbers of seeds a cell to compare.")] = "3 5 10",
    noise: Annotated[NoiseRegime, typer.Option(help="How noisy runs are; medium is as the published Gym runs.")] = NoiseRegime.medium,
    repeats: Annotated[int, typer.Option(min=2, max=10_000, help="Simulated sweeps for each number of seeds.")] = 16,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Write one simulated sweep there, as a study to try commands on.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random draws.")] = 0,
    as_json: Json = False,
) -> None:
    """How many seeds a sweep needs: simulates it, fits it, and shows how far D, α and σ* would be settled, and at what cost.

    Where no laws are known yet, published ones stand in. With --dir the sweep has the first number of seeds.
    """
    numbers = [*seeds.replace(",", " ").split(), *(more or [])]
    _run(
        "simulate",
        source=source,
        seeds=numbers,
        noise=noise.value,
        repeats=repeats,
        directory=directory,
        seed=seed,
        as_json=as_json,
    )


def main() -> None:
    """Entry point of the command `tdscale`."""
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="tdscale", standalone_mode=False)
    except typer.Abort:
        raise SystemExit(130) from None
    except Exception as error:
        # typer keeps its usage errors to itself, under names that differ between its versions
        if not hasattr(error, "format_message"):
            raise
        from tdscale.cli.console import fail

        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "tdscale"
        text = " ".join(error.format_message().split()).rstrip(".")
        fail(f"{text[:1].lower()}{text[1:]}; `{command} --help` shows what is taken", 2)
    raise SystemExit(code)
