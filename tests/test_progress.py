"""The time left: by work done, never before it can be told."""

import pytest

from tdscale.cli.progress import TimeLeft
from tdscale.cli.words import duration
from tdscale.execution import CellJob, Target
from tdscale.study import RunSpec


def job(utd: float) -> CellJob:
    spec = RunSpec(algorithm="sac", suite="gymnasium", task="T", utd=utd, batch_size=64, learning_rate=1e-3, seed=0, stage="sweep")
    return CellJob(specs=(spec,), env_steps=1000, target=Target(return_threshold=0.0, margin=0.1))


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
