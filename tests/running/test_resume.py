"""A study killed with -9 and started again ends as one that was never interrupted, and repeats nothing."""

import io
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from rich.console import Console

import small_study
from command import called, start
from tdscale.cli.progress import RunDisplay

RUN = ("run", "micro.toml", "--dir", "micro", "--workers", "1")


def _go_on(folder: Path) -> str:
    """Run the study to its end, without the report; what was printed."""
    printed = Console(file=io.StringIO(), soft_wrap=True)
    with RunDisplay(folder / "micro", printed, 1) as display:
        small_study.run(folder, display=display)
    return printed.file.getvalue()


def _finished(study: Path) -> dict[Path, tuple[int, int]]:
    """Every file of every run that is stored, with what changes when it is written again."""
    files = [path for run in (study / "runs").glob("[!.]*") if run.is_dir() for path in run.iterdir() if path.is_file()]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def _kill_after(runs: int, folder: Path) -> None:
    """Start the study, and kill all of its processes once so many runs are stored."""
    with start(*RUN, cwd=folder, start_new_session=True) as process:
        try:
            while process.poll() is None and len(list((folder / "micro" / "runs").glob("[!.]*/status.json"))) < runs:
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was killed, and had not ended before"


@pytest.mark.slow
def test_a_study_killed_and_resumed_ends_with_the_same_laws_and_repeats_nothing(trained, tmp_path):
    study = small_study.write(tmp_path)
    study.write_text(study.read_text() + "\n[checkpoints]\nminutes = 1e-6\n")
    stored: dict[Path, tuple[int, int]] = {}
    for runs in (1, 5):  # in stage 1 and in stage 2
        _kill_after(runs, tmp_path)
        now = _finished(tmp_path / "micro")
        assert len(now) > len(stored)
        assert {path: now.get(path) for path in stored} == stored
        stored = now
    _go_on(tmp_path)
    now = _finished(tmp_path / "micro")
    assert {path: now.get(path) for path in stored} == stored
    uninterrupted = trained / "micro"
    assert {path.name for path in (tmp_path / "micro" / "runs").glob("*")} == {path.name for path in (uninterrupted / "runs").glob("*")}
    for curve in (uninterrupted / "runs").glob("*/curve.parquet"):
        assert (tmp_path / "micro" / curve.relative_to(uninterrupted)).read_bytes() == curve.read_bytes()
    assert not list((tmp_path / "micro" / "runs").glob("*/checkpoint"))
    assert (tmp_path / "micro" / "laws.json").read_bytes() == (uninterrupted / "laws.json").read_bytes()


def test_a_second_run_of_a_finished_study_trains_nothing(trained, tmp_path):
    shutil.copytree(trained / "micro", tmp_path / "micro")
    before, laws = _finished(tmp_path / "micro"), (tmp_path / "micro" / "laws.json").read_bytes()
    assert _go_on(tmp_path).count("cells are done") == 3
    assert _finished(tmp_path / "micro") == before
    assert (tmp_path / "micro" / "laws.json").read_bytes() == laws
    status = called("status", "micro", "--json", cwd=tmp_path)
    assert [(row["stage"], row["finished"], row["left"]) for row in json.loads(status.stdout)["stages"]] == [
        ("sweep", 2, 0),
        ("scaling", 6, 0),
        ("baseline", 6, 0),
    ]


def test_what_is_printed_where_no_terminal_is_holds_no_escape_codes(trained):
    printed = (trained / "printed.txt").read_text(encoding="utf-8")
    assert printed
    assert "\x1b" not in printed
    assert "\r" not in printed
