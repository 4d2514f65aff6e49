"""`CheckpointFolder`: a run's state on disk, from which it goes on as if it had never stopped. Arrays, rows and JSON: no pickles.

    checkpoint/
      manifest-000007.json    what belongs together: values, and every file's length and SHA-256; the newest whole one counts
      state-000007.npz        arrays
      replay-000007.f32       rows that the replay gained since checkpoint 6; those before lie in older files of that kind

A checkpoint writes only new rows. Its manifest is renamed into place last, when everything it names is on disk; the checkpoint
before it is kept until the next one stands.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.whole_file import sync, write_whole

_FORMAT = 1
_MANIFEST = re.compile(r"manifest-(\d{6,})\.json")
_OURS = re.compile(r"\.?[a-z-]+?-(\d{6,})\.(?:json|npz|f32)(?:-[0-9a-f]+)?")
_LOCK = ".lock"
_LOCK_SECONDS = 20.0  # a worker whose parent died takes some seconds to leave its last checkpoint


class CheckpointRefused(Exception):
    """A checkpoint can't be gone on from: one sentence. `run_id` names the run, where it is known."""

    run_id: str | None = None


class Ring(Protocol):
    """Rows of which the newest `capacity` are kept, numbered from 0 in the order in which they were `added`."""

    @property
    def added(self) -> int:
        """How many there ever were."""
        ...

    @property
    def capacity(self) -> int:
        """How many are kept."""
        ...

    def between(self, first: int, end: int) -> NDArray[np.float32]:
        """Rows first … end − 1, shape (end − first, row_size)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a checkpoint holds.

    Attributes:
        values: JSON types.
        arrays: by name; any shape, no objects.
        rows: by name, letters and "-" only.
    """

    values: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    rows: Mapping[str, Ring]


@dataclass(frozen=True)
class _RowFiles:
    """One stream of rows as a manifest names it: files with the number of their first row and the one past their last."""

    added: int
    row_size: int
    files: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Checkpoint:
    """One that was found whole."""

    path: Path
    number: int
    values: Mapping[str, Any]
    _files: Mapping[str, tuple[int, str]] = field(repr=False)  # of which it is made: bytes and SHA-256
    _rows: Mapping[str, _RowFiles] = field(repr=False)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By name. Raises CheckpointRefused."""
        path = self.path / _state_name(self.number)
        try:
            with np.load(path, allow_pickle=False) as loaded:
                return {name: loaded[name] for name in loaded.files}
        except Exception as error:  # whatever a damaged archive makes its reader raise
            raise CheckpointRefused(f"{path}: is no archive of arrays ({_line(error)})") from None

    def added(self, name: str) -> int:
        """How many rows of a name there ever were."""
        return self._stream(name).added

    def rows(self, name: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The rows that are kept, oldest first: the number of the first, and some rows, shape (n, row_size). Raises CheckpointRefused."""
        stream = self._stream(name)
        for file, first, end in stream.files:
            try:
                values = np.fromfile(self.path / file, "<f4")
                rows = values.reshape(end - first, stream.row_size)
            except (OSError, ValueError) as error:
                raise CheckpointRefused(f"{self.path / file}: does not hold rows {first} to {end} ({_line(error)})") from None
            yield first, rows.astype(np.float32, copy=False)

    def _stream(self, name: str) -> _RowFiles:
        if name not in self._rows:
            raise CheckpointRefused(f"{self.path}: holds no rows {name!r}")
        return self._rows[name]


class CheckpointFolder:
    """The checkpoints of one run. Once it was read or written, no other process writes it until this one ends or closes it."""

    def __init__(self, path: Path, run_id: str) -> None:
        self.path, self._run_id = path, run_id
        self._lock = FileLock(path / _LOCK)
        self._last: Checkpoint | None = None
        self._number = 0

    def newest(self, tell: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is whole and this run's; `tell` gets a sentence for each that is not. None: there is none."""
        if not self.path.is_dir():
            return None
        with suppress(Timeout, OSError):  # a folder that can't be written can be read
            self._lock.acquire(timeout=_LOCK_SECONDS)
        self._number = max((number for _, number in self._own_files()), default=0)
        manifests = [(number, path) for path, number in self._own_files() if _MANIFEST.fullmatch(path.name)]
        for number, path in sorted(manifests, reverse=True):
            try:
                self._last = self._read(path, number)
                return self._last
            except CheckpointRefused as refused:
                tell(f"a checkpoint is not used: {refused}")
        return None

    def forget(self) -> None:
        """What `newest` found can't be used: the next checkpoint stands alone."""
        self._last = None

    def write(self, snapshot: Snapshot) -> None:
        """Write a checkpoint, whole or not at all; of rows, those added since the last one.

        Raises:
            UserError: if the disk is full or can't be written, or another process writes here. Earlier checkpoints stay.
        """
        try:
            self._number += 1
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            written = self._write(snapshot, self._number)
        except Timeout:
            raise UserError(f"{self.path}: another process writes this run's checkpoints") from None
        except OSError as error:
            for path, number in self._own_files():
                if number == self._number:
                    path.unlink(missing_ok=True)
            why = error.strerror or error
            raise UserError(f"{self.path}: a checkpoint can't be written ({why}); see to space and permissions") from error
        previous, self._last = self._last, written
        self._prune([written] if previous is None else [written, previous])

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._last = None
        self.close()
        with suppress(OSError):
            self.path.parent.rmdir()  # where the run has nothing else

    def close(self) -> None:
        """Let others write here."""
        self._lock.release(force=True)

    def _write(self, snapshot: Snapshot, number: int) -> Checkpoint:
        state = self.path / _state_name(number)
        objects = [name for name, array in snapshot.arrays.items() if array.dtype.hasobject]
        if objects:
            raise TypeError(f"{objects[0]} holds Python objects, which are never written")
        with state.open("wb") as file:
            np.savez(file, **snapshot.arrays)  # type: ignore[arg-type]
        files = {state.name: _sealed(state)}
        rows = {}
        for name, ring in snapshot.rows.items():
            rows[name], new = self._write_rows(name, ring, number)
            files |= new
        sync(self.path)
        body = {
            "format": _FORMAT,
            "run_id": self._run_id,
            "values": snapshot.values,
            "files": files,
            "rows": {name: {"added": kept.added, "row_size": kept.row_size, "files": kept.files} for name, kept in rows.items()},
        }
        manifest = json.dumps({"body": body, "sha256": _digest(body)}, indent=1, allow_nan=False)
        write_whole(self.path / f"manifest-{number:06d}.json", manifest.encode())
        return Checkpoint(self.path, number, snapshot.values, files, rows)

    def _write_rows(self, name: str, ring: Ring, number: int) -> tuple[_RowFiles, dict[str, tuple[int, str]]]:
        oldest = max(ring.added - ring.capacity, 0)
        earlier = self._last._rows.get(name) if self._last is not None else None
        kept = [] if earlier is None else [file for file in earlier.files if file[2] > oldest]
        files = {file[0]: self._last._files[file[0]] for file in kept} if self._last is not None else {}
        first = max(kept[-1][2] if kept else 0, oldest)
        rows = np.ascontiguousarray(ring.between(first, ring.added), "<f4")
        if len(rows):
            path = self.path / f"{name}-{number:06d}.f32"
            rows.tofile(path)
            files[path.name] = _sealed(path)
            kept.append((path.name, first, ring.added))
        return _RowFiles(ring.added, rows.shape[1], tuple(kept)), files

    def _read(self, path: Path, number: int) -> Checkpoint:
        try:
            content = json.loads(path.read_bytes())
            body = content["body"]
            if content["sha256"] != _digest(body):
                raise CheckpointRefused(f"{path}: was damaged after it was written")
            if body["format"] != _FORMAT:
                raise CheckpointRefused(f"{path}: is of format {body['format']}, this version reads {_FORMAT}")
            if body["run_id"] != self._run_id:
                raise CheckpointRefused(f"{path}: belongs to run {body['run_id']}, not to {self._run_id}")
            files = {str(name): (int(size), str(digest)) for name, (size, digest) in body["files"].items()}
            rows = {
                str(name): _RowFiles(
                    int(stream["added"]),
                    int(stream["row_size"]),
                    tuple((str(file), int(first), int(end)) for file, first, end in stream["files"]),
                )
                for name, stream in body["rows"].items()
            }
            values = dict(body["values"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CheckpointRefused(f"{path}: is cut short, or no checkpoint of ours") from None
        named = {_state_name(number), *(file for stream in rows.values() for file, _, _ in stream.files)}
        if named != set(files) or not all(_OURS.fullmatch(name) for name in files):
            raise CheckpointRefused(f"{path}: names files that are not a checkpoint's")
        for name, (size, digest) in files.items():
            _check(self.path / name, size, digest)
        return Checkpoint(self.path, number, values, files, rows)

    def _prune(self, kept: list[Checkpoint]) -> None:
        wanted = {f"manifest-{checkpoint.number:06d}.json" for checkpoint in kept}
        wanted |= {file for checkpoint in kept for file in checkpoint._files}
        # manifests first: none may be there without its files
        for path, _ in sorted(self._own_files(), key=lambda found: not found[0].name.startswith("manifest")):
            if path.name not in wanted:
                with suppress(OSError):
                    path.unlink()

    def _own_files(self) -> list[tuple[Path, int]]:
        """Our files here, leftovers of writers that were killed included, with their checkpoint's number."""
        found = [(path, _OURS.fullmatch(path.name)) for path in self.path.iterdir()] if self.path.is_dir() else []
        return [(path, int(match[1])) for path, match in found if match is not None]


def _state_name(number: int) -> str:
    return f"state-{number:06d}.npz"


def _sealed(path: Path) -> tuple[int, str]:
    """Bring a file to the disk; its length and digest."""
    sync(path)
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, size: int, digest: str) -> None:
    try:
        there = path.stat().st_size
        if there != size:
            raise CheckpointRefused(f"{path}: has {there} bytes, not the {size} that were written")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise CheckpointRefused(f"{path}: was damaged after it was written")
    except OSError as error:
        raise CheckpointRefused(f"{path}: can't be read ({error.strerror or error})") from None


def _digest(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
