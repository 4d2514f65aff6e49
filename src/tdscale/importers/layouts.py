"""The authors' layouts of arrays: what an array's path says, and the conventions of the files that they published.

Sources: the paper's public analysis code (paths, Gym maxima, thresholds, δ, N), the follow-up's data (sizes of the ablations).
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tdscale.study import Stage

Keys = Mapping[str, str]


def _thresholds(first: float, last: float) -> tuple[float, ...]:
    """J = 1000 − ten values from `first` to `last` at equal ratios; to ten decimals, as the last bits depend on the processor."""
    values = 1000 - np.logspace(np.log10(first), np.log10(last), 10)
    return tuple(round(float(value), 10) for value in values)


GYM_THRESHOLDS = _thresholds(700, 200)
DMC_THRESHOLDS = _thresholds(800, 200)
GYM_MAXIMA = {"HalfCheetah-v4": 9800.0, "Walker2d-v4": 4950.0, "Ant-v4": 6625.0, "Humanoid-v4": 6450.0}
# domains of DeepMind Control, whose returns lie between 0 and 1000
_CONTROL = re.compile(
    r"(?:acrobot|ball_in_cup|cartpole|cheetah|dog|finger|fish|hopper|humanoid|pendulum|point_mass|quadruped|reacher|swimmer|walker)-[a-z_0-9]+"
)
_SUCCESS = re.compile(r"myo-.+|.+-goal-observable")  # MyoSuite and MetaWorld record the share of episodes that succeed
_BENCH = re.compile(r"h1-(?:crawl|stand)-v0")
ABLATION_PARAMETERS = {"xs": 550_000, "s": 1_050_000, "sm": 2_830_000, "m": 4_920_000, "l": 26_310_000}
EXTRAS = {"critic_loss": "critic_loss", "val_critic_loss": "validation_critic_loss", "validation_critic_loss": "validation_critic_loss"}
RETURNS = ("episode.return", "return", "avg_return", "online_returns")

_PATHS = (
    # as the authors' tools write it, with the networks' width, and their parameters, where they vary
    re.compile(
        r"(?:(?P<root>.+?)/)??(?:w(?P<width>\d{1,6})(?:p(?P<model_size>\d{1,12}))?/)?utd_(?P<utd>\d+(?:\.\d+)?)/(?P<task>[^/]+)/"
        r"(?P<metric>[^/]+)/bs_(?P<batch_size>\d{1,7})(?:_lr_(?P<learning_rate>[0-9.eE+-]{1,30}))?(?:_(?P<variant>[^/]+))?\.npy"
    ),
    re.compile(r"(?:(?P<root>.+?)/)??rr(?P<utd>\d+(?:\.\d+)?)_(?P<size>xs|sm|s|m|l)/(?P<task>[^/]+)\.npy"),
)


def keys_of(name: str) -> dict[str, str] | None:
    """What an array's path says in one of the authors' layouts: utd, task and what else it holds; None if it is of none."""
    match = next((found for path in _PATHS if (found := path.fullmatch(name))), None)
    if match is None:
        return None
    keys = {key: value for key, value in match.groupdict().items() if value is not None}
    # their tools write a sign of their own for a slash
    keys["task"] = keys["task"].replace("🦕", "/")
    if "size" in keys:
        keys["model_size"] = str(ABLATION_PARAMETERS[keys["size"]])
    return keys


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The conventions of one published file, or of files like it.

    Attributes:
        name: of the file, without .zip.
        root: the folder all of its arrays are in.
        metric: the folder of its returns; None where the path has none.
        cells: digest of its cells, by which it is known under any name.
        first_step, step: the env step of row r is first_step + step·r; None where column 0 says it.
        data_cost: δ. model_size: N. Both the authors'.
        published_laws: name of the laws by which the runs' B and η were chosen, where the sweep behind them is not published.
        batch_size, learning_rate: assumed where the path does not say.
        reset_critic_updates: critic updates between resets of the networks; None for no resets.
        sizes: N by a key of the paths that does not hold it, as `Columns.model_size` takes it.
        remarks: (code, message) of what users must know and the arrays don't show.
    """

    name: str
    root: str
    metric: str | None
    cells: str
    algorithm: str
    stage: Stage
    thresholds: tuple[float, ...]
    data_cost: float
    model_size: float | None
    published_laws: str | None = None
    first_step: int | None = None
    step: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    unverified_rows: int | None = None
    sizes: str | None = None
    reset_critic_updates: int | None = None
    remarks: tuple[tuple[str, str], ...] = ()
    maxima: Mapping[str, float] = field(default_factory=dict)

    def maximum(self, task: str) -> float | None:
        """The return that is normalised to 1000, in the task's own units; None if the task is not known here."""
        if self.maxima:
            return self.maxima.get(task)
        if _SUCCESS.fullmatch(task):
            return 1.0
        return 1000.0 if _CONTROL.fullmatch(task) or _BENCH.fullmatch(task) else None

    def scale_of(self, tasks: Iterable[str]) -> dict[str, float]:
        """`maximum` of the tasks that are known here."""
        return {task: maximum for task in tasks if (maximum := self.maximum(task)) is not None}


def digest(cells: Iterable[Keys]) -> str:
    """Digest of the arrays' cells: equal for equal cells, independent of their order and of the name of their folder."""
    parts = ("task", "utd", "batch_size", "learning_rate", "size", "width")
    lines = sorted("|".join(_plain(cell.get(part, "")) for part in parts) for cell in cells)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _plain(text: str) -> str:
    try:
        return f"{float(text):.9g}"
    except ValueError:
        return text


def published_as(cells: Collection[Keys], asked: str | None) -> Layout | None:
    """The published file that arrays are: by the name asked for, the folder they lie in, or their cells; None if it is none."""
    if asked is not None:
        return LAYOUTS[asked]
    roots = {cell.get("root", "").rpartition("/")[2] for cell in cells}
    for layout in LAYOUTS.values():
        if roots == {layout.root} and any(cell.get("metric") == layout.metric for cell in cells):
            return layout
    found = digest(cell for cell in cells if cell.get("metric") in (None, *RETURNS))
    return next((layout for layout in LAYOUTS.values() if layout.cells == found), None)


def conventions_for(cells: Collection[Keys]) -> Layout | None:
    """The layout whose conventions suit all tasks of some arrays that are no published file; None if a task is not known."""
    tasks = {cell["task"] for cell in cells}
    like = {"gym": "gym_ours", "control": "dmc_sweep", "bench": "simbav2"}
    return next((LAYOUTS[name] for name in like.values() if all(LAYOUTS[name].maximum(task) is not None for task in tasks)), None)


def _gym(name: str, stage: Stage, cells: str) -> Layout:
    return Layout(
        name=name,
        root=name,
        metric="episode.return",
        cells=cells,
        algorithm="sac",
        stage=stage,
        thresholds=GYM_THRESHOLDS,
        data_cost=4e9,
        model_size=1.5e5,
        published_laws="gym-committed",
        maxima=GYM_MAXIMA,
    )


LAYOUTS: dict[str, Layout] = {
    "gym_ours": _gym("gym_ours", "scaling", "8c69e88b1b505671"),
    "gym_baseline_utd2": _gym("gym_baseline_utd2", "baseline", "d1958c839fd384ec"),
    "dmc_sweep": Layout(
        name="dmc_sweep",
        root="dmc_sweep",
        metric="online_returns",
        cells="b320345a03286eff",
        algorithm="bro",
        stage="sweep",
        first_step=5000,
        step=1000,
        thresholds=DMC_THRESHOLDS,
        data_cost=1e10,
        model_size=4.92e6,
        unverified_rows=1000,
        remarks=(("assumed-steps", "no env steps are recorded; row r counts as env step 5000 + 1000·r"),),
    ),
    "dmc_bro_ablations": Layout(
        name="dmc_bro_ablations",
        root="ablations_rr",
        metric=None,
        cells="bc09cd5ebf9285c8",
        algorithm="bro",
        stage="scaling",
        first_step=25_000,
        step=25_000,
        thresholds=DMC_THRESHOLDS,
        data_cost=1e10,
        model_size=None,
        batch_size=1024,
        learning_rate=3e-4,
        reset_critic_updates=2_500_000,
        remarks=(
            ("assumed-steps", "no env steps are recorded; row r counts as env step 25000·(r + 1)"),
            ("assumed-hyperparameters", "the batch size is not recorded and assumed to be 1024; the learning rate is always 3e-4"),
            (
                "resets",
                "the networks were reset after every 2.5e6 critic updates; a new study.toml has reset_critic_updates, so that fits "
                "leave out the dips of the return",
            ),
        ),
    ),
    "simbav2": Layout(
        name="simbav2",
        root="simbav2_model_scaling",
        metric="avg_return",
        cells="d3bf14ebfdb45e13",
        algorithm="simbav2",
        stage="scaling",
        thresholds=DMC_THRESHOLDS,
        data_cost=1e10,
        model_size=None,
        learning_rate=1e-4,
        remarks=(
            ("means-of-seeds", "every column is a mean of 5 seeds and counts as one run here; intervals are those of means"),
            ("assumed-hyperparameters", "the learning rate is not recorded and assumed to be 1e-4"),
            ("sizes-by-width", "N, the critics' parameters, is not recorded and computed from the width, as the authors count it"),
        ),
        sizes="width:128=604362,256=2322634,512=9101514,1024=36028618,2048=143360202",
    ),
}
