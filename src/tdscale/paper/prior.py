"""What to begin with on a task that nobody ran: σ, B, η, and what it may take, from the published laws of other tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.stats import t as student

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import LEVEL, Estimate
from tdscale.errors import UserError
from tdscale.paper.predictions import predict, published_laws, scaling_laws
from tdscale.paper.published import PublishedLaws
from tdscale.planning import Prediction

# the set of laws of each algorithm, and the other one, which says how much tasks differ where its own look alike by chance
SETS: Final[Mapping[str, str]] = {"sac": "gym-committed", "bro": "dmc", "bro-minimal": "dmc"}
_OTHER: Final[Mapping[str, str]] = {"gym": "dmc", "gym-committed": "dmc", "dmc": "gym-committed", "dmc-committed": "gym-committed"}
NETWORKS: Final[Mapping[str, str]] = {
    "gym": "SAC, 2×256 networks, N = 1.5e5 parameters of the critics",
    "dmc": "BRO, critics of width 512 with two blocks, N = 4.92e6 parameters",
}
# Root mean square errors of log B*, log η* at the middle σ and of their exponents, of the procedure that the published laws were fitted
# by (docs/best_values.md, on simulated sweeps); of log D, of the published laws against the published curves (docs/benchmarks.md).
_ERRORS: Final[Mapping[str, tuple[float, float]]] = {"batch_size": (0.37, 0.198), "learning_rate": (0.232, 0.094), "data": (0.27, 0.0)}
# σ whose F = C + δ·D is at most this share above the least are as good to begin with
_FLAT = 0.05


@dataclass(frozen=True, kw_only=True)
class FirstSettings:
    """What to begin with on a task that nobody ran. Ranges hold a new task's own value with probability 0.8.

    Attributes:
        algorithm: asked for; laws: the published set that this rests on; tasks: its tasks; networks: what they were trained with.
        utd: σ to begin with, the least power of two in `utd_range` within the σ that were swept; utd_range: the cheapest σ of
            F = C + δ·D, mean over the tasks, and the σ that need at most 5 % more; data_cost: δ.
        batch_size, learning_rate: at that σ, B rounded to a multiple of 16; batch_size_range, learning_rate_range: as estimates.
        data, compute: D and C at that σ to the set's highest threshold, as estimates.
        seen: what each published task took there, by its own laws.
    """

    algorithm: str
    laws: str
    tasks: tuple[str, ...]
    networks: str
    utd: float
    utd_range: Estimate
    data_cost: float
    batch_size: int
    batch_size_range: Estimate
    learning_rate: float
    learning_rate_range: Estimate
    data: Estimate
    compute: Estimate
    seen: tuple[Prediction, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; estimates as {value, low, high, level}."""
        values = {key: value.to_dict() if isinstance(value, Estimate) else value for key, value in self.__dict__.items()}
        return values | {"tasks": list(self.tasks), "seen": [one.to_dict() for one in self.seen]}


def first_settings(algorithm: str, *, utd: float | None = None, without: str | None = None, laws: str | None = None) -> FirstSettings:
    """What the published laws of an algorithm say of a task that is not among theirs.

    Args:
        algorithm: a key of `SETS`.
        utd: σ to begin with; None for the least power of two among those that are cheap on the published tasks.
        without: a published task that is left out.
        laws: the set to rest on; None for the algorithm's.

    Raises:
        UserError: where no laws of the algorithm are published.
    """
    if algorithm not in SETS:
        partly = " (the paper's laws of PQL are illegible in part)" if algorithm.startswith("pql") else ""
        raise UserError(
            f"--algorithm: no laws of {algorithm!r} are published{partly}, so nothing says where to begin; there is {', '.join(SETS)}"
        )
    published = published_laws(laws or SETS[algorithm])
    tasks = tuple(task for task in published.tasks if task != without)
    cheapest = _cheapest(published, tasks)
    at = utd if utd is not None else _to_begin(published, cheapest)
    batch, rate, data = (new_task(published, quantity, at, tasks) for quantity in _ERRORS)
    return FirstSettings(
        algorithm=algorithm,
        laws=published.name,
        tasks=tasks,
        networks=NETWORKS[published.name.removesuffix("-committed")],
        utd=at,
        utd_range=cheapest,
        data_cost=published.data_cost,
        batch_size=max(int(16 * np.floor(batch.value / 16 + 0.5)), 16),
        batch_size_range=batch,
        learning_rate=float(f"{rate.value:.2g}"),
        learning_rate_range=rate,
        data=data,
        compute=_compute(published, at, batch, data),
        seen=tuple(predict(published, at, task=task) for task in tasks),
    )


def _to_begin(published: PublishedLaws, cheapest: Estimate) -> float:
    """The least power of two that needs at most 5 % more than the cheapest σ, within the σ at which B and η were swept."""
    return float(np.clip(2 ** np.ceil(np.log2(cheapest.low) - 1e-9), *published.sweep_utd))


def new_task(published: PublishedLaws, quantity: str, utd: float, tasks: Sequence[str]) -> Estimate:
    """The 80 % predictive range of "batch_size", "learning_rate" or "data" at σ, of a task beside `tasks` (docs/equations.md, "New task").

    log values of tasks are exchangeable: mean ± t·√(s²·(1 + 1/n) + e²). s² is their variance, or that pooled over both algorithms' tasks
    about each one's mean where that is larger: few tasks look alike by chance, and a narrow grid makes them. t has the degrees of freedom
    of the s² taken; e is the error of the laws themselves.
    """
    own = _logs(published, quantity, utd, tasks)
    other = published_laws(_OTHER[published.name])
    squares = [((values - values.mean()) ** 2).sum() for values in (own, _logs(other, quantity, utd, other.tasks))]
    counts = [len(own) - 1, len(_logs(other, quantity, utd, other.tasks)) - 1]
    spreads = [(squares[0] / counts[0], counts[0]), (sum(squares) / sum(counts), sum(counts))]
    variance, freedom = max(spreads)
    error, slope = _ERRORS[quantity]
    middle = float(np.sqrt(np.prod(published.sweep_utd)))
    doubt = error**2 + (slope * np.log(utd / middle)) ** 2
    half = float(student.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance * (1 + 1 / len(own)) + doubt))
    mean = float(own.mean())
    return Estimate(*(float(np.exp(mean + sign * half)) for sign in (0, -1, 1)))


def _logs(published: PublishedLaws, quantity: str, utd: float, tasks: Sequence[str]) -> Floats:
    """log of B*(σ), η*(σ) or D(σ) of each task of which it is known."""
    laws = scaling_laws(published.name)
    law = {"batch_size": laws.batch_size, "learning_rate": laws.learning_rate, "data": laws.data[-1]}[quantity]
    assert law is not None
    values = np.log([law.predict([utd], task)[0] for task in tasks])
    return np.asarray(values[np.isfinite(values)])


def _compute(published: PublishedLaws, utd: float, batch: Estimate, data: Estimate) -> Estimate:
    """C = 10·N·B·σ·D of a new task: the spreads of log B and log D add as independent ones."""
    centre = np.log(10 * published.model_size * batch.value * utd * data.value)
    half = float(np.hypot(np.log(batch.high / batch.value), np.log(data.high / data.value)))
    return Estimate(*(float(np.exp(centre + sign * half)) for sign in (0, -1, 1)))


def _cheapest(published: PublishedLaws, tasks: Sequence[str]) -> Estimate:
    """The σ of least F = C + δ·D within those that were run, and the ends of what needs at most 5 % more: geometric means over tasks."""
    laws = scaling_laws(published.name)
    utd = np.geomspace(published.utd[0], published.utd[-1], 401)
    found = []
    for task in tasks:
        data = laws.data[-1].predict(utd, task)
        total = laws.compute_for(utd, data, task) + published.data_cost * data
        if np.isfinite(total).all():
            good = utd[total <= (1 + _FLAT) * total.min()]
            found.append((float(utd[np.argmin(total)]), float(good[0]), float(good[-1])))
    value, low, high = np.exp(np.log(found).mean(axis=0))
    return Estimate(float(value), float(low), float(high))
