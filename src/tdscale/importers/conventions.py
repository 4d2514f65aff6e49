"""What goes with arrays in the authors' layouts: stage, scale, thresholds, δ, N, and what the arrays themselves show."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.importers.layouts import Keys, Layout
from tdscale.runs.cells import copies
from tdscale.runs.types import RunWarning
from tdscale.study import Stage


def reaches(returns: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Whether the isotonic regression of each curve reaches a threshold anywhere.

    Its last value is the largest mean over any tail of the curve.

    Args:
        returns: shape (..., n_steps).
        threshold: in the same units.

    Returns:
        Shape (...).
    """
    tails = np.cumsum(returns[..., ::-1], axis=-1) / np.arange(1, returns.shape[-1] + 1)
    reached: NDArray[np.bool_] = tails.max(axis=-1) >= threshold
    return reached


@dataclass(frozen=True, kw_only=True)
class _Array:
    """What one array shows.

    Attributes:
        seeds, rows: its shape.
        copies, gaps: seeds that are byte for byte another one's, and gaps in its env steps.
        rises: whether no seed ever falls.
        whole: whether all its returns are whole numbers.
        short: seeds that never reach the highest threshold, and whether their mean does not; None where that can't be said.
    """

    task: str
    seeds: int
    rows: int
    copies: int
    gaps: int
    rises: bool
    whole: bool
    short: tuple[int, bool] | None


def _seen(task: str, steps: NDArray[np.int64], returns: NDArray[np.float64], layout: Layout | None) -> _Array:
    """What an array shows: env steps of shape (n_steps,), returns of shape (n_seeds, n_steps)."""
    differences = np.diff(steps)
    short = None
    maximum = layout.maximum(task) if layout is not None else None
    if layout is not None and maximum is not None and np.isfinite(returns).all():
        normalised, top = 1000 * returns / maximum, max(layout.thresholds)
        short = int((~reaches(normalised, top)).sum()), not reaches(normalised.mean(axis=0), top)
    return _Array(
        task=task,
        seeds=len(returns),
        rows=len(steps),
        copies=sum(copy is not None for copy in copies([(steps, row) for row in returns])),
        gaps=int((differences > 1.5 * np.median(differences)).sum()) if differences.size else 0,
        rises=bool((np.diff(returns, axis=-1) >= 0).all()),
        whole=not (returns[np.isfinite(returns)] % 1 != 0).any(),
        short=short,
    )


def _findings(arrays: Mapping[str, _Array], layout: Layout | None, published: bool) -> Iterator[tuple[str, str]]:
    """(code, sentence) for each kind of finding in the arrays of one source, by entry."""
    runs = sum(one.seeds for one in arrays.values())
    copied = [one.copies for one in arrays.values() if one.copies]
    if copied:
        yield (
            "duplicate-seeds",
            f"{len(copied)} of {len(arrays)} files hold byte-identical seed columns ({sum(copied)} copies among "
            f"{runs} runs); they are kept, the default method leaves the copies out, the paper's keeps them",
        )
    usual = Counter(one.seeds for one in arrays.values()).most_common(1)[0][0]
    unequal = {entry: one.seeds for entry, one in arrays.items() if one.seeds != usual}
    if unequal:
        yield "unequal-seeds", f"most files have {usual} seeds, but {_listed(unequal, 'seeds')}; all of them are used"
    gaps = {entry: one.gaps for entry, one in arrays.items() if one.gaps}
    if gaps:
        yield "step-gaps", f"the step axis has gaps ({_listed(gaps, 'of them')}); nothing is filled in"
    cap = layout.unverified_rows if layout is not None and published else None
    capped = [one for one in arrays.values() if one.rows == cap]
    if capped:
        yield (
            "unverified-steps",
            f"{len(capped)} of {len(arrays)} files have exactly {cap} rows, a limit of the logger: "
            "their env steps can't be checked and follow the same rule as the others",
        )
    length = Counter(one.rows for one in arrays.values()).most_common(1)[0][0]
    odd = {entry: one.rows for entry, one in arrays.items() if one.rows != length}
    if odd and layout is not None and published and layout.step is not None and layout.unverified_rows is None:
        yield "unequal-lengths", f"most files have {length} rows, but {_listed(odd, 'rows')}; their env steps follow the same rule"
    fractional = {one.task for one in arrays.values() if not one.whole}
    # whole numbers of successes say nothing
    coarse = {one.task for one in arrays.values() if layout is not None and (layout.maximum(one.task) or 1000) <= 1}
    whole = sorted({one.task for one in arrays.values()} - fractional - coarse)
    if whole:
        yield "truncated-returns", f"the returns of {', '.join(whole)} are whole numbers: they were truncated before publication"
    if all(one.rises for one in arrays.values()):
        yield (
            "already-isotonic",
            "no curve ever falls: each seed was smoothed by isotonic regression before publication, which hides the noise of single seeds",
        )
    short = [one.short for one in arrays.values() if one.short is not None]
    singles, means = sum(seeds for seeds, _ in short), sum(mean for _, mean in short)
    if layout is not None and len(short) == len(arrays) and (singles or means):
        yield (
            "never-reached",
            f"{singles} of {runs} single seeds ({singles / runs:.1%}) and {means} of "
            f"{len(arrays)} mean curves never reach {max(layout.thresholds):g} (normalised); they count as censored at their last step",
        )


def missing_cells(present: set[tuple[str, float]]) -> list[str]:
    """The task and σ pairs that the others lead one to expect."""
    by_task: dict[str, set[float]] = defaultdict(set)
    for task, utd in present:
        by_task[task].add(utd)
    every = set().union(*by_task.values())
    return [f"{task} σ={utd:g}" for task, utds in sorted(by_task.items()) for utd in sorted(every - utds)]


def _listed(counts: dict[str, int], noun: str) -> str:
    items = [f"{entry} has {count} {noun}" for entry, count in sorted(counts.items())]
    return "; ".join(items[:2]) + (f"; so {len(items) - 2} more files" if len(items) > 2 else "")


class Conventions:
    """Conventions of the arrays of one source.

    Attributes:
        layout: the published file that it is, or whose conventions suit its tasks; None if there is none.
        published: whether it is that file.
        asked_size: `Columns.model_size` as the user gave it; a layout may have filled it in.
    """

    def __init__(self, *, layout: Layout | None, published: bool, by_path: bool, source: str, asked_size: str | None = None) -> None:
        self.layout, self.published, self.asked_size = layout, published, asked_size
        self._by_path, self._source = by_path, source
        self._arrays: dict[str, _Array] = {}
        self._said: list[tuple[str, str]] = []
        self._widths = False

    @property
    def stage(self) -> Stage | None:
        """Stage of the published file's runs; None if the runs themselves show it."""
        return self.layout.stage if self.layout is not None and self.published else None

    @property
    def name(self) -> str | None:
        """Name of the published file; None if it is none."""
        return self.layout.name if self.layout is not None and self.published else None

    @property
    def model_size(self) -> float | None:
        """N, where the paths don't say it."""
        return None if self.layout is None or self._widths else self.layout.model_size

    def note_entries(self, stem: str, cells: Sequence[Keys], left: Sequence[str]) -> None:
        """What the names of arrays show."""
        self._widths = any("width" in cell or "model_size" in cell for cell in cells)
        if self.layout is not None and self.published and stem != self.layout.name:
            self._said.append(("renamed-file", f"its content is that of {self.layout.name}.zip, and it is read as that file"))
        elif self.layout is not None and not self.published:
            what = f"algorithm {self.layout.algorithm}, the scale of returns, thresholds, δ{'' if self.model_size is None else ' and N'}"
            others = "--algorithm, --low, --high, --thresholds, --data-cost, --model-size override them"
            message = f"its tasks are of the kind of the authors' {self.layout.name}.zip: {what} are taken from that file; {others}"
            self._said.append(("authors-conventions", message))
        if left:
            fits = f"the layout {self.layout.name!r}" if self.layout is not None else "that kind"
            self._said.append(("skipped-entries", f"{len(left)} entries do not belong to {fits} and are left out, the first: {left[0]}"))
        missing = missing_cells({(cell["task"], float(cell["utd"])) for cell in cells}) if self._by_path else []
        if missing:
            self._said.append(("missing-cells", f"{len(missing)} pairs of task and σ have no array, the first: {missing[0]}"))

    def of_run(self, keys: Keys, where: str) -> tuple[dict[str, Any], dict[str, str | int]]:
        """A run's configuration, and the settings that separate its cell from others."""
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
                raise UserError(f"{where}: its name has no learning rate; it must be like bs_256_lr_3e-4.npy") from None
        settings: dict[str, str | int] = {"origin": self.name} if self.name is not None else {}
        if "size" in keys:
            settings["size"] = keys["size"]
        for name in ("model_size", "width"):
            if keys.get(name, "").isdigit():
                settings[name] = int(keys[name])
        return config, settings

    def note_array(self, entry: str, config: dict[str, Any], steps: NDArray[np.int64], returns: NDArray[np.float64]) -> None:
        """What an array shows, returns of shape (n_seeds, n_steps)."""
        self._arrays[entry] = _seen(str(config.get("task")), steps, returns, self.layout)

    def unverified(self, n_rows: int) -> bool:
        """Whether a curve of so many rows was cut by the logger's cap."""
        return self.published and self.layout is not None and n_rows == self.layout.unverified_rows

    def messages(self) -> list[RunWarning]:
        """All that there is to say, once the arrays are read."""
        said = [*self._said, *(self.layout.remarks if self.published and self.layout is not None else ())]
        said += _findings(self._arrays, self.layout, self.published) if self._arrays else ()
        return [RunWarning(code=code, message=message, where=self._source) for code, message in said]
