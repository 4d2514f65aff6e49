"""Every figure shows something, reads plainly, and is absent where there is nothing to show."""

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import synthetic
from matplotlib.figure import Figure

from tdscale.analysis.crossings import first_crossing
from tdscale.analysis.fit import measure
from tdscale.report import evidence, figures, style
from tdscale.validation import Validation


def make(name: str, studied) -> Figure | None:
    if name == "curves_figure":
        kept = evidence.measuring_cells(studied.measured)
        return figures.curves_figure(kept, studied.laws.thresholds)
    if name == "validation_figure":
        return figures.validation_figure(replace(studied.validation, baseline=((0.5, 1.2), (1.0, 1.0), (2.0, 1.1))))
    if name == "budget_figure":
        return figures.budget_figure(studied.laws, studied.validation.budget)
    if name == "selection_figure":
        chosen = evidence.selection(studied.measured)
        return figures.selection_figure(studied.laws, chosen)
    if name == "isotonic_figure":
        kept = evidence.measuring_cells(studied.measured)
        return figures.isotonic_figure(evidence.typical_cell(studied.laws, kept), studied.laws.thresholds)
    if name == "extrapolation_figure":
        return figures.extrapolation_figure(studied.laws, *extrapolated(studied))
    return getattr(figures, name)(studied.laws)


@pytest.fixture(scope="module")
def made(studied):
    """Figures by name, each made once."""
    return cache(lambda name: make(name, studied))


@cache
def constant_cells():
    scaling = synthetic.scaling_cells()
    return [synthetic.make_cell(c.spec.task, c.spec.utd, 160, 9e-4, "baseline", seeds=4) for c in scaling]


def extrapolated(studied):
    measured = measure([*studied.measured.cells, *constant_cells()], studied.measured.options)
    comparison = evidence.hyperparameter_comparison(studied.laws, measured)
    return evidence.extrapolations(studied.laws, studied.measured), comparison


NAMES = (
    "data_figure",
    "data_by_task_figure",
    "compute_figure",
    "compute_by_task_figure",
    "frontier_figure",
    "budget_figure",
    "hyperparameter_figure",
    "curves_figure",
    "validation_figure",
    "pareto_figure",
    "best_pairs_figure",
    "selection_figure",
    "isotonic_figure",
    "extrapolation_figure",
)


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_of_every_figure_shows_data_and_names_its_axes(name, made):
    figure = made(name)
    assert figure is not None
    assert figure.axes
    for axes in figure.axes:
        assert axes.lines or axes.patches or axes.collections
        assert axes.get_xlabel()
        assert axes.get_ylabel() or axes.get_yticklabels()


@pytest.mark.parametrize("name", NAMES)
def test_tick_labels_do_not_overlap_and_no_minor_tick_is_labelled(name, made):
    figure = made(name)
    with style.styled():
        figure.canvas.draw()
    for axes in figure.axes:
        for axis, side in ((axes.xaxis, 0), (axes.yaxis, 1)):
            assert not any(label.get_text() for label in axis.get_minorticklabels())
            low, high = sorted(axis.get_view_interval())
            shown = [t.label1 for t in axis.get_major_ticks() if low * 0.999 <= t.get_loc() <= high * 1.001 and t.label1.get_text()]
            boxes = sorted((label.get_window_extent().get_points()[:, side] for label in shown), key=lambda ends: ends[0])
            assert all(left[1] < right[0] for left, right in pairwise(boxes))


def test_an_axis_given_is_drawn_into(studied):
    figure = style.new_figure()
    axes = figure.add_subplot()
    assert figures.data_figure(studied.laws, task="Runner", axes=axes) is figure
    assert axes.lines


def test_a_figure_without_data_is_none(studied):
    bare = replace(studied.laws, data=(), budget=None, batch_size=None, learning_rate=None)
    assert figures.data_figure(bare) is None
    assert figures.data_by_task_figure(bare) is None
    assert figures.compute_figure(bare) is None
    assert figures.frontier_figure(bare) is None
    assert figures.budget_figure(bare) is None
    assert figures.hyperparameter_figure(bare) is None
    assert figures.curves_figure([], (300.0,)) is None
    assert figures.validation_figure(Validation(held_out=(), budget=None, baseline=(), skipped=())) is None


def test_compute_is_left_out_where_it_is_not_known(studied):
    unknown = replace(studied.laws, compute={}, budget=None)
    assert figures.compute_figure(unknown) is None
    assert figures.frontier_figure(unknown) is None
    assert figures.data_figure(unknown) is not None


def test_a_task_that_never_reaches_a_threshold_gets_no_panel(studied):
    laws = studied.laws
    never = tuple(replace(law, data=np.where([[True], [False]], np.inf, law.data)) for law in laws.data)
    assert figures.data_by_task_figure(replace(laws, data=never)) is None
    assert figures.data_figure(replace(laws, data=never), task=laws.tasks[0]) is None


def test_a_censored_cell_is_an_arrow_at_its_bound(studied):
    law = studied.laws.data[-1]
    row, column = (int(i[0]) for i in np.nonzero(np.isposinf(law.data)))
    figure = figures.data_figure(studied.laws, task=law.tasks[row])
    points = [tuple(line.get_xydata()[0]) for line in figure.axes[0].lines if line.get_marker() == "_"]
    assert (pytest.approx(law.utd[column]), pytest.approx(law.bound[row, column])) in [tuple(p) for p in points]


def test_an_extrapolation_leaves_out_the_most_expensive_sigmas_of_either_kind(studied):
    found, comparison = extrapolated(studied)
    assert [sorted(f.left_out.tolist()) for f in found] == [[0.25, 0.5], [4.0, 8.0]]
    for extrapolation in found:
        assert not set(extrapolation.law.utd) & set(extrapolation.left_out)
        assert extrapolation.law.threshold == extrapolation.measured.threshold == 700.0
    assert comparison is not None
    # at the ends of σ constant hyperparameters are off, in the middle they are not
    ratio = comparison.constant.data / comparison.fitted.data
    assert np.nanmean(ratio[:, -1]) > np.nanmean(ratio[:, 2])


def test_without_runs_at_constant_hyperparameters_their_panel_is_absent(studied):
    found, _ = extrapolated(studied)
    assert evidence.hyperparameter_comparison(studied.laws, studied.measured) is None
    assert len(figures.extrapolation_figure(studied.laws, found).axes) == 2
    assert figures.extrapolation_figure(studied.laws, []) is None


def test_best_pairs_are_those_of_a_sweep_or_absent(studied):
    figure = figures.best_pairs_figure(studied.laws)
    shown = np.concatenate([line.get_xydata() for line in figure.axes[0].lines])
    laws = studied.laws
    known = np.isfinite(laws.batch_size.points) & np.isfinite(laws.learning_rate.points)
    np.testing.assert_allclose(sorted(shown[:, 0]), sorted(laws.batch_size.points[known]))
    as_run = replace(laws, batch_size=replace(laws.batch_size, source="as-run"))
    assert figures.best_pairs_figure(as_run) is None


def test_a_learning_rate_that_is_the_same_everywhere_correlates_with_nothing(studied, recwarn):
    rate = studied.laws.learning_rate
    alike = replace(studied.laws, learning_rate=replace(rate, points=np.where(np.isfinite(rate.points), 1e-3, np.nan)))
    figure = figures.best_pairs_figure(alike)
    assert figure.axes[0].get_title(loc="left").endswith("no correlation, for one is the same everywhere")
    assert not recwarn.list


def test_exponents_in_titles_are_raised_and_those_of_rounding_are_none(studied):
    law = replace(studied.laws.learning_rate, exponent=-0.267)
    title = style.raised(law.formula())
    assert title.endswith(r"·σ$^{\mathregular{−0.267}}$")
    assert replace(law, exponent=-1.9e-16).formula().endswith("·σ^0")


def test_the_selection_shows_the_grid_of_one_task_and_sigma(studied):
    chosen = evidence.selection(studied.measured)
    assert chosen.utd == 2.0
    assert chosen.batch_sizes.tolist() == [64, 160, 400]
    assert chosen.data.shape[1:] == (3, 3)
    assert np.isfinite(chosen.data[0]).any()
    assert evidence.selection(measure(synthetic.scaling_cells(), studied.measured.options)) is None


def test_an_isotonic_curve_drops_to_the_axis_where_it_reaches_each_threshold(studied):
    kept = evidence.measuring_cells(studied.measured)
    cell = evidence.typical_cell(studied.laws, kept)
    figure = figures.isotonic_figure(cell, (500.0,))
    (at,) = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert at == cell.env_steps[first_crossing(cell.returns.mean(axis=0), [500.0])[0]]


def test_the_isotonic_fit_drawn_leaves_out_what_the_data_law_leaves_out(studied):
    cell = evidence.measuring_cells(studied.measured)[0]
    dipping = np.array(cell.returns)
    middle = len(cell.env_steps) // 2
    dipping[:, middle : middle + 3] -= 400
    cell = replace(cell, returns=dipping, resets=(float(cell.env_steps[middle - 1]),))
    for figure in (figures.isotonic_figure(cell, (300.0,)), figures.curves_figure([cell], (300.0,))):
        steps = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
        drawn = set(steps[0].get_xdata())
        assert drawn.isdisjoint(cell.env_steps[middle : middle + 3])


def test_budgets_left_out_are_crosses_at_what_was_predicted(studied):
    held_out = studied.validation.budget
    assert held_out is not None
    figure = figures.budget_figure(studied.laws, held_out)
    (crosses,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    np.testing.assert_allclose(crosses.get_ydata(), held_out.predicted)


def test_ids_of_two_figures_never_clash_and_references_stay_inside(studied):
    first, second = (style.to_svg(make(name, studied), name) for name in ("data_figure", "compute_figure"))
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'href="#([^"]+)"', first)) | set(re.findall(r"url\(#([^)]+)\)", first)) <= ids[0]


def test_sigma_ticks_are_plain_decimals_and_tiny_ones_are_fractions():
    assert [style.plain_utd(u) for u in (0.25, 0.5, 1, 16)] == ["0.25", "0.5", "1", "16"]
    assert style.plain_utd(1 / 1024) == "1/1024"


def test_numbers_on_axes_read_plainly():
    assert [style.thousands(v) for v in (500, 20_000, 1.5e6)] == ["500", "20k", "1.5M"]
    assert [style.scientific(v) for v in (1e15, 3e-4)] == ["10¹⁵", "3·10⁻⁴"]


def test_drawing_leaves_the_users_own_settings_alone(studied):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures.data_figure(studied.laws)
    assert dict(mpl.rcParams) == before
