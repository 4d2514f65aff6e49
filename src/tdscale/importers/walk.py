"""The files of a log, in an order a person expects."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from tdscale.errors import UserError


def natural(text: str) -> list[tuple[int, int | str]]:
    """A key by which run-2 comes before run-10."""
    return [
        (0, int(part)) if part.isascii() and part.isdigit() and len(part) < 18 else (1, part) for part in re.split(r"(\d+)", text) if part
    ]


def files_below(source: Path, fits: Callable[[str], bool], within: Callable[[Path], bool] = lambda path: True) -> list[Path]:
    """A file itself, or those below a folder whose name and content fit; links to folders are not followed.

    Raises:
        UserError: if there is no such file or folder, or none of its files fits.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder")
    found = [Path(folder, name) for folder, _, names in os.walk(source) for name in names if fits(name) and within(Path(folder, name))]
    if not found:
        raise UserError(f"{source}: holds no such file as this kind of log has; --from says which kind it is")
    return sorted(found, key=lambda path: natural(path.as_posix()))


def run_name(path: Path, source: Path) -> str:
    """A run's folder or file as its name, below the source; of the source itself its own."""
    if path == source or source.is_file():
        return path.resolve().name
    return path.relative_to(source).as_posix()
