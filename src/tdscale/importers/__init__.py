"""Curves from elsewhere into the store. Nothing that is imported is ever executed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from tdscale.errors import UserError
from tdscale.importers.detect import detect_kind
from tdscale.importers.gather import Gathered, Scale
from tdscale.importers.logged_run import Columns, LoggedRun, Unreadable
from tdscale.importers.moving_mean import turned_back
from tdscale.importers.preview import ImportReport, Preview
from tdscale.importers.resumed import as_one

# Where each kind is read; "qscaled": arrays in the authors' layouts, of the published files first of all.
ARRAYS = ("qscaled", "arrays")
READERS = {
    "wandb": "wandb_runs.read_wandb",
    "tensorboard": "tensorboard_events.read_tensorboard",
    "sb3": "sb3.read_sb3",
    "rllib": "rllib.read_rllib",
    "csv": "tables.read_csv",
    "parquet": "tables.read_parquet",
    "qscaled": "arrays.open_arrays",
    "arrays": "arrays.open_arrays",
}

__all__ = ["ARRAYS", "READERS", "Columns", "Gathered", "ImportReport", "Preview", "Scale", "gather_runs", "import_runs", "kind_of"]


def kind_of(source: str | Path, kind: str = "auto") -> str:
    """A kind by name, or the kind that a source is recognised as. Raises UserError if there is no such kind or none is recognised."""
    if kind == "auto":
        return detect_kind(Path(source))
    if kind not in READERS:
        raise UserError(f"--from {kind}: there is no such kind of source; there is {', '.join(READERS)}")
    return kind


def gather_runs(
    source: str | Path, kind: str = "auto", columns: Columns | None = None, *, layout: str | None = None, skip_bad: bool = False
) -> Gathered:
    """Read and check a log, and survey it; nothing is written yet.

    Args:
        source: a file, a folder or, for "wandb", "entity/project" on its server.
        kind: a key of `READERS`, or "auto".
        columns: which of its keys mean what.
        layout: for "qscaled": which published file it is, where that can't be seen.
        skip_bad: leave out what can't be read or understood, and say so, where something else is left.

    Raises:
        UserError: if the source can't be read as that kind, or a run's σ, B, η or task is not known.
    """
    columns = columns or Columns()
    chosen = kind_of(source, kind)
    module, _, name = READERS[chosen].partition(".")
    read: Callable[..., Any] = getattr(import_module(f"{__name__}.{module}"), name)
    if chosen in ARRAYS:
        runs, filled, conventions = read(Path(source), chosen, columns, layout)
        return Gathered(runs, chosen, str(source), filled, conventions=conventions, skip_bad=skip_bad)
    if layout is not None:
        raise UserError("--layout: works with --from qscaled only")
    path: Any = source if chosen == "wandb" else Path(source)
    return Gathered(mended(read(path, columns), columns), chosen, str(source), columns, skip_bad=skip_bad)


def mended(runs: Iterable[LoggedRun | Unreadable], columns: Columns) -> Iterator[LoggedRun | Unreadable]:
    """Each run in one piece where it was resumed, and its returns those of episodes where the log has means of many."""

    def pieces() -> Iterator[LoggedRun | Unreadable]:
        for run in runs:
            try:
                # what the user says of a table's repeated env steps goes before
                said = columns.repeated is not None
                yield run if isinstance(run, Unreadable) or (said and not run.in_order) else as_one(run, columns.resumed)
            except UserError as error:
                yield Unreadable(str(error))

    yield from turned_back(pieces(), columns)


def import_runs(source: str | Path, kind: str, directory: str | Path, **options: Any) -> ImportReport:
    """Import curves of one kind into a study's folder.

    Args:
        source: the file or folder to read.
        kind: a key of `READERS`, or "auto".
        directory: the study's folder; made if absent.
        **options: fields of `Columns` and of `Scale`, `layout`, `skip_bad`.

    Raises:
        UserError: if there is no such kind or option, or the source can't be read as that kind.
    """
    chosen = kind_of(source, kind)
    scale, how = tuple(one.name for one in fields(Scale)), ("layout", "skip_bad")
    known = (*Columns.known(), *scale, *how)
    for name in options:
        if name not in known:
            raise UserError(f"--from {chosen} has no option {name!r}; it has {', '.join(known)}")
    own, reading = ({name: options.pop(name) for name in names if name in options} for names in (scale, how))
    with gather_runs(source, chosen, Columns(**options), **reading) as gathered:
        return gathered.write(Path(directory), Scale(**own))
