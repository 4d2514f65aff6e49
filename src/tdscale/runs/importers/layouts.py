"""The published files: where an array's task, σ, B and η stand in its path, what its columns are, and the conventions that go with it.

Sources: the paper's public analysis code (Gym maxima, thresholds, δ, N), the follow-up's data (sizes of the ablations).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tdscale.study import Stage


def _thresholds(first: float, last: float) -> tuple[float, ...]:
    """J = 1000 − ten values from `first` to `last` at equal ratios; to ten decimals, as the last bits depend on the processor."""
    values = 1000 - np.logspace(np.log10(first), np.log10(last), 10)
    return tuple(round(float(value), 10) for value in values)


GYM_THRESHOLDS = _thresholds(700, 200)
DMC_THRESHOLDS = _thresholds(800, 200)
GYM_MAXIMA = {"HalfCheetah-v4": 9800.0, "Walker2d-v4": 4950.0, "Ant-v4": 6625.0, "Humanoid-v4": 6450.0}
ABLATION_PARAMETERS = {"xs": 550_000, "s": 1_050_000, "sm": 2_830_000, "m": 4_920_000, "l": 26_310_000}

_HYPERPARAMETERS = r"bs_(?P<batch_size>\d{1,7})_lr_(?P<learning_rate>[0-9.eE+-]{1,30})\.npy"
_UTD = r"(?P<utd>\d+(?:\.\d+)?)"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One published file.

    Attributes:
        name: of the file, without .zip.
        root: the folder all of its arrays are in.
        path: an array's path below the root, with the groups utd, task and, where recorded, batch_size, learning_rate,
            size, width.
        step_column: whether column 0 is the env step; else it is first_step + step·row.
        maxima: return that is normalised to 1000, by task; `maximum` finds those not named.
        data_cost: δ. model_size: N. Both the authors'.
        published_laws: name of the laws by which the runs' B and η were chosen, where the sweep behind them is not published.
        batch_size, learning_rate: assumed where the path does not say.
        remarks: (code, message) of what a person must know and no look at the arrays can tell.
        extras: path component that takes the place of `avg_return`, and the column it becomes.
    """

    name: str
    root: str
    path: str
    algorithm: str
    stage: Stage
    step_column: bool
    thresholds: tuple[float, ...]
    data_cost: float
    model_size: float | None
    published_laws: str | None = None
    first_step: int = 0
    step: int = 0
    maxima: Mapping[str, float] = field(default_factory=dict)
    batch_size: int = 0
    learning_rate: float = 0.0
    unverified_rows: int | None = None
    remarks: tuple[tuple[str, str], ...] = ()
    extras: Mapping[str, str] = field(default_factory=dict)

    def match(self, name: str) -> re.Match[str] | None:
        """The groups of an entry's path, or None if it is not of this layout."""
        return re.fullmatch(rf"{re.escape(self.root)}/{self.path}", name)

    def maximum(self, task: str) -> float | None:
        """The return that is normalised to 1000, in the task's own units; None if the task is not known here."""
        if self.maxima:
            return self.maxima.get(task)
        # MetaWorld and MyoSuite record the share of episodes that succeed
        return 1.0 if task.startswith("myo-") or task.endswith("-goal-observable") else 1000.0


def _gym(name: str, stage: Stage) -> Layout:
    return Layout(
        name=name,
        root=name,
        path=rf"utd_{_UTD}/(?P<task>[^/]+)/episode\.return/{_HYPERPARAMETERS}",
        algorithm="sac",
        stage=stage,
        step_column=True,
        thresholds=GYM_THRESHOLDS,
        data_cost=4e9,
        model_size=1.5e5,
        published_laws="gym-committed",
        maxima=GYM_MAXIMA,
    )


LAYOUTS: dict[str, Layout] = {
    "gym_ours": _gym("gym_ours", "scaling"),
    "gym_baseline_utd2": _gym("gym_baseline_utd2", "baseline"),
    "dmc_sweep": Layout(
        name="dmc_sweep",
        root="dmc_sweep",
        path=rf"utd_{_UTD}/(?P<task>[^/]+)/online_returns/{_HYPERPARAMETERS}",
        algorithm="bro",
        stage="sweep",
        step_column=False,
        first_step=5000,
        step=1000,
        thresholds=DMC_THRESHOLDS,
        data_cost=1e10,
        model_size=4.92e6,
        unverified_rows=1000,
        remarks=(("assumed-steps", "no env steps are recorded; row r is taken as env step 5000 + 1000·r"),),
    ),
    "dmc_bro_ablations": Layout(
        name="dmc_bro_ablations",
        root="ablations_rr",
        path=rf"rr{_UTD}_(?P<size>xs|sm|s|m|l)/(?P<task>[^/]+)\.npy",
        algorithm="bro",
        stage="scaling",
        step_column=False,
        first_step=25_000,
        step=25_000,
        thresholds=DMC_THRESHOLDS,
        data_cost=1e10,
        model_size=None,
        batch_size=1024,
        learning_rate=3e-4,
        remarks=(
            ("assumed-steps", "no env steps are recorded; row r is taken as env step 25000·(r + 1)"),
            ("assumed-hyperparameters", "B is not recorded and taken as 1024; η is 3e-4 throughout"),
            ("resets", "the networks were reset on a schedule; returns dip after each reset, and the dips are kept"),
        ),
    ),
    "simbav2": Layout(
        name="simbav2",
        root="simbav2_model_scaling",
        path=rf"w(?P<width>\d+)/utd_{_UTD}/(?P<task>[^/]+)/avg_return/bs_(?P<batch_size>\d{{1,7}})\.npy",
        algorithm="simbav2",
        stage="scaling",
        step_column=True,
        thresholds=DMC_THRESHOLDS,
        data_cost=1e10,
        model_size=None,
        learning_rate=1e-4,
        remarks=(
            ("means-of-seeds", "every column is a mean of 5 seeds and counts as one run here; intervals are those of such means"),
            ("assumed-hyperparameters", "η is not recorded and taken as 1e-4"),
            ("no-model-size", "networks are told apart by width; their parameters are not recorded, so compute has no N"),
        ),
        extras={"critic_loss": "critic_loss", "val_critic_loss": "validation_critic_loss"},
    ),
}
