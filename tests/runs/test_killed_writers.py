"""kill -9 at every step of a write: what was there, or what was to be there, and nothing between."""

import subprocess
import sys
from pathlib import Path

import pytest

from tdscale.runs.store import RunStore

# One child process is forked for each step of the write and killed there, until one gets through.
_SCRIPT = """
import os, shutil, signal, sys
import numpy as np
import pandas  # pyarrow imports it at the first conversion: once here instead of in every child
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunResult, RunStatus
from tdscale.study import RunSpec

def result(seed, n):
    spec = RunSpec(algorithm="sac", suite="imported", task="T", utd=1, batch_size=8, learning_rate=1e-3, seed=seed, stage="sweep")
    return RunResult(spec=spec, columns={"env_step": np.arange(1, n + 1), "return": np.arange(n) * 1.0},
                     status=RunStatus(state="finished", last_step=n))

def prepare(directory, kind):
    store = RunStore(directory)
    if kind == "compacted":  # runs that were packed, went on, and are to be packed again; one of them has a checkpoint
        for n in (5, 9):
            for seed in range(2):
                store.write(result(seed, n))
            n == 5 and store.compact()
        store.checkpoint_directory(result(0, 5).spec.run_id).mkdir()
    elif kind == "packed":
        store.write_packed([result(s, 5) for s in range(3)], "part")
    else:
        store.write(result(0, 5))
        store.checkpoint_directory(result(0, 5).spec.run_id).mkdir()

def write(directory, kind):
    store = RunStore(directory)
    if kind == "compacted":
        store.compact()
    elif kind == "packed":
        store.write_packed([result(s, 9) for s in range(3)], "part")
    else:
        store.write(result(0, 9))

def die_at(n):
    count = 0
    def counted(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call
    os.fsync, os.rename, os.mkdir, os.unlink, os.rmdir, shutil.rmtree = map(
        counted, (os.fsync, os.rename, os.mkdir, os.unlink, os.rmdir, shutil.rmtree))
    pq.write_table = counted(pq.write_table)

pa.array(np.arange(3))
root, kind = sys.argv[1:]
for n in range(1, 200):
    directory = f"{root}/{n:03d}"
    child = os.fork()  # the parent never starts a thread, so forking it is safe
    if child == 0:
        prepare(directory, kind)
        die_at(n)
        write(directory, kind)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        sys.exit(0 if os.WEXITSTATUS(status) == 0 else 3)
sys.exit(4)
"""


@pytest.mark.parametrize("kind", ["single", "packed", "compacted"])
def test_a_writer_killed_at_any_step_leaves_the_old_runs_or_the_new_ones(tmp_path: Path, make_result, kind):
    done = subprocess.run([sys.executable, "-c", _SCRIPT, str(tmp_path), kind], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    directories = sorted(tmp_path.iterdir())
    assert len(directories) > 8
    count = {"single": 1, "packed": 3, "compacted": 2}[kind]
    seen = set()
    for directory in directories:
        store = RunStore(directory)
        assert store.problems() == [], directory.name
        ends = {status.last_step for status in store.statuses().values()}
        assert len(store.statuses()) == len(store.specs()) == count
        assert {len(curve["return"]) for curve in store.curves().values()} == ends
        assert len(ends) == 1
        seen |= ends
        before = store.fingerprint()
        # the next opening for writing cleans up, and changes nothing
        run_ids = set(store.specs())
        store.write(make_result(7))
        assert not [p for p in directory.rglob(".*") if p.name != ".lock"]
        (other,) = set(store.specs()) - run_ids
        if kind == "single":
            assert store.checkpoint_directory(*run_ids).is_dir(), directory.name
        if kind == "compacted":
            assert len(list(directory.glob("runs/*/checkpoint"))) == 1, directory.name
        for path in sorted((store.runs / other).iterdir()):
            path.unlink()
        (store.runs / other).rmdir()
        assert store.fingerprint() == before
    assert seen == ({9} if kind == "compacted" else {5, 9})
