"""The scene of Franka-Push: an arm with two fingers, a table, a bin's walls and cubes, of primitive shapes, as one MJCF text.

Joint origins, joint ranges and torque limits are the Panda's as its maker publishes them; masses are plausible ones of our own. Lengths
in m, masses in kg. The origin is the table's centre, on its surface.

Kept cheap: the walls are planes that stop cubes only (the arm passes them, and no cube can climb them); of the arm only the hand and the
two fingers touch anything, and they touch cubes and the table.
"""

from math import pi
from typing import NamedTuple

import numpy as np

CUBE_HALF_WIDTH = 0.035
BIN_HALF_WIDTH = 0.15
TIMESTEP = 1 / 120
SUBSTEPS = 2
BASE = (-0.5, 0.0, 0.0)
FLANGE = 0.107  # from joint 7's origin to the hand's
FINGERTIP = 0.1034  # from the hand's origin to the point between the fingertips
HAND_YAW = -pi / 4
FINGER_ORIGIN = 0.0584
FINGER_REACH = 0.04  # of one finger, from the middle
ROTOR_INERTIA = 0.1  # kg·m² as each arm joint sees it
FINGER_ROTOR = 0.1  # kg
# the hand points down, 0.2 m over the table's centre
HOME = (0.0, 0.04589848, 0.0, -2.37628989, 0.0, 2.42218837, pi / 4)


class Link(NamedTuple):
    """A body with its joint's axis as z: the joint's frame in the one before, turned by quarter turns about x; a solid box's inertia."""

    origin: tuple[float, float, float]
    quarter_turns: int
    range: tuple[float, float]
    torque: float
    mass: float
    centre: tuple[float, float, float]
    box: tuple[float, float, float]  # half widths


LINKS = (
    Link((0, 0, 0.333), 0, (-2.8973, 2.8973), 87, 3.0, (0, -0.03, -0.07), (0.06, 0.06, 0.12)),
    Link((0, 0, 0), -1, (-1.7628, 1.7628), 87, 3.0, (0, -0.07, 0.03), (0.06, 0.12, 0.06)),
    Link((0, -0.316, 0), 1, (-2.8973, 2.8973), 87, 2.5, (0.04, 0.03, -0.06), (0.06, 0.06, 0.11)),
    Link((0.0825, 0, 0), 1, (-3.0718, -0.0698), 87, 2.5, (-0.04, 0.05, 0.03), (0.06, 0.11, 0.06)),
    Link((-0.0825, 0.384, 0), -1, (-2.8973, 2.8973), 12, 2.5, (0, 0.04, -0.12), (0.05, 0.06, 0.14)),
    Link((0, 0, 0), 1, (-0.0175, 3.7525), 12, 1.5, (0.05, 0, 0), (0.08, 0.05, 0.05)),
    Link((0.088, 0, 0), 1, (-2.8973, 2.8973), 12, 0.6, (0, 0, 0.07), (0.045, 0.045, 0.04)),
)
# rigid on link 7, and sliding on it: (mass, centre, box), with axes along the hand's
HAND = (0.7, (0, 0, 0.04), (0.025, 0.1, 0.035))
FINGER = (0.03, (0, 0, 0.025), (0.01, 0.01, 0.025))


def inertia(mass: float, box: tuple[float, float, float]) -> tuple[float, float, float]:
    """Principal moments of a solid box of half widths `box`, kg·m²."""
    x, y, z = (width * width * mass / 3 for width in box)
    return y + z, x + z, x + y


def mjcf(cubes: int) -> str:
    """The scene with `cubes` cubes. Positions: 7 arm joints, 2 fingers, then 7 of each cube; controls: 7 torques, 2 finger positions."""
    arm = ""
    for number, link in enumerate(LINKS, 1):
        arm += f"""
<body name="link{number}" pos="{_text(link.origin)}" quat="{_text(_quarter(link.quarter_turns))}" gravcomp="1">
<joint name="joint{number}" axis="0 0 1" range="{_text(link.range)}" armature="{ROTOR_INERTIA}"/>
{_inertial(link.mass, link.centre, link.box)}
<geom class="seen" type="box" pos="{_text(link.centre)}" size="{_text(link.box)}"/>"""
    hand = f"""
<body name="hand" pos="0 0 {FLANGE}" euler="0 0 {HAND_YAW!r}" gravcomp="1">
{_inertial(*HAND)}
<geom class="touching" type="capsule" fromto="0 -0.07 0.035 0 0.07 0.035" size="0.03"/>
<site name="tip" pos="0 0 {FINGERTIP}"/>
{_finger("left", 1)}{_finger("right", -1)}
</body>"""
    loose = "".join(
        f"""
<body name="cube{number}" pos="0 {0.2 * number} {CUBE_HALF_WIDTH}">
<freejoint/>
<geom type="box" size="{_text((CUBE_HALF_WIDTH,) * 3)}" density="1000" contype="4" conaffinity="7" rgba="0.8 {0.3 * (number > 0)} 0.2 1"/>
</body>"""
        for number in range(cubes)
    )
    walls = "".join(
        f'<geom class="wall" pos="{_text((-x * BIN_HALF_WIDTH, -y * BIN_HALF_WIDTH, 0))}" zaxis="{x} {y} 0"/>'
        for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))
    )
    torques = "".join(f'<motor joint="joint{n}" ctrlrange="{-link.torque} {link.torque}"/>' for n, link in enumerate(LINKS, 1))
    fingers = "".join(
        f'<position joint="{side}" kp="100" kv="6.5" ctrlrange="0 {FINGER_REACH}" forcerange="-20 20"/>' for side in ("left", "right")
    )
    return f"""
<mujoco model="franka-push">
<compiler angle="radian" autolimits="true"/>
<option timestep="{TIMESTEP!r}" integrator="Euler" cone="pyramidal" solver="Newton" iterations="10" ls_iterations="10" jacobian="dense"/>
<default>
<geom friction="0.5 0.005 0.0001" condim="3"/>
<default class="seen"><geom contype="0" conaffinity="0" group="1" mass="0" rgba="0.9 0.9 0.9 1"/></default>
<default class="touching"><geom contype="0" conaffinity="5" rgba="0.4 0.4 0.4 1"/></default>
<default class="wall"><geom type="plane" size="0.3 0.3 0.1" contype="2" conaffinity="0" rgba="0.3 0.5 0.8 0.2"/></default>
</default>
<worldbody>
<light pos="0 0 2"/>
<geom name="table" type="plane" size="0.6 0.6 0.1" contype="1" conaffinity="0" rgba="0.7 0.6 0.5 1"/>
{walls}
<body name="base" pos="{_text(BASE)}">{arm}{hand}{"</body>" * len(LINKS)}
</body>
{loose}
</worldbody>
<actuator>{torques}{fingers}</actuator>
</mujoco>"""


def _finger(name: str, side: int) -> str:
    return f"""
<body name="{name}" pos="0 0 {FINGER_ORIGIN}" gravcomp="1">
<joint name="{name}" type="slide" axis="0 {side} 0" range="0 {FINGER_REACH}" armature="{FINGER_ROTOR}"/>
{_inertial(*FINGER)}
<geom class="touching" type="capsule" fromto="0 {side * 0.01} 0.01 0 {side * 0.01} 0.04" size="0.01"/>
</body>"""


def _inertial(mass: float, centre: tuple[float, float, float], box: tuple[float, float, float]) -> str:
    return f'<inertial pos="{_text(centre)}" mass="{mass}" diaginertia="{_text(inertia(mass, box))}"/>'


def _quarter(turns: int) -> tuple[float, float, float, float]:
    return float(np.cos(turns * pi / 4)), float(np.sin(turns * pi / 4)), 0.0, 0.0


def _text(values: tuple[float, ...]) -> str:
    return " ".join(repr(value) for value in values)
