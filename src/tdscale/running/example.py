"""The example: a real study that comes along with the package, trained and packed, so that every command has something to answer."""

import shutil
from importlib import resources
from pathlib import Path

from tdscale.errors import UserError
from tdscale.runs.whole_folder import whole_folder

NAME = "mujoco-sac"


def copy_example(directory: Path) -> None:
    """Copy the example study into a folder that does not exist yet, or is empty.

    Raises:
        UserError: if something is in the way, or the disk is full or can't be written.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory}: exists already; give a folder that does not exist yet")
    if not directory.parent.is_dir():
        raise UserError(f"{directory.parent}: is not a folder; make it first, or give another place")
    with resources.as_file(resources.files("tdscale") / "studies" / NAME) as example:
        if not example.is_dir():  # a checkout whose symbolic links were not made
            raise UserError("the example study is not part of this installation; use its wheel, or studies/ of a checkout")
        with whole_folder(directory) as copy:
            shutil.copytree(example, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*", "progress.json", "logs"))
