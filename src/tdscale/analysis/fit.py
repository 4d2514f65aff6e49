"""The whole chain, cells to laws: crossings, B*(σ) and η*(σ), D_J(σ), C_J(σ), σ*(F) (METHOD.md section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tdscale.analysis.budget import fit_budget_law
from tdscale.analysis.compute import ComputeModel
from tdscale.analysis.crossings import Crossings, find_crossings
from tdscale.analysis.data import DataPoints, collect_points, fit_data_laws
from tdscale.analysis.hyperparameters import fit_sweep_laws, used_values_law
from tdscale.analysis.laws import PowerLaw, ScalingLaws
from tdscale.analysis.options import FitOptions
from tdscale.runs.types import Cell, RunWarning


def fit_laws(
    cells: Sequence[Cell],
    options: FitOptions,
    *,
    inputs: str = "",
    versions: Mapping[str, str] | None = None,
    found: Sequence[RunWarning] = (),
) -> ScalingLaws:
    """Fit every law that the cells support; what they don't support is None or absent, and a warning says why.

    Args:
        cells: of the stages "sweep" (chooses B and η) and "scaling" (measures D_J at them); either may be absent.
        options: what is asked for.
        inputs: fingerprint of the curves, kept in the result.
        versions: of the libraries, kept in the result.
        found: warnings of earlier steps, put before this one's.

    Raises:
        ValueError: if there is no cell at all.
    """
    if not cells:
        raise ValueError("there is no cell to fit")
    warnings = list(found)
    batch_size, learning_rate, remarks = fit_hyperparameters(cells, options)
    warnings += remarks
    measured, points, remarks = measure_data(cells, options, batch_size, learning_rate)
    warnings += remarks
    if batch_size is None:
        batch_size = used_values_law(measured, "batch_size", options)
    if learning_rate is None:
        learning_rate = used_values_law(measured, "learning_rate", options)
    data, remarks = fit_data_laws(points, options)
    warnings += remarks
    compute, remarks = _compute_models(measured, options)
    warnings += remarks
    laws = ScalingLaws(
        study=options.study,
        method=options.method,
        tasks=options.tasks,
        thresholds=options.thresholds,
        batch_size=batch_size,
        learning_rate=learning_rate,
        data=tuple(data),
        budget=None,
        compute=compute,
        data_cost=options.data_cost,
        inputs=inputs,
        warnings=tuple(warnings),
        versions=dict(versions or {}),
    )
    return _with_budget(laws, options)


def fit_hyperparameters(cells: Sequence[Cell], options: FitOptions) -> tuple[PowerLaw | None, PowerLaw | None, list[RunWarning]]:
    """B*(σ) and η*(σ) from the cells of the stage "sweep"; both None where there are none."""
    sweep = [cell for cell in cells if cell.spec.stage == "sweep"]
    if not sweep:
        message = "there is no sweep over B and η: the laws B*(σ), η*(σ) shown are those the runs used, not the best ones"
        return None, None, [RunWarning("no-sweep", message, "sweep")]
    crossings = _crossings(sweep, options)
    return fit_sweep_laws(sweep, crossings, options)


def measure_data(
    cells: Sequence[Cell], options: FitOptions, batch_size: PowerLaw | None = None, learning_rate: PowerLaw | None = None
) -> tuple[list[Cell], DataPoints, list[RunWarning]]:
    """The cells that measure D_J(σ), one for each (task, σ), and their crossings.

    Stage "scaling" where there is one: fresh seeds at the fitted B and η. Else the baseline's runs, else the sweep's best
    cells, whose D is flattered by the choice.
    """
    for stage in ("scaling", "baseline"):
        chosen = [cell for cell in cells if cell.spec.stage == stage]
        if chosen:
            kept, remarks = _one_per_place(chosen, batch_size, learning_rate)
            return kept, collect_points(kept, _crossings(kept, options), options.tasks), remarks
    sweep = [cell for cell in cells if cell.spec.stage == "sweep"]
    crossings = _crossings(sweep, options)
    best = _best_cells(sweep, crossings)
    message = (
        "D_J is taken from the sweep's own best cells: the seeds that chose them flatter it (by"
        " 0.1 to 0.2 in log D with 3 to 5 seeds); fresh seeds would not"
    )
    warning = RunWarning("no-fresh-seeds", message, "scaling")
    kept = [sweep[i] for i in best]
    reduced = replace(
        crossings, **{name: getattr(crossings, name)[best] for name in ("data", "lower", "upper", "bound")}, draws=crossings.draws[:, best]
    )
    return kept, collect_points(kept, reduced, options.tasks), [warning]


def _crossings(cells: Sequence[Cell], options: FitOptions) -> Crossings:
    return find_crossings(cells, options.thresholds, n_draws=options.n_draws, seed=options.seed, paper=options.paper)


def _best_cells(cells: Sequence[Cell], crossings: Crossings) -> list[int]:
    """Index of the cell with the least D at the highest threshold reached, for each (task, σ)."""
    places: dict[tuple[str, float], list[int]] = {}
    for index, cell in enumerate(cells):
        places.setdefault((cell.spec.task, cell.spec.utd), []).append(index)
    best = []
    for members in places.values():
        data = crossings.data[members]
        reached = np.isfinite(data).any(axis=0)
        column = int(np.flatnonzero(reached)[-1]) if reached.any() else 0
        best.append(members[int(np.argmin(data[:, column]))])
    return sorted(best)


def _one_per_place(
    cells: Sequence[Cell], batch_size: PowerLaw | None, learning_rate: PowerLaw | None
) -> tuple[list[Cell], list[RunWarning]]:
    """Where several cells stand at one (task, σ), as after a refitted sweep, the one nearest the present laws."""
    places: dict[tuple[str, float], list[Cell]] = {}
    for cell in cells:
        places.setdefault((cell.spec.task, cell.spec.utd), []).append(cell)

    def distance(cell: Cell) -> float:
        total = 0.0
        for law, value in ((batch_size, cell.spec.batch_size), (learning_rate, cell.spec.learning_rate)):
            if law is not None:
                total += abs(float(np.log(value / law.predict([cell.spec.utd], cell.spec.task)[0])))
        return total

    kept, spare = [], 0
    for members in places.values():
        spare += len(members) - 1
        kept.append(min(members, key=distance) if len(members) > 1 else members[0])
    if not spare:
        return kept, []
    message = f"{spare} cells of stage 2 stand at a (task, σ) that has another one nearer the fitted B and η; they are left out"
    return kept, [RunWarning("spare-cells", message, "scaling")]


def _compute_models(cells: Sequence[Cell], options: FitOptions) -> tuple[dict[str, ComputeModel], list[RunWarning]]:
    if options.paper or options.accounting == "paper":
        if options.model_size is not None:
            return {task: ComputeModel.paper(options.model_size) for task in options.tasks}, []
        if options.accounting == "paper":
            message = "model_size (N) is not given, so compute can't be told; add model_size = … to study.toml"
            return {}, [RunWarning("no-model-size", message, "model_size")]
    models = {}
    for cell in cells:
        costs = cell.costs
        if "critic_parameters" in costs and "actor_parameters" in costs:
            models[cell.spec.task] = ComputeModel.counted(
                costs["critic_parameters"],
                costs["actor_parameters"],
                actor_per_critic_update=cell.spec.settings.get("actor_updates") == "per-critic-update",
                warm_up=costs.get("warm_up", 0.0),
            )
            if options.paper:
                models[cell.spec.task] = ComputeModel.paper(costs["critic_parameters"])
    if set(models) >= set(options.tasks):
        return models, []
    message = "the networks' sizes are not recorded, so compute can't be counted; set accounting = \"paper\" and model_size in study.toml"
    return {}, [RunWarning("no-network-size", message, "accounting")]


def _with_budget(laws: ScalingLaws, options: FitOptions) -> ScalingLaws:
    """The laws with σ*(F), where δ and the compute are known."""
    if not laws.data or not laws.compute or laws.batch_size is None:
        return laws
    if options.data_cost is None:
        warning = RunWarning(
            "no-data-cost", "data_cost (δ) is not given, so there is no budget law; add data_cost = … to study.toml", "data_cost"
        )
        return replace(laws, warnings=(*laws.warnings, warning))
    budget = fit_budget_law(laws.data, laws.flops, options.data_cost, paper=options.paper)
    warnings = list(laws.warnings)
    edge = [point.threshold for point in budget.points if point.at_edge]
    if edge:
        message = (
            f"at J = {', '.join(f'{j:.4g}' for j in edge)} the cheapest σ lies at an end of the σ that"
            " were run; the true optimum may lie beyond"
        )
        warnings.append(RunWarning("budget-at-edge", message, "budget"))
    if not budget.fitted:
        message = "σ*(F) is not fitted: fewer than two thresholds have their cheapest σ inside the σ that were run"
        warnings.append(RunWarning("not-identified", message, "budget"))
    return replace(laws, budget=budget, warnings=tuple(warnings))
