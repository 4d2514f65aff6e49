"""Draw the curves of a sweep: what was run is a `SweepDesign`, what comes out are cells as the analysis takes them."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.runs.types import Cell
from tdscale.simulate.noise import NOISE, Noise, pace
from tdscale.simulate.truth import Truth
from tdscale.study import RunSpec, Stage

Floats = NDArray[np.float64]

# SAC on the paper's Gym tasks: the twin critics' parameters, the actor's, env steps before the first update
GYM_COSTS = {"critic_parameters": 1.5e5, "actor_parameters": 7.4e4, "warm_up": 5000.0}
# levels that tie env steps to progress, as shares of the plateau: an exponential curve's at equal ratios of time
_LEVELS = -np.expm1(-np.geomspace(0.01, 6.0, 100))


@dataclass(frozen=True, kw_only=True)
class SweepDesign:
    """One stage of a sweep.

    Attributes:
        utd: σ that are run.
        seeds: for each cell.
        stage: "scaling" and "baseline" measure D_J(σ), "sweep" chooses B and η.
        batch_size, learning_rate: grids, all combinations of them; None = the truth's best at each σ, B rounded to a multiple of
            `batch_multiple`.
        constant_utd: with no grids, the best B and η of this σ serve at every σ (the constant baseline).
        length: how long a cell runs, as a multiple of its true D at `top`; None = always to `env_steps`.
        top: the highest threshold of interest, normalised return.
        env_steps: limit on a run, for all tasks or by task; a cell that has not reached J by then is censored. None = no limit.
        log_interval: env steps between logged rows.
        first_seed: number of the first seed; other numbers are other seeds.
        costs: sizes of the networks, for `Cell.costs`.
    """

    utd: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    seeds: int = 5
    stage: Stage = "scaling"
    batch_size: tuple[int, ...] | None = None
    learning_rate: tuple[float, ...] | None = None
    constant_utd: float | None = None
    batch_multiple: int = 16
    length: float | None = 2.0
    top: float = 800.0
    env_steps: int | Mapping[str, int] | None = None
    log_interval: int = 1000
    first_seed: int = 0
    costs: Mapping[str, float] = field(default_factory=lambda: dict(GYM_COSTS))

    def __post_init__(self) -> None:
        if self.length is None and self.env_steps is None:
            raise ValueError("neither length nor env_steps is given; a run must end, e.g. length=2.0")
        if self.seeds < 1 or self.log_interval < 1:
            raise ValueError(f"seeds is {self.seeds}, log_interval {self.log_interval}; both must be 1 or above")

    def hyperparameters(self, truth: Truth, task: str, utd: float) -> list[tuple[int, float]]:
        """(B, η) of the cells at one task and σ."""
        at = self.constant_utd if self.constant_utd is not None else utd
        best_batch, best_rate = float(truth.batch_size.best(task, at)), float(truth.learning_rate.best(task, at))
        multiple = self.batch_multiple if best_batch > 2 * self.batch_multiple else 1
        batches = self.batch_size or (max(round(best_batch / multiple) * multiple, 1),)
        return [(batch, rate) for batch in batches for rate in self.learning_rate or (float(f"{best_rate:.3g}"),)]


@dataclass(frozen=True, kw_only=True)
class SimulatedCell:
    """A cell as its runs logged it.

    Attributes:
        spec: of the first seed.
        env_steps: shape (n_steps,).
        returns: shape (n_seeds, n_steps), normalised; those beyond a seed's rows are not part of its run.
        rows: shape (n_seeds,), how many rows each seed logged.
        diverged: shape (n_seeds,), whether the loss turned NaN after the last of them.
        costs: as in `Cell`.
    """

    spec: RunSpec
    env_steps: NDArray[np.int64]
    returns: Floats
    rows: NDArray[np.intp]
    diverged: NDArray[np.bool_]
    costs: Mapping[str, float]

    def cell(self) -> Cell:
        """What `load_cells` makes of these runs: the rows common to the seeds that last; diverged ones hold their last return."""
        lasting = self.rows[~self.diverged]
        n_steps = int(lasting.min() if lasting.size else max(self.rows.max(), 1))
        returns = self.returns[:, :n_steps].copy()
        for row, count in zip(returns, self.rows, strict=True):
            if count < n_steps:
                row[count:] = row[count - 1] if count else 0.0
        return Cell(
            spec=self.spec,
            seeds=self.spec.seed + np.arange(len(self.rows), dtype=np.int64),
            env_steps=self.env_steps[:n_steps],
            returns=returns,
            last_step=int(self.env_steps[n_steps - 1]),
            diverged=self.diverged,
            duplicate=np.zeros(len(self.rows), dtype=bool),
            costs=self.costs,
        )


def simulate_cells(
    truth: Truth, design: SweepDesign | Sequence[SweepDesign], noise: Noise | str = "medium", *, seed: int = 0
) -> list[Cell]:
    """Cells of a sweep, ready for `fit_laws`.

    Args:
        truth: what D_J is.
        design: one stage, or several.
        noise: its sizes, or the name of a regime of `NOISE`.
        seed: of the random draws. A run's curve depends on it, on the run's spec and on the truth, not on the other cells or
            on how many seeds there are.
    """
    return [simulated.cell() for simulated in simulate_runs(truth, design, noise, seed=seed)]


def simulate_cell(
    truth: Truth,
    design: SweepDesign,
    place: tuple[str, float],
    hyperparameters: tuple[int, float],
    noise: Noise | str = "medium",
    *,
    seed: int = 0,
) -> Cell:
    """One cell of a sweep, the same as `simulate_cells` draws it.

    Args:
        truth, noise, seed: as for `simulate_cells`.
        design: seeds, stage and length; its grids are not used.
        place: task and σ.
        hyperparameters: B and η.
    """
    return _simulated_cell(truth, design, noise_of(noise), *place, *hyperparameters, seed).cell()


def noise_of(noise: Noise | str) -> Noise:
    """Sizes of noise by their name in `NOISE`. Raises ValueError where there is none of that name."""
    if not isinstance(noise, str):
        return noise
    if noise not in NOISE:
        raise ValueError(f"noise is {noise!r}; it must be one of {', '.join(NOISE)}")
    return NOISE[noise]


def simulate_runs(
    truth: Truth, design: SweepDesign | Sequence[SweepDesign], noise: Noise | str = "medium", *, seed: int = 0
) -> Iterator[SimulatedCell]:
    """The same before the seeds of a cell are brought to their common range. Raises ValueError for a noise without a name in `NOISE`."""
    noise = noise_of(noise)
    for stage in (design,) if isinstance(design, SweepDesign) else design:
        for task in truth.tasks:
            for utd in stage.utd:
                for batch_size, learning_rate in stage.hyperparameters(truth, task, utd):
                    yield _simulated_cell(truth, stage, noise, task, utd, batch_size, learning_rate, seed)


def _simulated_cell(
    truth: Truth, design: SweepDesign, noise: Noise, task: str, utd: float, batch_size: int, learning_rate: float, seed: int
) -> SimulatedCell:
    key = zlib.crc32(repr((task, float(utd), batch_size, learning_rate, design.stage, design.first_seed)).encode())
    levels = truth.plateau * _LEVELS
    hyperparameters: dict[str, Any] = {"batch_size": batch_size, "learning_rate": learning_rate}
    data = truth.data(task, [utd], np.append(levels, design.top), **hyperparameters)[0]
    steps = _env_steps(design, task, float(data[-1]))
    progress = _progress(noise, steps.astype(np.float64), data[:-1])
    seeds = noise.seeds(design.seeds, np.random.default_rng([seed, key, 0]))
    own = pace(np.minimum(progress, seeds[:, 3:4]), seeds[:, 0:1], seeds[:, 1:2])
    level = truth.plateau * seeds[:, 2:3] * -np.expm1(-own)
    returns = level + noise.fluctuations(level, np.random.default_rng([seed, key, 1])) if noise.fluctuation else level
    ends = np.maximum((seeds[:, 4] * len(steps)).astype(np.intp), 1)
    alive = np.searchsorted(progress, seeds[:, 3], side="right")
    spec = RunSpec(
        algorithm="sac",
        suite="imported",
        task=task,
        utd=utd,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=design.first_seed,
        stage=design.stage,
        settings={"origin": "simulated"},
    )
    return SimulatedCell(
        spec=spec, env_steps=steps, returns=returns, rows=np.minimum(ends, alive), diverged=alive < ends, costs=dict(design.costs)
    )


def _env_steps(design: SweepDesign, task: str, top: float) -> NDArray[np.int64]:
    """Logged env steps, shape (n_steps,); `top` is the cell's D at the highest threshold of interest."""
    ends = [design.length * top] if design.length is not None and np.isfinite(top) else []
    limit = design.env_steps.get(task) if isinstance(design.env_steps, Mapping) else design.env_steps
    if limit is not None:
        ends.append(float(limit))
    if not ends:
        raise ValueError(f"top is {design.top:g}, which is never reached, so a run would never end; give env_steps")
    count = max(int(min(ends) // design.log_interval), 2)
    return design.log_interval * np.arange(1, count + 1, dtype=np.int64)


def _progress(noise: Noise, steps: Floats, data: Floats) -> Floats:
    """Progress q(t) at env steps t, so that the mean over seeds reaches each level at the true D there; in proportion beyond the last."""
    progress = noise.progress(_LEVELS)
    known = np.isfinite(progress) & np.isfinite(data)
    q, t = np.concatenate([[0.0], progress[known]]), np.concatenate([[0.0], data[known]])
    return np.asarray(np.where(steps <= t[-1], np.interp(steps, t, q), q[-1] * steps / t[-1]))
