"""Which runs of a folder answer a study's question. Every command asks here: run, status, fit, validate, report, and the fingerprint."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tdscale.errors import UserError
from tdscale.runs.choice import condition_id, read_choices
from tdscale.runs.sizes import Sizes
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunWarning
from tdscale.runs.where import Where, as_text, decides
from tdscale.study import RunSpec, Stage, Study
from tdscale.study.sizes import MODEL_SIZE
from tdscale.study.spec import RECORDING

FITTED: tuple[Stage, ...] = ("sweep", "scaling", "baseline")  # what runs that check a plan saw changes no law
_SHOWN = 3  # values, and keys, that a sentence lists
_ALGORITHM, _REWARD_SCALE = "algorithm", "reward_scale"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The runs that answer a study's question.

    Attributes:
        specs: by run_id, in its order.
        left_out: one sentence for each kind of run that is on disk and does not answer it: foreign-task, earlier-version,
            other-settings, other-choice, other-size.
        listed: sentences about settings that differ between tasks and are kept all the same.
        is_sweep: whether imported runs, none of them of a sweep, hold several B or η at one (task, σ, size), which makes all of them one.
    """

    specs: Mapping[str, RunSpec]
    left_out: tuple[RunWarning, ...] = ()
    listed: tuple[RunWarning, ...] = ()
    is_sweep: bool = False

    def as_cell(self, spec: RunSpec) -> RunSpec:
        """A spec with the stage that its cell counts for."""
        return replace(spec, stage="sweep") if self.is_sweep and spec.stage == "scaling" else spec

    def fitted(self) -> list[str]:
        """run_ids of the runs that laws are fitted to, those of the stages `FITTED`."""
        return [run_id for run_id, spec in self.specs.items() if spec.stage in FITTED]


def select_runs(store: RunStore, study: Study, *, where: Where | None = None, problems: list[RunWarning] | None = None) -> Selection:
    """Those runs of a store that a study asks for.

    A study with a [sweep] asks for runs of its algorithm, suites, reward scales and settings, and in stage 2 for the B and η in
    choice.json. A study of imported curves has no settings of its own: its runs must agree in theirs, within each task. Where a study
    has [sizes], it asks for runs of each of them, and all of this holds within each size.

    Args:
        store: the runs.
        study: the question.
        where: conditions on settings that all runs must meet.
        problems: as in `RunStore`.

    Raises:
        UserError: if imported runs differ in settings and `where` does not say which are meant, or if `where` names none.
    """
    specs = store.specs(problems=problems)
    known = {run_id: spec for run_id, spec in specs.items() if spec.task in study.tasks}
    foreign = Counter(spec.task for spec in specs.values() if spec.task not in study.tasks)
    left_out = [
        _warning("foreign-task", f"{_runs(count)} of {task} are left out: the study does not have this task", task)
        for task, count in sorted(foreign.items())
    ]
    chosen = {run_id: spec for run_id, spec in known.items() if where is None or where.holds(_settings(spec))}
    if where and not chosen:
        raise UserError(_nothing(store, where, known.values()))
    if study.sweep is not None:
        return _asked_for(store, study, chosen, left_out)
    sizes = Sizes(study)
    of_size: dict[str, dict[str, RunSpec]] = {name: {} for name in sizes.studies}
    for run_id, spec in chosen.items():
        if (size := sizes.of(spec)) is not None:
            of_size[size][run_id] = spec
    other = len(chosen) - sum(map(len, of_size.values()))
    if other:
        why = f"{_runs(other)} {'is' if other == 1 else 'are'} left out: of none of the study's sizes, which have {sizes.described()}"
        left_out.append(_warning("other-size", why, "runs"))
    chosen = {run_id: spec for run_id, spec in chosen.items() if any(run_id in specs for specs in of_size.values())}
    listed = list(dict.fromkeys(found for specs in of_size.values() if specs for found in _agreeing(store, specs)))
    listed += _between_sizes(of_size, sizes.keys)
    is_sweep = _is_sweep(of_size)
    return Selection(specs=chosen, left_out=tuple(left_out), listed=tuple(listed), is_sweep=is_sweep)


def _asked_for(store: RunStore, study: Study, known: Mapping[str, RunSpec], left_out: list[RunWarning]) -> Selection:
    sizes, choices = Sizes(study), read_choices(store.directory)
    settings = {name: _plain(one.spec_settings[0]) for name, one in sizes.studies.items()}
    chosen = {(name, task): choices.get(condition_id(one, task)) for name, one in sizes.studies.items() for task in study.tasks}
    answering: dict[str, RunSpec] = {}
    others: Counter[tuple[str, str]] = Counter()
    for run_id, spec in known.items():
        size = sizes.of(spec)
        if size is None:
            others[_of_no_size(spec, study, sizes)] += 1
            continue
        reason = _difference(spec, study, settings[size])
        choice = chosen[size, spec.task]
        if reason is None and choice is not None and not choice.allows(spec):
            reason = "other-choice", "their batch size or learning rate of stage 2 is no longer chosen (choice.json)"
        if reason is None:
            answering[run_id] = spec
        else:
            others[reason] += 1
    for (code, why), count in sorted(others.items()):
        left_out.append(_warning(code, f"{_runs(count)} {'is' if count == 1 else 'are'} left out: {why}", "runs"))
    return Selection(specs=answering, left_out=tuple(left_out))


def _difference(spec: RunSpec, study: Study, settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a run is not one that the study has: a code and a reason; None if it is. `settings`: of its size."""
    differing = _of_another_kind(spec, study)
    if not differing:
        own = _plain(spec.settings)
        if not study.has_custom_trainer and any(name in own for name in RECORDING):
            return "earlier-version", (
                "an earlier version of tdscale trained them, with other random streams and initial weights; `tdscale run` trains them again"
            )
        keys = [key for key in sorted({*settings, *own}) if settings.get(key) != own.get(key)]
        differing = [f"{key} = {_shown(own.get(key))}, the study has {_shown(settings.get(key))}" for key in keys[:_SHOWN]]
        if len(keys) > _SHOWN:
            differing.append(f"{len(keys) - _SHOWN} more settings differ")
    return ("other-settings", "they have " + "; ".join(differing)) if differing else None


def _of_another_kind(spec: RunSpec, study: Study) -> list[str]:
    """What of a run's algorithm and task is not as the study has it."""
    task = study.tasks[spec.task]
    asked = {_ALGORITHM: study.algorithm, "suite": task.suite, "reward_scale": task.reward_scale}
    there = {_ALGORITHM: spec.algorithm, "suite": spec.suite, "reward_scale": spec.reward_scale}
    return [f"{key} = {_shown(there[key])}, the study has {_shown(asked[key])}" for key in asked if there[key] != asked[key]]


def _of_no_size(spec: RunSpec, study: Study, sizes: Sizes) -> tuple[str, str]:
    """Why a run that is of none of the study's sizes is left out: a code and a reason."""
    differing = _of_another_kind(spec, study)
    if not differing:
        own = ", ".join(f"{key} = {_shown(spec.settings.get(key))}" for key in sizes.keys)
        differing = [f"{own}; the study's sizes have {sizes.described()}"]
    return "other-settings", "they have " + "; ".join(differing)


def _between_sizes(of_size: Mapping[str, Mapping[str, RunSpec]], making: Sequence[str]) -> list[RunWarning]:
    """That a setting which decides a curve differs between sizes though it is none of those that make them."""
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    settings = {name: [_settings(spec) for spec in specs.values()] for name, specs in of_size.items() if specs}
    for key in sorted(
        {key for runs in settings.values() for one in runs for key in one if decides(key) or key in (_ALGORITHM, _REWARD_SCALE)}
    ):
        for name, runs in settings.items():
            values[key][name] = {"none" if one.get(key) is None else as_text(one[key]) for one in runs}
    own = {key for key in values if key.endswith(tuple(f"{joint}{one}" for one in making for joint in (".", "/"))) or key in making}
    found = []
    for key, by_size in values.items():
        if key not in own and key != MODEL_SIZE and len({frozenset(one) for one in by_size.values()}) > 1:
            every = sorted(set().union(*by_size.values()), key=_order)
            found.append(_warning("settings-by-size", f"{key} differs between sizes ({_listed(every)})", key))
    return found


def _agreeing(store: RunStore, specs: Mapping[str, RunSpec]) -> list[RunWarning]:
    """What differs between tasks; raises UserError where runs that count as of one kind differ in a setting.

    A setting that decides a curve must be one within a task, any other one within a task, σ, B and η.
    """
    values: dict[str, dict[tuple[object, ...], set[str]]] = defaultdict(lambda: defaultdict(set))
    settings = {run_id: _settings(spec) for run_id, spec in specs.items()}
    for key in sorted({key for one in settings.values() for key in one}):
        wide = key in (_ALGORITHM, _REWARD_SCALE) or decides(key)
        for run_id, spec in specs.items():
            value = settings[run_id].get(key)
            place = (spec.task,) if wide else (spec.task, spec.utd, spec.batch_size, spec.learning_rate, spec.stage)
            values[key][place].add("none" if value is None else as_text(value))
    every = {key: sorted(set().union(*of_task.values()), key=_order) for key, of_task in values.items()}
    within = [key for key, of_task in values.items() if max(map(len, of_task.values())) > 1]
    if within:
        first = max(within, key=lambda key: (len(every[key]), key))
        found = "; ".join(f"{key} is {_listed(every[key])}" for key in [first, *(key for key in within if key != first)][:_SHOWN])
        example = next(value for value in every[first] if value != "none")
        raise UserError(
            f"{store.directory}: its runs differ in settings that decide a curve, so one law can't describe all of them: {found}; "
            f"choose with --where, e.g. `tdscale fit {store.directory} --where {first}={example}`"
        )
    across = [key for key, found in every.items() if len(found) > 1 and all(len(place) == 1 for place in values[key])]
    return [_warning("settings-by-task", f"{key} differs between tasks ({_listed(every[key])})", key) for key in across]


def _settings(spec: RunSpec) -> dict[str, Any]:
    """What `where` looks at. The keys of a log come first: an "algorithm" among them is its own word."""
    return {_ALGORITHM: spec.algorithm, _REWARD_SCALE: spec.reward_scale} | dict(spec.settings)


def _nothing(store: RunStore, where: Where, specs: Iterable[RunSpec]) -> str:
    settings = [_settings(spec) for spec in specs]
    unknown = where.unknown(settings)
    said = f"{store.directory}: no run has {' and '.join(where.texts)} (--where)"
    if unknown:
        return f"{said}: there is no {unknown[0]!r}; the runs have {', '.join(sorted({key for one in settings for key in one}))}"
    values = {key: sorted({as_text(one[key]) for one in settings if one.get(key) is not None}, key=_order) for key in where.keys}
    return f"{said}; there is {'; '.join(f'{key} {_listed(found, most=12)}' for key, found in values.items())}"


def _is_sweep(of_size: Mapping[str, Mapping[str, RunSpec]]) -> bool:
    places: dict[tuple[str, str, float], set[tuple[int, float]]] = defaultdict(set)
    for size, spec in ((size, spec) for size, specs in of_size.items() for spec in specs.values()):
        if spec.stage == "sweep":
            return False
        if spec.stage == "scaling":
            places[size, spec.task, spec.utd].add((spec.batch_size, spec.learning_rate))
    return any(len(pairs) > 1 for pairs in places.values())


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(settings)))
    return plain


def _order(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def _listed(values: Sequence[str], most: int = 6) -> str:
    more = f" … {len(values)} values" if len(values) > most else ""
    return ", ".join(values[:most]) + more


def _shown(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _warning(code: str, message: str, where: str) -> RunWarning:
    return RunWarning(code=code, message=message, where=where)
