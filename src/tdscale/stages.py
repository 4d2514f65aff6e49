"""What each stage of a study runs: its specs, with the B and η that the stage before gives, and what is left of them."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from tdscale.analysis.fit import fit_hyperparameters
from tdscale.analysis.laws import PowerLaw
from tdscale.analysis.options import FitOptions
from tdscale.errors import RunFailure as RunFailure
from tdscale.errors import UserError
from tdscale.execution.jobs import CellJob, Target, pending_jobs
from tdscale.folder import STUDY_FILE, StudyFiles
from tdscale.planning import round_batch
from tdscale.published import power_law, published_laws
from tdscale.runs.cells import load_cells
from tdscale.runs.types import Cell, RunWarning
from tdscale.study import RunSpec, Study
from tdscale.study.spec import Stage

Method = Literal["default", "paper"]
FITTED: tuple[Stage, ...] = ("sweep", "scaling", "baseline")  # what runs that check a plan saw changes no law
PAPERS_CONSTANT_UTD = 2.0  # whose B and η the paper keeps constant for its baseline


def wanted_specs(files: StudyFiles) -> dict[Stage, list[RunSpec]]:
    """The runs a study asks for, stage by stage, as far as they are known: stage 2's B and η need stage 1."""
    wanted: dict[Stage, list[RunSpec]] = {"sweep": files.study.sweep_specs()}
    if files.study.scaling is not None and not cells_to_go(files, wanted["sweep"]):
        try:
            choose = chosen_hyperparameters(files)
            wanted["scaling"] = files.study.scaling_specs(scaling_hyperparameters(files.study, choose))
            if constant := files.study.baseline_specs(constant_hyperparameters(files.study, choose)):
                wanted["baseline"] = constant
        except RunFailure:
            pass
    return wanted


Choose = Callable[[str, float], tuple[int, float]]


def refuse_divergence(files: StudyFiles) -> list[Cell]:
    """Stage 1's cells. Raises RunFailure where all of them diverged."""
    stages: tuple[Stage, ...] = ("sweep",)
    cells, _ = load_cells(files.store, files.study, stages=stages)
    if cells and all(cell.diverged.all() and cell.returns.max() < min(files.study.return_thresholds) for cell in cells):
        first = min(cell.last_step for cell in cells)
        raise RunFailure(
            f"every run of stage 1 diverged below the lowest threshold, a cell of them at env step {first:,}, so that nothing can be "
            "fitted; a return of nan or inf says that a run diverged"
        )
    return cells


def chosen_hyperparameters(files: StudyFiles) -> Choose:
    """B (rounded) and η (three digits) for (task, σ), by the laws that stage 1's runs give.

    Raises:
        RunFailure: if they give none; here, or when called with a task and σ of which they say nothing.
    """
    study = files.study
    assert study.scaling is not None
    assert study.sweep is not None
    sweep, multiple = study.sweep, study.scaling.batch_multiple
    cells = refuse_divergence(files)
    if not cells:
        raise RunFailure("stage 1 left no run to choose B and η by; `tdscale status` lists what failed")
    options = fit_options(study, "default")
    batch_law, rate_law, warnings = fit_hyperparameters(cells, options)

    def choose(task: str, utd: float) -> tuple[int, float]:
        room = min(study.env_step_limit(task), study.full_settings.get("replay_capacity", math.inf))
        largest = max(room // multiple, 1) * multiple
        batch = _value(batch_law, sweep.batch_size, utd, task, warnings)
        rate = _value(rate_law, sweep.learning_rate, utd, task, warnings)
        return min(round_batch(batch, multiple), largest), min(float(f"{rate:.3g}"), 0.5)

    return choose


def scaling_hyperparameters(study: Study, choose: Choose) -> dict[tuple[str, float], tuple[int, float]]:
    """(B, η) of stage 2, for each (task, σ)."""
    assert study.scaling is not None
    return {(task, utd): choose(task, utd) for task in study.tasks for utd in study.scaling.utd}


def constant_hyperparameters(study: Study, choose: Choose) -> dict[str, tuple[int, float]]:
    """(B, η) of the baseline, for each task: those of one σ (METHOD.md section 5)."""
    assert study.sweep is not None
    if study.baseline is None:
        return {}
    utd = study.baseline.utd or min(study.sweep.utd, key=lambda swept: abs(math.log(swept / PAPERS_CONSTANT_UTD)))
    return {task: choose(task, utd) for task in study.tasks}


def _cautious(law: PowerLaw, utd: float, task: str) -> float:
    """By the flattest law that agrees with the sweep: an uncertain slope must not decide what is run far from the swept σ.

    The exponent is the one nearest to 0 in its interval; the law turns about the middle of the swept σ.
    """
    interval = law.exponent_estimate
    exponent = float(np.clip(0.0, interval.low, interval.high))
    middle = float(np.exp(np.log(law.utd).mean()))
    return float(law.predict([middle], task)[0] * (utd / middle) ** exponent)


def _value(law: PowerLaw | None, grid: Sequence[float], utd: float, task: str, warnings: Sequence[RunWarning]) -> float:
    if law is not None:
        value = _cautious(law, utd, task)
        if np.isfinite(value):
            # nor must it lead far from what was tried: one step of the grid beyond its ends
            values = sorted(grid)
            return min(max(value, values[0] ** 2 / values[1]), values[-1] ** 2 / values[-2])
    elif len(grid) == 1:
        return float(grid[0])
    reason = next((w.message for w in warnings if w.code in ("not-identified", "no-best-value")), "the sweep gives no best value")
    raise RunFailure(f"B and η of stage 2 can't be chosen for {task}: {reason}; raise limits.env_steps or lower return_thresholds")


def cells_to_go(files: StudyFiles, specs: Sequence[RunSpec]) -> list[CellJob]:
    """What is to be trained so that all of these runs are there."""
    study = files.study
    assert study.limits is not None
    limits = {task: study.env_step_limit(task) for task in study.tasks}
    top = study.return_thresholds[-1]
    targets = {task: Target(return_threshold=study.raw_return(task, top), margin=study.limits.margin) for task in study.tasks}
    return pending_jobs(specs, files.store.statuses(problems=[]), limits, targets)


def fit_options(study: Study, method: Method, *, n_draws: int = 200, seed: int = 0) -> FitOptions:
    """What a study's file says of the fit. Raises UserError if it names published laws that there are not, or not for its tasks."""
    published = None
    if study.published_laws is not None:
        try:
            laws, tasks = published_laws(study.published_laws), tuple(study.tasks)
            published = (power_law(laws, "batch_size", tasks, n_draws), power_law(laws, "learning_rate", tasks, n_draws))
        except UserError as error:
            raise UserError(f"{STUDY_FILE}, published_laws: {error}") from None
    return FitOptions(
        study=study.name,
        tasks=tuple(study.tasks),
        thresholds=study.return_thresholds,
        method=method,
        data_cost=study.data_cost,
        accounting=study.accounting,
        compute_unit=study.compute_unit,
        model_size=study.model_size,
        published=published,
        n_draws=n_draws,
        seed=seed,
    )
