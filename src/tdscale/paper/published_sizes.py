"""The published laws with model size: Fu, Rybkin, Zhou, Nauman, Abbeel, Levine, Kumar, "Compute-Optimal Scaling for Value-Based Deep RL"
(2025, arXiv 2508.14881), the follow-up to the paper.

Each is D(σ, N) = c·(1 + (a/σ)^α + (b/N)^β), fitted in log D to the mean over tasks at one threshold for each task. No B*(σ, N) or
η*(σ, N) and no draws came with them, so that they predict D, without an interval, and C at the B = 256 of its budgets; they can't plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tdscale.errors import UserError

# at which the follow-up counts compute
BATCH_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class PublishedSizeLaw:
    """One law D(σ, N) = c·(1 + (a/σ)^α + (b/N)^β) (METHOD.md, section 7).

    Attributes:
        name: by which it is known.
        title: algorithm and tasks, for people.
        source: where the numbers stand.
        tasks: whose mean D is; the unit of D is env steps, with each task's D divided by its median and brought to the tasks' mean.
        c: in env steps, D of a large network at a large σ; a: a UTD ratio; b: parameters of the critics; alpha, beta: exponents.
        log_mse: mean squared error of log D at the points that it was fitted to.
        utd, model_size: σ and N of these, rising; N in parameters of the critics.
        thresholds: by task, the return that D is counted to; empty where it is not stated.
        notes: what a reader should know.
    """

    name: str
    title: str
    source: str
    tasks: tuple[str, ...]
    c: float
    a: float
    alpha: float
    b: float
    beta: float
    log_mse: float
    utd: tuple[float, ...]
    model_size: tuple[float, ...]
    thresholds: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def data(self, utd: float, model_size: float) -> float:
        """D in env steps."""
        return float(self.c * (1 + (self.a / utd) ** self.alpha + (self.b / model_size) ** self.beta))

    def formula(self) -> str:
        """The law as text."""
        c, a, alpha, b, beta = (f"{value:.4g}".replace("e+0", "e") for value in (self.c, self.a, self.alpha, self.b, self.beta))
        return f"D(σ, N) = {c}·(1 + ({a}/σ)^{alpha} + ({b}/N)^{beta})"

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class SizePrediction:
    """D and C at a σ and N, by one law. No interval is known.

    Attributes:
        data: env steps, mean over the law's tasks; compute: 10·N·B·σ·D in FLOPs, at B = `BATCH_SIZE`.
        extrapolation: by what factor σ or N lies outside what was run; 1 inside.
    """

    laws: str
    utd: float
    model_size: float
    data: float
    compute: float
    extrapolation: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def predict_size(law: PublishedSizeLaw, utd: float, model_size: float) -> SizePrediction:
    """What a law says at σ > 0 and N > 0."""
    data = law.data(utd, model_size)
    outside = (law.utd[0] / utd, utd / law.utd[-1], law.model_size[0] / model_size, model_size / law.model_size[-1])
    return SizePrediction(
        laws=law.name,
        utd=utd,
        model_size=model_size,
        data=data,
        compute=10 * model_size * BATCH_SIZE * utd * data,
        extrapolation=max(*outside, 1.0),
    )


def predict_sizes(law: PublishedSizeLaw, utds: Sequence[float], model_sizes: Sequence[float], task: str | None) -> list[SizePrediction]:
    """At each σ and N. Where one of the two, or both for a `task`, are not named, at those that were run; without any nothing."""
    if not utds and not model_sizes and task is None:
        return []
    return [predict_size(law, utd, size) for size in model_sizes or law.model_size for utd in utds or law.utd]


def size_laws_of_task(task: str | None) -> tuple[PublishedSizeLaw, ...]:
    """Every law with model size to whose mean a task belongs, or (None) every one."""
    return tuple(law for law in PUBLISHED_SIZES.values() if task is None or task in law.tasks)


def refuse_plan(name: str) -> None:
    """Raises UserError if this is the name of laws with model size: they have no B* and η*."""
    if name in PUBLISHED_SIZES:
        law = PUBLISHED_SIZES[name]
        raise UserError(
            f"{name}: only D(σ, N) was published of {law.title}, no B* and η*, so that it can't plan; "
            f"`tdscale published {law.tasks[0]} --utd 2 --model-size 1e7` predicts D"
        )


_SOURCE = "the follow-up (arXiv 2508.14881): least squares of log D on its published points"
_DMC = {
    "acrobot-swingup": 400.0,
    "cheetah-run": 750.0,
    "finger-turn": 900.0,
    "fish-swim": 710.0,
    "hopper-hop": 320.0,
    "quadruped-run": 790.0,
    "walker-run": 730.0,
}
_DOG_HUMANOID = {"dog-run": 270.0, "dog-stand": 910.0, "dog-trot": 580.0, "dog-walk": 860.0, "humanoid-run": 190.0, "humanoid-walk": 650.0}
_BRO_SIZES = (1.05e6, 2.83e6, 4.92e6, 2.631e7)
_SIMBA_SIZES = (604_362.0, 2_322_634.0, 9_101_514.0, 36_028_618.0)
_THRESHOLD_NOTE = "the return that D is counted to is not stated with the points"

PUBLISHED_SIZES: dict[str, PublishedSizeLaw] = {
    law.name: law
    for law in (
        PublishedSizeLaw(
            name="sizes-dmc",
            title="BRO on DeepMind Control, by model size",
            source=_SOURCE,
            tasks=tuple(_DMC),
            c=371_870.0,
            a=1.26059,
            alpha=1.01039,
            b=633_198.0,
            beta=0.890187,
            log_mse=0.011381,
            utd=(1.0, 2.0, 5.0, 10.0, 15.0),
            model_size=_BRO_SIZES,
            thresholds=_DMC,
        ),
        PublishedSizeLaw(
            name="sizes-dog-humanoid",
            title="BRO on DeepMind Control's dog and humanoid, by model size",
            source=_SOURCE,
            tasks=tuple(_DOG_HUMANOID),
            c=539_065.0,
            a=0.892123,
            alpha=0.77277,
            b=667_698.0,
            beta=1.26718,
            log_mse=0.0049956,
            utd=(2.0, 5.0, 10.0, 15.0),
            model_size=_BRO_SIZES,
            thresholds=_DOG_HUMANOID,
        ),
        PublishedSizeLaw(
            name="sizes-h1-crawl",
            title="SimbaV2 on HumanoidBench (h1-crawl), by model size",
            source=_SOURCE,
            tasks=("h1-crawl-v0",),
            c=249_542.0,
            a=0.369793,
            alpha=0.850371,
            b=1_089_910.0,
            beta=1.00419,
            log_mse=0.0067808,
            utd=(1.0, 2.0, 4.0, 8.0),
            model_size=_SIMBA_SIZES,
            thresholds={},
            notes=(_THRESHOLD_NOTE,),
        ),
        PublishedSizeLaw(
            name="sizes-h1-stand",
            title="SimbaV2 on HumanoidBench (h1-stand), by model size",
            source=_SOURCE,
            tasks=("h1-stand-v0",),
            c=147_015.0,
            a=1.14431,
            alpha=0.473206,
            b=2_676_490.0,
            beta=0.758112,
            log_mse=0.0030321,
            utd=(1.0, 2.0, 4.0, 8.0),
            model_size=_SIMBA_SIZES,
            thresholds={},
            notes=(_THRESHOLD_NOTE,),
        ),
    )
}
