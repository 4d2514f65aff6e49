"""Cells trained by a command or a function of the user's own: real processes, what becomes of them, and what is left of them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tdscale.running.trainers.cell import train_custom_cell
from tdscale.running.trainers.trainer import CustomTrainer
from tdscale.runs.types import RunResult
from tdscale.study import CellJob, RunSpec, StopTarget
from tdscale.training import Stopped

# writes 20 rows, each 50 env steps and 1 higher than the last; what else it does, by its task's name
SCRIPT = """\
import json, os, signal, subprocess, sys, time
task, seed, limit, output, checkpoint = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
folder = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(folder, f"tries-{seed}"), "a") as file:
    print(os.getpid(), file=file)
begin = 50
state = os.path.join(checkpoint, "step")
if os.path.exists(state):
    begin = int(open(state).read()) + 50
first = not os.path.exists(os.path.join(folder, "began"))
open(os.path.join(folder, "began"), "a").write(f"{begin}\\n")
if task == "lingers" and first:
    def save(*_):
        time.sleep(1.5)
        open(state, "w").write("500")
        sys.exit(0)
    signal.signal(signal.SIGTERM, save)
if task == "stubborn":
    child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
    open(os.path.join(folder, "grandchild"), "w").write(str(child.pid))
with open(output, "w", buffering=1) as file:
    print("env_step,return,extra", file=file)
    for step in range(begin, limit + 1, 50):
        if task == "nan" and seed == 1 and step == 300:
            print("300,nan,x", file=file)
            time.sleep(600)
        if task == "crash" and seed == 1 and step == 300:
            sys.exit("first line\\nout of luck")
        print(f"{step},{step / 50 + seed},x", file=file)
        if task == "stubborn" and step == 500 or task == "lingers" and step == 500 and first:
            time.sleep(600)
        if task == "saves" and seed == 1 and step == 500:
            open(state, "w").write("400")
            if begin == 50:
                time.sleep(600)
if task == "short":
    open(output, "w").write("env_step,return\\n50,1\\n100,2\\n")
"""
LIMIT = 1000


def _job(task: str, seeds: int = 2, target: StopTarget | None = None) -> CellJob:
    specs = tuple(
        RunSpec(algorithm="own", suite="own", task=task, utd=2, batch_size=8, learning_rate=0.1, seed=seed, stage="sweep")
        for seed in range(seeds)
    )
    return CellJob(specs=specs, env_steps=LIMIT, target=target)


@pytest.fixture
def trainer(tmp_path: Path) -> CustomTrainer:
    (tmp_path / "train.py").write_text(SCRIPT)
    command = (sys.executable, "train.py", "{task}", "{seed}", "{env_steps}", "{output}", "{checkpoint}")
    return CustomTrainer(
        command=command, function=None, folder=str(tmp_path), retries=0, stop_early=True, model_size=100, actor_size=None, versions={}
    )


def _train(job: CellJob, trainer: CustomTrainer, stop: threading.Event | None = None) -> list[RunResult]:
    folder, done = Path(trainer.folder), []
    stop = stop or threading.Event()
    results = train_custom_cell(job, trainer, folder / "study", folder.joinpath, report=done.append, note=pytest.fail, stop=stop)
    assert done == sorted(done)
    return results


def _tries(trainer: CustomTrainer, seed: int) -> int:
    return len((Path(trainer.folder) / f"tries-{seed}").read_text().split())


def _gone(pid: int) -> bool:
    """Whether a process has ended, within some seconds; one that only its parent has not asked after has."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_what_a_command_writes_becomes_the_runs_curve(trainer):
    results = _train(_job("plain"), trainer)
    assert [result.status.state for result in results] == ["finished"] * 2
    first = results[0]
    assert first.columns["env_step"].tolist() == list(range(50, LIMIT + 1, 50))
    assert first.columns["return"].tolist() == list(range(1, 21))
    assert (first.status.last_step, first.status.critic_updates, first.status.critic_update_flops) == (LIMIT, 2 * LIMIT, 1000)
    assert first.status.flops == 8 * 2 * LIMIT * 1000
    assert not list((Path(trainer.folder) / "study" / "logs").iterdir())


def test_a_seed_that_fails_says_why_and_the_others_go_on(trainer):
    results = _train(_job("crash"), replace(trainer, retries=2))
    assert [result.status.state for result in results] == ["finished", "failed"]
    assert results[1].status.reason == "out of luck (exit code 1)"
    assert (_tries(trainer, 0), _tries(trainer, 1)) == (1, 3)
    (log,) = (Path(trainer.folder) / "study" / "logs").iterdir()
    assert log.name == f"{results[1].spec.run_id}.err"


def test_a_return_that_is_not_a_number_is_a_divergence(trainer):
    results = _train(_job("nan"), trainer)
    assert [(result.status.state, result.status.last_step) for result in results] == [("finished", LIMIT), ("diverged", 300)]
    assert results[1].status.reason == "its return is not finite at env step 300"
    assert results[1].columns["env_step"].tolist() == [50, 100, 150, 200, 250]


def test_a_trainer_that_ends_too_early_has_not_reached_its_limit(trainer):
    (result,) = _train(_job("short", 1), trainer)
    assert (result.status.state, result.status.reason) == ("failed", "exited with status 0, but after env step 100 of 1000")


def test_a_program_that_is_not_there_is_a_reason(trainer):
    (result,) = _train(_job("plain", 1), replace(trainer, command=("./nothing", "{output}")))
    assert result.status.reason == "./nothing can't be started: No such file or directory"


def test_a_cell_stops_as_one_and_nothing_outlives_it(trainer):
    """All seeds stand at one env step; what a trainer started, and would not end, is ended."""
    results = _train(_job("stubborn", 3, StopTarget(return_threshold=2.5, margin=0.1)), trainer)
    ends = {result.status.last_step for result in results}
    assert len(ends) == 1
    assert ends < set(range(100, 501))
    assert {result.status.notes["stopped_at_return"] for result in results} == {2.5}
    assert all(result.columns["env_step"][-1] <= result.status.last_step for result in results)
    pids = [int(pid) for seed in range(3) for pid in (Path(trainer.folder) / f"tries-{seed}").read_text().split()]
    assert all(_gone(pid) for pid in [*pids, int((Path(trainer.folder) / "grandchild").read_text())])


def test_a_run_that_was_interrupted_goes_on_and_a_finished_one_is_not_run_again(trainer):
    stop = threading.Event()
    job = _job("saves")

    def watch() -> None:
        output = Path(trainer.folder) / job.specs[1].run_id / "output.csv"
        while not output.exists() or "\n500," not in output.read_text():
            time.sleep(0.02)
        stop.set()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with pytest.raises(Stopped):
        _train(job, trainer, stop)
    results = _train(job, trainer)
    assert [result.status.last_step for result in results] == [LIMIT, LIMIT]
    assert results[1].columns["env_step"].tolist() == list(range(50, LIMIT + 1, 50))
    assert (_tries(trainer, 0), _tries(trainer, 1)) == (1, 2)
    assert all(result.status.wall_seconds > 0 for result in results)


def test_what_a_killed_workers_trainer_still_saves_is_waited_for(trainer):
    code = (
        "import sys, test_custom_trainer as t\n"
        "trainer = t.CustomTrainer.from_message(__import__('json').loads(sys.argv[1]))\n"
        "t._train(t._job('lingers', 1), trainer)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, json.dumps({**trainer.__dict__})], cwd=Path(__file__).parent)
    job = _job("lingers", 1)
    output = Path(trainer.folder) / job.specs[0].run_id / "output.csv"
    while worker.poll() is None and not (output.exists() and "\n500," in output.read_text()):
        time.sleep(0.02)
    worker.kill()
    worker.wait()
    (result,) = _train(job, trainer)
    assert (Path(trainer.folder) / "began").read_text().split() == ["50", "550"]
    assert result.columns["env_step"].tolist() == list(range(50, LIMIT + 1, 50))


def test_a_worker_that_is_killed_takes_its_trainer_along(trainer):
    """kill -9: nobody is left to tell it to end but its supervisor."""
    code = (
        "import sys, test_custom_trainer as t; from pathlib import Path; from dataclasses import replace\n"
        "trainer = t.CustomTrainer.from_message(__import__('json').loads(sys.argv[1]))\n"
        "t._train(t._job('stubborn', 1), trainer)"
    )
    message = json.dumps({**trainer.__dict__})
    worker = subprocess.Popen([sys.executable, "-c", code, message], cwd=Path(__file__).parent)
    grandchild = Path(trainer.folder) / "grandchild"
    while worker.poll() is None and not (grandchild.exists() and grandchild.read_text()):
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert _gone(int((Path(trainer.folder) / "tries-0").read_text()))
    assert _gone(int(grandchild.read_text()))


def test_no_argument_reaches_a_shell(tmp_path, trainer):
    (tmp_path / "arguments.py").write_text(
        "import json, sys\njson.dump(sys.argv[2:], open('arguments.json', 'w'))\nopen(sys.argv[1], 'w').write('1000,1')\n"
    )
    task = "--help; touch smuggled $(touch smuggled) `touch smuggled`\n| > x"
    command = (sys.executable, "arguments.py", "{output}", "{task}", "; touch smuggled", "$(touch smuggled)", "--x={task}", "*")
    (result,) = _train(_job(task, 1), replace(trainer, command=command))
    assert result.status.state == "finished"
    assert json.loads((tmp_path / "arguments.json").read_text()) == [task, *command[4:6], f"--x={task}", "*"]
    assert not (tmp_path / "smuggled").exists()


FUNCTIONS = """\
def pairs(run):
    run.report(critic_parameters=100, actor_parameters=10, update_seconds=2.5)
    return [(step, step / run.utd) for step in range(100, run.env_steps + 1, 100)]

def wrong(run):
    yield 100, "high"

def misreports(run):
    run.report(parameters=100)

def none(run):
    pass
"""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pairs", None),
        ("wrong", "the function yielded (100, 'high'); it must yield pairs of env_step and return (exit code 1)"),
        ("misreports", "report: 'parameters' is not known; known are critic_parameters"),
        ("none", "the function returned NoneType; it must yield or return pairs"),
    ],
)
def test_a_function_is_called_with_its_run(tmp_path, trainer, name, reason):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "functions.py").write_text(FUNCTIONS)
    (result,) = _train(_job("plain", 1), replace(trainer, command=None, function=f"functions:{name}"))
    if reason is not None:
        assert result.status.state == "failed"
        assert result.status.reason.startswith(reason)
        return
    assert result.columns["return"].tolist() == [step / 2 for step in range(100, LIMIT + 1, 100)]
    status = result.status
    assert (status.critic_update_flops, status.actor_update_flops, status.update_seconds) == (820, 660, 2.5)
    assert (status.critic_updates, status.actor_updates) == (2 * LIMIT, LIMIT)
