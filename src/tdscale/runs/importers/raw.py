"""A run as a log holds it, and what its keys mean: σ, B, η, task, seed, by the user's word or by usual names."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError

Floats = NDArray[np.float64]
T = TypeVar("T")
COUNT = "=count"
MAX_NAME = 200

# Names that programs give to a quantity, in the order they are looked for.
USUAL_NAMES = {
    "utd": ("utd", "utd_ratio", "updates_to_data", "replay_ratio"),
    "batch_size": ("batch_size", "train_batch_size", "train_batch_size_per_learner"),
    "learning_rate": ("learning_rate", "lr", "critic_lr", "q_lr", "critic_learning_rate"),
    "task": ("task", "env_id", "env_name", "env", "task_name"),
    "seed": ("seed",),
    "model_size": ("model_size", "critic_parameters"),
    "algorithm": ("algorithm", "algo"),
}
SYMBOLS = {"utd": "σ", "batch_size": "B", "learning_rate": "η", "model_size": "N"}
_SHOWN_KEYS = 12


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which keys of a log mean what. Text is a key's name, `=VALUE` a constant, None the usual names.

    Attributes:
        env_step, returns: keys of series.
        utd, batch_size, learning_rate, task, seed, model_size, algorithm: keys of a run's configuration, or of a table's columns;
            `config.` before one may be left out. `seed` may be `=count`: the runs of a cell are numbered.
        names: pattern of a run's name, whose `{key}` are keys of its configuration and whose `*` stands for anything, for example
            "sac-utd{utd}/seed{seed}"; it is held against the last folders, the file or the column.
        step_column: of arrays and of tables without a header, the number of the column of env steps; the others are seeds.
        first_step, step_every: of arrays without env steps: row r is at first_step + step_every·r.
    """

    env_step: str | None = None
    returns: str | None = None
    utd: str | None = None
    batch_size: str | None = None
    learning_rate: str | None = None
    task: str | None = None
    seed: str | None = None
    model_size: str | None = None
    algorithm: str | None = None
    names: str | None = None
    step_column: str | None = None
    first_step: str | None = None
    step_every: str | None = None

    def __post_init__(self) -> None:
        for name in ("env_step", "returns"):
            if str(getattr(self, name)).startswith("="):
                raise UserError(f"{option(name)} {getattr(self, name)}: names a series of the log; it can't be a constant")

    @classmethod
    def known(cls) -> tuple[str, ...]:
        """The fields' names."""
        return tuple(f.name for f in fields(cls))


@dataclass(frozen=True, kw_only=True)
class RawRun:
    """One run of a log.

    Attributes:
        name: its folder, file or column below the source, parts divided by "/"; for messages, and what `Columns.names` is held against.
        config: its configuration; keys of nested tables are joined by dots.
        steps, returns: shape (n,), as logged: in any order, steps repeated; NaN is a return that was logged as NaN.
        evaluations: None, or steps and returns of evaluations, shapes (m,).
        last_step: env steps done, where the log says so beyond its last row.
        columns: what else was logged at `steps`, by the store's names.
        settings: what else tells its cell from others, for its spec.
        notes: for its status.
        nan_at_end_is_divergence: whether NaN up to the end says that the run diverged, and not that nothing was logged there.
    """

    name: str
    config: Mapping[str, Any]
    steps: Floats
    returns: Floats
    evaluations: tuple[Floats, Floats] | None = None
    last_step: int = 0
    nan_at_end_is_divergence: bool = True
    remarks: tuple[tuple[str, str], ...] = field(default=())
    columns: Mapping[str, Floats] = field(default_factory=dict)
    settings: Mapping[str, str | int] = field(default_factory=dict)
    notes: Mapping[str, str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Unreadable:
    """In the place of runs: the sentence that says why a file's can't be taken."""

    why: str


def each(sources: Iterable[T], read: Callable[[T], Iterable[RawRun]]) -> Iterator[RawRun | Unreadable]:
    """The runs of one source after another; of one that can't be read only why."""
    for source in sources:
        try:
            yield from read(source)
        except UserError as error:
            yield Unreadable(str(error))


def option(name: str) -> str:
    """How a field of `Columns` is given on the command line."""
    return "--return" if name == "returns" else f"--{name.replace('_', '-')}"


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, keys joined by dots; lists stay."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and len(prefix) < 500:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def shown_keys(keys: Iterable[str]) -> str:
    """Some keys of a log, for a sentence."""
    names = [repr(key[:60])[1:-1] for key in keys]
    if not names:
        return "no keys"
    return ", ".join(names[:_SHOWN_KEYS]) + (f" and {len(names) - _SHOWN_KEYS} more" if len(names) > _SHOWN_KEYS else "")


def series_key(name: str, asked: str | None, there: Collection[str], usual: Iterable[str], where: str) -> str:
    """The series that a log has for `name`. Raises UserError if it is not there."""
    if asked is not None:
        if asked in there:
            return asked
        raise UserError(f"{where}: has no {asked!r}, which {option(name)} names; there are {shown_keys(there)}")
    for key in usual:
        if key in there:
            return key
    what = "the env steps" if name == "env_step" else "the return"
    raise UserError(f"{where}: which of its keys holds {what} can't be told; give {option(name)} KEY; there are {shown_keys(there)}")


def series_keys(columns: Columns, there: Collection[str], steps: Iterable[str], returns: Iterable[str], where: str) -> tuple[str, str]:
    """The series of env steps and of returns. Raises UserError if one is not there, or neither."""
    try:
        step = series_key("env_step", columns.env_step, there, steps, where)
    except UserError:
        if columns.env_step is not None or columns.returns is not None or not set(returns).isdisjoint(there):
            raise
        raise UserError(
            f"{where}: which of its keys hold the env steps and the return can't be told; give --env-step KEY and --return KEY; there are "
            f"{shown_keys(there)}"
        ) from None
    return step, series_key("returns", columns.returns, there, returns, where)


def from_name(pattern: str | None, name: str) -> dict[str, str] | None:
    """What a run's name says by `Columns.names`: {} without a pattern, None where it does not fit."""
    if pattern is None:
        return {}
    expression, keys = "", set()
    for part in re.split(r"(\{[^{}]*\}|\*)", pattern):
        key = part[1:-1]
        if part == "*":
            expression += "[^/]*"
        elif part.startswith("{") and part.endswith("}"):
            if not re.fullmatch(r"[A-Za-z_]\w{0,40}", key) or key in keys:
                raise UserError(f"--names {pattern}: {part} can't be a key; each must be a name of its own, e.g. utd{{utd}}_seed{{seed}}")
            keys.add(key)
            expression += f"(?P<{key}>[^/]+?)"
        else:
            expression += re.escape(part)
    tail = "/".join(name.split("/")[-(pattern.count("/") + 1) :])
    match = re.fullmatch(expression, tail[-500:])
    return match.groupdict() if match else None


def value_of(name: str, run: RawRun, columns: Columns) -> Any:
    """A run's σ, B, η, task, seed, N or algorithm as its log has it; None if nobody says."""
    asked = getattr(columns, name)
    if asked is not None:
        if asked.startswith("="):
            return asked[1:]
        for key in (asked, asked.removeprefix("config.")):
            if run.config.get(key) is not None:
                return run.config[key]
        raise UserError(f"{run.name}: has no {asked!r}, which {option(name)} names; its configuration has {shown_keys(run.config)}")
    found = usual_value(name, run.config)
    return _sb3_utd(run.config) if found is None and name == "utd" else found


def usual_value(name: str, config: Mapping[str, Any]) -> Any:
    """By the usual names; a nested key where it is the only one of its name. None if there is none."""
    for key in USUAL_NAMES[name]:
        if config.get(key) is not None:
            return config[key]
    for key in USUAL_NAMES[name]:
        nested = [value for full, value in config.items() if full.rpartition(".")[2] == key and value is not None]
        if len(nested) == 1:
            return nested[0]
    return None


def _sb3_utd(config: Mapping[str, Any]) -> float | None:
    """Stable-Baselines3: gradient_steps updates after every train_freq steps of n_envs environments."""
    steps, frequency = number(config.get("gradient_steps")), config.get("train_freq")
    if isinstance(frequency, list | tuple) and len(frequency) == 2 and frequency[1] == "step":
        frequency = frequency[0]
    per = number(frequency)
    if steps == -1:  # as many as the steps just taken
        return 1.0
    if steps is None or steps < 0:
        return None
    if per is None:
        return _counted_utd(steps, config)
    environments = number(config.get("n_envs", 1)) or 1.0
    return steps / (per * environments) if per > 0 else None


def _counted_utd(gradient_steps: float, config: Mapping[str, Any]) -> float | None:
    """From the updates that a saved model counts: its train_freq is pickled, and not looked at."""
    updates, total, start = (number(config.get(key)) for key in ("_n_updates", "num_timesteps", "learning_starts"))
    if not updates or updates < 0 or total is None or start is None or total <= start:
        return None
    period = gradient_steps * (total - start) / updates
    whole = round(period)
    # a whole number of env steps, but for the part of a period at either end
    return gradient_steps / whole if whole and abs(period - whole) <= 0.02 * whole else None


def number(value: Any) -> float | None:
    """A finite number, also as text; None for anything else."""
    try:
        found = float(value) if isinstance(value, int | float | str | np.number) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None
    return found if found is not None and math.isfinite(found) else None
