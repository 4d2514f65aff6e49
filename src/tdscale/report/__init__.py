"""The report of a study: figures, tables, and one self-contained page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from tdscale.analysis.fit import Measured
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.design.belief import Belief
from tdscale.design.candidates import AdaptiveSweep
from tdscale.planning import Confirmation, Plan
from tdscale.planning.sizes import Paths
from tdscale.report import evidence, figures, style
from tdscale.report.charts import chart
from tdscale.report.losses import SizeLoss, losses_by_size, losses_table
from tdscale.report.page import Drawing, render_page
from tdscale.report.planner import planner_tables
from tdscale.report.proposed import proposed_tables
from tdscale.report.rounds import Story, tell_rounds
from tdscale.report.sizes import at_which_size, paths_of, size_tables
from tdscale.report.surfaces import surfaces, sweep_belief
from tdscale.report.tables import all_tables, to_csv
from tdscale.runs.types import RunDiagnostics
from tdscale.validation import Validation
from tdscale.whole_file import write_whole

__all__ = ["write_report"]


def write_report(
    directory: Path,
    laws: ScalingLaws,
    measured: Measured | None,
    *,
    plans: Sequence[Plan],
    validation: Validation,
    study_summary: Mapping[str, str],
    diagnostics: Sequence[RunDiagnostics] = (),
    confirmations: Sequence[Confirmation] = (),
    adaptive: AdaptiveSweep | None = None,
    scales: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """Write report.html, figures/*.svg and *.png, and tables/*.csv into `directory`; each file whole or not at all.

    The same arguments give the same page, byte for byte. A figure or table without data is left out.

    Args:
        directory: the study's; made where it is missing.
        laws: what is reported.
        measured: what they were fitted to; None draws the laws alone.
        plans: answers shown in the section "Plan", in this order.
        validation: what was checked on held-out runs.
        study_summary: facts on the study for the summary, label to text.
        diagnostics: what runs logged beside their returns.
        confirmations: plans that were run.
        adaptive: how stage 1 was chosen, where it was run in rounds.
        scales: by task, the raw returns that are 0 and 1000 on the normalised scale.

    Returns:
        The path of report.html.
    """
    family, measured_whole, paths = laws.sizes, measured, paths_of(laws)
    losses = losses_by_size(diagnostics, laws.tasks, None if family is None else family.sizes)
    if family is not None and laws.model_size is not None:  # what is of σ alone is of one size
        size = family.sizes.nearest(laws.model_size)
        diagnostics = [run for run in diagnostics if run.size == size]
        measured = None if measured is None else evidence.at_size(measured, laws.model_size)
    points, sweep = (None, ()) if measured is None else (measured.points, measured.sweep)
    belief = sweep_belief(measured, adaptive)
    story = tell_rounds(adaptive, sweep, belief)
    drawn = _drawn(
        _figures(laws, measured, measured_whole, validation, diagnostics, belief, adaptive, story) | _size_figures(laws, paths, losses),
        at_which_size(laws),
        choosing=story is not None,
    )
    tables = [*all_tables(laws, points, plans, validation, confirmations), *proposed_tables(laws, sweep)]
    tables += [story.table] if story is not None else []
    tables = [replace(table, note=_at(table.note, table.name, at_which_size(laws))) for table in tables]
    tables = [*size_tables(laws, paths), *([losses_table(losses)] if losses else []), *tables]
    figure_folder, table_folder = directory / "figures", directory / "tables"
    figure_folder.mkdir(parents=True, exist_ok=True)
    table_folder.mkdir(parents=True, exist_ok=True)
    drawings = []
    for drawing, figure in drawn:
        svg = style.to_svg(figure, drawing.name)
        write_whole(figure_folder / f"{drawing.name}.svg", svg.encode(), lasting=False)
        write_whole(figure_folder / f"{drawing.name}.png", style.to_png(figure), lasting=False)
        drawings.append(replace(drawing, svg=svg, chart=chart(figure)))
    for table in tables:
        write_whole(table_folder / f"{table.name}.csv", to_csv(table).encode(), lasting=False)
    _clear_stale(figure_folder, {d.name for d in drawings}, FIGURE_NAMES, (".svg", ".png"))
    _clear_stale(table_folder, {t.name for t in tables}, TABLE_NAMES, (".csv",))
    page = render_page(
        laws,
        planner=planner_tables(laws, scales),
        drawings=drawings,
        tables=tables,
        plans=plans,
        validation=validation,
        study_summary=study_summary,
        confirmations=confirmations,
        choosing=story,
        paths=paths,
    )
    path = directory / "report.html"
    write_whole(path, page.encode())
    return path


_CAPTIONS: dict[str, tuple[str, str]] = {
    "data": (
        "data",
        "Data until return J against σ: the law (dashed beyond the σ that were run), its 80 % interval, and every task’s points, "
        "shifted onto the shared law. The paper’s Figure 2, left.",
    ),
    "data-by-task": ("data", "The same for each task, unshifted. Tasks lean on one shape, each has its own scale."),
    "compute": (
        "data",
        "Compute until return J: the law’s at the fitted B*(σ), the points’ at the B that was run. The paper’s Figure 2, right.",
    ),
    "compute-by-task": ("data", "Compute for each task."),
    "pareto": (
        "frontier",
        "Data against compute until the highest J, σ rising along the line, with the law’s 80 % interval and the tasks’ mean at each σ. "
        "The paper’s Figure 1, left.",
    ),
    "frontier": (
        "frontier",
        "Frontiers for several J. The star is the cheapest way to J; the dashed line through it joins all (C, D) "
        "of the same budget. The paper’s Figure 1, right, and Figure 3.",
    ),
    "budget": (
        "frontier",
        "The cheapest σ for each budget, one point per threshold, with 80 % intervals; the line is the law σ*(F), "
        "dashed beyond what was fitted; crosses are what it says of the largest budgets when it is fitted without them. "
        "The paper’s Figure 1, middle.",
    ),
    "hyperparameters": (
        "hyperparameters",
        "B* and η* against σ with 80 % intervals. Tasks share one exponent; their points are shifted to one intercept. "
        "The paper’s Figure 5, left and middle.",
    ),
    "best-pairs": (
        "hyperparameters",
        "Best B against best η, a point for each task and σ, with 80 % intervals. The paper’s Figure 5, right.",
    ),
    "selection": (
        "hyperparameters",
        "How the best B and η are found, at one task and σ: D over the grid with 80 % intervals, and the best value over bootstrap draws. "
        "The paper’s Figure 7, right.",
    ),
    "surface": (
        "hyperparameters",
        "The response surface: how much more data a cell needs than the best B and η of its task and σ, with the cells that were run, "
        "the laws’ B*(σ), η*(σ), and the best of each task and σ by itself, which a few cells leave uncertain.",
    ),
    "regret": (
        "choosing",
        "What the choice of B and η was expected to cost after each round, as log D above the best ones’ (0.05: 5 % more data), "
        "mean over tasks and σ.",
    ),
    "isotonic": (
        "curves",
        "From a curve to D_J: the seeds’ mean (or their `aggregate`, where study.toml gives one), its isotonic regression without the "
        "dips after resets, and the first env step at which that reaches J. "
        "The paper’s Figure 7, left.",
    ),
    "curves": (
        "curves",
        "Return against env steps: single seeds faint, their mean (or `aggregate`) thin, its isotonic fit thick. "
        "D_J is where the fit first reaches a threshold (dashed).",
    ),
    "overfitting": (
        "training",
        "Overfitting (squared TD error on the newest transitions less that on uniform ones, mean over training; where it was logged also "
        "that on transitions of validation environments) against σ and B; "
        "norm of the critics’ parameters at the end against σ and η. A point per cell; lines of least absolute error. "
        "The paper’s Figure 4.",
    ),
    "critical-batch": (
        "training",
        "Critical batch size over training, from squared gradient norms at batches of 64 and 1024, each averaged over a rolling window. "
        "The paper’s Figure 8.",
    ),
    "critical-against-best": ("training", "The law’s best batch size against the critical one, a point per cell. The paper’s Figure 9."),
    "extrapolation": (
        "validation",
        "Frontiers fitted without the σ that need most data, and without those that need most compute, against what was measured "
        "there; and, where there are such runs, D with the fitted B*(σ), η*(σ) against D with constant ones. The paper’s Figure 6.",
    ),
    "validation": (
        "validation",
        "How predictions did on runs that the fit had not seen; beside it, where there are such runs, "
        "the data that constant B and η need relative to the fitted ones.",
    ),
}
_SIZE_CAPTIONS: dict[str, str] = {
    "sizes-data": "Data until return J: against σ for each model size N, and against N for each σ. Lines are the law, dashed beyond what "
    "was run, with 80 % intervals; points are the mean over the tasks that reach J.",
    "sizes-compute": "Compute until return J in the same way, at the B*(σ, N) of the laws.",
    "sizes-hyperparameters": "The best B and η against N for each σ, with 80 % intervals; points are the tasks’ mean.",
    "sizes-frontier": "Data against compute until return J, σ rising along each line. The grey line joins the best of all N between the "
    "least and the largest that were run.",
    "sizes-paths": "The cheapest σ and N for each budget, a point per threshold, with 80 % intervals; the line is the power law through "
    "them. A hollow point lies at an end of what was run: the true optimum may lie beyond.",
    "sizes-losses": "TD error on validation transitions against B, a point per cell, brought to the mean over σ; the lines have one slope "
    "for all σ. Means over the last fifth of the env steps that the cells of a size and σ share. The follow-up to the paper says that it "
    "rises with B in small networks and not in large ones: here are the slopes, with 80 % intervals.",
}
_CAPTIONS |= {name: ("sizes", caption) for name, caption in _SIZE_CAPTIONS.items()}
# of a study with sizes these are of the whole study
_OF_THE_STUDY = frozenset({*_SIZE_CAPTIONS, "validation", "held_out", "plans", "confirmations"})
FIGURE_NAMES = frozenset(_CAPTIONS)
TABLE_NAMES = frozenset(
    {
        "laws",
        "coefficients",
        "crossings",
        "batch_size",
        "learning_rate",
        "tolerated",
        "budget",
        "plans",
        "confirmations",
        "held_out",
        "proposed",
        "proposed_baseline",
        "rounds",
        "sizes",
        "size_laws",
        "validation_error",
    }
)


def _figures(
    laws: ScalingLaws,
    measured: Measured | None,
    measured_whole: Measured | None,
    validation: Validation,
    diagnostics: Sequence[RunDiagnostics],
    belief: Belief | None,
    adaptive: AdaptiveSweep | None,
    story: Story | None,
) -> dict[str, Callable[[], Figure | None]]:
    """By name, in the page's order. `measured`: at the laws' size, `measured_whole`: at all sizes."""
    keep_duplicates = laws.method.crossing.keep_duplicates
    kept = evidence.measuring_cells(measured)
    chosen = evidence.selection(measured)
    typical = evidence.typical_cell(laws, kept)
    return {
        "data": lambda: figures.data_figure(laws),
        "data-by-task": lambda: figures.data_by_task_figure(laws),
        "compute": lambda: figures.compute_figure(laws),
        "compute-by-task": lambda: figures.compute_by_task_figure(laws),
        "pareto": lambda: figures.pareto_figure(laws),
        "frontier": lambda: figures.frontier_figure(laws),
        "budget": lambda: figures.budget_figure(laws, validation.budget),
        "hyperparameters": lambda: figures.hyperparameter_figure(laws),
        "best-pairs": lambda: figures.best_pairs_figure(laws),
        "selection": lambda: figures.selection_figure(laws, chosen) if chosen is not None else None,
        "surface": lambda: figures.surface_figure(surfaces(belief, laws, adaptive.rounds if adaptive is not None else ())),
        "regret": lambda: (
            figures.regret_figure(adaptive.rounds, story.env_steps, belief.regret if belief is not None else None, adaptive.goal)
            if adaptive is not None and story is not None
            else None
        ),
        "isotonic": lambda: (
            figures.isotonic_figure(typical, laws.thresholds, keep_duplicates=keep_duplicates) if typical is not None else None
        ),
        "curves": lambda: figures.curves_figure(kept, laws.thresholds, keep_duplicates=keep_duplicates),
        "overfitting": lambda: figures.overfitting_figure(diagnostics),
        "critical-batch": lambda: figures.critical_batch_figure(diagnostics),
        "critical-against-best": lambda: figures.critical_against_best_figure(laws, diagnostics),
        "extrapolation": lambda: figures.extrapolation_figure(
            laws, evidence.extrapolations(laws, measured_whole), evidence.hyperparameter_comparison(laws, measured)
        ),
        "validation": lambda: figures.validation_figure(validation),
    }


def _size_figures(laws: ScalingLaws, paths: Paths | None, losses: Sequence[SizeLoss]) -> dict[str, Callable[[], Figure | None]]:
    return {
        "sizes-data": lambda: figures.size_data_figure(laws),
        "sizes-compute": lambda: figures.size_compute_figure(laws),
        "sizes-hyperparameters": lambda: figures.size_hyperparameter_figure(laws),
        "sizes-frontier": lambda: figures.size_frontier_figure(laws),
        "sizes-paths": lambda: figures.size_paths_figure(paths, laws),
        "sizes-losses": lambda: figures.size_loss_figure(losses),
    }


def _drawn(made: Mapping[str, Callable[[], Figure | None]], where: str, *, choosing: bool) -> list[tuple[Drawing, Figure]]:
    """The figures that have data. `where`: at which size those of one size are; `choosing`: whether the sweep was run in rounds."""
    result = []
    for name, make in made.items():
        figure = make()
        if figure is not None:
            section, caption = _CAPTIONS[name]
            if name == "surface" and choosing:
                section = "choosing"
            wide = len(figure.axes) > 1 and figure.get_figwidth() > style.SINGLE[0]
            result.append((Drawing(section=section, name=name, caption=_at(caption, name, where), svg="", wide=wide), figure))
    return result


def _at(text: str, name: str, where: str) -> str:
    """A figure's caption or a table's note, with the size that it is of."""
    return text if not where or name in _OF_THE_STUDY else f"{text} {where}"


def _clear_stale(folder: Path, current: Iterable[str], known: Iterable[str], endings: Iterable[str]) -> None:
    """Remove what an earlier report wrote and this one does not have; a user's files stay."""
    for name in sorted(set(known) - set(current)):
        for ending in endings:
            (folder / f"{name}{ending}").unlink(missing_ok=True)
