"""Which runs next, for those who train elsewhere: `suggest` for a folder, `Advisor` for a program."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tdscale.analysis.compute import ComputeModel, Counting, compute_models
from tdscale.design.belief import Belief, see
from tdscale.design.candidates import LARGEST_RATE, Candidates
from tdscale.design.records import Key, Regret
from tdscale.design.rounds import Rules, ranked_runs
from tdscale.errors import UserError
from tdscale.running.adaptive import candidates_of, rules_of
from tdscale.running.aims import Aim, aimed_runs, read_aim, seconds_per_step
from tdscale.running.fitting import fit_options
from tdscale.running.folder import StudyFiles, open_study
from tdscale.running.suggestions import Suggestion, Suggestions
from tdscale.runs.cells import cell_of_runs
from tdscale.runs.selection import FITTED, Selection, select_runs
from tdscale.runs.sizes import Sizes
from tdscale.runs.types import ENV_STEP, RETURN, Cell, RunResult, RunStatus, RunWarning
from tdscale.runs.where import parse_where
from tdscale.study import RunSpec, Stage, Study

MEASURE = "expected regret of the chosen B and η: log D above that of the best ones, mean over tasks and UTD ratios"
_MOST_SEEDS = 10  # of a cell, where no [sweep] says how many
_STEPS = (4, 3)  # factors between values of B and of η, where only one was run
_FURTHER = 2  # factor between σ, where only one was run
DEFAULT_COUNT = 12
FRESH_SEED = 10_000  # the first one of stage 2 (Study.scaling_specs)
_MOST = 200  # runs, where a limit on env steps or hours says how many


class Advisor:
    """Finds the runs of a study that are worth most next: `ask` for some, run them anywhere, report their curves with `tell`.

    Runs that were asked for and not reported yet are in progress: they are not suggested again, and their expected results count.
    Nothing is written.
    """

    def __init__(self, study: Study | StudyFiles | Path | str, *, where: Sequence[str] = (), size: str | None = None) -> None:
        """Open a study.

        Args:
            study: with a [sweep], whose cells may be run; or a folder, of a study or of imported runs, whose runs count as reported.
            where: conditions on settings that the folder's runs must meet, as in `tdscale fit --where`.
            size: which of the study's [sizes] the runs are of; needed where it has several.

        Raises:
            UserError: if it is not a study's folder, its runs differ in settings, or a study has neither runs nor a [sweep]; if it has
                several sizes and none is named, or no such size.
        """
        opened = open_study(Path(study)) if isinstance(study, str | Path) else study
        whole: Study = opened.study if isinstance(opened, StudyFiles) else opened
        sizes = whole.by_size()
        if size is None and len(sizes) > 1:
            raise UserError(
                f"{whole.name}: has several sizes, and suggests runs of one at a time; choose one of {', '.join(sizes)} (--size)"
            )
        if size is not None and size not in whole.sizes:
            there = f"there is {', '.join(whole.sizes)}" if whole.sizes else "the study has no [sizes]"
            raise UserError(f"{whole.name}: there is no size {size!r}; {there}")
        self._size = next(iter(sizes)) if size is None else size
        self.study: Study = sizes[self._size]
        self._where = tuple(where)
        self._runs: dict[tuple[Stage, Key], dict[int, RunResult]] = {}
        self._cells: dict[tuple[Stage, Key], Cell | None] = {}
        self._pending: list[tuple[Key, int]] = []
        self._stage: Stage = "sweep"
        if isinstance(opened, StudyFiles):
            self._read(opened)
        if self.study.sweep is None and not self._runs:
            raise UserError(f"{self.study.name}: there are no runs and no [sweep] in study.toml, so there is nothing to choose from")

    def _read(self, files: StudyFiles) -> None:
        problems: list[RunWarning] = []
        selection: Selection = select_runs(files.store, files.study, where=parse_where(self._where), problems=problems)
        statuses, sizes = files.store.statuses(problems=problems), Sizes(files.study)
        wanted = [run_id for run_id in selection.fitted() if run_id in statuses and statuses[run_id].state != "failed"]
        wanted = [run_id for run_id in wanted if sizes.of(selection.specs[run_id]) == self._size]
        for run_id, columns in files.store.curves(wanted, (RETURN,), problems=problems).items():
            spec = selection.as_cell(selection.specs[run_id])
            self._add(RunResult(spec=spec, columns=columns, status=statuses[run_id]))
        stages = {stage for stage, _ in self._runs}
        if self.study.sweep is None and "sweep" not in stages and stages:
            self._stage = "scaling" if "scaling" in stages else "baseline"

    def _add(self, run: RunResult) -> None:
        place = run.spec.stage, _key(run.spec)
        self._runs.setdefault(place, {})[run.spec.seed] = run
        self._cells.pop(place, None)

    @property
    def cells(self) -> list[Cell]:
        """All that is known, as `tdscale.fit_laws` takes it, sorted by stage, task, σ, B and η."""
        for place, runs in self._runs.items():
            if place not in self._cells:
                self._cells[place] = cell_of_runs([runs[seed] for seed in sorted(runs)], self.study)
        found = [self._cells[place] for place in sorted(self._runs)]
        return [cell for cell in found if cell is not None]

    @property
    def _sweep(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.spec.stage == self._stage]

    @property
    def regret(self) -> Regret | None:
        """Expected regret of the choice of B and η today, log D above the best one's; None before a run has reached a threshold."""
        belief = self._belief()
        return None if belief is None else belief.regret

    def best(self, task: str, utd: float) -> tuple[float, float] | None:
        """B and η that are best by what is known today; None before a run of the task has reached a threshold."""
        belief = self._belief()
        if belief is None or task not in belief.candidates.tasks:
            return None
        number = belief.candidates.tasks.index(task)
        if not (belief.model.sweep.task == number).any():
            return None
        batch, rate = np.exp(belief.law(number, utd))
        return float(batch), float(rate)

    def _belief(self) -> Belief | None:
        candidates, _ = self._candidates()
        seen = see(self._sweep, candidates, self.study.return_thresholds)
        return Belief(seen, candidates) if np.isfinite(seen.data).any() else None

    def ask(self, n: int = 1, *, env_steps: float | None = None, hours: float | None = None, aim: str | None = None) -> Suggestions:
        """The runs that are worth most for what they cost. They are in progress from now on: report their curves with `tell`.

        Args:
            n: how many at most.
            env_steps: no more than these are expected to take, in all.
            hours: the same in hours of one worker, by the seconds that the runs took.
            aim: what is to be known better: None for the best B and η, "D@16" for D at UTD ratio 16, "D@16:TASK" for a task's,
                "budget" for the exponent of σ*(F).

        Returns:
            The runs, most valuable first; fewer than n where there are no more, or where runs in progress must be reported first.

        Raises:
            UserError: if the aim names nothing, no law can be fitted for it, or the runs recorded no times and `hours` is given.
        """
        if n < 1:
            raise UserError(f"n is {n}; it must be at least 1")
        for name, value in (("env_steps", env_steps), ("hours", hours)):
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"{name} is {value:g}; it must be above 0")
        times = self._times()
        untimed = [task for task in self.study.tasks if task not in times]
        if hours is not None and untimed:
            raise UserError(
                f"hours: the runs of {', '.join(untimed[:3])} recorded no times (imported curves have none); limit the env steps instead "
                "(--env-steps)"
            )
        found = self._aimed(read_aim(aim, tuple(self.study.tasks)), n, times, hours) if aim is not None else self._ranked(n, times, hours)
        kept, steps, seconds = [], 0.0, 0.0
        for run in found.runs:
            steps, seconds = steps + run.env_steps, seconds + (run.seconds or 0.0)
            if (env_steps is not None and steps > env_steps) or (hours is not None and seconds > 3600 * hours):
                break
            kept.append(run)
        if found.runs and not kept:
            first = found.runs[0]
            price = f"{first.env_steps:,.0f} env steps" + ("" if hours is None else f", {(first.seconds or 0) / 3600:.2g} hours")
            found = replace(found, notes=(*found.notes, f"the most valuable run takes {price}, which is more than the limit"))
        if aim is None:
            self._pending += [(run.cell, run.seed) for run in kept]
        return replace(found, runs=tuple(kept))

    def tell(
        self,
        run: Suggestion | tuple[str, float, int, float, int],
        env_steps: ArrayLike,
        returns: ArrayLike,
        *,
        diverged: bool = False,
    ) -> None:
        """Report the curve of a run, complete or not. If it is reported again, the later curve counts.

        Args:
            run: a suggestion, or (task, σ, B, η, seed).
            env_steps: shape (n_steps,), rising.
            returns: as the task gives them, not normalised, shape (n_steps,); NaN where none was logged.
            diverged: whether its loss turned NaN: it has not reached what it has not reached.

        Raises:
            UserError: if the study has no such task, or the curve is none.
        """
        task, utd, batch_size, learning_rate, seed = (*run.cell, run.seed) if isinstance(run, Suggestion) else run
        if task not in self.study.tasks:
            raise UserError(f"tell: the study has no task {task!r}; it has {', '.join(self.study.tasks)}")
        steps, values = np.asarray(env_steps), np.asarray(returns, dtype=np.float64)
        if steps.ndim != 1 or steps.shape != values.shape or not steps.size:
            raise UserError(f"tell: env_steps has shape {steps.shape}, returns {values.shape}; both must be (n_steps,), of at least one")
        whole = np.where(np.isfinite(steps), steps, -1).astype(np.int64)
        if not np.array_equal(whole, steps) or (whole < 0).any() or (np.diff(whole) <= 0).any():
            raise UserError("tell: env_steps must be whole numbers from 0 on, each larger than the one before")
        known = (
            ("UTD ratio", utd, utd > 0),
            ("batch size", batch_size, batch_size >= 1),
            ("learning rate", learning_rate, 0 < learning_rate < 1),
        )
        for name, value, right in known:
            if not right:
                raise UserError(f"tell: {value:g} is not a {name}")
        key: Key = (task, float(utd), int(batch_size), float(learning_rate))
        spec = self._spec(key, int(seed))
        status = RunStatus(state="diverged" if diverged else "finished", last_step=int(whole[-1]))
        self._add(RunResult(spec=spec, columns={ENV_STEP: whole, RETURN: values}, status=status))
        self.forget((key, int(seed)))

    def forget(self, run: Suggestion | tuple[Key, int]) -> None:
        """A run that was asked for will not be reported: it may be suggested again."""
        gone = (run.cell, run.seed) if isinstance(run, Suggestion) else run
        self._pending = [one for one in self._pending if one != gone]

    def _spec(self, key: Key, seed: int) -> RunSpec:
        task, utd, batch_size, learning_rate = key
        values: dict[str, Any] = {"utd": utd, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "stage": self._stage}
        for (_, (name, *_)), runs in self._runs.items():
            if name == task:
                return replace(next(iter(runs.values())).spec, **values)
        return RunSpec(algorithm=self.study.algorithm, suite=self.study.tasks[task].suite, task=task, **values)

    def _seed(self, key: Key, taken: set[tuple[Key, int]], *, fresh: bool) -> int:
        """The next seed number of a cell: after those that it has; of a [sweep], and of a new cell, the least that is free.

        `fresh`: for the data law; the seeds of a study's stage 2 are none of its sweep's.
        """
        there = {seed for (_, place), runs in self._runs.items() if place == key for seed in runs}
        there |= {seed for place, seed in (*self._pending, *taken) if place == key}
        if self.study.sweep is not None:
            start = FRESH_SEED if fresh else 0
        else:
            start = max(there) + 1 if there else min((seed for runs in self._runs.values() for seed in runs), default=0)
        return next(seed for seed in range(start, start + len(there) + 1) if seed not in there)

    def _ranked(self, n: int, times: Mapping[str, ComputeModel], hours: float | None) -> Suggestions:
        candidates, missing = self._candidates()
        rules = self._rules(candidates, times if hours is not None else {})
        cells = self._sweep
        ranking = ranked_runs(cells, self.study.return_thresholds, candidates, rules, n, pending=[key for key, _ in self._pending])
        runs, notes = ranking.runs, [missing] if missing else []
        if missing:
            # the surface would rest on guesses alone
            runs = tuple(run for run in runs if run.regret is None)
        elif ranking.regret is None and cells:
            tried = "; these runs try other batch sizes and learning rates" if runs else ""
            notes.append(
                f"no run reaches J = {min(self.study.return_thresholds):g}, the lowest threshold, so nothing can be compared yet: "
                f"train longer, or lower return_thresholds in study.toml{tried}"
            )
        elif ranking.regret is None and self._pending:
            notes.append("report the runs in progress first: they decide what is worth running next")
        if not runs and not notes:
            notes.append("every cell has all of its seeds")
        regret = None if missing else ranking.regret
        return Suggestions(
            study=self.study.name,
            runs=self._suggested(((run.request.key, run.env_steps, run.request.env_steps, run.regret) for run in runs), times),
            aim="regret",
            measure=MEASURE,
            before=None if regret is None else regret.expected,
            bound=None if regret is None else regret.bound,
            notes=tuple(notes),
        )

    def _aimed(self, aim: Aim, n: int, times: Mapping[str, ComputeModel], hours: float | None) -> Suggestions:
        cells = [cell for cell in self.cells if cell.spec.stage in FITTED]
        if not cells:
            raise UserError(f"--for {aim.text}: there are no runs yet")
        options = replace(fit_options(self.study, "default"), where=self._where)
        found = aimed_runs(aim, cells, self.study, options, n, {} if hours is None else times)
        runs = [((*one.place, *found.values[one.place]), one.env_steps, found.stop_at[one.place], one.expected) for one in found.seeds]
        return Suggestions(
            study=self.study.name,
            runs=self._suggested(runs, times, fresh=True),
            aim=aim.text,
            measure=aim.measure,
            before=found.before,
            notes=found.notes,
        )

    def _suggested(
        self, runs: Iterable[tuple[Key, float, int, float | None]], times: Mapping[str, ComputeModel], *, fresh: bool = False
    ) -> tuple[Suggestion, ...]:
        """From (cell, expected env steps, where it may stop, what is expected after it)."""
        taken: set[tuple[Key, int]] = set()
        found = []
        for key, steps, stop_at, after in runs:
            seed = self._seed(key, taken, fresh=fresh)
            taken.add((key, seed))
            task, utd, batch_size, learning_rate = key
            model = times.get(task)
            seconds = None if model is None else steps * seconds_per_step(model, utd, batch_size)
            found.append(
                Suggestion(
                    task=task,
                    utd=utd,
                    batch_size=batch_size,
                    learning_rate=learning_rate,
                    seed=seed,
                    env_steps=round(steps),
                    stop_at=stop_at,
                    seconds=seconds,
                    after=after,
                )
            )
        return tuple(found)

    def _times(self) -> dict[str, ComputeModel]:
        """What runs cost in seconds, by task; a task whose runs recorded no times is left out."""
        cells = self.cells
        models, _ = compute_models(cells, cells, tuple(self.study.tasks), Counting(unit="seconds")) if cells else ({}, [])
        return {task: model for task, model in models.get("seconds", {}).items() if model.measured_data_cost is not None}

    def _rules(self, candidates: Candidates, times: Mapping[str, ComputeModel]) -> Rules:
        prices = {
            (task, utd, batch): seconds_per_step(times[task], utd, batch)
            for task, utd in candidates.places
            for batch, _ in candidates.pairs
            if times
        }
        if self.study.sweep is not None:
            return rules_of(self.study, prices)
        return Rules(step_price=prices)

    def _candidates(self) -> tuple[Candidates, str]:
        """What may be run, and a sentence where the runs do not allow a response surface yet."""
        if self.study.sweep is not None:
            return candidates_of(self.study), ""
        specs = [cell.spec for cell in self._sweep]
        pairs: dict[tuple[str, float], set[tuple[int, float]]] = {}
        for spec in specs:
            pairs.setdefault((spec.task, spec.utd), set()).add((spec.batch_size, spec.learning_rate))
        utd = sorted({spec.utd for spec in specs})
        batches, rates = sorted({spec.batch_size for spec in specs}), sorted({spec.learning_rate for spec in specs})
        missing = []
        if len(utd) == 1:
            missing.append(f"all runs are at UTD ratio {utd[0]:g}, and the laws need at least two")
            utd = sorted(utd[0] * _FURTHER**step for step in ((0, 1, 2) if utd[0] <= _FURTHER else (-2, -1, 0)))
        if max(map(len, pairs.values())) == 1:
            missing.append("at each UTD ratio there is one batch size and one learning rate, so the best ones can't be found")
            batches = sorted({max(round(value), 1) for value in _spread(batches, _STEPS[0])})
            rates = sorted({float(f"{value:.3g}") for value in _spread(rates, _STEPS[1])})
        limits: dict[str, int] = {}
        for cell in self._sweep:
            limits[cell.spec.task] = max(limits.get(cell.spec.task, 1), cell.last_step)
        return (
            Candidates(
                tasks=tuple(task for task in self.study.tasks if task in limits),
                utd=tuple(utd),
                batch_size=tuple(batches),
                learning_rate=tuple(rate for rate in rates if rate <= LARGEST_RATE),
                env_steps=limits,
                seeds=max(_MOST_SEEDS, *(len(cell.seeds) for cell in self._sweep)),
                largest_batch=min(*limits.values(), 1 << 20),
            ),
            f"{'; '.join(missing)}: these runs are the first that would change this (`--for` asks for the data law instead)"
            if missing
            else "",
        )


def suggest(
    study: Study | StudyFiles | Path | str,
    n: int | None = None,
    *,
    env_steps: float | None = None,
    hours: float | None = None,
    aim: str | None = None,
    where: Sequence[str] = (),
    size: str | None = None,
) -> Suggestions:
    """The runs that are worth most next, for what they cost.

    Args:
        study, where, size: as for `Advisor`.
        n: how many at most; None: 12, or as many as `env_steps` or `hours` pay for.
        env_steps, hours, aim: as for `Advisor.ask`.

    Returns:
        The runs, most valuable first, with what is expected of the aim before and after each.

    Raises:
        UserError: as `Advisor` and `Advisor.ask`.
    """
    count = n if n is not None else DEFAULT_COUNT if env_steps is None and hours is None else _MOST
    return Advisor(study, where=where, size=size).ask(count, env_steps=env_steps, hours=hours, aim=aim)


def _spread(values: Sequence[float], step: float) -> list[float]:
    """Few values to try in place of those that follow σ: a step to either side of a single one, else four over their range."""
    low, high = (values[0], values[-1]) if values[-1] > values[0] * step else (values[0] / step, values[-1] * step)
    return [float(value) for value in np.geomspace(low, high, 3 if len(values) == 1 else 4)]


def _key(spec: RunSpec) -> Key:
    return spec.task, spec.utd, spec.batch_size, spec.learning_rate
