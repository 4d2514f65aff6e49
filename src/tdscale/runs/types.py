"""What the store keeps of a run, and what the analysis takes: plain arrays with names."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import printable
from tdscale.study import Aggregate, RunSpec

RunState = Literal["finished", "diverged", "failed"]

# Columns of curve.parquet. `env_step` is always there; a row where a column was not logged holds NaN.
ENV_STEP = "env_step"
RETURN = "return"
EVALUATION_RETURN = "evaluation_return"
DIAGNOSTICS = (
    "td_error_uniform",
    "td_error_newest",
    "td_error_validation",
    "critic_parameter_norm",
    "temperature",
    "critic_gradient_norm_squared_64",
    "critic_gradient_norm_squared_1024",
    "critic_dormant_share",
    "critic_feature_rank",
)
# a diagnostic, too; the layer's number follows, 0 the one next to the input: how many there are is the algorithm's
LAYER_NORM = "critic_parameter_norm_layer_"
COUNTS = ("critic_updates", "actor_updates", "flops")  # made and counted so far
MEASURES = ("success_4cm", "success_2cm", "goal_distance")  # of a task, at its episodes' ends
IMPORTED = ("critic_loss", "validation_critic_loss")
COLUMNS = (ENV_STEP, RETURN, EVALUATION_RETURN, *DIAGNOSTICS, *IMPORTED, *MEASURES, *COUNTS)
KNOWN_COLUMNS = f"{', '.join(COLUMNS)}, {LAYER_NORM}0, {LAYER_NORM}1, …"


def layer_of(column: str) -> int | None:
    """The layer whose norm a column holds; None if it is another column."""
    number = re.fullmatch(re.escape(LAYER_NORM) + "(0|[1-9][0-9]{0,2})", column)
    return int(number[1]) if number else None


def is_column(name: str) -> bool:
    """Whether a curve may have a column of this name."""
    return name in COLUMNS or layer_of(name) is not None


def is_diagnostic(name: str) -> bool:
    """Whether a column holds what a run logged beside its returns."""
    return name in DIAGNOSTICS or layer_of(name) is not None


def in_order(columns: Iterable[str]) -> tuple[str, ...]:
    """A curve's columns as the store keeps them: those of `COLUMNS`, then the layers' norms."""
    given = set(columns)
    return (*(name for name in COLUMNS if name in given), *sorted(given - set(COLUMNS), key=lambda name: layer_of(name) or 0))


@dataclass(frozen=True)
class RunWarning:
    """Something a person should know about the runs, which did not stop the work.

    Attributes:
        code: stable, for machines, for example "duplicate-seeds".
        message: one sentence.
        where: the run, cell or file it is about.
    """

    code: str
    message: str
    where: str

    def __post_init__(self) -> None:
        # names in logs may be any bytes
        object.__setattr__(self, "message", printable(self.message))


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How a run ended.

    Attributes:
        state: "finished"; "diverged" (its loss turned NaN: an outcome, it has not reached J within its limit); "failed"
            (an error of the environment or the machine: the run is missing).
        last_step: env steps done. A curve below J up to here says D_J > last_step.
        reason: one sentence, for "diverged" and "failed".
        critic_updates, actor_updates: counted, warm-up excluded.
        flops: of those updates (docs/method.md, accounting "counted").
        critic_parameters, actor_parameters: sizes of the trained networks (critics: the pair).
        critic_update_flops, actor_update_flops: of one update, per transition of its minibatch; None in old runs and imported ones.
        wall_seconds, env_seconds, update_seconds: measured; never part of a fingerprint.
        versions: of the libraries that shape the curve, recorded and not hashed.
        notes: what an importer or the engine wants remembered, for example {"duplicate_of": run_id}.
    """

    state: RunState
    last_step: int
    reason: str | None = None
    critic_updates: int = 0
    actor_updates: int = 0
    flops: float = 0.0
    critic_parameters: int | None = None
    actor_parameters: int | None = None
    critic_update_flops: int | None = None
    actor_update_flops: int | None = None
    wall_seconds: float | None = None
    env_seconds: float | None = None
    update_seconds: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run as it goes into the store: columns of equal length, `env_step` (int64, strictly rising) among them."""

    spec: RunSpec
    columns: Mapping[str, NDArray[Any]]
    status: RunStatus


@dataclass(frozen=True, kw_only=True)
class RunDiagnostics:
    """What a run logged beside its returns: diagnostics by name, columns of shape (n,) at `env_steps`, NaN where not logged.

    `size`: as of a `Cell`.
    """

    spec: RunSpec
    env_steps: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    size: str = ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """All seeds of one spec, on one grid of env steps, returns normalised to 0..1000.

    Attributes:
        spec: of the first seed.
        seeds: shape (n_seeds,).
        env_steps: shape (n_steps,), strictly rising: the seeds' common range.
        returns: shape (n_seeds, n_steps).
        last_step: env steps up to which the cell was seen; it bounds a crossing that is not there.
        diverged: shape (n_seeds,), seeds whose loss turned NaN (their curve holds the last return from there on).
        duplicate: shape (n_seeds,), seeds whose curve is the copy, byte for byte, of an earlier seed's.
        costs: sizes and measured seconds, means over the seeds, where known: critic_parameters, actor_parameters,
            critic_update_flops, actor_update_flops (per transition), warm_up (env steps), env_seconds_per_step (the simulator's),
            step_seconds (all of the run but its updates, per env step), update_seconds_per_critic_update (updates of the actor included).
        aggregate: what is taken over the seeds at each step.
        resets: env steps, rising, at which networks were reset; returns dip after each. Empty where none are known.
        size: name of its network's size, one of the study's [sizes]; empty in a study without.
        model_size: N, parameters of the critics that are trained; None where it is not known.
    """

    spec: RunSpec
    seeds: NDArray[np.int64]
    env_steps: NDArray[np.int64]
    returns: NDArray[np.float64]
    last_step: int
    diverged: NDArray[np.bool_]
    duplicate: NDArray[np.bool_]
    costs: Mapping[str, float] = field(default_factory=dict)
    aggregate: Aggregate = "mean"
    resets: tuple[float, ...] = ()
    size: str = ""
    model_size: float | None = None

    def counted_returns(self, *, keep_duplicates: bool = False) -> NDArray[np.float64]:
        """Returns of the seeds that count, shape (n_counted, n_steps): all of them, or those that are no copies."""
        return self.returns if keep_duplicates else self.returns[~self.duplicate]


AGGREGATES: Mapping[Aggregate, str] = {"mean": "mean", "iqm": "interquartile mean", "median": "median"}


def seeds_trimmed(aggregate: Aggregate, n_seeds: int) -> int:
    """How many of the seeds are left out at either end, where what is left is averaged: 0 for the mean.

    The interquartile mean leaves out the whole part of a quarter of them (so does rliable), so that of up to three seeds it is
    the mean; the median all but the middle one or two.
    """
    return {"mean": 0, "iqm": n_seeds // 4, "median": max(n_seeds - 1, 0) // 2}[aggregate]


def over_seeds(returns: NDArray[np.float64], aggregate: Aggregate = "mean") -> NDArray[np.float64]:
    """The mean, interquartile mean or median over the seeds at each step: returns of shape (n_seeds, n_steps) to (n_steps,)."""
    trimmed = seeds_trimmed(aggregate, len(returns))
    if trimmed:
        returns = np.sort(returns, axis=0)[trimmed:-trimmed]
    return np.asarray(returns.mean(axis=0))
