"""`tdscale published`: the laws that were published, and what they predict. The numbers: `tdscale.paper`."""

from typing import Annotated

import typer

from tdscale.amounts import number
from tdscale.cli.amounts import utds as read_utds
from tdscale.cli.app import command
from tdscale.cli.options import Json, option
from tdscale.errors import UserError


@command(epilog="Example:  tdscale published HalfCheetah-v4 --utd 0.5 4    |    tdscale published h1-crawl-v0 --utd 2 --model-size 1e7")
def published(
    # numbers here are further σ, so that `--utd 0.5 4` reads as it should
    asked: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK]", help="One task; all of them without it.", show_default=False)
    ] = None,
    utd: Annotated[list[str] | None, option(metavar="σ…", what="Predict at these σ. [default: the paper's, for one task]")] = None,
    model_size: Annotated[
        list[str] | None,
        option(metavar="N,…", what="Predict at these N, by the laws with model size. [default: those that were run, for one task]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """The published laws, and what they predict.

    The paper's printed laws and its authors' committed ones (B, η and D for any σ), and their follow-up's with model size (D for any σ
    and N).
    """
    from tdscale.cli.console import for_people, print_json
    from tdscale.cli.results import print_partly_published, print_published
    from tdscale.cli.size_results import print_published_sizes
    from tdscale.paper import NO_INTERVAL, STANDARD_UTD, laws_of_task, partly_published, predict, refuse_prediction, size_laws_of_task
    from tdscale.paper.published_sizes import predict_sizes

    names = [text for text in asked or () if not _is_number(text)]
    if len(names) > 1:
        raise UserError(f"published takes one task; {', '.join(names)} were given")
    bare = [text for text in asked or () if text not in names]
    if bare and model_size:
        raise UserError(f"{bare[0]} stands alone and may be a UTD ratio or a model size; write --utd 0.5,4 and --model-size 1e6,1e7")
    task = names[0] if names else None
    sets, sized = laws_of_task(task), size_laws_of_task(task)
    utds = sorted(set(read_utds((*(utd or ()), *bare))))
    sizes = sorted({_size(part) for text in model_size or () for part in text.split(",")})
    partly = partly_published(task)
    if task is not None and utds:
        refuse_prediction(task)
    if sizes and not sized:
        raise UserError(f"--model-size: no law with model size is published for {task!r}; leave it out")
    of_sizes = {law.name: predict_sizes(law, utds, sizes, task) for law in sized}
    if task is not None and not utds:
        utds = list(STANDARD_UTD)
    if sizes:  # the others know one N each
        sets, partly = (), ()
    predicted = {
        laws.name: [predict(laws, at, task=name) for name in (laws.tasks if task is None else (task,)) for at in utds] for laws in sets
    }
    if as_json:
        content = [laws.to_dict() | {"predictions": [p.to_dict() for p in predicted[laws.name]]} for laws in sets]
        with_size = [law.to_dict() | {"predictions": [p.to_dict() for p in of_sizes[law.name]]} for law in sized]
        print_json({"laws": content, "sizes": with_size, "partly": [laws.to_dict() for laws in partly], "note": NO_INTERVAL})
        return
    console = for_people()
    for laws in sets:
        print_published(console, laws, task, predicted[laws.name])
    for law in sized:
        print_published_sizes(console, law, of_sizes[law.name])
    for part in partly:
        print_partly_published(console, part)
    for use in dict.fromkeys(laws.use for laws in sets):
        console.print(f"\nwhich to use: {use}")
    if sets or sized:
        console.print(f"\n{NO_INTERVAL}")


def _is_number(text: str) -> bool:
    return number(text.split(",")[0]) is not None


def _size(text: str) -> float:
    value = number(text)
    if value is None or value <= 0:
        raise UserError(f"--model-size: {text!r} is not a number of parameters; it must be a number above 0, e.g. --model-size 1.5M,10M")
    return value
