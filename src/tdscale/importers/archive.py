"""Arrays out of a zip or a folder that is not trusted: nothing is unpacked to disk, unpickled, or read beyond its limits."""

import io
import lzma
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError, first_line
from tdscale.importers.files import files_below

_MAX_ENTRIES = 100_000
_MAX_ENTRY_BYTES = 64 << 20
_MAX_TOTAL_BYTES = 1 << 30
# constant arrays in the published files are packed 46-fold; a bomb is packed over 1000-fold
_MAX_RATIO = 200
_MAX_AXES = 8
# what zipfile and the libraries behind it raise at bytes that are no entry
_DAMAGED = (zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, MemoryError, OverflowError)


class Archive:
    """The arrays of a zip: its `.npy` entries, and those within its `.npz` entries. Use as a context manager.

    Attributes:
        path: of the zip.
        names: of the arrays, sorted; system junk and other files are not among them. Of an array in "a.npz" that is its only one the
            name is "a.npz", else "a.npz/KEY".
        others: names of entries that are neither arrays nor junk.

    Raises:
        UserError: on opening, if the file is not a zip, too large when unpacked, or has entries that point out of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise UserError(f"{path}: no such file; give the downloaded zip")
        if path.is_dir():
            raise UserError(f"{path}: is a folder; give the downloaded zip itself")
        with self._reading():
            self._zip = zipfile.ZipFile(path)
        try:
            self._entries = {entry.filename: entry for entry in self._checked()}
        except UserError:
            self._zip.close()
            raise
        self._inner: dict[str, tuple[str, str]] = {}
        try:
            for name in [name for name in self._entries if name.endswith(".npz")]:
                with self._within(name) as (inner, entries):
                    del inner
                    self._inner |= {full: (name, entry) for full, entry in _expanded(name, list(entries)).items()}
        except UserError:
            self._zip.close()
            raise
        self.names = sorted([*(name for name in self._entries if name.endswith(".npy")), *self._inner])
        self.others = sorted(name for name in self._entries if not name.endswith((".npy", ".npz")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def array(self, name: str, axes: int | None = 2) -> NDArray[np.float64]:
        """An array of numbers with so many axes, by default of shape (n_rows, n_columns), as float64; None = one or two.

        Raises:
            UserError: if the entry is torn, holds Python objects or no numbers, or has another count of axes.
        """
        if name in self._inner:
            outer, entry = self._inner[name]
            with self._within(outer) as (inner, entries), self._reading(name):
                data = inner.read(entries[entry])
        else:
            with self._reading(name):
                data = self._zip.read(self._entries[name])
        return numbers(data, f"{self.path}, {shown(name)}", axes)

    @contextmanager
    def _within(self, name: str) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
        """A zip that is an entry of this one."""
        with self._reading(name):
            content = io.BytesIO(self._zip.read(self._entries[name]))
        with self._reading(name):
            inner = zipfile.ZipFile(content)
        with inner:
            yield inner, {entry.filename: entry for entry in self._checked(inner, f"{self.path}, {shown(name)}")}

    def _checked(self, archive: zipfile.ZipFile | None = None, path: str | None = None) -> Iterator[zipfile.ZipInfo]:
        entries = (archive or self._zip).infolist()
        if len(entries) > _MAX_ENTRIES:
            raise UserError(f"{path or self.path}: holds {len(entries)} entries; over {_MAX_ENTRIES} are not read")
        total = 0
        seen = set()
        for entry in entries:
            where = f"{path or self.path}, {shown(entry.filename)}"
            parts = PurePosixPath(entry.filename).parts
            if entry.filename.startswith(("/", "\\")) or "\\" in entry.filename or ":" in entry.filename or ".." in parts:
                raise UserError(f"{where}: an entry that points out of the archive; do not trust this file")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise UserError(f"{where}: a link; do not trust this file")
            if not parts or entry.is_dir() or _is_junk(parts):  # an empty name is that of no file
                continue
            if entry.flag_bits & 1:
                raise UserError(f"{where}: is encrypted; give a zip without a password")
            if entry.file_size > _MAX_ENTRY_BYTES or entry.file_size > _MAX_RATIO * max(entry.compress_size, 64):
                raise UserError(
                    f"{where}: would unpack to {entry.file_size / 2**20:.0f} MiB out of {entry.compress_size} bytes; that is too much"
                )
            total += entry.file_size
            if total > _MAX_TOTAL_BYTES:
                raise UserError(f"{path or self.path}: would unpack to more than {_MAX_TOTAL_BYTES >> 20} MiB; that is too much")
            if entry.filename in seen:
                raise UserError(f"{where}: is in the archive twice")
            seen.add(entry.filename)
            yield entry

    @contextmanager
    def _reading(self, name: str = "") -> Iterator[None]:
        where = f"{self.path}, {shown(name)}" if name else f"{self.path}"
        try:
            yield
        except zipfile.BadZipFile as error:
            what = f"is damaged ({first_line(error)})" if name else "is not a complete zip file"
            raise UserError(f"{where}: {what}; download it again") from None
        except _DAMAGED as error:
            raise UserError(f"{where}: is damaged or compressed in an unknown way ({first_line(error)}); download it again") from None
        except OSError as error:
            raise UserError(f"{where}: can't be read ({error.strerror or error})") from None


class Folder:
    """The arrays below a folder, or of one `.npy` or `.npz` file, with the interface of `Archive`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        single = path.is_file()
        self._files: dict[str, tuple[Path, str]] = {}
        for file in files_below(path, lambda name: name.endswith((".npy", ".npz")) and not name.startswith("._")):
            name = file.name if single else file.relative_to(path).as_posix()
            if file.name.endswith(".npy"):
                self._files[name] = file, ""
                continue
            with Archive(file) as inner:
                self._files |= {full: (file, entry) for full, entry in _expanded(name, inner.names).items()}
        if len(self._files) > _MAX_ENTRIES:
            raise UserError(f"{path}: holds {len(self._files)} arrays; over {_MAX_ENTRIES} are not read")
        self.names = sorted(self._files)
        self.others: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held open."""

    def array(self, name: str, axes: int | None = 2) -> NDArray[np.float64]:
        """As `Archive.array`."""
        file, entry = self._files[name]
        if entry:
            with Archive(file) as inner:
                return inner.array(entry, axes)
        if file.stat().st_size > _MAX_ENTRY_BYTES:
            raise UserError(f"{file}: has {file.stat().st_size / 2**20:.0f} MiB; over {_MAX_ENTRY_BYTES >> 20} are not read")
        return numbers(file.read_bytes(), str(file), axes)


def arrays_of(source: Path) -> Archive | Folder:
    """The arrays of a zip, a folder, or one file. Raises UserError."""
    return Folder(source) if source.is_dir() or source.name.endswith((".npy", ".npz")) else Archive(source)


def shown(name: str) -> str:
    """An entry's name for a sentence: whole, on one line, printable."""
    return name if name and name.isprintable() else repr(name)


def numbers(data: bytes, where: str, axes: int | None = 2) -> NDArray[np.float64]:
    """What an `.npy` file holds, as `Archive.array` has it."""
    array = _parse(data, where)
    if array.ndim != axes and (axes is not None or array.ndim not in (1, 2)):
        raise UserError(f"{where}: has {array.ndim} axes; it must have {'two, time and columns' if axes in (2, None) else axes}")
    if not array.size:
        raise UserError(f"{where}: is empty, {' rows of '.join(map(str, array.shape))}{' columns' if axes == 2 else ''}")
    return array.astype(np.float64)


def _expanded(name: str, keys: list[str]) -> dict[str, str]:
    """Names of the arrays in an `.npz` file, and their entries."""
    keys = [key for key in keys if key.endswith(".npy")]
    return {name: keys[0]} if len(keys) == 1 else {f"{name}/{key.removesuffix('.npy')}": key for key in keys}


def _is_junk(parts: tuple[str, ...]) -> bool:
    return "__MACOSX" in parts or parts[-1] in (".DS_Store", "Thumbs.db") or parts[-1].startswith("._")


def _parse(data: bytes, where: str) -> NDArray[Any]:
    """An `.npy` file. The header is checked before anything of the size that it claims is allocated."""
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(stream)
            read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read_header(stream)
    except Exception:  # the header is parsed as Python's literals, which raises what it likes at bytes that are none
        raise UserError(f"{where}: is not a NumPy array file; download the zip again, or save the array again") from None
    if dtype.hasobject:
        raise UserError(f"{where}: holds Python objects, which tdscale never loads; it must hold plain numbers")
    if dtype.kind not in "iufb":
        raise UserError(f"{where}: holds {_short(dtype)}, not numbers")
    expected = dtype.itemsize
    for size in shape:
        expected *= size
    content = data[stream.tell() :]
    if len(shape) > _MAX_AXES or any(size < 0 for size in shape) or expected != len(content):
        what = f"promises an array of shape {_short(tuple(shape))} but holds {len(content)} bytes"
        raise UserError(f"{where}: {what}; download the zip again, or save the array again")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def _short(value: object) -> str:
    text = shown(str(value))
    return text if len(text) <= 60 else text[:57] + "…"
