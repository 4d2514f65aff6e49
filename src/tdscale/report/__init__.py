"""The report of a study: figures, tables, and one self-contained page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from tdscale.analysis.laws import ScalingLaws
from tdscale.planning import Plan
from tdscale.report import figures, style
from tdscale.report.files import clear_stale, write_whole
from tdscale.report.measured import measured_cells
from tdscale.report.page import Drawing, render_page
from tdscale.report.proposed import proposed_tables
from tdscale.report.tables import all_tables, to_csv
from tdscale.runs.types import Cell
from tdscale.validation import Validation

__all__ = ["write_report"]


def write_report(
    directory: Path,
    laws: ScalingLaws,
    cells: Sequence[Cell],
    *,
    plans: Sequence[Plan],
    validation: Validation,
    study_summary: Mapping[str, str],
) -> Path:
    """Write report.html, figures/*.svg and *.png, and tables/*.csv into `directory`; each file whole or not at all.

    The same arguments give the same page, byte for byte. A figure or table without data is left out.

    Args:
        directory: the study's; made where it is missing.
        laws: what is reported.
        cells: the study's curves, of any stage; those that measured D_J are drawn.
        plans: answers shown in the section "Plan", in this order.
        validation: what was checked on held-out runs.
        study_summary: facts on the study for the summary, label to text.

    Returns:
        The path of report.html.
    """
    kept, points = measured_cells(laws, cells)
    drawn = _figures(laws, kept, validation)
    tables = [*all_tables(laws, points, plans, validation), *proposed_tables(laws, cells)]
    figure_folder, table_folder = directory / "figures", directory / "tables"
    figure_folder.mkdir(parents=True, exist_ok=True)
    table_folder.mkdir(parents=True, exist_ok=True)
    drawings = []
    for drawing, figure in drawn:
        svg = style.to_svg(figure, drawing.name)
        write_whole(figure_folder / f"{drawing.name}.svg", svg.encode())
        write_whole(figure_folder / f"{drawing.name}.png", style.to_png(figure))
        drawings.append(Drawing(section=drawing.section, name=drawing.name, caption=drawing.caption, svg=svg, wide=drawing.wide))
    for table in tables:
        write_whole(table_folder / f"{table.name}.csv", to_csv(table).encode())
    clear_stale(figure_folder, {d.name for d in drawings}, FIGURE_NAMES, (".svg", ".png"))
    clear_stale(table_folder, {t.name for t in tables}, TABLE_NAMES, (".csv",))
    page = render_page(laws, drawings=drawings, tables=tables, plans=plans, validation=validation, study_summary=study_summary)
    path = directory / "report.html"
    write_whole(path, page.encode())
    return path


_CAPTIONS: dict[str, tuple[str, str]] = {
    "data": (
        "data",
        "Data until return J against σ: the law (dashed beyond the σ that were run), its 80 % interval, and every task’s points, "
        "shifted onto the shared law.",
    ),
    "data-by-task": ("data", "The same for each task, unshifted. All tasks share the law’s shape, each has its own scale."),
    "compute": ("data", "Compute until return J at the fitted B*(σ)."),
    "compute-by-task": ("data", "Compute for each task."),
    "frontier": (
        "frontier",
        "Compute against data until J as σ rises. The star is the cheapest way to J; the dashed line through it joins all (D, C) "
        "of the same budget.",
    ),
    "budget": (
        "frontier",
        "The cheapest σ for each budget, one point per threshold, with 80 % intervals; the line is the law σ*(F), "
        "dashed beyond what was fitted.",
    ),
    "hyperparameters": (
        "hyperparameters",
        "B* and η* against σ with 80 % intervals. Tasks share one exponent; their points are shifted to one intercept.",
    ),
    "curves": (
        "curves",
        "Return against env steps: single seeds faint, their mean thin, its isotonic fit thick. D_J is where the fit first reaches "
        "a threshold (dashed).",
    ),
    "validation": (
        "validation",
        "How predictions did on runs that the fit had not seen; beside it, where there are such runs, "
        "the data that constant B and η need relative to the fitted ones.",
    ),
}
FIGURE_NAMES = frozenset(_CAPTIONS)
TABLE_NAMES = frozenset(
    {"laws", "crossings", "batch_size", "learning_rate", "budget", "plans", "held_out", "proposed", "proposed_baseline"}
)


def _figures(laws: ScalingLaws, kept: Sequence[Cell], validation: Validation) -> list[tuple[Drawing, Figure]]:
    made: dict[str, Callable[[], Figure | None]] = {
        "data": lambda: figures.data_figure(laws),
        "data-by-task": lambda: figures.data_by_task_figure(laws),
        "compute": lambda: figures.compute_figure(laws),
        "compute-by-task": lambda: figures.compute_by_task_figure(laws),
        "frontier": lambda: figures.frontier_figure(laws),
        "budget": lambda: figures.budget_figure(laws),
        "hyperparameters": lambda: figures.hyperparameter_figure(laws),
        "curves": lambda: figures.curves_figure(kept, laws.thresholds, keep_duplicates=laws.method == "paper"),
        "validation": lambda: figures.validation_figure(validation),
    }
    result = []
    for name, make in made.items():
        figure = make()
        if figure is not None:
            section, caption = _CAPTIONS[name]
            result.append((Drawing(section=section, name=name, caption=caption, svg="", wide=len(figure.axes) > 1), figure))
    return result
