"""A run as a log holds it (`LoggedRun`), and which of its keys mean what (`Columns`), by options or by a file mapping.toml.

`importers.meaning` reads σ, B, η and the rest from the two; `importers.gather` brings the runs into a study.
"""

import math
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.importers.model_size import told_sizes
from tdscale.importers.patterns import from_name

Floats = NDArray[np.float64]
T = TypeVar("T")
COUNT = "=count"
MAX_NAME = 200

DERIVED = "=derived"
SYMBOLS = {"utd": "σ", "batch_size": "B", "learning_rate": "η", "model_size": "N"}
WORDS = {"utd": "UTD ratio", "batch_size": "batch size", "learning_rate": "learning rate", "model_size": "model size"}
_SHOWN_KEYS = 12
_CHOICES = {
    "repeated": (("mean", "last", "seeds"), "mean, last or seeds"),
    "resumed": (
        ("continue", "restart"),
        "continue (only the counter started again; its steps are added) or restart (what came before is discarded)",
    ),
    "monitors": (("seeds", "environments"), "seeds, each file a run, or environments, all of them one run"),
}
# W&B's own count, and what its web page calls it in a table
LOG_CALLS = ("_step", "Step")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which keys of a log mean what. Text is a key's name, `=VALUE` a constant, None the usual names.

    Attributes:
        env_step, returns: keys of series.
        utd, batch_size, learning_rate, task, seed, model_size, algorithm: keys of a run's configuration, or of a table's columns;
            `config.` before one may be left out. `KEY:PATTERN` takes the value out of a key's text, as "exp_name:*_utd{utd}" does;
            `KEY/KEY` divides. `seed` may be `=count`: the runs of a cell are numbered. `utd` may be `=derived`: from the counters of a
            saved model. `model_size` may be `KEY:VALUE=N,VALUE=N`: N by the values of a key.
        names: pattern of a run's path, whose `{key}` are keys of its configuration and whose `*` matches anything, for example
            "sac-utd{utd}/seed{seed}"; it is compared with the last folders, the file or the column, and nothing else.
        env_step_scale, utd_scale: numbers that env steps and σ are multiplied by.
        repeated: what rows of one run are whose env steps occur twice: "mean", episodes of parallel environments; "last", a later row
            replaces the earlier; "seeds", each pass through the env steps is a run of its own. None asks.
        where: conditions on runs, as `parse_where` takes them; the others are left out.
        split_by: keys whose values make studies of their own.
        ignore: keys whose differences do not matter.
        resumed: of a counter of env steps that starts again, "continue" (its steps are added to those before) or "restart" (what came
            before is discarded).
        return_window: of a return that is a mean over the last episodes, how many; "none": it is taken as it is.
        episode_length: env steps of an episode, where the log does not say.
        monitors: what 0.monitor.csv, 1.monitor.csv, … of one folder are, "seeds" or "environments" of one run.
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
    env_step_scale: str | float | None = None
    utd_scale: str | float | None = None
    repeated: str | None = None
    where: Sequence[str] = ()
    split_by: Sequence[str] = ()
    ignore: Sequence[str] = ()
    resumed: str | None = None
    return_window: str | None = None
    episode_length: str | None = None
    monitors: str | None = None
    step_column: str | None = None
    first_step: str | None = None
    step_every: str | None = None

    def __post_init__(self) -> None:
        for name in ("where", "split_by", "ignore"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        for name in ("env_step_scale", "utd_scale"):
            scale = getattr(self, name)
            if scale is not None and not (number(scale) or 0) > 0:
                raise UserError(f"{option(name)} {scale}: must be a number above 0, e.g. {option(name)} 4")
        for name, (choices, what) in _CHOICES.items():
            if getattr(self, name) not in (None, *choices):
                raise UserError(f"{option(name)} {getattr(self, name)}: must be {what}")
        told_sizes(self.model_size)
        for name in ("env_step", "returns"):
            if str(getattr(self, name)).startswith("="):
                raise UserError(f"{option(name)} {getattr(self, name)}: names a series of the log; it can't be a constant")

    @classmethod
    def known(cls) -> tuple[str, ...]:
        """The fields' names."""
        return tuple(f.name for f in fields(cls))


@dataclass(frozen=True, kw_only=True)
class MeanOf:
    """That a log's return is a mean over the last episodes, and what else it says of them.

    Attributes:
        key: what the log calls it.
        window: episodes of the mean.
        lengths: shape (n,), the mean length of the same episodes, where it is logged.
        episodes: shape (n,), how many episodes have ended, where it is logged.
        said: what `Columns.return_window` says of it.
    """

    key: str
    window: int
    lengths: Floats | None = None
    episodes: Floats | None = None
    said: str | None = None


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """One run of a log.

    Attributes:
        name: for messages; its folder, file or column below the source, parts divided by "/", and anything else that separates it.
        path: what `Columns.names` is compared with, where that is not the name.
        column: the column of a wide table that holds it; part of what `Columns.names` is compared with.
        named, logged: what `Columns.names` says of it, which `config` holds too, and the configuration without that.
        apart: keys of `config` that alone distinguish this run's rows from others of its table.
        config: its configuration; keys of nested tables are joined by dots.
        steps, returns: shape (n,), as logged: in any order, steps repeated; NaN is a return that was logged as NaN.
        begins: rows at which a session begins, and the env step that it says it begins at (NaN: it does not say).
        in_order: whether rows stand in the order in which they were logged, as those of a table need not.
        mean_of: where a return is a mean over the last episodes.
        total: env steps that a model beside the log counts.
        evaluations: None, or steps and returns of evaluations, shapes (m,).
        last_step: env steps done, where the log says so beyond its last row.
        columns: what else was logged at `steps`, by the store's names.
        settings: what else separates its cell from others, for its spec.
        notes: for its status.
        nan_at_end_is_divergence: whether NaN up to the end says that the run diverged, and not that nothing was logged there.
        remarks: codes and sentences about the run.
        of_log: codes and sentences about the log; those of several runs are reported once.
    """

    name: str
    config: Mapping[str, Any]
    steps: Floats
    returns: Floats
    evaluations: tuple[Floats, Floats] | None = None
    last_step: int = 0
    nan_at_end_is_divergence: bool = True
    remarks: tuple[tuple[str, str], ...] = field(default=())
    path: str | None = None
    column: str | None = None
    named: Mapping[str, str] = field(default_factory=dict)
    logged: Mapping[str, Any] | None = None
    apart: tuple[str, ...] = ()
    of_log: tuple[tuple[str, str], ...] = ()
    begins: tuple[tuple[int, float], ...] = ()
    in_order: bool = True
    mean_of: MeanOf | None = None
    total: float | None = None

    def take(self, rows: NDArray[np.intp]) -> "LoggedRun":
        """With these rows alone, in this order, as one session."""
        mean = self.mean_of
        if mean is not None:
            lengths, episodes = (None if values is None else values[rows] for values in (mean.lengths, mean.episodes))
            mean = replace(mean, lengths=lengths, episodes=episodes)
        return replace(self, steps=self.steps[rows], returns=self.returns[rows], mean_of=mean, begins=())

    def fitted(self, pattern: str) -> dict[str, str] | None:
        """What its path says by a pattern of names; None where it does not fit."""
        return from_name(pattern, self.name if self.path is None else self.path, self.column)

    columns: Mapping[str, Floats] = field(default_factory=dict)
    settings: Mapping[str, str | int] = field(default_factory=dict)
    notes: Mapping[str, str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Unreadable:
    """In the place of runs: the sentence that says why a file's can't be taken."""

    why: str


def each(sources: Iterable[T], read: Callable[[T], Iterable[LoggedRun]]) -> Iterator[LoggedRun | Unreadable]:
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
    names = [repr(key if len(key) <= MAX_NAME else key[: MAX_NAME - 1] + "…")[1:-1] for key in keys]
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
    if name == "env_step":
        raise UserError(f"{where}: it is not clear which of its keys holds the env steps; {_which_steps(there)}")
    raise UserError(f"{where}: it is not clear which of its keys holds the return; give --return KEY; there are {shown_keys(there)}")


def _which_steps(there: Collection[str]) -> str:
    """What to answer where no key is known to hold env steps."""
    calls = [key for key in there if key in LOG_CALLS]
    steps = [key for key in there if key not in LOG_CALLS and re.search(r"step|frame|sample|transition|interaction", key, re.IGNORECASE)]
    said = f"{calls[0]} counts log calls in W&B's tables, not env steps; " if calls else ""
    if steps:
        return f"{said}give --env-step with one of the keys that look like steps: {shown_keys(steps)}"
    if calls:
        give = (
            f"give --env-step {calls[0]} if it counts env steps here, and --env-step-scale K with it if there is one call every K env steps"
        )
        return f"{said}{give}; there are {shown_keys(there)}"
    return f"give --env-step KEY; there are {shown_keys(there)}"


def series_keys(columns: Columns, there: Collection[str], steps: Iterable[str], returns: Iterable[str], where: str) -> tuple[str, str]:
    """The series of env steps and of returns. Raises UserError if one is not there, or neither."""
    try:
        step = series_key("env_step", columns.env_step, there, steps, where)
    except UserError:
        if columns.env_step is not None or columns.returns is not None or not set(returns).isdisjoint(there):
            raise
        raise UserError(
            f"{where}: it is not clear which of its keys hold the env steps and the return; give --env-step KEY and --return KEY; "
            f"there are {shown_keys(there)}"
        ) from None
    return step, series_key("returns", columns.returns, there, returns, where)


def number(value: Any) -> float | None:
    """A finite number, also as text; None for anything else."""
    try:
        found = float(value) if isinstance(value, int | float | str | np.number) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None
    return found if found is not None and math.isfinite(found) else None


def float_or_nan(value: Any) -> float:
    """A number, also as text and not finite; NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def without_numbers(sentence: str) -> str:
    """Equal for sentences that differ in their numbers alone."""
    return re.sub(r"[-+]?\d[\d.,e+-]*", "#", sentence)


def same_value(one: Any, other: Any) -> bool:
    """Whether two values of a log are one, however they are written."""
    first, second = number(one), number(other)
    return str(one) == str(other) if first is None or second is None else math.isclose(first, second, rel_tol=1e-6)


def shown_value(value: Any) -> str:
    """A value of a log, for a sentence."""
    text = f"{value:g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"


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
            raise UserError(f"{path}: over 1 MiB is too large for a mapping; give a small TOML file, e.g. {_EXAMPLE}")
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
