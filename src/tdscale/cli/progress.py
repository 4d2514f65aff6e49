"""What is running, how far, and how long still: live on a terminal, a few lines in a log, and a file for `tdscale status`."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from tdscale.execution import CellJob, Event

PROGRESS_FILE = "progress.json"
_TITLES = {
    "sweep": "stage 1, sweep over σ, B, η",
    "scaling": "stage 2, fitted B and η, fresh seeds",
    "baseline": "stage 3, constant B and η",
    "confirm": "what the plan says, fresh seeds",
}
_WRITE_EVERY = 2.0
# Share of its limit that a cell takes before it stops at success, until cells of this study have told
_FIRST_GUESS = 0.7


class RunDisplay:
    """A `workflow.Display` on a rich console. Use it as a context manager."""

    def __init__(self, directory: Path, console: Console, workers: int) -> None:
        self._directory = directory
        self._console = console
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}", justify="right"),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._rows: list[TaskID] = []
        self._workers = workers
        self._stage_row: TaskID | None = None
        self._estimate = TimeLeft()
        self._running: dict[int, dict[str, tuple[CellJob, float]]] = {}  # by worker, then by cell: a GPU has several at once
        self._stage = ""
        self._total = self._done = self._failed = 0
        self._started = time.monotonic()
        self._written = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._progress.stop()
        (self._directory / PROGRESS_FILE).unlink(missing_ok=True)

    def stage(self, name: str, jobs: Sequence[CellJob], cells_done: int, later: Sequence[CellJob]) -> None:
        """See `workflow.Display`."""
        self._stage, self._total, self._done = _TITLES.get(name, name), cells_done + len(jobs), cells_done
        self._running.clear()
        self._estimate.begin(jobs, later)
        if not jobs:
            self.note(f"{self._stage}: all {self._total} cells are done")
            return
        there = f", {cells_done} of them done already" if cells_done else ""
        self.note(f"{self._stage}: {self._total} cells ({sum(len(job.specs) for job in jobs)} runs to go{there})")
        if self._live:
            for row in self._progress.task_ids:
                self._progress.remove_task(row)
            self._stage_row = self._progress.add_task(self._stage, total=self._total, completed=cells_done, count="", left="")
            self._rows = [self._progress.add_task("", total=100, count="", left="", visible=False) for _ in range(self._workers)]

    def event(self, event: Event) -> None:
        """See `workflow.Display`."""
        job = event.job
        if event.kind == "note":
            self.note(f"{job.describe()}: {event.message}")
        elif event.kind == "again":
            self._running.get(event.worker, {}).pop(job.specs[0].cell_id, None)
            self.note(f"{job.describe()}: {event.message}; it is tried again")
        elif event.kind in ("start", "progress"):
            self._running.setdefault(event.worker, {})[job.specs[0].cell_id] = (job, event.done / (job.env_steps * len(job.specs)))
        else:
            self._running.get(event.worker, {}).pop(job.specs[0].cell_id, None)
            self._done += 1
            self._estimate.ended(job, event.done / (job.env_steps * len(job.specs)))
            if event.kind == "failed":
                self._failed += 1
                self.note(f"failed: {job.describe()}: {event.message}")
            elif event.diverged:
                self.note(
                    f"diverged: {event.diverged} of {len(job.specs)} seeds of {job.describe()}; they count as not reaching the thresholds"
                )
            if not self._live and self._done % max(self._total // 10, 1) == 0:
                self.note(", ".join(filter(None, [f"{self._stage}: {self._done} of {self._total} cells", self._left_text()])))
        self._show()

    def note(self, text: str) -> None:
        """A line to be read."""
        self._console.print(text, highlight=False, markup=False)

    def _seconds_left(self) -> float | None:
        running = list(self._cells_running())
        return self._estimate.seconds(dict(enumerate(share for _, share in running)), dict(enumerate(job for job, _ in running)))

    def _cells_running(self) -> Iterator[tuple[CellJob, float]]:
        for cells in self._running.values():
            yield from cells.values()

    def _left_text(self) -> str:
        left = self._seconds_left()
        return "" if left is None else f"about {duration(left)} left"

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._written > _WRITE_EVERY:
            self._written = now
            self._write()
        if not self._live or self._stage_row is None:
            return
        count = f"{self._done} of {self._total} cells"
        self._progress.update(self._stage_row, completed=self._done, count=count, left=self._left_text() or "time left: soon")
        for worker, row in enumerate(self._rows):
            cells = list(self._running.get(worker, {}).values())
            share = min((share for _, share in cells), default=0.0)
            state = f"{share:.0%} of its limit" if share else "starting"
            text = ""
            if cells:
                more = f" and {len(cells) - 1} cells more" if len(cells) > 1 else ""
                text = f"  worker {worker + 1}: {cells[0][0].describe()}, {len(cells[0][0].specs)} seeds{more}"
            self._progress.update(row, description=text, completed=round(100 * share), count=state, visible=bool(cells))

    def _write(self) -> None:
        content: dict[str, Any] = {
            "stage": self._stage,
            "cells": self._total,
            "cells_done": self._done,
            "cells_failed": self._failed,
            "seconds_left": self._seconds_left(),
            "running": [
                {"cell": job.describe(), "seeds": len(job.specs), "share_of_limit": round(share, 3)} for job, share in self._cells_running()
            ],
        }
        path = self._directory / PROGRESS_FILE
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)


class TimeLeft:
    """Time left by the work done so far: work is a cell's cost times the share of its limit that it takes."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._jobs: dict[int, CellJob] = {}
        self._later = 0.0
        self._work = 0.0
        self._shares: list[float] = []

    def begin(self, jobs: Sequence[CellJob], later: Sequence[CellJob]) -> None:
        """A stage begins."""
        self._jobs = {id(job): job for job in jobs}
        self._later = sum(job.cost for job in later)
        self._begun = time.monotonic()
        self._work = 0.0

    def ended(self, job: CellJob, share: float) -> None:
        """A cell ended, at this share of its limit."""
        self._jobs = {key: other for key, other in self._jobs.items() if other != job}
        self._work += job.cost * share
        self._shares.append(share)

    def seconds(self, shares: dict[int, float], running: dict[int, CellJob]) -> float | None:
        """Seconds left, given what the running cells have done; None before anything can be told."""
        elapsed = time.monotonic() - self._begun
        partial = sum(running[worker].cost * share for worker, share in shares.items())
        work = self._work + partial
        # a first cell compiles before it steps: too early to tell
        if elapsed < 5 or work <= 0 or (not self._shares and partial < 0.1 * sum(job.cost for job in running.values())):
            return None
        usual = sum(self._shares) / len(self._shares) if self._shares else _FIRST_GUESS
        left = sum(job.cost for job in self._jobs.values()) * usual + self._later * usual - partial
        return max(left, 0.0) * elapsed / work


def duration(seconds: float) -> str:
    """As people say it: 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
