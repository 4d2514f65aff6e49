"""What an import understood of a log, before anything is written (`Preview`), and what it found (`ImportReport`)."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.importers.keys import KeyNote
from tdscale.importers.sizes import Axis
from tdscale.runs.types import RunWarning
from tdscale.study import RunSpec, Study


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the preview needs of one run; digests instead of its rows."""

    name: str
    spec: RunSpec
    points: int
    last_step: int
    grid: str
    curve: str | None
    settings: tuple[tuple[str, str | int], ...] = ()

    @property
    def place(self) -> tuple[str, float, int, float, tuple[tuple[str, str | int], ...]]:
        """Its cell."""
        spec = self.spec
        return spec.task, spec.utd, spec.batch_size, spec.learning_rate, self.settings


@dataclass(frozen=True, kw_only=True)
class TaskPreview:
    """One task of a log.

    Attributes:
        utds, batch_sizes, learning_rates: the values that occur, sorted.
        runs, cells: counts.
        seeds: the least and the most seeds of a cell.
        points, last_steps: the least and the most rows, and env steps, of a run.
        grids: different axes of env steps.
        duplicates: runs whose curve is that of another seed of their cell, byte for byte.
        holes: (σ, B, η) that no run has, though each value occurs.
    """

    task: str
    utds: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    learning_rates: tuple[float, ...]
    runs: int
    cells: int
    seeds: tuple[int, int]
    points: tuple[int, int]
    last_steps: tuple[int, int]
    grids: int
    duplicates: int
    holes: tuple[tuple[float, int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What was understood.

    Attributes:
        kind: of the source.
        stage: "sweep" (several B or η at one σ) or "scaling".
        tasks: sorted.
        swept: whether there are several B or η at some σ, in any stage.
        keys: those in which runs differ and that are not used.
        sizes: of networks, where there are several and N is known.
        messages: what a person should know.
    """

    kind: str
    stage: str
    tasks: tuple[TaskPreview, ...]
    swept: bool = False
    keys: tuple[KeyNote, ...] = ()
    sizes: Axis | None = None
    messages: list[RunWarning] = field(default_factory=list)


def digest(values: NDArray[np.generic]) -> str:
    """Equal for equal bytes."""
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()


def preview_tasks(runs: Sequence[Survey], stage: str) -> tuple[TaskPreview, ...]:
    """The tasks of some runs. A hole is a combination of a sweep; in stage "scaling" a σ that another task has."""
    by_task: dict[str, list[Survey]] = defaultdict(list)
    for run in runs:
        by_task[run.spec.task].append(run)
    every_utd = {run.spec.utd for run in runs}
    return tuple(_task(task, members, stage, every_utd) for task, members in sorted(by_task.items()))


def _task(task: str, runs: Sequence[Survey], stage: str, every_utd: set[float]) -> TaskPreview:
    cells: dict[tuple[Any, ...], list[Survey]] = defaultdict(list)
    for run in runs:
        cells[run.place].append(run)
    utds = tuple(sorted({run.spec.utd for run in runs}))
    batch_sizes = tuple(sorted({run.spec.batch_size for run in runs}))
    rates = tuple(sorted({run.spec.learning_rate for run in runs}))
    if stage == "sweep":
        there = {place[:4] for place in cells}
        holes = [(u, b, r) for u in utds for b in batch_sizes for r in rates if (task, u, b, r) not in there]
    else:
        holes = [(u, 0, 0.0) for u in sorted(every_utd - set(utds))]
    seeds = [len(members) for members in cells.values()]
    known = [[run.curve for run in members if run.curve is not None] for members in cells.values()]
    return TaskPreview(
        task=task,
        utds=utds,
        batch_sizes=batch_sizes,
        learning_rates=rates,
        runs=len(runs),
        cells=len(cells),
        seeds=(min(seeds), max(seeds)),
        points=(min(run.points for run in runs), max(run.points for run in runs)),
        last_steps=(min(run.last_step for run in runs), max(run.last_step for run in runs)),
        grids=len({run.grid for run in runs}),
        duplicates=sum(len(curves) - len(set(curves)) for curves in known),
        holes=tuple(holes),
    )


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import found.

    Attributes:
        runs, cells: counts.
        tasks, utds: sorted.
        messages: everything about the source that bears on the laws.
        study: as it is in the folder's study.toml now.
        preview: what was understood, where the log was the user's own.
    """

    runs: int
    cells: int
    tasks: tuple[str, ...]
    utds: tuple[float, ...]
    messages: list[RunWarning]
    study: Study
    preview: Preview | None = None
