"""Runs as what other programs take: keywords of Stable-Baselines3's and SBX's SAC, CleanRL's command line, a sweep of W&B, a study."""

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final

from tdscale.errors import UserError
from tdscale.running.suggestions import Suggestion
from tdscale.study import SACSettings, Study
from tdscale.study.toml import parse_study, study_to_toml

_LARGEST_FREQUENCY = 16  # env steps between two blocks of updates
_SAME = 1e-6  # relative: a UTD ratio that is printed with ten digits is the ratio it was


@dataclass(frozen=True, kw_only=True)
class Export:
    """Runs in another program's terms.

    Attributes:
        text: a file's content, or lines for a shell.
        content: the same as JSON types.
        notes: what the program can't express, or does otherwise.
    """

    text: str
    content: Any
    notes: tuple[str, ...] = ()


def blocks(utd: float) -> tuple[int, int]:
    """`train_freq` and `gradient_steps` whose ratio is σ: for σ < 1 as 1/4 it is (4, 1), for 6 (1, 6), for 1.5 (2, 3).

    Raises:
        UserError: where no `train_freq` up to 16 gives σ.
    """
    ratio = Fraction(utd).limit_denominator(_LARGEST_FREQUENCY)
    if ratio <= 0 or not math.isclose(float(ratio), utd, rel_tol=_SAME):
        near = f"{ratio}" if ratio > 0 else f"1/{_LARGEST_FREQUENCY}"
        raise UserError(
            f"a UTD ratio of {utd:.4g} is no gradient_steps/train_freq with train_freq up to {_LARGEST_FREQUENCY}; --utd {near} is near it"
        )
    return ratio.denominator, ratio.numerator


def export(runs: Sequence[Suggestion], to: str, study: Study | None) -> Export:
    """The runs as `to` takes them.

    Args:
        runs: what to run.
        to: a key of `FORMATS`.
        study: theirs, whose settings go along where the program has them; None for published laws.

    Raises:
        UserError: where the program can't run them.
    """
    if not runs:
        raise UserError("there are no runs to export")
    return FORMATS[to](runs, study)


def _settings(study: Study | None) -> tuple[SACSettings | None, tuple[str, ...]]:
    """Of the study's SAC; None, and a sentence, where they are not known."""
    if study is not None and study.algorithm == "sac" and study.sweep is not None and not study.has_custom_trainer:
        found = SACSettings(**{key: value for key, value in study.settings.items() if key in SACSettings.model_fields})
        return found, ()
    if study is not None and study.algorithm != "sac":
        return None, (f"the laws are of {study.algorithm}, this is SAC: its best B and η may differ",)
    return None, ("networks and other settings of the runs behind the laws are not known here: the program's defaults are left",)


def _keywords(run: Suggestion, settings: SACSettings | None) -> dict[str, Any]:
    frequency, steps = blocks(run.utd)
    found: dict[str, Any] = {
        "learning_rate": run.learning_rate,
        "batch_size": run.batch_size,
        "train_freq": frequency,
        "gradient_steps": steps,
        "seed": run.seed,
    }
    if settings is not None:
        found |= {
            "learning_starts": settings.warm_up,
            "buffer_size": settings.replay_capacity,
            "gamma": settings.discount,
            "tau": settings.target_rate,
            "ent_coef": f"auto_{settings.initial_temperature:g}",
            "policy_kwargs": {"net_arch": list(settings.hidden_sizes)},
        }
    return found


def _stable_baselines(runs: Sequence[Suggestion], study: Study | None) -> Export:
    settings, notes = _settings(study)
    if settings is not None and settings.actor_updates == "per-env-step" and any(blocks(run.utd)[1] > 1 for run in runs):
        notes += ("SB3 updates the actor with every critic update, the study once per env step; SBX's policy_delay can do that",)
    return _python(runs, "stable_baselines3", [_keywords(run, settings) for run in runs], notes)


def _sbx(runs: Sequence[Suggestion], study: Study | None) -> Export:
    settings, notes = _settings(study)
    keywords = [_keywords(run, settings) for run in runs]
    for run, found in zip(runs, keywords, strict=True):
        found["qf_learning_rate"] = run.learning_rate
        if settings is not None and settings.actor_updates == "per-env-step" and run.utd > 1:
            found["policy_delay"] = max(round(run.utd), 1)  # critic updates for each of the actor
            if not float(run.utd).is_integer():
                notes += ("policy_delay is a whole number: the actor is updated about, not exactly, once per env step",)
    return _python(runs, "sbx", keywords, tuple(dict.fromkeys(notes)))


def _python(runs: Sequence[Suggestion], package: str, keywords: Sequence[Mapping[str, Any]], notes: tuple[str, ...]) -> Export:
    """A script that trains each run, and its arguments as JSON types."""
    if any("/" not in run.task and "-v" not in run.task for run in runs):
        notes += ("a task that is no Gymnasium id has to be wrapped as one, e.g. by Shimmy",)
    lines, content = [f"from {package} import SAC", ""], []
    for run, found in zip(runs, keywords, strict=True):
        arguments = "".join(f"    {name}={value!r},\n" for name, value in found.items())
        lines.append(f'model = SAC(\n    "MlpPolicy",\n    {run.task!r},\n{arguments})\nmodel.learn(total_timesteps={run.stop_at})\n')
        content.append({"task": run.task, "keywords": dict(found), "total_timesteps": run.stop_at})
    return Export(text="\n".join(lines), content=content, notes=notes)


def _cleanrl(runs: Sequence[Suggestion], study: Study | None) -> Export:
    settings, notes = _settings(study)
    lines = []
    for run in runs:
        environments = round(1 / run.utd)
        if environments < 1 or not math.isclose(environments * run.utd, 1, rel_tol=_SAME):
            raise UserError(
                f"CleanRL's SAC does one critic update for each step of its environments, so that UTD {run.utd:.4g} can't be run; export "
                "--utd 1 (or 1/2, 1/3, …: parallel environments), or --to sb3"
            )
        options: dict[str, Any] = {
            "env-id": run.task,
            "seed": run.seed,
            "total-timesteps": math.ceil(run.stop_at / environments),
            "num-envs": environments,
            "batch-size": run.batch_size,
            "policy-lr": run.learning_rate,
            "q-lr": run.learning_rate,
            "policy-frequency": 1,
        }
        if settings is not None:
            options |= {
                "learning-starts": math.ceil(settings.warm_up / environments),
                "buffer-size": settings.replay_capacity,
                "gamma": settings.discount,
                "tau": settings.target_rate,
            }
            if tuple(settings.hidden_sizes) != (256, 256):
                notes += (f"CleanRL's networks are 2×256, the study's {list(settings.hidden_sizes)}: B and η may differ",)
        if environments > 1:
            notes += (f"UTD 1/{environments} by {environments} parallel environments: total-timesteps counts their common steps",)
        words = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items()]
        lines.append(" ".join(["python cleanrl/sac_continuous_action.py", *words]))
    notes += ("CleanRL can't express the entropy temperature at the start (1) or a target entropy other than −dim(A)",)
    return Export(text="\n".join(lines) + "\n", content=lines, notes=tuple(dict.fromkeys(notes)))


def _as_json(runs: Sequence[Suggestion], study: Study | None) -> Export:
    content = [asdict(run) for run in runs]
    return Export(text=json.dumps(content, indent=1, ensure_ascii=False) + "\n", content=content)


def _toml(runs: Sequence[Suggestion], study: Study | None) -> Export:
    """A study whose one cell for each task the runs are: they must share σ, B and η."""
    if study is None:
        raise UserError("--to toml: published laws name no scale of returns, so no study can be made of them; `tdscale start` makes one")
    cells = {(run.utd, run.batch_size, run.learning_rate) for run in runs}
    if len(cells) > 1:
        raise UserError("--to toml: a study has one grid for all tasks, and these runs differ in B or η; name one --task, or use --to json")
    (utd, batch, rate) = cells.pop()
    names = dict.fromkeys(run.task for run in runs)
    seeds = len({run.seed for run in runs})
    imported = study.sweep is None or study.has_custom_trainer
    values = study.model_dump(mode="json", exclude_none=True)
    kept = ("algorithm", "return_thresholds", "data_cost", "accounting", "model_size", "settings")
    made = {key: values[key] for key in kept if key in values and not (imported and key in ("settings", "accounting", "model_size"))}
    if study.has_custom_trainer:
        made |= {key: values[key] for key in ("command", "function", "trainer", "settings") if key in values}
    tasks = {name: dict(values["tasks"][name]) for name in names}
    for name, task in tasks.items():
        task.pop("env_steps", None)
        if task["suite"] == "imported" and not study.has_custom_trainer:
            task["suite"] = "gymnasium" if "-v" in name else "dm_control"
    made |= {
        "name": f"{study.name}-plan",
        "tasks": tasks,
        "sweep": {"utd": [utd], "batch_size": [batch], "learning_rate": [rate], "seeds": seeds},
        "limits": {"env_steps": max(run.stop_at for run in runs)},
    }
    text = study_to_toml(Study.model_validate_json(json.dumps(made), strict=True))
    parse_study(text)
    notes = ("the curves were imported: networks and other settings are tdscale's defaults, not those of the runs",) if imported else ()
    return Export(text=text, content=text, notes=notes)


def _wandb(runs: Sequence[Suggestion], study: Study | None) -> Export:
    """A sweep over the runs: a grid where they are one, else a sweep over whole configurations."""
    names = ("task", "utd", "batch_size", "learning_rate", "seed")
    columns = {name: list(dict.fromkeys(getattr(run, name) for run in runs)) for name in names}
    size = math.prod(len(values) for values in columns.values())
    notes: tuple[str, ...] = ()
    if size == len(runs):
        parameters: dict[str, Any] = {n: {"value": v[0]} if len(v) == 1 else {"values": v} for n, v in columns.items()}
        parameters["env_steps"] = {"value": max(run.stop_at for run in runs)}
    else:
        each = [{name: getattr(run, name) for name in names} | {"env_steps": run.stop_at} for run in runs]
        parameters = {"run": {"values": each}}
        notes = ("these runs are no grid: each is a value of the parameter run, a mapping; read wandb.config.run in your program",)
    content = {"program": "train.py", "method": "grid", "parameters": parameters}
    notes += ("program: put the name of yours in the place of train.py",)
    return Export(text="\n".join(_yaml(content)) + "\n", content=content, notes=notes)


def _yaml(value: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            lines += [f"{indent}{name}:", *_yaml(item, indent + "  ")]
        elif isinstance(item, list):
            lines.append(f"{indent}{name}:")
            for one in item:
                lines.append(f"{indent}- {_flow(one)}")
        else:
            lines.append(f"{indent}{name}: {_flow(item)}")
    return lines


def _flow(value: Any) -> str:
    """A value on one line. A float has a point: YAML 1.1 takes 1e-05 for text."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, float):
        mantissa, mark, exponent = repr(value).partition("e")
        return (mantissa if "." in mantissa else f"{mantissa}.0") + mark + exponent
    return json.dumps(value, ensure_ascii=False)


FORMATS: Final[Mapping[str, Callable[[Sequence[Suggestion], Study | None], Export]]] = {
    "sb3": _stable_baselines,
    "sbx": _sbx,
    "cleanrl": _cleanrl,
    "toml": _toml,
    "json": _as_json,
    "wandb-sweep": _wandb,
}
