"""Predictions against runs that the fit did not see (docs/validation.md): σ, N, tasks, budgets left out; tuned against constant B, η."""

from tdscale.validation.baseline import BaselineRatio
from tdscale.validation.budget import HeldOutBudget
from tdscale.validation.held_out import HeldOut, Side
from tdscale.validation.predictors import PREDICTORS
from tdscale.validation.result import Coverage, Validation
from tdscale.validation.sizes import SIZE_PREDICTORS, HeldOutSize
from tdscale.validation.tasks import HeldOutTask
from tdscale.validation.validate import validate

__all__ = [
    "PREDICTORS",
    "SIZE_PREDICTORS",
    "BaselineRatio",
    "Coverage",
    "HeldOut",
    "HeldOutBudget",
    "HeldOutSize",
    "HeldOutTask",
    "Side",
    "Validation",
    "validate",
]
