"""The smoke size of a study: everything it does, cut down to seconds. Its numbers mean nothing."""

from collections.abc import Mapping, Sequence
from math import isfinite, log
from statistics import quantiles
from typing import Any

from tdscale.study.sizes import size_settings, update_weight
from tdscale.study.study import Study

MARK = " (smoke run: its numbers mean nothing)"
_ENV_STEPS = 2000  # at least two episodes of most tasks
_STEPS_OF_ALL = 520  # of parallel environments: two episodes of Franka-Push
_LEARNING = 50  # env steps past warm-up
_BATCH_SIZE = 64
_WIDTH = 32
_ENVIRONMENTS = 8
_RAISED = 16.0
_THRESHOLDS = (250.0, 500.0, 750.0)
_BEYOND = 100.0  # ranges of return, from low to high, that no run leaves


def is_smoke(study: Study) -> bool:
    """Whether a study is what `smoke_study` makes."""
    return study.name.endswith(MARK)


def smoke_study(study: Study) -> Study:
    """A study whose every stage takes seconds.

    It keeps the first task, two σ, B and η with one seed, and three σ with two seeds in stage 2. σ are those nearest to 1, η the
    middle ones, B the smallest ones, halved until they are at most 64. A run ends after 2000 env steps, 50 of them past warm-up,
    with one evaluation at its end; networks are at most 32 wide (settings called `hidden_sizes` or `…_width`). Parallel
    environments are at most 8, each of which makes 520 env steps, 50 of them past warm-up; σ is raised by as much as they are fewer,
    to 16 at most: a step of all of them makes as many updates as before. Of [sizes] the first and the last stay, the smaller of them at
    most 16 wide.

    Thresholds are 250, 500 and 750 on a scale that no return reaches: no cell of stage 1 stops early. `with_scale` gives the
    scale on which they are reached, from what stage 1 has seen.

    Raises:
        UserError: if the settings of a user's algorithm are not known (`Study.with_full_settings`).
    """
    # those of a custom trainer are not touched
    settings = {} if study.has_custom_trainer else next(iter(study.by_size().values())).full_settings
    assert study.sweep is not None
    assert study.limits is not None
    name, task = next(iter(study.tasks.items()))
    environments = min(settings.get("environments", 1), _ENVIRONMENTS)
    steps = min(study.env_step_limit(name), _ENV_STEPS if environments == 1 else _STEPS_OF_ALL * environments)
    fewer = max(settings.get("environments", 1) // _ENVIRONMENTS, 1)
    batch_size = _halved(sorted(study.sweep.batch_size)[:2])
    values: dict[str, Any] = study.model_dump(exclude={"tasks", "sweep", "scaling", "baseline", "limits"})
    values["name"] = study.name[: 200 - len(MARK)] + MARK
    values["return_thresholds"] = _THRESHOLDS
    reach = _BEYOND * (task.high - task.low)
    values["tasks"] = {name: task.model_copy(update={"low": task.low - reach, "high": task.high + reach, "env_steps": None})}
    values["sweep"] = study.sweep.model_copy(
        update={
            "utd": _near_one(study.sweep.utd, fewer, 2),
            "batch_size": batch_size,
            "learning_rate": _middle(study.sweep.learning_rate),
            "seeds": 1,
        }
    )
    if study.scaling is not None:
        values["scaling"] = study.scaling.model_copy(
            update={
                "utd": _near_one(study.scaling.utd, fewer, 3),
                "seeds": min(study.scaling.seeds, 2),
                "batch_multiple": max(batch_size),  # few sizes to compile for
            }
        )
    if study.baseline is not None:
        values["baseline"] = study.baseline.model_copy(update={"seeds": 1})
    values["limits"] = study.limits.model_copy(update={"env_steps": steps})
    if not study.has_custom_trainer:
        smaller = _smaller(settings, steps, _LEARNING * environments)
        making = {key for size in study.sizes.values() for key in size_settings(size)}
        values["settings"] = study.settings | {key: value for key, value in smaller.items() if key not in making}
    values["sizes"] = _two_sizes(study)
    return Study(**values)


def _two_sizes(study: Study) -> dict[str, dict[str, Any]]:
    """The first and the last size, whose networks stay different where they are cut; those of a custom trainer as they are."""
    names = list(dict.fromkeys([*study.sizes][:: max(len(study.sizes) - 1, 1)]))
    if study.has_custom_trainer:
        return {name: study.sizes[name] for name in names}
    settings = {name: one.full_settings for name, one in study.by_size().items() if name in names}
    order = sorted(names, key=lambda name: update_weight(settings[name], None))
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        widest = _WIDTH if name == order[-1] else _WIDTH // 2
        size = size_settings(study.sizes[name])
        size |= {key: value for key, value in _narrower(settings[name], widest).items() if key in size}
        if size not in found.values():
            found[name] = size
    return found


def with_scale(study: Study, returns: Mapping[str, Sequence[float]]) -> Study:
    """A smoke study whose thresholds lie from the lowest tenth to the median of the episode returns given, by task."""
    tasks = dict(study.tasks)
    for name, seen in returns.items():
        finite = [value for value in seen if isfinite(value)]
        if len(finite) < 2:
            continue
        tenths = quantiles(finite, n=10, method="inclusive")
        bottom, median = tenths[0], tenths[4]
        if median - bottom <= 1e-9 * abs(median):
            bottom = median - max(abs(median), 1.0)  # all alike: reached at once
        scale = (median - bottom) / (_THRESHOLDS[-1] - _THRESHOLDS[0])
        low = bottom - scale * _THRESHOLDS[0]
        tasks[name] = tasks[name].model_copy(update={"low": low, "high": low + 1000 * scale})
    return study.model_copy(update={"tasks": tasks})


def _smaller(settings: Mapping[str, Any], steps: int, learning: int) -> dict[str, Any]:
    smaller: dict[str, Any] = {
        "warm_up": max(steps - learning, steps // 2),
        "evaluation_interval": steps,
        "evaluation_episodes": 1,
        "diagnostics_interval": max(learning // 2, 1),
    }
    if "environments" in settings:
        smaller["environments"] = min(settings["environments"], _ENVIRONMENTS)
    return smaller | _narrower(settings, _WIDTH)


def _narrower(settings: Mapping[str, Any], widest: int) -> dict[str, Any]:
    """The widths of networks, at most so wide."""
    narrower: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "hidden_sizes":
            narrower[name] = [min(width, widest) for width in value]
        elif name.endswith("_width"):
            narrower[name] = min(value, widest)
    return narrower


def _near_one(utd: Sequence[float], factor: int, count: int) -> tuple[float, ...]:
    raised = {min(value * factor, max(value, _RAISED)) for value in utd}
    return tuple(sorted(sorted(raised, key=lambda value: (abs(log(value)), value))[:count]))


def _middle(values: Sequence[float]) -> tuple[float, ...]:
    start = max((len(values) - 2) // 2, 0)
    return tuple(sorted(values)[start : start + 2])


def _halved(sizes: Sequence[int]) -> tuple[int, ...]:
    while max(sizes) > _BATCH_SIZE:
        sizes = [size // 2 for size in sizes]
    return tuple(sorted({max(size, 1) for size in sizes}))
