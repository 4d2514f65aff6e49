"""Figures as the page shows them: what matplotlib drew, told as numbers, for the charting library to draw again with a hand to it.

There is one drawing of a figure, the one in `figures/`: panels, series, intervals and legends are read off it. A figure with anything else,
as the shades of a surface, is shown as it is.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import ArrayLike, NDArray

from tdscale.report import style

_SHAPES = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "X": "M-1,-1L1,1M1,-1L-1,1",
}
_SHAPES |= {"x": "M-1,-1L1,1M1,-1L-1,1", "+": "M-1,0L1,0M0,-1L0,1", "_": "M-1,0L1,0"}
_SHAPES["*"] = "M0,-1L.22,-.31L.95,-.31L.36,.12L.59,.81L0,.38L-.59,.81L-.36,.12L-.95,-.31L-.22,-.31Z"
_NEUTRAL = {to_hex(colour) for colour in (style.FAINT, style.INK, "white", "black")}
_AS_GOOD = 1e-6  # numbers that are the same but for rounding


def chart(figure: Figure) -> dict[str, Any] | None:
    """Panels and legend of a figure, laid out (saved once), as JSON types; None for one that holds what can't be told as series.

    A panel has `x` and `y` (label, whether logarithmic, ends, ticks with their text), its height over its width, and `series`: each with
    a kind ("line", "band", "points", "bars", "level-bars", "rule", "span", "block" or "text"), a colour, numbers `x`, `y`, `low`, `high`,
    and `of`, the places in the legend that it belongs to.
    """
    panels = [axes for axes in figure.axes if axes.axison]
    if not panels or any(not _known(axes) for axes in panels):
        return None
    entries = [_Entry(handle, text) for legend in figure.legends for handle, text in _in_reading_order(legend)]
    for place, axes in enumerate(panels):
        legend = axes.get_legend()
        if legend is not None:
            entries += [
                _Entry(handle, text.get_text(), place) for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True)
            ]
    entries = [entry for entry in entries if entry.text and isinstance(entry.handle, Line2D | Rectangle)]
    told = [
        _panel(figure, axes, [entry if entry.panel in (None, place) else None for entry in entries]) for place, axes in enumerate(panels)
    ]
    return {"panels": told, "legend": [_told(entry, told, place) for place, entry in enumerate(entries)]}


@dataclass(frozen=True)
class _Entry:
    """One of a legend. `panel`: the place of the panel that it is of; None: of all."""

    handle: Artist | None
    text: str
    panel: int | None = None

    @property
    def line(self) -> Line2D:
        """The handle; a square stands for a bar."""
        if isinstance(self.handle, Line2D):
            return self.handle
        assert isinstance(self.handle, Rectangle)
        return Line2D([], [], color=self.handle.get_facecolor(), marker="s", linestyle="none")


def _in_reading_order(legend: Legend) -> list[tuple[Artist | None, str]]:
    """The entries of a legend below the panels, which was filled column by column (`style.legend_below`)."""
    entries = [(handle, text.get_text()) for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True)]
    rows = math.ceil(len(entries) / legend._ncols)  # type: ignore[attr-defined]
    return [entry for row in range(rows) for entry in entries[row::rows]]


def _known(axes: Axes) -> bool:
    others = [artist for artist in axes.collections if not isinstance(artist, LineCollection | PolyCollection)]
    return not others and not axes.images and all(isinstance(patch, Rectangle) for patch in axes.patches)


def _panel(figure: Figure, axes: Axes, entries: Sequence[_Entry | None]) -> dict[str, Any]:
    series: list[dict[str, Any]] = []
    for collection in axes.collections:
        if isinstance(collection, PolyCollection):
            series += _band(collection)
        elif isinstance(collection, LineCollection):
            series += _segments(collection)
    series += [found for patch in axes.patches if isinstance(patch, Rectangle) and (found := _rectangle(axes, patch)) is not None]
    for line in axes.lines:
        series += _line(axes, line)
    _join_intervals(series)
    lines = [entry.line for entry in entries if entry is not None]
    for one in series:
        one["of"] = [place for place, entry in enumerate(entries) if entry is not None and _belongs(one, entry.line, lines)]
        one.pop("marker", None)
    series += [found for text in axes.texts if (found := _text(axes, text)) is not None]
    titles = [axes.get_title(loc=loc) for loc in ("left", "center", "right")]
    title = _plain(next((text for text in titles if text), ""))
    width, height = axes.get_position().size * figure.get_size_inches()
    return {"title": title, "x": _axis(axes.xaxis), "y": _axis(axes.yaxis), "shape": round(float(height / width), 2), "series": series}


def _axis(axis: Axis) -> dict[str, Any]:
    low, high = sorted(axis.get_view_interval())
    places = [
        float(place) for place in axis.get_majorticklocs() if low * (1 - _AS_GOOD) - _AS_GOOD <= place <= high * (1 + _AS_GOOD) + _AS_GOOD
    ]
    texts = axis.get_major_formatter().format_ticks(places)
    return {
        "label": _plain(axis.get_label_text()),
        "log": axis.get_scale() == "log",
        "ends": _numbers([low, high]),
        "turned": bool(axis.get_inverted()),
        "bare": not places,
        "ticks": [[number, _plain(text)] for number, text in zip(_numbers(places), texts, strict=True)],
    }


def _line(axes: Axes, line: Line2D) -> list[dict[str, Any]]:
    x, y = (np.asarray(values, dtype=np.float64) for values in (line.get_xdata(), line.get_ydata()))
    colour = to_hex(line.get_color())
    opacity = float(line.get_alpha() or 1.0)
    common = {"colour": colour, "opacity": opacity, "marker": str(line.get_marker())}
    if line.get_transform() != axes.transData:  # axhline, axvline: one coordinate is the panel's
        upright = len(set(x)) == 1 and len(set(y)) > 1
        which = "x" if upright else "y"
        return [
            {"kind": "rule", which: _numbers([x[0] if upright else y[0]]), "dash": _dash(line), "width": line.get_linewidth(), **common}
        ]
    found: list[dict[str, Any]] = []
    if line.get_linestyle() not in ("None", "none", "") and len(x) > 1:
        step = line.get_drawstyle() == "steps-post"
        found.append(
            {"kind": "line", "x": _numbers(x), "y": _numbers(y), "dash": _dash(line), "width": line.get_linewidth(), "step": step, **common}
        )
    if line.get_marker() in _SHAPES:
        face, edge = (to_hex(found) for found in (line.get_markerfacecolor(), line.get_markeredgecolor()))
        shape = {"shape": _SHAPES[str(line.get_marker())], "size": float(line.get_markersize()), "face": face, "edge": edge}
        found.append({"kind": "points", "x": _numbers(x), "y": _numbers(y), **shape, **common})
    return found


def _dash(line: Line2D) -> list[float]:
    pattern: Any = line.get_linestyle()
    if isinstance(pattern, str):
        return {"--": [5.0, 3.0], ":": [1.5, 2.5], "-.": [5.0, 2.5, 1.5, 2.5]}.get(pattern, [])
    return [float(part) for part in (pattern[1] or [])]


def _segments(collection: LineCollection) -> list[dict[str, Any]]:
    """Bars of points, upright or level, or the curves of seeds."""
    paths = [np.asarray(path, dtype=np.float64) for path in collection.get_segments()]
    if not paths:
        return []
    colour, opacity = _hex(np.atleast_2d(np.asarray(collection.get_colors()))[0]), float(collection.get_alpha() or 1.0)
    common = {"colour": colour, "opacity": opacity, "width": float(np.ravel(np.asarray(collection.get_linewidth()))[0])}
    if all(len(path) == 2 for path in paths):
        ends = np.stack(paths)
        for kind, fixed, moving in (("bars", 0, 1), ("level-bars", 1, 0)):
            if np.allclose(ends[:, 0, fixed], ends[:, 1, fixed], rtol=1e-9):
                name = "x" if kind == "bars" else "y"
                low, high = ends[:, :, moving].min(axis=1), ends[:, :, moving].max(axis=1)
                return [{"kind": kind, name: _numbers(ends[:, 0, fixed]), "low": _numbers(low), "high": _numbers(high), **common}]
    return [{"kind": "line", "x": _numbers(path[:, 0]), "y": _numbers(path[:, 1]), "dash": [], "quiet": True, **common} for path in paths]


def _band(collection: PolyCollection) -> list[dict[str, Any]]:
    """What `fill_between` drew: start, one side, end, the other side backwards."""
    found = []
    for path in collection.get_paths():
        corners = np.asarray(path.vertices)
        count = (len(corners) - 3) // 2
        x, low = corners[1 : count + 1].T
        high = corners[count + 2 : 2 * count + 2, 1][::-1]
        colours = np.atleast_2d(collection.get_facecolor())
        low, high = np.minimum(low, high), np.maximum(low, high)
        found.append(
            {
                "kind": "band",
                "x": _numbers(x),
                "low": _numbers(low),
                "high": _numbers(high),
                "colour": _hex(colours[0]),
                "opacity": float(colours[0][3]),
            }
        )
    return found


def _rectangle(axes: Axes, patch: Rectangle) -> dict[str, Any] | None:
    """A bar, or a span of `axvspan`."""
    x, y, width, height = patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()
    colour = np.asarray(patch.get_facecolor())
    common = {"colour": _hex(colour), "opacity": float(colour[3])}
    if patch.get_transform().contains_branch(axes.transAxes) and (y, height) == (0, 1):
        return {"kind": "span", "x": _numbers([x, x + width]), **common}
    return {"kind": "block", "x": _numbers([x, x + width]), "y": _numbers([y, y + height]), **common}


def _text(axes: Axes, text: Text) -> dict[str, Any] | None:
    if not text.get_text().strip():
        return None
    x, y = text.get_position()
    if hasattr(text, "xy"):
        x, y = text.xy
    inside = text.get_transform() == axes.transData or hasattr(text, "xy")
    return {
        "kind": "text",
        "text": _plain(text.get_text()),
        "x": _numbers([x]),
        "y": _numbers([y]),
        "across": not inside,
        "middle": text.get_verticalalignment() in ("center", "center_baseline"),
        "align": {"left": "left", "right": "right"}.get(text.get_horizontalalignment(), "center"),
        "colour": to_hex(text.get_color()),
        "of": [],
    }


def _join_intervals(series: list[dict[str, Any]]) -> None:
    """Gives points the ends of the bars that stand on them, lines those of the band behind them, in one colour; bars take their marker."""
    for one in [item for item in series if item["kind"] in ("points", "line") and not item.get("quiet")]:
        low: list[float | None] = [None] * len(one["x"])
        high: list[float | None] = [None] * len(one["x"])
        wanted = "bars" if one["kind"] == "points" else "band"
        for other in series:
            if other["kind"] != wanted or other["colour"] != one["colour"]:
                continue
            ends = {x: (a, b) for x, a, b in zip(other["x"], other["low"], other["high"], strict=True)}
            for place, (x, y) in enumerate(zip(one["x"], one["y"], strict=True)):
                if x in ends and y is not None and _holds(ends[x], y):
                    low[place], high[place] = ends[x]
                    other.setdefault("marker", one["marker"])
        if any(end is not None for end in low):
            one["low"], one["high"] = low, high


def _holds(ends: tuple[float | None, float | None], value: float) -> bool:
    low, high = ends
    return low is not None and high is not None and low - 1e-4 * abs(low) <= value <= high + 1e-4 * abs(high)


def _belongs(one: dict[str, Any], handle: Line2D, handles: Sequence[Line2D]) -> bool:
    """Whether the eye would find the series under this entry: by its colour, by its marker, or both."""
    colour, marker = to_hex(handle.get_color()), str(handle.get_marker())
    same_marker = marker == one.get("marker")
    if colour in _NEUTRAL:
        has_line = handle.get_linestyle() not in ("None", "none", "")
        if marker in _SHAPES and not has_line and one["colour"] != colour:
            return same_marker and one["kind"] in ("points", "bars")
        return one["colour"] == colour and (marker not in _SHAPES or same_marker) and _dash(handle) == one.get("dash", _dash(handle))
    if one["colour"] != colour:
        return False
    rivals = [other for other in handles if to_hex(other.get_color()) == colour]
    return len(rivals) == 1 or ((marker in _SHAPES) == (one.get("marker") in _SHAPES) and (marker not in _SHAPES or same_marker))


def _told(entry: _Entry, panels: Sequence[dict[str, Any]], place: int) -> dict[str, Any]:
    """An entry as the page shows it: its key, and whether it switches anything."""
    handle, marker = entry.line, str(entry.line.get_marker())
    used = any(place in one["of"] for panel in panels for one in panel["series"])
    return {
        "text": _plain(entry.text),
        "colour": to_hex(handle.get_color()),
        "face": to_hex(handle.get_markerfacecolor()) if marker in _SHAPES else None,
        "edge": to_hex(handle.get_markeredgecolor()) if marker in _SHAPES else None,
        "shape": _SHAPES.get(marker),
        "dash": _dash(handle) if handle.get_linestyle() not in ("None", "none", "") else None,
        "toggles": used,
    }


def _hex(colour: NDArray[np.float64]) -> str:
    """Red, green, blue (and how opaque), from 0 to 1, as "#rrggbb"."""
    red, green, blue = (float(part) for part in colour[:3])
    return to_hex((red, green, blue))


def _plain(text: str) -> str:
    """Text without matplotlib's marks for exponents."""
    return re.sub(r"\$\^\{\\mathregular\{(.*?)\}\}\$", r"^\1", text).replace("\n", " ").strip()


def _numbers(values: ArrayLike) -> list[float | None]:
    """Five digits each; null for what is not finite."""
    array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in array.tolist()]
