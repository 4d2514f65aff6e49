"""`--where KEY=VALUE`: which runs of several kinds are meant; and which of a log's keys say of what kind a run is."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tdscale.errors import UserError

# What decides a curve beside task, σ, B, η and seed, as programs call it: words between which a key's own stand.
_DECIDING = re.compile(
    r"(^|_)(size|width|depth|hidden|arch|layers?|units|neurons|blocks|ensemble|num_qs|n_critics|parameters|"
    r"algo|algorithm|agent|method|variant|exp|experiment|"
    r"reward_scale|reward_scaling|n_?steps?|nstep|multi_step|"
    r"target_entropy|discount|gamma|tau|target_rate|polyak|weight_decay|optimizer|activation|layer_?norm|dropout|"
    r"resets?|frame_skip|action_repeat|policy_delay|distributional|quantiles|atoms)(_|$)"
)
# of these, words that also stand in keys of another meaning
_OTHERWISE = re.compile(
    r"(batch|buffer|replay|memory|capacity|grid|chunk|window|queue|log|video|eval|evaluation|env|envs|total|training|train|time|global|"
    r"gradient|grad|update|updates|exploration|learning|start|initial|random|warm|max_episode|num)_?(step|steps|size)(_|$)|"
    r"exp_(name|id|dir|path)|experiment_(name|id|tag|dir|path)|(algo|agent|method)_(id|dir|path)|std_?(dev)?_size"
)


def decides(key: str) -> bool:
    """Whether a configuration's key, by its name, is a setting that decides a curve: network size, algorithm, n-step, discount …

    Keys of nested tables may be joined by dots or slashes: the last part counts.
    """
    last = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.split(r"[./]", key)[-1]).lower().replace("-", "_")
    return bool(_DECIDING.search(last)) and not _OTHERWISE.search(last)


@dataclass(frozen=True)
class _Condition:
    key: str
    values: tuple[str, ...]
    negated: bool

    def __str__(self) -> str:
        return f"{self.key}{'!=' if self.negated else '='}{','.join(self.values)}"


@dataclass(frozen=True)
class Where:
    """Conditions on a run's settings, all of which must hold. Made by `parse_where`; `str` of it can be parsed again, part by part."""

    conditions: tuple[_Condition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.conditions)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are named."""
        return tuple(dict.fromkeys(one.key for one in self.conditions))

    @property
    def texts(self) -> tuple[str, ...]:
        """Each condition as it is given, for example "size=m"."""
        return tuple(map(str, self.conditions))

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether a run with these settings is meant. A key that a run does not have equals no value."""
        return all((matching(one.key, settings) in one.values) != one.negated for one in self.conditions)

    def unknown(self, settings: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        """The keys that none of these runs has."""
        runs = list(settings)
        return tuple(key for key in self.keys if all(matching(key, one) is None for one in runs))


def parse_where(texts: Iterable[str]) -> Where:
    """Conditions from "KEY=VALUE", "KEY=VALUE,VALUE" (any of them) and "KEY!=VALUE" (none of them). A list, "[64, 64]", is one value.

    Raises:
        UserError: if a text is not a condition.
    """
    conditions = []
    for text in texts:
        match = re.fullmatch(r"\s*(?P<key>[^=!]+?)\s*(?P<sign>!?=)\s*(?P<values>.+?)\s*", text, flags=re.DOTALL)
        if match is None:
            raise UserError(f"--where {text}: must be KEY=VALUE, KEY=VALUE,VALUE or KEY!=VALUE, e.g. --where size=m")
        conditions.append(_Condition(match["key"], tuple(map(as_text, _split(match["values"]))), match["sign"] == "!="))
    return Where(tuple(conditions))


def matching(key: str, settings: Mapping[str, Any]) -> str | None:
    """A setting as text: the key's own, else that of the only key whose last parts it is; None if there is none, or it holds nothing."""
    found = [settings[key]] if key in settings else [value for full, value in settings.items() if full.endswith((f".{key}", f"/{key}"))]
    return as_text(found[0]) if len(found) == 1 and found[0] is not None else None


def as_text(value: Any) -> str:
    """The same text for the same value, however it was written: 256, 256.0 and "256" are one; so are [64, 64] and "[64,64]"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_text, value)) + "]"
    if isinstance(value, str):
        if value.startswith(("[", "{")):
            try:
                loaded = json.loads(value)
            except (ValueError, RecursionError):
                return value
            return as_text(loaded) if isinstance(loaded, list) else value
        if value.lower() in ("true", "false"):
            return value.lower()
    if not isinstance(value, str | int | float):
        return str(value)
    try:
        return f"{float(value):.12g}"
    except (ValueError, OverflowError):
        return str(value)


def _split(values: str) -> list[str]:
    """At commas outside brackets."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(values):
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            parts.append(values[start:index])
            start = index + 1
    return [part.strip() for part in (*parts, values[start:])]
