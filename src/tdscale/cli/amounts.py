"""How options read numbers: counts such as 300k and 1.5M, times such as 2h and 90min. A bad one is a sentence that shows a right one."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import typer

from tdscale.amounts import number, seconds
from tdscale.errors import UserError


class Duration(float):
    """Seconds that were given as a time, 2h, where a number without a unit may stand for something else."""


def amount(
    what: str, example: str, *, least: float = -math.inf, most: float = math.inf, whole: bool = False, times: bool = False
) -> Callable[[Any], Any]:
    """A parser of an option's value: k, M, B and T may stand behind a number.

    Args:
        what: the option's value is, for the sentence: "a number of env steps".
        example: of a right one.
        least, most: both allowed.
        whole: whether it must be a whole number, and is an int.
        times: whether it may be a time, 2h, too, and is a `Duration` then.
    """

    def read(text: Any) -> Any:
        found = number(text)
        if found is None and times and (time := seconds(text)) is not None:
            found = Duration(time)
        if found is None or (whole and not found.is_integer()):
            raise typer.BadParameter(f"{str(text)!r} is not {what}; it must be {'a whole number' if whole else 'a number'}, e.g. {example}")
        if not least <= found <= most:
            bounds = [f"at least {least:.15g}"] * (least > -math.inf) + [f"at most {most:.15g}"] * (most < math.inf)
            raise typer.BadParameter(f"{str(text)!r} can't be {what}; it must be {' and '.join(bounds)}, e.g. {example}")
        return int(found) if whole else found

    return read


def hours(text: Any) -> float:
    """A time in hours: 2, 2h, 90min, 1d."""
    time = seconds(text)
    found = time / 3600 if time is not None else number(text)
    if found is None:
        raise typer.BadParameter(f"{str(text)!r} is not a time; it must be hours, or a number with min, h or d, e.g. 90min")
    return found


def utds(texts: Iterable[str], where: str = "--utd") -> list[float]:
    """UTD ratios: numbers above 0, commas between several; 1/4 is 0.25. Raises UserError, which says `where` the text stands."""
    return [_ratio(part, where) for text in texts for part in text.split(",")]


def _ratio(text: str, where: str) -> float:
    above, sign, below = text.partition("/")
    value, divisor = number(above), number(below) if sign else 1.0
    if value is None or divisor is None or value <= 0 or divisor <= 0:
        raise UserError(f"{where}: {text.strip()!r} is not a UTD ratio; it must be a number above 0, e.g. 3, 0.25 or 1/4")
    return value / divisor


ENV_STEPS: Final = amount("a number of env steps", "300k")
COMPUTE: Final = amount("an amount of compute", "2e15, or 2h where it is told in seconds", times=True)
THRESHOLD: Final = amount("a return", "800")
MODEL_SIZE: Final = amount("a number of parameters", "1.5M")
