"""`tdscale example`: the example study, into a folder of the user's."""

from pathlib import Path
from typing import Annotated

import typer

from tdscale.cli.app import command
from tdscale.cli.options import Json


@command(epilog="Example:  tdscale example sac-example")
def example(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Copy a finished study into DIR, to try the commands on.

    SAC on HalfCheetah-v5, walker-walk and cartpole-swingup, trained with tdscale. Nothing is trained or downloaded.
    """
    from tdscale.cli.console import print_json
    from tdscale.running.example import copy_example
    from tdscale.running.folder import open_study

    copy_example(directory)
    study = open_study(directory).study
    if as_json:
        print_json({"directory": str(directory), "study": study.name, "tasks": list(study.tasks)})
        return
    print(f"{directory}: {study.algorithm.upper()} on {', '.join(study.tasks)}; its README.md tells how it was made")
    print("Try:")
    for line in ("fit {0}", "plan {0} --data 20000", "validate {0}", "report {0}"):
        print(f"  tdscale {line.format(directory)}")
