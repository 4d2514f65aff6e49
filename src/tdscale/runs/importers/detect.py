"""Which kind of log a file or folder is."""

import os
from pathlib import Path

from tdscale.errors import UserError

_MAX_FILES = 200_000


def detect_kind(source: Path) -> str:
    """A key of `KINDS`.

    Raises:
        UserError: if there is no such file or folder, it is of no known kind, or of several.
    """
    if source.is_file():
        kind = _kind(source.name)
        if kind is None:
            raise UserError(f"{source}: which kind of log this is can't be told; give --from KIND")
        return kind
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder (a project on W&B's server is imported with --from wandb)")
    found: dict[str, str] = {}
    count = 0
    for folder, _, names in os.walk(source):
        for name in names:
            count += 1
            kind = _kind(name)
            if kind is not None:
                found.setdefault(kind, os.path.join(folder, name))
        if count > _MAX_FILES:
            break
    found.pop("qscaled", None)  # in a folder a zip is a saved model
    # Ray writes TensorBoard's events beside its own files; other logs may have tables beside them
    if "rllib" in found:
        found.pop("tensorboard", None)
    if len(found) > 1:
        for table in ("csv", "parquet"):
            if table in found and found.keys() - {"csv", "parquet"}:
                found.pop(table)
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise UserError(f"{source}: holds no log of a known kind; give --from KIND")
    (first, where), (second, other) = sorted(found.items())[:2]
    raise UserError(f"{source}: holds logs of several kinds, {where} and {other}; say which with --from {first} or --from {second}")


def _kind(name: str) -> str | None:
    if name.endswith("monitor.csv") or name == "evaluations.npz":
        return "sb3"
    if name in ("progress.csv", "result.json"):
        return "rllib"
    if "tfevents" in name:
        return "tensorboard"
    for suffix, kind in ((".wandb", "wandb"), (".csv", "csv"), (".csv.gz", "csv"), (".parquet", "parquet"), (".zip", "qscaled")):
        if name.endswith(suffix):
            return kind
    return None
