"""Arrays out of a zip that is not trusted: nothing is unpacked to disk, unpickled, or read beyond its limits."""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError

_MAX_ENTRIES = 100_000
_MAX_ENTRY_BYTES = 64 << 20
_MAX_TOTAL_BYTES = 1 << 30
# constant arrays in the published files are packed 46-fold; a bomb is packed over 1000-fold
_MAX_RATIO = 200


class Archive:
    """The `.npy` entries of a zip. Use as a context manager.

    Attributes:
        path: of the zip.
        names: of the `.npy` entries, sorted; system junk and other files are not among them.
        others: names of entries that are neither arrays nor junk.

    Raises:
        UserError: on opening, if the file is no zip, too large when unpacked, or has entries that point out of it.
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
        self.names = sorted(name for name in self._entries if name.endswith(".npy"))
        self.others = sorted(name for name in self._entries if not name.endswith(".npy"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def array(self, name: str, axes: int = 2) -> NDArray[np.float64]:
        """An array of numbers with so many axes, by default of shape (n_rows, n_columns), as float64.

        Raises:
            UserError: if the entry is torn, holds Python objects or no numbers, or has another count of axes.
        """
        where = f"{self.path}, {name}"
        with self._reading(name):
            data = self._zip.read(self._entries[name])
        array = _parse(data, where)
        if array.ndim != axes:
            raise UserError(f"{where}: has {array.ndim} axes; it must have {'two, time and columns' if axes == 2 else axes}")
        if not array.size:
            raise UserError(f"{where}: is empty, {' rows of '.join(map(str, array.shape))}{' columns' if axes == 2 else ''}")
        return array.astype(np.float64)

    def _checked(self) -> Iterator[zipfile.ZipInfo]:
        entries = self._zip.infolist()
        if len(entries) > _MAX_ENTRIES:
            raise UserError(f"{self.path}: holds {len(entries)} entries; over {_MAX_ENTRIES} are not read")
        total = 0
        seen = set()
        for entry in entries:
            where = f"{self.path}, {entry.filename!r}"
            parts = PurePosixPath(entry.filename).parts
            if entry.filename.startswith(("/", "\\")) or "\\" in entry.filename or ":" in entry.filename or ".." in parts:
                raise UserError(f"{where}: an entry that points out of the archive; this is not a file to trust")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise UserError(f"{where}: a link; this is not a file to trust")
            if entry.is_dir() or _is_junk(parts):
                continue
            if entry.flag_bits & 1:
                raise UserError(f"{where}: is encrypted; give a zip without a password")
            if entry.file_size > _MAX_ENTRY_BYTES or entry.file_size > _MAX_RATIO * max(entry.compress_size, 64):
                raise UserError(
                    f"{where}: would unpack to {entry.file_size / 2**20:.0f} MiB out of {entry.compress_size} bytes; it is not read"
                )
            total += entry.file_size
            if total > _MAX_TOTAL_BYTES:
                raise UserError(f"{self.path}: would unpack to more than {_MAX_TOTAL_BYTES >> 20} MiB; it is not read")
            if entry.filename in seen:
                raise UserError(f"{where}: stands in the archive twice")
            seen.add(entry.filename)
            yield entry

    @contextmanager
    def _reading(self, name: str = "") -> Iterator[None]:
        where = f"{self.path}, {name}" if name else f"{self.path}"
        try:
            yield
        except zipfile.BadZipFile as error:
            what = f"is damaged ({error})" if name else "is not a zip file, or not all of it"
            raise UserError(f"{where}: {what}; download it again") from None
        except (zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise UserError(f"{where}: is damaged or packed in an unknown way ({error}); download it again") from None
        except OSError as error:
            raise UserError(f"{where}: can't be read ({error.strerror or error})") from None


def _is_junk(parts: tuple[str, ...]) -> bool:
    return "__MACOSX" in parts or parts[-1] in (".DS_Store", "Thumbs.db") or parts[-1].startswith("._")


def _parse(data: bytes, where: str) -> NDArray[Any]:
    """An `.npy` file. The header is checked before anything of the size that it claims is allocated."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
    except (ValueError, TypeError, SyntaxError, EOFError, RecursionError, MemoryError):
        raise UserError(f"{where}: is not a NumPy array file; download the zip again") from None
    if dtype.hasobject:
        raise UserError(f"{where}: holds Python objects, which are never loaded; it must hold plain numbers")
    if dtype.kind not in "iufb":
        raise UserError(f"{where}: holds {dtype}, not numbers")
    expected = dtype.itemsize
    for size in shape:
        expected *= size
    content = data[stream.tell() :]
    if any(size < 0 for size in shape) or expected != len(content):
        raise UserError(f"{where}: promises an array of shape {tuple(shape)} but holds {len(content)} bytes; download the zip again")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran else "C")
