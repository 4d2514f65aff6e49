"""What each command does: calls the rooms, prints a sentence or JSON."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from tdscale.analysis.compute import ComputeUnit
from tdscale.analysis.fit import in_unit
from tdscale.analysis.laws_file import FILE_NAME, laws_to_dict
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.cli import imports, summary
from tdscale.cli.checks import print_validation
from tdscale.cli.console import for_people, print_json
from tdscale.cli.forecast import print_forecast
from tdscale.cli.progress import RunDisplay
from tdscale.cli.words import counted
from tdscale.errors import UserError
from tdscale.paper import NO_INTERVAL, PREFIX, STANDARD_UTD, laws_of_task, predict, scaling_laws
from tdscale.planning import Plan, plan_budget, plan_compute, plan_data
from tdscale.running import RETRIES, Engine, default_workers, workflow
from tdscale.running.confirm import FILE_NAME as CONFIRMATIONS
from tdscale.running.confirm import confirm_plan, confirmations
from tdscale.running.folder import prepare_study, sole_runner
from tdscale.running.forecast import forecast
from tdscale.runs.where import parse_where
from tdscale.study import is_smoke

_SMOKE = "smoke run: every stage, cut down to seconds; its numbers mean nothing"


def demo(directory: Path, workers: int | None, as_json: bool) -> None:
    """The study that comes with the package, run, fitted, planned with, reported."""
    with resources.as_file(resources.files("tdscale") / "studies" / "demo.toml") as study:
        files = workflow.place_study(study, directory)
    _run_and_report(files, _engine(workers, "cpu"), as_json, with_plans=True)


def run(
    study: Path,
    directory: Path | None,
    where: dict[str, Any],
    smoke: bool,
    dry_run: bool,
    accept_changes: bool,
    rechoose: bool,
    as_json: bool,
) -> None:
    """A user's study, or its smoke size, run, fitted, reported; or only what it would take."""
    if directory is None:
        directory = study.resolve().parent if study.name == workflow.STUDY_FILE else study.with_suffix("")
        if smoke:
            directory = directory.with_name(f"{directory.name}-smoke")
    files = (prepare_study if dry_run else workflow.place_study)(study, directory, smoke=smoke, accept_changes=accept_changes)
    engine = _engine(**where, own=files.trainer is not None)
    if dry_run:
        if files.trainer is None:
            for_people(stderr=True).print("measuring how fast this machine trains, 20 s or so …")
        found = forecast(files, engine, source=study.resolve().parent)
        print_json(found.to_dict()) if as_json else print_forecast(for_people(), found)
        return
    _run_and_report(files, engine, as_json, with_plans=smoke, rechoose=rechoose)


_ROWS = 8  # of the live display, where nobody knows how many workers there will be


def _engine(
    workers: int | None, device: str, *, ray: str | None = None, cores: int = 1, retries: int = RETRIES, own: bool = False
) -> Engine:
    from tdscale.training.devices import gpu_problem, visible_gpus

    if own:
        if device == "gpu":
            raise UserError("--device gpu: is about tdscale's own agents; a trainer of your own takes what devices it finds")
        device = "cpu"
    if ray is not None:
        return Engine(workers=workers, gpu=device == "gpu", ray=ray, cores=cores, retries=retries)
    problem = None if device == "cpu" else gpu_problem()
    if device == "gpu" and problem is not None:
        raise UserError(f"--device gpu: {problem}")
    if device == "cpu" or problem is not None:
        return Engine(workers=workers or default_workers(), retries=retries)
    count = len(visible_gpus())
    return Engine(workers=min(workers or count, count), gpu=True, retries=retries)


def _run_and_report(files: workflow.StudyFiles, engine: Engine, as_json: bool, *, with_plans: bool, rechoose: bool = False) -> None:
    # with --json, standard output holds the document alone
    console = for_people(stderr=as_json)
    smoke = is_smoke(files.study)
    with RunDisplay(files.directory, console, engine.workers or _ROWS) as display:
        if smoke:
            display.note(_SMOKE)
        failures = workflow.run_study(files, engine=engine, display=display, rechoose=rechoose)
    files = workflow.open_study(files.directory)  # a smoke run has put it on another scale
    fitted = workflow.fitted_study(files)
    page = workflow.report_study(files, fitted, confirmations(files.directory))
    plans = workflow.example_plans(fitted.laws)
    validation = workflow.validate_study(fitted)
    if as_json:
        print_json(
            {
                "laws": laws_to_dict(fitted.laws),
                "plans": [plan.to_dict() for plan in plans],
                "validation": validation.to_dict(),
                "failed": failures,
                "report": str(page),
                "smoke": smoke,
            }
        )
        raise SystemExit(1 if failures else 0)
    summary.print_laws(console, fitted.laws)
    if with_plans:
        for plan in plans:
            summary.print_plan(console, plan)
    print_validation(console, validation)
    for line in failures:
        display.note(f"failed: {line}")
    display.note(f"\nlaws    {files.directory / FILE_NAME}\nreport  {page}")
    if smoke:
        display.note(_SMOKE)
    if failures:
        repaired = ", with --accept-changes once the trainer is mended" if files.trainer is not None else ""
        display.note(f"{counted(len(failures), 'cell')} failed; the same command tries again{repaired}")
        raise SystemExit(1)


def compact(directory: Path, as_json: bool) -> None:
    """Folders of runs that ended into one packed part."""
    files = workflow.open_study(directory)
    with sole_runner(directory):
        count = files.store.compact()
    if as_json:
        print_json({"packed": count})
    else:
        print(f"{count} runs packed" if count else "no folder to pack: each run is packed already, or may go on")


def import_(
    source: str,
    kind: str,
    directory: Path | None,
    mapping: Path | None,
    columns: dict[str, str | None],
    scale: dict[str, Any],
    layout: str | None,
    skip_bad: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Logs from elsewhere into the store: what was understood, then the import."""
    imports.bring(source, kind, directory, mapping, columns, scale, layout, skip_bad, dry_run, as_json)


def fit(directory: Path, method: str, draws: int, where: Sequence[str], as_json: bool) -> None:
    """laws.json and a summary."""
    files = workflow.open_study(directory)
    fitted = workflow.fit_study(files, method, n_draws=draws, where=parse_where(where))
    if as_json:
        print_json(laws_to_dict(fitted.laws))
        return
    console = for_people()
    summary.print_laws(console, fitted.laws)
    console.print(f"\nlaws    {directory / FILE_NAME}", highlight=False, markup=False)


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What `plan` and `confirm` are asked."""

    data: float | None
    compute: float | None
    budget: float | None
    data_cost: str | None
    unit: ComputeUnit | None
    threshold: float | None
    task: str | None
    batch_multiple: int

    def answer(self, laws_with: Callable[[bool], ScalingLaws]) -> Plan:
        """P1, P2 or P3, by the limit that was given, of the laws, with times where they are needed."""
        limits = {"--data": self.data, "--compute": self.compute, "--budget": self.budget}
        given = [name for name, value in limits.items() if value is not None]
        if len(given) != 1:
            raise UserError(f"a plan takes exactly one limit of --data, --compute, --budget; {', '.join(given) or 'none'} was given")
        if self.data_cost is not None and self.budget is None:
            raise UserError("--data-cost goes with --budget: the other limits don't price env steps")
        price = _price(self.data_cost)
        if self.threshold is not None and self.budget is not None:
            raise UserError("--threshold does not go with --budget, whose answer is the threshold")
        laws = laws_with(self.unit == "seconds" or price == "measured")
        if self.unit is not None:
            laws = in_unit(laws, self.unit)
        if self.budget is not None:
            return plan_budget(laws, self.budget, price, task=self.task, batch_multiple=self.batch_multiple)
        if self.data is not None:
            return plan_data(laws, self.data, threshold=self.threshold, task=self.task, batch_multiple=self.batch_multiple)
        assert self.compute is not None
        return plan_compute(laws, self.compute, threshold=self.threshold, task=self.task, batch_multiple=self.batch_multiple)


def plan(directory: Path, question: dict[str, Any], as_json: bool) -> None:
    """The answer, of a study's laws or of published ones."""
    published = str(directory).startswith(PREFIX) and not directory.exists()
    name = str(directory).removeprefix(PREFIX)

    asked = PlanOptions(**question)

    def laws(times: bool) -> ScalingLaws:
        return scaling_laws(name, asked.task) if published else workflow.current_laws(workflow.open_study(directory), times=times)

    answer = asked.answer(laws)
    if published and answer.feasible:
        answer = replace(answer, notes=(*answer.notes, NO_INTERVAL))
    if as_json:
        print_json(answer.to_dict())
    else:
        summary.print_plan(for_people(), answer)


def confirm(directory: Path, question: dict[str, Any], seeds: int | None, where: dict[str, Any], as_json: bool) -> None:
    """A plan, run and scored."""
    workflow.open_study(directory)  # says what is wrong with the folder
    files = prepare_study(directory / workflow.STUDY_FILE, directory)
    asked = PlanOptions(**question)
    answer = asked.answer(lambda times: workflow.current_laws(files, times=times))
    engine = _engine(**where, own=files.trainer is not None)
    console = for_people(stderr=as_json)
    if not as_json:
        summary.print_plan(console, answer)
    with RunDisplay(directory, console, engine.workers or _ROWS) as display:
        outcome = confirm_plan(files, answer, engine=engine, display=display, seeds=seeds, batch_multiple=asked.batch_multiple)
    if as_json:
        print_json({"plan": answer.to_dict(), "confirmation": outcome.to_dict()})
        return
    summary.print_confirmation(console, outcome)
    console.print(f"\nkept in {directory / CONFIRMATIONS}; `tdscale report {directory}` shows it", highlight=False, markup=False)


def _price(text: str | None) -> float | Literal["measured"] | None:
    if text is None:
        return None
    if text.strip() == "measured":
        return "measured"
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise UserError(f"--data-cost: {text} is not a price; it must be > 0, in units of compute per env step, e.g. 5e9, or measured")
    return value


def published(asked: Sequence[str], utd: Sequence[str], as_json: bool) -> None:
    """The published laws of a task, or all of them; numbers among `asked` are further σ."""
    names = [text for text in asked if not _is_number(text)]
    if len(names) > 1:
        raise UserError(f"published takes one task; {', '.join(names)} were given")
    task = names[0] if names else None
    sets = laws_of_task(task)
    utds = sorted({_utd(part) for text in (*utd, *asked) if text not in names for part in text.split(",")})
    if task is not None and not utds:
        utds = list(STANDARD_UTD)
    predicted = {laws.name: [predict(laws, name, at) for name in (laws.tasks if task is None else (task,)) for at in utds] for laws in sets}
    if as_json:
        content = [laws.to_dict() | {"predictions": [p.to_dict() for p in predicted[laws.name]]} for laws in sets]
        print_json({"laws": content, "note": NO_INTERVAL})
        return
    console = for_people()
    for laws in sets:
        summary.print_published(console, laws, task, predicted[laws.name])
    console.print(f"\n{NO_INTERVAL}", highlight=False, markup=False)


def _is_number(text: str) -> bool:
    try:
        float(text.split(",")[0])
    except ValueError:
        return False
    return True


def _utd(text: str) -> float:
    value = float(text) if _is_number(text) else float("nan")
    if not 0 < value < float("inf"):
        raise UserError(f"--utd: {text!r} is not a UTD ratio; it must be a number above 0, e.g. --utd 0.5 4")
    return value


def validate(directory: Path, as_json: bool) -> None:
    """Held-out errors."""
    files = workflow.open_study(directory)
    validation = workflow.validate_study(workflow.fitted_study(files))
    if as_json:
        print_json(validation.to_dict())
    else:
        print_validation(for_people(), validation)


def simulate(source: Path, seeds: Sequence[str], noise: str, repeats: int, directory: Path | None, seed: int, as_json: bool) -> None:
    """How precise a sweep would be with each number of seeds; a simulated study on request."""
    from tdscale.cli import rehearsal

    counts = rehearsal.seed_counts(seeds)
    plan = rehearsal.plan_rehearsal(source)
    if directory is not None:
        rehearsal.write_study(plan, directory, counts[0], noise, seed)
    result = rehearsal.rehearse_plan(plan, counts, noise, repeats, seed, for_people(stderr=True))
    if as_json:
        print_json(result.to_dict() | {"noise": noise, "assumed": list(plan.assumed), "directory": str(directory) if directory else None})
        return
    console = for_people()
    rehearsal.print_rehearsal(console, result, plan, noise)
    if directory is not None:
        console.print(f"\nwritten: {directory}; next: tdscale fit {directory}", highlight=False, markup=False)


def report(directory: Path, as_json: bool) -> None:
    """The page, figures and tables."""
    files = workflow.open_study(directory)
    page = workflow.report_study(files, workflow.fitted_study(files), confirmations(directory))
    if as_json:
        print_json({"report": str(page), "figures": _names(directory / "figures"), "tables": _names(directory / "tables")})
    else:
        sys.stdout.write(f"report  {page}\n")


def _names(folder: Path) -> Sequence[Any]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
