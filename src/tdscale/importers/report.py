"""What an import found."""

from dataclasses import dataclass

from tdscale.importers.preview import Preview
from tdscale.runs.types import RunWarning
from tdscale.study import Study


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import found.

    Attributes:
        runs, cells: counts.
        tasks, utds: sorted.
        messages: everything about the source that bears on the laws.
        study: as it stands in the folder's study.toml now.
        preview: what was understood, where the log was the user's own.
    """

    runs: int
    cells: int
    tasks: tuple[str, ...]
    utds: tuple[float, ...]
    messages: list[RunWarning]
    study: Study
    preview: Preview | None = None
