"""A pushing policy written by hand, for one cube: what it earns is the task's reference return."""

import numpy as np
from numpy.typing import NDArray

from tdscale.tasks.franka_push.control import ACTION_SCALE, LIMITS

ABOVE, DOWN = 0.11, 0.025  # heights of the fingertips, travelling and pushing
BEHIND = 0.07  # where a push begins, from the cube's centre
TOUCH = 0.045  # from the centre of a cube that lies against both fingers
LEAD = 0.025  # the hand aims beyond its place by what friction takes
NEAR_ENOUGH = 0.003


def push(observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Actions (n, 7) for observations (n, 22): over the cube to its side away from the goal, down, along to the goal, the fingers abreast.

    A push that has slipped off the cube is begun again. The wanted displacement is the action, so the hand's place is critically damped.
    """
    seen = observations.astype(np.float64)
    tip, quaternion, goal, cube = seen[:, :3], seen[:, 3:7], seen[:, 7:9], seen[:, 16:18]
    way = goal - cube
    left = np.linalg.norm(way, axis=1, keepdims=True)
    along = way / np.maximum(left, 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    from_cube = tip[:, :2] - cube
    ahead, aside = (from_cube * along).sum(axis=1, keepdims=True), (from_cube * across).sum(axis=1, keepdims=True)
    height = tip[:, 2:]

    begin = cube - BEHIND * along
    at_begin = np.linalg.norm(tip[:, :2] - begin, axis=1, keepdims=True) < 0.02
    pushing = (height < 0.06) & (ahead < -TOUCH + 0.015) & (np.abs(aside) < 0.02)
    there = left < NEAR_ENOUGH
    # an arrived cube is left alone; a hand at its side is lifted before it travels
    place = np.where(pushing, goal - (TOUCH - LEAD) * along, np.where(at_begin | (height > ABOVE - 0.03), begin, tip[:, :2]))
    place = np.where(there, tip[:, :2], place)
    level = np.where(there, height, np.where(pushing | at_begin, DOWN, ABOVE))

    yaw = np.arctan(along[:, 1] / np.where(along[:, 0] == 0, 1e-9, along[:, 0]))
    turn = _turn_to_downwards(quaternion, yaw)
    wanted = np.concatenate([place - tip[:, :2], level - height, turn], axis=1) * ACTION_SCALE / LIMITS
    actions: NDArray[np.float32] = np.concatenate([wanted, np.zeros((len(seen), 1))], axis=1).clip(-1, 1).astype(np.float32)
    return actions


def _turn_to_downwards(quaternion: NDArray[np.float64], yaw: NDArray[np.float64]) -> NDArray[np.float64]:
    """The turn (n, 3), rad, from a hand's quaternion to pointing down with its x axis at `yaw`."""
    w, x, y, z = quaternion.T
    down_x, down_y = np.cos(yaw / 2), np.sin(yaw / 2)  # the quaternion (0, down_x, down_y, 0)
    cosine = down_x * x + down_y * y
    vector = np.stack([down_x * w - down_y * z, down_y * w + down_x * z, down_y * x - down_x * y], axis=1)
    return 2 * vector * np.where(cosine < 0, -1.0, 1.0)[:, None]
