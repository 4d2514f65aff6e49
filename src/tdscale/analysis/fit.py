"""The whole chain, cells to laws: crossings, B*(σ) and η*(σ), D_J(σ), C_J(σ), σ*(F) (docs/method.md).

`FitOptions` says what is asked for, `measure` finds the crossings, `fit_measured` fits every law. The steps in which methods
differ are those of `Method`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tdscale.analysis.compute import Accounting, ComputeUnit, Counting, Models, compute_models
from tdscale.analysis.crossings import Crossings, find_crossings, reached_at_start
from tdscale.analysis.data_law import DataPoints, collect_points
from tdscale.analysis.fitted_laws import DataLaw, PowerLaw, Quantity
from tdscale.analysis.hyperparameters import SweepLaws, law_as_run
from tdscale.analysis.method import DEFAULT, Method
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.size_family import SizeFamily
from tdscale.analysis.sizes import Sizes, find_sizes
from tdscale.analysis.views import at_size, sized, with_budget
from tdscale.errors import UserError
from tdscale.runs.types import Cell, RunWarning


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What a fit is asked for, and by which method.

    Attributes:
        study: name of the study.
        tasks: the tasks, in the order of reports.
        thresholds: J, rising, normalised return.
        method: `DEFAULT`, or another one, as `tdscale.paper.PAPER`.
        data_cost: δ in the compute unit per env step, or "measured"; None leaves the budget law out.
        accounting: how compute is counted, where the method leaves that open.
        compute_unit: of C.
        model_size: N, for accounting "paper".
        published: B*(σ) and η*(σ) known from elsewhere, for a method that follows them where there is no sweep: the authors' compute
            and budget have the B of their own laws, not the rounded one that their runs used.
        n_draws: bootstrap replicates.
        seed: of the random draws.
        where: conditions on settings by which the runs were chosen, for example ("size=m",).
        reading: what the study says of how its cells are read, as text, ("name = value", ...); the cells are so already.
    """

    study: str
    tasks: tuple[str, ...]
    thresholds: tuple[float, ...]
    method: Method = DEFAULT
    data_cost: float | Literal["measured"] | None = None
    accounting: Literal["counted", "paper"] = "counted"
    compute_unit: ComputeUnit = "flops"
    model_size: float | None = None
    published: tuple[PowerLaw, PowerLaw] | None = None
    n_draws: int = 200
    seed: int = 0
    where: tuple[str, ...] = ()
    reading: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n_draws < 1:
            raise ValueError(f"n_draws is {self.n_draws}; there must be at least 1 bootstrap draw, better 100")

    @property
    def counting(self) -> Counting:
        """How compute is counted."""
        accounting: Accounting = self.method.accounting or self.accounting
        recorded = self.method.accounting is not None
        return Counting(unit=self.compute_unit, accounting=accounting, model_size=self.model_size, recorded_size=recorded)

    @property
    def asked(self) -> str:
        """What a study file asks for, as text: laws that were asked for otherwise are not this study's any more."""
        published = [(law.exponent, *law.coefficients.tolist()) for law in self.published or ()]
        asked = (self.tasks, self.thresholds, self.data_cost, self.accounting, self.compute_unit, self.model_size, published)
        return repr((*asked, *self.reading))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What laws are fitted to: a study's cells and their crossings. Found once by `measure` and handed on.

    Attributes:
        options: what was asked for.
        cells: of every stage, sorted by task, σ, B, η.
        sweep, sweep_crossings: the cells that choose B and η, in the order of their crossings; () and None without a sweep.
        measuring: the cells that measure D_J(σ), one for each (task, σ).
        points: their D_J.
        sizes: of the cells, where there are two or more; then `points` are of σ and N both.
        baseline_cells, baseline: the same at constant B and η, where there are such runs beside those of stage 2; else () and None.
        warnings: what the reader should know about `measuring`.
    """

    options: FitOptions
    cells: tuple[Cell, ...]
    sweep: tuple[Cell, ...]
    sweep_crossings: Crossings | None
    measuring: tuple[Cell, ...]
    points: DataPoints
    sizes: Sizes | None = None
    baseline_cells: tuple[Cell, ...] = ()
    baseline: DataPoints | None = None
    warnings: tuple[RunWarning, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Laws, and what they were fitted to."""

    laws: ScalingLaws
    measured: Measured


def measure(cells: Sequence[Cell], options: FitOptions) -> Measured:
    """Crossings of the sweep, of the cells that measure D_J(σ), and of the baseline.

    D_J is measured by the stage "scaling" where there is one: fresh seeds at the fitted B and η. Else by the baseline's runs,
    else by the sweep's best cells, whose D is flattered by the choice.

    Args:
        cells: of the stages "sweep", "scaling" and "baseline"; at most one cell of the latter two at each (task, σ).
        options: what is asked for.

    Raises:
        ValueError: if there is no cell at all, or two of stage 2 stand at one (task, σ).
    """
    if not cells:
        raise ValueError("there is no cell to fit")
    sizes = find_sizes(cells)
    if sizes is not None and not options.method.knows_sizes:
        chosen = f"--where, one of {', '.join(sizes.names)}" if len(sizes.names) < 9 else "--where"
        raise UserError(f"--method {options.method.name}: knows no model size; choose the runs of one size by {chosen}, or leave it out")
    # of cells with equal D the first one counts, so the order must not be the caller's
    ordered = sorted(cells, key=lambda c: (c.spec.task, c.spec.utd, c.spec.batch_size, c.spec.learning_rate, c.spec.cell_id))
    by_stage = {stage: tuple(cell for cell in ordered if cell.spec.stage == stage) for stage in ("sweep", "scaling", "baseline")}
    sweep, scaling, constant = by_stage.values()
    sweep_crossings = _crossings(sweep, options) if sweep else None
    baseline, warnings = None, []
    measuring = scaling or constant
    if measuring:
        crossings = _crossings(measuring, options)
    else:
        assert sweep_crossings is not None
        best = _best_cells(sweep, sweep_crossings)
        measuring, crossings = tuple(sweep[i] for i in best), _of_cells(sweep_crossings, best)
        message = (
            "D_J is taken from the sweep's own best cells: the seeds that chose them flatter it (by"
            " 0.1 to 0.2 in log D with 3 to 5 seeds); fresh seeds would not"
        )
        warnings.append(RunWarning("no-fresh-seeds", message, "scaling"))
    warnings += reached_at_start(measuring, crossings)
    if scaling and constant:
        baseline = collect_points(constant, _crossings(constant, options), options.tasks, sizes)
    return Measured(
        options=options,
        cells=tuple(ordered),
        sweep=sweep,
        sweep_crossings=sweep_crossings,
        measuring=measuring,
        points=collect_points(measuring, crossings, options.tasks, sizes),
        sizes=sizes,
        baseline_cells=constant if scaling else (),
        baseline=baseline,
        warnings=tuple(warnings),
    )


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
        cells: as `measure` takes them.
        options: what is asked for.
        inputs: fingerprint of the curves, kept in the result.
        versions: of the libraries, kept in the result.
        found: warnings of earlier steps, put before this one's.

    Raises:
        ValueError: as `measure`.
    """
    return fit_measured(measure(cells, options), inputs=inputs, versions=versions, found=found)


def fit_measured(
    measured: Measured, *, inputs: str = "", versions: Mapping[str, str] | None = None, found: Sequence[RunWarning] = ()
) -> ScalingLaws:
    """`fit_laws`, of what was measured."""
    options = measured.options
    batch_size, learning_rate, remarks = fit_hyperparameters(measured)
    warnings = [*found, *remarks, *measured.warnings]
    batch_size = _with_used_values(batch_size, measured.measuring, "batch_size", options)
    learning_rate = _with_used_values(learning_rate, measured.measuring, "learning_rate", options)
    models, remarks = compute_models(measured.cells, measured.measuring, options.tasks, options.counting)
    data: list[DataLaw] = []
    if measured.sizes is None:
        data, found_data = options.method.data_laws(measured.points, options.seed)
        remarks = [*found_data, *remarks]
        warnings += remarks
    laws = ScalingLaws(
        study=options.study,
        method=options.method,
        n_draws=options.n_draws,
        seed=options.seed,
        where=options.where,
        tasks=options.tasks,
        thresholds=options.thresholds,
        batch_size=batch_size,
        learning_rate=learning_rate,
        data=tuple(data),
        budget=None,
        compute=models.get(options.compute_unit, {}),
        data_cost=None if options.data_cost == "measured" else options.data_cost,
        data_cost_source="measured" if options.data_cost == "measured" else "given",
        unit=options.compute_unit,
        other_units=models,
        used_batch_size=_used_batch_sizes(measured.measuring, options.tasks),
        asked=options.asked,
        inputs=inputs,
        warnings=tuple(warnings),
        versions=dict(versions or {}),
    )
    if measured.sizes is None:
        return with_budget(laws)
    family, remarks = _family(measured, measured.sizes, batch_size, learning_rate)
    return sized(replace(laws, warnings=(*warnings, *remarks)), family)


def _family(
    measured: Measured, sizes: Sizes, batch_size: PowerLaw | None, learning_rate: PowerLaw | None
) -> tuple[SizeFamily, list[RunWarning]]:
    """The laws over σ and N, and what to know about them."""
    data, warnings = measured.options.method.size_laws(measured.points, measured.options.seed)
    models, remarks = _size_models(measured, sizes)
    used = {name: [cell for cell in measured.measuring if cell.size == name] for name in sizes.names}
    return SizeFamily(
        sizes=sizes,
        data=tuple(data),
        batch_size=batch_size,
        learning_rate=learning_rate,
        models=models,
        used_batch_size={name: _used_batch_sizes(cells, measured.options.tasks) for name, cells in used.items()},
    ), [*warnings, *remarks]


def _size_models(measured: Measured, sizes: Sizes) -> tuple[dict[str, Models], list[RunWarning]]:
    """Each size's compute models, in the units that all sizes have, and why others are missing."""
    found: dict[str, Models] = {}
    warnings: list[RunWarning] = []
    for name, model_size in zip(sizes.names, sizes.model_size, strict=True):
        cells, measuring = ([cell for cell in group if cell.size == name] for group in (measured.cells, measured.measuring))
        counting = replace(measured.options.counting, model_size=model_size)
        found[name], remarks = compute_models(cells, measuring, measured.options.tasks, counting)
        warnings += [warning for warning in remarks if warning not in warnings]
    units = set.intersection(*(set(models) for models in found.values()))
    return {name: {unit: models[unit] for unit in models if unit in units} for name, models in found.items()}, warnings


def with_times(laws: ScalingLaws, measured: Measured) -> ScalingLaws:
    """Laws that were read from laws.json, with what the runs measured in seconds, which that file leaves out."""
    options = measured.options
    if measured.sizes is not None and laws.sizes is not None:
        models_of_size, _ = _size_models(measured, measured.sizes)
        return at_size(replace(laws, sizes=replace(laws.sizes, models=models_of_size)), laws.model_size or laws.sizes.middle)
    models, _ = compute_models(measured.cells, measured.measuring, options.tasks, options.counting)
    return replace(laws, compute=models.get(laws.unit, {}), other_units=models)


def fit_hyperparameters(measured: Measured) -> SweepLaws:
    """B*(σ) and η*(σ) from the sweep; both None where there is none."""
    options, sweep = measured.options, measured.sweep
    # runs at constant B and η, a baseline alone, do not follow the published laws
    follows = options.method.follows_published and any(cell.spec.stage == "scaling" for cell in measured.cells)
    if not sweep and follows and options.published is not None:
        message = "there is no sweep over B and η: B*(σ), η*(σ) are the published laws that the study names, known without intervals"
        return *options.published, [RunWarning("published-laws", message + _no_offsets(options.method), "sweep")]
    if measured.sweep_crossings is None:
        message = "there is no sweep over B and η: the laws B*(σ), η*(σ) shown are those the runs used, not the best ones"
        return None, None, [RunWarning("no-sweep", message + _no_offsets(options.method), "sweep")]
    return options.method.sweep_laws(sweep, measured.sweep_crossings, options.tasks, options.seed)


def _no_offsets(method: Method) -> str:
    return "; --offsets changes nothing: offsets are fitted to a sweep" if method.offsets else ""


def _with_used_values(law: PowerLaw | None, cells: Sequence[Cell], quantity: Quantity, options: FitOptions) -> PowerLaw | None:
    """Without a sweep the law through the values that the runs used, or the published law with those values as its points."""
    if law is not None and law.source == "sweep":
        return law
    used = _used_values(cells, quantity, options)
    if law is None or used is None:
        return law or used
    return replace(law, utd=used.utd, points=used.points, points_low=used.points_low, points_high=used.points_high)


def _used_values(cells: Sequence[Cell], quantity: Quantity, options: FitOptions) -> PowerLaw | None:
    """The law through the values that the runs used; None with fewer than two σ."""
    try:
        return law_as_run(quantity, options.tasks, cells, options.n_draws)
    except ValueError:
        return None


def _crossings(cells: Sequence[Cell], options: FitOptions) -> Crossings:
    return find_crossings(cells, options.thresholds, n_draws=options.n_draws, seed=options.seed, rule=options.method.crossing)


def _of_cells(crossings: Crossings, chosen: Sequence[int]) -> Crossings:
    """The crossings of some of the cells."""
    kept = {name: getattr(crossings, name)[chosen] for name in ("data", "lower", "upper", "bound")}
    places = tuple(crossings.places[index] for index in chosen)
    return replace(crossings, **kept, draws=crossings.draws[:, chosen], places=places)


def _best_cells(cells: Sequence[Cell], crossings: Crossings) -> list[int]:
    """Index of the cell with the least D at the highest threshold reached, for each (task, σ), and size."""
    places: dict[tuple[str, float, str], list[int]] = {}
    for index, cell in enumerate(cells):
        places.setdefault((cell.spec.task, cell.spec.utd, cell.size), []).append(index)
    best = []
    for members in places.values():
        data = crossings.data[members]
        reached = np.isfinite(data).any(axis=0)
        column = int(np.flatnonzero(reached)[-1]) if reached.any() else 0
        best.append(members[int(np.argmin(data[:, column]))])
    return sorted(best)


def _used_batch_sizes(cells: Sequence[Cell], tasks: Sequence[str]) -> dict[str, tuple[tuple[float, float], ...]]:
    """By task, (σ, B) of the cells that measure D_J."""
    return {task: tuple(sorted((c.spec.utd, float(c.spec.batch_size)) for c in cells if c.spec.task == task)) for task in tasks}
