"""The command line: thin commands; whatever they need is imported when they run."""

from tdscale.cli.app import main

__all__ = ["main"]
