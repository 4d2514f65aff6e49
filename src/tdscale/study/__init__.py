"""The question: `Study` and `RunSpec`, read from TOML and checked."""

from tdscale.study.settings import (
    SETTINGS,
    BROMinimalSettings,
    BROSettings,
    PQLDSettings,
    PQLSettings,
    Resets,
    SACSettings,
    TrainingSettings,
)
from tdscale.study.spec import STAGES, RunSpec, Stage
from tdscale.study.study import Limits, Scaling, Study, Sweep, Task
from tdscale.study.toml import parse_study, read_study, study_to_toml

__all__ = [
    "SETTINGS",
    "STAGES",
    "BROMinimalSettings",
    "BROSettings",
    "Limits",
    "PQLDSettings",
    "PQLSettings",
    "Resets",
    "RunSpec",
    "SACSettings",
    "Scaling",
    "Stage",
    "Study",
    "Sweep",
    "Task",
    "TrainingSettings",
    "parse_study",
    "read_study",
    "study_to_toml",
]
