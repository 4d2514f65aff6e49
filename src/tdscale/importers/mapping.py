"""mapping.toml: which of a log's keys mean what, given once."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tdscale.errors import UserError
from tdscale.importers.raw import Columns

_MAX_BYTES = 1 << 20
_LISTS = {"where": '["width=256"]', "split_by": '["exp_name"]', "ignore": '["notes"]'}
_EXAMPLE = 'utd = "config.utd", or batch_size = 256'


def read_mapping(path: Path) -> dict[str, Any]:
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
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UserError(f"{path}, {key}: unknown key; known here: {', '.join(sorted(known))}")
        if key in _LISTS:
            several = value if isinstance(value, list) else [value]
            if not several or not all(isinstance(one, str) and one for one in several):
                raise UserError(f"{path}, {key}: {value!r} must be text, or a list of texts, e.g. {key} = {_LISTS[key]}")
            found[key] = tuple(several)
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            raise UserError(f"{path}, {key}: {value!r} is neither a key's name nor a number; it must be like {_EXAMPLE}")
        constant = not isinstance(value, str) and not key.endswith("_scale")
        found["returns" if key == "return" else key] = f"={value}" if constant else value
    return found


def columns_from(options: Mapping[str, Any], mapping: Path | None) -> tuple[Columns, str | None]:
    """What options say, else what the file says; and the kind of source that the file names."""
    values = read_mapping(mapping) if mapping is not None else {}
    kind = values.pop("from", None)
    values |= {name: value for name, value in options.items() if value not in (None, [], ())}
    for name, value in values.items():
        if value == "" or (name in _LISTS and "" in value):
            raise UserError(f"--{name.replace('_', '-')}: is empty; it must be a key's name, or =VALUE")
    return Columns(**values), kind
