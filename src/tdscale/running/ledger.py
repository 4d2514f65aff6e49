"""What `tdscale run` writes down beside the runs: which runs a stage wants, which cells failed; and folders packed as they grow many."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tdscale.errors import UserError
from tdscale.running.dispatch import Event
from tdscale.running.folder import STUDY_FILE, StudyFiles
from tdscale.runs.sizes import Sizes
from tdscale.study import CellJob, RunSpec, Stage, Study
from tdscale.whole_file import write_text

STAGES_FILE, FAILURES_FILE = "stages.json", "failures.json"
PROGRESS_FILE = "progress.json"  # of the display, while a study runs
PACK_FROM = 2000  # folders of runs that ended


class Ledger:
    """One stage's, kept by the process that holds the study's folder."""

    def __init__(
        self,
        files: StudyFiles,
        stage: Stage,
        specs: Sequence[RunSpec],
        jobs: Sequence[CellJob],
        note: Callable[[str], None],
        *,
        whole: bool = True,
    ) -> None:
        """`whole`: the jobs are all that is left of the stage, not a part of it."""
        self._files, self._stage, self._note = files, stage, note
        self._left = {job.specs[0].cell_id: {spec.run_id for spec in job.specs} for job in jobs}
        tasks: dict[str, list[str]] = {}
        for spec in specs:
            tasks.setdefault(spec.task, []).append(spec.run_id)
        known, wanted = wanted_runs(files.directory), {spec.cell_id for spec in specs}
        content = {"schema": 1, "study": _study_hash(files.directory), "stages": known | {stage: tasks}}
        if files.study.sizes:
            content["sizes"] = wanted_by_size(files.directory) | {stage: by_size(files.study, specs)}
        _write(files.directory / STAGES_FILE, content)
        self._failures = {
            cell_id: failure
            for cell_id, failure in cell_failures(files.directory).items()
            if failure["stage"] != stage or cell_id in self._left or (cell_id in wanted and not whole)
        }
        self._write_failures()
        self._ended = 0
        self.pack()

    def event(self, event: Event) -> None:
        """Something happened to a job."""
        if event.kind not in ("done", "failed"):
            return
        job, cell_id = event.job, event.job.specs[0].cell_id
        if event.kind == "failed":
            failure = {"stage": self._stage, "task": job.specs[0].task, "what": job.describe(), "reason": event.message}
            self._failures[cell_id] = failure | {"run_ids": [spec.run_id for spec in job.specs]}
            self._write_failures()
            return
        if self._failures.pop(cell_id, None) is not None:
            self._write_failures()
        self._left.pop(cell_id, None)
        self._ended += len(job.specs)
        if self._ended >= PACK_FROM:
            self._ended = 0
            self.pack()

    def pack(self) -> None:
        """Pack folders if they are many, except those of runs that may continue."""
        try:
            self._files.store.compact(set().union(*self._left.values()), at_least=PACK_FROM)
        except UserError as error:  # training continues without
            self._note(f"folders of runs were not packed: {error}")

    def _write_failures(self) -> None:
        path = self._files.directory / FAILURES_FILE
        with suppress(OSError, UserError):  # what a full disk leaves no room for was shown, and training is what matters
            if self._failures:
                _write(path, {"schema": 1, "cells": self._failures})
            else:
                path.unlink(missing_ok=True)


def wanted_runs(directory: Path) -> dict[str, dict[str, list[str]]]:
    """run_ids by stage and task, as `tdscale run` last wanted them; empty where the study was edited since."""
    return _wanted(directory, "stages")


def wanted_by_size(directory: Path) -> dict[str, dict[str, list[str]]]:
    """The same by stage and size; empty, too, in a study without [sizes]."""
    return _wanted(directory, "sizes")


def by_size(study: Study, specs: Iterable[RunSpec]) -> dict[str, list[str]]:
    """run_ids by the names of the sizes that they are of."""
    sizes = Sizes(study)
    found: dict[str, list[str]] = {name: [] for name in sizes.studies}
    for spec in specs:
        if (name := sizes.of(spec)) is not None:
            found[name].append(spec.run_id)
    return found


def _wanted(directory: Path, by: str) -> dict[str, dict[str, list[str]]]:
    content = _read(directory / STAGES_FILE)
    stages = content.get(by)
    return stages if isinstance(stages, dict) and content.get("study") == _study_hash(directory) else {}


def cell_failures(directory: Path) -> dict[str, dict[str, Any]]:
    """Cells that failed and were not done since, by cell_id: stage, task, what, reason, run_ids."""
    cells = _read(directory / FAILURES_FILE).get("cells")
    return cells if isinstance(cells, dict) else {}


def _study_hash(directory: Path) -> str:
    return hashlib.sha256((directory / STUDY_FILE).read_bytes()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """Empty where there is none that can be read: both files can be done without."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("schema") == 1 else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False) + "\n")
