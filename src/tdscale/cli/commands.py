"""Every command: what it takes, what it does, what it prints. Each imports what it needs when it runs, so that help is fast.

Options stand in `tdscale.cli.options`, how results are printed in `tdscale.cli.results`, the work in `tdscale.running.workflow`.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdscale.cli.amounts import amount
from tdscale.cli.app import command
from tdscale.cli.options import (
    ColumnOptions,
    Device,
    Directory,
    FitMethod,
    Json,
    NoiseRegime,
    Offsets,
    PlanOptions,
    ScaleOptions,
    Source,
    TrainingOptions,
    Workers,
    option,
)
from tdscale.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tdscale.analysis.scaling_laws import ScalingLaws
    from tdscale.running import Engine
    from tdscale.running.folder import StudyFiles

_SMOKE = "smoke run: every stage, cut down to seconds; its numbers mean nothing"
_NO_PLAN = 3  # exit code where nothing meets the limit, or the runs don't settle whether something does
_ROWS = 8  # of the live display, where the number of workers is not known beforehand


@command(epilog="Example:  tdscale demo --dir demo")
def demo(
    directory: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Folder of the study.")] = Path("tdscale-demo"),
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Train a small study here and now, from sweep to plan.

    SAC on Pendulum and Reacher, some minutes on two cores. Killed and called again, it goes on where it was.
    """
    from importlib import resources

    from tdscale.running.folder import place_study

    with resources.as_file(resources.files("tdscale") / "studies" / "demo.toml") as study:
        files = place_study(study, directory)
    _run_and_report(files, TrainingOptions(workers=workers, device=Device.cpu).engine(), as_json, with_plans=True)


@command(epilog="Example:  tdscale run study.toml --dir my-study --workers 2")
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study's file; see examples/.", show_default=False)],
    *,
    directory: Annotated[Path | None, option("--dir", metavar="DIR", what="Folder of the study. [default: the file's name]")] = None,
    training: TrainingOptions,
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
    """Start or resume a study: both stages, laws and report.

    Runs that are done are not repeated, whatever ended the call before. An edited study runs only what is new.
    """
    from tdscale.cli.console import for_people, print_json
    from tdscale.running.folder import STUDY_FILE, place_study, prepare_study

    if directory is None:
        directory = study.resolve().parent if study.name == STUDY_FILE else study.with_suffix("")
        if smoke:
            directory = directory.with_name(f"{directory.name}-smoke")
    files = (prepare_study if dry_run else place_study)(study, directory, smoke=smoke, accept_changes=accept_changes)
    engine = training.engine(custom=files.trainer is not None)
    if not dry_run:
        _run_and_report(files, engine, as_json, with_plans=smoke, rechoose=rechoose)
        return
    from tdscale.cli.results import print_forecast
    from tdscale.running.forecast import forecast

    if files.trainer is None:
        for_people(stderr=True).print("measuring how fast this machine trains, 20 s or so …")
    found = forecast(files, engine, source=study.resolve().parent)
    print_json(found.to_dict()) if as_json else print_forecast(for_people(), found)


def _run_and_report(files: "StudyFiles", engine: "Engine", as_json: bool, *, with_plans: bool, rechoose: bool = False) -> None:
    from tdscale.analysis.laws_file import FILE_NAME, laws_to_dict
    from tdscale.cli.console import counted, for_people, print_json
    from tdscale.cli.progress import RunDisplay
    from tdscale.cli.results import print_laws, print_plan, print_validation
    from tdscale.running import workflow
    from tdscale.running.confirm import confirmations
    from tdscale.running.fitting import fitted_study
    from tdscale.running.folder import open_study
    from tdscale.study import is_smoke

    # with --json, standard output holds the document alone
    console = for_people(stderr=as_json)
    smoke = is_smoke(files.study)
    with RunDisplay(files.directory, console, engine.workers or _ROWS) as display:
        if smoke:
            display.note(_SMOKE)
        failures = workflow.run_study(files, engine=engine, display=display, rechoose=rechoose)
    files = open_study(files.directory)  # a smoke run has put it on another scale
    fitted = fitted_study(files)
    page = workflow.report_study(files, fitted, confirmations(files.directory))
    plans = workflow.example_plans(fitted, files.study)
    validation = workflow.validate_study(fitted)
    if as_json:
        content = {"laws": laws_to_dict(fitted.laws), "plans": [plan.to_dict() for plan in plans], "validation": validation.to_dict()}
        print_json(content | {"failed": failures, "report": str(page), "smoke": smoke})
        raise SystemExit(1 if failures else 0)
    print_laws(console, fitted.laws)
    if with_plans:
        for plan in plans:
            print_plan(console, plan)
    print_validation(console, validation)
    for line in failures:
        console.print(f"failed: {line}")
    console.print(f"\nlaws    {files.directory / FILE_NAME}\nreport  {page}")
    if smoke:
        console.print(_SMOKE)
    if failures:
        repaired = ", with --accept-changes once the trainer is mended" if files.trainer is not None else ""
        console.print(f"{counted(len(failures), 'cell')} failed; the same command tries again{repaired}")
        raise SystemExit(1)


@command(epilog="Example:  tdscale status my-study")
def status(
    directory: Directory,
    watch: Annotated[bool, typer.Option("--watch", help="On a terminal: again every few seconds, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """What is done, running, failed and left of a study."""
    from tdscale.cli.console import print_json
    from tdscale.cli.status import show_status, study_status  # without the libraries that fit
    from tdscale.running.folder import open_study

    files = open_study(directory)
    print_json(study_status(files)) if as_json else show_status(files, watch=watch)


@command(epilog="Example:  tdscale compact my-study    |    tdscale compact my-study --drop-checkpoints")
def compact(
    directory: Directory,
    drop_checkpoints: Annotated[
        bool, typer.Option("--drop-checkpoints", help="Pack runs with a checkpoint, too; asked to go on, they then begin from the start.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Pack the folders of finished runs into a few files.

    `tdscale run` does it by itself once there are thousands.
    """
    from tdscale.cli.console import counted, print_json
    from tdscale.cli.results import size_on_disk
    from tdscale.running.folder import open_study, sole_runner

    files = open_study(directory)
    with sole_runner(directory):
        ended = [run_id for run_id, status in files.store.statuses(problems=[]).items() if status.state != "failed"]
        if drop_checkpoints:
            files.store.discard_checkpoints(ended)
        count = files.store.compact()
        kept = {run_id: size for run_id in ended if (size := files.store.checkpoint_bytes(run_id))}
    if as_json:
        print_json({"packed": count, "checkpoints": len(kept), "checkpoint_bytes": sum(kept.values())})
        return
    print(f"{counted(count, 'run')} packed" if count else "no run was packed")
    if kept:
        stay, them = ("stays as it is", "it") if len(kept) == 1 else ("stay as they are", "them")
        room = size_on_disk(sum(kept.values()))
        print(f"{counted(len(kept), 'run')} with a checkpoint {stay}, {room}: to go on from there. --drop-checkpoints packs {them}, too")


@command(
    "import",
    epilog="Example:  tdscale import logs --from sb3 --names 'gs{utd}/seed{seed}' --dir mine    |    tdscale import gym_ours.zip --dir gym",
)
def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="File or folder; of W&B's server ENTITY/PROJECT.", show_default=False)],
    *,
    directory: Annotated[Path | None, option("--dir", metavar="DIR", what="Folder of the study; several sources may go into one.")] = None,
    kind: Annotated[Source, typer.Option("--from", help="What it is; auto sees by names and content.")] = Source.auto,
    mapping: Annotated[Path | None, option("--map", metavar="TOML", what='The options below in a file, e.g. utd = "config.utd".')] = None,
    columns: ColumnOptions,
    scale: ScaleOptions,
    layout: Annotated[str | None, option(what="qscaled: which published file it is, where its name was changed.")] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files and runs that can't be read or understood, and say so.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what was understood and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Read learning curves from other programs' logs.

    KEY is a name in the log's configuration or table, or =VALUE, the same for every run. KEY:PATTERN takes a value out of a key's text.
    """
    from tdscale.cli.console import counted, for_people, print_json
    from tdscale.cli.imports import by_label, preview_to_dict, print_preview, report_to_dict
    from tdscale.cli.results import print_warnings
    from tdscale.importers import gather_runs, kind_of
    from tdscale.importers.logged_run import columns_from

    if directory is None and not dry_run:
        raise UserError("missing option '--dir': the study's folder that the runs go into (--dry-run needs none)")
    understood, named = columns_from(vars(columns), mapping)
    chosen = kind_of(source, named if kind == Source.auto and named is not None else kind.value)
    drafted = scale.drafted()
    console = for_people()
    with gather_runs(source, chosen, understood, layout=layout, skip_bad=skip_bad) as gathered:
        if directory is None or dry_run:
            for label, part in gathered.parts.items():
                # what would be drafted is checked, too
                part.study(None if directory is None else directory / label, drafted, part.preview.messages)
            if as_json:
                print_json(by_label({label: preview_to_dict(part.preview) for label, part in gathered.parts.items()}))
                return
            for label, part in gathered.parts.items():
                print_preview(console, source, part.preview, label)
                print_warnings(console, part.preview.messages)
            console.print("\nnothing was written")
            return
        if understood.split_by:
            reports = gathered.write_each(directory, drafted)
        else:
            show = None if as_json else lambda: print_preview(console, source, gathered.preview)
            reports = {"": gathered.write(directory, drafted, show)}
    if as_json:
        print_json(by_label({label: report_to_dict(report) for label, report in reports.items()}))
        return
    for label, report in reports.items():
        if label and report.preview is not None:
            print_preview(console, source, report.preview, label)
        print_warnings(console, report.messages)
        there = directory / label
        console.print(f"\n{report.runs} runs in {counted(report.cells, 'cell')} are in {there}; next: tdscale fit {there}")


@command(epilog="Example:  tdscale fit my-study    |    tdscale fit imported --where size=m")
def fit(
    directory: Directory,
    method: Annotated[FitMethod, typer.Option(help="paper is the authors' own procedure.")] = FitMethod.default,
    offsets: Offsets = False,
    draws: Annotated[
        int,
        typer.Option(
            metavar="N", parser=amount("a number of draws", "1k", least=20, most=100_000, whole=True), help="Bootstrap draws, 20 to 100k."
        ),
    ] = 200,
    where: Annotated[
        list[str] | None,
        option(
            metavar="KEY=VALUE",
            what="Only runs with this setting; KEY=A,B for one of several, KEY!=VALUE for all others. Can be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit the scaling laws, print them and write laws.json.

    plan, validate and report use what was fitted here. Where the runs or the study have changed, they fit again with the same method,
    draws and conditions.
    """
    from tdscale.analysis.laws_file import FILE_NAME, laws_to_dict
    from tdscale.analysis.method import OFFSETS
    from tdscale.cli.console import for_people, print_json
    from tdscale.cli.results import print_laws
    from tdscale.running.fitting import fit_study
    from tdscale.running.folder import open_study
    from tdscale.runs.where import parse_where

    files = open_study(directory)
    laws = fit_study(files, method.value + OFFSETS * offsets, n_draws=draws, where=parse_where(where or ())).laws
    if as_json:
        print_json(laws_to_dict(laws))
        return
    console = for_people()
    print_laws(console, laws)
    console.print(f"\nlaws    {directory / FILE_NAME}")


@command(epilog="Example:  tdscale plan my-study --data 2e5    |    tdscale plan published:gym --data 3e5 --task HalfCheetah-v4")
def plan(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The study's folder, or published:NAME for published laws.", show_default=False)
    ],
    asked: PlanOptions,
    as_json: Json = False,
) -> None:
    """Which UTD ratio, batch size and learning rate to use.

    Give exactly one limit: on data, on compute, or a total budget.

    σ: critic updates per env step. B: batch size. η: learning rate. D: env steps. C: compute. F = C + δ·D: both, with env steps priced at
    δ. A number is followed by its 80 % interval. The limit is met with the chance --sure. Exit code 3: there is no plan.
    """
    from tdscale.cli.console import for_people, print_json
    from tdscale.cli.results import print_plan
    from tdscale.paper import NO_INTERVAL, published_name, scaling_laws
    from tdscale.running.fitting import current_laws
    from tdscale.running.folder import open_study
    from tdscale.running.plans import constant_ratios, with_constant

    published = published_name(directory)
    files = open_study(directory) if published is None else None

    def laws(times: bool) -> "ScalingLaws":
        return scaling_laws(published or "", asked.task) if files is None else current_laws(files, times=times)

    answer = asked.answer(laws, None if files is None else files.study)
    if files is None and answer.feasible:
        answer = replace(answer, notes=(*answer.notes, NO_INTERVAL))
    if files is not None and answer.feasible:
        answer = with_constant(answer, constant_ratios(files))
    print_json(answer.to_dict()) if as_json else print_plan(for_people(), answer)
    if not answer.feasible:
        raise SystemExit(_NO_PLAN)


@command(epilog="Example:  tdscale confirm my-study --data 2e5 --workers 2")
def confirm(
    directory: Directory,
    *,
    asked: PlanOptions,
    seeds: Annotated[
        int | None,
        option(
            metavar="N",
            parser=amount("a number of seeds", "5", least=1, most=1000, whole=True),
            what="Of each task. [default: as in stage 2]",
        ),
    ] = None,
    training: TrainingOptions,
    as_json: Json = False,
) -> None:
    """Train what a plan says, with fresh seeds, and score it.

    The question is asked as of `plan`. What is done is not done again, and no law changes by it.
    """
    from tdscale.analysis.views import at_size
    from tdscale.cli.console import for_people, print_json
    from tdscale.cli.progress import RunDisplay
    from tdscale.cli.results import print_confirmation, print_plan
    from tdscale.running.confirm import FILE_NAME, confirm_plan
    from tdscale.running.fitting import current_laws
    from tdscale.running.folder import STUDY_FILE, open_study, prepare_study

    open_study(directory)  # says what is wrong with the folder
    files = prepare_study(directory / STUDY_FILE, directory)
    answer = asked.answer(lambda times: current_laws(files, times=times))
    if not answer.feasible:
        print_json({"plan": answer.to_dict(), "confirmation": None}) if as_json else print_plan(for_people(), answer)
        raise SystemExit(_NO_PLAN)
    laws = None if answer.model_size is None else at_size(current_laws(files, times=True), answer.model_size)
    engine = training.engine(custom=files.trainer is not None)
    console = for_people(stderr=as_json)
    if not as_json:
        print_plan(console, answer)
    with RunDisplay(directory, console, engine.workers or _ROWS) as display:
        outcome = confirm_plan(
            files, answer, engine=engine, display=display, seeds=seeds, batch_multiple=asked.batch_multiple, size=answer.size, laws=laws
        )
    if as_json:
        print_json({"plan": answer.to_dict(), "confirmation": outcome.to_dict()})
        return
    print_confirmation(console, outcome)
    console.print(f"\nkept in {directory / FILE_NAME}; `tdscale report {directory}` shows it")


@command(epilog="Example:  tdscale validate my-study")
def validate(directory: Directory, as_json: Json = False) -> None:
    """Compare predictions with runs that the fit did not see.

    UTD ratios, budgets and tasks are left out in turn; simpler rules stand beside the laws.
    """
    from tdscale.cli.console import for_people, print_json
    from tdscale.cli.results import print_validation
    from tdscale.running.fitting import fitted_study
    from tdscale.running.folder import open_study
    from tdscale.running.workflow import validate_study

    validation = validate_study(fitted_study(open_study(directory)))
    print_json(validation.to_dict()) if as_json else print_validation(for_people(), validation)


@command(epilog="Example:  tdscale report my-study")
def report(directory: Directory, as_json: Json = False) -> None:
    """Write the report page, figures and tables."""
    from tdscale.cli.console import print_json
    from tdscale.running.confirm import confirmations
    from tdscale.running.fitting import fitted_study
    from tdscale.running.folder import open_study
    from tdscale.running.workflow import report_study

    files = open_study(directory)
    page = report_study(files, fitted_study(files), confirmations(directory))
    if as_json:
        print_json({"report": str(page), "figures": _names(directory / "figures"), "tables": _names(directory / "tables")})
    else:
        print(f"report  {page}")


def _names(folder: Path) -> "Sequence[str]":
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@command(epilog="Example:  tdscale simulate study.toml --seeds 3 5 10    |    tdscale simulate study.toml --designs")
def simulate(
    source: Annotated[
        Path, typer.Argument(metavar="STUDY.toml|DIR", help="A study's file, or folder: its laws.json is the truth.", show_default=False)
    ],
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    seeds: Annotated[str | None, option(metavar="N …", what="Numbers of seeds a cell to compare. [default: 3 5 10]")] = None,
    designs: Annotated[
        bool, typer.Option("--designs", help="Compare designs of stage 1 instead: the grid, and the adaptive one; seeds as in the study.")
    ] = False,
    noise: Annotated[NoiseRegime, typer.Option(help="How noisy runs are; medium is as the published Gym runs.")] = NoiseRegime.medium,
    repeats: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=amount("a number of simulated sweeps", "16", least=2, most=10_000, whole=True),
            help="Simulated sweeps for each number of seeds, or each design.",
        ),
    ] = 16,
    directory: Annotated[
        Path | None, option("--dir", metavar="DIR", what="Write one simulated sweep there, as a study to try commands on.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", parser=amount("a seed", "0", least=0, whole=True), help="Of the random draws.")] = 0,
    as_json: Json = False,
) -> None:
    """How many seeds a study needs, by simulation.

    Where no laws are known yet, published ones stand in. With --dir the sweep has the first number of seeds.
    """
    from tdscale.cli import simulate as sweep
    from tdscale.cli.console import for_people, print_json

    if designs and (seeds is not None or more):
        raise UserError("--seeds: --designs simulates the study's own numbers of seeds; leave one of the two out")
    counts = sweep.seed_counts([*(seeds or "3 5 10").replace(",", " ").split(), *(more or [])])
    planned = sweep.plan_rehearsal(source)
    if directory is not None:
        sweep.write_study(planned, directory, counts[0], noise.value, seed)
    console, given = for_people(), {"noise": noise.value, "directory": str(directory) if directory else None}
    if designs:
        compared = sweep.rehearse_designs(planned, noise.value, repeats, seed, for_people(stderr=True))
        content = compared.to_dict() | given
        if not as_json:
            sweep.print_designs(console, compared, planned, noise.value)
    else:
        result = sweep.rehearse_plan(planned, counts, noise.value, repeats, seed, for_people(stderr=True))
        content = result.to_dict() | given | {"assumed": list(planned.assumed)}
        if not as_json:
            sweep.print_rehearsal(console, result, planned, noise.value)
    if as_json:
        print_json(content)
    elif directory is not None:
        console.print(f"\nwritten: {directory}; next: tdscale fit {directory}")
