"""From plan to proof: run what a plan says, with fresh seeds, and keep how it came out."""

import json
import math
from pathlib import Path
from typing import Any

from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.errors import RunFailure, UserError
from tdscale.planning import Confirmation, Plan, batch_to_run, laws_for, score
from tdscale.running.dispatch import Engine
from tdscale.running.fitting import current_laws
from tdscale.running.folder import StudyFiles
from tdscale.running.stages import Display, pending_jobs, sized, stage_runner
from tdscale.runs.cells import load_cells
from tdscale.study import RunSpec, Stage, StopTarget
from tdscale.whole_file import write_text

FILE_NAME = "confirmations.json"
BEYOND = 3.0  # times the upper end of the predicted D: there a run ends that has not reached J


def confirm_plan(
    files: StudyFiles,
    plan: Plan,
    *,
    engine: Engine,
    display: Display,
    seeds: int | None = None,
    batch_multiple: int = 16,
    size: str | None = None,
    laws: ScalingLaws | None = None,
) -> Confirmation:
    """Train what a plan says until J, with seeds of its own, and score the plan; runs that are there are not repeated.

    The runs are a stage of their own, which no fit takes in. A run that does not reach J ends at 3 times the upper end of the
    predicted D. The outcome is kept in confirmations.json.

    Args:
        files: an open study that can be trained.
        plan: of this study's laws.
        engine: what trains.
        display: shows how far it is.
        seeds: of each task; None for as many as in stage 2.
        batch_multiple: B is rounded to a multiple of it, as in the plan.
        size: which of the study's sizes is trained; needed where it has several.
        laws: those that the plan is of, at that size; None: the study's.

    Raises:
        UserError: before anything is trained, if there is nothing to train (no answer, or curves that were imported), or the
            outcome could not be compared with the plan.
        RunFailure: if a cell failed.
    """
    one = _at_size(files, size)
    laws = laws_for(plan, current_laws(files, times=True) if laws is None else laws)
    specs = _specs(one, plan, laws, seeds, batch_multiple)
    assert plan.data is not None
    assert plan.threshold is not None
    study = files.study
    end = plan.data.high if math.isfinite(plan.data.high) else plan.data.value
    limits = {spec.task: math.ceil(BEYOND * end) for spec in specs}
    margin = study.limits.margin if study.limits is not None else 0.0
    raw = {spec.task: study.raw_return(spec.task, plan.threshold) for spec in specs}
    targets = {task: StopTarget(return_threshold=level, margin=margin, aggregate=study.aggregate) for task, level in raw.items()}
    with stage_runner(files, engine, display) as runner:
        jobs = [sized(job, one) for job in pending_jobs(specs, files.store.statuses(problems=[]), limits, targets)]
        failures = runner.run("confirm", specs, jobs=jobs)
    if failures:
        raise RunFailure(f"the plan was not run to its end: {failures[0]}; the same command tries again")
    mine = {spec.cell_id for spec in specs}
    stages: tuple[Stage, ...] = ("confirm",)
    cells = [cell for cell in load_cells(files.store, one.study, stages=stages)[0] if cell.spec.cell_id in mine]
    confirmation = score(plan, laws, cells)
    _keep(files.directory, confirmation)
    return confirmation


def confirmations(directory: Path) -> list[Confirmation]:
    """The plans of a study that were run, in the order in which they were. Raises UserError if the file is damaged."""
    path = directory / FILE_NAME
    if not path.is_file():
        return []
    try:
        content: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return [Confirmation.from_dict(values) for values in content]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: is damaged; remove it, and `tdscale confirm` writes it again without training anew") from None


def _at_size(files: StudyFiles, size: str | None) -> StudyFiles:
    """The study of the size that is to be trained. Raises UserError where it is not said which, or there is no such size."""
    sizes = files.by_size()
    if size is None and len(sizes) == 1:
        return next(iter(sizes.values()))
    if size is None or size not in sizes:
        said = "there are several sizes" if size is None else f"there is no size {size!r}"
        raise UserError(f"{files.directory}: {said}; name one of {', '.join(files.study.sizes) or 'none: the study has no [sizes]'}")
    return sizes[size]


def _specs(files: StudyFiles, plan: Plan, laws: ScalingLaws, seeds: int | None, batch_multiple: int) -> list[RunSpec]:
    study = files.study
    if study.sweep is None:
        raise UserError(f"{files.directory}: its curves were imported, so there is nothing that could train more")
    if not plan.feasible:
        raise UserError(plan.sentence())
    if plan.threshold is None:
        raise UserError("the budget leads beyond the highest threshold fitted, where no return is predicted; give a smaller one")
    if plan.batch_size is None or plan.learning_rate is None:
        raise UserError("the laws give no B and η to run at: the sweep did not settle them")
    assert plan.utd is not None
    points = {}
    for task in [plan.task] if plan.task is not None else laws.tasks:
        batch, rate = plan.batch_size, plan.learning_rate
        if plan.task is None and len(laws.tasks) > 1:  # the plan's are the domain's
            assert laws.learning_rate is not None
            batch = batch_to_run(float(laws.batch_size_at([plan.utd], task)[0]), batch_multiple)
            rate = float(laws.learning_rate.predict([plan.utd], task)[0])
        points[task] = (plan.utd, batch, rate)
    return study.confirm_specs(points, seeds or (study.scaling.seeds if study.scaling is not None else 5))


def _keep(directory: Path, confirmation: Confirmation) -> None:
    """Store a confirmation; it replaces an earlier one of the same question."""

    def question(one: Confirmation) -> tuple[Any, ...]:
        return one.problem, one.limit, one.task, one.threshold, one.utd, one.runs

    kept = [other for other in confirmations(directory) if question(other) != question(confirmation)]
    text = json.dumps([other.to_dict() for other in (*kept, confirmation)], indent=1, ensure_ascii=False)
    write_text(directory / FILE_NAME, text + "\n")
