"""What validation found, as one object that says it in sentences and in JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tdscale.analysis.estimate import LEVEL
from tdscale.validation.baseline import BaselineRatio
from tdscale.validation.budget import HeldOutBudget
from tdscale.validation.held_out import HeldOut, as_percent, best_of
from tdscale.validation.predictors import PREDICTORS
from tdscale.validation.sizes import SIZE_PREDICTORS, HeldOutSize
from tdscale.validation.tasks import HeldOutTask

_NAMES = {
    "law": "the law",
    "power law": "a pure power law",
    "nearest σ": "the nearest σ's value",
    "constant": "a constant",
    "sum": "the sum form alone",
    "product": "the product form alone",
    "nearest": "the nearest point's value",
}


@dataclass(frozen=True)
class Coverage:
    """How many measured D lie in their interval, and of how many; `level` is how many should."""

    covered: int
    compared: int
    level: float = LEVEL

    @property
    def share(self) -> float:
        """NaN where nothing was compared."""
        return self.covered / self.compared if self.compared else float("nan")


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What could be checked; `skipped` says in a sentence each what could not and why.

    Attributes:
        held_out: σ at the ends left out.
        budget: without the two largest budgets (the largest, where four are too few), None where there are too few.
        baseline: (σ, D of constant over fitted hyperparameters) for each σ; `hyperparameters` says more.
        leave_one_out: each σ inside left out in turn.
        tasks: each task left out but for one σ.
        budgets: all held-out budgets.
        hyperparameters: constant against fitted B and η.
        sizes: of laws with model size, σ and N left out; then the fields for σ alone and tasks are empty.
        model_size: N at which the budgets and the baseline were checked; None for laws without model size.
    """

    held_out: tuple[HeldOut, ...]
    budget: HeldOutBudget | None
    baseline: tuple[tuple[float, float], ...]
    skipped: tuple[str, ...]
    leave_one_out: tuple[HeldOut, ...] = ()
    tasks: tuple[HeldOutTask, ...] = ()
    budgets: tuple[HeldOutBudget, ...] = ()
    hyperparameters: tuple[BaselineRatio, ...] = ()
    sizes: tuple[HeldOutSize, ...] = ()
    model_size: float | None = None

    @property
    def errors(self) -> dict[str, float]:
        """Mean error of each predictor over all that was left out at the ends and corners; empty where nothing was."""
        return mean_errors(self.held_out) or mean_errors(self._outer, SIZE_PREDICTORS)

    @property
    def _outer(self) -> tuple[HeldOutSize, ...]:
        return tuple(item for item in self.sizes if item.place != "inside")

    @property
    def coverage(self) -> dict[str, Coverage]:
        """Coverage of measured D: "extrapolated" (ends and corners left out), "interpolated" (inside), "new task"."""
        groups: dict[str, tuple[HeldOut | HeldOutTask | HeldOutSize, ...]] = {
            "extrapolated": (*self.held_out, *self._outer),
            "interpolated": (*self.leave_one_out, *(item for item in self.sizes if item.place == "inside")),
            "new task": self.tasks,
        }
        return {
            name: Coverage(sum(item.covered for item in items), sum(item.compared for item in items))
            for name, items in groups.items()
            if items
        }

    def best_sentence(self) -> str | None:
        """Which predictor does best outside the σ, or σ and N, that were fitted; None where nothing was left out."""
        errors = self.errors
        best = best_of(errors)
        if best is None:
            return None
        percent = as_percent(errors)
        others = [f"{_NAMES[name]} by {percent[name]:.0f} %" for name in errors if name != best and np.isfinite(errors[name])]
        axes = "the σ and N" if self.sizes else "the σ"
        text = f"beyond {axes} that were fitted, {_NAMES[best]} predicts best: it misses D by {percent[best]:.0f} % on average"
        return f"{text}; {', '.join(others)}" if others else text

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; what is not finite is null."""
        content = asdict(self)
        for key in ("held_out", "leave_one_out", "tasks", "sizes"):
            for item, entry in zip(getattr(self, key), content[key], strict=True):
                entry |= {"percent": item.percent, "best": item.best}
        content |= {
            "errors": self.errors,
            "percent": as_percent(self.errors),
            "best": best_of(self.errors),
            "best_sentence": self.best_sentence(),
            "coverage": {name: asdict(value) | {"share": value.share} for name, value in self.coverage.items()},
        }
        if self.model_size is None:  # a study without sizes has no keys for them
            del content["sizes"], content["model_size"]
        plain: dict[str, Any] = _plain(content)
        return plain


def mean_errors(items: Sequence[HeldOut | HeldOutSize], predictors: Sequence[str] = PREDICTORS) -> dict[str, float]:
    """By predictor, each item counting once."""
    if not items:
        return {}
    return {name: float(np.mean([item.errors.get(name, float("nan")) for item in items])) for name in predictors}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
