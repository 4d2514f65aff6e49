"""What a look at a study tells: by stage and task, and of cells whose worker died and left no run."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from command import called
from tdscale.cli.status import study_status
from tdscale.running import Event, ledger
from tdscale.running.folder import StudyFiles, open_study
from tdscale.running.ledger import FAILURES_FILE, Ledger
from tdscale.runs.types import RunResult, RunStatus
from tdscale.study import CellJob

STUDY = """
name = "s"
algorithm = "sac"
return_thresholds = [500.0]
[tasks."HalfCheetah-v4"]
suite = "gymnasium"
low = 0.0
high = 1000.0
[tasks."Ant-v4"]
suite = "gymnasium"
low = 0.0
high = 1000.0
[sweep]
utd = [1]
batch_size = [64, 128]
learning_rate = [1e-3, 2e-3]
seeds = 2
[limits]
env_steps = 10000
"""


@pytest.fixture
def files(tmp_path: Path) -> StudyFiles:
    (tmp_path / "study.toml").write_text(STUDY)
    return open_study(tmp_path)


def _jobs(files: StudyFiles) -> list[CellJob]:
    cells: dict[str, list] = {}
    for spec in files.study.sweep_specs():
        cells.setdefault(spec.cell_id, []).append(spec)
    return [CellJob(specs=tuple(members), env_steps=1000, target=None) for members in cells.values()]


def _train(files: StudyFiles, job: CellJob, kept: Ledger) -> None:
    for spec in job.specs:
        status = RunStatus(state="finished", last_step=1000)
        files.store.write(RunResult(spec=spec, columns={"env_step": [500, 1000], "return": [1.0, 2.0]}, status=status))
    kept.event(Event(kind="done", job=job, worker=0, done=2000))


def _ledger(files: StudyFiles, jobs: list[CellJob]) -> Ledger:
    return Ledger(files, "sweep", files.study.sweep_specs(), jobs, print)


def test_a_cell_whose_worker_died_is_told_until_it_is_done(files: StudyFiles) -> None:
    jobs = _jobs(files)
    kept = _ledger(files, jobs)
    kept.event(Event(kind="failed", job=jobs[0], worker=0, message="its worker was killed (SIGKILL), 2 times"))
    _train(files, jobs[1], kept)
    content = study_status(files)
    (stage,) = content["stages"]
    assert (stage["runs"], stage["finished"], stage["failed"], stage["left"]) == (16, 2, 2, 14)
    assert {row["task"]: row["runs"] for row in stage["tasks"]} == {"HalfCheetah-v4": 8, "Ant-v4": 8}
    (failure,) = content["failures"]
    assert failure["reason"] == "its worker was killed (SIGKILL), 2 times"
    assert (failure["runs"], failure["stage"], failure["task"]) == (2, "sweep", jobs[0].specs[0].task)
    answer = called("status", files.directory, cwd=files.directory)
    assert "failed: " in answer.stdout
    assert "2 times" in answer.stdout
    # the next run tries it again, and it works
    again = _ledger(files, [job for job in jobs if job is not jobs[1]])
    assert study_status(files)["failures"] == [failure]
    _train(files, jobs[0], again)
    assert study_status(files)["failures"] == []
    assert not (files.directory / FAILURES_FILE).exists()


def test_an_edited_study_is_counted_by_what_it_says_now(files: StudyFiles) -> None:
    _ledger(files, _jobs(files))
    (files.directory / "study.toml").write_text(STUDY.replace("seeds = 2", "seeds = 3"))
    assert study_status(open_study(files.directory))["stages"][0]["runs"] == 24


def test_stages_that_wait_for_the_first_one_are_counted_before_their_values_are_known(files: StudyFiles) -> None:
    (files.directory / "study.toml").write_text("baseline = true\n" + STUDY + "[scaling]\nutd = [0.5, 1, 2]\nseeds = 4\n")
    stages = study_status(open_study(files.directory))["stages"]
    counts = [(row["stage"], row["runs"], row["left"]) for row in stages]
    assert counts == [("sweep", 16, 16), ("scaling", 24, 24), ("baseline", 24, 24)]


def test_a_damaged_or_missing_ledger_changes_no_count(files: StudyFiles) -> None:
    kept = _ledger(files, _jobs(files))
    _train(files, _jobs(files)[0], kept)
    before = study_status(files)["stages"]
    for damaged in ("{", "[]", json.dumps({"schema": 1, "study": "else"})):
        (files.directory / "stages.json").write_text(damaged)
        (files.directory / FAILURES_FILE).write_text(damaged)
        assert study_status(files)["stages"] == before


def test_folders_are_packed_as_they_grow_many_but_for_runs_that_may_go_on(files: StudyFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PACK_FROM", 4)
    jobs = _jobs(files)
    kept = _ledger(files, jobs)
    before = []
    for job in jobs[:3]:
        _train(files, job, kept)
        before.append(len(list(files.store.runs.glob("*/spec.json"))))
    assert before == [2, 0, 2]
    assert len(files.store.statuses()) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of Unix")
def test_a_watched_status_renews_itself_in_place_until_it_is_left(files: StudyFiles, request: pytest.FixtureRequest) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tdscale", "status", str(files.directory), "--watch"]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it, and so would what it starts
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True) as process:
        os.close(theirs)

        def shown(text: str) -> str:
            """What the terminal was sent, up to this text."""
            seen, deadline = "", time.monotonic() + 60
            while text not in seen:
                assert time.monotonic() < deadline, seen
                assert select.select([ours], [], [], 60)[0], seen
                seen += os.read(ours, 65536).decode()
            return seen

        try:
            assert "\x1b[1A" not in shown("0 env steps done")
            jobs = _jobs(files)
            _train(files, jobs[0], _ledger(files, jobs))
            assert "\x1b[1A" in shown("2,000 env steps done"), "it goes up to where the first page stood"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
    os.close(ours)


def test_compact_says_which_runs_keep_a_checkpoint_and_packs_them_when_told_to(files: StudyFiles) -> None:
    specs = files.study.sweep_specs()[:3]
    columns = {"env_step": np.array([1000]), "return": np.array([0.0])}
    for spec in specs[:2]:
        files.store.write(RunResult(spec=spec, columns=columns, status=RunStatus(state="finished", last_step=1000)))
    for spec in specs[1:]:  # the last one has begun and not ended
        files.store.checkpoint_directory(spec.run_id).mkdir(parents=True)
        (files.store.checkpoint_directory(spec.run_id) / "replay").write_bytes(b"x" * 3000)
    assert called("compact", files.directory, cwd=files.directory).stdout == (
        "1 run packed\n1 run with a checkpoint stays as it is, 3 kB: to go on from there. --drop-checkpoints packs it, too\n"
    )
    assert called("compact", files.directory, "--drop-checkpoints", cwd=files.directory).stdout == "1 run packed\n"
    assert not files.store.checkpoint_directory(specs[1].run_id).exists()
    assert files.store.checkpoint_directory(specs[2].run_id).exists()
    assert files.store.statuses()[specs[1].run_id].last_step == 1000
