"""What a run's keys mean: its σ, B, η, task, seed, N and algorithm, by an option, by --names, or by usual names; checked.

What the log does not have is asked for by name.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tdscale import amounts
from tdscale.errors import UserError
from tdscale.importers.logged_run import (
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
from tdscale.importers.model_size import can_name, counts, told_sizes
from tdscale.importers.patterns import LEVELS, USUAL_NAMES, WITHIN, fitted
from tdscale.runs.where import as_text

# keys that some programs use for transitions per env step, and others for updates
AMBIGUOUS_RATIOS = ("replay_ratio", "training_intensity", "samples_per_insert", "train_ratio")
# "critic.lr", "optimizer.critic.learning_rate" and the like
_CRITIC_RATE = re.compile(r"(.*[./_])?(critic|critics|qf|q_net|q_network|q_function)[./_].*?(lr|learning_rate)")
_OTHER_RATE = re.compile(r"(^|[./_])(actor|policy|pi|alpha|temperature|temp|entropy|encoder|model)[./_]")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A quantity of a run, as its log or an option has it.

    Attributes:
        value: what was found.
        keys: where; none for a constant.
        others: other keys of it with another value, which are less specific.
        rivals: other keys of it with another value, which are just as specific.
        derived: whether it was derived from a saved model's counters.
    """

    value: Any
    keys: tuple[str, ...] = ()
    others: tuple[tuple[str, Any], ...] = ()
    rivals: tuple[tuple[str, Any], ...] = ()
    derived: bool = False


def columns_asked(asked: str, there: Collection[str]) -> tuple[str, ...]:
    """The keys that an option's KEY, KEY:PATTERN or KEY/KEY takes a value from, those that exist; none for a constant."""
    if asked.startswith("="):
        return ()
    key = _key_in(asked, there)
    if key is not None:
        return (key,)
    if ":" in asked:
        keys = [_key_in(asked.split(":", 1)[0], there)]
    else:
        above, _, below = asked.rpartition("/")
        keys = [_key_in(above, there), *([] if number(below) else [_key_in(below, there)])]
    return tuple(key for key in keys if key is not None) if all(keys) else ()


def _key_in(asked: str, there: Collection[str]) -> str | None:
    for key in (asked, asked.removeprefix("config.")):
        if key in there:
            return key
    nested = [key for key in there if key.endswith((f".{asked}", f"/{asked}"))]
    return nested[0] if len(nested) == 1 else None


def value_of(name: str, run: LoggedRun, columns: Columns) -> Found | None:
    """A run's σ, B, η, task, seed, N or algorithm: by the user's word, else by --names, else as its log has it; None if nobody says."""
    asked = getattr(columns, name)
    if name == "model_size" and (told := told_sizes(asked)) is not None:
        key = _key_in(told.key, {key: value for key, value in run.config.items() if value is not None})
        if key is None:
            raise _no_key(name, told.key, run)
        return Found(value=told.by_value.get(as_text(run.config[key])), keys=(key,))
    if asked is not None and not (name == "utd" and asked == DERIVED):
        return Found(value=asked[1:]) if asked.startswith("=") else _asked(name, asked, run)
    if run.named:
        for key in USUAL_NAMES[name]:
            if key in run.named:
                return Found(value=run.named[key], keys=(key,))
    return logged_value(name, run.config)


def _asked(name: str, asked: str, run: LoggedRun) -> Found:
    """What an option that names keys says. Raises UserError where they are not there."""
    there = {key: value for key, value in run.config.items() if value is not None}
    keys = columns_asked(asked, there)
    if not keys:
        raise _no_key(name, asked.split(":", 1)[0] if ":" in asked else asked, run)
    if _key_in(asked, there) is not None:
        return Found(value=there[keys[0]], keys=keys)
    if ":" in asked:
        pattern = asked.split(":", 1)[1]
        text = str(there[keys[0]])
        found = fitted(pattern.replace("{}", f"{{{name}}}").replace("/", WITHIN), text.replace("/", WITHIN), f"{option(name)} {keys[0]}:")
        if not found:
            raise UserError(
                f"{run.name}: {keys[0]} is {text!r}, which does not fit {pattern!r}; {option(name)} KEY:PATTERN reads the text at "
                f"{{{name}}}, and * stands for anything, e.g. {option(name)} '{keys[0]}:*_x{{{name}}}'"
            )
        return Found(value=found.get(name, next(iter(found.values()))), keys=keys)
    parts = [there[key] for key in keys] if len(keys) == 2 else [there[keys[0]], asked.rpartition("/")[2]]
    above, below = map(number, parts)
    if above is None or not below:
        shown = " by ".join(map(shown_value, parts))
        raise UserError(f"{run.name}: {option(name)} {asked} divides {shown}; both must be numbers, the second not 0")
    return Found(value=above / below, keys=keys)


def _no_key(name: str, missing: str, run: LoggedRun) -> UserError:
    there = shown_keys(key for key, value in run.config.items() if value is not None)
    return UserError(f"{run.name}: has no {missing!r}, which {option(name)} names; its configuration has {there}")


def logged_value(name: str, config: Mapping[str, Any]) -> Found | None:
    """What a configuration says by usual names, the most specific first; a nested key where it is the only one of its name."""
    levels = [found for level in LEVELS[name] if (found := _in_level(level, config, name == "learning_rate" and "q_lr" in level))]
    if name == "utd" and (derived := _sb3_utd(config)) is not None:
        levels.append([(("gradient_steps", derived.value))])
        if len(levels) == 1:
            return derived
    if not levels:
        return None
    (key, value), *rest = levels[0]
    lower = [pair for level in levels[1:] for pair in level if not same_value(pair[1], value)]
    return Found(value=value, keys=(key,), others=tuple(lower), rivals=tuple(pair for pair in rest if not same_value(pair[1], value)))


def _in_level(level: tuple[str, ...], config: Mapping[str, Any], critic: bool) -> list[tuple[str, Any]]:
    there = [(key, config[key]) for key in level if config.get(key) is not None]
    if there:
        return there
    nested: dict[str, list[tuple[str, Any]]] = {}
    for full, value in config.items():
        last = re.split(r"[./]", full)[-1]
        if value is None or full == last:
            continue
        of_another = not critic and last in ("lr", "learning_rate") and _OTHER_RATE.search(full)
        if (last in level and not of_another) or (critic and _CRITIC_RATE.fullmatch(full)):
            nested.setdefault(last, []).append((full, value))
    return [pairs[0] for pairs in nested.values() if len(pairs) == 1]


def _sb3_utd(config: Mapping[str, Any]) -> Found | None:
    """Stable-Baselines3: gradient_steps updates after every train_freq steps of n_envs environments."""
    steps, frequency = number(config.get("gradient_steps")), config.get("train_freq")
    if isinstance(frequency, list | tuple) and len(frequency) == 2 and frequency[1] == "step":
        frequency = frequency[0]
    per = number(frequency)
    if steps == -1:  # as many as the steps just taken
        return Found(value=1.0, keys=("gradient_steps",))
    if steps is None or steps < 0:
        return None
    if per is None:
        counted = _counted_utd(steps, config)
        return None if counted is None else Found(value=counted, keys=("gradient_steps",), derived=True)
    environments = number(config.get("n_envs", 1)) or 1.0
    return Found(value=steps / (per * environments), keys=("gradient_steps", "train_freq")) if per > 0 else None


def _counted_utd(gradient_steps: float, config: Mapping[str, Any]) -> float | None:
    """From the updates that a saved model counts: its train_freq is pickled, and never read."""
    updates, total, start = (number(config.get(key)) for key in ("_n_updates", "num_timesteps", "learning_starts"))
    if not updates or updates < 0 or total is None or start is None or total <= start:
        return None
    period = gradient_steps * (total - start) / updates
    whole = round(period)
    # a whole number of env steps, but for the part of a period at either end
    return gradient_steps / whole if whole and abs(period - whole) <= 0.02 * whole else None


_LEAST_READ = 1000  # a smaller N within a text is rather a width
CellPlace = tuple[str, float, int, float]

_EXAMPLES = {"utd": "0.25", "batch_size": "256", "learning_rate": "3e-4", "task": "Pendulum-v1"}
# as in a study
_ALLOWED = {"utd": "above 0, at most 4096", "batch_size": "a whole number from 1 to 1048576", "learning_rate": "between 0 and 1"}


@dataclass(frozen=True, kw_only=True)
class Network:
    """The size of a run's networks.

    Attributes:
        parameters: N; None where it is not known.
        key, value: the setting, and its value as text, that the run names its size by; empty where it holds N itself, or nothing.
        source: the key that holds N itself; empty where it is another's, or part of a text.
    """

    parameters: float | None = None
    key: str = ""
    value: str = ""
    source: str = ""

    @property
    def place(self) -> Any:
        """Equal for equal sizes."""
        return self.value or self.parameters


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a run is, by its own keys and the user's word.

    Attributes:
        place: task, σ, B and η.
        size: of its networks.
        found: by quantity, where each was found.
        contradictions: what an option or --names says against the log, or one key against another; (code, sentence).
    """

    place: CellPlace
    size: Network
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
    return Meaning(place=place, size=_size(found.get("model_size"), run, columns), found=found, contradictions=tuple(said))


def seed_of(run: LoggedRun, columns: Columns, counts: Counter[CellPlace], place: CellPlace) -> tuple[int, Found | None]:
    """The seed of the log, or else the number of runs of its cell before it. Raises UserError where it is not a whole number."""
    found = None if columns.seed == COUNT else value_of("seed", run, columns)
    if found is None:
        counts[place] += 1
        return counts[place] - 1, None
    seed = number(found.value)
    if seed is None or seed != int(seed) or not 0 <= seed < 2**62:
        raise UserError(
            f"{run.name}: {shown_value(found.value)} is not a seed; give --seed KEY of a whole number, or --seed {COUNT} to number the runs"
        )
    return int(seed), found


def _size(found: Found | None, run: LoggedRun, columns: Columns) -> Network:
    """N, or the setting that names it. Raises UserError where a value can be neither."""
    asked = columns.model_size
    if found is None:
        return Network()
    if told_sizes(asked) is not None:
        (key,) = found.keys
        return Network(parameters=found.value, key=key, value=as_text(run.config[key]))
    key = found.keys[0] if found.keys else ""
    whole = bool(key) and (asked is None or same_value(run.config.get(key), found.value))
    size = amounts.number(found.value)
    if size is not None and (counts(key, found.value) if whole else size >= (_LEAST_READ if key else 1)):
        return Network(parameters=size, source=key if whole else "")
    if whole and can_name(found.value):
        logged = logged_value("model_size", run.config)
        known = logged is not None and key not in logged.keys and counts(logged.keys[0], logged.value)
        return Network(
            parameters=amounts.number(logged.value) if logged is not None and known else None, key=key, value=as_text(found.value)
        )
    tell = f", or give N of each value, --model-size {key}:VALUE=N,VALUE=N" if whole else ""
    raise UserError(f"{run.name}: {shown_value(found.value)} can't be N, the critics' parameters; give its key with --model-size KEY{tell}")


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
            f"the {what} comes from {found.keys[0]} ({value}), not from {key} ({shown_value(other)}); {option(name)} {key} chooses it",
        )
    asked = getattr(columns, name)
    told = name == "model_size" and found.value is not None and told_sizes(asked) is not None
    by_option = asked is not None and (told or (asked.startswith("=") and asked != DERIVED))
    if not by_option and not (asked is None and any(key in run.named for key in found.keys)):
        return
    logged = logged_value(name, run.config if run.logged is None else run.logged)
    itself = told and logged is not None and logged.keys == found.keys  # a key whose values name sizes
    same = itself or logged is None or same_value(logged.value, found.value)
    if logged is not None and number(logged.value) is not None and not same:
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
            f"{run.name}: {shown_value(found.value)} can't be {SYMBOLS[name]} ({WORDS[name]}), which is {_ALLOWED[name]}; give its key "
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
            f"{run.name}: the log does not have σ (UTD ratio): its {ratio} may count critic updates per env step, or transitions "
            f"that they use; for updates give --utd {ratio}, for transitions give --utd {per}"
        )
    keys = shown_keys(key for key, value in run.config.items() if value is not None)
    return UserError(
        f"{run.name}: the log does not have {what}; give {option(name)} KEY or {option(name)} ={_EXAMPLES[name]}, or {{{name}}} in "
        f"--names; its configuration has {keys}"
    )
