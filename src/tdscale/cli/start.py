"""`tdscale start`: what to begin with on a task that nobody ran. What is said: `tdscale.paper.prior`, `tdscale.running.first_study`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tdscale.cli.amounts import amount, utds
from tdscale.cli.app import command
from tdscale.cli.options import Json, option
from tdscale.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from tdscale.paper import FirstSettings
    from tdscale.running.suggestions import Suggestions

_RETURN = amount("a return", "5000")


@command(epilog="Example:  tdscale start Hopper-v5 --high 3500 --write hopper.toml")
def start(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Its name, e.g. Hopper-v5 or dog-run.", show_default=False)],
    algorithm: Annotated[str, typer.Option(metavar="NAME", help="sac, bro or bro-minimal: those with published laws.")] = "sac",
    utd: Annotated[
        str | None, option(metavar="σ", what="The UTD ratio to begin with. [default: what is cheap on the published tasks]")
    ] = None,
    env_steps: Annotated[
        int | None,
        option(
            metavar="E",
            parser=amount("a number of env steps", "1M", least=1000, most=1e12, whole=True),
            what="Of a run at most, e.g. 1M. [default: what a new task takes with a chance of 90 %]",
        ),
    ] = None,
    write: Annotated[
        Path | None, option(metavar="FILE.toml", what="Write the study there, ready for tdscale run; a file that is there stays.")
    ] = None,
    low: Annotated[float | None, option(metavar="R", parser=_RETURN, what="Return that counts as 0. [default: 0]")] = None,
    high: Annotated[
        float | None, option(metavar="R", parser=_RETURN, what="Return that counts as 1000, a good agent's. [default: 1000 on dm_control]")
    ] = None,
    suite: Annotated[str | None, option(metavar="NAME", what="gymnasium or dm_control. [default: by the task's name]")] = None,
    as_json: Json = False,
) -> None:
    """First settings for a task that nobody ran.

    UTD ratio, batch size and learning rate, with their 80 % ranges.

    From the published laws of other tasks, and what these took. The study that --write makes sweeps those ranges by the adaptive design.
    """
    from tdscale.cli.console import for_people, print_json, write_new
    from tdscale.paper import first_settings
    from tdscale.running.advisor import Advisor
    from tdscale.running.first_study import FIRST, as_study, first_study

    at = None if utd is None else utds([utd])
    if at is not None and len(at) != 1:
        raise UserError(f"--utd: {utd} are several; start takes one, e.g. --utd 2")
    found = first_settings(algorithm, utd=None if at is None else at[0], without=task)
    text, suggested, missing = None, None, None
    try:
        text = first_study(task, found, env_steps=env_steps, suite=suite, low=low, high=high)
        suggested = Advisor(as_study(text)).ask(FIRST)
    except UserError as error:
        if write is not None:
            raise
        missing = str(error)
    if write is not None and text is not None:
        write_new(write, text, suffix=".toml")
    if as_json:
        content: dict[str, Any] = found.to_dict() | {"task": task, "study": text, "written": None if write is None else str(write)}
        print_json(content | {"first_runs": [] if suggested is None else suggested.to_dict()["suggestions"], "missing": missing})
        return
    _print(for_people(), task, found, suggested, missing, write)


def _print(
    console: "Console", task: str, found: "FirstSettings", suggested: "Suggestions | None", missing: str | None, written: Path | None
) -> None:
    from tdscale.analysis.estimate import Estimate, short
    from tdscale.cli.console import plain_table
    from tdscale.cli.prediction_results import prediction_table

    def between(value: Estimate) -> str:
        return f"({short(value.low)} to {short(value.high)})"

    batch, rate = found.batch_size_range, found.learning_rate_range
    console.print(
        f"\n{task}, {found.algorithm}: begin with UTD {short(found.utd)} {between(found.utd_range)}, batch size {found.batch_size}"
        f" {between(batch)}, learning rate {short(found.learning_rate)} {between(rate)}"
    )
    top = found.seen[0].threshold
    console.print(f"  to return {short(top)} a new task takes {found.data} env steps, {found.compute} {found.seen[0].compute_name}")
    widths = ", ".join(f"{name} {short(one.high / one.value)}" for name, one in (("B", batch), ("η", rate), ("env steps", found.data)))
    console.print(f"  80 % ranges of a new task; as factors up and down: {widths}")
    console.print(f"  UTD: what needs at most 5 % more than the cheapest on the published tasks, δ = {short(found.data_cost)} per env step")
    console.print(f"\nwhat the published tasks took at UTD {short(found.utd)}, by {found.laws} ({found.networks}):")
    console.print(prediction_table(found.seen))
    raw = ", ".join(f"{one.task} {short(one.raw_threshold)}" for one in found.seen if one.raw_threshold is not None)
    console.print(f"return {short(top)} is, raw: {raw}; other networks and versions of a task may need other values")
    if task in {one for name in _published_tasks() for one in name}:
        console.print(f"{task} has published laws of its own, which are left out here: tdscale published {task}")
    if missing is not None:
        console.print(f"\nno study yet: {missing}")
        return
    assert suggested is not None
    table = plain_table("\nthe first runs, spread evenly over what is open:", "UTD", "B", "η", "seed", "env steps, at most", gap=3)
    for run in suggested:
        table.add_row(short(run.utd), str(run.batch_size), short(run.learning_rate), str(run.seed), f"{run.stop_at:,}")
    console.print(table)
    console.print("a run ends earlier where it reaches the top threshold; later rounds run what tells most of B and η for its price")
    if written is None:
        console.print("\nadd --write FILE.toml for this study, ready to run")
    else:
        console.print(f"\nwritten: {written}; next: tdscale run {written} --dry-run")


def _published_tasks() -> list[tuple[str, ...]]:
    from tdscale.paper import PUBLISHED

    return [laws.tasks for laws in PUBLISHED.values()]
