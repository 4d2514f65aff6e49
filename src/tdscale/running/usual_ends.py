"""Where cells will likely stop, by those of the study that have stopped: for the time left and the dry run, never for an answer."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from tdscale.running.folder import StudyFiles
from tdscale.runs.sizes import Sizes
from tdscale.study import CellJob, RunSpec

_BEST_SHARE = 0.3  # of a sweep's cells at one UTD ratio: how soon a cell at the fitted B and η stops
_BEST = "best of the sweep"
_Place = tuple[str, str, str]  # stage, task, size


class UsualEnds:
    """By stage, task and size: log env steps at a cell's end over log σ, interpolated, and beyond the σ that ended on along a line.

    Stage 2, the baseline and a plan's runs are judged by their own stage or stage 2, if two UTD ratios have ended there, else by the
    sooner ends of the sweep.
    """

    def __init__(self, files: StudyFiles) -> None:
        """How the study's runs ended is read when it is first asked for; curves are not read."""
        self._files, self._sizes = files, Sizes(files.study)

    @cached_property
    def _ends(self) -> dict[_Place, dict[float, float]]:
        statuses = self._files.store.statuses(problems=[])
        steps: dict[_Place, dict[float, dict[str, list[int]]]] = {}
        for run_id, spec in self._files.store.specs(problems=[]).items():
            status = statuses.get(run_id)
            if status is not None and status.state == "finished":
                steps.setdefault(self._place(spec), {}).setdefault(spec.utd, {}).setdefault(spec.cell_id, []).append(status.last_step)
        ends: dict[_Place, dict[float, float]] = {}
        for (stage, task, size), by_utd in steps.items():
            cells = {utd: [float(np.median(seeds)) for seeds in of_utd.values()] for utd, of_utd in by_utd.items()}
            ends[stage, task, size] = {utd: float(np.median(values)) for utd, values in cells.items()}
            if stage == "sweep":
                ends[_BEST, task, size] = {utd: float(np.quantile(values, _BEST_SHARE)) for utd, values in cells.items()}
        return ends

    def expect(self, jobs: Iterable[CellJob]) -> list[CellJob]:
        """The same jobs, each with the env steps at which it will likely stop, if known."""
        return [replace(job, likely_env_steps=self._end(job)) for job in jobs]

    def _place(self, spec: RunSpec) -> _Place:
        return spec.stage, spec.task, self._sizes.of(spec) or ""

    def _end(self, job: CellJob) -> int | None:
        if job.target is None:
            return job.most_env_steps
        stage, task, size = self._place(job.specs[0])
        stages = ("sweep",) if stage == "sweep" else (stage, "scaling", _BEST)
        known = [self._ends[one, task, size] for one in stages if (one, task, size) in self._ends]
        ends = next((one for one in known if len(one) > 1), known[-1] if known else None)
        if ends is None:
            return None
        expected = round(_on_the_line(ends, job.specs[0].utd))
        return min(max(expected, job.least, 1), job.most_env_steps)


def _on_the_line(ends: Mapping[float, float], utd: float) -> float:
    """Env steps at a σ; beyond the σ that ended they fall as σ rises, by no more than in proportion."""
    at, values = np.log(sorted(ends)), np.log([ends[one] for one in sorted(ends)])
    slope = float(np.clip(np.polyfit(at, values, 1)[0], -1.0, 0.0)) if len(at) > 1 else 0.0
    nearest = float(np.clip(np.log(utd), at[0], at[-1]))
    return float(np.exp(np.interp(nearest, at, values) + slope * (np.log(utd) - nearest)))
