"""What the user's trainer reports of a run in a JSON file, and the compute that is counted from it (docs/method.md)."""

import json
from math import isfinite
from pathlib import Path
from typing import Any

from tdscale.running.trainers.trainer import CustomTrainer
from tdscale.study import RunSpec

_WHOLE = (
    *("critic_parameters", "actor_parameters", "critic_update_flops", "actor_update_flops"),
    *("critic_updates", "actor_updates", "env_steps"),
)
_SECONDS = ("env_seconds", "update_seconds")
KNOWN = (*_WHOLE, *_SECONDS, "versions")
_MAX_BYTES = 1 << 16


def read_report(path: Path) -> tuple[dict[str, Any], str | None]:
    """The entries of a report that can be used, and what is wrong with it, in one sentence, or None. {} where there is none."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}, f"{path.name}: is over 64 KiB, which is too much, and is ignored"
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{path.name}: is ignored, because it is not JSON ({str(error).splitlines()[0][:80]})"
    return checked_report(content, path.name)


def checked_report(content: Any, where: str) -> tuple[dict[str, Any], str | None]:
    """As `read_report`, of what was read."""
    if not isinstance(content, dict):
        return {}, f"{where}: is not a JSON object"
    good: dict[str, Any] = {}
    problem = None
    for name, value in content.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0
        if name in _WHOLE and number and value == int(value):
            good[name] = int(value)
        elif name in _SECONDS and number:
            good[name] = float(value)
        elif name == "versions" and isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
            good[name] = {str(key)[:100]: text[:200] for key, text in value.items()}
        elif name in KNOWN:
            problem = (
                f"{where}: {name} is {str(value)[:40]!r}; it must be {'a table of texts' if name == 'versions' else 'a count, 0 or more'}"
            )
        else:
            problem = f"{where}: {str(name)[:40]!r} is not known; known are {', '.join(KNOWN)}"
    return good, problem


def due_updates(spec: RunSpec, env_steps: int) -> tuple[int, int]:
    """Updates of the critic and of the actor that are due up to an env step, by σ and the settings; those of resets are left out."""
    from tdscale.training.schedule import UpdateSchedule

    settings = spec.settings
    numbers = {name: settings.get(name) for name in ("warm_up", "environments", "critic_updates_per_actor_update")}
    warm_up, environments, every = (int(value) if isinstance(value, int | float) and value >= 0 else None for value in numbers.values())
    learning = max(env_steps - (warm_up or 0), 0)
    critic = UpdateSchedule(spec.utd, "per-critic-update").critic_updates_due(learning)
    actor = critic // (every or 1) if settings.get("actor_updates") == "per-critic-update" else learning // (environments or 1)
    return critic, actor


def run_costs(spec: RunSpec, report: dict[str, Any], env_steps: int, *, whole: bool, trainer: CustomTrainer) -> dict[str, Any]:
    """Updates, sizes, FLOPs and seconds of a run, as `runs.types.RunStatus` has them.

    What was reported holds. Else updates are those that σ asks for past the setting `warm_up`, an actor's as the setting
    `actor_updates` says; networks have the study's sizes; an update's FLOPs per transition are 8·N + 2·A and 6·(N + A) for
    critics of N and an actor of A parameters, and 10·N, as the paper has it, where nothing is known of an actor.

    Args:
        spec: the run.
        report: what the trainer said.
        env_steps: how far the run is taken.
        whole: whether the trainer counted its updates up to there.
        trainer: knows the study's sizes.
    """
    model_size = trainer.model_size_of(spec)
    critic_updates, due = due_updates(spec, env_steps)
    critic = report.get("critic_parameters", None if model_size is None else int(model_size))
    actor = report.get("actor_parameters", trainer.actor_size)
    actor_updates = due if actor else 0
    critic_flops = report.get("critic_update_flops")
    actor_flops = report.get("actor_update_flops")
    if critic_flops is None and critic is not None:
        critic_flops = 10 * critic if actor is None else 8 * critic + 2 * actor
    if actor_flops is None and critic_flops is not None:
        actor_flops = 6 * (critic + actor) if critic is not None and actor else 0
    if whole:
        critic_updates = report.get("critic_updates", critic_updates)
        actor_updates = report.get("actor_updates", actor_updates)
    flops = 0.0 if critic_flops is None else float(spec.batch_size) * (critic_updates * critic_flops + actor_updates * (actor_flops or 0))
    return {
        "critic_updates": critic_updates,
        "actor_updates": actor_updates,
        "flops": flops,
        "critic_parameters": critic,
        "actor_parameters": 0 if actor is None and critic is not None else actor,
        "critic_update_flops": critic_flops,
        "actor_update_flops": actor_flops,
        "env_seconds": report.get("env_seconds"),
        "update_seconds": report.get("update_seconds"),
    }
