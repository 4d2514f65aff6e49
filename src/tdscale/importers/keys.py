"""The keys in which a log's runs differ: which make them different studies, which are names of the seed, which are shown."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tdscale.errors import UserError
from tdscale.importers.logged_run import COUNT, MAX_NAME
from tdscale.importers.model_size import OPTION, counts, how_to_tell, is_size
from tdscale.importers.patterns import USUAL_NAMES
from tdscale.runs.where import as_text, decides

Key = Mapping[int, str]  # by run: what it has under a key
_SHOWN_VALUES = 6
_SHOWN_NAMES = 3
# keys that name an algorithm, and free names of experiments, in which an algorithm's may stand
_ALGORITHM = (*USUAL_NAMES["algorithm"], "algo.name", "algorithm.name", "agent.name", "method.name")
_FREE = ("exp_name", "experiment", "experiment_name", "script", "variant")
_KNOWN = re.compile(
    r"(?<![a-z])(?:redq|droq|drq|sac|td3|td7|ddpg|d4pg|dqn|qdagger|c51|rainbow|bro|brc|simba|simbav2|crossq|tqc|mpo|ppo|pql|rlpd|awac|cql|iql|bbf|"
    r"spr|sunrise|rem|qrdqn|iqn|tdmpc|tdmpc2|dreamer|sbx|trpo|a2c|impala)(?![a-z])"
)
# keys that differ between runs as a matter of course, by their last part
_INCIDENTAL = re.compile(
    r"_.*|id|name|run|run_name|display_name|exp_dir|experiment_dir|t_start|time|timestamp|date|datetime|pid|uuid|host|hostname|node|user|username|"
    r"device|cuda|gpu|gpus|cpus?|threads|num_workers|n_jobs|port|notes?|comment|description|verbose|logdir|tensorboard_log|experiment_tag|"
    r"num_timesteps|total_timesteps|total_steps|total_env_steps|max_steps|max_timesteps|num_steps|training_iteration|"
    r"(.*_)?(at|id|uid|uuid|dir|path|folder|file|time|timestamp|date|seed|commit|sha|hash|hostname|url|port|runtime|project|project_name|entity)|"
    r"(wandb|git|slurm|save|saving|checkpoint|ckpt|video|render|tensorboard|logging|logger)(_.*)?|log_(dir|path|freq|frequency|interval|every|level)"
)


def incidental(key: str) -> bool:
    """Whether a key differs between runs as a matter of course: ids, times, hosts, paths."""
    return bool(_INCIDENTAL.fullmatch(re.split(r"[./]", key)[-1].lower()))


def tells_apart(key: str) -> bool:
    """Whether a key, by its name, makes runs different ones: it names an algorithm or an experiment, or decides a curve."""
    return key in _ALGORITHM or key in _FREE or decides(key)


def words_of(name: str) -> tuple[str, ...]:
    """The words in a run's name, without numbers, ids and short marks."""
    parts = re.split(r"[^A-Za-z0-9]+", name.lower())
    return tuple(part for part in parts if re.fullmatch(r"[a-z]{3,}", part) and not re.fullmatch(r"[a-f]+", part))


def words_of_algorithms(name: str) -> tuple[str, ...]:
    """The algorithms that are named in a run's name, sorted."""
    return tuple(sorted(set(_KNOWN.findall(name.lower()))))


def refuse_names(algorithms: Mapping[tuple[str, ...], str], cells: Iterable[Mapping[tuple[str, ...], str]]) -> None:
    """Raises UserError where runs' names say that they don't belong together.

    Args:
        algorithms: by the algorithms in a name, the first run that is called so.
        cells: of each cell whose runs the log gives no seeds, by the words in a name, the first that is called so.
    """
    if len(algorithms) > 1:
        shown = "; ".join(f"{' and '.join(words)}, the first {name}" for words, name in list(algorithms.items())[:_SHOWN_NAMES])
        raise UserError(
            f"the names of the runs show several algorithms ({shown}); a study has one: read it with {{algorithm}} in --names, "
            "or with --algorithm KEY:PATTERN, and choose with --where algorithm=NAME; if it is one algorithm, give --algorithm =NAME"
        )
    for names in cells:
        if len(names) > 1:
            first, second, *_ = names.values()
            raise UserError(
                f"{first} and {second} would count as seeds of one cell, but have different names; if they are seeds, "
                f"give --seed {COUNT}; otherwise read what separates them with a {{key}} in --names, and choose with --where KEY=VALUE"
            )


def named_algorithm(config: Mapping[str, Any]) -> str | None:
    """The algorithm that a configuration names, also within an experiment's name; None if it does not."""
    for key in _ALGORITHM:
        if isinstance(config.get(key), str) and 0 < len(config[key]) <= MAX_NAME:
            return str(config[key])
    for key in _FREE:
        words = _KNOWN.findall(config[key].lower()) if isinstance(config.get(key), str) else []
        if words:
            return str(words[0])
    return None


@dataclass(frozen=True, kw_only=True)
class KeyNote:
    """A key in which runs differ and that is not used.

    Attributes:
        key: its name.
        along: what it changes with: "the task", "the UTD ratio", …
        values: those that occur, as text, in the order of the runs.
    """

    key: str
    along: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Run:
    place: tuple[Any, ...]
    seed: int
    seed_known: bool


class KeySurvey:
    """What the runs of a study-to-be have under their other keys, kept only where it differs."""

    def __init__(self, ignored: Iterable[str] = ()) -> None:
        self._ignored = set(ignored)
        self._used: set[str] = set()
        self._runs: dict[int, _Run] = {}
        self._count = 0
        self._alike: dict[str, str] = {}
        self._varied: dict[str, dict[int, str]] = {}

    def add(self, config: Mapping[str, Any], apart: Collection[str] = ()) -> int:
        """Note a run's configuration, and which of its keys distinguish it from others; returns the run's number."""
        index = self._count
        self._count += 1
        wanted = {key: value for key, value in config.items() if key in apart or not incidental(key)}
        texts = {key: as_text(value) if value is not None else "none" for key, value in wanted.items()}
        for key in self._alike.keys() - texts.keys():
            self._varied[key] = dict.fromkeys(range(index), self._alike.pop(key))
        for key, text in texts.items():
            if key in self._varied:
                self._varied[key][index] = text
            elif index == 0:
                self._alike[key] = text
            elif self._alike.get(key) != text:
                before = dict.fromkeys(range(index), self._alike.pop(key)) if key in self._alike else {}
                self._varied[key] = before | {index: text}
        return index

    def place(self, index: int, place: Sequence[Any], size: Any, seed: int, *, seed_known: bool, used: Iterable[str]) -> None:
        """Note what a run is, once that is known: task, σ, B, η; size; its seed, and whether the log says it; the keys that said so."""
        self._runs[index] = _Run(place=(*place, size), seed=seed, seed_known=seed_known)
        self._used |= set(used)

    def refuse_algorithms(self) -> None:
        """Raises UserError where the runs are of several algorithms."""
        for key in (*_ALGORITHM, *_FREE):
            values = self._varied.get(key)
            if values is None or key in self._ignored:
                continue
            kinds: dict[Any, list[str]] = defaultdict(list)
            for text in dict.fromkeys(values.values()):
                kinds[_kind(text, free=key in _FREE)].append(text)
            if len(kinds) < 2:
                continue
            counts = Counter(values.values())
            several = max(map(len, kinds.values())) > 1
            apart = f", or import each with --split-by {key} into a study of its own" if not several else ""
            first = ",".join(next(iter(kinds.values())))
            shown = _listed([f"{text} ({count} {'run' if count == 1 else 'runs'})" for text, count in counts.items()])
            raise UserError(
                f"the runs have several algorithms: {key} is {shown}; a study has one: choose with --where {_quoted(f'{key}={first}')}"
                f"{apart}; if it is one algorithm, add --ignore {key}"
            )

    def refuse_differences(self) -> tuple[KeyNote, ...]:
        """The keys in which runs differ, to be shown.

        Raises:
            UserError: where runs that would count as seeds of one cell, or as one law, differ in a key that may matter.
        """
        notes, asked = [], []
        for key, values in self._varied.items():
            present = {index: text for index, text in values.items() if index in self._runs}
            if key in self._used or key in self._ignored or len(set(present.values())) < 2:
                continue
            rank, along = self._judge(key, present)
            if rank is None:
                notes.append(KeyNote(key=key, along=along, values=tuple(dict.fromkeys(present.values()))))
            else:
                asked.append((rank, len(set(present.values())), key, along, present))
        if asked:
            raise UserError(_question(sorted(asked, key=lambda one: one[:2])))
        return tuple(notes)

    @staticmethod
    def deciding(config: Mapping[str, Any]) -> dict[str, Any]:
        """What of a run's configuration decides its curve by its name, as plain JSON values."""
        return {key: plain_value(value) for key, value in config.items() if value is not None and decides(key) and not incidental(key)}

    def settings(self, deciding: Mapping[str, Any], notes: Iterable[KeyNote]) -> dict[str, Any]:
        """The keys that decide a run's curve, that every run records and that have no other use."""
        out = self._used | self._ignored | {note.key for note in notes if note.along not in (_TASK, _SIZE)} | set(_ALGORITHM)
        everywhere = {key for key in deciding if key in self._alike or self._runs.keys() <= self._varied.get(key, {}).keys()}
        return {key: value for key, value in deciding.items() if key in everywhere and key not in out}

    def _judge(self, key: str, present: Key) -> tuple[int | None, str]:
        """How urgently to ask about a key (None: show it), and what it changes with."""
        if self._is_of(present, lambda run: run.place[0]):
            return None, _TASK
        if len({run.place[4] for run in self._runs.values()}) > 1 and self._is_of(present, lambda run: run.place[4]):
            return None, _SIZE
        named = key in _ALGORITHM or key in _FREE
        if key in _FREE and len({_kind(text, free=False) for text in present.values()}) > 1:
            return 1, "as seeds"
        within: dict[Any, dict[int, str]] = defaultdict(dict)
        for index, text in present.items():
            within[self._runs[index].place][index] = text
        mixed = [texts for texts in within.values() if len(set(texts.values())) > 1]
        if any(self._same_seed(texts) for texts in mixed):
            return 0, "with the same seed"
        if mixed and not named and decides(key):
            return 1, "as seeds"
        if mixed:
            label = incidental(key) and len(set(present.values())) == len(present)
            return (None, "the seed") if label or all(self._another_name(texts) for texts in mixed) else (2, "as seeds")
        for along, field in ((_UTD, slice(1, 2)), (_BATCH, slice(2, 4))):
            if self._is_of(present, lambda run, field=field: run.place[field]):  # type: ignore[misc]
                return (3 if decides(key) and not named else None), along
        return (3 if decides(key) and not named else None), _CELL

    def _is_of(self, present: Key, value: Callable[[_Run], Any]) -> bool:
        """Whether a key's value follows from something else of a run."""
        first: dict[Any, str] = {}
        return all(first.setdefault(value(self._runs[index]), text) == text for index, text in present.items())

    def _same_seed(self, texts: Key) -> bool:
        """Whether runs of one cell and, by the log, one seed have different values."""
        first: dict[int, str] = {}
        runs = [(self._runs[index], text) for index, text in texts.items()]
        return any(run.seed_known and first.setdefault(run.seed, text) != text for run, text in runs)

    def _another_name(self, texts: Key) -> bool:
        """Whether each run of a cell has a value of its own, as another name of its seed has."""
        if len(set(texts.values())) < len(texts):
            return False
        return all(self._runs[index].seed_known for index in texts) or _numbered(list(texts.values()))


_TASK, _SIZE, _UTD, _BATCH, _CELL = "the task", "the model size", "the UTD ratio", "batch size and learning rate", "the cell"


def _kind(text: str, *, free: bool) -> Any:
    """Equal for names of one algorithm: those that differ in numbers alone, as "sac_utd2" and "sac_utd8" do."""
    words = words_of_algorithms(text)
    return words if free else (words, re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "", text.lower()))


def _numbered(texts: Sequence[str]) -> bool:
    """Whether names differ in one number alone that is called a seed or nothing: "a_s0" and "a_s1", but not "a_w64" and "a_w256"."""
    parts = [re.split(r"(\d+)", text) for text in texts]
    if len({len(part) for part in parts}) > 1:
        return False
    differing = [place for place, values in enumerate(zip(*parts, strict=True)) if len(set(values)) > 1]
    if len(differing) != 1 or differing[0] % 2 == 0:
        return False
    before = parts[0][differing[0] - 1].lower()
    return bool(re.search(r"(^|[^a-z])(s|seed|run|rep|repeat|trial|no)?[^a-z0-9]*$", before))


def _question(asked: Sequence[tuple[int, int, str, str, Key]]) -> str:
    rank, _, key, along, present = asked[0]
    values = list(dict.fromkeys(present.values()))
    others = [other for _, _, other, _, _ in asked[1:]]
    also = f" (they also differ in {_listed(others)})" if others else ""
    runs = {
        0: "runs with the same task, UTD ratio, batch size, learning rate and seed differ in",
        1: f"runs that would belong to one {'study' if key in _FREE else 'cell'} differ in",
        2: "runs that would count as seeds of one cell differ in",
        3: f"runs of different {'UTD ratio' if along == _UTD else 'cells'} also differ in",
    }[rank]
    choice = next((value for value in values if value != "none"), values[0])
    tell = f"{OPTION} {_quoted(key)}" if all(counts(key, value) for value in values) else how_to_tell(key, values)
    sized = is_size(key) and "none" not in values
    axis = f"if it is the size of the networks, give their N with {tell}; else " if sized else ""
    return (
        f"{runs} {key}: {_listed(values)}{also}; {axis}choose with --where {_quoted(f'{key}={choice}')}, or import each with "
        f"--split-by {_quoted(key)} into a study of its own; if it does not matter, add --ignore {_quoted(key)}"
    )


def _listed(values: Collection[str]) -> str:
    shown = [value if len(value) <= MAX_NAME else value[: MAX_NAME - 1] + "…" for value in list(values)[:_SHOWN_VALUES]]
    more = f" and {len(values) - _SHOWN_VALUES} more" if len(values) > _SHOWN_VALUES else ""
    return ", ".join(repr(value)[1:-1] for value in shown) + more


def _quoted(text: str) -> str:
    """As it is typed in a shell."""
    return text if re.fullmatch(r"[\w.,=/:@%+-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def plain_value(value: Any) -> Any:
    """The same plain value for the same setting, however a log writes it: a number, true or false, or text."""
    text = as_text(value)
    if text in ("true", "false"):
        return text == "true"
    try:
        found = float(text)
    except ValueError:
        return text
    return int(found) if found.is_integer() and abs(found) < 2**53 else found if found == found and abs(found) != float("inf") else text
