"""Studies on a real Ray cluster of several nodes, on this machine: nodes that come and go, workers and drivers that are killed."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import adaptive_study
from command import tdscale
from tdscale.errors import RunFailure, UserError
from tdscale.running import Engine, Event, ray_pool
from tdscale.running.fitting import fit_study
from tdscale.running.folder import place_study
from tdscale.running.workflow import run_study

ray = pytest.importorskip("ray", reason='needs pip install "tdscale[ray]"')
pytest.importorskip("jax", reason='needs pip install "tdscale[train]"')
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of Ray's own processes
    # Ray forks to start a cluster, which JAX, loaded by other tests of this process, complains about
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

STUDY = """\
name = "micro"
algorithm = "sac"
return_thresholds = [100, 200]

[tasks.Pendulum-v1]
low = -2000
high = 0

[sweep]
utd = [0.5, 1]
batch_size = [16]
learning_rate = [1e-3]
seeds = 2

[scaling]
utd = [0.5, 1, 2]
seeds = 2

[limits]
env_steps = 4000

[checkpoints]
minutes = 0.005

[settings]
hidden_sizes = [8]
warm_up = 100
update_block = 8
evaluation_interval = 0
diagnostics_interval = 0
"""


class Watched:
    """A display that keeps what happened, and may do something at it."""

    def __init__(self, at=lambda event, events: None):
        self.events, self.notes, self.at = [], [], at

    def stage(self, name, jobs, cells_done, later, part=None):
        pass

    def event(self, event: Event):
        self.events.append(event)
        self.at(event, self.events)

    def note(self, text):
        self.notes.append(text)

    def counts(self):
        return Counter(event.kind for event in self.events if event.kind != "progress")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The study's folder, run on this machine without Ray."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "micro.toml").write_text(STUDY)
    files = place_study(folder / "micro.toml", folder / "micro")
    assert run_study(files, engine=Engine(workers=2), display=Watched()) == []
    fit_study(files)
    return files.directory


@pytest.fixture
def cluster(monkeypatch):
    """A head without cores, and one node with one."""
    # Ray's workers are nice to all others (15): beside busy tests they take minutes for what takes seconds
    monkeypatch.setenv("RAY_worker_niceness", "0")
    made = _started()
    yield made
    ray.shutdown()
    made.shutdown()


def _started(tries=3):
    """Ray gives its processes half a minute, which a machine busy with other tests may not have for them."""
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        made.add_node(num_cpus=0, include_dashboard=False, object_store_memory=80_000_000)
        made.add_node(num_cpus=1, object_store_memory=80_000_000)
    except Exception:
        made.shutdown()
        if tries == 1:
            raise
        return _started(tries - 1)
    return made


def add_node(cluster):
    return cluster.add_node(wait=False, num_cpus=1, object_store_memory=80_000_000)


def run(folder, cluster, display):
    (folder / "micro.toml").write_text(STUDY)
    files = place_study(folder / "micro.toml", folder / "micro")
    failures = run_study(files, engine=Engine(workers=None, ray=cluster.address), display=display)
    fit_study(files)
    assert failures == []
    return files.directory


def assert_same(study: Path, local: Path):
    runs = {path.name for path in (local / "runs").glob("[!.]*")}
    assert {path.name for path in (study / "runs").glob("[!.]*")} == runs
    for name in runs:
        assert (study / "runs" / name / "curve.parquet").read_bytes() == (local / "runs" / name / "curve.parquet").read_bytes()
    assert not list(study.rglob("checkpoint"))
    assert (study / "laws.json").read_bytes() == (local / "laws.json").read_bytes()


def worker_processes():
    """Of this user, held by a Ray actor."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"tdscale.running.worker" in (entry / "cmdline").read_bytes():
                parent = re.search(r"^PPid:\s*(\d+)", (entry / "status").read_text(), re.MULTILINE)[1]
                if Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"ray::"):
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


proc_only = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found by /proc, which is not here")


@pytest.mark.slow
@proc_only
def test_a_worker_is_killed_and_a_node_is_added_and_the_laws_are_the_local_ones(tmp_path, cluster, local):
    faults = ["kill", "add"]

    def at(event, events):
        if event.kind == "progress" and event.done > 500 and faults:
            if faults.pop(0) == "kill":
                (worker,) = worker_processes()
                os.kill(worker, signal.SIGKILL)
            else:
                add_node(cluster)

    display = Watched(at)
    study = run(tmp_path, cluster, display)
    assert not faults
    assert display.notes[0] == f"Ray at {cluster.address}: 2 nodes, 1 core"
    assert display.counts() == {"start": 6, "again": 1, "done": 5}, "each cell is trained once, but for the one whose worker was killed"
    assert "signal 9" in next(event.message for event in display.events if event.kind == "again")
    assert_same(study, local)


@pytest.mark.slow
@proc_only
def test_an_adaptive_study_on_a_cluster_whose_worker_is_killed_asks_for_the_same_rounds(tmp_path, cluster):
    alone, _ = adaptive_study.run(adaptive_study.write(tmp_path / "alone"), tmp_path / "alone" / "toy")
    killed: list[int] = []

    def at(event, events):
        if event.kind == "done" and not killed and (found := worker_processes()):
            killed.append(found[0])
            os.kill(found[0], signal.SIGKILL)
            add_node(cluster)

    files = place_study(adaptive_study.write(tmp_path / "ray"), tmp_path / "ray" / "toy")
    assert run_study(files, engine=Engine(workers=None, ray=cluster.address), display=Watched(at)) == []
    assert killed
    for study in (alone, files):
        fit_study(study, n_draws=20)
    for name in ("rounds.json", "choice.json", "laws.json"):
        assert (files.directory / name).read_bytes() == (alone.directory / name).read_bytes()


@pytest.mark.faults
def test_a_node_is_lost_and_another_comes_and_the_laws_are_the_local_ones(tmp_path, cluster, local):
    second = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    lost: list[int] = []

    def at(event, events):
        busy = {one.worker for one in events if one.kind == "progress"}
        if event.kind == "progress" and event.done > 500 and len(busy) > 1 and not lost:
            lost.append(event.worker)
            cluster.remove_node(second, allow_graceful=False)
            add_node(cluster)

    display = Watched(at)
    study = run(tmp_path, cluster, display)
    assert lost
    assert display.counts() == {"start": 6, "again": 1, "done": 5}
    assert "was lost with its node" in next(event.message for event in display.events if event.kind == "again")
    assert_same(study, local)


@pytest.mark.faults
@proc_only
def test_the_driver_is_killed_and_started_again_and_nothing_is_done_twice(tmp_path, cluster, local):
    (tmp_path / "micro.toml").write_text(STUDY)
    command = [sys.executable, "-m", "tdscale", "run", "micro.toml", "--dir", "micro", "--ray", cluster.address]
    runs = tmp_path / "micro" / "runs"
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        while driver.poll() is None and len(list(runs.glob("[!.]*/status.json"))) < 2:
            time.sleep(0.05)
        driver.kill()
    assert driver.returncode == -signal.SIGKILL
    stored = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in runs.glob("[!.]*/*.*")}
    study = run(tmp_path, cluster, display := Watched())
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in stored} == stored
    assert display.counts()["start"] == display.counts()["done"] < 5
    assert_same(study, local)
    deadline = time.monotonic() + 30
    while worker_processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not worker_processes(), "they do not outlive their driver"


@pytest.mark.faults
def test_a_folder_that_a_node_does_not_see_is_one_sentence(tmp_path, cluster, monkeypatch):
    from tdscale.running import ray_pool

    (tmp_path / "micro.toml").write_text(STUDY)
    files = place_study(tmp_path / "micro.toml", tmp_path / "micro")
    looked = ray_pool.RayPool.want

    def elsewhere(pool, waiting):
        (pool._directory / ray_pool.PROOF_FILE).write_text("another folder's")
        looked(pool, waiting)

    monkeypatch.setattr(ray_pool.RayPool, "want", elsewhere)
    with pytest.raises(RunFailure, match=r"does not see .*; put the study into a folder that all nodes share"):
        run_study(files, engine=Engine(workers=None, ray=cluster.address), display=Watched())


def test_an_address_where_no_cluster_is_is_one_sentence(tmp_path):
    (tmp_path / "micro.toml").write_text(STUDY)
    for address, said in (("127.0.0.1:1", "there is no Ray cluster"), ("ray://127.0.0.1:10001", "from a machine of the cluster")):
        answer = tdscale("run", "micro.toml", "--dir", "micro", "--ray", address, cwd=tmp_path)
        assert answer.returncode == 2
        assert said in answer.stderr
        assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr


def test_ray_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'pip install "tdscale\[ray\]" installs it'):
        Engine(workers=None, ray="auto").pool(tmp_path, custom=False, quick=False)


class ShuttingDown:
    """Stands in for Ray while it shuts down: whoever waits for an actor is ended by SystemExit, as Ray's own threads are."""

    exceptions = ray.exceptions

    def __init__(self):
        self.down = threading.Event()
        self.greet = self

    def remote(self, *_arguments):
        return self

    def options(self, **_resources):
        return self

    def available_resources(self):
        return {"CPU": 1.0}

    def kill(self, _actor):
        pass

    def shutdown(self):
        self.down.set()

    def get(self, _reference):
        self.down.wait()
        raise SystemExit(0)


@pytest.mark.parametrize("released", [True, False])
def test_a_thread_that_waits_while_ray_shuts_down_ends_and_leaves_no_job_waiting(tmp_path, monkeypatch, released):
    stand_in = ShuttingDown()
    monkeypatch.setattr(ray_pool, "_connected", lambda _address: stand_in)
    monkeypatch.setattr(ray_pool, "_described", lambda _ray: "a cluster")
    before = set(threading.enumerate())
    pool = ray_pool.RayPool(tmp_path, address="auto", environment=dict, workers=1)
    pool.want(1)
    waiting = set(threading.enumerate()) - before
    if released:
        pool.close()
    else:
        stand_in.shutdown()
    for thread in waiting:
        thread.join(10)
    assert len(waiting) == 1
    assert [answer["event"] for _, answer in iter(lambda: None if pool.answers.empty() else pool.answers.get(), None)] == (
        [] if released else ["unfit"]
    )
