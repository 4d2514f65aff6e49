"""What is left to run, and a pool whose workers, and whose parent, may be killed at any moment."""

import io
import json
import os
import queue
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from command import called, start, tdscale
from tdscale.cli.options import Device, TrainingOptions
from tdscale.running import Event
from tdscale.running.dispatch import SAME_FAILURES, StageFailure, _Queue, _raised, _SameFailure, run_jobs
from tdscale.running.pool import READY, Ending, LocalPool, _listen
from tdscale.running.stages import pending_jobs
from tdscale.running.trainers.trainer import CustomTrainer
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunStatus
from tdscale.study import CellJob, RunSpec, SACSettings, StopTarget
from tdscale.training.devices import cache_directory, single_thread_environment

SETTINGS = SACSettings(hidden_sizes=(8,), warm_up=50, update_block=8, evaluation_interval=0, diagnostics_interval=0).model_dump(mode="json")
LIMIT, TARGET = 1000, StopTarget(return_threshold=-300.0, margin=0.1)


def _cell(count: int = 3, *, task: str = "Pendulum-v1", batch_size: int = 16, learning_rate: float = 1e-3) -> list[RunSpec]:
    return [
        RunSpec(
            algorithm="sac",
            suite="gymnasium",
            task=task,
            utd=1.0,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            stage="sweep",
            settings=SETTINGS,
        )
        for seed in range(count)
    ]


# --- what is left to run


def _stored(specs, state="finished", last_step=LIMIT, stopped=None):
    return {spec.run_id: RunStatus(state=state, last_step=last_step, notes={"stopped_at_return": stopped}) for spec in specs}


def _pending(specs, statuses, limit=LIMIT, target=TARGET):
    return pending_jobs(specs, statuses, {"Pendulum-v1": limit}, {"Pendulum-v1": target})


def test_nothing_there_is_one_job_per_cell_with_all_its_seeds():
    first, second = _cell(), _cell(batch_size=32)
    assert _pending([*first, *second], {}) == [CellJob(specs=tuple(cell), env_steps=LIMIT, target=TARGET) for cell in (first, second)]


def test_a_cell_at_its_limit_or_stopped_at_the_threshold_is_done():
    cell = _cell()
    assert _pending(cell, _stored(cell)) == []
    assert _pending(cell, _stored(cell, last_step=700, stopped=-300.0)) == []
    assert _pending(cell, _stored(cell, last_step=700, stopped=-200.0)) == [], "it stopped at a higher one"


def test_seeds_that_are_missing_are_brought_to_the_step_of_the_others():
    cell = _cell()
    there = _stored(cell[:2], last_step=700, stopped=-300.0)
    assert _pending(cell, there) == [CellJob(specs=(cell[2],), env_steps=700, target=None)]


def test_more_seeds_asked_for_come_to_the_same_step():
    cell = _cell(5)
    there = _stored(cell[:3], last_step=700, stopped=-300.0)
    assert _pending(cell, there) == [CellJob(specs=tuple(cell[3:]), env_steps=700, target=None)]


def test_a_seed_that_stands_behind_the_others_is_brought_to_their_step():
    cell = _cell()
    there = _stored(cell[:2], last_step=700, stopped=-300.0) | _stored(cell[2:], last_step=500)
    assert _pending(cell, there) == [CellJob(specs=(cell[2],), env_steps=700, target=None)]


def test_a_raised_threshold_runs_a_cell_that_stopped_below_it_and_no_other():
    stopped, ended = _cell(), _cell(batch_size=32)
    there = _stored(stopped, last_step=700, stopped=-400.0) | _stored(ended)
    assert _pending([*stopped, *ended], there) == [CellJob(specs=tuple(stopped), env_steps=LIMIT, target=TARGET)]


def test_a_raised_limit_runs_a_cell_that_ended_at_the_old_one_and_no_other():
    ended, stopped = _cell(), _cell(batch_size=32)
    there = _stored(ended) | _stored(stopped, last_step=700, stopped=-300.0)
    assert _pending([*ended, *stopped], there, limit=2000) == [CellJob(specs=tuple(ended), env_steps=2000, target=TARGET)]


def test_a_failed_seed_is_missing_and_tried_again_alone():
    cell = _cell()
    there = _stored(cell) | _stored(cell[1:2], state="failed", last_step=300)
    assert _pending(cell, there) == [CellJob(specs=(cell[1],), env_steps=LIMIT, target=None)]


def test_a_cell_whose_every_seed_failed_is_run_anew():
    cell = _cell()
    assert _pending(cell, _stored(cell, state="failed", last_step=3)) == [CellJob(specs=tuple(cell), env_steps=LIMIT, target=TARGET)]


def test_a_diverged_seed_is_an_outcome_and_not_run_again():
    cell = _cell()
    assert _pending(cell, _stored(cell) | _stored(cell[:1], state="diverged", last_step=300)) == []
    assert _pending(cell, _stored(cell, state="diverged", last_step=300)) == []


def test_diverged_and_missing_seeds_alone_are_run_together_to_find_their_step():
    cell = _cell()
    assert _pending(cell, _stored(cell[:1], state="diverged", last_step=300)) == [
        CellJob(specs=tuple(cell), env_steps=LIMIT, target=TARGET)
    ]


def test_a_job_passes_through_its_message():
    for target in (TARGET, None):
        job = CellJob(specs=tuple(_cell()), env_steps=LIMIT, target=target)
        assert CellJob.from_message(json.loads(json.dumps(job.to_message()))) == job


# --- workers that die


def _children(parent: int) -> list[int]:
    """Of a process, by /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _workers(parent: int) -> list[int]:
    return [pid for pid in _children(parent) if b"tdscale.running.worker" in _command_line(pid)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


proc_only = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found by /proc, which is not here")


def _run(jobs, directory, kill_on):
    """Run jobs with one worker, which is killed with -9 at every start of a job that `kill_on` names; the events."""
    events: list[Event] = []

    def on_event(event: Event) -> None:
        events.append(event)
        if event.kind == "start" and kill_on(event, events):
            for pid in _workers(os.getpid()):
                os.kill(pid, signal.SIGKILL)

    with closing(LocalPool(directory, workers=1, environment=single_thread_environment(cache_directory()))) as pool:
        run_jobs(pool, jobs, directory, on_event=on_event)
    return events


@proc_only
def test_a_job_whose_worker_is_killed_once_is_tried_again(tmp_path):
    job = CellJob(specs=tuple(_cell(2)), env_steps=400, target=None)
    events = _run([job], tmp_path, lambda event, events: len(events) == 1)
    assert [event.kind for event in events if event.kind != "progress"] == ["start", "again", "start", "done"]
    statuses = RunStore(tmp_path).statuses()
    assert {run_id: status.last_step for run_id, status in statuses.items()} == {spec.run_id: 400 for spec in job.specs}
    assert not _workers(os.getpid())


@proc_only
def test_a_job_whose_worker_is_killed_twice_is_reported_and_the_rest_go_on(tmp_path):
    doomed = CellJob(specs=tuple(_cell(1, batch_size=64)), env_steps=4000, target=None)
    other = CellJob(specs=tuple(_cell(1)), env_steps=400, target=None)
    events = _run([other, doomed], tmp_path, lambda event, events: event.job == doomed)
    told = [(event.kind, event.job) for event in events if event.kind != "progress"]
    assert told == [("start", doomed), ("again", doomed), ("start", doomed), ("failed", doomed), ("start", other), ("done", other)]
    failed = next(event for event in events if event.kind == "failed")
    assert "was killed by signal 9" in failed.message
    assert "\n" not in failed.message
    assert set(RunStore(tmp_path).statuses()) == {other.specs[0].run_id}


def test_a_worker_that_dies_between_two_stages_costs_no_cell(tmp_path):
    (tmp_path / "train.py").write_text("import sys\nopen(sys.argv[1], 'w').write('env_step,return\\n500,1\\n1000,2\\n')\n")
    command = (sys.executable, "train.py", "{output}")
    rest = {"function": None, "retries": 0, "stop_early": False, "model_size": None, "actor_size": None, "versions": {}}
    trainer = CustomTrainer(command=command, folder=str(tmp_path), **rest)

    def job(utd, stage):
        spec = RunSpec(algorithm="own", suite="own", task="t", utd=utd, batch_size=8, learning_rate=0.1, seed=0, stage=stage)
        return CellJob(specs=(spec,), env_steps=1000, target=None)

    events: list[Event] = []
    later = [job(utd, "scaling") for utd in (1.0, 2.0, 4.0)]
    with closing(LocalPool(tmp_path / "study", workers=1, environment={})) as pool:
        run_jobs(pool, [job(1.0, "sweep")], tmp_path / "study", on_event=events.append, trainer=trainer)
        worker = pool._slots[0]
        worker.process.kill()
        worker.listener.join()
        run_jobs(pool, later, tmp_path / "study", on_event=events.append, trainer=trainer)
        done = [event.job for event in events if event.kind == "done"][1:]
        assert sorted(one.specs[0].utd for one in done) == [1.0, 2.0, 4.0]
        assert {one.specs[0].run_id for one in later} <= set(RunStore(tmp_path / "study").statuses())


def test_a_worker_that_dies_once_it_is_offered_is_started_again(tmp_path):
    with closing(LocalPool(tmp_path, workers=1, environment={})) as pool:
        pool.want(1)
        assert pool.answers.get(timeout=60) == (0, READY)
        pool._slots[0].process.kill()
        assert pool.answers.get(timeout=60) == (0, None)
        assert "signal 9" in pool.ending(0).how
        # as run_jobs does where the offer is read after the ending
        pool.give(0, {"jobs": [], "together": False, "directory": str(tmp_path), "checkpoints": {}, "trainer": None})
        assert pool._slots[0].process.poll() is None


@pytest.mark.parametrize("last", [b'{"event": "no', b'{"event": "note", "message": "\xce', b""])
def test_a_worker_that_ends_as_it_writes_is_heard_to_have_ended(last):
    answers = queue.Queue()
    lines = io.TextIOWrapper(io.BytesIO(b'{"event": "ready"}\n' + last), encoding="utf-8")
    _listen(3, lines, answers)
    heard = [answers.get_nowait() for _ in range(answers.qsize())]
    assert heard[-1] == (3, None)
    assert all(message == {"event": "ready"} for _, message in heard[:-1])


def test_jobs_whose_worker_died_over_several_come_back_alone_and_none_is_blamed():
    jobs = [CellJob(specs=tuple(_cell(2, learning_rate=rate)), env_steps=400, target=None) for rate in (1e-3, 2e-3, 3e-3)]
    left = _Queue(list(jobs), runs_together=100)
    taken = left.take(None, set())
    assert taken == jobs
    ending = Ending(how="was killed", where="logs")
    assert {left.lost(one, ending, 0, 0, company=True).kind for one in taken} == {"again"}
    again = [left.take(None, set()) for _ in jobs]
    assert [len(one) for one in again] == [1, 1, 1]
    assert left.lost(again[0][0], ending, 0, 0).kind == "failed"


def test_a_stage_ends_where_every_cell_fails_alike_and_goes_on_where_a_seed_did_not():
    def observe(count, **event):
        same = _SameFailure()
        for _ in range(count):
            same.observe(Event(kind="failed", job=CellJob(specs=tuple(_cell(2)), env_steps=400, target=None), worker=0, **event))

    observe(SAME_FAILURES - 1, message="2 of 2 seeds: no luck")
    observe(3 * SAME_FAILURES, message="1 of 2 seeds: no luck", partly=True)
    with pytest.raises(StageFailure, match="the first 6 cells all failed: 2 of 2 seeds: no luck"):
        observe(SAME_FAILURES, message="2 of 2 seeds: no luck")


def test_an_error_in_a_job_is_one_sentence_and_the_rest_go_on(tmp_path):
    broken = CellJob(specs=tuple(_cell(1, task="Nowhere-v1", batch_size=64)), env_steps=4000, target=None)
    other = CellJob(specs=tuple(_cell(1)), env_steps=400, target=None)
    events = _run([other, broken], tmp_path, lambda *_: False)
    ends = {event.job: event for event in events if event.kind in ("done", "failed")}
    assert (ends[broken].kind, ends[other].kind) == ("failed", "done")
    assert "Nowhere-v1" in ends[broken].message
    assert "\n" not in ends[broken].message


# --- cells that advance together, as on a GPU


@pytest.mark.slow
def test_cells_that_share_shapes_are_trained_together_and_each_ends_for_itself(tmp_path):
    jobs = [CellJob(specs=tuple(_cell(2, learning_rate=rate)), env_steps=400, target=None) for rate in (1e-3, 2e-3)]
    alone = CellJob(specs=tuple(_cell(1, batch_size=32)), env_steps=200, target=None)
    events: list[Event] = []
    environment = single_thread_environment(cache_directory())
    with closing(LocalPool(tmp_path, workers=1, environment=environment)) as pool:
        run_jobs(pool, [*jobs, alone], tmp_path, on_event=events.append, runs_together=4)
    starts = [event.job for event in events if event.kind == "start"]
    ends = [event.job for event in events if event.kind == "done"]
    assert len(starts) == len(ends) == 3
    assert starts.index(jobs[1]) == starts.index(jobs[0]) + 1, "two cells of two runs each fill the batch"
    statuses = RunStore(tmp_path).statuses()
    assert {statuses[spec.run_id].last_step for job in jobs for spec in job.specs} == {400}
    assert statuses[alone.specs[0].run_id].last_step == 200


def test_cells_too_many_for_the_devices_memory_come_back_in_smaller_company():
    jobs = [CellJob(specs=tuple(_cell(2, learning_rate=rate)), env_steps=400, target=None) for rate in (1e-3, 2e-3, 3e-3, 4e-3)]
    left = _Queue(list(jobs), runs_together=100)
    taken = left.take(None, set())
    assert taken == jobs
    events: list[Event] = []
    _raised(taken, "XlaRuntimeError: RESOURCE_EXHAUSTED: out of memory", 0, left, events.append)
    assert events == []
    assert [left.take(None, set()), left.take(None, set())] == [jobs[:2], jobs[2:]]
    _raised(jobs[:1], "XlaRuntimeError: RESOURCE_EXHAUSTED: out of memory", 0, left, events.append)
    assert [event.kind for event in events] == ["failed"], "one cell alone has no smaller company"


def test_memory_that_suffices_for_no_two_runs_is_a_failure_and_no_endless_trying():
    jobs = [CellJob(specs=tuple(_cell(1, learning_rate=rate)), env_steps=400, target=None) for rate in (1e-3, 2e-3, 3e-3)]
    left = _Queue(list(jobs), runs_together=100)
    events: list[Event] = []
    _raised(left.take(None, set()), "XlaRuntimeError: RESOURCE_EXHAUSTED: out of memory", 0, left, events.append)
    assert (left.runs_together, events) == (2, [])
    _raised(left.take(None, set()), "XlaRuntimeError: RESOURCE_EXHAUSTED: out of memory", 0, left, events.append)
    assert [event.kind for event in events] == ["failed", "failed"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into processes as Linux shows them")
def test_each_gpu_has_one_worker_on_all_cores(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5")
    monkeypatch.setattr("tdscale.training.devices.gpu_problem", lambda: None)
    engine = TrainingOptions(workers=32).engine()
    assert engine.gpu
    assert engine.workers == TrainingOptions(device=Device.gpu).engine().workers == 2
    with closing(engine.pool(tmp_path, custom=False, quick=False)) as pool:
        pool.want(10)
        assert sorted(pool.answers.get()[0] for _ in range(2)) == [0, 1]
        assert pool.answers.empty()
        pids = [pool._slots[slot].process.pid for slot in (0, 1)]
        deadline = time.monotonic() + 60
        # empty for a moment, while the process becomes another program
        while not all(written := [Path(f"/proc/{pid}/environ").read_bytes() for pid in pids]):
            assert time.monotonic() < deadline
        seen = [environ.split(b"\0") for environ in written]
        assert [[line for line in lines if line.startswith(b"CUDA_VISIBLE_DEVICES")] for lines in seen] == [
            [b"CUDA_VISIBLE_DEVICES=2"],
            [b"CUDA_VISIBLE_DEVICES=GPU-5"],
        ]
        assert not pool._pinned
        assert all(os.sched_getaffinity(pid) == os.sched_getaffinity(0) for pid in pids)


# --- the parent that dies, and a second one

STUDY = """\
name = "long"
algorithm = "sac"
return_thresholds = [1000]

[tasks.Pendulum-v1]
low = -2000
high = 0

[sweep]
utd = [1]
batch_size = [16]
learning_rate = [1e-3, 2e-3]
seeds = 1

[limits]
env_steps = 100000000

[settings]
hidden_sizes = [8]
update_block = 8
"""


def _until(true, seconds=120.0):
    for _ in range(int(seconds / 0.1)):
        if true():
            return True
        time.sleep(0.1)
    return False


@proc_only
def test_a_second_run_is_refused_and_workers_do_not_outlive_a_killed_parent(tmp_path):
    (tmp_path / "long.toml").write_text(STUDY)
    arguments = ("run", "long.toml", "--dir", "long", "--workers", "2")
    with start(*arguments, cwd=tmp_path, start_new_session=True) as parent:
        try:
            assert _until(lambda: len(_workers(parent.pid)) == 2)
            workers = _workers(parent.pid)
            assert _until((tmp_path / "long" / "progress.json").exists)
            second = tdscale(*arguments, cwd=tmp_path)
            assert (second.returncode, second.stdout) == (2, "")
            assert second.stderr.startswith("tdscale: long: another process is running this study")
            assert second.stderr.count("\n") == 1
            status = called("status", "long", "--json", cwd=tmp_path)
            assert json.loads(status.stdout)["running"] is True
            assert parent.poll() is None
            parent.kill()
            parent.wait()
            assert _until(lambda: not any(b"tdscale.running.worker" in _command_line(pid) for pid in workers), 30)
        finally:
            try:
                os.killpg(parent.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    status = called("status", "long", "--json", cwd=tmp_path)
    assert json.loads(status.stdout)["running"] is False


def test_a_worker_ends_when_its_input_ends():
    with subprocess.Popen([sys.executable, "-m", "tdscale.running.worker", "-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        output, _ = worker.communicate(timeout=120)
    assert (worker.returncode, output) == (0, b"")
