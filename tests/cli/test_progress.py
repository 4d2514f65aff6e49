"""The time left: by work done, never before it can be told."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tdscale.cli.console import duration
from tdscale.cli.progress import RunDisplay, TimeLeft
from tdscale.running import Event
from tdscale.study import CellJob, RunSpec, StopTarget


def job(utd: float) -> CellJob:
    spec = RunSpec(algorithm="sac", suite="gymnasium", task="T", utd=utd, batch_size=64, learning_rate=1e-3, seed=0, stage="sweep")
    return CellJob(specs=(spec,), env_steps=1000, target=StopTarget(return_threshold=0.0, margin=0.1))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("tdscale.cli.progress.time.monotonic", lambda: now[0])
    return now


def test_nothing_is_told_while_the_first_cell_compiles(clock: list[float]) -> None:
    left, first = TimeLeft(), job(1)
    left.begin([first], [])
    clock[0] = 60.0
    assert left.seconds({0: 0.01}, {0: first}) is None


def test_equal_cells_take_equal_times(clock: list[float]) -> None:
    left, jobs = TimeLeft(), [job(utd) for utd in (1, 1.001, 1.002, 1.003)]
    left.begin(jobs, [])
    clock[0] = 100.0
    left.ended(jobs[0], 0.5)
    assert left.seconds({}, {}) == pytest.approx(300, rel=0.01)
    # a cell under way counts as far as it is, and later stages count, too
    assert left.seconds({0: 0.25}, {0: jobs[1]}) == pytest.approx((3 * 0.5 - 0.25) * 100 / 0.75, rel=0.01)
    left.begin(jobs, jobs)
    clock[0] = 200.0
    left.ended(jobs[0], 0.5)
    assert left.seconds({}, {}) == pytest.approx(700, rel=0.01)


def test_cells_that_only_fail_leave_the_time_open(clock: list[float]) -> None:
    left, jobs = TimeLeft(), [job(1), job(2)]
    left.begin(jobs, [])
    clock[0] = 60.0
    left.ended(jobs[0], 0.0)
    assert left.seconds({}, {}) is None


def test_durations_as_people_say_them() -> None:
    assert [duration(s) for s in (40, 700, 12_000)] == ["40 s", "12 min", "3 h 20 min"]


def test_what_a_resumed_cell_had_done_before_is_no_sign_of_speed(clock: list[float]) -> None:
    left, first = TimeLeft(), job(1)
    left.begin([first], [])
    clock[0] = 100.0
    left.ended(job(2), 1.0, 0.9)
    # a tenth of a cell in 100 s, and 0.2 of the other, which stood at 0.5 when it was taken up
    work = 0.1 * job(2).cost + 0.2 * first.cost
    assert left.seconds({0: 0.7}, {0: first}, {0: 0.5}) == pytest.approx(0.3 * first.cost * 100 / work)


def test_the_display_counts_as_work_only_what_was_done_since_and_keeps_to_its_rows(clock: list[float], tmp_path: Path) -> None:
    out = io.StringIO()
    jobs = [job(1 + index) for index in range(30)]
    with RunDisplay(tmp_path, Console(file=out, force_terminal=True, width=160), 300) as display:
        display.stage("sweep", jobs, 0, [])
        for worker, one in enumerate(jobs):
            display.event(Event(kind="start", job=one, worker=worker))
            display.event(Event(kind="progress", job=one, worker=worker, done=500))
        clock[0] = 10.0
        for worker, one in enumerate(jobs):
            display.event(Event(kind="progress", job=one, worker=worker, done=510))
        clock[0] = 20.0
        display.event(Event(kind="done", job=jobs[0], worker=0, done=600))
        now = json.loads((tmp_path / "progress.json").read_text())
        rows = [task for task in display._progress.tasks if task.visible]
        assert len(rows) == 9
        assert rows[-1].fields["count"] == "and 21 workers more"
    assert now["env_steps_per_second"] == pytest.approx((30 * 10 + 90) / 20)
    assert now["runs_per_hour"] == pytest.approx(180)
    assert not (tmp_path / "progress.json").exists()


def test_a_log_file_gets_plain_lines(tmp_path: Path) -> None:
    out, one = io.StringIO(), job(1)
    with RunDisplay(tmp_path, Console(file=out, soft_wrap=True), 2) as display:
        display.stage("sweep", [one], 0, [])
        display.event(Event(kind="start", job=one, worker=0))
        display.event(Event(kind="failed", job=one, worker=0, message="its worker died"))
    assert "its worker died" in out.getvalue()
    assert not set(out.getvalue()) & {"\x1b", "\r"}


def test_where_cells_usually_stop_makes_up_the_time_left_before_any_has_ended(clock: list[float]) -> None:
    left, jobs = TimeLeft(), [replace(job(utd), likely_env_steps=200) for utd in (1, 1.001)]
    left.begin(jobs, jobs)
    clock[0] = 60.0
    # a tenth of the limit, half of what is likely, in a minute: as much again, one more cell, and both of the later stage
    assert left.seconds({0: 0.1}, {0: jobs[0]}) == pytest.approx(60 * (1 + 2 + 4), rel=0.01)


def test_a_log_gets_a_line_a_minute_with_the_time_at_which_it_ends(clock: list[float], tmp_path: Path) -> None:
    out, jobs = io.StringIO(), [job(1 + index) for index in range(3)]
    with RunDisplay(tmp_path, Console(file=out, soft_wrap=True), 1) as display:
        display.stage("sweep", jobs, 0, [])
        display.event(Event(kind="start", job=jobs[0], worker=0))
        for second in range(10, 200, 10):
            clock[0] = float(second)
            display.event(Event(kind="progress", job=jobs[0], worker=0, done=2 * second))
    lines = [line for line in out.getvalue().splitlines() if "0 of 3 cells" in line]
    assert len(lines) == 3
    assert re.fullmatch(r"stage 1.*: 0 of 3 cells, about [0-9]+ min left, until [0-2][0-9]:[0-5][0-9]( tomorrow)?", lines[-1])
