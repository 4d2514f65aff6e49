"""Predictions as a person reads them: one at length, several as a table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.fitted_laws import MORE_DATA, NOT_OPTIMISED, Quantity, Tolerated
from tdscale.cli.console import duration, plain_table
from tdscale.planning import Prediction

_AT_LENGTH = 3  # so many predictions are printed at length


def print_predictions(console: Console, found: Sequence[Prediction], notes: Sequence[str] = ()) -> None:
    """Each at length, or of many a table; then what to know."""
    if len(found) <= _AT_LENGTH:
        for one in found:
            _print_one(console, one)
    else:
        console.print(f"\n{found[0].laws}: predictions")
        console.print(prediction_table(found))
        for words in dict.fromkeys(f"UTD {short(one.utd)} {one.where}" for one in found if one.extrapolation > 1):
            console.print(f"  · {words}")
        for reason in dict.fromkeys(one.refused for one in found if one.refused is not None):
            console.print(f"  · no D: {reason}")
    for note in notes:
        console.print(f"  · {note}")


def _print_one(console: Console, one: Prediction) -> None:
    size = "" if one.model_size is None else f", size {one.size}, N = {short(one.model_size)}"
    scope = one.task if one.task is not None else "mean over tasks"
    raw = "" if one.raw_threshold is None else f" (raw {short(one.raw_threshold)})"
    console.print(f"\n{one.laws}, {scope}{size}: UTD {short(one.utd)} to return {short(one.threshold)}{raw}")
    if one.refused is not None:
        console.print(f"  no answer for D: {one.refused}")
    rows = [("env steps", one.data, ""), ("compute", one.compute, one.compute_name)]
    for name, value, unit in rows:
        if value is not None:
            console.print(f"  {name:<14} {value} {unit}".rstrip())
    if one.seconds is not None:
        console.print(f"  {'time':<14} {_time(one.seconds)} of one run, as measured where the study ran")
    if one.batch_size_range is not None:
        best = _shown(one, "batch_size", one.batch_size_range)
        console.print(f"  {'batch size':<14} {one.batch_size}, rounded from {best}")
        _print_tolerated(console, one.batch_size_tolerated)
    if one.learning_rate_range is not None:
        console.print(f"  {'learning rate':<14} {_shown(one, 'learning_rate', one.learning_rate_range)}")
        _print_tolerated(console, one.learning_rate_tolerated)
    console.print(f"  {one.where}")


def _print_tolerated(console: Console, found: Tolerated | None) -> None:
    if found is not None:
        beyond = ", partly beyond what was swept" if found.beyond else ""
        console.print(f"  {'':<14} at most {MORE_DATA:.0%} more data from {found}{beyond}")


def _shown(one: Prediction, quantity: Quantity, value: Estimate) -> str:
    return f"{short(value.value)} ({NOT_OPTIMISED})" if quantity in one.not_optimised else str(value)


def _time(seconds: Estimate) -> str:
    return f"{duration(seconds.value)} [{duration(seconds.low)}, {duration(seconds.high)}]"


def prediction_table(found: Sequence[Prediction]) -> Table:
    """A row for each: B before and after rounding, η, D, C and seconds, with intervals where there are some. *: extrapolated."""
    sized = any(one.model_size is not None for one in found)
    timed = any(one.seconds is not None for one in found)
    levels = len({one.threshold for one in found}) > 1
    unit = next((one.compute_name for one in found if one.compute is not None), "")
    headings = ["task", *["size"] * sized, "UTD", *["J"] * levels, "B", "B*", "η*", "env steps", *[unit] * bool(unit), *["time"] * timed]
    table = plain_table("", *headings, gap=2)
    for one in found:
        cells = [one.task or "all tasks", *[one.size or "–"] * sized]
        cells.append(short(one.utd) + "*" * (one.extrapolation > 1))
        cells += [short(one.threshold)] * levels
        cells.append("–" if one.batch_size is None else str(one.batch_size))
        cells += [_cell(one.batch_size_range), _cell(one.learning_rate_range), _cell(one.data)]
        cells += [_cell(one.compute)] * bool(unit)
        cells += ["–" if one.seconds is None else _time(one.seconds)] * timed
        table.add_row(*cells)
    return table


def _cell(value: Estimate | None) -> str:
    if value is None:
        return "–"
    return short(value.value) if value.low != value.low else str(value)  # NaN: no interval is known
