"""The report of a study with sizes: what is of one size, what is of all, and what it says of both."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic

from tdscale.analysis.fit import fit_measured, measure
from tdscale.analysis.sizes import Sizes
from tdscale.analysis.views import at_size
from tdscale.report import evidence, figures, write_report
from tdscale.report.figures.sizes import envelope
from tdscale.report.losses import losses_by_size, losses_table
from tdscale.report.sizes import paths_of, size_sentences
from tdscale.report.summary import verdict
from tdscale.report.tables import held_out_table
from tdscale.runs.types import RunDiagnostics
from tdscale.study import RunSpec
from tdscale.validation import HeldOutSize, Validation

SIZES = {"s": 3e4, "m": 3e5, "l": 3e6}
NOTHING = Validation(held_out=(), budget=None, baseline=(), skipped=("nothing was left out",))


def sized(cells, name):
    """The same cells, run with a network of one size: D is 1 + (1e5/N)^0.7 times as much."""
    more = 1 + (1e5 / SIZES[name]) ** 0.7
    return [
        replace(
            cell,
            spec=replace(cell.spec, settings={"width": SIZES[name]}),
            env_steps=(cell.env_steps * more).astype(np.int64),
            last_step=int(cell.last_step * more),
            size=name,
            model_size=SIZES[name],
            costs=dict(cell.costs) | {"critic_parameters": SIZES[name]},
        )
        for cell in cells
    ]


@pytest.fixture(scope="module")
def cells():
    one = synthetic.sweep_cells(["Runner"]) + synthetic.scaling_cells(["Runner"])
    return {name: sized(one, name) for name in SIZES}


@pytest.fixture(scope="module")
def measured(cells):
    together = [cell for of_size in cells.values() for cell in of_size]
    return measure(together, synthetic.make_options(together, n_draws=25))


@pytest.fixture(scope="module")
def laws(measured):
    return fit_measured(measured)


def test_what_was_measured_at_one_size_is_what_a_study_of_that_size_measures(measured, cells):
    for name, size in SIZES.items():
        found = evidence.at_size(measured, size * 1.2)
        alone = measure(cells[name], measured.options)
        assert found.sizes is None
        assert found.points.model_size is None
        assert found.options.model_size == pytest.approx(size)
        np.testing.assert_array_equal(found.points.utd, alone.points.utd)
        np.testing.assert_array_equal(found.points.data[0], alone.points.data[0])
        np.testing.assert_array_equal(found.sweep_crossings.data, alone.sweep_crossings.data)
        for part in ("cells", "sweep", "measuring"):
            assert [cell.spec.cell_id for cell in getattr(found, part)] == [cell.spec.cell_id for cell in getattr(alone, part)]


def test_a_study_without_sizes_is_what_was_measured(studied):
    assert evidence.at_size(studied.measured, None) is studied.measured
    assert evidence.at_size(studied.measured, 1e6) is studied.measured


def lines_by_label(axes):
    """Line of each entry of the panel's legend, by its colour: the dashed one, which spans the whole axis."""
    legend = axes.get_legend()
    labels = {handle.get_color(): text.get_text() for handle, text in zip(legend.get_lines(), legend.get_texts(), strict=True)}
    return {
        labels[line.get_color()]: line for line in axes.lines if line.get_color() in labels and line.get_linestyle() not in ("-", "None")
    }


def test_lines_over_utd_and_over_n_are_one_law_seen_from_two_sides(laws):
    over_utd, over_size = figures.size_data_figure(laws).axes
    by_size, by_utd = lines_by_label(over_utd), lines_by_label(over_size)
    assert list(by_size) == ["N = 30k", "N = 300k", "N = 3M"]
    assert list(by_utd)[:2] == ["σ = 0.25", "σ = 0.5"]
    for name, size in (("N = 30k", 3e4), ("N = 3M", 3e6)):
        for utd in (0.5, 1.0):
            one, other = by_size[name], by_utd[f"σ = {utd:g}"]
            first = np.interp(np.log(utd), np.log(one.get_xdata()), np.log(one.get_ydata()))
            second = np.interp(np.log(size), np.log(other.get_xdata()), np.log(other.get_ydata()))
            assert first == pytest.approx(second, abs=0.01)


def test_points_of_the_figure_are_what_was_measured(laws, measured):
    """The one task's own D: there is no mean to take."""
    over_utd = figures.size_data_figure(laws).axes[0]
    drawn = np.concatenate([line.get_ydata() for line in over_utd.lines if line.get_linestyle() == "None"])
    top = measured.points.data[0, 0, :, -1]
    np.testing.assert_allclose(np.sort(drawn), np.sort(top[np.isfinite(top)]), rtol=1e-9)


def test_no_network_is_better_than_the_envelope_and_none_of_it_is_beaten(laws):
    compute, data = envelope(laws, laws.sizes)
    assert (np.diff(compute) > 0).all()
    assert (np.diff(data) < 0).all()
    for size in SIZES.values():
        seen = at_size(laws, size)
        for utd in np.geomspace(*seen.data[-1].range, 7):
            needed = seen.data[-1].predict([utd])
            spent = seen.compute_for(np.array([utd]), needed)[0]
            if spent >= compute[0] * 1.05:
                assert np.interp(np.log(spent), np.log(compute), np.log(data)) <= np.log(needed[0]) + 0.02


def test_every_size_figure_has_at_most_two_panels_and_fits_a_phone(laws):
    drawn = [
        figures.size_data_figure(laws),
        figures.size_compute_figure(laws),
        figures.size_hyperparameter_figure(laws),
        figures.size_frontier_figure(laws),
        figures.size_paths_figure(paths_of(laws), laws),
    ]
    assert all(figure is not None and len(figure.axes) <= 2 and figure.get_figwidth() < 6 for figure in drawn)


def test_a_study_without_sizes_has_none_of_their_figures(studied):
    laws = studied.laws
    assert figures.size_data_figure(laws) is None
    assert figures.size_compute_figure(laws) is None
    assert figures.size_hyperparameter_figure(laws) is None
    assert figures.size_frontier_figure(laws) is None
    assert figures.size_paths_figure(paths_of(laws), laws) is None
    assert size_sentences(laws, None) == []


def test_the_page_says_which_size_stands_behind_what_is_of_sigma_alone(laws, measured, tmp_path, no_pngs):
    page = write_report(tmp_path, laws, measured, plans=[], validation=NOTHING, study_summary={"sizes": "s, m, l"})
    text = page.read_text(encoding="utf-8")
    captions = re.findall(r'id="figure-([\w-]+)".*?<figcaption>(.*?)</figcaption>', text, flags=re.DOTALL)
    of_sizes = {name for name, _ in captions if name.startswith("sizes-")}
    assert of_sizes >= {"sizes-data", "sizes-compute", "sizes-hyperparameters", "sizes-frontier", "sizes-paths"}
    for name, caption in captions:
        assert ("At N = 3.00e5 (m)." in caption) == (name not in of_sizes), name
    assert "Networks of 3 sizes were run" in text
    assert "What follows of σ alone holds at N = 3.00e5 (m)" in text
    table = pd.read_csv(tmp_path / "tables" / "sizes.csv")
    assert set(table["size"]) == set(SIZES)
    row = table[(table["size"] == "l") & (table["σ"] == 2.0) & (table["J"] == 800.0)].iloc[0]
    assert row["env_steps"] == pytest.approx(at_size(laws, 3e6).data[-1].predict([2.0])[0], rel=1e-8)
    assert row["low"] < row["env_steps"] < row["high"]
    crossings = pd.read_csv(tmp_path / "tables" / "crossings.csv")
    alone = evidence.at_size(measured, 3e5).points
    one = crossings[(crossings["σ"] == 4.0) & (crossings["J"] == 800.0)].iloc[0]
    assert one["env_steps"] == alone.data[0, 0, list(alone.utd).index(4.0), -1]


def make_held(name, place, law, nearest):
    errors = {"law": law, "sum": 0.3, "product": 0.4, "power law": 0.5, "nearest": nearest}
    return HeldOutSize(
        place=place,
        name=name,
        utd=(1.0,),
        model_size=(3e6,),
        factor=4.0 if place == "end" else 1.0,
        errors=errors,
        single_errors=errors,
        bias=0.0,
        covered=9,
        compared=10,
    )


def test_what_was_left_out_of_laws_with_n_is_told_drawn_and_tabled():
    held = (make_held("largest N", "end", 0.05, 0.2), make_held("largest σ, largest N", "corner", 0.1, 0.1))
    checked = replace(NOTHING, sizes=held, model_size=3e5)
    state, sentences = verdict(checked)
    assert state == "good"
    assert sentences[1] == (
        "With the largest N left out, 4 times beyond the rest, the law missed D by a factor of 1.05 (taking the nearest point's value, the "
        "best of the simpler ways, by 1.22); 9 of 10 measured values lie in its 80 % interval."
    )
    assert verdict(replace(checked, sizes=(make_held("largest N", "end", 0.3, 0.05),)))[0] == "mixed"
    assert verdict(NOTHING)[0] == "unknown"
    table = held_out_table(checked)
    assert list(table.frame["left_out"]) == ["largest N", "largest σ, largest N"]
    assert list(table.frame["error of sum"]) == [0.3, 0.3]
    assert "nearest σ" not in table.shown.columns
    (axes,) = figures.validation_figure(checked).axes
    assert axes.texts[0].get_text() == "largest N left out"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["law", "sum", "product", "power law", "nearest"]


# --- validation TD error


def make_run(utd, batch, size, seed, loss, *, end=20, task="Runner", column="validation_critic_loss"):
    spec = RunSpec(algorithm="sac", suite="imported", task=task, utd=utd, batch_size=batch, learning_rate=1e-3, seed=seed, stage="sweep")
    steps = np.arange(1, end + 1) * 1000
    return RunDiagnostics(spec=spec, env_steps=steps, values={column: np.asarray(loss(steps), dtype=np.float64)}, size=size)


TWO = Sizes(names=("s", "l"), model_size=(1e5, 1e7))


def test_the_slope_of_the_loss_against_b_is_found_for_each_size():
    """Levels differ with σ, and half of the small network's cells stop early, when the loss is lower still."""
    slopes = {"s": 0.3, "l": -0.1}
    runs = [
        make_run(
            utd,
            batch,
            size,
            seed,
            lambda steps, u=utd, b=batch, z=size: u * b ** slopes[z] * steps**0.5,
            end=12 if (size, batch) == ("s", 64) else 20,
        )
        for size in slopes
        for utd in (1.0, 4.0)
        for batch in (64, 256, 1024)
        for seed in (0, 1)
    ]
    small, large = losses_by_size(runs, ["Runner"], TWO)
    assert (small.size, large.size) == ("s", "l")
    assert small.slope.value == pytest.approx(0.3, abs=1e-9)
    assert large.slope.value == pytest.approx(-0.1, abs=1e-9)
    assert (small.verdict, large.verdict) == ("rises with B", "falls with B")
    # without noise the cells lie on the line
    np.testing.assert_allclose(small.loss, small.predict(small.batch_sizes), rtol=1e-9)
    assert list(losses_table([small, large]).frame["verdict"]) == ["rises with B", "falls with B"]
    (axes,) = figures.size_loss_figure([small, large]).axes
    assert [text.get_text().split("\n")[0] for text in axes.get_legend().get_texts()] == ["N = 10M", "N = 100k"]


def test_a_seed_that_ended_before_the_others_does_not_set_when_losses_are_compared():
    runs = [make_run(1.0, batch, "s", seed, lambda steps, b=batch: b**0.2 + 0 * steps) for batch in (64, 256, 1024) for seed in (0, 1, 2)]
    lost = make_run(1.0, 64, "s", 3, lambda steps: 1000.0 + steps, end=2)
    (with_lost,) = losses_by_size([*runs, lost], ["Runner"], TWO)
    (without,) = losses_by_size(runs, ["Runner"], TWO)
    assert with_lost.slope == without.slope


def test_the_interval_of_the_slope_is_that_of_a_straight_line():
    rng = np.random.default_rng(0)
    batches = np.array([64, 128, 256, 512, 1024, 2048])
    noise = dict(zip(batches, 0.1 * rng.standard_normal(6), strict=True))
    runs = [make_run(1.0, int(b), "l", 0, lambda steps, b=b: b**0.1 * np.exp(noise[b]) + 0 * steps) for b in batches]
    (found,) = losses_by_size(runs, ["Runner"], TWO)
    from scipy.stats import linregress, t

    line = linregress(np.log(batches), 0.1 * np.log(batches) + np.array(list(noise.values())))
    half = t.ppf(0.9, 4) * line.stderr
    assert found.slope.value == pytest.approx(line.slope)
    assert (found.slope.low, found.slope.high) == pytest.approx((line.slope - half, line.slope + half))
    assert found.verdict == "rises with B" if line.slope > half else "no clear change"


def test_losses_that_say_nothing_of_b_are_left_out():
    assert losses_by_size([make_run(1.0, 64, "s", seed, lambda steps: 1.0 + 0 * steps) for seed in (0, 1)], ["Runner"], TWO) == []
    assert losses_by_size([make_run(1.0, b, "s", 0, np.sqrt, column="critic_loss") for b in (64, 128)], ["Runner"], TWO) == []
    assert losses_by_size([make_run(1.0, b, "s", 0, np.sqrt) for b in (64, 128)], ["Runner"], None) == []
    assert figures.size_loss_figure([]) is None


# --- many tasks


def test_figures_of_many_tasks_show_their_mean_or_some_of_them():
    names = [f"Runner-{number:02d}" for number in range(15)]
    cells = [synthetic.make_cell("Runner", utd, 160, 9e-4, "scaling", seeds=2, name=name) for name in names for utd in (0.5, 1.0, 2.0, 4.0)]
    laws, measured, _ = synthetic.results(cells, synthetic.make_options(cells, n_draws=20))
    by_task = figures.data_by_task_figure(laws)
    assert len(by_task.axes) == 12
    assert by_task.get_suptitle() == "12 of 15 tasks"
    curves = figures.curves_figure(evidence.measuring_cells(measured), laws.thresholds)
    assert (len(curves.axes), curves.get_suptitle()) == (12, "12 of 15 tasks")
    domain = figures.data_figure(laws)
    labels = [text.get_text() for text in domain.legends[0].get_texts()]
    assert "mean over 15 tasks" in labels
    assert not any(name in labels for name in names)
    points = [line.get_ydata() for line in domain.axes[0].lines if line.get_linestyle() == "None"]
    top = laws.data[-1].data
    np.testing.assert_allclose(points[-1], np.exp(np.log(top).mean(axis=0)), rtol=0.02)
