"""What is running, how far, and how long still: live on a terminal, a few lines in a log, and a file for `tdscale status`."""

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from tdscale.cli.console import counted, duration
from tdscale.running import Event
from tdscale.running.ledger import PROGRESS_FILE
from tdscale.running.stages import Part
from tdscale.study import CellJob
from tdscale.whole_file import write_whole

_TITLES = {
    "sweep": "stage 1, sweep over σ, B, η",
    "scaling": "stage 2, fitted B and η, fresh seeds",
    "baseline": "stage 3, constant B and η",
    "confirm": "the plan's settings, fresh seeds",
}
_WRITE_EVERY = 2.0
_LINE_EVERY = 60.0
_ROWS = 8
_PACE_OVER = 600.0  # seconds
# Share of its limit that a cell takes before it stops at success, until cells of this study have ended
_FIRST_GUESS = 0.7


class RunDisplay:
    """A `stages.Display` on a rich console. Use it as a context manager."""

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
        self._workers = min(workers, _ROWS)
        self._stage_row: TaskID | None = None
        self._estimate = TimeLeft()
        self._pace = _Pace()
        self._begun: dict[str, float] = {}  # share of its limit that a cell stood at when it was taken up, by cell
        self._running: dict[int, dict[str, tuple[CellJob, float]]] = {}  # by worker, then by cell: a GPU has several at once
        self._stage = self._name = ""
        self._total = self._done = self._failed = 0
        self._started = time.monotonic()
        self._written = 0.0
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._progress.stop()
        with suppress(OSError):
            (self._directory / PROGRESS_FILE).unlink(missing_ok=True)

    def stage(self, name: str, jobs: Sequence[CellJob], cells_done: int, later: Sequence[CellJob], part: Part | None = None) -> None:
        """See `stages.Display`."""
        self._stage, self._total, self._done = _TITLES.get(name, name), cells_done + len(jobs), cells_done
        if part is not None:
            self._stage, self._total, self._done = f"{self._stage}, round {part.number}", len(jobs), 0
        self._name = name
        self._running.clear()
        self._begun.clear()
        self._pace.begin()
        self._estimate.begin(jobs, later, 0.0 if part is None else part.further)
        if not jobs:
            self.note(f"{self._stage}: all {self._total} cells are done")
            return
        there = f", {cells_done} of them already done" if cells_done else ""
        runs = sum(len(job.specs) for job in jobs)
        if part is not None:
            self.note(f"{_TITLES.get(name, name)}, {part.note}")
        else:
            self.note(f"{self._stage}: {counted(self._total, 'cell')}{there}; {counted(runs, 'run')} to go")
        if self._live:
            for row in self._progress.task_ids:
                self._progress.remove_task(row)
            self._stage_row = self._progress.add_task(self._stage, total=self._total, completed=cells_done, count="", left="")
            self._rows = [self._progress.add_task("", total=100, count="", left="", visible=False) for _ in range(self._workers)]

    def event(self, event: Event) -> None:
        """See `stages.Display`."""
        job = event.job
        if event.kind == "note":
            self.note(f"{job.describe()}: {event.message}")
        elif event.kind == "again":
            self._running.get(event.worker, {}).pop(job.specs[0].cell_id, None)
            self.note(f"{job.describe()}: {event.message}; it is tried again")
        elif event.kind in ("start", "progress"):
            self._advance(event)
        else:
            self._advance(event)
            cell_id = job.specs[0].cell_id
            self._running.get(event.worker, {}).pop(cell_id, None)
            self._done += 1
            self._pace.ended(len(job.specs))
            self._estimate.ended(job, event.done / (job.most_env_steps * len(job.specs)), self._begun.pop(cell_id, 0.0))
            if event.kind == "failed":
                self._failed += 1
                self.note(f"failed: {job.describe()}: {event.message}")
            elif event.diverged:
                self.note(
                    f"diverged: {event.diverged} of {len(job.specs)} seeds of {job.describe()}; they count as not reaching the thresholds"
                )
        self._show()

    def _line(self) -> None:
        """One a minute, where the output is not a terminal."""
        now = time.monotonic()
        if self._live or now - self._last_line < _LINE_EVERY:
            return
        self._last_line = now
        pace = self._pace.runs_per_hour()
        runs = "" if pace is None else f"{pace:,.0f} runs/h" if pace < 120 else f"{pace / 60:,.0f} runs/min"
        self.note(", ".join(filter(None, [f"{self._stage}: {self._done} of {self._total} cells", runs, self._left_text()])))

    def note(self, text: str) -> None:
        """A line to be read."""
        self._console.print(text, highlight=False, markup=False)

    def _advance(self, event: Event) -> None:
        """How far a cell is. What its first report says is done was done before: by a worker that ended, or days ago."""
        job, cell_id, limit = event.job, event.job.specs[0].cell_id, event.job.most_env_steps * len(event.job.specs)
        if event.kind == "start":
            self._begun.pop(cell_id, None)
            self._running.setdefault(event.worker, {})[cell_id] = (job, 0.0)
            return
        share = event.done / limit
        _, before = self._running.get(event.worker, {}).get(cell_id, (job, 0.0))
        if event.kind == "progress":
            before = before if cell_id in self._begun else share
            self._begun.setdefault(cell_id, share)
            self._running.setdefault(event.worker, {})[cell_id] = (job, share)
        self._pace.add(max(share - before, 0.0) * limit)

    def _seconds_left(self) -> float | None:
        running = list(self._cells_running())
        begun = {index: self._begun.get(job.specs[0].cell_id, 0.0) for index, (job, _) in enumerate(running)}
        return self._estimate.seconds(dict(enumerate(share for _, share in running)), dict(enumerate(job for job, _ in running)), begun)

    def _cells_running(self) -> Iterator[tuple[CellJob, float]]:
        for cells in self._running.values():
            yield from cells.values()

    def _left_text(self) -> str:
        left = self._seconds_left()
        if left is None:
            return ""
        end = datetime.now() + timedelta(seconds=left)
        return f"about {duration(left)} left, until {end:%H:%M}{_later_day(end)}"

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._written > _WRITE_EVERY:
            self._written = now
            self._write()
        self._line()
        if not self._live or self._stage_row is None:
            return
        count = f"{self._done} of {self._total} cells"
        self._progress.update(self._stage_row, completed=self._done, count=count, left=self._left_text() or "time left: soon")
        busy = sorted((worker, list(cells.values())) for worker, cells in self._running.items() if cells)
        for row, (worker, cells) in zip(self._rows, busy, strict=False):
            share = min(share for _, share in cells)
            state = f"{share:.0%} of its limit" if share else "starting"
            more = f" and {len(cells) - 1} cells more" if len(cells) > 1 else ""
            text = f"  worker {worker + 1}: {cells[0][0].describe()}, {len(cells[0][0].specs)} seeds{more}"
            if row == self._rows[-1] and len(busy) > len(self._rows):
                state = f"and {len(busy) - len(self._rows)} workers more"
            self._progress.update(row, description=text, completed=round(100 * share), count=state, visible=True)
        for row in self._rows[len(busy) :]:
            self._progress.update(row, visible=False)

    def _write(self) -> None:
        content: dict[str, Any] = {
            "schema": 2,
            "stage": self._name,
            "title": self._stage,
            "cells": self._total,
            "cells_done": self._done,
            "cells_failed": self._failed,
            "seconds_left": self._seconds_left(),
            "env_steps_per_second": self._pace.env_steps_per_second(),
            "runs_per_hour": self._pace.runs_per_hour(),
            "running": [
                {
                    "stage": self._name,
                    "task": job.specs[0].task,
                    "cell": job.describe(),
                    "seeds": len(job.specs),
                    "share_of_limit": round(share, 3),
                }
                | ({"size": job.size} if job.size else {})
                for job, share in self._cells_running()
            ],
        }
        with suppress(OSError):  # what trains reports a full disk; this file is only for `tdscale status`
            write_whole(self._directory / PROGRESS_FILE, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _later_day(end: datetime) -> str:
    days = (end.date() - datetime.now().date()).days
    return "" if not days else " tomorrow" if days == 1 else f" in {days} days"


class _Pace:
    """Throughput of all workers over the last ten minutes."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A stage begins."""
        self._marks: deque[tuple[float, float, int]] = deque([(time.monotonic(), 0.0, 0)])  # when, env steps, runs
        self._steps, self._runs = 0.0, 0

    def add(self, env_steps: float) -> None:
        """So many env steps more."""
        self._steps += env_steps
        self._mark()

    def ended(self, runs: int) -> None:
        """So many runs ended."""
        self._runs += runs
        self._mark()

    def env_steps_per_second(self) -> float | None:
        """None before it is known."""
        seconds = time.monotonic() - self._marks[0][0]
        steps = self._steps - self._marks[0][1]
        return steps / seconds if seconds > 5 and steps > 0 else None

    def runs_per_hour(self) -> float | None:
        """None before it is known."""
        seconds = time.monotonic() - self._marks[0][0]
        runs = self._runs - self._marks[0][2]
        return 3600 * runs / seconds if seconds > 5 and runs > 0 else None

    def _mark(self) -> None:
        now = time.monotonic()
        if now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, self._steps, self._runs))
        while len(self._marks) > 2 and now - self._marks[1][0] > _PACE_OVER:
            self._marks.popleft()


class TimeLeft:
    """Time left by the work done so far: work is a cell's cost times the share of its limit that it takes."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._jobs: dict[str, CellJob] = {}
        self._later: list[CellJob] = []
        self._further = 0.0
        self._work = 0.0
        self._shares: list[float] = []
        self._taken = self._expected = 0.0  # work of the cells that ended, and what was expected of them

    def begin(self, jobs: Sequence[CellJob], later: Sequence[CellJob], further: float = 0.0) -> None:
        """A stage, or a round of one, begins; about so many rounds more like it are to come."""
        self._jobs = {job.specs[0].cell_id: job for job in jobs}
        self._later = list(later)
        self._further = further * sum(map(self._likely, jobs))
        self._begun = time.monotonic()
        self._work = self._taken = self._expected = 0.0

    def ended(self, job: CellJob, share: float, begun: float = 0.0) -> None:
        """A cell ended, at this share of its limit; at `begun` it was started."""
        if job.likely_env_steps is not None:
            self._taken += job.cost * share
            self._expected += self._likely(job)
        self._jobs.pop(job.specs[0].cell_id, None)
        self._work += job.cost * max(share - begun, 0.0)
        self._shares.append(share)

    def seconds(self, shares: dict[int, float], running: dict[int, CellJob], begun: dict[int, float] | None = None) -> float | None:
        """Seconds left, given what the running cells have done, and had done when they were taken up; None before it is known."""
        elapsed = time.monotonic() - self._begun
        partial = sum(running[worker].cost * share for worker, share in shares.items())
        earlier = sum(running[worker].cost * share for worker, share in (begun or {}).items())
        work = self._work + partial - earlier
        # a first cell compiles before it steps: too early for an estimate
        if elapsed < 5 or work <= 0 or (not self._shares and partial - earlier < 0.1 * sum(map(self._likely, running.values()))):
            return None
        # half as much in doubt as one more cell of this stage
        doubt = 0.5 * self._expected / max(len(self._shares), 1)
        off = (self._taken + doubt) / (self._expected + doubt) if self._expected else 1.0
        going = {job.specs[0].cell_id for job in running.values()}
        left = off * sum(self._likely(job) for cell_id, job in self._jobs.items() if cell_id not in going)
        for worker, job in running.items():
            done = job.cost * shares.get(worker, 0.0)
            # one past its usual end is taken to be in the middle of what is left to its limit
            left += max(off * self._likely(job) - done, 0.0) or 0.5 * (job.cost - done)
        left += self._further + sum(map(self._likely, self._later))
        return max(left, 0.0) * elapsed / work

    def _likely(self, job: CellJob) -> float:
        """A cell's cost to where it will likely stop."""
        if job.likely_env_steps is not None:
            return job.cost * job.likely_env_steps / job.most_env_steps
        return job.cost * (sum(self._shares) / len(self._shares) if self._shares else _FIRST_GUESS)
