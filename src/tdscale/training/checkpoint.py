"""A run's state on disk, from which it resumes as if it had never stopped: `CheckpointFolder` writes and reads, `Saving` says when.

    checkpoint/
      manifest-000007.json    what belongs together: values, and every file's length and SHA-256; the newest whole one counts
      state-000007.npz        arrays
      replay-000007.f32       rows that the replay gained since checkpoint 6; those before lie in older files of that kind

Arrays, rows and JSON, no pickles. A checkpoint writes only new rows. Its manifest is renamed into place last, when everything it names
is on disk; the checkpoint before it is kept until the next one is written. What a run puts into one: `RunBatch.snapshot`.
"""

import hashlib
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from tdscale.errors import UserError, first_line
from tdscale.study import RunSpec
from tdscale.whole_file import sync, write_whole

if TYPE_CHECKING:
    from tdscale.training.batch import RunBatch
    from tdscale.training.run import TrainingRun

_FORMAT = 1
_MANIFEST = re.compile(r"manifest-(\d{6,})\.json")
_OURS = re.compile(r"\.?[a-z-]+?-(\d{6,})\.(?:json|npz|f32)(?:-[0-9a-f]+)?")
_LOCK = ".lock"
_LOCK_SECONDS = 20.0  # a worker whose parent died takes some seconds to leave its last checkpoint


class CheckpointRefused(Exception):
    """A run can't resume from a checkpoint: one sentence. `run_id` names the run, where it is known."""

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
        except Exception as error:  # anything that reading a damaged archive may raise
            raise CheckpointRefused(f"{path}: is not an archive of arrays ({first_line(error) or type(error).__name__})") from None

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
                raise CheckpointRefused(
                    f"{self.path / file}: does not hold rows {first} to {end} ({first_line(error) or type(error).__name__})"
                ) from None
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
        """What `newest` found can't be used: the next checkpoint holds all rows."""
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
            raise UserError(f"{self.path}: a checkpoint can't be written ({why}); check disk space and permissions") from error
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
                raise CheckpointRefused(f"{path}: has format {body['format']}, this version reads {_FORMAT}")
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
            raise CheckpointRefused(f"{path}: is cut short, or not a checkpoint of tdscale") from None
        named = {_state_name(number), *(file for stream in rows.values() for file, _, _ in stream.files)}
        if named != set(files) or not all(_OURS.fullmatch(name) for name in files):
            raise CheckpointRefused(f"{path}: names files that do not belong to a checkpoint")
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
    """Force a file to disk; its length and digest."""
    sync(path)
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, size: int, digest: str) -> None:
    try:
        there = path.stat().st_size
        if there != size:
            raise CheckpointRefused(f"{path}: has {there} bytes instead of the {size} that were written")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise CheckpointRefused(f"{path}: was damaged after it was written")
    except OSError as error:
        raise CheckpointRefused(f"{path}: can't be read ({error.strerror or error})") from None


def _digest(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


@contextmanager
def fitting(run_id: str, checkpoint: Checkpoint, here: Mapping[str, Any]) -> Iterator[None]:
    """Refuse a run's checkpoint of another origin than `here`, and one that can't be restored within."""
    try:
        _check_origin(checkpoint, here)
        yield
    except CheckpointRefused as refused:
        refused.run_id = run_id
        raise
    except Exception as error:  # its bytes are what was written, so another version of this code wrote them
        unfit = CheckpointRefused(f"{checkpoint.path}: does not fit this run ({type(error).__name__}: {error})")
        unfit.run_id = run_id
        raise unfit from error


def _check_origin(checkpoint: Checkpoint, here: Mapping[str, Any]) -> None:
    there = {name: checkpoint.values.get(name) for name in here}
    for name in ("versions", "device"):
        if there[name] != here[name]:
            why = f"was written with {_listed(there[name])}, installed is {_listed(here[name])}"
            raise CheckpointRefused(f"{checkpoint.path}: {why}; the curve would not be the same bit for bit")
    if there != here:
        raise CheckpointRefused(f"{checkpoint.path}: holds networks of other shapes than those of the algorithm")


def part_of(arrays: Mapping[str, NDArray[Any]], part: str) -> dict[str, NDArray[Any]]:
    """Those named "part/…", without it."""
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}


def named(**parts: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The inverse of `part_of` for several parts."""
    return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def _listed(made_by: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(made_by.items())) if isinstance(made_by, dict) else str(made_by)


_SHARE = 0.01  # of the time that checkpoints may take
_BYTES_PER_SECOND = 1e8  # a slow disk's, before the first one was measured


class Stopped(Exception):
    """Training was asked to stop, and left checkpoints where it writes any."""


@dataclass
class Saving:
    """Checkpoints of the runs that one process trains.

    Attributes:
        directory: where a run's are, by run_id.
        minutes: the least time between two; they are further apart where writing takes over 1 % of the time. 0: none are written or read.
        keep: also keep those of runs that are done, so that a longer training can resume from them.
        stop: set by whoever wants training to stop; it then leaves checkpoints and raises Stopped.
        tell: called with a sentence where a checkpoint can't be used or written.
    """

    directory: Callable[[str], Path]
    minutes: float = 2.0
    keep: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    tell: Callable[[str], None] = lambda sentence: None

    def __post_init__(self) -> None:
        self._folders: dict[str, CheckpointFolder] = {}
        self._saved: dict[str, tuple[int, str]] = {}
        self._begun = time.monotonic()
        self._due = self._begun + 60 * self.minutes
        self._measured = False
        self._told = False

    def find(self, specs: Iterable[RunSpec]) -> dict[str, Checkpoint]:
        """The newest whole checkpoint of each run that has one."""
        found = {}
        for spec in specs if self.minutes else ():
            checkpoint = self._folder(spec).newest(self.tell)
            if checkpoint is not None:
                found[spec.run_id] = checkpoint
        return found

    def refuse(self, specs: Sequence[RunSpec], why: CheckpointRefused) -> None:
        """What was found of these runs can't be used."""
        for spec in specs:
            self._folder(spec).forget()
        runs = "1 run begins" if len(specs) == 1 else f"{len(specs)} runs begin"
        self.tell(f"{runs} again: {why}")

    def is_due(self) -> bool:
        """Whether `attend` has something to do."""
        return self.stop.is_set() or (self.minutes > 0 and time.monotonic() >= self._due)

    def attend(self, batches: Sequence["RunBatch"]) -> None:
        """Between two steps: write what is due. Raises Stopped if that is asked for."""
        stopping = self.stop.is_set()
        if self.minutes and (stopping or self._is_worth_it(batches)):
            started = time.monotonic()
            for batch in batches:
                self._save(batch)
            ended = time.monotonic()
            self._due = ended + max(60 * self.minutes, (ended - started) / _SHARE)
        if stopping:
            raise Stopped

    def done(self, batches: Sequence["RunBatch"], runs: Sequence["TrainingRun"]) -> None:
        """Runs are about to leave their batches: keep their last state if that is wanted."""
        if self.minutes and self.keep:
            for batch in batches:
                self._save(batch, runs)

    def stored(self, specs: Iterable[RunSpec]) -> None:
        """The results of these runs are safe: their checkpoints are not needed any more."""
        for spec in specs:
            folder = self._folders.pop(spec.run_id, None)
            if folder is not None and not self.keep:
                folder.remove()
            elif folder is not None:
                folder.close()

    def _is_worth_it(self, batches: Sequence["RunBatch"]) -> bool:
        """False for a while where the first checkpoint is a large one."""
        if not self._measured:
            self._measured = True
            likely = sum(batch.checkpoint_bytes() for batch in batches) / _BYTES_PER_SECOND
            self._due = max(self._due, self._begun + likely / _SHARE)
        return time.monotonic() >= self._due

    def _save(self, batch: "RunBatch", only: Sequence["TrainingRun"] | None = None) -> None:
        for slot, run in enumerate(batch.runs):
            where = (run.env_step, run.state)
            over = run.left or run.state == "failed" or (only is not None and run not in only)
            # at env step 0 there is nothing to resume from
            if over or run.env_step == 0 or self._saved.get(run.spec.run_id) == where:
                continue
            try:
                self._folder(run.spec).write(batch.snapshot(slot))
                self._saved[run.spec.run_id] = where
            except UserError as error:
                # training continues, and tries again when the next one is due
                if not self._told:
                    self._told = True
                    self.tell(f"training continues without a checkpoint: {error}")

    def _folder(self, spec: RunSpec) -> CheckpointFolder:
        if spec.run_id not in self._folders:
            self._folders[spec.run_id] = CheckpointFolder(self.directory(spec.run_id), spec.run_id)
        return self._folders[spec.run_id]
