"""The command line: `app` is how a command is declared, `options` what it takes, `commands` what it does."""

from tdscale.cli import commands as commands
from tdscale.cli.app import main

__all__ = ["main"]
