"""A study killed with -9 and started again ends as one that was never interrupted, and repeats nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command import called, start, tdscale

STUDY = """\
name = "micro"
algorithm = "sac"
return_thresholds = [200, 400]
data_cost = 1e6

[tasks.Pendulum-v1]
low = -2000
high = 0

[sweep]
utd = [0.5, 1]
batch_size = [16, 32]
learning_rate = [1e-3, 1e-2]
seeds = 2

[scaling]
utd = [0.5, 1, 2]
seeds = 2

[limits]
env_steps = 800

[checkpoints]
minutes = 1e-6

[settings]
hidden_sizes = [8]
warm_up = 100
update_block = 8
evaluation_interval = 0
diagnostics_interval = 0
"""
RUN = ("run", "micro.toml", "--dir", "micro", "--workers", "1")
# the same without the report, whose figures take longer than the study
SCRIPT = """
from pathlib import Path
from rich.console import Console
from tdscale.cli.progress import RunDisplay
from tdscale.running import Engine
from tdscale.running.fitting import fit_study
from tdscale.running.folder import place_study
from tdscale.running.workflow import run_study
files = place_study(Path("micro.toml"), Path("micro"))
with RunDisplay(files.directory, Console(soft_wrap=True), 1) as display:
    assert run_study(files, engine=Engine(workers=1), display=display) == []
fit_study(files)
"""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder of the study run in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "micro.toml").write_text(STUDY)
    answer = tdscale(*RUN, cwd=folder)
    assert answer.returncode == 0, answer
    assert "\x1b" not in answer.stdout
    assert "\r" not in answer.stdout
    return folder / "micro"


def _go_on(folder: Path) -> str:
    answer = subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, capture_output=True, text=True, encoding="utf-8")
    assert answer.returncode == 0, answer
    return answer.stdout


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


def test_a_study_killed_and_resumed_ends_with_the_same_laws_and_repeats_nothing(uninterrupted, tmp_path):
    (tmp_path / "micro.toml").write_text(STUDY)
    stored: dict[Path, tuple[int, int]] = {}
    for runs in (3, 19):  # in stage 1 and in stage 2
        _kill_after(runs, tmp_path)
        now = _finished(tmp_path / "micro")
        assert len(now) > len(stored)
        assert {path: now.get(path) for path in stored} == stored
        stored = now
    _go_on(tmp_path)
    now = _finished(tmp_path / "micro")
    assert {path: now.get(path) for path in stored} == stored
    assert {path.name for path in (tmp_path / "micro" / "runs").glob("*")} == {path.name for path in (uninterrupted / "runs").glob("*")}
    for curve in (uninterrupted / "runs").glob("*/curve.parquet"):
        assert (tmp_path / "micro" / curve.relative_to(uninterrupted)).read_bytes() == curve.read_bytes()
    assert not list((tmp_path / "micro" / "runs").glob("*/checkpoint"))
    assert (tmp_path / "micro" / "laws.json").read_bytes() == (uninterrupted / "laws.json").read_bytes()


def test_a_second_run_of_a_finished_study_trains_nothing(uninterrupted):
    before, laws = _finished(uninterrupted), (uninterrupted / "laws.json").read_bytes()
    assert _go_on(uninterrupted.parent).count("cells are done") == 2
    assert _finished(uninterrupted) == before
    assert (uninterrupted / "laws.json").read_bytes() == laws
    status = called("status", "micro", "--json", cwd=uninterrupted.parent)
    assert [(row["stage"], row["finished"], row["left"]) for row in json.loads(status.stdout)["stages"]] == [
        ("sweep", 16, 0),
        ("scaling", 6, 0),
    ]
