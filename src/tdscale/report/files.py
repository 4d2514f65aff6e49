"""What earlier reports left."""

from collections.abc import Collection
from pathlib import Path


def clear_stale(folder: Path, current: Collection[str], known: Collection[str], endings: Collection[str]) -> None:
    """Remove what an earlier report wrote and this one does not have; a user's own files stay."""
    for name in sorted(set(known) - set(current)):
        for ending in endings:
            (folder / f"{name}{ending}").unlink(missing_ok=True)
