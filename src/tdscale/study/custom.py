"""The user's own code: an algorithm or a function named "module:name", or a command that trains one run. Nothing here imports them.

See docs/custom_algorithm.md and docs/custom_trainer.md.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tdscale.study.sizes import MODEL_SIZE
from tdscale.study.spec import RunSpec

CUSTOM = "own"
# what a command may ask for, besides the study's [settings]
PLACEHOLDERS = (
    *("algorithm", "suite", "task", "utd", "batch_size", "learning_rate", "seed", "stage", "reward_scale", "env_steps"),
    *("output", "report", "checkpoint", "spec"),
)
SIZE = "size"  # and `MODEL_SIZE`: placeholders in a study with [sizes]
_SWEPT = ("task", "utd", "batch_size", "learning_rate", "seed")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def is_custom(algorithm: str) -> bool:
    """Whether an algorithm is named as module:name, e.g. "my_td3:TD3"."""
    return _NAME.fullmatch(algorithm) is not None


def module_of(algorithm: str) -> str:
    """The module of an algorithm named as module:name."""
    return algorithm.partition(":")[0]


def custom_file(algorithm: str, folder: Path) -> Path | None:
    """The file in `folder` that holds the algorithm; None where its module is to be found on Python's path.

    A module within a package ("lab.td3:TD3") is never one of `folder`'s.
    """
    path = folder / f"{module_of(algorithm)}.py"
    return path if "." not in path.stem and path.is_file() else None


class TrainerOptions(BaseModel):
    """The table [trainer]: what is known of the user's trainer, and how it is run."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    retries: int = Field(1, ge=0, le=100, description="how often a failed run is tried again")
    stop_early: bool = Field(True, description="end a cell once the last threshold is reached; its seeds then take turns")
    actor_size: int | None = Field(None, ge=0, description="parameters of the actor, for counted compute")


def with_names(values: dict[str, Any]) -> dict[str, Any]:
    """A study's values as its file has them; beside a command or function, algorithm and suites may be left out: they are "own"."""
    if "command" not in values and "function" not in values:
        return values
    tasks = values.get("tasks")
    if isinstance(tasks, dict):
        tasks = {name: {"suite": CUSTOM} | task if isinstance(task, dict) else task for name, task in tasks.items()}
        values = values | {"tasks": tasks}
    return {"algorithm": CUSTOM} | values


def check_command(
    command: Sequence[str], settings: Collection[str], counts: Mapping[str, int], sizes: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raise ValueError, one sentence, where a command can't be what was meant.

    Args:
        command: program and arguments.
        settings: names in the study's [settings], which are placeholders too.
        counts: how many values the study has of each of task, utd, batch_size, learning_rate and seed.
        sizes: the study's [sizes], whose settings are placeholders, too.
    """
    _check_names(settings, sizes)
    making = sorted({key for size in sizes.values() for key in size})  # {model_size} among them where each has one
    if any((MODEL_SIZE in size) != (MODEL_SIZE in making) for size in sizes.values()):
        making.remove(MODEL_SIZE)
    known_besides = [*sorted(settings), *([SIZE] if sizes else []), *(key for key in making if key != SIZE)]
    if not command or not command[0]:
        raise ValueError('command: is empty; it must be a program and its arguments, e.g. ["python", "train.py", "--csv", "{output}"]')
    known = {*PLACEHOLDERS, *known_besides}
    named: set[str] = set()
    for index, part in enumerate(command):
        if "\0" in part:
            raise ValueError(f"command[{index}]: holds a NUL character, which an argument can't hold")
        for found in _TOKEN.finditer(part):
            if found[0] in ("{", "}"):
                raise ValueError(f"command[{index}]: {part!r} has a lone {found[0]}; write a brace as {found[0] * 2}")
            if found[1] is not None and found[1] not in known:
                said = f"command[{index}]: there is no placeholder {found[0]}"
                if sizes and found[1] == MODEL_SIZE:
                    raise ValueError(f"{said} where a size has no {MODEL_SIZE}; give it in each size, e.g. {MODEL_SIZE} = 2.83e6")
                raise ValueError(f"{said}; there is {', '.join(f'{{{name}}}' for name in (*PLACEHOLDERS, *known_besides))}")
            if found[1] is not None:
                named.add(found[1])
    if _TOKEN.search(command[0]):
        raise ValueError("command[0]: is the program, which must be the same for every run; put placeholders into its arguments")
    if "output" not in named:
        raise ValueError('command: has no {output}, the CSV file that the trainer must write, e.g. ["…", "--csv", "{output}"]')
    for name in () if "spec" in named else _SWEPT:
        if counts[name] > 1 and name not in named:
            raise ValueError(f"command: nowhere says {{{name}}}, so that runs with {counts[name]} values of it would all be the same one")
    if len(sizes) > 1 and not named & {"spec", SIZE, *making}:
        one = next(key for key in making if key != MODEL_SIZE)
        raise ValueError(f"command: nowhere says {{{SIZE}}} or {{{one}}}, so that runs of {len(sizes)} sizes would all be the same one")


def _check_names(settings: Collection[str], sizes: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValueError where a setting has the name of a placeholder that means something else."""
    taken = {*PLACEHOLDERS, *((SIZE, MODEL_SIZE) if sizes else ())}
    clash = sorted(set(settings) & taken)
    if clash:
        raise ValueError(f"settings.{clash[0]}: is the name of a placeholder that every command has; give the setting another one")
    for name, size in sizes.items():
        clash = sorted(set(size) & set(PLACEHOLDERS))
        if SIZE in size and size[SIZE] != name:
            clash = [SIZE]
        if clash:
            raise ValueError(f"sizes.{name}.{clash[0]}: is the name of a placeholder that every command has; give the setting another one")


def filled(
    command: Sequence[str], spec: RunSpec, env_steps: int, files: Mapping[str, str], size: Mapping[str, Any] | None = None
) -> list[str]:
    """The arguments of one run: each placeholder replaced within its argument, with any characters in its value.

    Args:
        command: as the study has it.
        spec: the run.
        env_steps: its limit.
        files: paths for output, report, checkpoint and spec.
        size: the names size and model_size, if they are known, in a study with [sizes].
    """
    values = {**spec.settings, **(size or {}), **spec.to_dict(), "env_steps": env_steps, **files}

    def value(found: "re.Match[str]") -> str:
        return _text(values[found[1]]) if found[1] is not None else found[0][0]

    return [_TOKEN.sub(value, part) for part in command]


def asks_for(command: Sequence[str], name: str) -> bool:
    """Whether a command has this placeholder."""
    return any(found[1] == name for part in command for found in _TOKEN.finditer(part))


def _text(value: Any) -> str:
    """Text as it is, whole numbers without a point, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
