"""What the analysis takes of the runs that answer a study's question (`runs.selection`): cells, and what was logged beside returns.

A cell is all seeds of one spec on one grid of env steps, their returns normalised to 0..1000.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.runs.selection import Selection, select_runs
from tdscale.runs.sizes import Sizes
from tdscale.runs.store import RunStore
from tdscale.runs.types import (
    AGGREGATES,
    COLUMNS,
    ENV_STEP,
    IMPORTED,
    RETURN,
    Cell,
    RunDiagnostics,
    RunResult,
    RunStatus,
    RunWarning,
    is_diagnostic,
    seeds_trimmed,
)
from tdscale.study import Aggregate, RunSpec, Stage, Study
from tdscale.study.spec import with_size

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]
_SHORT = 0.8  # of the median end of a cell's seeds: one that ends before is short
# A success rate over ten episodes that jumps from 0 to 1 is the same in many honest seeds; four distinct values in one
# order are not.
_DISTINCT_VALUES = 4
_BINNED = "the seeds were logged at different env steps; the returns of each are averaged in bins around the steps of the coarsest one"
_UNSHARED = "env steps that not all seeds logged are left out"
_ALONE = "one of its seeds logged nothing within the env steps that all of them cover; its returns there are interpolated"
_ONE_SEED = "has one seed, which does not show the noise between seeds; add seeds"
_SHARED = 0.9  # of each seed's env steps: if the others logged them, too, these are the cell's
_WIDTH = 0.05  # the least width of a bin, over the env step it begins at: a standard deviation of 0.014 in log D
_MOST_RESETS = 10_000  # of a run; more are a mistake


@dataclass(frozen=True)
class _Seed:
    spec: RunSpec
    status: RunStatus
    steps: Steps
    returns: Floats

    @property
    def diverged(self) -> bool:
        return self.status.state == "diverged"


def load_cells(
    store: RunStore,
    study: Study,
    *,
    stages: Collection[Stage] | None = None,
    column: str = RETURN,
    selection: Selection | None = None,
) -> tuple[list[Cell], list[RunWarning]]:
    """Every cell that answers a study's question, sorted by size (as [sizes] has them), task, σ, B, η and cell_id, and what to know.

    Returns are normalised as 1000·(return − low)/(high − low) with the study's low and high. Seeds that share one axis
    of env steps keep it, but for single steps that one of them lacks. Others are averaged in bins within the range that all of them
    cover: edges lie midway between the coarsest seed's steps, where every seed logged a return between two of them and they are 5 %
    apart. A diverged seed holds its last return (low, if it has none) up to the cell's last step. A seed that ends before
    0.8 of its cell's median end, below the top threshold, is left out where two others remain.

    Args:
        store: the runs.
        study: names the tasks and their scale.
        stages: keep the runs of these stages, None = all.
        column: which return: "return" (training episodes) or "evaluation_return".
        selection: the runs that answer the study's question; None = found by `select_runs`.

    Returns:
        The cells, and warnings with these codes: those of `Selection`, unreadable-run, unreadable-part, failed-run,
        non-finite-return, no-returns, short-seed, unequal-lengths, binned, interpolated, unshared-steps, duplicate-seeds, fewer-seeds,
        one-seed, resets, aggregate.

    Raises:
        UserError: as `select_runs`, or where the study's `reset_critic_updates` is not a number of updates between resets.
        ValueError: if there is no such column.
    """
    if column not in COLUMNS[1:]:
        raise ValueError(f"{column!r} is not a column of a curve; known are {', '.join(COLUMNS[1:])}")
    warnings: list[RunWarning] = []
    if selection is None:
        selection = select_runs(store, study, problems=warnings)
    warnings += [*selection.left_out, *selection.listed]
    statuses = store.statuses(problems=warnings)
    sizes = Sizes(study)
    groups: dict[tuple[str, tuple[object, ...]], list[tuple[str, RunSpec]]] = {}
    for run_id, stored in selection.specs.items():
        spec = selection.as_cell(stored)
        if run_id not in statuses or (stages is not None and spec.stage not in stages):
            continue
        size = sizes.of(spec) or ""
        if statuses[run_id].state == "failed":
            reason = statuses[run_id].reason or "no reason was recorded"
            message = f"{with_size(spec.describe(), size)} seed {spec.seed} failed and is left out ({reason})"
            warnings.append(RunWarning(code="failed-run", message=message, where=run_id))
        else:
            groups.setdefault((size, _cell_key(spec, sizes.besides(spec))), []).append((run_id, spec))
    wanted = [run_id for members in groups.values() for run_id, _ in members]
    curves = store.curves(wanted, (column,), problems=warnings)
    cells = []
    for (size, _), members in groups.items():
        members.sort(key=lambda member: member[1].seed)
        seeds = [_seed(spec, statuses[run_id], curves[run_id], column, warnings) for run_id, spec in members if run_id in curves]
        cell = _cell([seed for seed in seeds if seed is not None], study, warnings, size, sizes.studies[size].model_size)
        if cell is not None:
            cells.append(cell)
    order = list(sizes.studies)
    cells.sort(key=lambda c: (order.index(c.size), c.spec.task, c.spec.utd, c.spec.batch_size, c.spec.learning_rate, c.spec.cell_id))
    # an adaptive sweep has as many seeds as it needs, and its surface weighs cells by them
    adaptive = study.sweep is not None and study.sweep.is_adaptive
    warnings += _seed_count_warnings([cell for cell in cells if not (adaptive and cell.spec.stage == "sweep")])
    warnings += _reset_warning(cells) + _aggregate_warning(cells, study.aggregate)
    return cells, _fewer(warnings)


def cell_of_runs(runs: Sequence[RunResult], study: Study, problems: list[RunWarning] | None = None) -> Cell | None:
    """One cell from the runs of its seeds, as `load_cells` makes it; None where none of them has a return.

    Args:
        runs: with one spec but for the seed, seeds rising; their columns hold "env_step" and "return", raw.
        study: names the task and its scale.
        problems: what a person should know about them is added here.
    """
    warnings = [] if problems is None else problems
    seeds = [_seed(run.spec, run.status, run.columns, RETURN, warnings) for run in runs]
    sizes = Sizes(study)
    size = (sizes.of(runs[0].spec) or "") if runs else ""
    model_size = sizes.studies[size].model_size if size in sizes.studies else None
    return _cell([seed for seed in seeds if seed is not None], study, warnings, size, model_size)


def load_diagnostics(
    store: RunStore,
    study: Study,
    *,
    stages: Collection[Stage] | None = None,
    selection: Selection | None = None,
    problems: list[RunWarning] | None = None,
) -> list[RunDiagnostics]:
    """The diagnostics of the runs that answer a study's question and logged any, in run_id order; failed runs are left out.

    Each run keeps the rows in which something was logged; a column that is nowhere logged is left out. Of imported runs, of a study with
    sizes alone, these are the critics' losses.

    Args:
        store: the runs.
        study: names the tasks.
        stages: keep the runs of these stages, None = all.
        selection: those runs; None = found by `select_runs`.
        problems: as in `RunStore`.
    """
    selection = selection or select_runs(store, study, problems=problems)
    statuses = store.statuses(problems=problems)
    sizes = Sizes(study)
    wanted = {
        run_id: spec
        for run_id, spec in selection.specs.items()
        if (stages is None or spec.stage in stages)
        and (spec.suite != "imported" or study.sizes)
        and run_id in statuses
        and statuses[run_id].state != "failed"
    }
    found = []
    for imported in (False, True):
        of_kind = {run_id for run_id, spec in wanted.items() if (spec.suite == "imported") == imported}
        if not of_kind:
            continue
        for run_id, curve in store.curves(of_kind, IMPORTED if imported else None, problems=problems).items():
            known = {name: curve[name] for name in curve if is_diagnostic(name) or (imported and name in IMPORTED)}
            logged = {name: values for name, values in known.items() if np.isfinite(values).any()}
            if not logged:
                continue
            rows = np.isfinite(np.stack(list(logged.values()))).any(axis=0)
            values = {name: column[rows] for name, column in logged.items()}
            spec = wanted[run_id]
            found.append(RunDiagnostics(spec=spec, env_steps=curve[ENV_STEP][rows], values=values, size=sizes.of(spec) or ""))
    return found


def _cell_key(spec: RunSpec, settings: Mapping[str, Any]) -> tuple[object, ...]:
    """Equal for equal cell_id, and cheaper than its hash when there are thousands of runs. `settings`: but for those of the size."""
    key = (spec.algorithm, spec.suite, spec.task, spec.utd, spec.batch_size, spec.learning_rate, spec.stage, spec.reward_scale)
    return (*key, json.dumps(settings, sort_keys=True))


def _seed(spec: RunSpec, status: RunStatus, curve: Mapping[str, NDArray[Any]], column: str, warnings: list[RunWarning]) -> _Seed | None:
    steps, returns = curve[ENV_STEP].astype(np.int64, copy=False), curve[column]
    finite = np.isfinite(returns)
    if not finite.all():
        # NaN says "not logged here"; an infinity was logged and is wrong
        infinite = int(np.isinf(returns).sum())
        if infinite:
            message = f"{spec.describe()} seed {spec.seed}: {infinite} infinite returns are left out"
            warnings.append(RunWarning(code="non-finite-return", message=message, where=spec.run_id))
        steps, returns = steps[finite], returns[finite]
    if not steps.size and status.state != "diverged":
        message = f"{spec.describe()} seed {spec.seed} has no value of {column} and is left out"
        warnings.append(RunWarning(code="no-returns", message=message, where=spec.run_id))
        return None
    return _Seed(spec, status, steps, returns)


def _cell(seeds: list[_Seed], study: Study, warnings: list[RunWarning], size: str, model_size: float | None) -> Cell | None:
    if not seeds:
        return None
    spec = seeds[0].spec
    task = study.tasks[spec.task]
    where = _where(spec, size)
    top = task.low + max(study.return_thresholds) * (task.high - task.low) / 1000
    seeds = _without_short(seeds, top, where, warnings)
    steps, raw, last_step = _on_one_axis(seeds, task.low, where, warnings)
    duplicate = np.array([copy is not None for copy in copies([(seed.steps, seed.returns) for seed in seeds])])
    if duplicate.any():
        which = [str(seed.spec.seed) for seed, copy in zip(seeds, duplicate, strict=True) if copy]
        copies_are = f"seed {which[0]} is an exact copy of another"
        if len(which) > 1:
            copies_are = f"seeds {', '.join(which)} are exact copies of others"
        message = f"{where}: {copies_are}; the default method leaves copies out"
        warnings.append(RunWarning(code="duplicate-seeds", message=message, where=where))
    costs = _costs(seeds)
    return Cell(
        spec=spec,
        seeds=np.array([seed.spec.seed for seed in seeds], dtype=np.int64),
        env_steps=steps,
        returns=1000 * (raw - task.low) / (task.high - task.low),
        last_step=last_step,
        diverged=np.array([seed.diverged for seed in seeds]),
        duplicate=duplicate,
        costs=costs,
        aggregate=study.aggregate,
        resets=_resets(seeds, study, last_step),
        size=size,
        model_size=costs.get("critic_parameters") if model_size is None else model_size,
    )


def _where(spec: RunSpec, size: str) -> str:
    """A cell in words."""
    return with_size(f"{spec.stage} {spec.describe()}", size)


def copies(curves: Sequence[tuple[Steps, Floats]]) -> list[int | None]:
    """For each curve the index of an earlier one that it equals byte for byte, or None.

    A curve of fewer than four distinct returns is never called a copy: where a task is never or always solved, honest
    seeds coincide, and leaving them out would shift the mean.

    Args:
        curves: (env_steps, returns) of each seed, each of shape (n_steps,), returns finite.
    """
    first: dict[tuple[bytes, bytes], int] = {}
    found: list[int | None] = []
    for index, (steps, returns) in enumerate(curves):
        key = (steps.tobytes(), returns.tobytes())
        earlier = first.setdefault(key, index)
        copied = earlier != index and len(np.unique(returns)) >= _DISTINCT_VALUES
        found.append(earlier if copied else None)
    return found


def _end(seed: _Seed) -> int:
    """Env steps up to which a seed was seen: a run may continue past its last logged row, where nothing is known but that no return was."""
    return max(seed.status.last_step, int(seed.steps[-1]) if seed.steps.size else 0)


def _without_short(seeds: list[_Seed], top: float, where: str, warnings: list[RunWarning]) -> list[_Seed]:
    """Without seeds that end early, so that one lost run does not cost the others their data.

    Args:
        seeds: of one cell.
        top: the highest threshold, in the task's units.
    """
    ends = [_end(seed) for seed in seeds if not seed.diverged]
    least = _SHORT * float(np.median(ends)) if ends else 0.0
    short = [seed for seed in seeds if not seed.diverged and _end(seed) < least and not _reaches(seed.returns, top)]
    if not short or len(seeds) - len(short) < 2:
        return seeds
    which = f"seed {short[0].spec.seed} ends" if len(short) == 1 else f"seeds {', '.join(str(seed.spec.seed) for seed in short)} end"
    message = (
        f"{where}: {which} at env step {', '.join(f'{_end(seed):,}' for seed in short)}, before {_SHORT:g} of the median "
        f"{np.median(ends):,.0f} and below the top threshold; left out, the other {len(seeds) - len(short)} seeds are used"
    )
    warnings.append(RunWarning(code="short-seed", message=message, where=where))
    return [seed for seed in seeds if all(seed is not one for one in short)]


def _reaches(returns: Floats, threshold: float) -> bool:
    """Whether the isotonic regression of a curve does: its last value is the largest mean over any tail."""
    return bool((np.cumsum(returns[::-1]) >= threshold * np.arange(1, len(returns) + 1)).any())


def _on_one_axis(seeds: list[_Seed], low: float, where: str, warnings: list[RunWarning]) -> tuple[Steps, Floats, int]:
    """One axis of env steps for all seeds, shape (n_steps,), their returns at it, (n_seeds, n_steps), and how far all of them were seen.

    Args:
        seeds: of one cell.
        low: the return of a seed that diverged before it logged any.
    """
    lasting = [seed for seed in seeds if not seed.diverged]
    ends = [_end(seed) for seed in lasting or seeds]
    last_step = min(ends) if lasting else max(ends)
    first = seeds[0].steps
    if all(seed.steps is first or np.array_equal(seed.steps, first) for seed in seeds) and first.size:
        return first, np.stack([seed.returns for seed in seeds]), max(last_step, int(first[-1]))
    if lasting and len(set(ends)) > 1:
        message = f"{where}: its seeds end at different env steps, {min(ends)} to {max(ends)}; the range that all of them cover is used"
        warnings.append(RunWarning(code="unequal-lengths", message=message, where=where))
    logged = [seed.steps for seed in lasting or seeds if seed.steps.size]
    start = max((int(steps[0]) for steps in logged), default=0)
    end = (min if lasting else max)((int(steps[-1]) for steps in logged), default=0)
    logged = [inside for steps in logged if (inside := _within(steps, start, end)).size]
    if not logged:
        # without a common range the seeds meet in one point at best
        steps = np.array([last_step], dtype=np.int64)
    elif not lasting:
        steps = min(logged, key=len)
    else:
        steps = reduce(np.intersect1d, logged)
        every = [_within(seed.steps, start, end) for seed in seeds]
        if any(seed.steps.size and not _within(seed.steps, start, end).size for seed in lasting):
            warnings.append(RunWarning(code="interpolated", message=f"{where}: {_ALONE}", where=where))
        if any(np.isin(own, steps).sum() < _SHARED * len(own) for own in every):
            warnings.append(RunWarning(code="binned", message=f"{where}: {_BINNED}", where=where))
            coarsest = min(logged, key=len)
            edges = np.concatenate([[start - 0.5], (coarsest[1:] + coarsest[:-1]) / 2, [end]])
            steps, raw = _binned(seeds, _bins(edges, logged), low)
            return steps, raw, max(last_step, int(steps[-1]))
        more = len(reduce(np.union1d, logged)) - len(steps)
        if more:
            warnings.append(RunWarning(code="unshared-steps", message=f"{where}: {more} {_UNSHARED}", where=where))
    return steps, np.stack([_held(seed, steps, low) for seed in seeds]), max(last_step, int(steps[-1]))


def _within(steps: Steps, start: int, end: int) -> Steps:
    return steps[(steps >= start) & (steps <= end)]


def _bins(edges: Floats, logged: list[Steps]) -> Floats:
    """Those of the edges between which every seed logged something, and a bin is wide enough; the outermost stay.

    Several episodes of a seed in a bin: where episodes of higher return are longer, one that fills a bin alone would count more.

    Args:
        edges: shape (n + 1,), rising.
        logged: env steps of each seed, between the first edge and the last one.
    """
    kept, end = [0], min(int(steps[-1]) for steps in logged)
    while True:
        first = edges[kept[-1]]
        every_seed = max(int(steps[np.searchsorted(steps, first, side="right")]) for steps in logged)
        index = int(np.searchsorted(edges, max(every_seed, (1 + _WIDTH) * first)))
        if index >= len(edges) - 1 or edges[index] >= end:
            return np.asarray(edges[[*kept, -1]])
        kept.append(index)


def _binned(seeds: list[_Seed], edges: Floats, low: float) -> tuple[Steps, Floats]:
    """Means of each seed's returns in bins (edges[i], edges[i + 1]], shape (n_seeds, n), and the env steps they belong to, shape (n,).

    A bin's env step is the mean over seeds of the mean env step logged in it: there the mean return is the bin's, if returns rise
    evenly within it. A diverged seed holds its last return where it logged nothing.
    """
    middles = (edges[1:] + edges[:-1]) / 2
    at, values = np.full((len(seeds), len(middles)), np.nan), np.stack([_held(seed, middles, low) for seed in seeds])
    for row, seed in enumerate(seeds):
        bins = np.searchsorted(edges, seed.steps, side="left") - 1
        inside = (bins >= 0) & (bins < len(middles))
        counts = np.bincount(bins[inside], minlength=len(middles))
        some = counts > 0
        for means, logged in ((at[row], seed.steps), (values[row], seed.returns)):
            means[some] = np.bincount(bins[inside], weights=logged[inside], minlength=len(middles))[some] / counts[some]
    return np.rint(np.nanmean(at, axis=0)).astype(np.int64), values


def _held(seed: _Seed, steps: Steps | Floats, low: float) -> Floats:
    """A seed's returns at env steps of shape (n,), its outermost ones beyond its ends; `low` for one that logged none."""
    if seed.steps is steps or np.array_equal(seed.steps, steps):
        return seed.returns
    return np.interp(steps, seed.steps, seed.returns) if seed.steps.size else np.full(len(steps), low)


def _resets(seeds: list[_Seed], study: Study, last_step: int) -> tuple[float, ...]:
    """Env steps at which networks were reset: those that the study says, else those that any of the seeds' statuses notes.

    The seeds of a cell have one schedule; one that diverged noted the beginning of it. If seeds differ all the same, their mean
    dips at the resets of each.
    """
    utd, every = seeds[0].spec.utd, study.reset_critic_updates
    if every is not None:
        count = int(last_step * utd / every)
        if count > _MOST_RESETS:
            raise UserError(
                f"study.toml, reset_critic_updates: {every} makes {count:,} resets in {seeds[0].spec.describe()}; it is the number of "
                "critic updates between two resets, e.g. 2500000"
            )
        return tuple(every / utd * (1 + index) for index in range(count))
    if study.reset_env_steps:
        return tuple(map(float, study.reset_env_steps))
    noted = [seed.status.notes.get("resets", ()) for seed in seeds]
    return tuple(sorted({float(step) for steps in noted for step in steps}))


def _reset_warning(cells: list[Cell]) -> list[RunWarning]:
    """That there are resets, in one line."""
    dipping = [cell for cell in cells if any(cell.env_steps[0] <= step < cell.env_steps[-1] for step in cell.resets)]
    if not dipping:
        return []
    where = _where(dipping[0].spec, dipping[0].size)
    many = f"{len(dipping)} cells have" if len(dipping) > 1 else f"{where}: has"
    message = f"{many} resets of their networks; after each, points are left out until the mean return is back where it was"
    return [RunWarning(code="resets", message=message.replace("their", "its") if len(dipping) == 1 else message, where=where)]


def _aggregate_warning(cells: list[Cell], aggregate: Aggregate) -> list[RunWarning]:
    """That another one than the mean is taken over seeds, and in how many cells there are too few of them for a difference."""
    if aggregate == "mean" or not cells:
        return []
    message = f"the {AGGREGATES[aggregate]} over the seeds of a cell is used, not their mean (aggregate in study.toml)"
    few = sum(not seeds_trimmed(aggregate, int((~cell.duplicate).sum())) for cell in cells)
    if few:
        message += f"; in {few} of {len(cells)} cells there are so few seeds that the two are the same"
    return [RunWarning(code="aggregate", message=message, where="study.toml")]


def _costs(seeds: list[_Seed]) -> dict[str, float]:
    """Sizes and times per step, means over the seeds that have them."""
    costs: dict[str, float] = {}
    statuses = [seed.status for seed in seeds]
    for name in ("critic_parameters", "actor_parameters", "critic_update_flops", "actor_update_flops"):
        known = [float(value) for value in (getattr(status, name) for status in statuses) if value is not None]
        if known:
            costs[name] = sum(known) / len(known)
    warm_up = seeds[0].spec.settings.get("warm_up")
    if isinstance(warm_up, int | float):
        costs["warm_up"] = float(warm_up)
    ratios = {
        "env_seconds_per_step": [(s.env_seconds, s.last_step) for s in statuses],
        # all that a run does for an env step but its updates: stepping, acting, evaluation, diagnostics
        "step_seconds": [(_less(s.wall_seconds, s.update_seconds, s.env_seconds), s.last_step) for s in statuses],
        "update_seconds_per_critic_update": [(s.update_seconds, s.critic_updates) for s in statuses],
    }
    for name, pairs in ratios.items():
        known = [seconds / count for seconds, count in pairs if seconds is not None and count > 0]
        if known:
            costs[name] = sum(known) / len(known)
    return costs


def _less(wall: float | None, updates: float | None, otherwise: float | None) -> float | None:
    """Wall seconds without those of the updates; `otherwise` where they were not recorded."""
    return max(wall - updates, 0.0) if wall is not None and updates is not None else otherwise


def _seed_count_warnings(cells: list[Cell]) -> list[RunWarning]:
    warnings = []
    usual: dict[str, int] = {}
    for stage in {cell.spec.stage for cell in cells}:
        counts = Counter(len(cell.seeds) for cell in cells if cell.spec.stage == stage)
        usual[stage] = max(counts, key=lambda count: (counts[count], count))
    for cell in cells:
        where = _where(cell.spec, cell.size)
        count = len(cell.seeds)
        if count == 1:
            message = f"{where}: {_ONE_SEED}"
            warnings.append(RunWarning(code="one-seed", message=message, where=where))
        elif count < usual[cell.spec.stage]:
            message = f"{where}: has {count} seeds where most cells have {usual[cell.spec.stage]}"
            warnings.append(RunWarning(code="fewer-seeds", message=message, where=where))
    return warnings


def _fewer(warnings: list[RunWarning]) -> list[RunWarning]:
    """Each once; those that a study of unequal episodes has everywhere in one line each."""
    fewer = list(dict.fromkeys(warnings))
    for code, message in (("binned", _BINNED), ("unshared-steps", _UNSHARED), ("one-seed", _ONE_SEED)):
        same = [warning for warning in fewer if warning.code == code]
        if len(same) > 1:
            where = f"{len(same)} cells, the first: {same[0].where}"
            fewer = [warning for warning in fewer if warning.code != code]
            fewer.append(RunWarning(code=code, message=f"{where}: {message}", where=where))
    return fewer
