"""study.toml for curves from elsewhere: a draft where there is none; one that is there is kept."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from tdscale.errors import UserError
from tdscale.study import Study, Task, read_study, study_to_toml
from tdscale.whole_file import write_text

STUDY_FILE = "study.toml"
THRESHOLDS = (300.0, 500.0, 800.0)


def write_study(study: Study, path: Path) -> None:
    """Write a study file, whole or not at all. Raises UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: can't be written ({error.strerror or error}); see to space and permissions") from None
    write_text(path, study_to_toml(study))


def existing_study(directory: Path, tasks: Collection[str], algorithm: str | None, source: str) -> Study | None:
    """The folder's study, if it has one that runs of these tasks and this algorithm (None: any) fit into; else UserError."""
    path = directory / STUDY_FILE
    if not path.exists():
        return None
    found = read_study(path)
    missing = sorted(set(tasks) - set(found.tasks))
    if missing:
        raise UserError(f"{path}: this study has no task {missing[0]!r}, which {source} is about; import it into another folder")
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


def draft_scale(ends: Mapping[str, Sequence[tuple[float, float]]], low: Mapping[str, float], high: Mapping[str, float]) -> dict[str, Task]:
    """Tasks with the scale given, else one read off the curves.

    Args:
        ends: by task, of each cell the return at its start and at its end.
        low, high: by task, as far as given.
    """
    tasks = {}
    for task, pairs in sorted(ends.items()):
        start = float(np.median([first for first, _ in pairs]))
        bottom = low.get(task, 0.0 if start >= 0 else start)
        top = high.get(task, max(max(pair) for pair in pairs))
        if top <= bottom and task in high:
            raise UserError(f"--high {top:g}: must be above low, which is {bottom:g} for {task}; give --low")
        tasks[task] = Task(
            suite="imported", low=_rounded(bottom), high=_rounded(top if top > bottom else bottom + 1), reward_scale=1.0, env_steps=None
        )
    return tasks


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
