"""What commands print with: a console and tables for people, one JSON document for programs."""

import json
import math
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tdscale.errors import UserError
from tdscale.whole_file import write_text

_WIDE = 160  # columns, where no terminal says how many


def for_people(*, stderr: bool = False) -> Console:
    """A console that prints texts as they are: as wide as the terminal, or in a file or a pipe so wide that tables stay whole."""
    console = Console(stderr=stderr, soft_wrap=True, markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE
    return console


def plain_table(title: str, *columns: str, gap: int = 4, no_wrap: bool = False) -> Table:
    """A table without lines, its first column to the left, the others to the right.

    Args:
        title: above it.
        columns: their headings.
        gap: blanks between two columns.
        no_wrap: whether no column is broken into lines; else the first one is not.
    """
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", padding=(0, gap // 2))
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right", no_wrap=no_wrap or index == 0)
    return made


def write_new(path: Path, text: str, *, suffix: str | None = None) -> None:
    """Write what --write names, whole or not at all. Raises UserError where something is there, or the name or place is wrong."""
    if path.exists():
        raise UserError(f"--write: {path} is there already and stays as it is; name another file")
    if suffix is not None and path.suffix != suffix:
        raise UserError(f"--write: {path} must be a {suffix} file, e.g. {path.with_suffix(suffix)}")
    if not path.resolve().parent.is_dir():
        raise UserError(f"--write: {path.parent} is no folder; make it first, or name another place")
    write_text(path, text)


def print_json(content: Any) -> None:
    """One JSON document on standard output; what is not finite is null."""
    print(json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False))


def duration(seconds: float) -> str:
    """As people say it: 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, thing: str) -> str:
    """1 cell, 2 cells."""
    return f"{number} {thing}{'s' * (number != 1)}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
