"""The question: `Study` and `RunSpec`, read from TOML and checked."""

from tdscale.study.custom import TrainerOptions, asks_for, custom_file, filled, is_custom, module_of
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
from tdscale.study.smoke import is_smoke, smoke_study, with_scale
from tdscale.study.spec import STAGES, Aggregate, CellJob, RunSpec, Stage, StopTarget
from tdscale.study.study import Checkpoints, Limits, Scaling, Study, Sweep, Task
from tdscale.study.toml import check_settings, parse_study, read_study, study_to_toml

__all__ = [
    "SETTINGS",
    "STAGES",
    "Aggregate",
    "BROMinimalSettings",
    "BROSettings",
    "CellJob",
    "Checkpoints",
    "Limits",
    "PQLDSettings",
    "PQLSettings",
    "Resets",
    "RunSpec",
    "SACSettings",
    "Scaling",
    "Stage",
    "StopTarget",
    "Study",
    "Sweep",
    "Task",
    "TrainerOptions",
    "TrainingSettings",
    "asks_for",
    "check_settings",
    "custom_file",
    "filled",
    "is_custom",
    "is_smoke",
    "module_of",
    "parse_study",
    "read_study",
    "smoke_study",
    "study_to_toml",
    "with_scale",
]
