"""What goes with arrays in the authors' layouts: stage, scale, thresholds, δ, N, and what must be said of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.importers.findings import Findings, missing_cells
from tdscale.importers.layouts import Keys, Layout
from tdscale.runs.cells import copies
from tdscale.runs.types import RunWarning
from tdscale.study import Stage


class Conventions:
    """Of the arrays of one source.

    Attributes:
        layout: the published file that it is, or whose conventions suit its tasks; None if there is none such.
        published: whether it is that file.
    """

    def __init__(self, *, layout: Layout | None, published: bool, by_path: bool, source: str) -> None:
        self.layout, self.published = layout, published
        self._by_path, self._source = by_path, source
        self._findings = Findings(source=source, top=max(layout.thresholds) if layout is not None else None)
        self._said: list[tuple[str, str]] = []
        self._widths = False

    @property
    def stage(self) -> Stage | None:
        """Of the published file; None = as the runs show."""
        return self.layout.stage if self.layout is not None and self.published else None

    @property
    def name(self) -> str | None:
        """Of a published file."""
        return self.layout.name if self.layout is not None and self.published else None

    @property
    def model_size(self) -> float | None:
        """N, where the paths don't say it."""
        return None if self.layout is None or self._widths else self.layout.model_size

    def note_entries(self, stem: str, cells: Sequence[Keys], left: Sequence[str]) -> None:
        """What the names of arrays show."""
        self._widths = any("width" in cell or "model_size" in cell for cell in cells)
        if self.layout is not None and self.published and stem != self.layout.name:
            self._said.append(("renamed-file", f"its content is that of {self.layout.name}.zip, and it is read as that"))
        elif self.layout is not None and not self.published:
            what = f"algorithm {self.layout.algorithm}, the scale of returns, thresholds, δ{'' if self.model_size is None else ' and N'}"
            others = "--algorithm, --low, --high, --thresholds, --data-cost, --model-size say others"
            message = f"its tasks are of the kind of the authors' {self.layout.name}.zip: {what} are taken from there; {others}"
            self._said.append(("authors-conventions", message))
        if left:
            fits = f"the layout {self.layout.name!r}" if self.layout is not None else "that kind"
            self._said.append(("skipped-entries", f"{len(left)} entries are not of {fits} and are left out, the first: {left[0]}"))
        missing = missing_cells({(cell["task"], float(cell["utd"])) for cell in cells}) if self._by_path else []
        if missing:
            self._said.append(("missing-cells", f"{len(missing)} pairs of task and σ have no array, the first: {missing[0]}"))

    def of_run(self, keys: Keys, where: str) -> tuple[dict[str, Any], dict[str, str | int]]:
        """A run's configuration, and the settings that tell its cell from others."""
        config: dict[str, Any] = {key: value for key, value in keys.items() if key not in ("root", "metric")}
        if self.layout is not None:
            config["algorithm"] = self.layout.algorithm
        if self.published and self.layout is not None:
            for name in ("batch_size", "learning_rate"):
                assumed = getattr(self.layout, name)
                if assumed is not None:
                    config.setdefault(name, assumed)
        if self._by_path and "learning_rate" in keys:
            try:
                float(keys["learning_rate"])
            except ValueError:
                raise UserError(f"{where}: its name holds no learning rate; it must be like bs_256_lr_3e-4.npy") from None
        settings: dict[str, str | int] = {"origin": self.name} if self.name is not None else {}
        if "size" in keys:
            settings["size"] = keys["size"]
        for name in ("model_size", "width"):
            if keys.get(name, "").isdigit():
                settings[name] = int(keys[name])
        return config, settings

    def note_array(self, entry: str, config: dict[str, Any], steps: NDArray[np.int64], returns: NDArray[np.float64]) -> None:
        """What an array shows, returns of shape (n_seeds, n_steps)."""
        copied = copies([(steps, row) for row in returns])
        maximum = self.layout.maximum(str(config.get("task"))) if self.layout is not None else None
        count = sum(copy is not None for copy in copied)
        rows = self.layout.unverified_rows if self.published and self.layout is not None else None
        self._findings.add(entry, str(config.get("task")), steps, returns, maximum, count, rows)

    def unverified(self, n_rows: int) -> bool:
        """Whether a curve of so many rows was cut by the logger's cap."""
        return self.published and self.layout is not None and n_rows == self.layout.unverified_rows

    def messages(self) -> list[RunWarning]:
        """All that there is to say, once the arrays are read."""
        said = [*self._said, *(self.layout.remarks if self.published and self.layout is not None else ())]
        found = [RunWarning(code=code, message=message, where=self._source) for code, message in said]
        fixed = self.published and self.layout is not None and self.layout.step is not None and self.layout.unverified_rows is None
        coarse = {task for task in self._findings.per_task if self.layout is not None and (self.layout.maximum(task) or 1000) <= 1}
        return found + (self._findings.messages(coarse, fixed_length=fixed) if self._findings.files else [])
