"""The application `tdscale`: how a command is declared, how it ends, and the entry point. Next: `tdscale.cli.commands`."""

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer.core import TyperGroup

from tdscale.errors import RunFailure, UserError

_Command = TypeVar("_Command", bound=Callable[..., None])

# in the order of `tdscale --help`
GROUPS = {
    "Plan": ("plan", "predict", "compare", "start", "export", "published"),
    "Study": ("example", "demo", "run", "status", "suggest", "confirm", "simulate", "compact"),
    "Logs": ("import",),
    "Report": ("fit", "validate", "report"),
}


class _Grouped(TyperGroup):
    """Lists the commands by groups, each with its whole first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """See `click.Group.format_commands`."""
        for title, names in GROUPS.items():
            rows = [(name, _first_sentence(self.commands[name].help or "")) for name in names if name in self.commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _first_sentence(text: str) -> str:
    return text.split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")


app = typer.Typer(
    name="tdscale",
    cls=_Grouped,
    help="Predicts what value-based deep RL will need, data and compute, before the money is spent.",
    epilog="A first look:  tdscale example sac    then    tdscale fit sac    and    tdscale plan sac --data 20k",
    no_args_is_help=True,
    add_completion=False,
    # plain help: importing rich for it would take longer than all the rest
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command(name: str | None = None, *, epilog: str) -> Callable[[_Command], _Command]:
    """Make a function a command. A parameter whose type is a dataclass stands for its fields: each is an option.

    A mistake of the user's ends in one sentence on standard error and exit code 2, a failure in one and exit code 1.
    """

    def declare(function: _Command) -> _Command:
        groups: dict[str, type[Any]] = {}
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(function).parameters.values():
            if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation):
                groups[parameter.name] = parameter.annotation
                options = [(field.name, field.type, field.default) for field in fields(parameter.annotation)]
            else:
                options = [(parameter.name, parameter.annotation, parameter.default)]
            parameters += [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, annotation=t, default=d) for n, t, d in options]

        def run(**given: Any) -> None:
            made = {name: group(**{field.name: given.pop(field.name) for field in fields(group)}) for name, group in groups.items()}
            with _one_sentence():
                function(**made, **given)

        run.__name__, run.__doc__ = function.__name__, function.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(name, epilog=epilog)(run)
        return function

    return declare


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Whatever is raised within ends in one sentence and an exit code."""
    try:
        yield
    except UserError as error:
        _fail(str(error), 2)
    except RunFailure as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on from here", 130)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1)
    except Exception as error:
        if os.environ.get("TDSCALE_DEBUG"):
            raise
        text = str(error).splitlines()[0] if str(error) else ""
        _fail(f"a fault of tdscale's own: {type(error).__name__}: {text} (TDSCALE_DEBUG=1 shows where; please report it)", 1)


def _fail(message: str, code: int) -> NoReturn:
    print(f"tdscale: {message}", file=sys.stderr)
    raise SystemExit(code)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"tdscale {version('tdscale')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the command `tdscale`."""
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="tdscale", standalone_mode=False)
    except typer.Abort:
        raise SystemExit(130) from None
    except Exception as error:
        # typer keeps its usage errors to itself, under names that differ between its versions
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        asked = context.command_path if context is not None else "tdscale"
        text = " ".join(error.format_message().split()).rstrip(".")
        _fail(f"{text[:1].lower()}{text[1:]}; `{asked} --help` shows what is taken", 2)
    raise SystemExit(code)
