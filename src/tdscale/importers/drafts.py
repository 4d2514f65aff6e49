"""study.toml for curves from elsewhere: a draft where there is none; one that is there is kept."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tdscale.errors import UserError
from tdscale.importers.conventions import Conventions
from tdscale.importers.logged_run import MAX_NAME
from tdscale.study import Study, Task, read_study
from tdscale.whole_file import write_text

STUDY_FILE = "study.toml"
THRESHOLDS = (300.0, 500.0, 800.0)
LOW_QUANTILE = 0.05
_SOME = 3


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a drafted study.toml takes from options: `low` and `high` as VALUE or TASK=VALUE, the rest as in `Study`."""

    low: Sequence[str] = ()
    high: Sequence[str] = ()
    thresholds: Sequence[float] | None = None
    data_cost: float | None = None
    reset_critic_updates: int | None = None
    reset_env_steps: Sequence[int] = ()

    def resets(self) -> dict[str, Any]:
        """What is given of resets, by the study's names."""
        given = {"reset_critic_updates": self.reset_critic_updates, "reset_env_steps": tuple(self.reset_env_steps) or None}
        return {name: value for name, value in given.items() if value is not None}


def write_study(text: str, path: Path) -> None:
    """Write a study file, whole or not at all. Raises UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: can't be written ({error.strerror or error}); check disk space and permissions") from None
    write_text(path, text)


def existing_study(directory: Path, tasks: Collection[str], algorithm: str | None, source: str) -> Study | None:
    """The folder's study, if it has one that runs of these tasks and this algorithm (None: any) fit into; else UserError."""
    path = directory / STUDY_FILE
    if not path.exists():
        return None
    found = read_study(path)
    missing = sorted(set(tasks) - set(found.tasks))
    if missing:
        raise UserError(f"{path}: the study has no task {missing[0]!r}, which {source} has; import it into another folder")
    if algorithm is not None and found.algorithm != algorithm:
        raise UserError(f"{path}: this is a study of {found.algorithm!r}, not {algorithm!r}; import {source} into another folder")
    return found


def per_task(option: str, given: Sequence[str], tasks: Collection[str]) -> dict[str, float]:
    """`VALUE` for every task, or `TASK=VALUE` for one. Raises UserError."""
    found: dict[str, float] = {}
    for text in given:
        task, _, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = np.nan
        if not np.isfinite(number):
            raise UserError(f"{option} {text}: must be a number, or TASK=NUMBER, e.g. {option} 8500")
        if task and task not in tasks:
            raise UserError(f"{option} {text}: there is no task {task!r}; there is {', '.join(sorted(tasks))}")
        found |= {task: number} if task else {name: found.get(name, number) for name in tasks}
    return found


@dataclass(frozen=True)
class Ends:
    """Returns that say where a run, or a cell's mean, begins and ends.

    Attributes:
        low: the low quantile of what was logged in the first quarter of its env steps.
        first, last: means over the first and the last rows.
    """

    low: float
    first: float
    last: float


def ends_of(steps: NDArray[np.float64], returns: NDArray[np.float64]) -> Ends:
    """The ends of a curve of shape (n,), in the order of its env steps, with at least one row that is not NaN."""
    logged = np.isfinite(returns)
    steps, returns = steps[logged], returns[logged]
    early = returns[: max(1, int(np.searchsorted(steps, steps[-1] / 4, side="right")))]
    few, more = max(1, len(returns) // 50), max(1, len(returns) // 10)
    return Ends(float(np.quantile(early, LOW_QUANTILE)), float(returns[:few].mean()), float(returns[-more:].mean()))


def draft_scale(ends: Mapping[str, Sequence[Ends]], low: Mapping[str, float], high: Mapping[str, float]) -> dict[str, Task]:
    """Tasks with the scale given, else one read off the curves.

    Args:
        ends: by task, of each cell.
        low, high: by task, those that are given.
    """
    tasks = {}
    for task, cells in sorted(ends.items()):
        start = float(np.median([cell.low for cell in cells]))
        bottom = low.get(task, 0.0 if start >= 0 else start)
        top = high.get(task, max(max(cell.first, cell.last) for cell in cells))
        if top <= bottom and task in high:
            raise UserError(f"--high {top:g}: must be above low, which is {bottom:g} for {task}; give --low")
        tasks[task] = Task(
            suite="imported", low=_rounded(bottom), high=_rounded(top if top > bottom else bottom + 1), reward_scale=1.0, env_steps=None
        )
    return tasks


def refuse_other_scale(study: Study, path: Path, low: Mapping[str, float], high: Mapping[str, float], rest: Mapping[str, Any]) -> None:
    """Raises UserError where options say another scale than a study that is there already.

    Args:
        low, high: by task, as given.
        rest: thresholds, data_cost and `Scale.resets` as given, None where not.
    """
    given = []
    for end, asked_for in (("low", low), ("high", high)):
        for task, value in asked_for.items():
            has = getattr(study.tasks[task], end)
            given.append((f"--{end} {value:g}", f"{end} = {has:g} for {task}", value == has))
    if rest.get("thresholds") is not None:
        asked, there = (",".join(f"{j:g}" for j in values) for values in (rest["thresholds"], study.return_thresholds))
        given.append((f"--thresholds {asked}", f"return_thresholds = {there}", asked == there))
    if rest.get("data_cost") is not None:
        given.append((f"--data-cost {rest['data_cost']:g}", f"data_cost = {study.data_cost}", rest["data_cost"] == study.data_cost))
    for name in ("reset_critic_updates", "reset_env_steps"):
        if rest.get(name) is not None:
            there = getattr(study, name)
            option = f"--{name.replace('_', '-')} {_listed(rest[name])}"
            given.append((option, f"{name} = {_listed(there)}" if there else f"no {name}", rest[name] == there))
    for option, says, same in given:
        if not same:
            raise UserError(f"{option}: {path} exists already and has {says}; edit that file, or leave the option out")


def uncovered(study: Study, ends: Mapping[str, Sequence[Ends]]) -> Iterator[tuple[str, str]]:
    """What is to be known of thresholds that the curves do not cover: (code, sentence)."""
    for task, cells in sorted(ends.items()):
        scale = study.tasks[task]
        best = max(cell.last for cell in cells)
        beyond, begun = [], []
        for threshold in study.return_thresholds:
            raw = scale.low + threshold / 1000 * (scale.high - scale.low)
            shown = f"{threshold:g} (return {raw:.6g})"
            beyond += [shown] if raw > best else []
            above = sum(cell.first >= raw for cell in cells)
            begun += [shown] if 2 * above >= len(cells) else []
        if beyond:
            said = f"no curve of {task} ends above threshold {', '.join(beyond)}: the best ends at {best:.6g}"
            yield "threshold-not-reached", f"{said}; give --thresholds or --high within the range of the curves"
        if begun:
            said = f"most curves of {task} start above threshold {', '.join(begun)}, which says nothing about learning"
            yield "threshold-from-start", f"{said}; give higher --thresholds, or --low for the return of an untrained agent"


def _listed(value: int | Sequence[int]) -> str:
    return ",".join(map(str, value)) if isinstance(value, Sequence) else str(value)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def draft_study(
    ends: Mapping[str, Sequence[Ends]],
    given: tuple[dict[str, float], dict[str, float]],
    scale: Scale,
    *,
    names: tuple[str, str, str],
    sizes: tuple[Collection[float | None], dict[str, dict[str, Any]]],
    conventions: Conventions | None,
) -> tuple[Study, str | None]:
    """The study.toml of imported runs, and a sentence on a scale of returns that is read off their curves.

    Args:
        ends: what each task's curves show.
        given: low and high, by task, those that are known.
        scale: what the options say.
        names: of the study, of the kind of log, of the algorithm.
        sizes: N of the runs; and their [sizes], where they have several.
        conventions: of arrays in the authors' layouts.

    Raises:
        UserError: if thresholds, δ or resets can't be a study's.
    """
    name, kind, algorithm = names
    low, high = given
    tasks = draft_scale({task: cells or [Ends(0.0, 0.0, 1.0)] for task, cells in ends.items()}, low, high)
    drafted = [task for task in tasks if task not in high or (task not in low and tasks[task].low != 0)]
    message = None
    if drafted:
        what = "; ".join(f"{task} {tasks[task].low:g} to {tasks[task].high:g}" for task in drafted[:_SOME])
        more = f"; {len(drafted) - _SOME} more" if len(drafted) > _SOME else ""
        message = (
            f"the scale of returns comes from these curves ({what}{more}): low is the 5 % quantile of the first quarter of a "
            "curve, 0 if that is positive, high is where the best curve ends; write the task's own scale into study.toml, or give --low "
            "and --high"
        )
    known, tables = sizes
    size = next(iter(known)) if len(known) == 1 else None
    layout, published = (None, None) if conventions is None else (conventions.layout, conventions.name)
    if conventions is not None and set(known) == {None}:
        size = conventions.model_size
    thresholds = layout.thresholds if layout is not None else THRESHOLDS
    data_cost = layout.data_cost if layout is not None else None
    origin = f"{published}.zip, published by the paper's authors" if published else f"imported from {name} ({kind})"[:MAX_NAME]
    try:
        study = Study(
            name=published or name[:MAX_NAME],
            algorithm=algorithm,
            return_thresholds=tuple(thresholds if scale.thresholds is None else scale.thresholds),
            tasks=tasks,
            data_cost=data_cost if scale.data_cost is None else scale.data_cost,
            accounting="paper",
            model_size=size,
            sizes=tables,
            **(scale.resets() or ({} if layout is None or published is None else {"reset_critic_updates": layout.reset_critic_updates})),
            published_laws=layout.published_laws if layout is not None and published is not None else None,
            origin=origin,
        )
    except ValidationError as error:
        wrong = error.errors()[0]
        name, text = str(wrong["loc"][0]) if wrong["loc"] else "", str(wrong["msg"]).removeprefix("Value error, ")
        option = {"": "", "return_thresholds": "--thresholds: "}.get(name, f"--{name.replace('_', '-')}: ")
        raise UserError(option + text) from None
    return study, message
