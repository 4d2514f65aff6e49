"""`PublishedLaws`: coefficients as somebody printed or committed them. No draws came with them, so no intervals."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tdscale.analysis.paper_law import beta_of_plain


@dataclass(frozen=True, kw_only=True)
class PublishedDataLaw:
    """D_J(σ) = D_min·(1 + (σ/β)^(−α)) (equation D.5).

    Attributes:
        threshold: J, normalised return.
        d_min: of the domain, env steps; tasks: of single tasks, those for which it is known.
    """

    threshold: float
    alpha: float
    beta: float
    d_min: float
    tasks: Mapping[str, float]

    @classmethod
    def of_plain(
        cls, threshold: float, coefficients: tuple[float, float, float], scale: float, medians: Mapping[str, float]
    ) -> "PublishedDataLaw":
        """From z = c + (σ/b)^(−a) with z = D/scale of the domain, D/median of a task: D_min = c·scale, β = b·c^(−1/a)."""
        a, b, c = coefficients
        d_min = {task: c * median for task, median in medians.items()}
        return cls(threshold=threshold, alpha=a, beta=beta_of_plain(a, b, c), d_min=c * scale, tasks=d_min)


@dataclass(frozen=True, kw_only=True)
class PublishedLaws:
    """One set of published laws.

    Attributes:
        name: by which it is asked for.
        title: algorithm and tasks, for people.
        source: where the numbers stand.
        batch_size, learning_rate: value at σ = 1 of each task; both laws have one exponent for all tasks.
        data: thresholds rising.
        sweep_utd: the least and the largest σ at which B and η were chosen.
        utd: σ that were run for the data law, rising.
        model_size: N, parameters; data_cost: δ, FLOPs per env step.
        budget: (coefficient, exponent) of σ*(F), where printed.
        notes: what a reader should know.
    """

    name: str
    title: str
    source: str
    batch_size: Mapping[str, float]
    batch_size_exponent: float
    learning_rate: Mapping[str, float]
    learning_rate_exponent: float
    data: tuple[PublishedDataLaw, ...]
    sweep_utd: tuple[float, float]
    utd: tuple[float, ...]
    model_size: float
    data_cost: float
    budget: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that B* and η* are known for."""
        return tuple(self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        budget = None if self.budget is None else dict(zip(("coefficient", "exponent"), self.budget, strict=True))
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "batch_size": {"exponent": self.batch_size_exponent, "tasks": dict(self.batch_size)},
            "learning_rate": {"exponent": self.learning_rate_exponent, "tasks": dict(self.learning_rate)},
            "data": [asdict(law) for law in self.data],
            "budget": budget,
            "sweep_utd": self.sweep_utd,
            "utd": self.utd,
            "model_size": self.model_size,
            "data_cost": self.data_cost,
            "notes": list(self.notes),
        }
