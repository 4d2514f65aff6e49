"""The examples of docs/api.md run; what they give can be read in pandas, in a notebook and in a figure."""

import re
from pathlib import Path

import numpy as np
import pytest

import tdscale
from tdscale.simulate import LawTruth, SweepDesign

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
THRESHOLDS = (400.0, 600.0, 800.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    there = tmp_path_factory.mktemp("api")
    truth = LawTruth(d_min={"one": 5e4, "two": 2e5})
    for name, seed in (("my-study", 1), ("other", 2)):
        design = SweepDesign(utd=(0.5, 1.0, 2.0, 4.0), seeds=4)
        tdscale.write_simulation(there / name, truth, design, "low", thresholds=THRESHOLDS, data_cost=2e9, name=name, seed=seed)
    return there


@pytest.fixture(scope="module")
def laws(folder):
    return tdscale.fit_study(tdscale.open_study(str(folder / "my-study")), n_draws=50).laws


def test_the_example_of_the_page_runs(folder, laws, monkeypatch):
    monkeypatch.chdir(folder)
    example = re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL).group(1)
    names = {}
    exec(compile(example, "docs/api.md", "exec"), names)
    assert len(names["frame"]) > 0
    assert names["axes"].get_xlabel().startswith("compute")


def test_laws_take_plain_lists_and_one_value(laws):
    law = laws.data[-1]
    several, one = law.estimate([1, 2]), law.estimate(2)
    assert several[1] == one
    assert one.low <= one.value <= one.high
    assert laws.batch_size.estimate([1, 2])[1].value == pytest.approx(laws.batch_size.predict([2])[0])


def test_compute_has_the_interval_that_data_leaves_it(laws):
    law = laws.data[-1]
    found = laws.compute_estimate(2.0)
    models = [laws.compute[task] for task in laws.tasks]
    batch_size = laws.batch_size.predict([2.0])
    data = law.estimate(2.0)
    expected = [np.mean([model.compute_for(2.0, batch_size, end) for model in models]) for end in (data.low, data.value, data.high)]
    assert [found.low, found.value, found.high] == pytest.approx(expected)
    assert laws.compute_estimate([1, 2], 400.0, "one")[0].value < found.value


def test_frames_have_a_row_for_each_number(laws, folder):
    frame = laws.to_frame()
    data = frame[frame["quantity"] == "data"]
    assert len(data) == 3 * 3 * 4  # J, tasks and the domain, σ
    assert set(frame["quantity"]) == {"batch_size", "learning_rate", "data", "compute"}
    row = data[(data["task"] == "one") & (data["threshold"] == 600) & (data["utd"] == 4)].iloc[0]
    assert row["value"] == laws.data[1].predict([4], "one")[0]
    files = tdscale.open_study(folder / "my-study")
    cells, _ = tdscale.load_cells(files.store, files.study)
    crossings = tdscale.find_crossings(cells, [400, 800], n_draws=20, seed=0)
    table = crossings.to_frame()
    assert len(table) == 2 * 4 * 2
    assert (table["low"] <= table["value"]).all()
    assert table["value"].iloc[1] == crossings.data[0, 1]
    assert "<table" in crossings._repr_html_()


def test_results_show_themselves_in_a_notebook(laws):
    assert "<table" in laws._repr_html_()
    assert "learning rate" in tdscale.plan_data(laws, 4e5)._repr_html_()


def test_plots_draw_into_the_axes_they_are_given(laws, folder):
    from matplotlib.figure import Figure

    comparison = tdscale.compare_studies([str(folder / "my-study"), folder / "other"], by_task=False)
    for plot, what in ((tdscale.plot_data, laws), (tdscale.plot_frontier, laws), (tdscale.plot_comparison, comparison)):
        axes = Figure().add_subplot()
        assert plot(what, axes) is axes
        assert axes.lines
        assert plot(what).lines
