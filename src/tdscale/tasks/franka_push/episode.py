"""What an episode of Franka-Push is: how it starts, what is observed, what is rewarded.

Observation and reward are written over an array namespace `xp` (NumPy or jax.numpy), environments along the last axis. World axes, metres,
quaternions with w first; the origin is the table's centre, on its surface.
"""

from math import cos, pi, sin
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdscale.tasks.franka_push.control import JOINTS, Arm, Array, hand_quaternion, kinematics
from tdscale.tasks.franka_push.model import BIN_HALF_WIDTH, CUBE_HALF_WIDTH, FINGER_REACH, HOME, LINKS

EPISODE_LENGTH = 256
PUSH_FROM = 0.05  # the cube's centre
GOAL_HEIGHT = 0.05
SPREAD = 0.12  # of goal and cubes, to each side
YAW_NOISE = 0.785
JOINT_NOISE = 0.25
CLEARANCE = 0.12  # of the fingertips over the table when an episode starts: above every cube
DOFS = JOINTS + 2


class Start(NamedTuple):
    """How n episodes start: positions (n, 9 + 7·cubes) of joints, fingers and cubes, goals (n, 3)."""

    positions: NDArray[np.float64]
    goals: NDArray[np.float64]


def starts(seeds: NDArray[np.uint32], cubes: int) -> Start:
    """The starts that `seeds` (n,) decide, each by itself.

    The goal's x and y are uniform within ±0.12 m, its height is 0.05 m. Cubes are drawn in turn: yaw uniform within ±0.785, x and y within
    ±0.12 m, then moved inwards until the cube is within the bin, and drawn again if it meets an earlier cube. The arm's joints are uniform
    within 0.25 of their home, drawn again until the fingertips are clear of the cubes.
    """
    positions, goals = np.zeros((len(seeds), DOFS + 7 * cubes)), np.full((len(seeds), 3), GOAL_HEIGHT)
    generators = [np.random.default_rng(int(seed)) for seed in seeds]
    for index, generator in enumerate(generators):
        goals[index, :2] = generator.uniform(-SPREAD, SPREAD, 2)
        positions[index, DOFS:] = _place(generator, cubes)
    positions[:, JOINTS:DOFS] = FINGER_REACH / 2
    low, high = np.array([link.range for link in LINKS]).T
    waiting = np.arange(len(seeds))
    while waiting.size:
        noise = np.array([generators[index].uniform(-JOINT_NOISE, JOINT_NOISE, JOINTS) for index in waiting])
        positions[waiting, :JOINTS] = np.clip(HOME + noise, low, high)
        tips = kinematics(np, positions[waiting, :DOFS].T.copy()).tip
        waiting = waiting[tips[2] < CLEARANCE]
    return Start(positions, goals)


def _place(generator: np.random.Generator, cubes: int) -> list[float]:
    """Positions and quaternions of cubes that don't meet, one after the other."""
    placed: list[tuple[float, float, float]] = []
    while len(placed) < cubes:
        # the cubes after the first may leave no room: then they are drawn again
        del placed[1:]
        for across, along, turn in generator.uniform(-1, 1, (1 if cubes == 1 else 100, 3)).tolist():
            yaw = YAW_NOISE * turn
            room = BIN_HALF_WIDTH - CUBE_HALF_WIDTH * (abs(cos(yaw)) + abs(sin(yaw)))
            x, y = (max(-room, min(room, SPREAD * share)) for share in (across, along))
            if not any(_meet((x, y, yaw), other) for other in placed):
                placed.append((x, y, yaw))
                if len(placed) == cubes:
                    break
    return [value for x, y, yaw in placed for value in (x, y, CUBE_HALF_WIDTH, cos(yaw / 2), 0.0, 0.0, sin(yaw / 2))]


def _meet(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    """Whether two squares overlap: no side of either separates them."""
    x, y, turn = one[0] - other[0], one[1] - other[1], one[2] - other[2]
    reach = CUBE_HALF_WIDTH * (1 + abs(cos(turn)) + abs(sin(turn)))
    return all(abs(x * cos(angle) + y * sin(angle)) < reach for yaw in (one[2], other[2]) for angle in (yaw, yaw + pi / 2))


def observe(xp: ModuleType, arm: Arm, positions: Array, velocities: Array, goals: Array) -> Array:
    """Observations (12 + 10·cubes, n).

    In this order: place of the point between the fingertips 3, the hand's quaternion 4, goal 3, fingers 2; of each cube quaternion 4,
    place 3, velocity 3.
    """
    parts = [arm.tip, hand_quaternion(xp, positions), goals, positions[JOINTS:DOFS]]
    for cube in range((len(positions) - DOFS) // 7):
        place, speed = DOFS + 7 * cube, DOFS + 6 * cube
        parts += [positions[place + 3 : place + 7], positions[place : place + 3], velocities[speed : speed + 3]]
    return xp.concatenate(parts)


def goal_distances(xp: ModuleType, positions: Array, goals: Array) -> Array:
    """Metres (n,) from the first cube's centre to the goal, in space: at least 0.015 for a cube that lies flat on the table."""
    x, y, z = positions[DOFS : DOFS + 3] - goals
    return xp.sqrt(x * x + y * y + z * z)


def rewards(xp: ModuleType, distances: Array) -> Array:
    """1 − tanh(30·distance)."""
    return 1 - xp.tanh(30 * distances)


def shaping(observations: NDArray[np.float64]) -> NDArray[np.float64]:
    """0.2·(1 − tanh(5·distance)), (n,), of observations (n, o): from the point between the fingertips to where a push begins.

    That is 5 cm from the first cube's centre, at its height, on the side that is away from the goal.
    """
    tips, goals, begins = observations[:, :3], observations[:, 7:10], observations[:, 16:19].copy()
    away = (begins - goals)[:, :2]
    begins[:, :2] += PUSH_FROM * away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-3)
    return np.asarray(0.2 * (1 - np.tanh(5 * np.linalg.norm(tips - begins, axis=1))))
