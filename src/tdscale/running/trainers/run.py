"""`CustomRun`: one run of the user's trainer, in a process that can be paused."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tdscale.errors import UserError
from tdscale.running.trainers.costs import read_report, run_costs
from tdscale.running.trainers.curve_file import CurveFile
from tdscale.running.trainers.trainer import CustomTrainer
from tdscale.runs.types import ENV_STEP, RETURN, RunResult, RunState, RunStatus
from tdscale.study import RunSpec, filled
from tdscale.whole_file import write_whole

if TYPE_CHECKING:
    from tdscale.training.schedule import ReturnCurve

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_ENDED = "ended.json"
_LOCK = ".supervisor.lock"
_PATIENCE = 10.0  # seconds, in which the supervisor of a killed worker ends its trainer
_REASON = 200  # characters of a program's last words


class CustomRun:
    """A run: not started, running, paused, or ended.

    Attributes:
        state: its state, if known (`runs.types.RunStatus`).
        over: nothing more will come of it.
    """

    def __init__(self, spec: RunSpec, trainer: CustomTrainer, env_steps: int, *, directory: Path, work: Path) -> None:
        """Take up what an earlier call left.

        Args:
            spec: the run.
            trainer: what trains it.
            env_steps: its limit.
            directory: the study's folder.
            work: the run's own folder, which stays until its result is stored.
        """
        self.spec, self.trainer, self.limit = spec, trainer, env_steps
        self.state: RunState = "finished"
        self.reason: str | None = None
        self.over = False
        self.seconds = 0.0
        # the trainer runs in another folder
        self._directory, self._work = directory.resolve(), work.resolve()
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._since = 0.0
        self._tries = 0
        self._work.mkdir(parents=True, exist_ok=True)
        self._file = CurveFile(self._work)
        self._take_up()

    @property
    def env_step(self) -> int:
        """Its env step: the last row of its curve, or its limit once it has exited with status 0."""
        if self.over and self.state == "finished":
            return self.limit
        return min(self._file.last_step, self.limit)

    @property
    def going(self) -> bool:
        """False once it has diverged or failed."""
        return self.state == "finished"

    @property
    def at_work(self) -> bool:
        """Whether it has a process that is not paused."""
        return self._process is not None and not self._paused

    def return_curve(self, env_step: int) -> "ReturnCurve":
        """Its returns up to an env step."""
        from tdscale.training.schedule import ReturnCurve

        curve = self._file.curve(env_step)
        return ReturnCurve(curve[ENV_STEP], curve[RETURN])

    def go(self) -> None:
        """Start, or continue after a pause."""
        if self.over or self.at_work:
            return
        self._since = time.monotonic()
        if self._process is None:
            self._begin()
        else:
            self._tell(b"g")
        self._paused = False

    def pause(self) -> None:
        """Stand still, as it is, until `go`."""
        if self.at_work:
            self._tell(b"p")
            self._paused = True
            self.seconds += time.monotonic() - self._since

    def attend(self) -> None:
        """See what it has written, and whether it has ended."""
        if self.over or self._process is None:
            return
        ended = self._process.poll() is not None
        try:
            self._file.read()
            if ended:
                self._file.close()
        except UserError as error:
            if ended:
                self._ended(str(error))
            else:
                self.end()
                self._fail(str(error))
            return
        if self._file.diverged_at is not None:
            self.end()
            self._diverge()
        elif ended:
            self._ended()

    def end(self) -> None:
        """Its process ends now."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if not self._paused:
            self.seconds += time.monotonic() - self._since
        self._paused = False
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait()
        process.stdout.close()
        for log in self._logs():
            if log.exists() and not log.stat().st_size:
                log.unlink()

    def tell_end(self) -> None:
        """Ask its process to end; `end` waits for that."""
        if self._process is not None:
            self._tell(b"t")

    def result(self, end: int, notes: dict[str, Any]) -> RunResult:
        """The run, up to an env step."""
        state, reason = self.state, self.reason
        step = self._file.diverged_at if state == "diverged" and self._file.diverged_at is not None else self.env_step
        if state == "diverged" and step > end:
            state, reason = "finished", None
        last_step = end if state == "finished" else min(step, end)
        report, _ = read_report(self._work / "report.json")
        costs = run_costs(self.spec, report, last_step, whole=state == "finished" and end >= self.limit, trainer=self.trainer)
        return RunResult(
            spec=self.spec,
            columns=self._file.curve(last_step),
            status=RunStatus(
                state=state,
                last_step=last_step,
                reason=reason,
                wall_seconds=self.seconds,
                versions=self.trainer.versions | report.get("versions", {}),
                notes=notes,
                **costs,
            ),
        )

    def report_problem(self) -> str | None:
        """What is wrong with what it reported of itself, or None."""
        return read_report(self._work / "report.json")[1]

    def _take_up(self) -> None:
        """A run that ended within an interrupted call is not run again."""
        try:
            ended = json.loads((self._work / _ENDED).read_text(encoding="utf-8"))
            if ended["env_steps"] == self.limit:
                self._file.read()
                self._file.close()
                self.seconds = float(ended.get("seconds", 0.0))
                self.over = True
                if self._file.diverged_at is not None:
                    self._diverge()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
            self._file = CurveFile(self._work)

    def _begin(self) -> None:
        self._tries += 1
        self._await_earlier()
        for name in (_ENDED, "report.json"):
            (self._work / name).unlink(missing_ok=True)
        if self.trainer.goes_on:
            self._keep()
        else:
            self._file.forget()
        paths = {
            name: str(self._work / file) for name, file in (("output", "output.csv"), ("report", "report.json"), ("spec", "spec.json"))
        }
        paths["checkpoint"] = str(self._work / "state")
        (self._work / "state").mkdir(exist_ok=True)
        size = self.trainer.size_of(self.spec)
        write_whole(self._work / "spec.json", json.dumps({**paths, "spec": self.spec.to_dict(), "env_steps": self.limit, **size}).encode())
        if self.trainer.command is not None:
            command = filled(self.trainer.command, self.spec, self.limit, paths, size)
        else:
            # -P: what lies in the working directory is not on the path
            command = [sys.executable, "-P", "-m", "tdscale.running.trainers.function", str(self.trainer.function), str(self._directory)]
            command.append(paths["spec"])
        logs = self._logs()
        self._said = logs[1].stat().st_size if logs[1].exists() else 0
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SUPERVISOR), str(self._work / _LOCK), self.trainer.folder, *map(str, logs), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # what can't be written must not come back when it is closed
            start_new_session=True,
        )

    def _await_earlier(self) -> None:
        """A worker that was killed leaves a trainer that still saves its state: two must not write into one folder."""
        with suppress(Timeout, OSError), FileLock(self._work / _LOCK, timeout=_PATIENCE):
            pass

    def _keep(self) -> None:
        try:
            self._file.read()
            self._file.close()
        except UserError:
            pass  # a line that was being written when it was interrupted
        self._file.keep()

    def _ended(self, problem: str | None = None) -> None:
        """By itself, with a curve that may have a problem: how it ended says more than the line that it was writing then."""
        assert self._process is not None
        assert self._process.stdout is not None
        how = self._process.stdout.read().decode(errors="replace").strip()
        self.end()
        if how == "0" and problem is not None:
            self._fail(problem)
        elif how == "0":
            self._ended_well()
        else:
            self._fail(self._last_words(how))

    def _ended_well(self) -> None:
        report, _ = read_report(self._work / "report.json")
        reached = report.get("env_steps", self._file.last_step)
        # episodes end when they end: the last row is not at the limit, but near
        room = max(self._file.longest_gap(), self.limit // 20)
        if self._file.waited:
            self._fail("exited with status 0, but every return in its CSV file is nan: no episode ended, or it diverged before one did")
        elif not self._file.rows:
            self._fail("exited with status 0, but wrote no return into its CSV file")
        elif reached + room < self.limit:
            self._fail(f"exited with status 0, but after env step {reached} of {self.limit}")
        else:
            self._leave()

    def _diverge(self) -> None:
        self.state, self.reason = "diverged", f"its return is not finite at env step {self._file.diverged_at}"
        self._leave()

    def _leave(self) -> None:
        self.over = True
        write_whole(self._work / _ENDED, json.dumps({"env_steps": self.limit, "seconds": self.seconds}).encode())

    def _fail(self, why: str) -> None:
        if self._tries <= self.trainer.retries:
            return  # it has no process: its next turn begins it again
        self.state, self.reason, self.over = "failed", why, True

    def _last_words(self, how: str) -> str:
        """How a program ended that did not end well, with the last line that it wrote to standard error."""
        if how.startswith("can't"):
            return f"{(self.trainer.command or ('function',))[0]} {how}"
        code = int(how) if how.lstrip("-").isdigit() else None
        said = "was lost" if code is None else f"was killed by signal {-code}" if code < 0 else f"exit code {code}"
        log = self._logs()[1]
        if not log.exists():
            return said
        with log.open("rb") as file:
            file.seek(max(self._said, log.stat().st_size - 4096))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return f"{lines[-1].strip()[:_REASON]} ({said})" if lines else said

    def _logs(self) -> tuple[Path, Path]:
        folder = self._directory / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.spec.run_id}.out", folder / f"{self.spec.run_id}.err"

    def _tell(self, letter: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(letter)
        except BrokenPipeError:
            pass  # it has ended; `attend` sees it
