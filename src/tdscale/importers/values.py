"""A raw run's σ, B, η, task, seed and N, checked; what its log does not say is asked for by name."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tdscale.errors import UserError
from tdscale.importers.meaning import AMBIGUOUS_RATIOS, Found, logged_value, value_of
from tdscale.importers.raw import (
    COUNT,
    DERIVED,
    MAX_NAME,
    SYMBOLS,
    WORDS,
    Columns,
    LoggedRun,
    number,
    option,
    same_value,
    shown_keys,
    shown_value,
)

Place = tuple[str, float, int, float]

_EXAMPLES = {"utd": "0.25", "batch_size": "256", "learning_rate": "3e-4", "task": "Pendulum-v1"}
# as in a study
_ALLOWED = {"utd": "above 0, at most 4096", "batch_size": "a whole number from 1 to 1048576", "learning_rate": "between 0 and 1"}


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a run is, by its own keys and the user's word.

    Attributes:
        place: task, σ, B and η.
        size: N, None if nobody says.
        found: by quantity, where each was found.
        contradictions: what an option or --names says against the log, or one key against another; (code, sentence).
    """

    place: Place
    size: float | None
    found: Mapping[str, Found]
    contradictions: tuple[tuple[str, str], ...]

    @property
    def keys(self) -> set[str]:
        """The keys that were used."""
        return {key for found in self.found.values() for key in found.keys}


def meaning_of(run: LoggedRun, columns: Columns) -> Meaning:
    """Task, σ, B, η and N. Raises UserError where one is not known or can't be."""
    found = {name: one for name in ("task", "utd", "batch_size", "learning_rate", "model_size") if (one := value_of(name, run, columns))}
    if "task" not in found or found["task"].value == "":
        raise _missing("task", run, columns)
    scale = number(columns.utd_scale) or 1.0
    quantities = [
        _quantity(name, found.get(name), run, columns, scale if name == "utd" else 1.0) for name in ("utd", "batch_size", "learning_rate")
    ]
    said = [one for name in found for one in _contradictions(name, found[name], run, columns)]
    place = plain(str(found["task"].value), option("task"), run.name), quantities[0], int(quantities[1]), quantities[2]
    return Meaning(place=place, size=_size(found.get("model_size"), run), found=found, contradictions=tuple(said))


def seed_of(run: LoggedRun, columns: Columns, counts: Counter[Place], place: Place) -> tuple[int, Found | None]:
    """The seed that the log says, else how many runs of its cell came before. Raises UserError where it is no whole number."""
    found = None if columns.seed == COUNT else value_of("seed", run, columns)
    if found is None:
        counts[place] += 1
        return counts[place] - 1, None
    seed = number(found.value)
    if seed is None or seed != int(seed) or not 0 <= seed < 2**62:
        raise UserError(
            f"{run.name}: {shown_value(found.value)} is no seed; give --seed KEY of a whole number, or --seed {COUNT} to number the runs"
        )
    return int(seed), found


def _size(found: Found | None, run: LoggedRun) -> float | None:
    value = None if found is None else found.value
    size = number(value)
    if value is not None and (size is None or size < 1):
        raise UserError(f"{run.name}: {shown_value(value)} can't be N, the critics' parameters; say where it is with --model-size")
    return size


def _contradictions(name: str, found: Found, run: LoggedRun, columns: Columns) -> Iterator[tuple[str, str]]:
    what = WORDS.get(name, name)
    value = shown_value(found.value)
    if found.rivals:
        (key, other), *_ = found.rivals
        raise UserError(
            f"{run.name}: its {what} is {value} by {found.keys[0]} and {shown_value(other)} by {key}; give {option(name)} {found.keys[0]} "
            f"or {option(name)} {key}"
        )
    if found.others:
        (key, other), *_ = found.others
        yield (
            "other-key",
            f"the {what} is that of {found.keys[0]} ({value}), not of {key} ({shown_value(other)}); {option(name)} {key} takes it",
        )
    asked = getattr(columns, name)
    by_option = asked is not None and asked.startswith("=") and asked != DERIVED
    if not by_option and not (asked is None and any(key in run.named for key in found.keys)):
        return
    logged = logged_value(name, run.config if run.logged is None else run.logged)
    if logged is not None and number(logged.value) is not None and not same_value(logged.value, found.value):
        by = f"{option(name)} {asked}" if by_option else f"--names, which gives {value}, is taken"
        source = "the update counters of its model give" if logged.derived else f"the log's own {logged.keys[0]} is"
        yield "contradiction", f"{by}{' is taken' if by_option else ''} for the {what}, but {source} {shown_value(logged.value)}"


def plain(text: str, what: str, where: str) -> str:
    """A name as it is. Raises UserError where it is empty, too long or not printable."""
    if not text.strip() or len(text) > MAX_NAME or not text.isprintable():
        raise UserError(
            f"{where}: {shown_value(text)} can't be a name for {what}; it must be a printable line of at most {MAX_NAME} characters"
        )
    return text


def _quantity(name: str, found: Found | None, run: LoggedRun, columns: Columns, scale: float) -> float:
    if found is None:
        raise _missing(name, run, columns)
    value = number(found.value)
    value = None if value is None else value * scale
    fits = {
        "utd": value is not None and 0 < value <= 4096,
        "batch_size": value is not None and 1 <= value <= 1 << 20 and value == int(value),
        "learning_rate": value is not None and 0 < value < 1,
    }
    if value is None or not fits[name]:
        raise UserError(
            f"{run.name}: {shown_value(found.value)} can't be {SYMBOLS[name]} ({WORDS[name]}), which is {_ALLOWED[name]}; say where it is "
            f"with {option(name)}"
        )
    return value


def _missing(name: str, run: LoggedRun, columns: Columns) -> UserError:
    what = f"{SYMBOLS[name]} ({WORDS[name]})" if name in SYMBOLS else f"the {name}"
    ratio = next((key for key in AMBIGUOUS_RATIOS if run.config.get(key) is not None), None)
    if name == "utd" and ratio is not None:
        batch = value_of("batch_size", run, columns)
        per = f"{ratio}/{'BATCH_SIZE' if batch is None else batch.keys[0] if batch.keys else batch.value}"
        return UserError(
            f"{run.name}: the log does not say σ (UTD ratio): its {ratio} may count critic updates per env step, or transitions "
            f"that they use; for updates give --utd {ratio}, for transitions give --utd {per}"
        )
    keys = shown_keys(key for key, value in run.config.items() if value is not None)
    return UserError(
        f"{run.name}: the log does not say {what}; give {option(name)} KEY or {option(name)} ={_EXAMPLES[name]}, or {{{name}}} in "
        f"--names; its configuration has {keys}"
    )
