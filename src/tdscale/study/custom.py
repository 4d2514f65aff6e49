"""Algorithms of a user's own, named "module:name" in a study: where their file is. Nothing here imports them."""

import re
from pathlib import Path

_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def is_custom(algorithm: str) -> bool:
    """Whether an algorithm is named as module:name, e.g. "my_td3:TD3"."""
    return _FORM.fullmatch(algorithm) is not None


def module_of(algorithm: str) -> str:
    """The module of an algorithm named as module:name."""
    return algorithm.partition(":")[0]


def custom_file(algorithm: str, folder: Path) -> Path | None:
    """The file in `folder` that holds the algorithm; None where its module is to be found on Python's path.

    A module within a package ("lab.td3:TD3") is never one of `folder`'s.
    """
    path = folder / f"{module_of(algorithm)}.py"
    return path if "." not in path.stem and path.is_file() else None
