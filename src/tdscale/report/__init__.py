"""The report of a study: figures, tables, and one self-contained page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from tdscale.analysis.fit import Measured
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.design.belief import Belief
from tdscale.design.candidates import AdaptiveSweep
from tdscale.planning import Confirmation, Plan
from tdscale.report import evidence, figures, style
from tdscale.report.page import Drawing, render_page
from tdscale.report.proposed import proposed_tables
from tdscale.report.rounds import Story, tell_rounds
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

    Returns:
        The path of report.html.
    """
    points, sweep = (None, ()) if measured is None else (measured.points, measured.sweep)
    belief = sweep_belief(measured, adaptive)
    story = tell_rounds(adaptive, sweep, belief)
    drawn = _figures(laws, measured, validation, diagnostics, belief, adaptive, story)
    tables = [*all_tables(laws, points, plans, validation, confirmations), *proposed_tables(laws, sweep)]
    tables += [story.table] if story is not None else []
    figure_folder, table_folder = directory / "figures", directory / "tables"
    figure_folder.mkdir(parents=True, exist_ok=True)
    table_folder.mkdir(parents=True, exist_ok=True)
    drawings = []
    for drawing, figure in drawn:
        svg = style.to_svg(figure, drawing.name)
        write_whole(figure_folder / f"{drawing.name}.svg", svg.encode(), lasting=False)
        write_whole(figure_folder / f"{drawing.name}.png", style.to_png(figure), lasting=False)
        drawings.append(Drawing(section=drawing.section, name=drawing.name, caption=drawing.caption, svg=svg, wide=drawing.wide))
    for table in tables:
        write_whole(table_folder / f"{table.name}.csv", to_csv(table).encode(), lasting=False)
    _clear_stale(figure_folder, {d.name for d in drawings}, FIGURE_NAMES, (".svg", ".png"))
    _clear_stale(table_folder, {t.name for t in tables}, TABLE_NAMES, (".csv",))
    page = render_page(
        laws,
        drawings=drawings,
        tables=tables,
        plans=plans,
        validation=validation,
        study_summary=study_summary,
        confirmations=confirmations,
        choosing=story,
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
    }
)


def _figures(
    laws: ScalingLaws,
    measured: Measured | None,
    validation: Validation,
    diagnostics: Sequence[RunDiagnostics],
    belief: Belief | None,
    adaptive: AdaptiveSweep | None,
    story: Story | None,
) -> list[tuple[Drawing, Figure]]:
    keep_duplicates = laws.method.crossing.keep_duplicates
    kept = evidence.measuring_cells(measured)
    chosen = evidence.selection(measured)
    typical = evidence.typical_cell(laws, kept)
    made: dict[str, Callable[[], Figure | None]] = {
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
            laws, evidence.extrapolations(laws, measured), evidence.hyperparameter_comparison(laws, measured)
        ),
        "validation": lambda: figures.validation_figure(validation),
    }
    result = []
    for name, make in made.items():
        figure = make()
        if figure is not None:
            section, caption = _CAPTIONS[name]
            if name == "surface" and story is not None:
                section = "choosing"
            result.append((Drawing(section=section, name=name, caption=caption, svg="", wide=len(figure.axes) > 1), figure))
    return result


def _clear_stale(folder: Path, current: Iterable[str], known: Iterable[str], endings: Iterable[str]) -> None:
    """Remove what an earlier report wrote and this one does not have; a user's files stay."""
    for name in sorted(set(known) - set(current)):
        for ending in endings:
            (folder / f"{name}{ending}").unlink(missing_ok=True)
