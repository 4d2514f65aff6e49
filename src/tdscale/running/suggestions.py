"""Runs that are suggested: what each is, in which forms they are handed on."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

from tdscale.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)  # what no shell takes for anything but text
PLACEHOLDERS = ("task", "utd", "batch_size", "learning_rate", "seed", "env_steps")


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One run that is suggested.

    Attributes:
        task: its name; utd: σ; batch_size: B; learning_rate: η; seed: a number that no run of the cell has yet.
        env_steps: how many it is expected to take until it reaches the top threshold.
        stop_at: env step at which it may be stopped where it has not reached the threshold.
        seconds: that it is expected to take; None where the runs recorded no times.
        after: what is aimed at, expected after this run and those before it; None for the first runs of a (task, σ).
    """

    task: str
    utd: float
    batch_size: int
    learning_rate: float
    seed: int
    env_steps: float
    stop_at: int
    seconds: float | None = None
    after: float | None = None

    @property
    def cell(self) -> tuple[str, float, int, float]:
        """Task, σ, B and η."""
        return self.task, self.utd, self.batch_size, self.learning_rate

    def command(self, template: str) -> str:
        """The template with this run's values.

        Placeholders are {task}, {utd}, {batch_size}, {learning_rate}, {seed} and {env_steps} (where the run stops at the latest); a
        brace itself is written twice. A value that a POSIX shell could take for more than text is quoted. Nothing is executed.

        Raises:
            UserError: if there is no such placeholder.
        """
        values = {name: _text(getattr(self, name)) for name in PLACEHOLDERS} | {"env_steps": str(self.stop_at)}
        parts, at, quote = [], 0, ""
        for found in _TOKEN.finditer(template):
            between = template[at : found.start()]
            quote = _open_quote(between, quote)
            parts.append(between)
            at = found.end()
            name = found[1]
            if name is None:
                if found[0] in ("{", "}"):
                    raise UserError(f"template: has a lone {found[0]}; write a brace as {found[0] * 2}")
                parts.append(found[0][0])
                continue
            if name not in values:
                known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
                raise UserError(f"template: there is no placeholder {{{name}}}; there is {known}")
            value = values[name]
            # out of the template's own quotes, the value in quotes, and in again
            parts.append(value if _PLAIN.fullmatch(value) else f"{quote}{shlex.quote(value)}{quote}")
        return "".join([*parts, template[at:]])


@dataclass(frozen=True, kw_only=True)
class Suggestions(Sequence[Suggestion]):
    """Runs that are suggested, most valuable first.

    Attributes:
        study: its name.
        runs: the suggestions.
        aim: what the runs are to make better: "regret", or what was named, for example "D@16".
        measure: what `before` and each suggestion's `after` are, in words.
        before: today; None if it is not known yet.
        bound: the regret is below this with a chance of 80 %; None for other aims.
        notes: sentences that a person should read.
    """

    study: str
    runs: tuple[Suggestion, ...]
    aim: str
    measure: str
    before: float | None = None
    bound: float | None = None
    notes: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Suggestion: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Suggestion, ...]: ...

    def __getitem__(self, index: int | slice) -> Suggestion | tuple[Suggestion, ...]:
        return self.runs[index]

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Suggestion]:
        return iter(self.runs)

    @property
    def env_steps(self) -> float:
        """That all of them are expected to take."""
        return float(sum(run.env_steps for run in self.runs))

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; `suggestions` is a list of the fields of `Suggestion`."""
        rest = {name: getattr(self, name) for name in ("study", "aim", "measure", "before", "bound")}
        return rest | {"env_steps": self.env_steps, "suggestions": [asdict(run) for run in self.runs], "notes": list(self.notes)}

    def to_frame(self) -> "pd.DataFrame":
        """A row for each run, with the fields of `Suggestion` as columns."""
        import pandas as pd

        return pd.DataFrame([asdict(run) for run in self.runs], columns=list(Suggestion.__dataclass_fields__))


def _text(value: Any) -> str:
    """Whole numbers without a point, others with as many digits as they have."""
    return value if isinstance(value, str) else str(int(value)) if float(value).is_integer() else repr(value)


def _open_quote(text: str, quote: str) -> str:
    """The quote that is open after a part of a command line, if one was open before it; "" for none."""
    skip = False
    for character in text:
        if skip:
            skip = False
        elif character == "\\" and quote != "'":
            skip = True
        elif character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
    return quote
