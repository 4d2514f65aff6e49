"""The command line: `app` is how a command is declared, `options` what it takes, the others what it does."""

from tdscale.cli import commands as commands
from tdscale.cli import compare as compare
from tdscale.cli import example as example
from tdscale.cli import export as export
from tdscale.cli import predict as predict
from tdscale.cli import published as published
from tdscale.cli import start as start
from tdscale.cli import suggest as suggest
from tdscale.cli.app import main

__all__ = ["main"]
