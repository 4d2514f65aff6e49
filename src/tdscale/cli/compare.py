"""`tdscale compare`: studies side by side, frontier against frontier. The work: `tdscale.running.comparing`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdscale.cli.app import command
from tdscale.cli.options import Json, Unit, option
from tdscale.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from tdscale.planning import Comparison, Contrast, Measure, Point

_TITLES = {
    "data": "env steps until return {level}, at equal compute",
    "compute": "compute until return {level}, at equal data",
    "return": "return at equal budgets, F = C + δ·D{cost}",
    "budget": "budget for equal returns, F = C + δ·D{cost}",
}


@command(epilog="Example:  tdscale compare sac bro    |    tdscale compare sac bro redq --task dog-run --figure compared.svg")
def compare(
    studies: Annotated[
        list[str], typer.Argument(metavar="DIR1 DIR2 …", help="The studies' folders, or published:NAME.", show_default=False)
    ],
    threshold: Annotated[
        float | None, option(metavar="J", what="Return to reach, normalised. [default: the highest that all have laws at]")
    ] = None,
    task: Annotated[str | None, option(metavar="T", what="One task. [default: all that the studies share, and each]")] = None,
    compute: Annotated[str | None, option(metavar="C,…", what="Compare env steps at this much compute.")] = None,
    data: Annotated[str | None, option(metavar="D,…", what="Compare compute at so many env steps.")] = None,
    budget: Annotated[str | None, option(metavar="F,…", what="Compare the return at these C + δ·D.")] = None,
    data_cost: Annotated[
        float | None, option(metavar="δ", what="Compute that one env step is worth, for all. [default: the studies', where it is one]")
    ] = None,
    unit: Annotated[Unit | None, option("--unit", what="What compute is told in. [default: the studies']")] = None,
    size: Annotated[list[str] | None, option(metavar="[DIR=]NAME", what="Of a study with sizes, the size to compare.")] = None,
    figure: Annotated[Path | None, option(metavar="FILE.svg", what="Draw the frontiers and their ratio; .svg or .png.")] = None,
    csv: Annotated[Path | None, option(metavar="FILE.csv", what="Write every number as a table, a row for each study and point.")] = None,
    as_json: Json = False,
) -> None:
    """Compare algorithms, or variants of one, at equal cost.

    Env steps at equal compute, compute at equal data, return at equal budgets.

    Each study is taken at its own best UTD ratio, batch size and learning rate. The first one is what the others are compared with. A
    number is followed by its 80 % interval.
    """
    from tdscale.cli.console import for_people, print_json
    from tdscale.running.comparing import compare_studies
    from tdscale.whole_file import write_text, write_whole

    if figure is not None and figure.suffix not in (".svg", ".png"):
        raise UserError(f"--figure {figure}: its name must end in .svg or .png")
    if len(studies) < 2:
        raise UserError("compare takes two studies or more, e.g. tdscale compare sac bro")
    if data_cost is not None and not 0 < data_cost < float("inf"):
        raise UserError(f"--data-cost: {data_cost:g} is not a price; it must be > 0, in units of compute per env step, e.g. 5e9")
    given = {"data": ("compute", compute), "compute": ("data", data), "return": ("budget", budget)}
    budgets: dict[Measure, Sequence[float]] = {
        measure: _limits(name, text)  # type: ignore[misc]
        for measure, (name, text) in given.items()
        if text is not None
    }
    found = compare_studies(
        studies,
        threshold=threshold,
        task=task,
        data_cost=data_cost,
        unit=None if unit is None else unit.value,
        sizes=size or (),
        budgets=budgets,
    )
    written = []
    if csv is not None:
        write_text(csv, found.to_frame().to_csv(index=False))
        written.append(csv)
    if figure is not None:
        from tdscale.report.figures import comparison_figure
        from tdscale.report.style import to_png, to_svg

        drawn = comparison_figure(found)
        if drawn is None:
            raise UserError(f"--figure: there is nothing to draw: {found.sentence()}")
        write_whole(figure, to_svg(drawn, "comparison").encode() if figure.suffix == ".svg" else to_png(drawn))
        written.append(figure)
    if as_json:
        print_json(found.to_dict())
        return
    console = for_people()
    print_comparison(console, found)
    for path in written:
        console.print(f"written  {path}")


def _limits(name: str, text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [float("nan")]
    if not all(0 < value < float("inf") for value in values):
        raise UserError(f"--{name} {text}: must be numbers above 0 with commas between, e.g. 1e5,3e5")
    return values


def print_comparison(console: "Console", found: "Comparison") -> None:
    """The answer in a sentence, the measures over the tasks, the tasks in short, what to know."""
    from tdscale.analysis.estimate import short
    from tdscale.planning import MEASURES

    console.print(found.sentence())
    for measure in MEASURES:
        one = found.of(measure)
        cost = f" with δ = {short(found.data_cost)} per env step" if found.data_cost is not None else ""
        title = _TITLES[measure].format(level=f"{found.threshold:.4g}", cost=cost)
        if one.refusal:
            console.print(f"\n{title}\n  not told: {one.refusal}")
        else:
            console.print(_table(found, one, title))
    if len(found.tasks) > 1:
        console.print(_by_task(found))
    notes = [*found.notes, *_about(found)]
    if notes:
        console.print("\nto know")
    for note in notes:
        console.print(f"  · {note}")


def _table(found: "Comparison", one: "Contrast", title: str) -> "Table":
    from tdscale.analysis.estimate import short
    from tdscale.cli.console import plain_table

    at, value = {"data": ("C", "D"), "compute": ("D", "C"), "return": ("F", "J"), "budget": ("J", "F")}[one.measure]
    two = len(found.names) == 2
    columns = [at, *(f"{value} of {name}" for name in found.names)]
    if one.measure != "return":
        columns += [f"σ of {name}" for name in found.names]
    difference = one.measure == "return"
    for name in found.names[1:]:
        columns.append(("difference" if difference else "ratio") if two else f"{name} {'−' if difference else '/'} {found.names[0]}")
    if two:
        columns.append(f"chance that {found.names[1]} {'reaches more' if difference else 'needs less'}")
    else:
        columns += [f"chance that {name} is best" for name in found.names]
    table = plain_table(f"\n{title}", *columns, gap=2)
    for index in one.shown:
        point = one.points[index]
        row = [short(point.at), *map(str, point.values)]
        if one.measure != "return":
            row += [_utd(point, place) for place in range(len(found.names))]
        row += [str(ratio) for ratio in point.ratio[1:]]
        table.add_row(*row, *_chances(point, two))
    return table


def _utd(point: "Point", place: int) -> str:
    """σ, marked where it lies outside what was run."""
    from tdscale.analysis.estimate import short

    return short(point.utd[place]) + ("*" if point.extrapolation[place] > 1.001 else "")


def _chances(point: "Point", two: bool) -> list[str]:
    from tdscale.planning.comparison import percent

    chances = point.better[1:] if two and point.better is not None else point.best
    if chances is None:
        return ["–"] * (1 if two else len(point.values))
    return [percent(chance) for chance in chances]


def _by_task(found: "Comparison") -> "Table":
    """The middle of each task's own shared range."""
    from tdscale.cli.console import plain_table
    from tdscale.planning.comparison import percent

    headings = {"data": "D at equal C", "compute": "C at equal D", "return": "J at equal F", "budget": "F for equal J"}
    table = plain_table(
        f"\nby task, compared with {found.names[0]} (J: difference; else: ratio), in the middle of what the studies share", "task", gap=2
    )
    for name in found.names[1:]:
        for heading in headings.values():
            table.add_column(heading if len(found.names) == 2 else f"{heading}, {name}", justify="right")
    for task in found.tasks:
        row = [task]
        for index in range(1, len(found.names)):
            for measure in headings:
                one = found.of(measure, task)  # type: ignore[arg-type]
                if one.refusal:
                    row.append("not told")
                    continue
                chance = "" if one.middle.better is None else f" {percent(one.middle.better[index])}"
                row.append(f"{one.middle.ratio[index]}{chance}")
        table.add_row(*row)
    return table


def _about(found: "Comparison") -> list[str]:
    """What the columns mean, and how far the answer reaches."""
    from tdscale.planning import MEASURES

    answered = [one for one in map(found.of, MEASURES) if not one.refusal]
    notes = []
    outside = max((one.outside for one in answered), default=1.0)
    if outside > 1.001:
        notes.append(f"*: σ lies outside the UTD ratios that the study ran, by up to a factor of {outside:.2g}: this extrapolates")
    elif answered:
        notes.append("every σ lies within the UTD ratios that its study ran: nothing is extrapolated")
    if any(one.measure in ("data", "compute") for one in answered) and len(found.tasks) > 1:
        notes.append(
            "over tasks: D is their geometric mean, C the mean, with one σ for all; the intervals are about these tasks, not others"
        )
    if answered and answered[0].middle.better is None:
        notes.append("at least one study has no draws (published laws), so there are no intervals and no chances")
    return notes
