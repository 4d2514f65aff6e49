"""The runs of a log that become one study: checked, surveyed, and only then written."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.errors import UserError
from tdscale.importers.conventions import Conventions
from tdscale.importers.curve import CleanCurve, clean
from tdscale.importers.drafts import (
    STUDY_FILE,
    Ends,
    Scale,
    draft_study,
    ends_of,
    existing_study,
    per_task,
    refuse_other_scale,
    uncovered,
    write_study,
)
from tdscale.importers.files import Spool, Spooled
from tdscale.importers.keys import KeySurvey, named_algorithm, plain_value, refuse_names, words_of, words_of_algorithms
from tdscale.importers.logged_run import COUNT, DERIVED, Columns, LoggedRun, without_numbers
from tdscale.importers.meaning import CellPlace, Network, meaning_of, plain, seed_of, value_of
from tdscale.importers.model_size import told_sizes
from tdscale.importers.preview import ImportReport, Preview, Survey, digest, preview_tasks
from tdscale.importers.sizes import COUNTED, Axis, SizedRun, axis_of, refuse_unknown, setting_of, untold
from tdscale.importers.sizes_file import not_told, stored_runs, with_sizes
from tdscale.runs import packed
from tdscale.runs.store import RunStore
from tdscale.runs.types import ENV_STEP, RETURN, RunResult, RunStatus, RunWarning
from tdscale.runs.whole_folder import existing
from tdscale.study import RunSpec, Stage, Study, study_to_toml

_SOME = 3
_ANY = "imported"  # the algorithm of runs whose log does not say
_ENDED_EARLY = 0.8  # of another run's env steps: a run that was stopped and started again
# logs that keep one series of one run, in which rows of one env step are episodes of parallel environments
_SERIES = ("sb3", "tensorboard", "wandb", "rllib", "arrays", "qscaled")


@dataclass(frozen=True, kw_only=True)
class _Held:
    spec: RunSpec
    survey: Survey
    places: dict[str, Spooled]
    status: RunStatus
    ends: Ends | None
    deciding: dict[str, Any]
    notes: Mapping[str, str | bool]
    algorithm: str | None
    network: Network

    @property
    def sized(self) -> SizedRun:
        return SizedRun(task=self.spec.task, settings=self.spec.settings, network=self.network)


class Part:
    """Runs that become one study.

    Attributes:
        preview: what was understood; there once `finish` was called.
    """

    preview: Preview

    def __init__(self, name: str, kind: str, source: str, columns: Columns, held_in: Spool, conventions: Conventions | None = None) -> None:
        """Without runs yet."""
        self._conventions = conventions
        self.name, self._kind, self._source, self._columns, self._spool = name, kind, source, columns, held_in
        self.messages: list[RunWarning] = []
        self.keys = KeySurvey(columns.ignore)
        self._held: list[_Held] = []
        self._counts: Counter[CellPlace] = Counter()
        self._notes: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self._said: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(dict)
        self._axis: Axis | None = None
        self._derived: dict[float, str] = {}
        self._by_name: dict[tuple[str, ...], str] = {}
        self._names: dict[Any, dict[tuple[str, ...], str]] = defaultdict(dict)

    def __bool__(self) -> bool:
        """Whether there is a run."""
        return bool(self._held)

    def add(self, run: LoggedRun) -> None:
        """Add a run. Questions about its configuration come before those about its rows. Raises UserError where it can't be understood."""
        # the run's own settings separate cells, and need no question
        index = self.keys.add({key: value for key, value in run.config.items() if key not in run.settings}, run.apart)
        meaning = meaning_of(run, self._columns) if np.isfinite(run.returns).any() else None
        # environments stepped together have a monitor each
        repeated = self._columns.repeated or ("mean" if self._kind == "sb3" else None)
        curve = clean(run, repeated, series=self._kind in _SERIES)
        for code, message in run.remarks:
            self.say(code, message, run.name)
        for code, message in run.of_log:
            self.say(code, message)
        steps, returns = curve.columns[ENV_STEP], curve.columns[RETURN]
        logged = returns[np.isfinite(returns)]
        if not logged.size and not curve.diverged:
            self._notes["no-returns"].append((run.name, 1))
            return
        if curve.diverged:
            self._notes["diverged"].append((run.name, 1))
        meaning = meaning or meaning_of(run, self._columns)
        task, utd, batch_size, rate = meaning.place
        seed, seed_found = seed_of(run, self._columns, self._counts, meaning.place)
        settings = tuple(sorted(run.settings.items()))
        for code, count in (
            ("unsorted", curve.unsorted),
            ("repeated", curve.repeated),
            ("copies", curve.copies),
            ("not-finite", curve.not_finite),
        ):
            if count:
                self._notes[code].append((run.name, count))
        for code, sentence in meaning.contradictions:
            # of sentences that differ only in their numbers, the first is reported
            self._said[code].setdefault(without_numbers(sentence), []).append((sentence, run.name))
        if meaning.found["utd"].derived:
            self._derived.setdefault(utd, run.name)
        asked = value_of("algorithm", run, self._columns) if self._columns.algorithm else None
        used = meaning.keys | {key for found in (seed_found, asked) if found for key in found.keys}
        network, known = meaning.size, meaning.size.parameters
        self.keys.place(index, meaning.place, network.place, seed, seed_known=seed_found is not None, used=used)
        algorithm = named_algorithm(run.config) if asked is None else plain(str(asked.value), "--algorithm", run.name)
        # W&B's own names of runs are words by chance
        if seed_found is None and self._columns.seed is None and self._kind != "wandb":
            name = "/".join(filter(None, (run.path or run.name, run.column)))
            self._names[meaning.place, network.place, settings].setdefault(words_of(name), name)
        words = words_of_algorithms(run.name) if algorithm is None else ()
        if words:
            self._by_name.setdefault(words, run.name)
        spec = RunSpec(
            algorithm=_ANY,
            suite="imported",
            task=task,
            utd=utd,
            batch_size=batch_size,
            learning_rate=rate,
            seed=seed,
            stage="scaling",
            settings=dict(run.settings) | _settings_of(network),
        )
        survey = Survey(
            name=run.name,
            spec=spec,
            points=len(logged),
            last_step=curve.last_step,
            grid=digest(steps),
            curve=digest(np.concatenate([steps.astype(np.float64), returns])) if len(np.unique(logged)) >= 4 else None,
            settings=settings,
        )
        one = _Held(
            spec=spec,
            survey=survey,
            places={name: self._spool.add(values.astype(np.float64)) for name, values in curve.columns.items()},
            status=_status(curve, known),
            ends=ends_of(steps.astype(np.float64), returns.astype(np.float64)) if logged.size else None,
            deciding=self.keys.deciding(run.config),
            notes=run.notes,
            algorithm=algorithm,
            network=network,
        )
        self._held.append(one)

    def finish(self) -> None:
        """All runs are there. Raises UserError where they can't be one study, or how they can is to be asked."""
        if self._derived and self._columns.utd != DERIVED:
            values = ", ".join(f"{value:g}" for value in sorted(self._derived))
            first = next(iter(self._derived.values()))
            raise UserError(
                f"{first}: the log does not have σ (UTD ratio); from the update counters of the saved models it is {values}, if each was "
                "trained by one call of learn(); give --utd =derived to use that, --utd =VALUE, or {utd} in --names"
            )
        algorithms = list(dict.fromkeys(str(one.algorithm) for one in self._held))
        asked = self._columns.algorithm
        if len(algorithms) > 1 and asked is not None:
            key = "algorithm" if re.search("[:/]", asked) else asked
            choose = f"choose with --where {key}={algorithms[0]}, or import each with --split-by {key} into a study of its own"
            raise UserError(f"the runs have several algorithms: {key} is {', '.join(algorithms[:6])}; a study has one: {choose}")
        refuse_unknown([one.network for one in self._held])
        refuse_names(self._by_name, self._names.values())
        self._algorithm = algorithms[0] if len(algorithms) == 1 and algorithms[0] != "None" else _ANY
        notes = self.keys.refuse_differences()
        self._held = [
            replace(
                one,
                spec=replace(
                    one.spec, algorithm=self._algorithm, settings=self.keys.settings(one.deciding, notes) | dict(one.spec.settings)
                ),
            )
            for one in self._held
        ]
        self._find_sizes()
        notes = tuple(note for note in notes if self._axis is None or note.key != self._axis.key)
        self._held = self._without_repeated()
        places: dict[tuple[Any, ...], set[tuple[int, float]]] = defaultdict(set)
        for one in self._held:
            place = one.spec.task, one.spec.utd, one.network.place, one.survey.settings
            places[place].add((one.spec.batch_size, one.spec.learning_rate))
        swept = any(len(pairs) > 1 for pairs in places.values())
        stage: Stage = "sweep" if swept else "scaling"
        if self._conventions is not None:
            stage = self._conventions.stage or stage
            self.messages += self._conventions.messages()
        self._stage = stage
        self._say_notes()
        tasks = preview_tasks([one.survey for one in self._held], stage)
        if any(task.duplicates for task in tasks) and not any(message.code == "duplicate-seeds" for message in self.messages):
            count = sum(task.duplicates for task in tasks)
            self.say("duplicate-seeds", f"{count} runs are byte for byte the curves of other seeds; the default method leaves copies out")
        if any(task.seeds[0] == 1 for task in tasks):
            self.say("one-seed", "some cells have one seed, which says nothing about the noise between seeds")
        self.preview = Preview(
            kind=self._kind,
            stage=stage,
            tasks=tasks,
            swept=swept,
            keys=notes,
            sizes=self._axis,
            messages=list(dict.fromkeys(self.messages)),
        )

    def _find_sizes(self) -> None:
        """The sizes of the networks, which also separate cells."""
        self._axis = axis = axis_of([one.sized for one in self._held], _key_of_parameters(self._columns.model_size))
        if axis is None:
            several: dict[str, set[float | None]] = defaultdict(set)
            for one in self._held:
                several[one.spec.task].add(one.network.parameters)
            if any(len(sizes) > 1 for sizes in several.values()):
                message = (
                    "N differs, but nothing shows which networks have the same size in all runs and tasks, so model size is not an axis "
                    "of the laws; give --model-size KEY, a key with one value for each size"
                )
                self.say("sizes-unclear", message)
            elif self._columns.model_size is None and (found := untold([one.sized for one in self._held])) is not None:
                warning = not_told(*found, self.name)
                self.say(warning.code, warning.message)
            return
        for index, one in enumerate(self._held):
            spec, survey = one.spec, one.survey
            if not axis.carried:
                spec = replace(spec, settings={**spec.settings, axis.key: int(one.network.parameters or 0)})
            survey = replace(survey, spec=spec, settings=(*survey.settings, ("[sizes]", axis.of(one.sized))))
            self._held[index] = replace(one, spec=spec, survey=survey)

    def write(self, directory: Path, scale: Scale, before: Callable[[], None] | None) -> ImportReport:
        """Into a study's folder, as `Gathered.write` has it."""
        messages = list(self.preview.messages)
        study, text = self.study(directory, scale, messages)
        if self._algorithm == _ANY:
            self._held = [replace(one, spec=replace(one.spec, algorithm=study.algorithm)) for one in self._held]
        store = RunStore(directory)
        # a published file is one part, wherever it lies
        part = self._part
        self._refuse_known(store, part)
        earlier = existing(store.runs / "packed").get(part)
        gone = set(packed.read_specs(earlier)) - {replace(one.spec, stage=self._stage).run_id for one in self._held} if earlier else set()
        if gone:
            message = f"{_runs(len(gone))} that this source brought before, and that are not among these, are taken out of {directory}"
            messages.append(RunWarning("taken-out", message, self.name))
        if before is not None:
            before()
        runs = store.write_packed(self._results(), part)
        if text is not None:
            write_study(text, directory / STUDY_FILE)
        return ImportReport(
            runs=runs,
            cells=sum(task.cells for task in self.preview.tasks),
            tasks=tuple(task.task for task in self.preview.tasks),
            utds=tuple(sorted({held.spec.utd for held in self._held})),
            messages=messages,
            study=study,
            preview=self.preview,
        )

    @property
    def _part(self) -> str:
        return (self._conventions.name if self._conventions is not None else None) or _part_name(self._source, self._kind)

    def study(self, directory: Path | None, scale: Scale, messages: list[RunWarning]) -> tuple[Study, str | None]:
        """The study of these runs, and the text of its file; None if it is in the folder already and stays as it is.

        Raises:
            UserError: where they don't go together.
        """
        cells: dict[Any, list[Ends]] = defaultdict(list)
        for one in self._held:
            if one.ends is not None:
                cells[one.survey.place].append(one.ends)
        ends: dict[str, list[Ends]] = {one.spec.task: [] for one in self._held}
        for place, members in cells.items():
            ends[place[0]].append(Ends(*np.mean([(one.low, one.first, one.last) for one in members], axis=0).tolist()))
        low, high = per_task("--low", scale.low, ends), per_task("--high", scale.high, ends)
        layout = self._conventions.layout if self._conventions is not None else None
        kept = None
        if directory is not None:
            kept = existing_study(directory, ends, None if self._algorithm == _ANY else self._algorithm, self.name)
        if directory is not None and kept is not None:
            given = {"thresholds": scale.thresholds, "data_cost": scale.data_cost} | scale.resets()
            refuse_other_scale(kept, directory / STUDY_FILE, low, high, given)
        if layout is not None:
            low, high = dict.fromkeys(layout.scale_of(ends), 0.0) | low, layout.scale_of(ends) | high
        if kept is None:
            names = self.name, self._kind, self._algorithm
            sizes = {one.network.parameters for one in self._held}
            tables = {} if self._axis is None else self._axis.tables()
            study, said = draft_study(ends, (low, high), scale, names=names, sizes=(sizes, tables), conventions=self._conventions)
            messages += [] if said is None else [RunWarning("drafted-scale", said, self.name)]
            text: str | None = study_to_toml(study)
        else:
            assert directory is not None
            study, text = self._in_folder(kept, directory, messages)
        covered = {task: members for task, members in ends.items() if members}
        messages += [RunWarning(code, message, self.name) for code, message in uncovered(study, covered)]
        return study, text

    def _in_folder(self, kept: Study, directory: Path, messages: list[RunWarning]) -> tuple[Study, str | None]:
        """A study that is there already, with what these runs add to its [sizes]."""
        store, path = RunStore(directory), directory / STUDY_FILE
        mine = existing(store.runs / "packed").get(self._part)
        key = next((setting_of(one.network.key) for one in self._held if one.network.key), None)
        others = stored_runs(store, set() if mine is None else set(packed.read_specs(mine)), key, told_sizes(self._columns.model_size))
        asked = self._columns.model_size if self._conventions is None else self._conventions.asked_size
        study, text, said = with_sizes(kept, path, [*(one.sized for one in self._held), *others], asked=asked)
        known = {message.code for message in messages}
        messages += [one for one in said if one.code not in known]
        if text is None:
            message = "study.toml existed already and is not changed; its settings also hold for these runs"
            messages.append(RunWarning("study-kept", message, str(path)))
        return study, text

    def _without_repeated(self) -> list[_Held]:
        """Runs without repetitions: of those with one spec and seed, the one that goes furthest. Raises UserError if that is not clear."""
        best: dict[str, _Held] = {}
        copies: list[str] = []
        again: list[str] = []
        for one in self._held:
            other = best.get(one.spec.run_id)
            if other is None:
                best[one.spec.run_id] = one
                continue
            longer, shorter = (one, other) if one.survey.last_step > other.survey.last_step else (other, one)
            same = one.survey.curve is not None and (one.survey.curve, one.survey.grid) == (other.survey.curve, other.survey.grid)
            if not same and shorter.survey.last_step > _ENDED_EARLY * longer.survey.last_step:
                raise UserError(
                    f"{other.survey.name} and {one.survey.name} have the same task, UTD ratio, batch size, learning rate and seed "
                    f"({one.spec.seed}) and about the same length; if they are seeds of one cell, give --seed {COUNT}; otherwise separate "
                    "them with a {key} in --names or a KEY of their configuration, and choose with --where KEY=VALUE"
                )
            (copies if same else again).append(shorter.survey.name)
            best[one.spec.run_id] = longer
        if copies:
            self.say("copied-runs", f"{_runs(len(copies))} are exact copies of another one, left out; the first: {copies[0]}")
        if again:
            self.say(
                "repeated-runs",
                f"{_runs(len(again))} with the task, σ, B, η and seed of a longer one, left out as ended early, the first: {again[0]}; "
                f"if they are seeds of their own, give --seed {COUNT}",
            )
        return list(best.values())

    def _say_notes(self) -> None:
        said = {
            "unsorted": "with # out of order; they are sorted by env step",
            "repeated": "with # at the env step of another one, as episodes of parallel environments; their mean is used",
            "copies": "with # that are exact copies of another one; they are left out",
            "not-finite": "with # whose return is NaN or infinite; they are left out",
            "no-returns": "without any return, left out",
            "diverged": "whose returns are NaN from some env step to the end: diverged, which counts as not reaching J",
        }
        for code, what in said.items():
            if self._notes[code]:
                runs = self._notes[code]
                count = sum(n for _, n in runs)
                what = what.replace("#", f"{count:,} {'row' if count == 1 else 'rows'}")
                self.say(code, f"{_runs(len(runs))} {what}; the first: {runs[0][0]}")
        for code, sentences in self._said.items():
            for pairs in list(sentences.values())[:_SOME]:
                self.say(code, f"{pairs[0][0]} ({_runs(len(pairs))}, the first: {pairs[0][1]})")
            if len(sentences) > _SOME:
                self.say(code, f"{len(sentences) - _SOME} more of this kind")

    def _refuse_known(self, store: RunStore, part: str) -> None:
        # of any stage
        stages: tuple[Stage, ...] = ("sweep", "scaling")
        ours = {replace(one.spec, stage=stage).run_id: one.survey.name for one in self._held for stage in stages}
        known: set[str] = set()
        for name, folder in existing(store.runs / "packed").items():
            known |= set(packed.read_specs(folder)) if name != part else set()
        both = [name for run_id, name in ours.items() if run_id in known or (store.runs / run_id).exists()]
        if both:
            where = f"{len(both)} of its runs, the first {both[0]}, are in {store.directory} already, from another source"
            raise UserError(f"{self._source}: {where}; import into another folder, or give --seed a key that separates them")

    def _results(self) -> Iterator[RunResult]:
        first: dict[tuple[Any, ...], str] = {}
        for one in self._held:
            columns: dict[str, Any] = {name: self._spool.get([place]) for name, place in one.places.items()}
            columns[ENV_STEP] = columns[ENV_STEP].astype(np.int64)
            spec, notes = replace(one.spec, stage=self._stage), dict(one.notes)
            if one.survey.curve is not None:
                earlier = first.setdefault((one.survey.place, one.survey.curve), spec.run_id)
                notes |= {"duplicate_of": earlier} if earlier != spec.run_id else {}
            yield RunResult(spec=spec, columns=columns, status=replace(one.status, notes=notes))

    def say(self, code: str, message: str, where: str | None = None) -> None:
        """A message for the preview."""
        self.messages.append(RunWarning(code, message, where or self.name))


def _status(curve: CleanCurve, size: float | None) -> RunStatus:
    return RunStatus(
        state="diverged" if curve.diverged else "finished",
        last_step=curve.last_step,
        reason="its returns are NaN to the end of its log" if curve.diverged else None,
        critic_parameters=None if size is None else int(size),
    )


def _settings_of(network: Network) -> dict[str, Any]:
    """What of a network's size is part of its runs' identity: what names it, else N."""
    if network.key:
        return {setting_of(network.key): plain_value(network.value)}
    return {} if network.parameters is None else {"model_size": int(network.parameters)}


def _key_of_parameters(asked: str | None) -> str:
    """The setting under which N separates sizes: the key that it was read from, where that is one."""
    return asked if asked is not None and re.fullmatch(r"[A-Za-z]\w{0,40}", asked) and asked != "model_size" else COUNTED


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _part_name(source: str, kind: str) -> str:
    """The same for the same source, however its path is written."""
    path = Path(source)
    full = str(path.resolve()) if path.exists() else source
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", path.name)[:60].strip("_-") or "log"
    return f"{kind}-{stem}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"
