"""What is asked of which law, and on what scale."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.fitted_laws import DataLaw, PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws

# of B*(σ): rounding takes B no lower
LEAST_SHARE = 0.75
SURE = 0.8  # with this chance a plan's limit is met, where nothing else is asked for


@dataclass(frozen=True)
class Question:
    """What is asked of which law, and on what scale.

    Attributes:
        laws, law: of the study, at the threshold.
        task: None for the domain.
        cost: δ, None where it is not known.
        multiple: B is rounded to it.
        sure: with what chance the limit is to be met; 0.5 and below: by the estimate alone.
        any_utd: whether σ may be any number, not only one that trains as it stands.
    """

    laws: ScalingLaws
    law: DataLaw
    task: str | None
    cost: float | None
    multiple: int
    sure: float = SURE
    any_utd: bool = False

    @property
    def names(self) -> Sequence[str]:
        """The tasks asked about."""
        return [self.task] if self.task is not None else self.laws.tasks

    @property
    def batch_law(self) -> PowerLaw | None:
        """B*(σ); None where it is not known, of this task or at all."""
        return known(self.laws.batch_size, self.task)

    @property
    def rate_law(self) -> PowerLaw | None:
        """η*(σ), likewise."""
        return known(self.laws.learning_rate, self.task)

    def batch_size(self, utd: float) -> int | None:
        """B*(σ), rounded; None where there is no such law."""
        batch = self.batch_sizes(np.array([utd]))
        return None if batch is None else int(batch[0])

    def batch_sizes(self, utd: Floats) -> NDArray[np.int64] | None:
        """The same for σ of shape (n,)."""
        law = self.batch_law
        if law is None:
            return None
        return np.array([batch_to_run(float(wanted), self.multiple) for wanted in law.predict(utd, self.task)], dtype=np.int64)

    def compute(self, utd: ArrayLike, batch_size: ArrayLike | None, data: Floats) -> Floats:
        """C with this very B, for shapes that broadcast; NaN where it is not known."""
        if not self.laws.knows_compute:
            return np.full(np.shape(data), np.nan)
        batch = 1 if batch_size is None else batch_size
        return np.asarray(np.mean([self.laws.compute[name].compute_for(utd, batch, data) for name in self.names], axis=0))

    def smooth_compute(self, utd: Floats, data: Floats) -> Floats:
        """C at B*(σ), that no rounding makes jump; a B below the multiple is not to be had."""
        return self.laws.compute_for(utd, data, self.task, least_batch_size=self.multiple)

    def needs(self, utd: Floats, batch_size: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
        """D, C and F (NaN where not known) at σ and B of shape (n,): the point estimate first, draws behind, shape (1 + n_draws, n)."""
        data = np.concatenate([self.law.predict(utd, self.task)[None], self.law.predict_draws(utd, self.task)])
        compute = self.compute(utd, batch_size, data)
        return data, compute, compute + (self.cost if self.cost is not None else np.nan) * data


def known(law: PowerLaw | None, task: str | None) -> PowerLaw | None:
    """The law, if it knows the task, or (None) the domain; else None."""
    return law if law is not None and np.isfinite(law.predict([1.0], task)[0]) else None


def round_batch(batch_size: float, multiple: int) -> int:
    """B to the nearest multiple, at least one of them."""
    return max(int(multiple * np.floor(batch_size / multiple + 0.5)), multiple)


def batch_to_run(batch_size: float, multiple: int) -> int:
    """B as an answer names it: to the nearest multiple, or to the one above where the nearest is less than three quarters of B.

    Compute goes with B: rounded down by more, a small B would make its σ look cheap.
    """
    nearest = round_batch(batch_size, multiple)
    return nearest if nearest >= LEAST_SHARE * batch_size else nearest + multiple


def estimate(values: Floats) -> Estimate | None:
    """The estimate in row 0 with the draws behind it, shape (1 + n_draws,); None where it is not known."""
    return Estimate.from_draws(float(values[0]), values[1:]) if np.isfinite(values[0]) else None
