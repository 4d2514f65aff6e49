"""The command line: `app` is how a command is declared, `options` what it takes, `commands` and the other modules what it does."""

from tdscale.cli import commands as commands
from tdscale.cli import compare as compare
from tdscale.cli import published as published
from tdscale.cli import suggest as suggest
from tdscale.cli.app import main

__all__ = ["main"]
