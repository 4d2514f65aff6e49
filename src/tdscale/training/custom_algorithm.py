"""The object that a study names as "module:name": the one place where a user's own file is imported."""

import hashlib
import sys
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from tdscale.errors import UserError
from tdscale.study import custom_file, module_of


def load_custom_algorithm(algorithm: str, folder: Path | None, noun: str = "algorithm") -> Any:
    """Import the module of `algorithm`, "module:name", and return what is called name; `noun` is what messages call it.

    The module is `folder`'s file if there is one, else one on Python's path; the working directory plays no part. A file is
    imported once in a process, and again when it has changed.

    Raises:
        UserError: if the module or the name is not there, or the module can't be imported.
    """
    module_name, _, name = algorithm.partition(":")
    file = None if folder is None else custom_file(algorithm, folder)
    module = _from_path(module_name, folder) if file is None else _from_file(module_name, file)
    if not hasattr(module, name):
        raise UserError(f"{noun} {algorithm!r}: {file or module_name} holds no {name!r}")
    return getattr(module, name)


def custom_version(algorithm: str, folder: Path | None) -> dict[str, str]:
    """What to record of a run's own algorithm: its module, and 16 digits of the SHA-256 of the module's file once it is loaded."""
    name = module_of(algorithm)
    file = None if folder is None else custom_file(algorithm, folder)
    path = file or getattr(sys.modules.get(name), "__file__", None)
    return {name: f"sha256:{_digest(Path(path).read_bytes())}"} if path else {}


def _from_path(name: str, folder: Path | None) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            beside = "" if folder is None else f"no {name}.py lies in {folder}, and " if "." not in name else ""
            raise UserError(f"there is no module {name!r}: {beside}Python's path does not have it (PYTHONPATH, or pip install)") from None
        raise _failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _from_file(name: str, file: Path) -> ModuleType:
    file = file.resolve()
    # a name that no other module has: the file may be called as one of the standard library's is
    known_as = f"tdscale_own_{name}_{_digest(file.read_bytes() + bytes(file))}"
    if known_as in sys.modules:
        return sys.modules[known_as]
    spec = spec_from_file_location(known_as, file, loader=_Source(known_as, str(file)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[known_as] = module  # before it runs: dataclasses look themselves up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[known_as]
        raise _failed(str(file), error) from error
    return module


class _Source(SourceFileLoader):
    def path_stats(self, path: str) -> NoReturn:
        """Without a file's time, no bytecode is kept beside it, nor any that lies there taken."""
        raise OSError


def _failed(what: str, error: BaseException) -> UserError:
    lines = str(error).splitlines()
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == what:
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f" (line {line})" if line is not None else ""
    return UserError(f"{what} can't be imported: {type(error).__name__}: {lines[0] if lines else 'no reason given'}{where}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
