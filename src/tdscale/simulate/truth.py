"""Truths to simulate: D_J(σ) at the best B and η, the laws of those, and how D rises away from them."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Shape = Literal["offset", "power", "broken", "minimum", "task-alphas"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

# D_min of the paper's Gym tasks (Table 2), here at the reference threshold
GYM_TASKS = {"Ant-v4": 2.7e5, "HalfCheetah-v4": 7.8e4, "Humanoid-v4": 1.8e5, "Walker2d-v4": 1.7e5}


@dataclass(frozen=True, kw_only=True)
class Bowl:
    """A hyperparameter's law best(σ) = coefficient·(σ^exponent + offset), and how log D rises with the squared log distance from it.

    Attributes:
        coefficient: best value at σ = 1, the offset apart, where a task has none of its own in `coefficients`.
        exponent: −α of equation 4.6 or 4.7.
        offset: B_min over the coefficient (equations D.2, D.3).
        curvature: of log D: curvature·log²(value/best). On dmc_sweep it is about 0.06 for B, 0.1 for η; 0.1 doubles D a factor of 14 away.
    """

    coefficient: float
    exponent: float
    curvature: float = 0.1
    coefficients: Mapping[str, float] = field(default_factory=dict)
    offset: float = 0.0

    def best(self, task: str, utd: ArrayLike) -> Floats:
        """Best value at σ of shape (n,): shape (n,)."""
        return self.coefficients.get(task, self.coefficient) * (np.asarray(utd, dtype=np.float64) ** self.exponent + self.offset)

    def excess(self, task: str, utd: ArrayLike, value: ArrayLike) -> Floats:
        """Rise of log D at a value, of broadcasting shapes."""
        return self.curvature * np.log(np.asarray(value, dtype=np.float64) / self.best(task, utd)) ** 2


@dataclass(frozen=True, kw_only=True)
class Truth(ABC):
    """What a sweep is simulated from.

    D_J is by definition the env step at which the mean curve over infinitely many seeds reaches J: what the procedure
    (mean over seeds, then the crossing) tends to. Simulated curves have exactly this mean.

    Attributes:
        tasks: names.
        plateau: return that the mean over seeds tends to, normalised; a J at or above it is never reached.
        batch_size, learning_rate: B*(σ), η*(σ) and the bowl around them.
    """

    tasks: tuple[str, ...] = ()
    plateau: float = 900.0
    batch_size: Bowl = Bowl(coefficient=400.0, exponent=-0.33, curvature=0.06)
    learning_rate: Bowl = Bowl(coefficient=4e-4, exponent=-0.30)

    @abstractmethod
    def log_best_data(self, task: str, utd: Floats, thresholds: Floats) -> Floats:
        """log D_J at B*(σ), η*(σ) for σ of shape (n_utds,) and J of shape (n_thresholds,): shape (n_utds, n_thresholds)."""

    def data(
        self,
        task: str,
        utd: ArrayLike,
        thresholds: ArrayLike,
        *,
        batch_size: ArrayLike | None = None,
        learning_rate: ArrayLike | None = None,
    ) -> Floats:
        """True D_J in env steps.

        Args:
            task: its name.
            utd: σ, shape (n_utds,).
            thresholds: J, shape (n_thresholds,), normalised return.
            batch_size, learning_rate: what the runs use, one value or one for each σ; None = the best.

        Returns:
            Shape (n_utds, n_thresholds); infinity where the mean curve never reaches J.
        """
        ratios, levels = np.atleast_1d(np.asarray(utd, dtype=np.float64)), np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
        reached = levels < self.plateau
        log_data = np.full((len(ratios), len(levels)), np.inf)
        log_data[:, reached] = self.log_best_data(task, ratios, levels[reached])
        for bowl, value in ((self.batch_size, batch_size), (self.learning_rate, learning_rate)):
            if value is not None:
                log_data += bowl.excess(task, ratios, value)[:, None]
        return np.asarray(np.exp(log_data))

    def effort(self, thresholds: Floats) -> Floats:
        """How far up the way to the plateau J lies, as −log(1 − J/plateau): an exponential curve's time."""
        return np.asarray(-np.log1p(-thresholds / self.plateau))


@dataclass(frozen=True, kw_only=True)
class LawTruth(Truth):
    """D_J(σ) = D_min[task]·(1 + (σ/β)^(−α)), its parameters smooth in J, or a law outside this family.

    With r = log(effort(J)/effort(reference)): D_min(J) = D_min·e^(data_growth·r), β(J) = β·e^(beta_growth·r),
    α(J) = α + alpha_growth·r. The defaults are near the published Gym runs' from J = 300 to 800.

    Attributes:
        d_min: D_min at the reference threshold, env steps, by task.
        alpha, beta: there.
        shape: "offset", the law above; "power", c·σ^(−α), equal to the offset law's D at σ = β; "broken", a power law
            of exponent 1.5·α below σ = `turn` and α/4 above it, equal to 2·D_min at `turn`; "minimum", the offset law
            plus D_min·(σ/turn)^0.7, so that D rises again at large σ; "task-alphas", the offset law with a factor on α for each task, from
            e^(−spread) to e^spread.
        turn: σ of the break, or where the rise has reached D_min. None = 2 for "broken", 16 for "minimum".
        spread: of the tasks' log α, for "task-alphas".
        tilts: a turn of log D for each e-fold of σ above `beta`, by task; none for those left out. Published tasks differ by about 0.1.
        roughness: sd of what no law explains: a shift of log D for each (task, σ), always the same for the same pair. gym_ours has
            about 0.1 at most.
        reference: the threshold J that d_min, alpha, beta are meant at.
    """

    d_min: Mapping[str, float] = field(default_factory=lambda: dict(GYM_TASKS))
    alpha: float = 0.7
    beta: float = 2.0
    shape: Shape = "offset"
    turn: float | None = None
    spread: float = 0.35
    tilts: Mapping[str, float] = field(default_factory=dict)
    roughness: float = 0.0
    reference: float = 800.0
    data_growth: float = 0.7
    beta_growth: float = 0.7
    alpha_growth: float = -0.1

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"shape is {self.shape!r}; it must be one of {', '.join(SHAPES)}")
        if not 0 < self.reference < self.plateau:
            raise ValueError(f"reference is {self.reference:g}; it must lie between 0 and the plateau, {self.plateau:g}")
        object.__setattr__(self, "tasks", self.tasks or tuple(self.d_min))

    def parameters(self, task: str, thresholds: ArrayLike) -> dict[str, Floats]:
        """d_min (env steps), beta and alpha of a task at J of shape (n_thresholds,): each of that shape."""
        r = np.log(self.effort(np.asarray(thresholds, dtype=np.float64)) / self.effort(np.asarray(self.reference)))
        alpha = np.clip(self.alpha + self.alpha_growth * r, 0.05, None)
        if self.shape == "task-alphas":
            alpha = alpha * np.exp(np.linspace(-self.spread, self.spread, len(self.tasks))[self.tasks.index(task)])
        return {
            "d_min": self.d_min[task] * np.exp(self.data_growth * r),
            "beta": self.beta * np.exp(self.beta_growth * r),
            "alpha": alpha,
        }

    def log_best_data(self, task: str, utd: Floats, thresholds: Floats) -> Floats:
        """log D_J, shape (n_utds, n_thresholds)."""
        law = self.parameters(task, thresholds)
        log_utd = np.log(utd)[:, None]
        scale, alpha = np.log(law["d_min"]), law["alpha"]
        below = alpha * (np.log(law["beta"]) - log_utd)  # log of (σ/β)^(−α)
        if self.shape == "power":
            log_data = scale + np.log(2.0) + below
        elif self.shape == "broken":
            x = np.log(self.turn or 2.0) - log_utd
            # a smooth break: the slope goes from α/4 to 3α/2 over about a factor of 2 in σ
            log_data = scale + np.log(2.0) + alpha * (0.25 * x + 1.25 * (np.logaddexp(0.0, 4 * x) - np.log(2.0)) / 4)
        else:
            log_data = scale + np.logaddexp(0.0, below)
            if self.shape == "minimum":
                log_data = np.logaddexp(log_data, scale + 0.7 * (log_utd - np.log(self.turn or 16.0)))
        log_data = log_data + self.tilts.get(task, 0.0) * (log_utd - np.log(self.beta))
        if self.roughness:
            keys = [zlib.crc32(repr((task, float(value))).encode()) for value in utd]
            log_data = log_data + self.roughness * np.array([[np.random.default_rng(key).standard_normal()] for key in keys])
        # more return never needs less data
        order = np.argsort(thresholds)
        rising: Floats = np.empty_like(log_data)
        rising[:, order] = np.maximum.accumulate(log_data[:, order], axis=1)
        return rising


def random_truth(rng: np.random.Generator, shape: Shape = "offset", *, n_tasks: int = 4) -> LawTruth:
    """A truth drawn from what published sweeps make plausible: α 0.45 to 1.1, β 0.4 to 4, D_min over a factor of 10."""
    names = [f"task-{index + 1}" for index in range(n_tasks)]
    truth = LawTruth(
        d_min=dict(zip(names, map(float, np.exp(rng.uniform(np.log(4e4), np.log(4e5), n_tasks))), strict=True)),
        alpha=float(rng.uniform(0.45, 1.1)),
        beta=float(np.exp(rng.uniform(np.log(0.4), np.log(4.0)))),
        shape=shape,
        plateau=float(rng.uniform(870, 950)),
    )
    turns = {"broken": (1.0, 4.0), "minimum": (8.0, 32.0)}
    if shape not in turns:
        return truth
    low, high = turns[shape]
    return replace(truth, turn=float(np.exp(rng.uniform(np.log(low), np.log(high)))))
