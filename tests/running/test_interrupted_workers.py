"""Workers that are killed or told to end in the middle of a cell: the next one goes on from their checkpoints, to the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tdscale.running import Event
from tdscale.running.dispatch import run_jobs
from tdscale.running.pool import LocalPool
from tdscale.runs.store import RunStore
from tdscale.study import CellJob, Checkpoints, RunSpec, SACSettings
from tdscale.training.devices import cache_directory, single_thread_environment

SETTINGS = SACSettings(hidden_sizes=(8,), warm_up=50, update_block=8, evaluation_interval=0, diagnostics_interval=0).model_dump(mode="json")
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


def _curves(study: Path) -> dict[str, bytes]:
    return {spec.run_id: (study / "runs" / spec.run_id / "curve.parquet").read_bytes() for spec in CELL}


def _run(study: Path, checkpoints: Checkpoints, on_event) -> list[Event]:
    events: list[Event] = []

    def heard(event: Event) -> None:
        events.append(event)
        on_event(event)

    with closing(LocalPool(study, workers=1, environment=single_thread_environment(cache_directory()))) as pool:
        run_jobs(pool, [JOB], study, on_event=heard, checkpoints=checkpoints)
    return events


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    study = tmp_path_factory.mktemp("uninterrupted")
    _run(study, Checkpoints(minutes=0), lambda event: None)
    return _curves(study)


def _workers() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found += [int(entry.name)] if b"tdscale.running.worker" in (entry / "cmdline").read_bytes() else []
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found by /proc, which is not here")
def test_workers_that_end_in_mid_cell_are_followed_by_one_that_goes_on_to_the_same_bytes(tmp_path, uninterrupted):
    stood: list[int] = []
    signals = [signal.SIGKILL, signal.SIGTERM]

    def on_event(event: Event) -> None:
        if event.kind == "progress" and signals and event.done > 700 * (len(stood) + 1) and list(tmp_path.rglob("manifest-*.json")):
            stood.append(event.done)
            (worker,) = _workers()
            os.kill(worker, signals.pop(0))

    often = Checkpoints(minutes=1e-6)
    events = _run(tmp_path, often, on_event)
    # two more tries, since SIGTERM costs none, and no checkpoint is refused
    told = [event for event in events if event.kind != "progress"]
    assert [event.kind for event in told] == ["start", "again", "start", "again", "start", "done"]
    assert ["signal 9" in told[1].message, "was stopped" in told[3].message] == [True, True]
    after = events[max(place for place, event in enumerate(events) if event.kind == "start") + 1]
    assert after.done >= stood[-1], "at SIGTERM it had time to save: nothing is done twice"
    assert _curves(tmp_path) == uninterrupted
    assert not list(tmp_path.rglob("checkpoint"))


@pytest.mark.parametrize("deaf", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_worker_whose_parent_died_in_mid_cell_leaves_checkpoints(tmp_path, deaf):
    """Its input ends; or nobody hears its answers any more, which it notices first."""
    request = {
        "jobs": [CellJob(specs=CELL, env_steps=10**8, target=None).to_message()],
        "directory": str(tmp_path),
        "together": False,
        "checkpoints": {"minutes": 1000.0, "keep": False},
    }
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "tdscale.running.worker", "-1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **single_thread_environment(cache_directory())},
        text=True,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(request) + "\n")
        worker.stdin.flush()
        while True:  # until both seeds, which take turns of 1000 env steps, have begun
            message = json.loads(worker.stdout.readline())
            assert message["event"] == "progress"
            if message["done"][0] > 1000:
                break
        if deaf:
            worker.stdout.close()
            deadline = time.monotonic() + 60
            while len(list(tmp_path.rglob("manifest-000001.json"))) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
        worker.stdin.close()
        if not deaf:
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
