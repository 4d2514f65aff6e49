"""choice.json: the B and η that stage 2 and the baseline run at. Made once, before their runs start, and kept."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tdscale.errors import UserError
from tdscale.study import RunSpec, Study
from tdscale.whole_file import write_text

FILE_NAME = "choice.json"
Pair = tuple[int, float]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """B and η that were chosen for one task, for one algorithm with one set of settings.

    Attributes:
        sweep: fingerprint of the curves of the sweep that they were chosen by, and of how the study read them.
        scaling: (B, η) of stage 2, by σ.
        baseline: (B, η) of the baseline; None where there is none.
    """

    sweep: str
    scaling: Mapping[float, Pair] = field(default_factory=dict)
    baseline: Pair | None = None

    def allows(self, spec: RunSpec) -> bool:
        """Whether a run of stage 2 or of the baseline is at the B and η chosen for its σ; True where none were chosen for it."""
        chosen = self.scaling.get(spec.utd) if spec.stage == "scaling" else self.baseline if spec.stage == "baseline" else None
        return chosen is None or chosen == (spec.batch_size, spec.learning_rate)


def condition_id(study: Study, task: str) -> str:
    """What a choice holds for: the algorithm, the task, its reward scale, and the settings. 16 hexadecimal digits."""
    settings, _ = study.spec_settings
    values = [study.algorithm, study.tasks[task].suite, task, study.tasks[task].reward_scale, settings]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def read_choices(directory: Path) -> dict[str, Choice]:
    """Every choice of a study's folder, by `condition_id`. Raises UserError where the file is damaged."""
    path = directory / FILE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {condition: _choice(values) for condition, values in content["choices"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path}: is damaged, so the batch size and learning rate of stage 2 are not known; restore it from a backup, or remove it and "
            "call `tdscale run --rechoose`"
        ) from None


def write_choices(directory: Path, choices: Mapping[str, Choice]) -> None:
    """Write them all, whole or not at all. Raises UserError where the folder can't be written."""
    content = {
        condition: {
            "sweep": choice.sweep,
            "scaling": [{"utd": utd, "batch_size": b, "learning_rate": rate} for utd, (b, rate) in sorted(choice.scaling.items())],
            "baseline": None if choice.baseline is None else {"batch_size": choice.baseline[0], "learning_rate": choice.baseline[1]},
        }
        for condition, choice in choices.items()
    }
    write_text(directory / FILE_NAME, json.dumps({"schema": 1, "choices": content}, indent=1, sort_keys=True) + "\n")


def _choice(values: Mapping[str, object]) -> Choice:
    def pair(one: object) -> Pair:
        assert isinstance(one, dict)
        return int(one["batch_size"]), float(one["learning_rate"])

    scaling, baseline = values["scaling"], values["baseline"]
    if not isinstance(scaling, list):
        raise TypeError("scaling")
    return Choice(
        sweep=str(values["sweep"]),
        scaling={float(one["utd"]): pair(one) for one in scaling},
        baseline=None if baseline is None else pair(baseline),
    )
