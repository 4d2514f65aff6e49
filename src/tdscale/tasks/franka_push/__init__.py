"""Franka-Push: an arm pushes a cube to a goal; thousands of environments at once, in C MuJoCo or MJX."""

from tdscale.tasks.franka_push.task import FrankaPush, franka_push

__all__ = ["FrankaPush", "franka_push"]
