"""A run that went on from checkpoints is, bit for bit, the run that never stopped."""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdscale.errors import UserError
from tdscale.runs.types import RunResult
from tdscale.study import RunSpec
from tdscale.tasks import make_task
from tdscale.tasks.task import TaskGroup
from tdscale.training import CellJob, StopTarget, train_cells
from tdscale.training.checkpoint import Saving, Stopped

toys = pytest.importorskip("toys", reason='needs pip install "tdscale[train]"')
walk_spec = toys.walk_spec


class _After(threading.Event):
    """Set once it was asked so many times, which training does at every step of the environments."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def saving(path: Path, told: list[str] | None = None, **options: Any) -> Saving:
    tell: Callable[[str], None] = pytest.fail if told is None else told.append
    return Saving(directory=lambda run_id: path / run_id / "checkpoint", tell=tell, **options)


def train(
    path: Path | None,
    *specs: RunSpec,
    env_steps: int = 200,
    target: StopTarget | None = None,
    stops: Sequence[int] = (),
    together: bool = False,
    told: list[str] | None = None,
    keep: bool = False,
) -> list[RunResult]:
    """Train a cell, stopped after so many steps since it was last begun, and begun again."""
    goals = [CellJob(specs=specs, env_steps=env_steps, target=target)]
    for stop in stops:
        assert path is not None
        with pytest.raises(Stopped):
            list(train_cells(goals, together=together, saving=saving(path, told, stop=_After(stop))))
    last = None if path is None else saving(path, told, keep=keep)
    ((_, results),) = train_cells(goals, together=together, saving=last)
    if last is not None:
        last.stored(specs)
    return results


def assert_same(found: Sequence[RunResult], wanted: Sequence[RunResult]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert list(one.columns) == list(other.columns)
        for name, values in other.columns.items():
            assert one.columns[name].tobytes() == values.tobytes(), name
        timed = ("wall_seconds", "env_seconds", "update_seconds")
        assert replace(one.status, **dict.fromkeys(timed)) == replace(other.status, **dict.fromkeys(timed))


def spec_of(seed: int = 0, task: str = "Walk-v0", **options: Any) -> RunSpec:
    """All of one shape: one compilation serves them."""
    return walk_spec(seed, task, utd=0.7, **({"update_block": 4} | options))


MEASURED: dict[str, Any] = {"evaluation_interval": 70, "diagnostics_interval": 50, "replay_capacity": 30}
SPECS = {
    "one environment": spec_of(**MEASURED),
    "several environments, n-step returns": spec_of(**MEASURED, environments=4, n_step=3),
}


@pytest.mark.parametrize("which", SPECS)
def test_stopped_anywhere_and_resumed_it_is_the_run_that_never_stopped(tmp_path: Path, which: str) -> None:
    spec = SPECS[which]
    wanted = train(None, spec)
    steps = 200 // spec.settings.get("environments", 1)
    # in warm-up, right after it, within an episode and a block of updates, at an episode's end
    for stops in ((5, 8, 21), (steps // 5, steps // 2), (steps // 3 + 1,)):
        assert_same(train(tmp_path, spec, stops=stops), wanted)
        assert list(tmp_path.iterdir()) == [], "what is done needs no checkpoint"


def test_a_cell_stops_where_it_would_have_stopped(tmp_path: Path) -> None:
    cell, target = [spec_of(0), spec_of(1)], StopTarget(return_threshold=-1000.0, margin=0.5)
    wanted = train(None, *cell, env_steps=1000, target=target)
    assert wanted[0].status.last_step == 100
    # the first seed is stopped, or the second, before and after the threshold is known to be crossed
    for stop in (15, 30, 95, 125):
        assert_same(train(tmp_path, *cell, env_steps=1000, target=target, stops=[stop]), wanted)


def test_runs_that_advance_together_resume_together(tmp_path: Path) -> None:
    cell = [spec_of(seed) for seed in range(2)]
    wanted = train(None, *cell, env_steps=120, together=True)
    assert_same(train(tmp_path, *cell, env_steps=120, together=True, stops=[30, 55]), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [19, 22, 25])
def test_batches_that_take_turns_stop_at_one_step_and_go_on_as_they_were(tmp_path: Path, stop: int) -> None:
    cell = [spec_of(seed) for seed in range(10)]
    goals = [CellJob(specs=tuple(cell), env_steps=60, target=None)]
    with pytest.raises(Stopped):
        list(train_cells(goals, together=True, saving=saving(tmp_path, stop=_After(stop))))
    left = saving(tmp_path).find(cell)
    assert len(left) == len(cell)
    assert len({checkpoint.values["steps"] for checkpoint in left.values()}) == 1
    assert_same(train(tmp_path, *cell, env_steps=60, together=True), train(None, *cell, env_steps=60, together=True))


def test_a_diverged_run_stays_diverged_and_a_failed_one_is_tried_again(tmp_path: Path) -> None:
    (diverged,) = train(None, spec_of(learning_rate=1e20))
    (resumed,) = train(tmp_path, spec_of(learning_rate=1e20), stops=[20])
    assert_same([resumed], [diverged])
    toys.Walk.instances = 0
    both = [spec_of(0, "WalkRaises-v0"), spec_of(1, "WalkRaises-v0")]
    failed, healthy = train(tmp_path, *both, stops=[50, 60])
    # its environment is a new one since, which does not raise at its 75th step
    assert [result.status.state for result in (failed, healthy)] == ["finished", "finished"]


def test_a_kept_checkpoint_lets_a_raised_limit_go_on(tmp_path: Path) -> None:
    spec = spec_of()
    train(tmp_path, spec, env_steps=110, keep=True)
    before = _bytes_of_rows(tmp_path)
    assert before > 0
    goals = [CellJob(specs=(spec,), env_steps=200, target=None)]
    with pytest.raises(Stopped):  # at its first step: it has one step to write
        list(train_cells(goals, saving=saving(tmp_path, stop=_After(0))))
    assert _bytes_of_rows(tmp_path) == before + 4 * 7
    assert_same(train(tmp_path, spec, keep=False), train(None, spec))


def _bytes_of_rows(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("replay-*"))


def _damage(path: Path) -> None:
    for file in path.rglob("state-*"):
        file.write_bytes(file.read_bytes()[:-9])


def _other_library(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdscale.training.run.version", lambda package: "0.0.1")


def _other_format(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdscale.training.learner.fingerprint", lambda tree: "another")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path, monkeypatch: _damage(path), "bytes instead of"),
        (_other_library, "numpy 0.0.1"),
        (_other_format, "networks of other shapes"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_told_in_a_sentence_and_the_run_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[..., None], why: str
) -> None:
    spec, told = spec_of(), []
    wanted = train(None, spec)
    train_until(tmp_path, spec, 90)
    spoil(tmp_path, monkeypatch)
    found = train(tmp_path, spec, told=told)
    monkeypatch.undo()
    versions = {"versions": wanted[0].status.versions}
    assert_same([replace(found[0], status=replace(found[0].status, **versions))], wanted)
    assert len(told) == 1
    assert why in told[0]
    assert "\n" not in told[0]


def train_until(path: Path, spec: RunSpec, stop: int) -> None:
    with pytest.raises(Stopped):
        list(train_cells([CellJob(specs=(spec,), env_steps=200, target=None)], saving=saving(path, stop=_After(stop))))


def test_a_checkpoint_past_a_lowered_limit_is_not_used(tmp_path: Path) -> None:
    spec, told = spec_of(), []
    train_until(tmp_path, spec, 90)
    found = train(tmp_path, spec, env_steps=60, told=told)
    assert_same(found, train(None, spec, env_steps=60))
    assert "is at env step 91, beyond the limit of 60" in told[0]


def test_a_disk_that_fills_up_costs_the_checkpoint_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    spec, told = spec_of(), []
    monkeypatch.setattr("tdscale.training.checkpoint.sync", full)
    goals = [CellJob(specs=(spec,), env_steps=200, target=None)]
    ((_, found),) = train_cells(goals, saving=saving(tmp_path, told, minutes=1e-6))
    assert_same(found, train(None, spec))
    assert len(told) == 1
    assert told[0].startswith("training continues without a checkpoint: ")
    assert "No space left on device" in told[0]
    with pytest.raises(Stopped):
        list(train_cells(goals, saving=saving(tmp_path, told, stop=_After(50))))


def test_without_checkpoints_nothing_is_written_or_read(tmp_path: Path) -> None:
    train_until(tmp_path, spec_of(), 90)
    there = sorted(path.name for path in tmp_path.rglob("*"))
    off = saving(tmp_path, minutes=0, stop=_After(50))
    with pytest.raises(Stopped):
        list(train_cells([CellJob(specs=(spec_of(),), env_steps=80, target=None)], saving=off))
    assert sorted(path.name for path in tmp_path.rglob("*")) == there


# --- when they are written


class _Clock:
    """Seconds, which pass by `step` at every step of the environments and by `cost` at every checkpoint."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float, cost: float, likely: int = 0) -> None:
        self.now, self.written = 0.0, []
        is_due = Saving.is_due
        monkeypatch.setattr("tdscale.training.checkpoint.time", self)
        monkeypatch.setattr("tdscale.training.batch.RunBatch.checkpoint_bytes", lambda _: likely)

        def stepped(saving: Saving) -> bool:
            self.now += step
            return is_due(saving)

        def save(_: Saving, batch: Any, only: Any = None) -> None:
            self.written.append(self.now)
            self.now += cost

        monkeypatch.setattr(Saving, "is_due", stepped)
        monkeypatch.setattr(Saving, "_save", save)

    def monotonic(self) -> float:
        return self.now


def _written(path: Path, clock: _Clock) -> list[float]:
    goals = [CellJob(specs=(spec_of(),), env_steps=200, target=None)]
    list(train_cells(goals, saving=saving(path, minutes=1)))
    return clock.written


def test_they_are_written_at_their_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = np.diff(_written(tmp_path, _Clock(monkeypatch, step=2.0, cost=0.1)))
    assert len(gaps) > 3
    assert np.all((gaps >= 60) & (gaps < 75))


def test_where_they_are_dear_they_are_further_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = _written(tmp_path, _Clock(monkeypatch, step=20.0, cost=5.0))
    gaps = np.diff(written)
    assert len(gaps) > 1
    assert np.all((gaps >= 500) & (gaps < 600)), "1 % of the time"


def test_a_large_first_one_waits_until_it_is_worth_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = _written(tmp_path, _Clock(monkeypatch, step=20.0, cost=5.0, likely=10**9))
    assert 1000 <= written[0] < 1100


# --- environments


@pytest.mark.parametrize(
    ("suite", "name"),
    [("gymnasium", "HalfCheetah-v5"), ("gymnasium", "Pendulum-v1"), ("dm_control", "cartpole-swingup"), ("gymnasium", "Hopper-v5")],
)
def test_a_fresh_environment_goes_on_where_another_one_stood_in_mid_episode(suite: str, name: str) -> None:
    generator = np.random.default_rng(0)

    def opened() -> TaskGroup:
        return TaskGroup([make_task(suite, name) for _ in range(2)])

    first, second = opened(), opened()
    both = np.arange(2)

    def step(group: TaskGroup, actions: np.ndarray) -> list[bytes]:
        return [array.tobytes() for array in group.step(actions)]

    def actions() -> np.ndarray:
        return generator.uniform(-1, 1, (2, first.action_size)).astype(np.float32)

    first.reset(both, np.array([3, 4], np.uint32))
    for _ in range(60):  # other episodes before
        first.step(actions())
    first.reset(np.array([1]), np.array([5], np.uint32))
    for _ in range(30):
        first.step(actions())
    second.set_state(first.state())
    for _ in range(40):
        chosen = actions()
        assert step(first, chosen) == step(second, chosen)
    assert first.reset(both, np.array([8, 9], np.uint32)).tobytes() == second.reset(both, np.array([8, 9], np.uint32)).tobytes()
    chosen = actions()
    assert step(first, chosen) == step(second, chosen)
    first.close()
    second.close()


def test_a_checkpoint_that_does_not_fit_costs_its_own_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, told = [spec_of(seed) for seed in range(2)], []
    goals = [CellJob(specs=tuple(cell), env_steps=120, target=None)]
    with pytest.raises(Stopped):
        list(train_cells(goals, together=True, saving=saving(tmp_path, stop=_After(70))))
    set_state, calls = TaskGroup.set_state, itertools.count(1)

    def broken_once(group: TaskGroup, state: Any) -> None:
        if next(calls) == 2:
            raise UserError("the door is locked")
        set_state(group, state)

    with monkeypatch.context() as patch:
        patch.setattr(TaskGroup, "set_state", broken_once)
        found = train(tmp_path, *cell, env_steps=120, together=True, told=told)
    (sentence,) = told
    assert sentence.startswith("1 run begins again: ")
    assert cell[1].run_id in sentence
    for spec, one, other in zip(cell, found, train(None, *cell, env_steps=120, together=True), strict=True):
        assert one.status.last_step == 120
        # in a batch of another size sums differ in their last digits
        np.testing.assert_allclose(one.columns["return"], other.columns["return"], rtol=2e-3, err_msg=spec.describe())


def test_a_run_that_joins_those_that_were_stopped_before_their_first_step(tmp_path: Path) -> None:
    first, joined = ([replace(spec_of(seed), learning_rate=rate) for seed in range(4)] for rate in (1e-3, 2e-3))
    goals = [CellJob(specs=tuple(first), env_steps=60, target=None)]
    with pytest.raises(Stopped):
        list(train_cells(goals, together=True, saving=saving(tmp_path, stop=_After(0))))
    goals.append(CellJob(specs=tuple(joined), env_steps=60, target=None))
    found = dict(train_cells(goals, together=True, saving=saving(tmp_path)))
    assert [result.status.last_step for results in found.values() for result in results] == [60] * 8


def test_a_task_that_raises_as_it_is_brought_back_is_a_refused_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, told = spec_of(), []
    train_until(tmp_path, spec, 90)

    def broken(*_: Any) -> None:
        raise UserError("the door is locked")

    with monkeypatch.context() as patch:
        patch.setattr(TaskGroup, "set_state", broken)
        found = train(tmp_path, spec, told=told)
    assert_same(found, train(None, spec))
    assert "does not fit this run (UserError: the door is locked)" in told[0]


def test_a_cell_that_was_cut_goes_on_with_a_seed_more_as_if_both_had_been_there(tmp_path: Path) -> None:
    """The first seed resumes from its checkpoint, the second one begins; both end where two fresh ones would."""
    first, second = spec_of(0), spec_of(1)
    target = StopTarget(return_threshold=1e9, margin=0.1)

    def cell(folder: Path | None, *specs: RunSpec, cut: int, least: int = 0) -> list[RunResult]:
        last = None if folder is None else saving(folder, keep=True)
        goal = CellJob(specs=specs, env_steps=200, target=target, cut=cut, least=least)
        ((_, results),) = train_cells([goal], saving=last)
        if last is not None:
            last.stored(specs)
        return results

    (cut,) = cell(tmp_path, first, cut=90)
    assert cut.status.last_step == 90
    assert cut.status.notes["stopped_at_return"] is None
    assert (tmp_path / first.run_id / "checkpoint").is_dir()
    resumed = cell(tmp_path, first, second, cut=130, least=90)
    assert [result.status.last_step for result in resumed] == [130, 130]
    assert_same(resumed, cell(None, first, second, cut=130))
    # a lower cut than before takes nothing back
    assert [result.status.last_step for result in cell(tmp_path, first, second, cut=50, least=130)] == [130, 130]
