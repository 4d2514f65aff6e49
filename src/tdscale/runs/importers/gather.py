"""Raw runs of any log to the store: checked, surveyed, and only then written."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from tdscale.errors import UserError
from tdscale.runs import packed
from tdscale.runs.files import existing
from tdscale.runs.importers import spool
from tdscale.runs.importers.conventions import Conventions
from tdscale.runs.importers.curve import CleanCurve, clean
from tdscale.runs.importers.drafts import STUDY_FILE, THRESHOLDS, draft_scale, existing_study, per_task, write_study
from tdscale.runs.importers.preview import Preview, Survey, digest, preview_tasks
from tdscale.runs.importers.raw import COUNT, MAX_NAME, Columns, RawRun, Unreadable, from_name, shown_keys, value_of
from tdscale.runs.importers.report import ImportReport
from tdscale.runs.importers.spool import Spool
from tdscale.runs.importers.values import Place, place_of, plain, seed_of, size_of
from tdscale.runs.store import RunStore
from tdscale.runs.types import ENV_STEP, RETURN, RunResult, RunStatus, RunWarning
from tdscale.study import RunSpec, Stage, Study

_SOME = 3
_ANY = "imported"  # the algorithm of runs whose log does not say


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a drafted study.toml takes from options: `low` and `high` as VALUE or TASK=VALUE, thresholds normalised."""

    low: Sequence[str] = ()
    high: Sequence[str] = ()
    thresholds: Sequence[float] | None = None
    data_cost: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Held:
    spec: RunSpec
    survey: Survey
    places: dict[str, spool.Place]
    status: RunStatus
    ends: tuple[float, float]
    notes: Mapping[str, str | bool]


class Gathered:
    """The runs of a log, read and checked, held in a temporary file. Use as a context manager.

    Attributes:
        preview: what was understood.
    """

    def __init__(
        self,
        runs: Iterable[RawRun | Unreadable],
        kind: str,
        source: str,
        columns: Columns,
        *,
        conventions: Conventions | None = None,
        skip_bad: bool = False,
    ) -> None:
        """Read them all. Raises UserError where one can't be understood, unless such are to be skipped, or none is there."""
        self._source, self._kind, self._columns = source, kind, columns
        self._conventions = conventions
        self._name = re.split(r"[/\\]", source.rstrip("/\\"))[-1] or kind
        self._messages: list[RunWarning] = []
        self._notes: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self._differing: dict[tuple[Any, ...], tuple[dict[str, Any], set[str]]] = {}
        self._sizes: set[float | None] = set()
        self._spool = Spool()
        try:
            held = self._checked(runs, skip_bad)
            self._held, self.preview = held, self._preview(held)
        except BaseException:
            self._spool.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.__exit__()

    def write(self, directory: Path, scale: Scale | None = None, before: Callable[[], None] | None = None) -> ImportReport:
        """Into a study's folder. The same source again replaces what it brought before.

        Args:
            directory: the folder; made if absent.
            scale: for the study.toml that is drafted where there is none.
            before: called when all is checked and nothing is written yet.

        Raises:
            UserError: if the folder holds another study, or one of these runs from another source.
        """
        scale = scale or Scale()
        tasks = {held.survey.task for held in self._held}
        algorithm = self._held[0].spec.algorithm
        kept = existing_study(directory, tasks, None if algorithm == _ANY else algorithm, self._name)
        self._algorithm = kept.algorithm if kept is not None else algorithm
        messages = list(self.preview.messages)
        study = kept or self._study(directory, scale, messages)
        if kept is not None:
            message = "study.toml was there already and is kept as it is; the conventions in it hold for these runs too"
            messages.append(RunWarning("study-kept", message, str(directory / STUDY_FILE)))
        store = RunStore(directory)
        # a published file is one part, wherever it lies
        part = (self._conventions.name if self._conventions is not None else None) or _part_name(self._source, self._kind)
        self._refuse_known(store, part)
        if before is not None:
            before()
        runs = store.write_packed(self._results(), part)
        if kept is None:
            write_study(study, directory / STUDY_FILE)
        return ImportReport(
            runs=runs,
            cells=sum(task.cells for task in self.preview.tasks),
            tasks=tuple(sorted(tasks)),
            utds=tuple(sorted({held.survey.utd for held in self._held})),
            messages=messages,
            study=study,
            preview=self.preview,
        )

    def _checked(self, runs: Iterable[RawRun | Unreadable], skip_bad: bool) -> list[_Held]:
        held: list[_Held] = []
        bad: list[str] = []
        counts: Counter[Place] = Counter()
        unnamed: list[str] = []
        found = 0
        for run in runs:
            found += 1
            if isinstance(run, Unreadable):
                bad.append(run.why)
                continue
            if self._columns.names is not None and re.search(r"\{|\*", self._columns.names):
                keys = from_name(self._columns.names, run.name)
                if keys is None:
                    unnamed.append(run.name)
                    continue
                run = replace(run, config={**run.config, **keys})
            try:
                one = self._hold(run, counts)
            except UserError as error:
                bad.append(str(error))
                continue
            if one is not None:
                held.append(one)
        if bad and not held:
            raise UserError(bad[0])
        if bad and not skip_bad:
            raise UserError(_refusal(bad, found))
        for why in bad[:_SOME]:
            self._say("left-out", f"left out: {why}")
        if len(bad) > _SOME:
            self._say("left-out", f"left out for such reasons: {len(bad) - _SOME} more")
        if unnamed:
            self._say("names-left-out", f"{len(unnamed)} runs don't fit --names and are left out, the first: {unnamed[0]}")
        if not held:
            why = f"none of its {found} runs fits --names, the first is {unnamed[0]!r}" if unnamed else "holds no run with a return"
            said = f" ({self._messages[-1].message})" if self._messages else ""
            raise UserError(f"{self._source}: {why}{said}")
        algorithms = sorted({one.spec.algorithm for one in held})
        if len(algorithms) > 1:
            raise UserError(f"{self._source}: holds runs of {', '.join(algorithms)}; a study is of one algorithm, give each its own folder")
        return self._without_repeated(held)

    def _hold(self, run: RawRun, counts: Counter[Place]) -> _Held | None:
        curve = clean(run)
        for code, message in run.remarks:
            self._say(code, message, run.name)
        steps, returns = curve.columns[ENV_STEP], curve.columns[RETURN]
        logged = returns[np.isfinite(returns)]
        if not logged.size and not curve.diverged:
            self._notes["no-returns"].append((run.name, 1))
            return None
        task, utd, batch_size, rate = place = place_of(run, self._columns)
        seed = seed_of(run, self._columns, counts, place)
        settings = tuple(sorted(run.settings.items()))
        for code, count in (("unsorted", curve.unsorted), ("repeated", curve.repeated), ("not-finite", curve.not_finite)):
            if count:
                self._notes[code].append((run.name, count))
        size = size_of(run, self._columns)
        self._sizes.add(size)
        self._compare(run, (*place, settings))
        asked = self._columns.algorithm
        algorithm = value_of("algorithm", run, self._columns) if asked or isinstance(run.config.get("algorithm"), str) else None
        spec = RunSpec(
            algorithm=plain(str(algorithm or _ANY), "--algorithm", run.name),
            suite="imported",
            task=task,
            utd=utd,
            batch_size=batch_size,
            learning_rate=rate,
            seed=seed,
            stage="scaling",
            settings=run.settings,
        )
        survey = Survey(
            name=run.name,
            task=task,
            utd=utd,
            batch_size=batch_size,
            learning_rate=rate,
            seed=seed,
            points=len(logged),
            last_step=curve.last_step,
            grid=digest(steps),
            curve=digest(np.concatenate([steps.astype(np.float64), returns])) if len(np.unique(logged)) >= 4 else None,
            settings=settings,
        )
        few = max(1, len(logged) // 10)
        ends = (float(logged[:few].mean()), float(logged[-few:].mean())) if logged.size else (np.nan, np.nan)
        return _Held(
            spec=spec,
            survey=survey,
            places={name: self._spool.add(values.astype(np.float64)) for name, values in curve.columns.items()},
            status=self._status(curve, size),
            ends=ends,
            notes=run.notes,
        )

    def _status(self, curve: CleanCurve, size: float | None) -> RunStatus:
        return RunStatus(
            state="diverged" if curve.diverged else "finished",
            last_step=curve.last_step,
            reason="its returns are NaN up to the end of its log" if curve.diverged else None,
            critic_parameters=None if size is None else int(size),
        )

    def _compare(self, run: RawRun, place: tuple[Any, ...]) -> None:
        """Notes what differs between the runs that will count as seeds of one cell."""
        first, differing = self._differing.setdefault(place, (dict(run.config), set()))
        differing |= {key for key in first.keys() & run.config.keys() if first[key] != run.config[key]}

    def _without_repeated(self, held: list[_Held]) -> list[_Held]:
        """Of runs with one spec and seed, the one that goes furthest."""
        best: dict[str, _Held] = {}
        again: list[str] = []
        for one in held:
            other = best.get(one.spec.run_id)
            if other is not None:
                again.append(one.survey.name)
            if other is None or one.survey.last_step > other.survey.last_step:
                best[one.spec.run_id] = one
        if again:
            self._say(
                "repeated-runs",
                f"{_runs(len(again))} with the task, σ, B, η and seed of another one, the first: {again[0]}; of each the longest is kept; "
                f"if they are seeds of their own, give --seed {COUNT}",
            )
        return list(best.values())

    def _preview(self, held: list[_Held]) -> Preview:
        places: dict[tuple[str, float], set[tuple[int, float]]] = defaultdict(set)
        for one in held:
            places[one.survey.task, one.survey.utd].add((one.survey.batch_size, one.survey.learning_rate))
        stage: Stage = "sweep" if any(len(pairs) > 1 for pairs in places.values()) else "scaling"
        if self._conventions is not None:
            stage = self._conventions.stage or stage
            self._messages += self._conventions.messages()
        self._stage = stage
        self._say_notes()
        tasks = preview_tasks([one.survey for one in held], stage)
        if any(task.duplicates for task in tasks) and not any(message.code == "duplicate-seeds" for message in self._messages):
            count = sum(task.duplicates for task in tasks)
            self._say("duplicate-seeds", f"{count} runs are byte for byte the curves of other seeds; the default method leaves copies out")
        if any(task.seeds[0] == 1 for task in tasks):
            self._say("one-seed", "some cells have one seed, which says nothing about the noise between seeds")
        return Preview(kind=self._kind, stage=stage, tasks=tasks, messages=list(dict.fromkeys(self._messages)))

    def _say_notes(self) -> None:
        said = {
            "unsorted": "with # out of order; they are sorted by env step",
            "repeated": "with # at the env step of another one; their mean is taken",
            "not-finite": "with # whose return is NaN or infinite; they are left out",
            "no-returns": "without any return, left out",
        }
        for code, what in said.items():
            if self._notes[code]:
                runs = self._notes[code]
                count = sum(n for _, n in runs)
                what = what.replace("#", f"{count:,} {'row' if count == 1 else 'rows'}")
                self._say(code, f"{_runs(len(runs))} {what}; the first: {runs[0][0]}")
        differing = Counter(key for _, keys in self._differing.values() for key in keys if key.rpartition(".")[2] not in _INCIDENTAL)
        asked = {name.removeprefix("config.") for name in (self._columns.seed, self._columns.model_size) if name}
        keys = [key for key in sorted(differing) if key not in asked]
        if keys:
            self._say(
                "other-settings", f"runs that count as seeds of one cell differ in {shown_keys(keys)}; if that matters, import them apart"
            )

    def _study(self, directory: Path, scale: Scale, messages: list[RunWarning]) -> Study:
        cells: dict[tuple[Any, ...], list[tuple[float, float]]] = defaultdict(list)
        for one in self._held:
            if np.isfinite(one.ends).all():
                cells[one.survey.place].append(one.ends)
        ends: dict[str, list[tuple[float, float]]] = {one.survey.task: [] for one in self._held}
        for place, pairs in cells.items():
            first, last = np.mean(pairs, axis=0)
            ends[place[0]].append((float(first), float(last)))
        ends = {task: pairs or [(0.0, 1.0)] for task, pairs in ends.items()}
        low, high = per_task("--low", scale.low, ends), per_task("--high", scale.high, ends)
        layout = self._conventions.layout if self._conventions is not None else None
        if layout is not None:
            low, high = dict.fromkeys(layout.scale_of(ends), 0.0) | low, layout.scale_of(ends) | high
        tasks = draft_scale(ends, low, high)
        drafted = [name for name in tasks if name not in high]
        if drafted:
            what = "; ".join(f"{name} {tasks[name].low:g} to {tasks[name].high:g}" for name in drafted[:_SOME])
            more = f"; {len(drafted) - _SOME} more" if len(drafted) > _SOME else ""
            message = f"low and high are read off these curves ({what}{more}); put the tasks' own into study.toml, or give --low and --high"
            messages.append(RunWarning("drafted-scale", message, str(directory / STUDY_FILE)))
        size = next(iter(self._sizes)) if len(self._sizes) == 1 else None
        name = self._conventions.name if self._conventions is not None else None
        thresholds = layout.thresholds if layout is not None else THRESHOLDS
        data_cost = layout.data_cost if layout is not None else None
        if self._conventions is not None and self._sizes == {None}:
            size = self._conventions.model_size
        try:
            return Study(
                name=name or self._name[:MAX_NAME],
                algorithm=self._held[0].spec.algorithm,
                return_thresholds=tuple(thresholds if scale.thresholds is None else scale.thresholds),
                tasks=tasks,
                data_cost=data_cost if scale.data_cost is None else scale.data_cost,
                accounting="paper",
                model_size=size,
                published_laws=layout.published_laws if layout is not None and name is not None else None,
                origin=f"{name}.zip, published by the paper's authors" if name else f"imported from {self._name} ({self._kind})"[:MAX_NAME],
            )
        except ValueError as error:
            text = str(error).splitlines()[2].strip().removeprefix("Value error, ").partition(" [type=")[0]
            raise UserError(f"--thresholds or --data-cost: {text}") from None

    def _refuse_known(self, store: RunStore, part: str) -> None:
        # whatever stage they were taken for there
        stages: tuple[Stage, ...] = ("sweep", "scaling")
        ours = {replace(self._final(one), stage=stage).run_id: one.survey.name for one in self._held for stage in stages}
        known: set[str] = set()
        for name, folder in existing(store.runs / "packed").items():
            known |= set(packed.read_specs(folder)) if name != part else set()
        both = [name for run_id, name in ours.items() if run_id in known or (store.runs / run_id).exists()]
        if both:
            where = f"{len(both)} of its runs, the first {both[0]}, are in {store.directory} already, from another source"
            raise UserError(f"{self._source}: {where}; import into another folder, or give --seed a key that tells them apart")

    def _results(self) -> Iterator[RunResult]:
        first: dict[tuple[Any, ...], str] = {}
        for one in self._held:
            columns: dict[str, Any] = {name: self._spool.get([place]) for name, place in one.places.items()}
            columns[ENV_STEP] = columns[ENV_STEP].astype(np.int64)
            spec, notes = self._final(one), dict(one.notes)
            if one.survey.curve is not None:
                earlier = first.setdefault((one.survey.place, one.survey.curve), spec.run_id)
                notes |= {"duplicate_of": earlier} if earlier != spec.run_id else {}
            yield RunResult(spec=spec, columns=columns, status=replace(one.status, notes=notes))

    def _final(self, one: _Held) -> RunSpec:
        return replace(one.spec, stage=self._stage, algorithm=self._algorithm)

    def _say(self, code: str, message: str, where: str | None = None) -> None:
        self._messages.append(RunWarning(code, message, where or self._name))


def _refusal(bad: list[str], found: int) -> str:
    """What stands in an import's way: the first of it, and how much more there is."""
    more = f"; nor can {len(bad) - 1} more of {found} be imported, the next: {bad[1]}" if len(bad) > 1 else ""
    return f"{bad[0]}{more}; --skip-bad imports the others"


# keys that differ between seeds as a matter of course
_INCIDENTAL = frozenset(
    (
        *("seed", "id", "name", "run_name", "exp_name", "run_id", "t_start", "time", "timestamp", "start_time", "pid", "trial_id"),
        *("hostname", "device", "log_dir", "logdir", "tensorboard_log", "experiment_tag", "num_timesteps", "_n_updates", "_episode_num"),
        *("_total_timesteps", "_num_timesteps_at_start", "_current_progress_remaining"),
    )
)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _part_name(source: str, kind: str) -> str:
    """The same for the same source, however its path is written."""
    path = Path(source)
    full = str(path.resolve()) if path.exists() else source
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", path.name)[:60].strip("_-") or "log"
    return f"{kind}-{stem}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"
