"""`RunStore`: the runs of a study on disk, one folder a run or packed by the thousand (docs/on-disk.md)."""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from tdscale.errors import UserError
from tdscale.runs import packed
from tdscale.runs.records import (
    Curve,
    checked_columns,
    read_curve,
    read_json,
    spec_from,
    status_from,
    status_to_dict,
    to_json,
    write_curve,
)
from tdscale.runs.types import ENV_STEP, KNOWN_COLUMNS, RETURN, RunResult, RunStatus, RunWarning, in_order, is_column
from tdscale.runs.whole_folder import CHECKPOINT, existing, set_aside, settle, whole_folder
from tdscale.study import RunSpec
from tdscale.whole_file import sync

T = TypeVar("T")
P = ParamSpec("P")

_SPEC, _STATUS, _CURVE, _PACKED = "spec.json", "status.json", "curve.parquet", "packed"
_COMPACTED = "compacted-"  # parts of this study's own runs; a later number wins over an earlier one and over imports
_LOCK_SECONDS = 600.0


class RunStore:
    """The runs within a study's folder.

    Reading takes no lock and sees only whole runs. Methods that read raise `UserError` at the first file that can't be
    read; given a list as `problems` they add it there, leave the run out and continue. A run that is both in its own
    folder and in a packed part is read from its folder.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.runs = self.directory / "runs"
        self._lock = FileLock(self.runs / ".lock", timeout=_LOCK_SECONDS)
        self._cleaned = False

    def checkpoint_directory(self, run_id: str) -> Path:
        """Where a run's checkpoint lives. It stays when the run's other files are replaced."""
        return self.runs / run_id / CHECKPOINT

    def checkpoint_bytes(self, run_id: str) -> int:
        """What a run's checkpoint takes on the disk; 0 without one."""
        folder = self.checkpoint_directory(run_id)
        return sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0

    def discard_checkpoints(self, run_ids: Iterable[str]) -> None:
        """Remove the checkpoints of these runs, where there are any."""
        if not self.runs.is_dir():
            return
        with self._writing():  # what a killed writer left may hold one still
            for run_id in run_ids:
                shutil.rmtree(self.checkpoint_directory(run_id), ignore_errors=True)

    def write(self, result: RunResult) -> bool:
        """Store a run, whole or not at all.

        An earlier result of the same run is replaced, unless it goes further, or the new one failed and it did not.

        Returns:
            Whether it was stored.

        Raises:
            UserError: if the disk is full or can't be written; nothing is torn then.
            ValueError: if the columns are not those of a curve.
        """
        curve = checked_columns(result)
        run_id = result.spec.run_id
        with self._writing():
            if self._keeps(run_id, result.status):
                return False
            with whole_folder(self.runs / run_id) as folder:
                (folder / _SPEC).write_text(to_json(result.spec.to_dict()), encoding="utf-8")
                (folder / _STATUS).write_text(to_json(status_to_dict(result.status)), encoding="utf-8")
                write_curve(curve, folder / _CURVE)
        return True

    def write_packed(self, results: Iterable[RunResult], name: str) -> int:
        """Store many runs as one packed part, whole or not at all; an earlier part of that name is replaced.

        Args:
            results: in any order; taken one at a time.
            name: of the part: letters, digits, `-`, `_`, `.`.

        Returns:
            The count of runs.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
            raise ValueError(f"{name!r} can't be the name of a packed part")
        with self._writing(), whole_folder(self.runs / _PACKED / name) as folder:
            return packed.write_part(results, folder)

    def compact(self, skip: Collection[str] = (), *, at_least: int = 1) -> int:
        """Move runs that have ended from their folders into one packed part; the folders are removed once the part is on disk.

        Left as they are: failed runs, runs with a checkpoint, those that can't be read, and those of `skip`, which may continue.
        Readers see the same runs meanwhile. A later result of a packed run is written as a folder
        and wins. Killed at any moment it leaves every run in its folder, in the part, or in both.

        Args:
            skip: run_ids.
            at_least: do nothing where there are fewer such folders.

        Returns:
            The count of runs that were packed.

        Raises:
            UserError: if the disk is full or can't be written; nothing is changed then.
        """
        with self._writing():
            unwanted = set(skip)
            folders = {i: f for i, f in self._folders().items() if i not in unwanted and not (f / CHECKPOINT).exists()}
            if len(folders) < max(at_least, 1):
                return 0
            taken: list[str] = []
            results = self._ended(folders, taken)
            first = next(results, None)
            if first is None:
                return 0
            with whole_folder(self.runs / _PACKED / self._next_part()) as part:
                packed.write_part(chain([first], results), part)
            sync(self.runs)
            for run_id in taken:
                set_aside(folders[run_id], self.runs / run_id)
            return len(taken)

    def specs(self, *, problems: list[RunWarning] | None = None) -> dict[str, RunSpec]:
        """Every run's spec, in run_id order."""
        return self._records(packed.read_specs, _read_spec, problems)

    def statuses(self, *, problems: list[RunWarning] | None = None) -> dict[str, RunStatus]:
        """Every run's status, in run_id order."""
        return self._records(packed.read_statuses, _read_status, problems)

    def curves(
        self,
        run_ids: Collection[str] | None = None,
        columns: Collection[str] | None = (RETURN,),
        *,
        problems: list[RunWarning] | None = None,
    ) -> dict[str, Curve]:
        """Curves by run_id, in its order.

        Args:
            run_ids: the runs wanted, None = all. Those that are not in the store are left out.
            columns: names for which `tdscale.runs.types.is_column` holds; `env_step` always comes along. None = all that there are.

        Returns:
            For each run a dict of arrays of shape (n_steps,): `env_step` int64, strictly rising; the others float64,
            NaN where a column was not logged. Arrays of packed runs are views and not to be written to.
        """
        names = None if columns is None else _column_names(columns)
        wanted = None if run_ids is None else set(run_ids)
        folders = {i: f for i, f in self._folders().items() if wanted is None or i in wanted}

        def read_part(part: Path) -> dict[str, Curve]:
            inside, wrong = packed.read_curves(part, wanted, names)
            for run_id, message in wrong.items():
                if run_id not in folders:
                    _note(problems, "unreadable-run", message, run_id)
            return inside

        return self._gathered(folders, read_part, lambda folder, _: read_curve(folder / _CURVE, names), problems)

    def problems(self) -> list[RunWarning]:
        """Everything in the store that can't be read, by reading it all."""
        found: list[RunWarning] = []
        self.specs(problems=found)
        self.statuses(problems=found)
        self.curves(columns=None, problems=found)
        return list(dict.fromkeys(found))

    def fingerprint(self, run_ids: Collection[str] | None = None) -> str:
        """SHA-256 over run_id, env_step, return, state and last_step of these runs (None: all), in run_id order.

        Times of day, durations and versions don't enter, nor whether a run is packed.
        """
        digest = hashlib.sha256()
        statuses = self.statuses()
        for run_id, curve in self.curves(run_ids).items():
            status = statuses[run_id]
            returns = np.where(np.isnan(curve[RETURN]), np.nan, curve[RETURN])  # one NaN among the many there are
            digest.update(f"{run_id} {status.state} {status.last_step} {len(returns)}\n".encode())
            digest.update(np.ascontiguousarray(curve[ENV_STEP], "<i8").data)
            digest.update(np.ascontiguousarray(returns, "<f8").data)
        return digest.hexdigest()

    def _folders(self) -> dict[str, Path]:
        return {
            name: path
            for name, path in existing(self.runs).items()
            # a folder with a checkpoint alone is a run that has not ended
            if name != _PACKED and any((path / file).exists() for file in (_SPEC, _STATUS, _CURVE))
        }

    def _records(
        self, read_part: Callable[[Path], dict[str, T]], read_one: Callable[[Path, str], T], problems: list[RunWarning] | None
    ) -> dict[str, T]:
        return self._gathered(self._folders(), read_part, read_one, problems)

    def _gathered(
        self,
        folders: dict[str, Path],
        read_part: Callable[[Path], dict[str, T]],
        read_one: Callable[[Path, str], T],
        problems: list[RunWarning] | None,
    ) -> dict[str, T]:
        """From the parts and from `folders`, which were listed before the parts are: a run that is packed meanwhile is in one of both."""
        found: dict[str, T] = {}
        parts = self._parts()
        for part in parts:
            with _noting(problems, "unreadable-part"):
                found |= read_part(part)
        moved = False
        for run_id, folder in folders.items():
            packed_one = found.pop(run_id, None)
            with _noting(problems, "unreadable-run", run_id):
                try:
                    # no use in waiting for a folder that was packed
                    found[run_id] = read_one(folder, run_id) if moved and packed_one is not None else _again(read_one, folder, run_id)
                except FileNotFoundError:
                    if folder.exists():
                        raise
                    later = [part for part in self._parts() if part not in parts]
                    for part in later:
                        found |= read_part(part)
                    parts, moved = parts + later, moved or bool(later)
                    if run_id not in found:
                        if packed_one is None:
                            raise
                        found[run_id] = packed_one
        return dict(sorted(found.items()))

    def _parts(self) -> list[Path]:
        """The packed parts, those last whose runs win."""
        return [
            path for _, path in sorted(existing(self.runs / _PACKED).items(), key=lambda part: (part[0].startswith(_COMPACTED), part[0]))
        ]

    def _next_part(self) -> str:
        numbers = [part.name.removeprefix(_COMPACTED) for part in self._parts() if part.name.startswith(_COMPACTED)]
        return f"{_COMPACTED}{max((int(number) for number in numbers if number.isdigit()), default=0) + 1:06d}"

    def _ended(self, folders: dict[str, Path], taken: list[str]) -> Iterator[RunResult]:
        """The runs in these folders that ended well, each noted in `taken`."""
        for run_id, folder in folders.items():
            with suppress(UserError, FileNotFoundError):
                spec, status = _read_spec(folder, run_id), _read_status(folder, run_id)
                if status.state != "failed":
                    curve = read_curve(folder / _CURVE, None)
                    taken.append(run_id)
                    yield RunResult(spec=spec, columns=curve, status=status)

    def _keeps(self, run_id: str, status: RunStatus) -> bool:
        folder = existing(self.runs).get(run_id)
        try:
            earlier = _read_status(folder, run_id) if folder else self._compacted_status(run_id)
        except FileNotFoundError:  # a checkpoint alone
            earlier = self._compacted_status(run_id)
        except UserError:
            return False
        if earlier is None or earlier.state == "failed":
            return False
        return status.state == "failed" or earlier.last_step > status.last_step

    def _compacted_status(self, run_id: str) -> RunStatus | None:
        for part in reversed(self._parts()):
            if part.name.startswith(_COMPACTED):
                with suppress(UserError):
                    status = packed.read_status(part, run_id)
                    if status is not None:
                        return status
        return None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the store's lock; the first time, clean up after writers that were killed."""
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            lock = self._lock.acquire()
        except Timeout:
            raise UserError(f"{self.runs}: another process has been writing for 10 minutes; end it, or wait for it") from None
        except OSError as error:
            raise UserError(f"{self.runs}: can't be written ({error.strerror or error}); give another folder") from None
        with lock:
            if not self._cleaned:
                settle(self.runs)
                settle(self.runs / _PACKED)
                self._cleaned = True
            yield


def _read_spec(folder: Path, run_id: str) -> RunSpec:
    return spec_from(read_json(folder / _SPEC), run_id, folder / _SPEC)


def _read_status(folder: Path, run_id: str) -> RunStatus:
    return status_from(read_json(folder / _STATUS), folder / _STATUS)


def _again(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Read; twice more if the folder was being replaced at that moment."""
    for pause in (0.01, 0.02):
        try:
            return read(*args, **kwargs)
        except FileNotFoundError:
            time.sleep(pause)
    return read(*args, **kwargs)


def _column_names(columns: Collection[str]) -> tuple[str, ...]:
    for name in columns:
        if not is_column(name):
            raise ValueError(f"{name!r} is not a column of a curve; known are {KNOWN_COLUMNS}")
    return in_order({ENV_STEP, *columns})


def _note(problems: list[RunWarning] | None, code: str, message: str, where: str) -> None:
    if problems is None:
        raise UserError(message)
    problems.append(RunWarning(code=code, message=message, where=where))


@contextmanager
def _noting(problems: list[RunWarning] | None, code: str, where: str = "") -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        _note(problems, code, f"{where}: its folder has no file ({error}); remove the folder to have it run again", where)
    except UserError as error:
        _note(problems, code, str(error), where or str(error).partition(": ")[0])
