"""Workers that are killed or told to end in the middle of a cell: the next one goes on from their checkpoints, to the same bytes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tdscale.execution import CellJob, Event, run_jobs
from tdscale.runs.store import RunStore
from tdscale.study import Checkpoints, RunSpec, SACSettings
from tdscale.training.devices import single_thread_environment

SETTINGS = SACSettings(hidden_sizes=(8,), warm_up=50, evaluation_interval=0, diagnostics_interval=0).model_dump(mode="json")
CELL = tuple(
    RunSpec(
        algorithm="sac",
        suite="gymnasium",
        task="Pendulum-v1",
        utd=1.0,
        batch_size=16,
        learning_rate=1e-3,
        seed=seed,
        stage="sweep",
        settings=SETTINGS,
    )
    for seed in range(2)
)
JOB = CellJob(specs=CELL, env_steps=1500, target=None)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def _curves(study: Path) -> dict[str, bytes]:
    return {spec.run_id: (study / "runs" / spec.run_id / "curve.parquet").read_bytes() for spec in CELL}


def _run(study: Path, cache: Path, checkpoints: Checkpoints, on_event) -> list[Event]:
    events: list[Event] = []

    def heard(event: Event) -> None:
        events.append(event)
        on_event(event)

    run_jobs([JOB], study, workers=1, environment=single_thread_environment(cache), on_event=heard, checkpoints=checkpoints)
    return events


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, cache):
    study = tmp_path_factory.mktemp("uninterrupted")
    _run(study, cache, Checkpoints(minutes=0), lambda event: None)
    return _curves(study)


def _workers() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found += [int(entry.name)] if b"tdscale.execution.worker" in (entry / "cmdline").read_bytes() else []
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found by /proc, which is not here")
@pytest.mark.parametrize(("number", "minutes"), [(signal.SIGKILL, 1e-6), (signal.SIGTERM, 1000)])
def test_a_worker_that_ends_in_mid_cell_is_followed_by_one_that_goes_on_to_the_same_bytes(tmp_path, cache, uninterrupted, number, minutes):
    stood: list[int] = []

    def on_event(event: Event) -> None:
        there = list(tmp_path.rglob("manifest-*.json"))
        if event.kind == "progress" and event.done > 700 and not stood and (there or number == signal.SIGTERM):
            stood.append(event.done)
            (worker,) = _workers()
            os.kill(worker, number)

    events = _run(tmp_path, cache, Checkpoints(minutes=minutes), on_event)
    assert stood
    kinds = [event.kind for event in events if event.kind != "progress"]
    assert kinds == ["start", "start", "done"], "no checkpoint was refused"
    assert _curves(tmp_path) == uninterrupted
    assert not list(tmp_path.rglob("checkpoint"))
    if number == signal.SIGTERM:  # it had time to save: nothing is done twice
        begun = max(place for place, event in enumerate(events) if event.kind == "start")
        assert events[begun + 1].done >= stood[0]


def test_a_worker_whose_input_ends_in_mid_cell_leaves_checkpoints(tmp_path, cache):
    request = {
        "jobs": [CellJob(specs=CELL, env_steps=10**8, target=None).to_message()],
        "directory": str(tmp_path),
        "together": False,
        "checkpoints": {"minutes": 1000.0, "keep": False},
    }
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "tdscale.execution.worker", "-1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **single_thread_environment(cache)},
        text=True,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(request) + "\n")
        worker.stdin.flush()
        assert json.loads(worker.stdout.readline())["event"] == "progress"
        worker.stdin.close()
        worker.stdout.read()
        assert worker.wait(60) == 0
    assert len(list(tmp_path.rglob("manifest-000001.json"))) == 2
    assert RunStore(tmp_path).problems() == []
    assert RunStore(tmp_path).specs() == {}, "they are not done"


def test_what_a_killed_worker_left_of_runs_that_are_done_is_removed(tmp_path):
    store = RunStore(tmp_path)
    for spec in CELL:
        store.checkpoint_directory(spec.run_id).mkdir(parents=True)
    store.discard_checkpoints([CELL[0].run_id, "fedcba9876543210"])
    assert [store.checkpoint_directory(spec.run_id).exists() for spec in CELL] == [False, True]
