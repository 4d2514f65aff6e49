"""What the arrays of a published file show: counted while they are read, said once at the end."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tdscale.runs.types import RunWarning


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


@dataclass
class Findings:
    """Counts over the arrays of one file."""

    source: str
    top: float | None
    files: int = 0
    runs: int = 0
    seed_counts: dict[str, int] = field(default_factory=dict)
    copied: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    unverified: list[str] = field(default_factory=list)
    rising: int = 0
    fractional: Counter[str] = field(default_factory=Counter)
    per_task: Counter[str] = field(default_factory=Counter)
    rows: dict[str, int] = field(default_factory=dict)
    singles_short: int = 0
    means_short: int = 0
    scaled: bool = True

    def add(
        self,
        entry: str,
        task: str,
        steps: NDArray[np.int64],
        returns: NDArray[np.float64],
        maximum: float | None,
        n_copies: int,
        unverified_rows: int | None,
    ) -> None:
        """Note one array: steps of shape (n_steps,), returns of shape (n_seeds, n_steps)."""
        self.files += 1
        self.runs += len(returns)
        self.seed_counts[entry] = len(returns)
        self.rows[entry] = len(steps)
        self.per_task[task] += 1
        if n_copies:
            self.copied[entry] = n_copies
        differences = np.diff(steps)
        if differences.size:
            gaps = int((differences > 1.5 * np.median(differences)).sum())
            if gaps:
                self.gaps[entry] = gaps
        if len(steps) == unverified_rows:
            self.unverified.append(entry)
        self.rising += bool((np.diff(returns, axis=-1) >= 0).all())
        self.fractional[task] += bool((returns[np.isfinite(returns)] % 1 != 0).any())
        if maximum is None or self.top is None or not np.isfinite(returns).all():
            self.scaled = False
            return
        normalised = 1000 * returns / maximum
        self.singles_short += int((~reaches(normalised, self.top)).sum())
        self.means_short += int(not reaches(normalised.mean(axis=0), self.top))

    def messages(self, coarse_tasks: set[str], fixed_length: bool) -> list[RunWarning]:
        """One message for each kind of finding. `coarse_tasks` count successes, whose whole numbers say nothing."""
        found: list[RunWarning] = []

        def say(code: str, message: str) -> None:
            found.append(RunWarning(code=code, message=message, where=self.source))

        if self.copied:
            say(
                "duplicate-seeds",
                f"{len(self.copied)} of {self.files} files hold byte-identical seed columns ({sum(self.copied.values())} copies among "
                f"{self.runs} runs); they are kept, the default method leaves the copies out, the paper's keeps them",
            )
        usual = Counter(self.seed_counts.values()).most_common(1)[0][0]
        unequal = {entry: count for entry, count in self.seed_counts.items() if count != usual}
        if unequal:
            say("unequal-seeds", f"most files have {usual} seeds, but {_listed(unequal, 'seeds')}; all of them are kept")
        if self.gaps:
            say("step-gaps", f"the step axis has gaps ({_listed(self.gaps, 'of them')}); it is kept as recorded and nothing is filled in")
        if self.unverified:
            say(
                "unverified-steps",
                f"{len(self.unverified)} of {self.files} files have exactly {self.rows[self.unverified[0]]} rows, a cap of the logger: "
                "their env steps can't be verified and are taken by the same rule as the others'",
            )
        length = Counter(self.rows.values()).most_common(1)[0][0]
        odd = {entry: rows for entry, rows in self.rows.items() if rows != length}
        if fixed_length and odd:
            say("unequal-lengths", f"most files have {length} rows, but {_listed(odd, 'rows')}; their env steps are taken by the same rule")
        whole = sorted(task for task in self.per_task if not self.fractional[task] and task not in coarse_tasks)
        if whole:
            say("truncated-returns", f"the returns of {', '.join(whole)} are whole numbers: they were truncated before publication")
        if self.rising == self.files:
            say(
                "already-isotonic",
                "no curve ever falls: an isotonic regression went over each seed before publication, so single seeds hide their noise",
            )
        if self.scaled and (self.singles_short or self.means_short):
            say(
                "never-reached",
                f"{self.singles_short} of {self.runs} single seeds ({self.singles_short / self.runs:.1%}) and {self.means_short} of "
                f"{self.files} mean curves never reach {self.top:g} (normalised); they count as censored at their last step",
            )
        return found


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
