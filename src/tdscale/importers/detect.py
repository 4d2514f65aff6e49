"""Which kind of log a file or folder is: by its content where its name leaves it open."""

import os
from pathlib import Path

from tdscale.errors import UserError
from tdscale.importers.archive import Archive
from tdscale.importers.formats import kind_of_text, may_be_text
from tdscale.importers.layouts import keys_of

_MAX_FILES = 200_000
_MAX_LOOKS = 2_000  # files that are opened to see what they are


def detect_kind(source: Path) -> str:
    """A key of `READERS`.

    Raises:
        UserError: if there is no such file or folder, it is of no known kind, or of several.
    """
    if source.is_file():
        kind = _kind(source) or _within(source, any_name=True)
        if kind == "zip":
            return _of_arrays(source)
        if kind is None:
            raise UserError(f"{source}: the kind of this log is not clear; give --from, e.g. --from csv for a table")
        return _of_arrays(source) if kind == "arrays" else kind
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder (a project on W&B's server is imported with --from wandb)")
    found: dict[str, str] = {}
    arrays: list[str] = []
    count = looks = 0
    for folder, _, names in os.walk(source):
        for name in names:
            count += 1
            path = Path(folder, name)
            kind = _kind(path)
            if kind is None and may_be_text(path.name) and looks < _MAX_LOOKS:
                looks += 1
                kind = _within(path)
            if kind == "arrays":
                arrays.append(path.relative_to(source).as_posix())
            if kind is not None:
                found.setdefault(kind, str(path))
        if count > _MAX_FILES:
            break
    found.pop("zip", None)  # in a folder a zip is a saved model
    # Ray writes TensorBoard's events beside its own files; Stable-Baselines3 its tables; other logs may have tables or arrays beside them
    if "rllib" in found:
        found.pop("tensorboard", None)
    if "arrays" in found and len(found) > 1:
        found.pop("arrays")
    if len(found) > 1:
        for table in ("csv", "parquet"):
            if table in found and found.keys() - {"csv", "parquet"}:
                found.pop(table)
    if len(found) == 1:
        kind = next(iter(found))
        return kind if kind != "arrays" or not any(keys_of(name) for name in arrays) else "qscaled"
    if not found:
        raise UserError(f"{source}: has no log of a known kind; give --from, e.g. --from csv for tables")
    (first, where), (second, other) = sorted(found.items())[:2]
    raise UserError(f"{source}: has logs of several kinds, {where} and {other}; choose with --from {first} or --from {second}")


def _of_arrays(source: Path) -> str:
    """A zip of arrays in the authors' layouts, or of others."""
    if not source.name.endswith((".npy", ".npz")):
        with Archive(source) as archive:
            if any(keys_of(name) for name in archive.names) or not archive.names:
                return "qscaled"
    return "arrays"


def _within(path: Path, *, any_name: bool = False) -> str | None:
    """By the content of a file."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return None
    for mark, kind in ((b"PAR1", "parquet"), (b"PK\x03\x04", "zip"), (b"\x93NUMPY", "arrays")):
        if head.startswith(mark):
            return kind
    return kind_of_text(path) if any_name or may_be_text(path.name) else None


def _kind(path: Path) -> str | None:
    name = path.name
    if name.endswith("monitor.csv") or name == "evaluations.npz":
        return "sb3"
    if name in ("progress.csv", "result.json"):
        return kind_of_text(path) or "rllib"
    if "tfevents" in name:
        return "tensorboard"
    for suffix, kind in ((".wandb", "wandb"), (".csv", "csv"), (".csv.gz", "csv"), (".parquet", "parquet"), (".zip", "zip")):
        if name.endswith(suffix):
            return kind
    return "arrays" if name.endswith((".npy", ".npz")) else None
