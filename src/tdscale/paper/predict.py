"""What published laws say for a task at a σ."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tdscale.paper.laws import PublishedLaws
from tdscale.paper.use import scaling_laws
from tdscale.planning import round_batch

# σ of the paper's prediction tables
STANDARD_UTD = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """B, η, D and C of a task at a σ, by one set of laws. No interval is known for any of them.

    Attributes:
        batch_size: B* before rounding; batch_size_rounded: to a multiple of 16, as the authors ran it.
        threshold: J, normalised return, that D and C are for: the highest of the set.
        data: D_J in env steps, compute: C_J = 10·N·B*·σ·D_J in FLOPs; None where D_min of the task is not published.
        extrapolation: by what factor σ lies outside what was run for the data law; 1 inside.
    """

    laws: str
    task: str
    utd: float
    batch_size: float
    batch_size_rounded: int
    learning_rate: float
    threshold: float
    data: float | None
    compute: float | None
    extrapolation: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def predict(published: PublishedLaws, task: str, utd: float) -> Prediction:
    """What a set of laws says of one of its tasks at σ > 0."""
    laws = scaling_laws(published.name)
    assert laws.batch_size is not None
    assert laws.learning_rate is not None
    law, at = laws.data[-1], np.array([utd])
    data = law.predict(at, task)
    compute = laws.compute_for(at, data, task)
    batch_size = float(laws.batch_size.predict(at, task)[0])
    return Prediction(
        laws=published.name,
        task=task,
        utd=utd,
        batch_size=batch_size,
        batch_size_rounded=round_batch(batch_size, 16),
        learning_rate=float(laws.learning_rate.predict(at, task)[0]),
        threshold=law.threshold,
        data=float(data[0]) if np.isfinite(data[0]) else None,
        compute=float(compute[0]) if np.isfinite(compute[0]) else None,
        extrapolation=law.extrapolation(utd),
    )
