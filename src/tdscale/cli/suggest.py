"""`tdscale suggest`: which runs next, as a table, JSON, CSV or ready commands. What is suggested: `tdscale.running.advisor`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tdscale.cli.amounts import ENV_STEPS, amount
from tdscale.cli.amounts import hours as hours_of
from tdscale.cli.app import command
from tdscale.cli.options import Directory, Json, option
from tdscale.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from tdscale.running.suggestions import Suggestions

_EXAMPLE = "tdscale suggest mine -n 6 --template 'python train.py --env {task} --utd {utd} --lr {learning_rate} --seed {seed}'"


@command(epilog=f"Example:  {_EXAMPLE}")
def suggest(
    directory: Directory,
    number: Annotated[
        int | None,
        option(
            "-n",
            metavar="N",
            parser=amount("a number of runs", "12", least=1, most=10_000, whole=True),
            what="Maximum number of runs. [default: 12, or as many as the limit allows]",
        ),
    ] = None,
    env_steps: Annotated[
        float | None,
        option(metavar="E", parser=ENV_STEPS, what="Limit on the expected env steps of all runs together, e.g. 1.5M."),
    ] = None,
    hours: Annotated[
        float | None,
        option(metavar="H", parser=hours_of, what="The same limit in time of one worker, e.g. 2h; needs runs that recorded their times."),
    ] = None,
    aim: Annotated[
        str | None,
        option(
            "--for",
            metavar="WHAT",
            what="What to learn more about: D@UTD, D@UTD:TASK or budget. [default: the best batch size and learning rate]",
        ),
    ] = None,
    where: Annotated[list[str] | None, option(metavar="KEY=V[,V]", what="Only runs with this setting; != for those without it.")] = None,
    size: Annotated[str | None, option(metavar="NAME", what="In a study with [sizes]: the size of the runs.")] = None,
    template: Annotated[
        str | None,
        option(metavar="TEXT", what="A command for each run: {task} {utd} {batch_size} {learning_rate} {seed} {env_steps}."),
    ] = None,
    csv: Annotated[Path | None, option(metavar="FILE", what="Write the table to this file, one row per run.")] = None,
    as_json: Json = False,
) -> None:
    """Which runs to train next: worth most for their cost.

    For any study's folder, also of imported logs. Trains nothing.

    Without --for: the cells that help most to find the best batch size and learning rate. With it: the UTD ratios and seeds
    that narrow its answer most.
    """
    from tdscale.cli.console import for_people, print_json
    from tdscale.running.advisor import suggest as suggested

    if template is not None and as_json:
        raise UserError("--template and --json can't be combined: they print different things")
    if hours is not None and env_steps is not None:
        raise UserError("--hours and --env-steps can't be combined: give one limit")
    found = suggested(directory, number, env_steps=env_steps, hours=hours, aim=aim, where=where or (), size=size)
    lines = [run.command(template) for run in found] if template is not None else []
    if csv is not None:
        from tdscale.whole_file import write_text

        write_text(csv, found.to_frame().to_csv(index=False, lineterminator="\n"))
    if as_json:
        print_json(found.to_dict())
    elif template is not None:
        for line in lines:
            print(line)
        for note in found.notes:
            for_people(stderr=True).print(f"· {note}")
    else:
        print_suggestions(for_people(), found)


def print_suggestions(console: "Console", found: "Suggestions") -> None:
    """What is aimed at, a row for each run, what they take, and what to know."""
    from tdscale.analysis.estimate import short
    from tdscale.cli.console import counted, duration, plain_table

    today = "" if found.before is None else f"; today {found.before:.3g}"
    bound = "" if found.bound is None else f", below {found.bound:.3g} with a chance of 80 %"
    console.print(f"\n{found.study}: runs that are worth most next\n{found.measure}{today}{bound}")
    if len(found):
        timed = any(run.seconds is not None for run in found)
        table = plain_table("", "task", "UTD", "B", "η", "seed", "env steps", "stop at", *(["time"] if timed else []), "after it", gap=2)
        for run in found:
            seconds = [] if not timed else ["?" if run.seconds is None else duration(run.seconds)]
            after = "–" if run.after is None else f"{run.after:.3g}"
            numbers = [short(run.utd), str(run.batch_size), short(run.learning_rate), str(run.seed)]
            table.add_row(run.task, *numbers, f"{run.env_steps:,.0f}", f"{run.stop_at:,}", *seconds, after)
        console.print(table)
        total = sum(run.seconds or 0.0 for run in found)
        time = f", {duration(total)} of one worker" if timed else ""
        console.print(f"{counted(len(found), 'run')}, {short(found.env_steps)} env steps expected{time}")
        console.print("stop at: a run that has not reached the top threshold by then may be stopped: more of it tells little")
    for note in found.notes:
        console.print(f"  · {note}")
