import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from tdscale.errors import UserError
from tdscale.tasks import check_task, make_parallel_task

if importlib.util.find_spec("mujoco") is None:
    pytest.skip('needs pip install "tdscale[train]"', allow_module_level=True)

import jax
import jax.numpy as jnp
import mujoco

from tdscale.tasks.franka_push import FrankaPush
from tdscale.tasks.franka_push.control import DAMPING, STIFFNESS, hand_quaternion, jacobian, kinematics, mass_matrix, torques
from tdscale.tasks.franka_push.episode import goal_distances, observe, rewards, starts
from tdscale.tasks.franka_push.model import BIN_HALF_WIDTH, CUBE_HALF_WIDTH, HOME, LINKS, mjcf
from tdscale.tasks.franka_push.physics import Advanced
from tdscale.tasks.franka_push.scripted import push

LOW, HIGH = np.array([link.range for link in LINKS] + [(0, 0.04), (0, 0.04)]).T


def _all(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(n), np.arange(n, dtype=np.uint32) + 7


def _arms(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints and fingers anywhere within their ranges (9, n), velocities (9, n), actions (6, n)."""
    generator = np.random.default_rng(0)
    return generator.uniform(LOW, HIGH, (n, 9)).T.copy(), generator.normal(size=(9, n)), generator.uniform(-1, 1, (6, n))


def test_our_kinematics_and_mass_matrix_are_those_of_the_simulated_arm():
    joints, _, _ = _arms(50)
    arm, quaternions = kinematics(np, joints), hand_quaternion(np, joints)
    jacobians, masses = jacobian(np, arm), mass_matrix(np, arm)
    model = mujoco.MjModel.from_xml_string(mjcf(cubes=1))
    data = mujoco.MjData(model)
    site = model.site("tip").id
    for i in range(50):
        data.qpos[:9] = joints[:, i]
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(arm.tip[:, i], data.site_xpos[site], atol=1e-12)
        turned = np.zeros(9)
        mujoco.mju_quat2Mat(turned, quaternions[:, i])
        np.testing.assert_allclose(turned, data.site_xmat[site], atol=1e-12)
        moves, turns = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        mujoco.mj_jacSite(model, data, moves, turns, site)
        np.testing.assert_allclose(jacobians[:, :, i], np.concatenate([moves, turns])[:, :7], atol=1e-12)
        # a column of the mass matrix is the force that an acceleration of one joint takes
        for joint in range(7):
            force = np.zeros(model.nv)
            mujoco.mj_mulM(model, data, force, np.eye(model.nv)[joint])
            np.testing.assert_allclose(masses[:, joint, i], force[:7], atol=1e-12)


def test_torques_are_those_of_the_stated_law_and_keep_within_the_motors_limits():
    joints, velocities, actions = _arms(200)
    # the second half gently
    velocities[:, 100:] *= 0.1
    actions[:, 100:] *= 0.1
    arm = kinematics(np, joints)
    found = torques(np, arm, joints, velocities, actions)
    limits = np.array([87.0] * 4 + [12.0] * 3)
    jacobians, masses = jacobian(np, arm), mass_matrix(np, arm)
    free = 0
    for i in range(200):
        j, m = jacobians[:, :, i], masses[:, :, i]
        wanted = np.array([0.2, 0.2, 0.2, 1, 1, 1]) * actions[:, i]
        posture = 10 * (np.array(HOME) - joints[:7, i]) - 2 * 10**0.5 * velocities[:7, i]
        weight = np.linalg.inv(j @ np.linalg.inv(m) @ j.T)
        hand = 150 * wanted - 2 * 150**0.5 * j @ velocities[:7, i]
        torque = j.T @ weight @ hand + (np.eye(7) - j.T @ weight @ j @ np.linalg.inv(m)) @ m @ posture
        np.testing.assert_allclose(found[:, i], np.clip(torque, -limits, limits), rtol=1e-6, atol=1e-6)
        free += (np.abs(torque) < limits).all()
    assert 20 < free < 180


def test_the_hand_accelerates_as_asked_and_settles_where_an_action_that_tracks_a_place_wants_it():
    task = FrankaPush(6)
    task.reset(*_all(6))
    state = task.state()
    state["positions"][:, :7] = HOME
    task.set_state(state)
    before = kinematics(np, state["positions"][:, :9].T).tip
    actions = np.eye(6, 7, dtype=np.float32) / 4
    task.step(actions)
    after = task.state()
    speeds = (jacobian(np, kinematics(np, after["positions"][:, :9].T.copy())) * after["velocities"][:, :7].T).sum(axis=1).T
    # two steps of 1/120 s under a constant force
    asked = np.diag([0.05] * 3 + [0.25] * 3) * STIFFNESS / 60
    np.testing.assert_allclose(speeds, asked, atol=0.05 * np.abs(asked).max())
    # wanted always 5 cm on in its x, the hand soon moves at the speed at which damping takes what stiffness gives
    for _ in range(30):
        observations = task.step(actions).observations
    moved = observations[0, 0] - before[0, 0]
    assert moved == pytest.approx(31 / 60 * 0.05 * STIFFNESS / DAMPING - 0.05 * STIFFNESS / DAMPING**2, rel=0.1)


def test_numpy_and_jax_control_observe_and_reward_alike():
    joints, velocities, actions = _arms(8)
    joints[:7] = np.array(HOME)[:, None] + 0.2 * velocities[:7]
    start = starts(_all(8)[1], cubes=2)
    positions, goals = start.positions.T.copy(), start.goals.T

    def found(xp, joints, velocities, actions, positions, goals):
        arm = kinematics(xp, joints)
        speeds = xp.concatenate([velocities, 0.1 * positions[9:15], 0.1 * positions[15:21]])
        return (
            torques(xp, arm, joints, velocities, actions),
            observe(xp, arm, positions, speeds, goals),
            rewards(xp, goal_distances(xp, positions, goals)),
        )

    given = (joints, velocities, actions, positions, goals)
    ours = found(np, *given)
    theirs = jax.jit(lambda *parts: found(jnp, *parts))(*(np.float32(part) for part in given))
    for one, other, tolerance in zip(ours, theirs, (2e-2, 1e-5, 1e-5), strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)
    assert ours[1].shape == (32, 8)


def test_an_observation_holds_the_stated_values_in_the_stated_order():
    task = FrankaPush(3, cubes=2)
    first = task.reset(*_all(3))
    assert first.shape == (3, task.observation_size) == (3, 32)
    assert first.dtype == np.float32
    state = task.state()
    state["velocities"][:, 15:18] = [0.1, 0.2, 0.3]
    task.set_state(state)
    seen = task.step(np.zeros((3, 7), np.float32)).observations
    after = task.state()
    positions, velocities = after["positions"], after["velocities"]
    np.testing.assert_allclose(seen[:, :3], kinematics(np, positions[:, :9].T.copy()).tip.T, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(seen[:, 3:7], axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(seen[:, 7:10], after["goals"].astype(np.float32))
    np.testing.assert_array_equal(seen[:, 10:12], positions[:, 7:9].astype(np.float32))
    for cube in range(2):
        block = seen[:, 12 + 10 * cube : 22 + 10 * cube]
        np.testing.assert_array_equal(block[:, :4], positions[:, 12 + 7 * cube : 16 + 7 * cube].astype(np.float32))
        np.testing.assert_array_equal(block[:, 4:7], positions[:, 9 + 7 * cube : 12 + 7 * cube].astype(np.float32))
        np.testing.assert_array_equal(block[:, 7:], velocities[:, 9 + 6 * cube : 12 + 6 * cube].astype(np.float32))


def test_reward_and_success_follow_from_the_first_cubes_distance_to_the_goal():
    task = FrankaPush(3, cubes=2)
    task.reset(*_all(3))
    state = task.state()
    distances = np.array([0.018, 0.03, 0.05])
    state["goals"] = state["positions"][:, 9:12] + distances[:, None] * [0.6, 0, 0.8]
    task.set_state(state)
    measures = task.measures()
    np.testing.assert_allclose(measures["goal_distance"], distances)
    assert measures["success_4cm"].tolist() == [1, 1, 0]
    assert measures["success_2cm"].tolist() == [1, 0, 0]
    found = task.step(np.zeros((3, 7), np.float32)).rewards
    np.testing.assert_allclose(found, 1 - np.tanh(30 * task.measures()["goal_distance"]), rtol=1e-12)
    np.testing.assert_allclose(found, 1 - np.tanh(30 * distances), atol=0.02)


def test_untouched_cubes_score_what_the_task_states():
    start = starts(np.arange(4000, dtype=np.uint32), cubes=1)
    distances = goal_distances(np, start.positions.T, start.goals.T)
    assert rewards(np, distances).mean() == pytest.approx(0.033, abs=0.003)
    assert (distances < 0.04).mean() == pytest.approx(0.065, abs=0.01)
    task = FrankaPush(16)
    task.reset(*_all(16))
    before = task.state()["positions"]
    for _ in range(60):
        task.step(np.zeros((16, 7), np.float32))
    # neither does the hand move where nothing is asked of it
    np.testing.assert_allclose(task.state()["positions"][:, 7:], before[:, 7:], atol=1e-3)
    tips = [kinematics(np, positions[:, :9].T.copy()).tip for positions in (before, task.state()["positions"])]
    np.testing.assert_allclose(*tips, atol=1e-3)


def test_an_episode_starts_with_all_cubes_in_the_bin_and_nothing_touching_but_the_table():
    model = mujoco.MjModel.from_xml_string(mjcf(cubes=6))
    data = mujoco.MjData(model)
    corners = np.array([(x, y) for x in (-1, 1) for y in (-1, 1)]) * CUBE_HALF_WIDTH
    table = model.geom("table").id
    for positions in starts(np.arange(40, dtype=np.uint32), cubes=6).positions:
        assert (LOW[:7] <= positions[:7]).all()
        assert (positions[:7] <= HIGH[:7]).all()
        for cube in positions[9:].reshape(6, 7):
            yaw = 2 * np.arctan2(cube[6], cube[3])
            assert abs(yaw) <= 0.785
            turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
            assert (np.abs(cube[:2] + corners @ turn.T) <= BIN_HALF_WIDTH + 1e-9).all()
        data.qpos[:] = positions
        mujoco.mj_forward(model, data)
        assert all(table in contact.geom or contact.dist > -1e-6 for contact in data.contact)


@pytest.mark.parametrize("cubes", [1, 2])
def test_an_episode_is_decided_by_its_seed_and_actions_whatever_runs_beside_it_and_on_how_many_threads(cubes: int):
    n, steps = 37, 60
    which, seeds = _all(n)
    generator = np.random.default_rng(1)
    # held for a while, so that hands reach the table and the cubes
    actions = np.repeat(generator.uniform(-1, 1, (steps // 20, n, 7)), 20, axis=0).astype(np.float32)
    actions[:, :, 2] -= 0.5

    def episodes(chosen: np.ndarray, threads: int) -> list[np.ndarray]:
        task = FrankaPush(len(chosen), cubes, threads)
        first = task.reset(np.arange(len(chosen)), seeds[chosen])
        after = [task.step(action[chosen]) for action in actions]
        task.close()
        return [first, *(step.observations for step in after), *(step.rewards for step in after)]

    together = episodes(which, threads=1)
    for chosen, threads in ((which, 3), (which[::-1], 2), (which[:1], 1), (which[5:12], 1)):
        for one, two in zip(together, episodes(chosen, threads), strict=True):
            np.testing.assert_array_equal(one[chosen], two)


def test_a_state_continues_bit_for_bit_in_another_task():
    task, other = FrankaPush(5), FrankaPush(5, threads=2)
    observations = task.reset(*_all(5))
    for _ in range(90):
        observations = task.step(push(observations)).observations
    state = task.state()
    other.set_state(state)
    for _ in range(20):
        action = push(observations)
        one, two = task.step(action), other.step(action)
        observations = one.observations
        for ours, theirs in zip(one, two, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(state["positions"], task.state()["positions"])
    other.close()


def test_episodes_end_by_time_only_and_stay_over_until_their_reset():
    task = FrankaPush(2)
    task.reset(*_all(2))
    still = np.zeros((2, 7), np.float32)
    state = task.state()
    state["steps"][:] = 254, 200
    task.set_state(state)
    assert task.step(still).truncated.tolist() == [False, False]
    last = task.step(still)
    assert last.truncated.tolist() == [True, False]
    assert not last.terminated.any()
    before = task.state()
    after = task.step(still + 1)
    assert after.truncated.tolist() == [True, False]
    assert after.rewards[0] == 0
    np.testing.assert_array_equal(after.observations[0], last.observations[0])
    np.testing.assert_array_equal(task.state()["positions"][0], before["positions"][0])
    begun = task.reset(np.array([0]), np.array([3], np.uint32))
    after = task.step(still)
    assert after.truncated.tolist() == [False, False]
    np.testing.assert_allclose(after.observations[0, :12], begun[0, :12], atol=1e-3)


def test_the_hand_written_policy_pushes_the_cube_home():
    task = FrankaPush(24)
    observations = task.reset(*_all(24))
    total = np.zeros(24)
    for _ in range(256):
        step = task.step(push(observations))
        observations, total = step.observations, total + step.rewards
    assert step.truncated.all()
    assert task.measures()["success_4cm"].mean() > 0.9
    assert task.measures()["success_2cm"].mean() > 0.7
    assert total.mean() > 90


def test_the_fingertips_reach_the_whole_bin_pointing_down():
    corners = np.array([(x, y, 0.02) for x in (-0.15, 0, 0.15) for y in (-0.15, 0, 0.15)])
    task = FrankaPush(9)
    observations = task.reset(*_all(9))
    state = task.state()
    state["positions"][:, :7] = HOME
    # the cubes are still falling when all is over
    state["positions"][:, 9:12] = [0, 0, 30]
    task.set_state(state)
    observations[:, :3] = kinematics(np, state["positions"][:, :9].T.copy()).tip.T
    for _ in range(120):
        wanted = np.concatenate([(corners - observations[:, :3]) / 0.2, np.zeros((9, 4))], axis=1)
        observations = task.step(wanted.astype(np.float32)).observations
    np.testing.assert_allclose(observations[:, :3], corners, atol=2e-3)
    np.testing.assert_allclose(np.abs(observations[:, 4]), 1, atol=0.02)


def test_whatever_the_arm_does_the_cubes_stay_in_the_bin():
    task = FrankaPush(8, cubes=6)
    task.reset(*_all(8))
    generator = np.random.default_rng(2)
    for step in range(120):
        if step % 15 == 0:
            # full strength, mostly downwards
            action = generator.choice([-1, 1], (8, 7)).astype(np.float32)
            action[:, 2] = np.where(generator.random(8) < 0.7, -1, 1)
        observations = task.step(action).observations
        assert np.isfinite(observations).all()
    places = task.state()["positions"][:, 9:].reshape(8, 6, 7)[:, :, :3]
    assert (np.abs(places[:, :, :2]) < BIN_HALF_WIDTH).all()
    assert (places[:, :, 2] > 0.5 * CUBE_HALF_WIDTH).all()


def test_a_simulation_that_diverges_is_an_error_and_not_a_silent_new_start():
    task = FrankaPush(3)
    task.reset(*_all(3))
    state = task.state()
    state["velocities"][1, 3] = np.nan
    task.set_state(state)
    with pytest.raises(FloatingPointError, match="environment 1 diverged"):
        task.step(np.zeros((3, 7), np.float32))


def test_an_engine_that_says_nothing_of_it_is_found_out_too(monkeypatch: pytest.MonkeyPatch):
    task = FrankaPush(3)
    seen = task.reset(*_all(3))
    seen[2, 5] = np.inf
    monkeypatch.setattr(task._physics, "advance", lambda moving, actions, over: Advanced(moving, seen, np.zeros(3)))
    with pytest.raises(FloatingPointError, match="environment 2 diverged"):
        task.step(np.zeros((3, 7), np.float32))


def test_a_check_takes_no_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tdscale.tasks.franka_push.task._mjx_suits", lambda: pytest.fail("asked JAX for its device"))
    check_task("tdscale", "franka-push")


def test_the_tasks_are_found_by_name_and_a_wrong_one_gets_a_sentence(monkeypatch: pytest.MonkeyPatch):
    check_task("tdscale", "franka-push")
    six = make_parallel_task("tdscale", "franka-push-6", 2)
    assert (six.environments, six.observation_size, six.action_size) == (2, 72, 7)
    assert "mujoco" in six.versions()
    for name, backend, wanted in (
        ("franka-push-2", "mujoco", "'franka-push' or 'franka-push-shaped' or 'franka-push-6'"),
        ("franka-push", "isaac", "'mujoco' or 'mjx'"),
    ):
        with pytest.raises(UserError, match=wanted):
            make_parallel_task("tdscale", name, 2, backend)
    monkeypatch.setitem(sys.modules, "mujoco.mjx", None)
    with pytest.raises(UserError, match="not installed; pip install"):
        make_parallel_task("tdscale", "franka-push", 2, "mjx")


def test_shaping_pays_a_hand_that_is_where_a_push_begins_and_changes_nothing_else():
    plain, shaped = (
        make_parallel_task("tdscale", "franka-push", 3, "mujoco"),
        make_parallel_task("tdscale", "franka-push-shaped", 3, "mujoco"),
    )
    np.testing.assert_array_equal(plain.reset(*_all(3)), shaped.reset(*_all(3)))
    for actions in np.random.default_rng(0).uniform(-1, 1, (256, 3, 7)).astype(np.float32):
        ours, theirs = plain.step(actions), shaped.step(actions)
        for one, other in zip(ours[:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(one, other)
        for seen, paid in zip(theirs.observations.astype(float), theirs.shaping, strict=True):
            tip, goal, cube = seen[:3], seen[7:10], seen[16:19]
            way = np.arctan2(cube[1] - goal[1], cube[0] - goal[0])
            begin = cube + 0.05 * np.array([np.cos(way), np.sin(way), 0.0])
            assert paid == pytest.approx(0.2 * (1 - np.tanh(5 * np.linalg.norm(tip - begin))), rel=1e-4)
        np.testing.assert_array_equal(ours.shaping, 0)
    # an episode that is over
    np.testing.assert_array_equal(shaped.step(actions).shaping, 0)


STEPS_OF_MJX = """
import sys
import numpy as np
from tdscale.tasks.franka_push import FrankaPush
task = FrankaPush(2, backend="mjx")
found = {"start": task.reset(np.arange(2), np.arange(2, dtype=np.uint32) + 7)}
steps = [task.step(np.full((2, 7), 0.3, np.float32)) for _ in range(5)]
found |= {"observations": np.stack([step.observations for step in steps]), "rewards": np.stack([step.rewards for step in steps])}
np.savez(sys.argv[1], **found, **{f"state {name}": part for name, part in task.state().items()})
"""


@pytest.mark.slow
def test_mjx_takes_the_same_steps_in_single_precision(tmp_path):
    pytest.importorskip("mujoco.mjx", reason='needs pip install "tdscale[gpu]"', exc_type=ImportError)
    # in a process without the tests' flags of XLA: code that is not optimised takes minutes for a step
    plain = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    subprocess.run([sys.executable, "-c", STEPS_OF_MJX, str(tmp_path / "steps.npz")], env=plain, check=True, timeout=600)
    theirs = np.load(tmp_path / "steps.npz")
    ours = FrankaPush(2)
    np.testing.assert_array_equal(ours.reset(*_all(2)), theirs["start"])
    for seen, paid in zip(theirs["observations"], theirs["rewards"], strict=True):
        one = ours.step(np.full((2, 7), 0.3, np.float32))
        # the hand by its place and turn; the resting cube's velocity is left out: it is noise of the contact solver
        np.testing.assert_allclose(one.observations[:, :19], seen[:, :19], atol=2e-3)
        np.testing.assert_allclose(one.rewards, paid, atol=2e-3)
    for name, part in ours.state().items():
        assert part.shape == theirs[f"state {name}"].shape
