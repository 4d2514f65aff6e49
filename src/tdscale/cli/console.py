"""How the command line answers: sentences to people, JSON to machines, exit codes 0, 1 and 2."""

import json
import math
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, ParamSpec

from rich.console import Console

from tdscale.errors import UserError

P = ParamSpec("P")
_WIDE = 160  # columns, where nobody's terminal says how many


def for_people(*, stderr: bool = False) -> Console:
    """Where people read: as wide as their terminal, or in a file or a pipe so wide that tables stay whole."""
    console = Console(stderr=stderr, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE
    return console


def answering(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose mistakes and failures end in one sentence on standard error and exit code 2 or 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from tdscale.errors import RunFailure

        try:
            command(*args, **kwargs)
        except UserError as error:
            fail(str(error), 2)
        except RunFailure as error:
            fail(str(error), 1)
        except KeyboardInterrupt:
            fail("interrupted; the same command goes on from here", 130)
        except OSError as error:
            fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1)
        except Exception as error:
            if os.environ.get("TDSCALE_DEBUG"):
                raise
            text = str(error).splitlines()[0] if str(error) else ""
            fail(f"a fault of tdscale's own: {type(error).__name__}: {text} (TDSCALE_DEBUG=1 shows where; please report it)", 1)

    return run


def fail(message: str, code: int) -> NoReturn:
    """Say it and end."""
    print(f"tdscale: {message}", file=sys.stderr)
    raise SystemExit(code)


def print_json(content: Any) -> None:
    """One JSON document on standard output; what is not finite is null."""
    print(json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
