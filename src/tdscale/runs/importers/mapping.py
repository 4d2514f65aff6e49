"""mapping.toml: which of a log's keys mean what, given once."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tdscale.errors import UserError
from tdscale.runs.importers.raw import Columns

_MAX_BYTES = 1 << 20
_EXAMPLE = 'utd = "config.utd", or batch_size = 256'


def read_mapping(path: Path) -> dict[str, str]:
    """The fields of `Columns` (with `return` for `returns`) and `from` that a file gives; its numbers are constants.

    Raises:
        UserError: if it can't be read or says something else.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path}: over 1 MiB is no mapping; give a small TOML file, e.g. {_EXAMPLE}")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise UserError(f"{path}: can't be read as TOML ({reason}); a mapping is a small TOML file, e.g. {_EXAMPLE}") from None
    known = {"return" if name == "returns" else name for name in Columns.known()} | {"from"}
    found = {}
    for key, value in values.items():
        if key not in known:
            raise UserError(f"{path}, {key}: unknown key; known here: {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            raise UserError(f"{path}, {key}: {value!r} is neither a key's name nor a number; it must be like {_EXAMPLE}")
        found["returns" if key == "return" else key] = value if isinstance(value, str) else f"={value}"
    return found


def columns_from(options: Mapping[str, Any], mapping: Path | None) -> tuple[Columns, str | None]:
    """What options say, else what the file says; and the kind of source that the file names."""
    values = read_mapping(mapping) if mapping is not None else {}
    kind = values.pop("from", None)
    values |= {name: value for name, value in options.items() if value is not None}
    for name, value in values.items():
        if value == "":
            raise UserError(f"--{name.replace('_', '-')}: is empty; it must be a key's name, or =VALUE")
    return Columns(**values), kind
