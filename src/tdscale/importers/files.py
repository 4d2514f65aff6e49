"""The files of a log: found below a folder in an order a person expects, settings beside them, and arrays that wait on disk."""

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.importers.logged_run import flat


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
        raise UserError(f"{source}: has no file of this kind of log; --from chooses the kind")
    return sorted(found, key=lambda path: natural(path.as_posix()))


def run_name(path: Path, source: Path) -> str:
    """A run's folder or file as its name, below the source; of the source itself its own."""
    if path == source or source.is_file():
        return path.resolve().name
    return path.relative_to(source).as_posix()


CONFIGS = ("config.json", "hyperparameters.json", "params.json", "args.json", "variant.json")
_MAX_CONFIG = 1 << 24


def settings_beside(path: Path, *, alone: bool) -> dict[str, Any]:
    """Those in a log's folder; the seed only where it is the folder's one log, for it can't be that of several."""
    found: dict[str, Any] = {}
    for name in CONFIGS:
        if name != path.name:
            found |= read_settings(path.parent / name)
    return found if alone else {key: value for key, value in found.items() if key.rpartition(".")[2] != "seed"}


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON object, nested keys joined by dots; nothing where there is none, or it can't be read."""
    try:
        if path.stat().st_size > _MAX_CONFIG:
            return {}
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return flat(values) if isinstance(values, dict) else {}


Floats = NDArray[np.float64]
Spooled = tuple[int, int]  # where an array is in the file, and its length


class Spool:
    """Arrays of numbers in a temporary file. Use as a context manager."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, values: Floats) -> Spooled:
        """Put an array of shape (n,) down; returns where it is."""
        offset = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(values, dtype=np.float64).data)
        return offset, len(values)

    def get(self, places: list[Spooled]) -> Floats:
        """Arrays put down before, end to end."""
        parts = [np.empty(0)]
        for offset, count in places:
            self._file.seek(offset)
            parts.append(np.frombuffer(self._file.read(8 * count), np.float64))
        return np.concatenate(parts)
