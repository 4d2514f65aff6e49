import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tdscale.errors import UserError
from tdscale.runs.types import RunResult
from tdscale.study import RunSpec
from tdscale.study.settings import PQLSettings
from tdscale.training import CellJob, Progress, StopTarget, single_thread_environment, train_cell, train_cells
from tdscale.training.experience import guarded

toys = pytest.importorskip("toys", reason='needs pip install "tdscale[train]"')
walk_spec = toys.walk_spec


def train(*specs: object, env_steps: int = 200, target: StopTarget | None = None, **options: object) -> list[RunResult]:
    toys.Walk.instances = 0
    return train_cell(list(specs), env_steps=env_steps, target=target, **options)  # type: ignore[arg-type]


def returns(result: RunResult) -> np.ndarray:
    return result.columns["return"]


def assert_same_beginning(short: RunResult, long: RunResult) -> None:
    for name, values in short.columns.items():
        np.testing.assert_array_equal(values, long.columns[name][: len(values)], err_msg=name)


def test_every_training_episode_is_on_the_curve_with_its_raw_return() -> None:
    (result,) = train(walk_spec())
    assert result.columns["env_step"].tolist() == list(range(20, 201, 20))
    assert np.all(returns(result) < 0)
    assert np.all(returns(result) > -40)
    assert (result.status.state, result.status.last_step) == ("finished", 200)
    assert result.status.notes == {"stopped_at_return": None}
    assert {"jax", "gymnasium", "mujoco", "numpy"} <= set(result.status.versions)


@pytest.mark.parametrize(
    ("utd", "when", "critic", "actor"),
    [(1.0, "per-env-step", 160, 160), (0.1, "per-env-step", 16, 160), (3.0, "per-env-step", 480, 160), (0.3, "per-critic-update", 48, 48)],
)
def test_updates_are_counted_without_warm_up(utd: float, when: str, critic: int, actor: int) -> None:
    (result,) = train(walk_spec(utd=utd, actor_updates=when))
    status = result.status
    assert (status.critic_updates, status.actor_updates) == (critic, actor)
    sizes = (status.actor_parameters, status.critic_parameters)
    assert sizes == (2 * 8 + 8 + 8 * 2 + 2, 2 * (3 * 8 + 8 + 8 + 1))
    assert status.flops == 8 * (critic * (2 * sizes[0] + 8 * sizes[1]) + actor * 6 * sum(sizes))


def test_blocks_apply_all_updates_that_are_due_at_their_end() -> None:
    (result,) = train(walk_spec(utd=4.0, update_block=8), env_steps=40 + 8 * 5 + 7)
    assert (result.status.critic_updates, result.status.actor_updates) == (4 * 8 * 5, 8 * 5)


def test_small_sigmas_and_short_runs_share_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from tdscale.training.batch import RunBatch

    made: list[dict[str, object]] = []
    monkeypatch.setattr(RunBatch, "_make_learner", lambda self, capacity, together: made.append({"rows": capacity, "chunk": self._chunk}))
    for spec, env_steps in ((walk_spec(utd=0.25), 300), (walk_spec(utd=4.0), 4000), (walk_spec(utd=5.0, replay_capacity=800), 4097)):
        RunBatch([spec], env_steps)
    assert made == [{"rows": 4096, "chunk": 4}, {"rows": 4096, "chunk": 4}, {"rows": 800, "chunk": 5}]


@pytest.mark.slow
def test_minibatches_are_the_same_however_many_go_to_the_device_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # the buffer that a call reads must not be filled anew while the device still works on it
    spec = replace(walk_spec(utd=8.0, update_block=8, hidden_sizes=(64, 64)), batch_size=256)
    curves = []
    for chunk in (4, 64):
        monkeypatch.setattr("tdscale.training.batch._CHUNK", chunk)
        (result,) = train(spec, env_steps=120)
        curves.append(returns(result))
    np.testing.assert_array_equal(curves[0], curves[1])


def test_a_curve_depends_neither_on_how_long_it_goes_on_nor_on_other_seeds() -> None:
    options = {"utd": 0.7, "update_block": 4, "evaluation_interval": 70, "diagnostics_interval": 50}
    first, second = (walk_spec(seed, **options) for seed in (0, 1))
    (alone,) = train(second, env_steps=137)
    together = train(first, second, env_steps=260)
    assert not np.array_equal(returns(together[0]), returns(together[1]), equal_nan=True)
    assert_same_beginning(alone, together[1])


def test_evaluation_and_diagnostics_do_not_disturb_training() -> None:
    def learned(**options: int) -> np.ndarray:
        # the generators come from the run_id: give both runs the same one
        spec = walk_spec(**options)
        spec.__dict__["run_id"] = "0123456789abcdef"
        values = returns(train(spec)[0])
        return values[~np.isnan(values)]

    np.testing.assert_array_equal(learned(), learned(evaluation_interval=30, diagnostics_interval=25))


def test_evaluations_and_diagnostics_are_logged_at_their_intervals() -> None:
    columns = train(walk_spec(evaluation_interval=60, diagnostics_interval=50))[0].columns
    steps = columns["env_step"]
    assert steps[~np.isnan(columns["evaluation_return"])].tolist() == [60, 120, 180]
    for name in ("td_error_uniform", "td_error_newest", "critic_parameter_norm", "temperature", "critic_updates", "actor_updates", "flops"):
        assert steps[~np.isnan(columns[name])].tolist() == [50, 100, 150, 200]


def test_what_was_done_so_far_is_logged_beside_diagnostics_and_ends_at_the_runs_totals() -> None:
    (result,) = train(walk_spec(utd=0.5, diagnostics_interval=50))
    counts = [result.columns[name][~np.isnan(result.columns[name])] for name in ("critic_updates", "actor_updates", "flops")]
    assert counts[0].tolist() == [5, 30, 55, 80]  # half of the steps past the warm-up of 40
    assert counts[1].tolist() == [10, 60, 110, 160]
    ends = [float(values[-1]) for values in counts]
    assert ends == [result.status.critic_updates, result.status.actor_updates, result.status.flops]


def test_a_cell_stops_together_after_its_margin() -> None:
    # every episode is above -1000: crossed at the first segments' end with two episodes
    results = train(walk_spec(0), walk_spec(1), env_steps=1000, target=StopTarget(return_threshold=-1000.0, margin=0.5))
    assert {result.status.last_step for result in results} == {40 + 3 * 20}
    assert all(result.status.notes == {"stopped_at_return": -1000.0} for result in results)


def test_a_cell_that_never_crosses_goes_on_to_the_limit() -> None:
    results = train(walk_spec(0), walk_spec(1), target=StopTarget(return_threshold=1.0, margin=0.5))
    assert {result.status.last_step for result in results} == {200}
    assert all(result.status.notes == {"stopped_at_return": None} for result in results)


def test_a_devices_memory_that_runs_out_in_an_environment_is_no_failure_of_the_run() -> None:
    def step() -> None:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes.")

    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        guarded(step)


def test_an_environment_that_raises_fails_its_own_run_only() -> None:
    failed, healthy = train(walk_spec(0, "WalkRaises-v0"), walk_spec(1, "WalkRaises-v0"))
    assert (failed.status.state, failed.status.last_step) == ("failed", 74)
    assert failed.status.reason == "the environment raised RuntimeError: the motor at env step 74"
    assert failed.columns["env_step"].tolist() == [20, 40, 60]
    assert (healthy.status.state, healthy.status.last_step) == ("finished", 200)


def test_a_loss_that_is_not_finite_is_a_divergence_of_its_own_run_only() -> None:
    diverged, healthy = train(walk_spec(0, "WalkInfinite-v0"), walk_spec(1, "WalkInfinite-v0"))
    assert diverged.status.state == "diverged"
    assert 75 <= diverged.status.last_step < 200
    assert diverged.status.reason == f"the loss is no longer finite at env step {diverged.status.last_step}"
    assert (healthy.status.state, healthy.status.last_step) == ("finished", 200)


def test_a_learning_rate_that_is_absurd_diverges() -> None:
    (result,) = train(walk_spec(learning_rate=1e20))
    assert result.status.state == "diverged"


def test_progress_never_passes_its_limit_and_ends_at_it() -> None:
    told: list[Progress] = []
    train(walk_spec(0), walk_spec(1), report=told.append, target=StopTarget(return_threshold=-1000.0, margin=0.0))
    assert all(progress.env_steps <= progress.limit and progress.seeds == 2 for progress in told)
    assert told[-1].env_steps == told[-1].limit


def test_specs_of_two_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in their seeds"):
        train(walk_spec(0), walk_spec(0, utd=2.0))


def test_an_unknown_algorithm_is_the_users_mistake() -> None:
    from dataclasses import replace

    with pytest.raises(UserError, match="'sac'"):
        train(replace(walk_spec(), algorithm="ppo"))


_CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
from toys import walk_spec
from tdscale.training import train_cell
(result,) = train_cell([walk_spec(utd=2.0, diagnostics_interval=50)], env_steps=200, target=None)
print(json.dumps({name: values.tobytes().hex() for name, values in result.columns.items()}))
"""


@pytest.mark.slow
def test_one_thread_gives_the_same_curve_bit_for_bit_in_any_process(tmp_path: Path) -> None:
    environment = os.environ | single_thread_environment(tmp_path / "cache")
    command = [sys.executable, "-c", _CHILD, str(Path(__file__).parent)]
    runs = [subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True) for _ in range(2)]
    # the second process compiled nothing anew: it is the cache that gives the same bits, too
    assert any((tmp_path / "cache").iterdir())
    assert json.loads(runs[0].stdout) == json.loads(runs[1].stdout)


def test_sac_learns_to_walk_to_the_origin() -> None:
    (result,) = train(walk_spec(utd=2.0, learning_rate=1e-2), env_steps=1000)
    assert returns(result)[-10:].mean() > returns(result)[:2].mean() + 2


def together(*specs: object, env_steps: int = 200, target: StopTarget | None = None) -> dict[str, RunResult]:
    """As a GPU trains them; one cell for each set of specs that differ in their seeds alone."""
    toys.Walk.instances = 0
    cells: dict[str, list[RunSpec]] = {}
    for spec in specs:
        cells.setdefault(spec.cell_id, []).append(spec)  # type: ignore[attr-defined]
    goals = [CellJob(specs=tuple(members), env_steps=env_steps, target=target) for members in cells.values()]
    return {result.spec.run_id: result for _, results in train_cells(goals, together=True) for result in results}


def test_runs_that_advance_together_learn_what_each_learns_alone() -> None:
    specs = [walk_spec(seed, learning_rate=rate, diagnostics_interval=50) for seed in (0, 1) for rate in (1e-3, 3e-3)]
    found = together(*specs, env_steps=100)
    for spec in specs:
        (alone,) = train(spec, env_steps=100)
        other = found[spec.run_id]
        assert other.status.critic_updates == alone.status.critic_updates == 60
        for name, values in alone.columns.items():
            # the same minibatches and noise; vmapped sums differ in their last digits
            np.testing.assert_allclose(other.columns[name], values, rtol=2e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_runs_of_several_environments_advance_together_too() -> None:
    settings = PQLSettings(hidden_sizes=(8,), environments=4, n_step=3, warm_up=40, evaluation_interval=0, diagnostics_interval=0)
    specs = [replace(walk_spec(seed, utd=0.5), algorithm="pql", settings=settings.model_dump(mode="json")) for seed in (0, 1)]
    found = together(*specs, env_steps=300)
    for spec in specs:
        (alone,) = train(spec, env_steps=300)
        other = found[spec.run_id]
        assert alone.columns["env_step"].tolist() == [80, 160, 240]
        assert (other.status.critic_updates, other.status.actor_updates) == (130, 65)
        assert (alone.status.critic_updates, alone.status.last_step) == (130, 300)
        np.testing.assert_allclose(returns(other), returns(alone), rtol=2e-3)


def test_replays_that_do_not_fit_on_the_device_give_the_same_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [walk_spec(seed) for seed in range(4)]
    on_device = together(*specs)
    monkeypatch.setattr("tdscale.training.device_learner._free_memory", lambda: 0.0)
    on_host = together(*specs)
    for run_id, result in on_device.items():
        np.testing.assert_array_equal(returns(result), returns(on_host[run_id]))


def test_a_cell_that_is_done_leaves_and_the_others_go_on() -> None:
    easy = [walk_spec(seed) for seed in range(3)]
    hard = walk_spec(0, learning_rate=1e-3)
    goals = [
        CellJob(specs=tuple(easy), env_steps=1000, target=StopTarget(return_threshold=-1000.0, margin=0.5)),
        CellJob(specs=(hard,), env_steps=300, target=None),
    ]
    toys.Walk.instances = 0
    done = [(goal, [result.status.last_step for result in results]) for goal, results in train_cells(goals, together=True)]
    assert [goal for goal, _ in done] == goals
    assert [steps for _, steps in done] == [[100, 100, 100], [300]]


@pytest.mark.slow
def test_ten_runs_take_turns_in_two_batches() -> None:
    found = together(*[walk_spec(seed) for seed in range(10)], env_steps=100)
    assert {(result.status.last_step, result.status.critic_updates) for result in found.values()} == {(100, 60)}
    assert len({returns(result).tobytes() for result in found.values()}) == 10


@pytest.mark.parametrize(("task", "state"), [("WalkRaises-v0", "failed"), ("WalkInfinite-v0", "diverged")])
def test_a_run_that_ends_badly_leaves_its_batch_mates_alone(task: str, state: str) -> None:
    specs = [walk_spec(seed, task, diagnostics_interval=50) for seed in range(4)]
    results = together(*specs)
    found = [results[spec.run_id] for spec in specs]
    assert [result.status.state for result in found] == [state, "finished", "finished", "finished"]
    assert found[0].status.notes["last_finite"]["env_step"] in (50, 60)
    assert np.isfinite(returns(found[1])[~np.isnan(returns(found[1]))]).all()


def test_a_run_that_fails_before_anything_was_measured_leaves_its_batch_mates_alone() -> None:
    specs = [walk_spec(seed, "WalkRaisesAtOnce-v0", diagnostics_interval=50) for seed in range(4)]
    results = together(*specs)
    assert [results[spec.run_id].status.state for spec in specs] == ["failed", "finished", "finished", "finished"]
    assert np.isfinite(results[specs[1].run_id].columns["td_error_validation"]).sum() == 4


@pytest.mark.parametrize(("task", "state"), [("WalkRaises-v0", "failed"), ("WalkInfinite-v0", "diverged")])
def test_a_batch_formed_anew_keeps_a_run_that_ended_badly_for_its_cell(task: str, state: str) -> None:
    unlucky = tuple(walk_spec(seed, task) for seed in range(2))
    early = tuple(walk_spec(seed, task, learning_rate=1e-3) for seed in range(2))
    goals = [
        CellJob(specs=unlucky, env_steps=200, target=None),
        CellJob(specs=early, env_steps=1000, target=StopTarget(return_threshold=-1000.0, margin=0.5)),
    ]
    toys.Walk.instances = 0
    found = dict(train_cells(goals, together=True))
    assert [(one.status.state, one.status.last_step) for one in found[goals[1]]] == [("finished", 100)] * 2
    bad, good = found[goals[0]]
    assert (bad.status.state, good.status.state, good.status.last_step) == (state, "finished", 200)


@pytest.mark.parametrize(
    ("env_steps", "settings"),
    [(200, {"diagnostics_interval": 1000}), (200, {"evaluation_interval": 48}), (48, {}), (49, {}), (50, {})],
    ids=["validated", "evaluated", "its-last-step", "one-more", "two-more"],
)
def test_a_divergence_is_never_taken_for_a_failure_nor_overlooked(env_steps: int, settings: dict[str, int]) -> None:
    specs = [walk_spec(seed, learning_rate=1e20, **({"warm_up": 47} | settings)) for seed in range(2)]
    alone = train(*specs, env_steps=env_steps)
    found = together(*specs, env_steps=env_steps)
    for spec, one in zip(specs, alone, strict=True):
        assert one.status.state == found[spec.run_id].status.state == ("diverged" if env_steps > 48 else one.status.state)


@pytest.mark.slow
def test_what_is_diagnosed_does_not_depend_on_how_far_a_run_is_to_go() -> None:
    # of 12 environments a sixteenth is none: one that steps every time but in whole steps of theirs
    settings = PQLSettings(hidden_sizes=(8,), environments=12, warm_up=36, evaluation_interval=0, diagnostics_interval=120)
    spec = replace(walk_spec(utd=0.1), algorithm="pql", settings=settings.model_dump(mode="json"))
    (short,), (long,) = train(spec, env_steps=1200), train(spec, env_steps=2400)
    assert np.isfinite(short.columns["td_error_validation"]).sum() > 5
    assert_same_beginning(short, long)


def test_specs_of_other_shapes_do_not_advance_together() -> None:
    with pytest.raises(ValueError, match="learning rate, seed and stage"):
        together(walk_spec(0), walk_spec(0, utd=2.0))
