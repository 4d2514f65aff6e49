"""Curves from elsewhere into the store. Nothing that is imported is ever executed."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tdscale.errors import UserError
from tdscale.runs.importers.qscaled import import_qscaled
from tdscale.runs.importers.report import ImportReport

KINDS: dict[str, Callable[..., ImportReport]] = {"qscaled": import_qscaled}

__all__ = ["KINDS", "ImportReport", "import_runs"]


def import_runs(source: str | Path, kind: str, directory: str | Path, **options: Any) -> ImportReport:
    """Import curves of one kind into a study's folder.

    Args:
        source: the file or folder to read.
        kind: a key of `KINDS`.
        directory: the study's folder; made if absent.
        **options: of the kind's function.

    Raises:
        UserError: if there is no such kind or option, or the source can't be read as that kind.
    """
    if kind not in KINDS:
        raise UserError(f"--from {kind}: there is no such kind of source; there is {', '.join(KINDS)}")
    known = [name for name, p in inspect.signature(KINDS[kind]).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise UserError(f"--from {kind} has no option {name!r}; it has {', '.join(known)}")
    return KINDS[kind](Path(source), Path(directory), **options)
