"""`SizeFamily`: the laws of a study with sizes, as functions of σ and N both. `views.at_size` gives them at one N."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tdscale.analysis.compute import ComputeModel, ComputeUnit, Models
from tdscale.analysis.fitted_laws import PowerLaw
from tdscale.analysis.size_law import SizeLaw
from tdscale.analysis.sizes import Sizes

_PARTS = ("per_critic_update", "per_actor_update", "fixed_per_critic_update", "fixed_per_actor_update", "measured_data_cost")


@dataclass(frozen=True, kw_only=True)
class SizeFamily:
    """What `ScalingLaws` at one N are taken from.

    Attributes:
        sizes: names and N of the networks that were run.
        data: one law per threshold that could be fitted, thresholds rising.
        batch_size, learning_rate: as in `ScalingLaws`, with a part for N where the runs tell one.
        models: by size's name, the tasks' compute models in every unit that all sizes have.
        used_batch_size: by size's name and task, the σ that were run and the (rounded) B used there.
    """

    sizes: Sizes
    data: tuple[SizeLaw, ...]
    batch_size: PowerLaw | None
    learning_rate: PowerLaw | None
    models: Mapping[str, Mapping[ComputeUnit, Mapping[str, ComputeModel]]]
    used_batch_size: Mapping[str, Mapping[str, tuple[tuple[float, float], ...]]]

    @property
    def middle(self) -> float:
        """N of the size in the middle, the smaller one of two."""
        return self.sizes.model_size[(len(self.sizes.model_size) - 1) // 2]

    def models_at(self, model_size: float) -> Models:
        """Compute models at an N: those of its size where it was run, else each part as a power of N through the next two sizes."""
        names = self.sizes.names
        if (name := self.ran(model_size)) is not None:
            return self.models[name]
        log_sizes = np.log(self.sizes.model_size)
        left = int(np.clip(np.searchsorted(log_sizes, np.log(model_size)) - 1, 0, len(names) - 2))
        share = float((np.log(model_size) - log_sizes[left]) / (log_sizes[left + 1] - log_sizes[left]))
        low, high = self.models[names[left]], self.models[names[left + 1]]
        return {unit: {task: _between(low[unit][task], high[unit][task], share) for task in low[unit]} for unit in low}

    def ran(self, model_size: float) -> str | None:
        """The name of the size that has this N; None where none was run."""
        name = self.sizes.nearest(model_size)
        known = dict(zip(self.sizes.names, self.sizes.model_size, strict=True))[name]
        return name if abs(np.log(known / model_size)) < 1e-3 else None


def _between(low: ComputeModel, high: ComputeModel, share: float) -> ComputeModel:
    parts: dict[str, Any] = {}
    for part in _PARTS:
        values = getattr(low, part), getattr(high, part)
        if None in values:
            parts[part] = None
        elif min(values) > 0:
            parts[part] = float(values[0] ** (1 - share) * values[1] ** share)
        else:
            parts[part] = max(float((1 - share) * values[0] + share * values[1]), 0.0)
    return replace(low, scatter=max(low.scatter, high.scatter), **parts)
