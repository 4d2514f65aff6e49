"""Operational-space control of the arm: torques that give the hand a wanted acceleration, for any number of arms at once.

Written over an array namespace `xp` (NumPy or jax.numpy) with environments along the last axis. Only elementwise arithmetic and sums over
leading axes are used, so an arm's torques do not depend on how many others are computed beside it.
"""

from math import cos, sin, sqrt
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from tdscale.tasks.franka_push.model import (
    BASE,
    FINGER,
    FINGER_ORIGIN,
    FINGERTIP,
    FLANGE,
    HAND,
    HAND_YAW,
    HOME,
    LINKS,
    ROTOR_INERTIA,
    Link,
    inertia,
)

Array = Any  # of NumPy or JAX
JOINTS = len(LINKS)
STIFFNESS = 150.0  # 1/s²
DAMPING = 2 * sqrt(STIFFNESS)  # critical
POSTURE_STIFFNESS = 10.0
POSTURE_DAMPING = 2 * sqrt(POSTURE_STIFFNESS)
ACTION_SCALE = 0.5
LIMITS = (0.1, 0.1, 0.1, 0.5, 0.5, 0.5)  # m and rad

_TORQUES = np.array([[link.torque] for link in LINKS], np.float64)
_HOME = np.array(HOME)[:, None]
_DELTAS = np.array(LIMITS)[:, None] / ACTION_SCALE
# the bodies that the arm moves: seven links, the hand, two fingers
_BODIES = [(link.mass, link.centre, link.box) for link in LINKS] + [HAND, FINGER, FINGER]
_MASSES = np.array([mass for mass, _, _ in _BODIES])[:, None]
_CENTRES = np.array([centre for _, centre, _ in _BODIES], np.float64).T[:, :, None, None]
_MOMENTS = np.array([inertia(mass, box) for mass, _, box in _BODIES]).T[:, :, None]


class Arm(NamedTuple):
    """Where the arm is: origins and axes of the bodies' frames, (body, xyz, n), and of the point between the fingertips.

    Attributes:
        origins, x, y, z: of the seven links, the hand and the two fingers, (10, 3, n).
        tip: (3, n).
    """

    origins: Array
    x: Array
    y: Array
    z: Array
    tip: Array


def kinematics(xp: ModuleType, joints: Array) -> Arm:
    """Frames of the arm at the positions (9, n) of its joints and fingers."""
    sines, cosines = xp.sin(joints[:JOINTS]), xp.cos(joints[:JOINTS])
    one, zero = xp.ones_like(joints[0]), xp.zeros_like(joints[0])
    origin = xp.array([value * one for value in BASE])
    x, y, z = xp.array([one, zero, zero]), xp.array([zero, one, zero]), xp.array([zero, zero, one])
    frames = []
    for link, sine, cosine in zip(LINKS, sines, cosines, strict=True):
        origin = _moved(origin, link, x, y, z)
        y, z = ((y, z), (z, -y), (-y, -z), (-z, y))[link.quarter_turns % 4]
        x, y = cosine * x + sine * y, cosine * y - sine * x
        frames.append((origin, x, y, z))
    origin, hand_cosine, hand_sine = origin + FLANGE * z, cos(HAND_YAW), sin(HAND_YAW)
    x, y = hand_cosine * x + hand_sine * y, hand_cosine * y - hand_sine * x
    fingers = origin + FINGER_ORIGIN * z
    frames += [(origin, x, y, z), (fingers + joints[7] * y, x, y, z), (fingers - joints[8] * y, x, y, z)]
    origins, along_x, along_y, along_z = (xp.array(part) for part in zip(*frames, strict=True))
    return Arm(origins, along_x, along_y, along_z, origin + FINGERTIP * z)


def _moved(origin: Array, link: Link, x: Array, y: Array, z: Array) -> Array:
    for length, axis in zip(link.origin, (x, y, z), strict=True):
        if length:
            origin = origin + length * axis
    return origin


def hand_quaternion(xp: ModuleType, joints: Array) -> Array:
    """Quaternion of the hand, w first, (4, n), for joints (≥ 7, n); continuous in their angles, so that its sign never jumps.

    With all quarter turns about x moved to the end of the chain, joints turn about ±z and ±y.
    """
    sines, cosines = xp.sin(joints[:JOINTS] / 2), xp.cos(joints[:JOINTS] / 2)
    one, zero = xp.ones_like(sines[0]), xp.zeros_like(sines[0])
    w, x, y, z = one, zero, zero, zero
    turns = 0
    for link, s, c in zip(LINKS, sines, cosines, strict=True):
        turns += link.quarter_turns
        if turns % 4 >= 2:
            s = -s
        if turns % 2:
            # about -y after one turn, y after three
            w, x, y, z = c * w + s * y, c * x + s * z, c * y - s * w, c * z - s * x
        else:
            w, x, y, z = c * w - s * z, c * x + s * y, c * y - s * x, c * z + s * w
    c, s = cos(turns * np.pi / 4), sin(turns * np.pi / 4)
    w, x, y, z = c * w - s * x, c * x + s * w, c * y + s * z, c * z - s * y
    c, s = cos(HAND_YAW / 2), sin(HAND_YAW / 2)
    return xp.array([c * w - s * z, c * x + s * y, c * y - s * x, c * z + s * w])


def jacobian(xp: ModuleType, arm: Arm) -> Array:
    """Velocity of the tip and angular velocity of the hand by joint velocity, (6, 7, n), in world axes."""
    axes = arm.z[:JOINTS].swapaxes(0, 1)
    levers = arm.tip[:, None] - arm.origins[:JOINTS].swapaxes(0, 1)
    return xp.concatenate([_cross(xp, axes, levers), axes])


def mass_matrix(xp: ModuleType, arm: Arm) -> Array:
    """The arm's joint-space inertia, rotors included, (7, 7, n): composite rigid bodies about the world's origin."""
    along_x, along_y, along_z = _CENTRES
    centres = (arm.origins + along_x * arm.x + along_y * arm.y + along_z * arm.z).swapaxes(0, 1)
    weighted = _MASSES * centres
    about_x, about_y, about_z = _MOMENTS
    axes = [(about_x - about_z, arm.x.swapaxes(0, 1)), (about_y - about_z, arm.y.swapaxes(0, 1))]
    squares = (weighted * centres).sum(axis=0) + about_z
    moments = []
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        entry = axes[0][0] * axes[0][1][i] * axes[0][1][j] + axes[1][0] * axes[1][1][i] * axes[1][1][j] - weighted[i] * centres[j]
        moments.append(squares + entry if i == j else entry)
    masses = _outwards(xp, _MASSES)
    first = _outwards(xp, weighted.swapaxes(0, 1)).swapaxes(0, 1)
    xx, yy, zz, xy, xz, yz = _outwards(xp, xp.array(moments).swapaxes(0, 1)).swapaxes(0, 1)

    # of a body that turns about each joint: angular velocity w, velocity v of its point at the origin; its momenta
    w = arm.z[:JOINTS].swapaxes(0, 1)
    v = _cross(xp, arm.origins[:JOINTS].swapaxes(0, 1), w)
    linear = masses * v + _cross(xp, w, first)
    turning = xp.array([xx * w[0] + xy * w[1] + xz * w[2], xy * w[0] + yy * w[1] + yz * w[2], xz * w[0] + yz * w[1] + zz * w[2]])
    momenta = xp.concatenate([turning + _cross(xp, first, v), linear])
    motions = xp.concatenate([w, v])
    rows = []
    for joint in range(JOINTS):
        # what moves with both joints is what moves with the outer one
        inner = (motions[:, : joint + 1] * momenta[:, joint : joint + 1]).sum(axis=0)
        rows.append(inner)
    entries = [rows[max(i, j)][min(i, j)] + (ROTOR_INERTIA if i == j else 0.0) for i in range(JOINTS) for j in range(JOINTS)]
    return xp.array(entries).reshape(JOINTS, JOINTS, -1)


def _outwards(xp: ModuleType, parts: Array) -> Array:
    """For each joint the sum over the bodies (leading axis) that it moves."""
    sums = [parts[JOINTS - 1] + parts[JOINTS] + parts[JOINTS + 1] + parts[JOINTS + 2]]
    for joint in range(JOINTS - 2, -1, -1):
        sums.append(parts[joint] + sums[-1])
    return xp.array(sums[::-1])


def _cross(xp: ModuleType, a: Array, b: Array) -> Array:
    return xp.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def torques(xp: ModuleType, arm: Arm, joints: Array, velocities: Array, actions: Array) -> Array:
    """Joint torques (7, n), within the motors' limits, for the actions' first six values (6, n) in [-1, 1].

    With J the Jacobian, M the mass matrix, q joint positions, e the wanted displacement and turn of the hand (its action times the limits
    over the action scale), Λ = (J M⁻¹ Jᵀ)⁻¹ and a posture's acceleration p = 10·(home − q) − 2√10·q̇ that may not move the hand:

        τ = M p + Jᵀ Λ (150·e − 2√150·J q̇ − J p)
    """
    jac, mass = jacobian(xp, arm), mass_matrix(xp, arm)
    posture = POSTURE_STIFFNESS * (_HOME - joints[:JOINTS]) - POSTURE_DAMPING * velocities[:JOINTS]
    wanted = STIFFNESS * _DELTAS * actions - (jac * (DAMPING * velocities[:JOINTS] + posture)).sum(axis=1)
    columns = _cholesky(xp, mass)
    half = _forward(xp, columns, jac.swapaxes(0, 1))
    inverse = [(half[:, row : row + 1] * half).sum(axis=0) for row in range(6)]
    columns = _cholesky(xp, xp.array(inverse))
    force = _backward(xp, columns, _forward(xp, columns, wanted))
    found = (mass * posture).sum(axis=1) + (jac * force[:, None]).sum(axis=0)
    return xp.clip(found, -_TORQUES, _TORQUES)


def _cholesky(xp: ModuleType, matrix: Array) -> list[Array]:
    """Columns of the lower factor of (k, k, n), each from its diagonal down."""
    columns = []
    for _ in range(len(matrix)):
        column = matrix[:, 0] / xp.sqrt(matrix[0, 0])
        columns.append(column)
        matrix = matrix[1:, 1:] - column[1:, None] * column[None, 1:]
    return columns


def _forward(xp: ModuleType, columns: list[Array], right: Array) -> Array:
    """L⁻¹ of `right`, (k, …, n)."""
    found = []
    for column in columns:
        found.append(right[0] / column[0])
        below = column[1:] if right.ndim == 2 else column[1:, None]
        right = right[1:] - below * found[-1]
    return xp.array(found)


def _backward(xp: ModuleType, columns: list[Array], right: Array) -> Array:
    """L⁻ᵀ of `right`, (k, n)."""
    found: list[Array] = []
    for row in range(len(columns) - 1, -1, -1):
        rest = right[row]
        for value, factor in zip(found, columns[row][:0:-1], strict=True):
            rest = rest - factor * value
        found.append(rest / columns[row][0])
    return xp.array(found[::-1])
