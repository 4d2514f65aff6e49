"""`tdscale export`: a plan, or suggested runs, as what other programs take. How it is written: `tdscale.running.exports`."""

import math
from dataclasses import replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdscale.cli.amounts import amount, utds
from tdscale.cli.app import command
from tdscale.cli.options import Json, PlanOptions, option
from tdscale.errors import UserError

if TYPE_CHECKING:
    from tdscale.analysis.scaling_laws import ScalingLaws
    from tdscale.running.folder import StudyFiles
    from tdscale.running.suggestions import Suggestion


class Format(StrEnum):
    """What is written."""

    sb3 = "sb3"
    sbx = "sbx"
    cleanrl = "cleanrl"
    toml = "toml"
    json = "json"
    wandb_sweep = "wandb-sweep"


@command(epilog="Example:  tdscale export my-study --to sb3 --data 200k    |    tdscale export my-study --to json --suggested 6")
def export(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The study's folder, or published:NAME for published laws.", show_default=False)
    ],
    *,
    to: Annotated[Format, typer.Option("--to", help="For which program.", show_default=False)],
    asked: PlanOptions,
    utd: Annotated[str | None, option(metavar="σ", what="Instead of a plan: B and η at this UTD ratio, e.g. 4 or 1/2.")] = None,
    suggested: Annotated[
        int | None,
        option(
            metavar="N",
            parser=amount("a number of runs", "6", least=1, most=10_000, whole=True),
            what="Instead of a plan: the N runs of tdscale suggest.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(metavar="N", parser=amount("a number of seeds", "3", least=1, most=1000, whole=True), help="Of each task.")
    ] = 1,
    write: Annotated[Path | None, option(metavar="FILE", what="Write it there; a file that is there stays. [default: print it]")] = None,
    as_json: Json = False,
) -> None:
    """A plan as settings for SB3, SBX, CleanRL or W&B.

    The plan is asked for as of tdscale plan. A run ends at the upper end of the env steps that are predicted.
    """
    from tdscale.cli.console import for_people, print_json, write_new
    from tdscale.paper import published_name
    from tdscale.running.exports import export as exported
    from tdscale.running.folder import open_study

    limits = [name for name in ("data", "compute", "budget") if getattr(asked, name) is not None]
    ways = [*(["a limit"] if limits else []), *(["--utd"] if utd else []), *(["--suggested"] if suggested else [])]
    if len(ways) != 1:
        raise UserError(
            f"export takes one of --utd, --suggested and a limit as plan does, e.g. --data 300k; {', '.join(ways) or 'none'} was given"
        )
    name = published_name(directory)
    files = open_study(directory) if name is None else None
    runs = _planned(files, name or "", asked, utd, seeds) if suggested is None else _suggested(directory, files, suggested, asked.size)
    found = exported(runs, to.value, None if files is None else files.study)
    if write is not None:
        write_new(write, found.text)
    if as_json:
        print_json({"to": to.value, "content": found.content, "notes": list(found.notes), "written": None if write is None else str(write)})
        return
    if write is None:
        print(found.text, end="")
    console = for_people(stderr=True)
    for note in found.notes:
        console.print(f"· {note}")
    if write is not None:
        console.print(f"written: {write}")


def _suggested(directory: Path, files: "StudyFiles | None", count: int, size: str | None) -> "list[Suggestion]":
    from tdscale.running.advisor import suggest

    if files is None:
        raise UserError("--suggested: published laws have no runs to go on from; give a study's folder")
    return list(suggest(directory, count, size=size))


def _planned(files: "StudyFiles | None", name: str, asked: PlanOptions, utd: str | None, seeds: int) -> "list[Suggestion]":
    """The plan's σ, or the one that is named, with each task's own B and η there."""
    from tdscale.analysis.views import at_size
    from tdscale.paper import scaling_laws
    from tdscale.planning import predict
    from tdscale.running.fitting import current_laws
    from tdscale.running.suggestions import Suggestion

    @cache
    def laws_with(times: bool) -> "ScalingLaws":
        return scaling_laws(name, asked.task) if files is None else current_laws(files, times=times)

    laws, threshold = laws_with(False), asked.threshold
    if utd is not None:
        at = utds([utd])
        if len(at) != 1:
            raise UserError(f"--utd: {utd} are several; export takes one, e.g. --utd 2")
        ratio = at[0]
        if laws.sizes is not None:
            known = dict(zip(laws.sizes.sizes.names, laws.sizes.sizes.model_size, strict=True))
            if asked.size not in known:
                raise UserError(f"--size: name the network that is run; there is {', '.join(known)}")
            laws = at_size(laws, known[asked.size])
    else:
        plan = asked.answer(laws_with, None if files is None else files.study)
        if not plan.feasible or plan.utd is None:
            raise UserError(f"there is no plan to export: {plan.reason}")
        ratio, threshold = plan.utd, plan.threshold
        laws = laws if plan.model_size is None else at_size(laws, plan.model_size)
    runs = []
    for task in [asked.task] if asked.task is not None else laws.tasks:
        found = predict(laws, ratio, task=task, threshold=threshold, batch_multiple=asked.batch_multiple)
        if found.batch_size is None or found.learning_rate_range is None:
            raise UserError(f"the laws give no B and η of {task} to run at; see the warnings of `tdscale fit`")
        if found.data is None:
            raise UserError(f"how long a run of {task} takes is not known: {found.refused}")
        rate = float(f"{found.learning_rate_range.value:.3g}")
        end = math.ceil(found.data.high if math.isfinite(found.data.high) else found.data.value)
        one = Suggestion(
            task=task, utd=ratio, batch_size=found.batch_size, learning_rate=rate, seed=0, env_steps=found.data.value, stop_at=end
        )
        runs += [replace(one, seed=seed) for seed in range(seeds)]
    return runs
