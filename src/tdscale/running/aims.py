"""What the user wants to know more precisely, and which (task, σ) of the data law help most: `tdscale suggest --for`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.compute import ComputeModel
from tdscale.analysis.estimate import short
from tdscale.analysis.fit import FitOptions, fit_measured, measure
from tdscale.analysis.fitted_laws import DataLaw, PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.design.candidates import Pair
from tdscale.design.data_law import LawDraws, Place, RankedSeed, ScalingCandidates, ScalingRules, noise_of_seeds, top_law
from tdscale.errors import UserError
from tdscale.planning import round_batch
from tdscale.runs.types import Cell
from tdscale.study import Study

_ENOUGH = 20  # draws of what is aimed at
_MOST_SEEDS = 100
_ROOM = 1.5  # times the expected D: where a run may be stopped for which the study sets no limit
_AIM = re.compile(r"D@([^:]+)(?::(.+))?")


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What is to be known better: D at a σ, of a task or the mean over tasks; or, where `utd` is None, the exponent of σ*(F)."""

    text: str
    utd: float | None = None
    task: str | None = None

    @property
    def measure(self) -> str:
        """How it is described."""
        if self.utd is None:
            return "half the width of the 80 % interval of the exponent of σ*(F)"
        return f"half the width of the 80 % interval of log D at UTD ratio {short(self.utd)}, " + (self.task or "mean over tasks")


def read_aim(text: str, tasks: Sequence[str]) -> Aim:
    """D@UTD, D@UTD:TASK or budget. Raises UserError for anything else, or where there is no such task."""
    if text == "budget":
        return Aim(text=text)
    found = _AIM.fullmatch(text)
    try:
        utd = float(found[1]) if found else float("nan")
    except ValueError:
        utd = float("nan")
    if not found or not 0 < utd <= 4096:
        raise UserError(f"--for: {text!r} is not known; it must be D@UTD, D@UTD:TASK or budget, e.g. D@16")
    if found[2] is not None and found[2] not in tasks:
        raise UserError(f"--for {text}: there is no task {found[2]!r}; there is {', '.join(tasks)}")
    return Aim(text=text, utd=utd, task=found[2])


@dataclass(frozen=True, kw_only=True)
class AimedRuns:
    """Seeds that narrow an aim most. `values`: B and η by (task, σ); `stop_at`: the last env step of a run there; `before`: today."""

    seeds: Sequence[RankedSeed]
    values: Mapping[Place, Pair]
    stop_at: Mapping[Place, int]
    before: float
    notes: tuple[str, ...]


def aimed_runs(
    aim: Aim, cells: Sequence[Cell], study: Study, options: FitOptions, size: int, times: Mapping[str, ComputeModel]
) -> AimedRuns:
    """The seeds that narrow an aim the most for their price, at σ that were run or might be.

    Args:
        aim: what is wanted.
        cells: of every stage.
        study: the question; its [limits] bound the runs.
        options: of the fit.
        size: how many.
        times: what runs cost in seconds, by task, where that is their price; empty: it is their env steps.

    Raises:
        UserError: if the cells give no such law.
    """
    try:
        measured = measure(cells, options)
        laws = fit_measured(measured)
    except ValueError as error:
        raise UserError(f"--for {aim.text}: no data law can be fitted: {error}") from None
    law = top_law(laws.data)
    if law is None:
        why = next((w.message for w in laws.warnings if w.code == "not-identified"), "there are too few UTD ratios")
        raise UserError(f"--for {aim.text}: {why}; `tdscale suggest` without --for lists the runs that a first law needs")
    targets = _targets(aim, law, laws)
    tasks = [task for task, row in zip(law.tasks, law.data, strict=True) if np.isfinite(row).any()]
    there = {(cell.spec.task, cell.spec.utd): cell for cell in measured.measuring}
    places = [(task, utd) for task in tasks for utd in _utds(aim, law, study)]
    if aim.task is not None:
        # what updates do beyond the σ that were run may differ by task: there only runs of the named task help
        places = [(task, utd) for task, utd in places if task == aim.task or law.extrapolation(utd) <= 1]
    values = {place: _pair(laws, there, study, *place) for place in places}
    variance, misfit = noise_of_seeds(measured.points, law, list(values))
    known = LawDraws(law, list(values), targets, np.zeros(1, dtype=np.intp), variance, misfit)
    stop_at = {place: _stop(study, law, there, place) for place in values}
    candidates = ScalingCandidates(
        values=values, env_steps={task: max(v for (t, _), v in stop_at.items() if t == task) for task in tasks}, seeds=_MOST_SEEDS
    )
    have = {place: 0 if place not in there else int((~there[place].duplicate).sum()) for place in values}
    margin = study.limits.margin if study.limits is not None else 0.1
    prices = {(*place, values[place][0]): seconds_per_step(times[place[0]], place[1], values[place][0]) for place in values if times}
    rules = ScalingRules(margin=margin, step_price=prices)
    seeds = known.ranked(have, size, candidates, rules)
    notes = tuple(w.message for w in measured.warnings if w.code == "no-fresh-seeds")
    return AimedRuns(seeds=seeds, values=values, stop_at=stop_at, before=known.precision(), notes=notes)


def _targets(aim: Aim, law: DataLaw, laws: ScalingLaws) -> Floats:
    """Draws of what is aimed at, shape (n_draws, 1)."""
    if aim.utd is None:
        if laws.budget is None or not laws.budget.fitted:
            why = next((w.message for w in laws.warnings if w.where in ("data_cost", "budget")), "compute is not known")
            raise UserError(f"--for budget: there is no law σ*(F): {why}")
        draws = laws.budget.exponent_draws[:, None]
    else:
        if not np.isfinite(law.predict([aim.utd], aim.task)[0]):
            raise UserError(
                f"--for {aim.text}: no run of {aim.task} reaches J = {law.threshold:.4g}, so seeds elsewhere say nothing about its D"
            )
        with np.errstate(divide="ignore"):
            draws = np.log(law.predict_draws([aim.utd], aim.task))
        draws = np.where(np.isfinite(draws), draws, np.nan)
    if np.isfinite(draws).sum() < _ENOUGH:
        raise UserError(f"--for {aim.text}: the runs do not determine it in nearly all bootstrap draws; add seeds where runs reach J first")
    return np.asarray(draws)


def _utds(aim: Aim, law: DataLaw, study: Study) -> list[float]:
    """σ that may be run: those of the law, of [scaling], the one aimed at, and one step beyond either end."""
    run = sorted(map(float, law.utd))
    beyond = [run[0] ** 2 / run[1], run[-1] ** 2 / run[-2]] if len(run) > 1 else []
    wanted = [*run, *beyond, *(study.scaling.utd if study.scaling is not None else ()), *([aim.utd] if aim.utd is not None else [])]
    return sorted({float(f"{utd:.4g}") if utd not in run else utd for utd in wanted})


def _pair(laws: ScalingLaws, there: Mapping[Place, Cell], study: Study, task: str, utd: float) -> Pair:
    """B and η at a place: those of its runs, else by the laws, else those of the nearest σ that was run."""
    if (task, utd) in there:
        spec = there[task, utd].spec
        return spec.batch_size, spec.learning_rate
    nearest = min((place for place in there if place[0] == task), key=lambda place: abs(np.log(place[1] / utd)))
    spec = there[nearest].spec
    batch, rate = (_by_law(law, utd, task) for law in (laws.batch_size, laws.learning_rate))
    multiple = study.scaling.batch_multiple if study.scaling is not None else 16
    chosen = spec.batch_size if batch is None else round_batch(batch, multiple if batch >= multiple else 1)
    return chosen, spec.learning_rate if rate is None else min(float(f"{rate:.3g}"), 0.5)


def _by_law(law: PowerLaw | None, utd: float, task: str) -> float | None:
    value = float("nan") if law is None else float(law.predict([utd], task)[0])
    return value if np.isfinite(value) else None


def _stop(study: Study, law: DataLaw, there: Mapping[Place, Cell], place: Place) -> int:
    """The study's limit; of imported curves the longest run of the task, or more where D is expected to be near it."""
    task, utd = place
    if study.limits is not None:
        return study.env_step_limit(task)
    longest = max(cell.last_step for (name, _), cell in there.items() if name == task)
    return int(max(longest, np.ceil(_ROOM * law.predict([utd], task)[0])))


def seconds_per_step(model: ComputeModel, utd: float, batch_size: int) -> float:
    """Seconds of an env step past warm-up, its updates and all else."""
    return float(model.rate(utd, batch_size)) + (model.measured_data_cost or 0.0)
