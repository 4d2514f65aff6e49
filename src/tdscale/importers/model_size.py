"""N of a log's networks: numbers of parameters as logs and users write them, and `--model-size KEY:VALUE=N,VALUE=N`, which gives them."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tdscale.amounts import number
from tdscale.errors import UserError
from tdscale.runs.where import as_text, decides

OPTION = "--model-size"
# what programs call the size of a network, as words between which a key's own stand
_SIZE = re.compile(r"(^|_)(size|width|depth|hidden|arch|layers?(?!_?norm)|units|neurons|blocks|parameters)(_|$)")
_NEVER_N = re.compile(r"(^|_)(width|depth|hidden|dim|arch|layers?|units|neurons|blocks|ensemble|qs|critics)(_|$)")
_COUNTED = re.compile(r"param")
_LEAST_UNSAID, _LEAST = 5000, 1000  # under another key than one of parameters a smaller number is rather a width
_MOST = 1e15


def _last(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.split(r"[./]", key)[-1]).lower().replace("-", "_")


def is_size(key: str) -> bool:
    """Whether a setting, by its name, makes the size of a network: width, hidden_sizes, net_arch, depth …"""
    return decides(key) and bool(_SIZE.search(_last(key)))


def counts(key: str, value: Any) -> bool:
    """Whether a value under a key can be N itself, by the key's name: 512 under "width" names a size, 512 under "n_params" is N."""
    name, found = _last(key), number(value)
    if found is None or _NEVER_N.search(name):
        return False
    return found >= (1 if _COUNTED.search(name) else _LEAST if name == "model_size" else _LEAST_UNSAID)


def can_name(value: Any) -> bool:
    """Whether a value can name a size: text, true or false, a list, or a number above 0."""
    if value is None or value == "":
        return False
    text = as_text(value)
    try:
        number = float(text)
    except ValueError:
        return True
    return 0 < number < math.inf


@dataclass(frozen=True)
class Told:
    """What `--model-size KEY:VALUE=N,VALUE=N` says.

    Attributes:
        key: the setting that separates sizes.
        by_value: N by its value, as text.
    """

    key: str
    by_value: Mapping[str, float]


def told_sizes(asked: str | None) -> Told | None:
    """N by the values of a key; None where the option names N in another way, as `KEY`, `=N`, `KEY:PATTERN` and `KEY/KEY` do.

    Raises:
        UserError: if an N is not a number, a value is given twice, or two values have one N.
    """
    if asked is None or asked.startswith("=") or not re.fullmatch(r"[^:]+:[^{*]*=[^{*]*", asked, flags=re.DOTALL):
        return None
    key, _, rest = asked.partition(":")
    found: dict[str, float] = {}
    for part in re.split(r",(?![^\[\](){}]*[\])}])", rest):
        value, sign, text = part.rpartition("=")
        size, value = number(text), as_text(value.strip())
        if not sign or not value:
            raise UserError(f"{OPTION} {asked}: {part.strip()!r} must be VALUE=N, e.g. {OPTION} {key}:64=2.1e5,256=2.4e6")
        if size is None or not 1 <= size <= _MOST:
            raise UserError(f"{OPTION} {asked}: {text.strip()!r} can't be N, the critics' parameters; it must be a number ≥ 1, e.g. 2.8e6")
        if value in found:
            raise UserError(f"{OPTION} {asked}: gives N of {key} = {value} twice; each value has one N")
        other = next((one for one, there in found.items() if there == size), None)
        if other is not None:
            raise UserError(f"{OPTION} {asked}: {other} and {value} have the same N; different sizes must have different N")
        found[value] = size
    return Told(key, found)


def how_to_tell(key: str, values: Iterable[str], known: Mapping[str, float] | None = None) -> str:
    """The option that says N of each value of a key, as it is typed in a shell, with "N" where it is not known."""
    parts = [f"{value.replace(', ', ',')}={f'{known[value]:.12g}' if known and value in known else 'N'}" for value in in_order(values)]
    text = f"{key}:{','.join(parts)}"
    return f"{OPTION} " + (text if re.fullmatch(r"[\w.,=/:@%+-]+", text) else "'" + text.replace("'", "'\\''") + "'")


def in_order(values: Iterable[str]) -> list[str]:
    """Values of a setting, each once: numbers, and lists of numbers, by size, then text."""

    def place(text: str) -> tuple[int, list[float], str]:
        try:
            return 0, [float(part) for part in text.strip("[]").split(",")], text
        except ValueError:
            return 1, [], text

    return sorted(dict.fromkeys(values), key=place)
