"""The published laws by name or task: as the result objects that plans work with, and what they say for a task at a σ."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tdscale import planning
from tdscale.analysis.arrays import Floats
from tdscale.analysis.compute import ComputeModel, ComputeUnit
from tdscale.analysis.fitted_laws import BudgetLaw, DataLaw, PowerLaw, Quantity
from tdscale.analysis.forms import OFFSET, FittedForm
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.errors import UserError
from tdscale.paper.procedure import PAPER
from tdscale.paper.published import PARTLY_PUBLISHED, PUBLISHED, PartlyPublished, PublishedDataLaw, PublishedLaws
from tdscale.paper.published_sizes import PUBLISHED_SIZES, refuse_plan, size_laws_of_task
from tdscale.planning import Prediction

# `tdscale plan published:gym` names laws instead of a folder
PREFIX = "published:"
NO_INTERVAL = "these numbers were published without draws, so no interval is known for them"
# σ of the paper's prediction tables
STANDARD_UTD = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def published_name(study: Path | str) -> str | None:
    """NAME of published:NAME, where no folder is called so; None for a study's folder."""
    name = str(study).removeprefix(PREFIX)
    return name if name != str(study) and not Path(study).exists() else None


def published_laws(name: str) -> PublishedLaws:
    """A set of published laws by its name. Raises UserError where there is none, or one of which too little is known."""
    refuse_plan(name)
    if name in PARTLY_PUBLISHED:
        raise UserError(f"{name}: {_too_little(PARTLY_PUBLISHED[name])}")
    try:
        return PUBLISHED[name]
    except KeyError:
        raise UserError(f"there are no published laws {name!r}; there are {', '.join(PUBLISHED)}") from None


def laws_of_task(task: str | None) -> tuple[PublishedLaws, ...]:
    """Every set that knows a task, or (None) every set; () where there is only a partly legible one, or one with model size.

    Raises:
        UserError: where there is none at all.
    """
    found = tuple(laws for laws in PUBLISHED.values() if task is None or task in laws.tasks)
    if not found and not partly_published(task) and not size_laws_of_task(task):
        known = dict.fromkeys(name for laws in (PUBLISHED, PUBLISHED_SIZES) for of_set in laws.values() for name in of_set.tasks)
        raise UserError(f"no law is published for {task!r}; there are laws for {', '.join(known)}")
    return found


def partly_published(task: str | None) -> tuple[PartlyPublished, ...]:
    """The sets of a task, or (None) all, that are legible only in part."""
    return tuple(laws for laws in PARTLY_PUBLISHED.values() if task is None or task in laws.tasks)


def refuse_prediction(task: str) -> None:
    """Raises UserError where the only published laws of a task are illegible in part."""
    partly = partly_published(task)
    if partly and not laws_of_task(task):
        raise UserError(f"{task}: {_too_little(partly[0])}")


def _too_little(laws: PartlyPublished) -> str:
    return (
        f"the paper's laws of {laws.title} can't predict: of B*(σ) only B_min = {laws.batch_size_least:g} and the exponent "
        f"{laws.batch_size_exponent:g} are legible, and nothing of D_J(σ), σ*(F); `tdscale published {laws.tasks[0]}` shows what is known"
    )


def power_law(laws: PublishedLaws, quantity: Quantity, tasks: tuple[str, ...] | None = None, n_draws: int = 0) -> PowerLaw:
    """B*(σ) or η*(σ). No interval was published, nor the best values that the law goes through.

    Args:
        laws: the set.
        quantity: which of the two.
        tasks: those wanted; None for all.
        n_draws: draws beside which the law is to stand; they are NaN, for unknown.

    Raises:
        UserError: if the set does not know a task.
    """
    names = laws.tasks if tasks is None else tasks
    missing = [task for task in names if task not in laws.tasks]
    if missing:
        raise UserError(f"the published laws {laws.name!r} know no {missing[0]!r}; they are of {', '.join(laws.tasks)}")
    values, exponent = (
        (laws.batch_size, laws.batch_size_exponent) if quantity == "batch_size" else (laws.learning_rate, laws.learning_rate_exponent)
    )
    utd = np.array(laws.sweep_utd)
    unknown = np.full((len(names), len(utd)), np.nan)
    return PowerLaw(
        quantity=quantity,
        tasks=names,
        exponent=exponent,
        exponent_draws=np.full(n_draws, np.nan),
        coefficients=np.array([values[task] for task in names]),
        coefficient_draws=np.full((n_draws, len(names)), np.nan),
        utd=utd,
        points=unknown,
        points_low=unknown,
        points_high=unknown,
        source="published",
    )


def scaling_laws(name: str, task: str | None = None) -> ScalingLaws:
    """The laws of a set as fitted laws are, without draws and so without intervals.

    Args:
        name: a key of `PUBLISHED`.
        task: that will be asked for; None for the domain.

    Raises:
        UserError: if there is no such set, or it tells no D for the task.
    """
    published = published_laws(name)
    if task is not None and task in published.tasks and task not in published.data[-1].tasks:
        other = [laws.name for laws in PUBLISHED.values() if task in laws.data[-1].tasks]
        hint = f"{PREFIX}{other[0]} has one" if other else "plan for the domain, without --task"
        raise UserError(f"{PREFIX}{name}: no D_min of {task} is published; {hint}")
    budget = None
    if published.budget is not None:
        coefficient, exponent = published.budget
        nothing = np.empty(0)
        budget = BudgetLaw(
            data_cost=published.data_cost,
            coefficient=coefficient,
            exponent=exponent,
            coefficient_draws=nothing,
            exponent_draws=nothing,
            points=(),
        )
    models: dict[ComputeUnit, dict[str, ComputeModel]] = {
        "flops": dict.fromkeys(published.tasks, ComputeModel.paper(published.model_size)),
        "gradient-steps": dict.fromkeys(published.tasks, ComputeModel.gradient_steps(paper=True)),
    }
    return ScalingLaws(
        study=f"{PREFIX}{name}",
        method=PAPER,
        tasks=published.tasks,
        thresholds=tuple(law.threshold for law in published.data),
        batch_size=power_law(published, "batch_size"),
        learning_rate=power_law(published, "learning_rate"),
        data=tuple(_data_law(published, law) for law in published.data),
        budget=budget,
        compute=models["flops"],
        other_units=models,
        data_cost=published.data_cost,
    )


def _data_law(published: PublishedLaws, law: PublishedDataLaw) -> DataLaw:
    """Its points are the law's own values at the σ that were run: the measured D is not published with it."""
    utd = np.array(published.utd)
    d_min = np.array([law.tasks.get(task, np.nan) for task in published.tasks])
    shape = 1 + (utd / law.beta) ** -law.alpha
    data: Floats = np.where(np.isfinite(d_min), d_min, law.d_min)[:, None] * shape
    n = len(published.tasks) + 1  # the tasks and, last, the domain
    form = FittedForm(
        form=OFFSET,
        weight=1.0,
        log_scale=np.log(np.append(d_min, law.d_min)),
        parameters=np.tile([law.alpha, law.alpha * np.log(law.beta)], (n, 1)),
        log_scale_draws=np.empty((0, n)),
        parameter_draws=np.empty((0, n, 2)),
    )
    return DataLaw(
        threshold=law.threshold,
        tasks=published.tasks,
        forms=(form,),
        drift_draws=np.empty((0, 2)),
        utd=utd,
        data=data,
        data_low=data,
        data_high=data,
        bound=np.full(data.shape, np.nan),
    )


def predict(published: PublishedLaws, utd: float, *, task: str | None = None, threshold: float | None = None) -> Prediction:
    """What a set of laws says of one of its tasks, or (None) of the domain, at σ > 0. No interval is known for any of it.

    Args:
        published: the set.
        utd: σ.
        task: None for the domain.
        threshold: J, one of the set's; None for the highest.

    Raises:
        UserError: if the question can't be asked of this set.
    """
    found = planning.predict(scaling_laws(published.name), utd, task=task, threshold=threshold)
    if task is None:
        return found
    refused = f"no D_min of {task} is published" if task not in published.data[-1].tasks else found.refused
    return replace(found, refused=refused, raw_threshold=found.threshold / 1000 * published.high[task])
