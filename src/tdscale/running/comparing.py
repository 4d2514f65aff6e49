"""Studies on disk, or published laws, as `planning.compare_laws` takes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tdscale.analysis.compute import ComputeUnit
from tdscale.analysis.estimate import short
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.views import at_size, in_unit
from tdscale.errors import UserError
from tdscale.paper import PREFIX, published_name, scaling_laws
from tdscale.planning import Comparison, Contestant, Measure, compare_laws, networks_run
from tdscale.running.fitting import current_laws
from tdscale.running.folder import open_study


def compare_studies(
    studies: Sequence[Path | str],
    *,
    threshold: float | None = None,
    task: str | None = None,
    data_cost: float | None = None,
    unit: ComputeUnit | None = None,
    sizes: Sequence[str] = (),
    budgets: Mapping[Measure, Sequence[float]] | None = None,
    by_task: bool = True,
) -> Comparison:
    """Studies side by side, each at its own best σ, B*(σ) and η*(σ) (docs/compare.md).

    Laws that are fitted already are read, draws and all; where runs or question have changed they are fitted again.

    Args:
        studies: folders, or published:NAME for published laws; two or more. The first is what the others are compared with.
        threshold: J, normalised return; None for the highest that all have a law at.
        task: one task; None for all that the studies share.
        data_cost: δ in the unit of compute per env step; None for the studies' own, where it is one.
        unit: of compute; None for the studies' own.
        sizes: of studies with sizes the one that is compared: NAME for all of them, or STUDY=NAME.
        budgets: where to compare, C for "data", D for "compute", F for "return", J for "budget"; None: along what the studies share.
        by_task: whether each task is compared, too.

    Raises:
        UserError: where the studies can't be compared; it says what does not agree, and what makes it agree.
    """
    chosen = _chosen_sizes(sizes)
    sides = [_side(study, name, task, unit, chosen) for study, name in zip(studies, _names(studies), strict=True)]
    used = {key for _, key in sides if key is not None}
    unused = [name for name in chosen if name not in used]
    if unused:
        what = f"{unused[0]}: names none of the studies" if unused[0] else "none of the studies has sizes ([sizes] in study.toml)"
        raise UserError(f"--size {what}; leave it out")
    contestants = [side for side, _ in sides]
    return compare_laws(contestants, threshold=threshold, task=task, data_cost=data_cost, budgets=budgets, by_task=by_task)


def _names(studies: Sequence[Path | str]) -> list[str]:
    """The folders' names; their paths where two have the same."""
    texts = [str(study).rstrip("/") or "/" for study in studies]
    names = [text if text.startswith(PREFIX) else Path(text).resolve().name for text in texts]
    if len(set(names)) < len(names):
        names = texts
    # a study beside itself is asked for to see what that looks like
    return [name if names.count(name) == 1 else f"{name} ({names[:place].count(name) + 1})" for place, name in enumerate(names)]


def _chosen_sizes(sizes: Sequence[str]) -> dict[str, str]:
    """By study, "" for all of them."""
    pairs = [text.rpartition("=") for text in sizes]
    return {study: size for study, _, size in pairs}


def _side(
    study: Path | str, name: str, task: str | None, unit: ComputeUnit | None, chosen: Mapping[str, str]
) -> tuple[Contestant, str | None]:
    """A study, and the key of `chosen` that named its size."""
    published = published_name(study)
    if published is not None:
        laws = scaling_laws(published, task)
        return Contestant(name=name, laws=laws if unit is None else in_unit(laws, unit)), None
    files = open_study(study)
    laws = current_laws(files, times=unit == "seconds")
    key = None
    if laws.sizes is not None:
        key, laws = _at_chosen_size(laws, name, chosen)
    if unit is not None:
        laws = in_unit(laws, unit)
    scales = {label: (one.low, one.high) for label, one in files.study.tasks.items()}
    return Contestant(name=name, laws=laws, scales=scales, aggregate=files.study.aggregate), key


def _at_chosen_size(laws: ScalingLaws, name: str, chosen: Mapping[str, str]) -> tuple[str, ScalingLaws]:
    networks = networks_run(laws)
    known = ", ".join(f"{network.name} (N = {short(network.model_size)})" for network in networks)
    key = name if name in chosen else ""
    if key not in chosen:
        raise UserError(f"{name} has several sizes: {known}; --size {name}={networks[0].name} compares it at one of them")
    for network in networks:
        if network.name == chosen[key]:
            return key, at_size(laws, network.model_size)
    raise UserError(f"--size: {name} has no {chosen[key]!r}; it has {known}")
