"""What must be set before MuJoCo is imported, so that it draws nothing and writes nothing into the user's folder."""

import logging
import os


def quiet_mujoco() -> None:
    """Turn rendering off where nothing else was asked for, and send MuJoCo's warnings to `logging`, not MUJOCO_LOG.TXT."""
    os.environ.setdefault("MUJOCO_GL", "disable")
    import mujoco

    mujoco.set_mju_user_warning(logging.getLogger("tdscale.mujoco").debug)
