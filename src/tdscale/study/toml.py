"""Studies from and to TOML. Every mistake is one sentence: the file, the key's place, what is wrong, what would be right."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tdscale.errors import UserError
from tdscale.study.custom import TrainerOptions, with_names
from tdscale.study.settings import SETTINGS
from tdscale.study.sizes import parse_sizes, size_settings
from tdscale.study.study import Baseline, Checkpoints, Limits, Scaling, Study, Sweep, Task

_TABLES: dict[str, type[BaseModel]] = {
    "sweep": Sweep,
    "scaling": Scaling,
    "baseline": Baseline,
    "limits": Limits,
    "checkpoints": Checkpoints,
    "trainer": TrainerOptions,
}
_MAX_BYTES = 1 << 20
_Model = TypeVar("_Model", bound=BaseModel)


def read_study(path: str | Path) -> Study:
    """Read and check a study file.

    Raises:
        UserError: if the file can't be read, is not TOML, or asks for something that does not exist.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path}: over 1 MiB is too large for a study file; give the TOML file, not the data")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a TOML file, for example one of examples/") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the study's TOML file, e.g. {path / 'study.toml'}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); a study is a TOML file") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    return parse_study(text, source=path.name)


def parse_study(text: str, source: str = "study.toml") -> Study:
    """Parse and check the text of a study file; `source` is the name used in messages."""
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError, a number of too many digits, brackets without end
        raise UserError(f"{source}: is not valid TOML: {error}") from None
    try:
        algorithm = values.get("algorithm")
        own = "command" in values or "function" in values
        settings = values.get("settings", {})
        if not own and isinstance(algorithm, str) and algorithm in SETTINGS and isinstance(settings, dict):
            sizes = _sizes_to_check(values)
            for name, size in sizes.items():
                check_settings(SETTINGS[algorithm], settings, source, size=(name, size))
            if not sizes:
                check_settings(SETTINGS[algorithm], settings, source)
        return _strictly(Study, with_names(values))
    except ValidationError as error:
        raise UserError(_sentence(error, source, tuple)) from None


def check_settings(
    settings: type[_Model], values: dict[str, Any], source: str, *, size: tuple[str, dict[str, Any]] | None = None
) -> _Model:
    """The settings that a study's table of that name holds, with those of `size`, (name, settings). Raises UserError with the place."""

    def place(location: tuple[Any, ...]) -> tuple[Any, ...]:
        return ("sizes", size[0], *location) if size is not None and (not location or location[0] in size[1]) else ("settings", *location)

    try:
        return _strictly(settings, values if size is None else values | size[1])
    except ValidationError as error:
        raise UserError(_sentence(error, source, place, settings)) from None


def _sizes_to_check(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of each size where runs are to be trained; none where [sizes] is of another kind, which the study's own type says."""
    try:
        sizes = parse_sizes(values.get("sizes", {}))
    except ValueError:
        return {}
    if "sweep" not in values or not isinstance(sizes, dict) or not all(isinstance(size, dict) for size in sizes.values()):
        return {}
    return {name: size_settings(size) for name, size in sizes.items()}


def _strictly(model: type[_Model], values: dict[str, Any]) -> _Model:
    """Checked without conversions: "3" and true are not numbers. By way of JSON, in whose strict mode a list may be a tuple."""
    return model.model_validate_json(json.dumps(values, default=str), strict=True)


def study_to_toml(study: Study) -> str:
    """A study file that `parse_study` reads back as the same study."""
    values = study.model_dump(mode="json", exclude_none=True)
    for name, unsaid in (("reset_env_steps", []), ("aggregate", "mean")):
        if values[name] == unsaid:
            del values[name]
    lines = [f"{key} = {_literal(value)}" for key, value in values.items() if not isinstance(value, dict)]
    for key, table in values.items():
        if not isinstance(table, dict):
            continue
        if key == "tasks":
            for name, task in table.items():
                lines += ["", f"[tasks.{_literal(name)}]", *(f"{k} = {_literal(v)}" for k, v in task.items())]
        elif table or key == "baseline":
            lines += ["", f"[{key}]", *(f"{_key(k)} = {_literal(v)}" for k, v in table.items())]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    """A name of a size or a setting may be any text."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else str(_literal(name))


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, dict):  # within [settings] of a custom trainer, and a size
        return "{" + ", ".join(f"{_literal(name)} = {_literal(item)}" for name, item in value.items()) + "}"
    # TOML's basic strings, booleans and numbers are written as JSON's, but for infinities, which no study holds, and DEL
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _place(location: tuple[Any, ...]) -> str:
    place = ""
    for part in location:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    return place


_EXAMPLES = {
    "utd": "[0.25, 1, 4]",
    "batch_size": "[64, 256]",
    "learning_rate": "[3e-4, 1e-3]",
    "seeds": "3",
    "env_steps": "100000",
    "high": "1000",
    "low": "0",
    "name": '"my study"',
    "algorithm": '"sac"',
    "return_thresholds": "[300, 500, 800]",
    "hidden_sizes": "[256, 256]",
    "reset_critic_updates": "2500000",
    "reset_env_steps": "[15001, 50001]",
    "command": '["python", "train.py", "--csv", "{output}"]',
    "function": '"train:train"',
}
_NOUNS = {"utd": "a UTD ratio", "batch_size": "a batch size", "learning_rate": "a learning rate"}


def _sentence(
    error: ValidationError, source: str, place_of: Callable[[tuple[Any, ...]], tuple[Any, ...]], settings: type[BaseModel] | None = None
) -> str:
    """The first of pydantic's complaints, said plainly; the count of the others follows. `place_of`: where in the file a location is."""
    # a misspelt key is also missed under its right name: name the misspelling
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    location = place_of(tuple(first["loc"]))
    place = _place(location)
    names = [part for part in location if isinstance(part, str)]
    key = names[-1] if names else ""
    example = _EXAMPLES.get(key, "")
    if isinstance(location[-1] if location else None, int):
        example = example.strip("[]").split(",")[0]
    example = f", e.g. {example}" if example else ""
    kind, value, context = first["type"], first.get("input"), first.get("ctx", {})
    match kind:
        case "extra_forbidden":
            known = _known_keys(location[:-1], settings)
            near = get_close_matches(key, known, n=1)
            text = "unknown key; " + (f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}")
        case "missing":
            text = f"missing; it is required{example}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            sign = {"greater_than": ">", "greater_than_equal": "≥", "less_than": "<", "less_than_equal": "≤"}[kind]
            bound = next(context[name] for name in ("gt", "ge", "lt", "le") if name in context)
            text = f"{_shown(value)} is not {_NOUNS.get(key, 'allowed')}; it must be {sign} {bound:.10g}{example}"
        case "too_short":
            text = f"is empty; it must hold at least one value{example}"
        case "string_too_short":
            text = f"is empty{example}"
        case "value_error":
            text = str(context["error"])
        case "literal_error" | "enum":
            text = f"{_shown(value)} is not known; it must be {context['expected']}"
        case "finite_number":
            text = f"{_shown(value)} is not a finite number{example}"
        case _:
            wanted = {
                "int": "a whole number",
                "float": "a number",
                "tuple": "a list",
                "string": "text",
                "dict": "a table",
                "model": "a table",
            }
            noun = next((said for name, said in wanted.items() if kind.startswith(name)), None)
            text = f"{_shown(value)} is not {noun}{example}" if noun else f"{_shown(value)}: {first['msg']}"
    more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
    return f"{source}, {place}: {text}{more}" if place else f"{source}, {text}{more}"


def _known_keys(location: tuple[Any, ...], settings: type[BaseModel] | None) -> list[str]:
    if not location:
        return list(Study.model_fields)
    if location[0] == "tasks":
        return list(Task.model_fields)
    if location[0] in ("settings", "sizes") and settings is not None:
        return list(settings.model_fields)
    return list(_TABLES[str(location[0])].model_fields) if location[0] in _TABLES else []


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
