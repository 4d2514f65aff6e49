"""Folders that appear whole or not at all: written under a temporary name, synced to disk, renamed into place.

A folder can't be renamed over another one, so a replacement is two renames with the earlier folder under the name
`.old-NAME-…` between them. A process killed there leaves that name alone, and `settle` or `existing` find it.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tdscale.errors import UserError
from tdscale.whole_file import TEMPORARY, sync

_NEW, _OLD = TEMPORARY, ".old-"
CHECKPOINT = "checkpoint"


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place when the block ends well, and is gone when it does not.

    An earlier `target` is replaced; its checkpoint moves over. The caller holds the lock of the parent folder.

    Raises:
        UserError: if the disk is full or can't be written.
    """
    temporary = target.parent / f"{_NEW}{target.name}-{secrets.token_hex(4)}"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in sorted(temporary.iterdir()):
            sync(path)
        sync(temporary)
        _swap(temporary, target)
    except OSError as error:
        raise UserError(
            f"{target}: can't be written ({error.strerror or error}); check disk space and permissions and start again; stored runs stay"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(temporary: Path, target: Path) -> None:
    old = target.parent / f"{_OLD}{target.name}-{secrets.token_hex(4)}"
    replaced = target.exists()
    if replaced:
        os.rename(target, old)
    try:
        os.rename(temporary, target)
    except OSError:
        if replaced:
            os.rename(old, target)
        raise
    sync(target.parent)
    if replaced:
        _discard(old, target)


def _discard(old: Path, target: Path) -> None:
    """Remove a replaced folder, its checkpoint saved."""
    if (old / CHECKPOINT).exists() and not (target / CHECKPOINT).exists():
        os.rename(old / CHECKPOINT, target / CHECKPOINT)
    shutil.rmtree(old, ignore_errors=True)


def set_aside(folder: Path, target: Path) -> None:
    """Remove `folder`, which is what stands for `target`, at once, as readers see it; a checkpoint in it stays.

    The caller holds the lock of the parent folder. A folder that can't be removed stays.
    """
    hidden = target.parent / f"{_NEW}{target.name}-{secrets.token_hex(4)}"
    with suppress(OSError):
        os.rename(folder, hidden)
        if (hidden / CHECKPOINT).exists():  # it came after the caller looked
            target.mkdir(exist_ok=True)
            os.rename(hidden / CHECKPOINT, target / CHECKPOINT)
        shutil.rmtree(hidden, ignore_errors=True)


def settle(parent: Path) -> None:
    """Clean up after killed writers. The caller holds the lock, so no writer is at work."""
    for path in _hidden(parent, _OLD):
        target = parent / _name(path, _OLD)
        with suppress(OSError):
            if target.exists():
                _discard(path, target)
            else:
                os.rename(path, target)
    for path in _hidden(parent, _NEW):
        shutil.rmtree(path, ignore_errors=True)


def existing(parent: Path) -> dict[str, Path]:
    """The folders within `parent` by name, those of an interrupted replacement included; leftovers are not seen."""
    if not parent.is_dir():
        return {}
    found = {_name(path, _OLD): path for path in _hidden(parent, _OLD)}
    found |= {entry.name: Path(entry.path) for entry in os.scandir(parent) if not entry.name.startswith(".") and entry.is_dir()}
    return dict(sorted(found.items()))


def _hidden(parent: Path, prefix: str) -> list[Path]:
    return sorted(path for path in parent.glob(f"{prefix}*") if path.is_dir())


def _name(path: Path, prefix: str) -> str:
    return path.name.removeprefix(prefix).rpartition("-")[0]
