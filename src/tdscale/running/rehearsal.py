"""Rehearse a sweep before it is run: simulate it with several numbers of seeds, fit each, and see how precise the answers would be."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.analysis.fitted_laws import PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.simulate import Bowl, LawTruth, Noise, SweepDesign, Truth, simulate_cells
from tdscale.study import Aggregate, Study

# how far outside the σ that are run D is estimated
BEYOND = 2.0


@dataclass(frozen=True, kw_only=True)
class FittedTruth(Truth):
    """Laws that were fitted, taken as the truth; D_J at a J between two thresholds lies between their laws."""

    laws: ScalingLaws

    @classmethod
    def of(cls, laws: ScalingLaws) -> "FittedTruth":
        """The laws with their B*(σ), η*(σ). Raises ValueError where there is no data law."""
        if not laws.data:
            raise ValueError("there is no data law to simulate from")
        bowls = {name: _bowl(law) for name in ("batch_size", "learning_rate") if (law := getattr(laws, name)) is not None}
        return cls(laws=laws, tasks=laws.data[-1].tasks, plateau=1.125 * laws.data[-1].threshold, **bowls)

    def log_best_data(self, task: str, utd: Floats, thresholds: Floats) -> Floats:
        """log D_J, shape (n_utds, n_thresholds); beyond the fitted thresholds in proportion to the effort."""
        known = self.effort(np.array([law.threshold for law in self.laws.data]))
        log_data = np.maximum.accumulate([np.log(law.predict(utd, task)) for law in self.laws.data], axis=0)
        x, knots = np.log(self.effort(thresholds)), np.log(known)
        outside = np.minimum(x - knots[0], 0.0) + np.maximum(x - knots[-1], 0.0)
        return np.asarray(np.stack([np.interp(x, knots, column) for column in log_data.T]) + outside)


def _bowl(law: PowerLaw) -> Bowl:
    coefficients = dict(zip(law.tasks, map(float, law.coefficients), strict=True))
    offset = 0.0 if law.offset is None else law.offset.ratio
    return Bowl(coefficient=float(law.predict([1.0])[0]) / (1 + offset), exponent=law.exponent, coefficients=coefficients, offset=offset)


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How well a quantity is known after a sweep, median over the simulated ones.

    Attributes:
        half_width: half the 80 % interval's width; of log D and log σ*, so that e^half_width is the factor up and down. Infinite
            where most sweeps leave the quantity open, as σ* at an end of the σ that are run.
        error: |estimate − truth|, on the same scale; NaN where the truth is not defined.
    """

    half_width: float
    error: float

    @property
    def factor(self) -> float:
        """The factor up and down."""
        return float(np.exp(min(self.half_width, 700.0)))


@dataclass(frozen=True, kw_only=True)
class RehearsedSweep:
    """Cost and precision of a sweep with so many seeds per cell.

    Attributes:
        seeds, runs: for each cell, and in all.
        env_steps: of all runs, mean over the simulated sweeps.
        inside: D at a σ between those that are run; small, large: at a σ below and above them, of the mean task.
        alpha: α; best_utd: σ* at the highest threshold, None where δ is not given.
        unsettled: share of the simulated sweeps that give no law.
    """

    seeds: int
    runs: int
    env_steps: float
    inside: Precision
    small: Precision
    large: Precision
    alpha: Precision
    best_utd: Precision | None
    unsettled: float


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Answers to "how many seeds?". `utd` are the σ that `inside`, `small` and `large` are meant at; `threshold` is J."""

    threshold: float
    utd: tuple[float, float, float]
    repeats: int
    sweeps: tuple[RehearsedSweep, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def rehearse(
    truth: Truth,
    design: SweepDesign,
    options: FitOptions,
    seeds: Sequence[int],
    noise: Noise | str = "medium",
    *,
    repeats: int = 16,
    seed: int = 0,
    aggregate: Aggregate = "mean",
    on_sweep: Callable[[], None] = lambda: None,
) -> Rehearsal:
    """Simulate and fit `repeats` sweeps for each number of seeds.

    Args:
        truth: what D_J is taken to be.
        design: stage 2 of the sweep; its own number of seeds is not used.
        options: of the fits; D is estimated at the highest threshold.
        seeds: numbers of seeds a cell.
        noise: its sizes, or a regime's name.
        repeats: simulated sweeps for each number.
        seed: of the random draws.
        aggregate: what is taken over the seeds of a cell; the truth is that of the mean.
        on_sweep: called after each simulated sweep.
    """
    utd, asked = design.utd, asked_utd(design.utd)
    sweeps = []
    for count in seeds:
        fits: list[tuple[ScalingLaws, float, Truth]] = []
        for repeat in range(repeats):
            cells = simulate_cells(truth, replace(design, seeds=count), noise, seed=seed + repeat)
            cells = [replace(cell, aggregate=aggregate) for cell in cells]
            cost = float(sum(len(cell.seeds) * cell.last_step for cell in cells))
            fits.append((fit_laws(cells, options), cost, truth))
            on_sweep()
        sweeps.append(summarise(fits, options, count, len(truth.tasks) * len(utd), asked))
    return Rehearsal(threshold=options.thresholds[-1], utd=asked, repeats=repeats, sweeps=tuple(sweeps))


def asked_utd(ran: Sequence[float]) -> tuple[float, float, float]:
    """σ at which D is estimated: between the middle ones of those that are run, below them, and above."""
    utd = np.sort(ran)
    middle = len(utd) // 2
    between = float(np.sqrt(utd[middle - 1] * utd[middle])) if len(utd) > 1 else float(utd[0])
    return between, float(utd[0] / BEYOND), float(utd[-1] * BEYOND)


def summarise(
    fits: Sequence[tuple[ScalingLaws, float, Truth]],
    options: FitOptions,
    seeds: int,
    n_cells: int,
    asked: tuple[float, float, float],
) -> RehearsedSweep:
    """Cost and precision of sweeps that were simulated and fitted.

    Args:
        fits: laws and env steps of each, and what it was simulated from.
        options: of the fits.
        seeds, n_cells: of each sweep.
        asked: σ at which D is estimated (`asked_utd`).
    """
    top = options.thresholds[-1]
    settled = [(laws, truth) for laws, _, truth in fits if laws.data and laws.data[-1].threshold == top]
    data: list[list[tuple[float, float]]] = [[], [], []]
    alphas, best = [], []
    for laws, truth in settled:
        law = laws.data[-1]
        for column, utd in enumerate(asked):
            for task in truth.tasks:
                actual = float(truth.data(task, [utd], [top])[0, 0])
                data[column].append(_log_width(law.estimate(utd, task), actual))
        alpha = law.alpha()
        alphas.append(((alpha.high - alpha.low) / 2, abs(alpha.value - _alpha(truth, top))))
        if laws.budget is not None and laws.budget.points:
            point = laws.budget.points[-1]
            # at an end of the σ that are run, the best one is not known, however narrow its interval
            best.append((np.inf, float("nan")) if point.at_edge else _log_width(point.utd, float("nan")))
    return RehearsedSweep(
        seeds=seeds,
        runs=seeds * n_cells,
        env_steps=float(np.mean([cost for _, cost, _ in fits])),
        inside=_median(data[0]),
        small=_median(data[1]),
        large=_median(data[2]),
        alpha=_median(alphas),
        best_utd=_median(best) if options.data_cost is not None else None,
        unsettled=1 - len(settled) / len(fits),
    )


def _alpha(truth: Truth, threshold: float) -> float:
    if isinstance(truth, LawTruth) and truth.shape == "offset":
        return float(truth.parameters(truth.tasks[0], [threshold])["alpha"][0])
    return float("nan")


def _log_width(estimate: Estimate, actual: float) -> tuple[float, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log(estimate.high / estimate.low) / 2), float(abs(np.log(estimate.value / actual)))


def _median(pairs: Sequence[tuple[float, float]]) -> Precision:
    if not pairs:
        return Precision(half_width=float("nan"), error=float("nan"))
    width, error = (float(np.median(values)) for values in zip(*pairs, strict=True))
    return Precision(half_width=width, error=error)


def rehearsed_sweep(study: Study, laws: ScalingLaws | None) -> tuple[Truth, SweepDesign, list[str]]:
    """What to simulate for a study: its fitted laws where there are some, else laws like the published ones.

    Returns:
        The truth, stage 2 of the sweep, and in a sentence each what was assumed.

    Raises:
        ValueError: if the study neither names σ to run nor has laws.
    """
    limits = {task: study.env_step_limit(task) for task in study.tasks} if study.limits is not None else None
    assumed = []
    truth: Truth
    if laws is not None and laws.data:
        truth = FittedTruth.of(laws)
        assumed.append("the laws fitted to this study are the truth")
    else:
        slowest = {task: 0.5 * limits[task] for task in study.tasks} if limits else dict.fromkeys(study.tasks, 1e6)
        truth = _published_like(study, slowest)
        what = "half of limits.env_steps" if limits else "1e6 env steps"
        assumed.append(f"no laws are known yet: α = 0.7 and β = 2 as published for Gym, and D_min so that the slowest cell takes {what}")
    stage = study.scaling or study.sweep
    if stage is not None:
        utd = stage.utd
    elif laws is not None and laws.data:
        utd = tuple(map(float, laws.data[-1].utd))
    else:
        raise ValueError("has no UTD ratios to run ([scaling] utd) and no laws")
    top = study.return_thresholds[-1]
    length = 1.5 + (study.limits.margin if study.limits is not None else 0.1)
    fastest = min(float(truth.data(task, [max(utd)], [top])[0, 0]) for task in truth.tasks)
    design = SweepDesign(utd=utd, length=length, top=top, env_steps=limits, log_interval=int(np.clip(fastest * length / 100, 1, 1000)))
    return truth, design, assumed


def _published_like(study: Study, slowest: dict[str, float]) -> LawTruth:
    stage = study.scaling or study.sweep
    smallest = min(stage.utd) if stage is not None else 0.25
    top = study.return_thresholds[-1]
    truth = LawTruth(d_min=dict.fromkeys(study.tasks, 1.0), plateau=1.125 * top, reference=top)
    unit = float(truth.data(truth.tasks[0], [smallest], [top])[0, 0])
    return replace(truth, d_min={task: steps / unit for task, steps in slowest.items()})
