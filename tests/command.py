"""The real command, as a user calls it."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tdscale.cli import main


def start(*arguments: Any, cwd: Path, **options: Any) -> "subprocess.Popen[str]":
    """Start `tdscale ARGUMENTS`."""
    environment = {name: value for name, value in os.environ.items() if name != "TDSCALE_DEBUG"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "tdscale", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **options,
    )


def tdscale(*arguments: Any, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run `tdscale ARGUMENTS` to its end."""
    with start(*arguments, cwd=cwd) as process:
        output, errors = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def called(*arguments: Any, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """The same within this process: a process of its own takes seconds to start."""
    output, errors, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["tdscale", *map(str, arguments)]
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = before
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())


def refused(*arguments: Any, cwd: Path, how: Any = called) -> str:
    """The one sentence with which a command refuses: exit code 2, nothing on standard output, no traceback."""
    answer = how(*arguments, cwd=cwd)
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert answer.stderr.startswith("tdscale: ")
    sentence: str = answer.stderr.removeprefix("tdscale: ").removesuffix("\n")
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    assert "Error" not in sentence
    return sentence
