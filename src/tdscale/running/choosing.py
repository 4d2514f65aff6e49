"""Stage 2's B and η: chosen by the laws that stage 1's runs give, once, before stage 2 starts, and kept in choice.json (`runs.choice`)."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tdscale.analysis.fit import FitOptions, fit_hyperparameters, measure
from tdscale.analysis.fitted_laws import PowerLaw
from tdscale.analysis.sizes import without_size
from tdscale.analysis.views import law_at
from tdscale.errors import RunFailure
from tdscale.planning import round_batch
from tdscale.running.fitting import fit_options
from tdscale.running.folder import StudyFiles
from tdscale.runs.cells import load_cells
from tdscale.runs.choice import Choice, condition_id, read_choices, write_choices
from tdscale.runs.selection import Selection, select_runs
from tdscale.runs.types import Cell, RunWarning
from tdscale.study import Stage, Study

PAPERS_CONSTANT_UTD = 2.0  # whose B and η the paper keeps constant for its baseline


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """B and η of stage 2.

    Attributes:
        choices: by task.
        notes: sentences: what a refit of today's sweep would choose clearly otherwise.
    """

    choices: Mapping[str, Choice]
    notes: tuple[str, ...] = ()


def choose(files: StudyFiles, *, whole: StudyFiles | None = None, again: bool = False, store: bool = False) -> Chosen:
    """The B and η of stage 2: those in choice.json; for a task or σ that it lacks, by the laws that stage 1's runs give.

    Args:
        files: the study, with a [scaling]; of a study with sizes, that of one of them.
        whole: the study with all of its sizes, whose runs choose together; None for `files`.
        again: choose all of them by today's sweep, also those chosen before.
        store: write choice.json. The caller holds the folder.

    Raises:
        RunFailure: if the sweep gives none.
        UserError: if choice.json is damaged.
    """
    study = files.study
    assert study.scaling is not None
    known = read_choices(files.directory)
    conditions = {task: condition_id(study, task) for task in study.tasks}
    kept = {task: known[condition] for task, condition in conditions.items() if condition in known and not again}
    complete = all(
        task in kept and not set(study.scaling.utd) - set(kept[task].scaling) and (study.baseline is None or kept[task].baseline)
        for task in study.tasks
    )
    whole = files if whole is None else whole
    selection = select_runs(whole.store, whole.study, problems=[])
    swept = [run_id for run_id, spec in selection.specs.items() if spec.stage == "sweep"]
    options = fit_options(whole.study, "default")
    read = repr((files.store.fingerprint(swept), options.thresholds, options.reading))
    sweep = hashlib.sha256(read.encode()).hexdigest()
    if complete and all(choice.sweep == sweep for choice in kept.values()):
        return Chosen(choices=kept)
    try:
        by_sweep = _by_sweep(whole, selection, options, files.size)
    except RunFailure:
        if complete:  # the sweep that chose them has changed; the choice stays
            return Chosen(choices=kept)
        raise
    fresh = {task: _fresh(study, task, by_sweep, sweep) for task in study.tasks}
    notes = [note for task, choice in kept.items() if (note := _otherwise(files, task, choice, fresh[task], by_sweep))]
    choices = {
        task: replace(
            fresh[task],
            sweep=kept[task].sweep,
            scaling={**fresh[task].scaling, **kept[task].scaling},
            baseline=kept[task].baseline or fresh[task].baseline,
        )
        if task in kept
        else fresh[task]
        for task in study.tasks
    }
    if store and not complete:
        write_choices(files.directory, known | {conditions[task]: choice for task, choice in choices.items()})
    return Chosen(choices=choices, notes=tuple(notes))


def choose_by_size(files: StudyFiles, *, again: bool = False, store: bool = False) -> dict[str, Chosen]:
    """As `choose`, for each size of a study by the laws B*(σ, N), η*(σ, N) of all sizes' sweeps; under "" without [sizes].

    Raises:
        RunFailure: if the sweeps give none for a size; says which.
        UserError: if choice.json is damaged.
    """
    found = {}
    for name, one in files.by_size().items():
        try:
            found[name] = choose(one, whole=files, again=again, store=store)
        except RunFailure as failure:
            if not name:
                raise
            raise RunFailure(f"size {name}: {failure}, or leave the size out of [sizes]: runs of the others stay") from None
    return found


@dataclass(frozen=True, kw_only=True)
class _BySweep:
    """The laws that stage 1's runs give; None where only one value was swept or there is no best."""

    batch_size: PowerLaw | None
    learning_rate: PowerLaw | None
    warnings: Sequence[RunWarning]


def refuse_divergence(files: StudyFiles, selection: Selection | None = None) -> list[Cell]:
    """Stage 1's cells. Raises RunFailure if all of them diverged, in all sizes."""
    stages: tuple[Stage, ...] = ("sweep",)
    cells, _ = load_cells(files.store, files.study, stages=stages, selection=selection)
    if cells and all(cell.diverged.all() and cell.returns.max() < min(files.study.return_thresholds) for cell in cells):
        first = min(cell.last_step for cell in cells)
        raise RunFailure(
            f"every run of stage 1 diverged below the lowest threshold, one cell at env step {first:,}, so nothing can be "
            "fitted; a return of nan or inf means that a run diverged"
        )
    return cells


def _by_sweep(files: StudyFiles, selection: Selection, options: FitOptions, size: str) -> _BySweep:
    """The laws of a study's sweep, at one of its sizes."""
    cells = refuse_divergence(files, selection)
    if not cells:
        raise RunFailure("stage 1 has no run from which B and η can be chosen; `tdscale status` lists what failed")
    if without_size(cells):  # no law over N: each size by its own sweep
        cells = [cell for cell in cells if cell.size == size]
    measured = measure(cells, options)
    batch_size, learning_rate, warnings = fit_hyperparameters(measured)
    sizes = measured.sizes
    if sizes is not None and size in sizes.names:
        model_size = sizes.model_size[sizes.names.index(size)]
        batch_size, learning_rate = law_at(batch_size, model_size), law_at(learning_rate, model_size)
    return _BySweep(batch_size=batch_size, learning_rate=learning_rate, warnings=warnings)


def _fresh(study: Study, task: str, laws: _BySweep, sweep: str) -> Choice:
    """What the laws choose for one task: B rounded, η with three digits."""
    assert study.scaling is not None
    assert study.sweep is not None
    swept, multiple = study.sweep, study.scaling.batch_multiple
    room = min(study.env_step_limit(task), study.full_settings.get("replay_capacity", math.inf))
    largest = max(room // multiple, 1) * multiple

    def pair(utd: float) -> tuple[int, float]:
        batch = _value(laws.batch_size, swept.batch_size, utd, task, laws.warnings)
        rate = _value(laws.learning_rate, swept.learning_rate, utd, task, laws.warnings)
        return int(min(round_batch(batch, multiple), largest)), min(float(f"{rate:.3g}"), 0.5)

    baseline = None
    if study.baseline is not None:
        # docs/validation.md: the baseline keeps those of one σ
        baseline = pair(study.baseline.utd or min(swept.utd, key=lambda utd: abs(math.log(utd / PAPERS_CONSTANT_UTD))))
    return Choice(sweep=sweep, scaling={utd: pair(utd) for utd in study.scaling.utd}, baseline=baseline)


def _otherwise(files: StudyFiles, task: str, kept: Choice, fresh: Choice, laws: _BySweep) -> str | None:
    """A sentence where today's sweep would choose clearly otherwise: by more than the 80 % interval of its own law."""
    found = []
    for utd, (batch, rate) in sorted(fresh.scaling.items()):
        if utd not in kept.scaling:
            continue
        pairs = [("B", laws.batch_size, kept.scaling[utd][0], batch), ("η", laws.learning_rate, kept.scaling[utd][1], rate)]
        for symbol, law, before, now in pairs:
            if law is None or before == now:
                continue
            at = law.estimate(utd, task)
            rounded = files.study.scaling.batch_multiple / 2 if symbol == "B" and files.study.scaling is not None else 0.0
            if not now * at.low / at.value - rounded <= before <= now * at.high / at.value + rounded:
                found.append(f"{symbol} {now:g} instead of {before:g} at UTD ratio {utd:g}")
    if not found:
        return None
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        "the sweep, or how the study reads it, has changed since the batch sizes and learning rates of stage 2 were chosen; "
        f"today it would choose for {task} {', '.join(found[:3])}{more}. The old choice stays; `tdscale run … --rechoose` chooses "
        "again and trains stage 2 at the new values"
    )


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
