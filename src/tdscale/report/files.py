"""Files that appear whole or not at all."""

import os
from collections.abc import Collection
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name in the same folder, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def clear_stale(folder: Path, current: Collection[str], known: Collection[str], endings: Collection[str]) -> None:
    """Remove what an earlier report wrote and this one does not have; a user's own files stay."""
    for name in sorted(set(known) - set(current)):
        for ending in endings:
            (folder / f"{name}{ending}").unlink(missing_ok=True)
