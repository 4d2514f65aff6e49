"""A raw run's σ, B, η, task, seed and N, checked; what its log does not say is asked for by name."""

from collections import Counter
from typing import Any

from tdscale.errors import UserError
from tdscale.runs.importers.raw import COUNT, MAX_NAME, SYMBOLS, Columns, RawRun, number, option, shown_keys, value_of

Place = tuple[str, float, int, float]

_EXAMPLES = {"utd": "0.25", "batch_size": "256", "learning_rate": "3e-4", "task": "Pendulum-v1"}
# as in a study
_ALLOWED = {"utd": "above 0, at most 4096", "batch_size": "a whole number from 1 to 1048576", "learning_rate": "between 0 and 1"}


def place_of(run: RawRun, columns: Columns) -> Place:
    """Task, σ, B and η. Raises UserError where one is not known or can't be."""
    task = value_of("task", run, columns)
    if task is None or task == "":
        raise _missing("task", run)
    utd, batch_size, rate = (_quantity(name, run, columns) for name in ("utd", "batch_size", "learning_rate"))
    return plain(str(task), option("task"), run.name), utd, int(batch_size), rate


def seed_of(run: RawRun, columns: Columns, counts: Counter[Place], place: Place) -> int:
    """The seed that the log says, else how many runs of its cell came before. Raises UserError where it is no whole number."""
    value = None if columns.seed == COUNT else value_of("seed", run, columns)
    if value is None:
        counts[place] += 1
        return counts[place] - 1
    found = number(value)
    if found is None or found != int(found) or not 0 <= found < 2**62:
        raise UserError(f"{run.name}: {_short(value)} is no seed; give --seed KEY of a whole number, or --seed {COUNT} to number the runs")
    return int(found)


def size_of(run: RawRun, columns: Columns) -> float | None:
    """N, None if nobody says. Raises UserError where it is no count of parameters."""
    value = value_of("model_size", run, columns)
    found = number(value)
    if value is not None and (found is None or found < 1):
        raise UserError(f"{run.name}: {_short(value)} can't be N, the critics' parameters; say where it is with --model-size")
    return found


def plain(text: str, what: str, where: str) -> str:
    """A name as it is. Raises UserError where it is empty, too long or not printable."""
    if not text.strip() or len(text) > MAX_NAME or not text.isprintable():
        raise UserError(f"{where}: {text[:40]!r} can't be a name for {what}; it must be a printable line of at most {MAX_NAME} characters")
    return text


def _quantity(name: str, run: RawRun, columns: Columns) -> float:
    value = value_of(name, run, columns)
    if value is None:
        raise _missing(name, run)
    found = number(value)
    fits = {
        "utd": found is not None and 0 < found <= 4096,
        "batch_size": found is not None and 1 <= found <= 1 << 20 and found == int(found),
        "learning_rate": found is not None and 0 < found < 1,
    }
    if found is None or not fits[name]:
        raise UserError(
            f"{run.name}: {_short(value)} can't be {SYMBOLS[name]}, which is {_ALLOWED[name]}; say where it is with {option(name)}"
        )
    return found


def _missing(name: str, run: RawRun) -> UserError:
    what = f"{SYMBOLS[name]} ({name})" if name in SYMBOLS else f"the {name}"
    return UserError(
        f"{run.name}: the log does not say {what}; give {option(name)} KEY or {option(name)} ={_EXAMPLES[name]}, or {{{name}}} in "
        f"--names; its configuration has {shown_keys(run.config)}"
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
