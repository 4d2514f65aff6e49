"""How every figure looks: colours that the colour-blind can tell apart, axes with plain tick labels, files without dates."""

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from tdscale.analysis.compute import UNIT_NAMES
from tdscale.analysis.scaling_laws import ScalingLaws

# Okabe and Ito's palette, the yellow and black left out: eight tasks, then again with other markers
TASK_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#555555")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
INK = "#222222"
FAINT = "#8a8a8a"
SINGLE = (5.6, 3.9)  # inches, one panel
WIDE = 7.4  # inches, several panels
MOST_TASKS = 12  # that a figure tells apart, or has a panel for
UTD_LABEL = "UTD ratio σ (updates per env step)"
DATA_LABEL = "data D until J (env steps)"

_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.5,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # a task's name is text, whatever it holds; "$" must not start a formula
    "text.parse_math": False,
    "text.usetex": False,
    "svg.fonttype": "path",
    "axes.unicode_minus": True,
}


@contextmanager
def styled(salt: str = "tdscale") -> Iterator[None]:
    """Within it, figures are made and saved in this style; the user's own settings come back afterwards."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        settings: Any = _SETTINGS | {"svg.hashsalt": salt}
        mpl.rcParams.update(settings)
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def panels(n: int, *, columns: int = 2, panel_height: float = 2.7, width: float = WIDE) -> tuple[Figure, list[Axes]]:
    """A figure of n axes, row by row."""
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    figure = new_figure((width if columns > 1 else SINGLE[0], panel_height * rows + 0.5))
    return figure, [figure.add_subplot(rows, columns, index + 1) for index in range(n)]


def new_figure(size: tuple[float, float] = SINGLE) -> Figure:
    """An empty figure with an Agg canvas, outside pyplot: nothing is kept, no display is asked for."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def figure_and_axes(axes: Axes | None) -> tuple[Figure, Axes]:
    """The figure of the axes given, or a new one."""
    if axes is None:
        figure = new_figure()
        return figure, figure.add_subplot()
    figure_of = axes.get_figure(root=True)
    assert isinstance(figure_of, Figure)
    return figure_of, axes


def label(name: str, limit: int = 32) -> str:
    """A name as it may stand in a figure: printable, not too long, not hidden from legends by a leading underscore."""
    text = "".join(c if c.isprintable() else "?" for c in name)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return f" {text}" if text.startswith("_") else text


def colour_of(names: Sequence[str], name: str) -> str:
    """A task's colour, by its place in the study."""
    return TASK_COLOURS[names.index(name) % len(TASK_COLOURS)]


def marker_of(names: Sequence[Any], name: Any) -> str:
    """A task's marker, or a size's."""
    return MARKERS[names.index(name) % len(MARKERS)]


def ordered_colours(n: int, palette: str = "viridis") -> list[Any]:
    """Colours from dark to light for values in order; the palette's palest part is left out."""
    places = np.linspace(0.0, 0.86, n) if n > 1 else np.array([0.3])
    return [mpl.colormaps[palette](float(place)) for place in places]


def threshold_colours(n: int) -> list[Any]:
    """Colours of rising thresholds; another palette than σ's."""
    places = np.linspace(0.72, 0.12, n) if n > 1 else np.array([0.3])
    return [mpl.colormaps["plasma"](float(place)) for place in places]


def select(values: Sequence[Any], most: int = 4) -> list[Any]:
    """At most so many of the values, evenly spread, the last one among them."""
    if len(values) <= most:
        return list(values)
    return [values[int(i)] for i in np.round(np.linspace(0, len(values) - 1, most))]


def some_tasks(figure: Figure, shown: Sequence[str], tasks: Sequence[str]) -> None:
    """Says above the panels that they are of some of the tasks, where they are."""
    if len(shown) < len(tasks):
        figure.suptitle(f"{len(shown)} of {len(tasks)} tasks", x=0.01, ha="left", fontsize=9.5)


def utd_axis(axis: Axis, low: float, high: float, label: str | None = None) -> None:
    """Logarithmic σ from `low` to `high`: ticks at powers of two, 0.25, 0.5, 1, 2 …; fractions where decimals would be long."""
    powers = np.arange(math.ceil(math.log2(low) - 1e-6), math.floor(math.log2(high) + 1e-6) + 1)
    ticks = [float(2.0**p) for p in powers[:: max(1, math.ceil(len(powers) / 9))]]
    if len(ticks) < 2:
        log_axis(axis, low, high, plain, label)
        return
    _set(axis, ticks, plain_utd, (low, high), label)


def log_axis(axis: Axis, low: float, high: float, say: Callable[[float], str], label: str | None = None, most: int = 7) -> None:
    """Logarithmic axis from `low` to `high` with few, plainly written ticks; no minor ones."""
    ticks: list[float] = []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [s * 10.0**k for k in decades for s in steps if low * 0.999 <= s * 10.0**k <= high * 1.001]
        if len(ticks) >= 3:
            break
    if len(ticks) < 3:  # so short that it is nearly linear
        ticks = [tick for tick in few_ticks().tick_values(low, high) if low * 0.999 <= tick <= high * 1.001]
    _set(axis, ticks[:: math.ceil(len(ticks) / most)], say, (low, high), label)


def value_axis(axis: Axis, values: Sequence[float], say: Callable[[float], str], label: str) -> None:
    """Logarithmic axis whose ticks are the values of a grid."""
    _set(axis, [float(v) for v in values][:: math.ceil(len(values) / 6)], say, (values[0] / 1.25, values[-1] * 1.25), label)


def env_steps_axis(axis: Axis) -> None:
    """Linear axis of env steps; its limits are the caller's."""
    axis.set_major_locator(few_ticks())
    axis.set_major_formatter(written(thousands))
    axis.set_label_text("env steps")


def _set(axis: Axis, ticks: Sequence[float], say: Callable[[float], str], limits: tuple[float, float], label: str | None) -> None:
    name = axis.axis_name  # type: ignore[attr-defined]
    # limits first: else the scale looks for its own, and finds none where all values are one
    axis.axes.set(**{f"{name}lim": limits})
    axis.axes.set(**{f"{name}scale": "log"})
    if label is not None:
        axis.set_label_text(label)
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(written(say))


def few_ticks() -> MaxNLocator:
    """Places of ticks on a linear axis."""
    return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])


def written(say: Callable[[float], str]) -> FuncFormatter:
    """A function of the value as tick labels."""
    return FuncFormatter(lambda value, _position: say(value))


def plain_utd(value: float) -> str:
    """σ: 0.25, 2, 1/1024."""
    return f"{value:g}" if value >= 0.12 else f"1/{1 / value:.4g}"


def plain(value: float) -> str:
    """Three digits at most, without an exponent where it can be helped."""
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e3 else f"{value:.0f}" if 1e3 <= abs(value) < 1e5 else scientific(value)


def thousands(value: float) -> str:
    """Env steps: 500, 20k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9999:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def raised(formula: str) -> str:
    """A law's formula with its exponent set as one."""
    return re.sub(r"\^(−?[\d.]+(?:e−?\d+)?)", r"$^{\\mathregular{\1}}$", formula)


def scientific(value: float) -> str:
    """FLOPs, η: 10¹⁵, 3·10⁻⁴."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    mantissa = mantissa.removesuffix(".0")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}·{power}"


def unit(laws: ScalingLaws) -> str:
    """The unit of C and F: FLOPs, gradient steps, seconds."""
    return UNIT_NAMES[laws.unit]


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], columns: int = 4) -> None:
    """A legend under all panels, where it covers nothing."""
    if not handles:
        return
    longest = max(len(text) for text in labels)
    fitting = max(1, int(figure.get_figwidth() / (0.062 * longest + 0.5)))
    n = min(columns, fitting, len(labels))
    # legends fill column by column; people read row by row
    rows = math.ceil(len(labels) / n)
    blank = Line2D([], [], linestyle="none")
    grid = [(handles[i], labels[i]) if i < len(labels) else (blank, "") for i in range(rows * n)]
    by_column = [grid[row * n + column] for column in range(n) for row in range(rows)]
    figure.legend(*zip(*by_column, strict=True), loc="outside lower center", ncols=n, handlelength=1.6, columnspacing=1.4)


def to_svg(figure: Figure, name: str) -> str:
    """The figure as SVG text: the same bytes every time, and no id that another figure's has."""
    buffer = io.StringIO()
    with styled(name):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        figure.set_layout_engine("none")  # it is laid out now; doing so again for the PNG would take as long as drawing
    text = buffer.getvalue()
    text = re.sub(r'(\bid=")', rf"\g<1>{name}-", text)
    text = re.sub(r'(\bhref="#)', rf"\g<1>{name}-", text)
    return re.sub(r"url\(#", f"url(#{name}-", text)


def to_png(figure: Figure, dots_per_inch: int = 200) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None}, pil_kwargs={"compress_level": 4})
    return buffer.getvalue()
