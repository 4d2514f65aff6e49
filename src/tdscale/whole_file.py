"""Files that appear whole or not at all: written under a temporary name in the same folder, renamed into place."""

import os
import secrets
from pathlib import Path

from tdscale.errors import UserError

TEMPORARY = ".new-"  # what their names begin with until they are whole


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file in place of an earlier one, which stays if that fails.

    Args:
        path: of the file; its folder is there.
        content: all of it.
        lasting: whether it must survive a power cut from here on, which takes the disk's time.

    Raises:
        OSError: if the disk is full or can't be written; it names `path`.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        if lasting:
            sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    if lasting:
        sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """`write_whole` of a text, for whom a sentence is what is needed where it fails.

    Raises:
        UserError: if the disk is full or can't be written.
    """
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror or error}); check disk space and permissions") from None
