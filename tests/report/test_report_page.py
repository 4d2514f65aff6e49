"""The page is one file, tells no lies about what is missing, and is the same every time."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import synthetic

from tdscale.paper import PAPER
from tdscale.report import figures, style, write_report
from tdscale.runs.types import RunWarning
from tdscale.validation import HeldOut, Validation

NOTHING = Validation(held_out=(), budget=None, baseline=(), skipped=("held-out σ: too few σ were run",))


class Links(HTMLParser):
    """Collects whatever a browser would load, and the elements seen."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset") and value:
                self.loaded.append(value)
            if name == "id":
                self.ids.append(value)


@pytest.fixture(scope="module")
def written(studied, tmp_path_factory):
    directory = tmp_path_factory.mktemp("study")
    return write_report(
        directory, studied.laws, studied.measured, plans=studied.plans, validation=studied.validation, study_summary={"algorithm": "sac"}
    )


def parse(text: str) -> Links:
    parser = Links()
    parser.feed(text)
    return parser


def test_the_page_loads_nothing(written):
    text = written.read_text(encoding="utf-8")
    page = parse(text)
    assert all(link.startswith(("#", "data:image/")) for link in page.loaded)
    assert not page.tags & {"link", "iframe", "object", "embed", "img"}
    without_scripts = re.sub(r"(?s)<script.*?</script>", "", text)
    assert "@import" not in without_scripts
    assert not re.search(r"url\(\s*['\"]?(?!#)", without_scripts)
    assert "http" not in without_scripts


def test_a_figure_is_drawn_as_series_unless_it_holds_more_than_series(written):
    charts = json.loads(re.search(r'(?s)id="charts-data">(.*?)</script>', written.read_text(encoding="utf-8"))[1])
    names = {path.stem for path in (written.parent / "figures").glob("*.svg")}
    assert names - set(charts) == {"surface"}
    (panel,) = charts["data"]["panels"]
    assert (panel["x"]["log"], panel["y"]["log"]) == (True, True)
    assert [entry["text"] for entry in charts["data"]["legend"][:4]] == ["J = 300", "J = 450", "J = 700", "J = 800"]


def test_the_points_of_a_figure_come_with_their_intervals_and_their_places_in_the_legend(written, studied):
    charts = json.loads(re.search(r'(?s)id="charts-data">(.*?)</script>', written.read_text(encoding="utf-8"))[1])
    told, law = charts["data-by-task"], studied.laws.data[0]
    panel = next(panel for panel in told["panels"] if panel["title"] == "Runner")
    first = next(place for place, entry in enumerate(told["legend"]) if entry["text"] == f"J = {law.threshold:.4g}")
    (points,) = (one for one in panel["series"] if one["kind"] == "points" and one["of"] == [first])
    assert points["x"] == pytest.approx(law.utd)
    assert points["y"] == pytest.approx(law.data[0], rel=1e-4)
    assert points["low"] == pytest.approx(law.data_low[0], rel=1e-4)
    assert points["high"] == pytest.approx(law.data_high[0], rel=1e-4)


def test_no_id_comes_twice_and_every_reference_has_its_target(written):
    page = parse(written.read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.loaded if link.startswith("#")} <= set(page.ids)


def test_the_page_is_under_six_megabytes_and_every_section_is_there(written):
    assert written.stat().st_size < 6_000_000
    ids = parse(written.read_text(encoding="utf-8")).ids
    assert {"summary", "plan", "data", "frontier", "hyperparameters", "curves", "validation", "tables", "warnings", "method"} <= set(ids)


def test_figures_and_tables_lie_beside_the_page_and_nothing_half_written(written):
    names = {path.stem for path in (written.parent / "figures").iterdir()}
    data = {"data", "data-by-task", "compute", "compute-by-task", "pareto", "frontier", "budget", "curves", "isotonic"}
    assert names == data | {"hyperparameters", "best-pairs", "selection", "surface", "extrapolation", "validation"}
    assert all((written.parent / "figures" / f"{name}.{ending}").stat().st_size > 1000 for name in names for ending in ("svg", "png"))
    assert not list(written.parent.rglob(".new-*"))


def test_the_same_input_gives_the_same_page_byte_for_byte(written, studied, tmp_path, no_pngs):
    again = write_report(
        tmp_path, studied.laws, studied.measured, plans=studied.plans, validation=studied.validation, study_summary={"algorithm": "sac"}
    )
    assert again.read_bytes() == written.read_bytes()
    for path in sorted((written.parent / "figures").glob("*.svg")) + sorted((written.parent / "tables").iterdir()):
        assert (tmp_path / path.parent.name / path.name).read_bytes() == path.read_bytes()


def test_a_png_made_again_is_the_same_byte_for_byte(studied):
    one, other = (style.to_png(figures.hyperparameter_figure(studied.laws)) for _ in range(2))
    assert one == other


def test_the_crossings_table_holds_each_cell_and_says_which_are_censored(written, studied):
    frame = pd.read_csv(written.parent / "tables" / "crossings.csv")
    assert len(frame) == 2 * 6 * len(synthetic.THRESHOLDS)
    censored = frame[frame["censored"]]
    assert set(censored["task"]) == {"Swimmer"}
    assert censored["env_steps"].isna().all()
    law = studied.laws.data[0]
    first = frame[(frame["task"] == law.tasks[0]) & (frame["σ"] == law.utd[0]) & (frame["J"] == law.threshold)]
    assert first["env_steps"].item() == pytest.approx(law.data[0, 0])
    assert "&gt; " in written.read_text(encoding="utf-8")


def test_predicted_batch_sizes_are_the_laws_at_the_papers_sigmas(written, studied):
    frame = pd.read_csv(written.parent / "tables" / "batch_size.csv")
    of_task = frame[frame["task"] == "Runner"]
    assert of_task["σ"].tolist() == [0.25, 0.5, 1, 2, 4, 8, 16]
    np.testing.assert_allclose(of_task["batch_size"], studied.laws.batch_size.predict(of_task["σ"], "Runner"), rtol=1e-8)


def test_batch_sizes_are_shown_as_they_are_run_in_multiples_of_16(written, studied):
    frame = pd.read_csv(written.parent / "tables" / "batch_size.csv")
    assert (frame[["as_run", "as_run_low", "as_run_high"]] % 16 == 0).all(axis=None)
    assert ((frame["as_run"] - frame["batch_size"]).abs() <= 8).all()
    assert (frame["as_run_low"] <= frame["as_run"]).all()
    assert (frame["as_run"] <= frame["as_run_high"]).all()
    first = frame.iloc[0]
    assert f"{first['as_run']:.0f} [{first['as_run_low']:.0f}, " in written.read_text(encoding="utf-8")


def test_the_coefficients_of_each_task_are_the_laws_at_sigma_one_with_intervals(written, studied):
    frame = pd.read_csv(written.parent / "tables" / "coefficients.csv").set_index("task")
    for task in studied.laws.tasks:
        assert frame.loc[task, "beta_batch_size"] == pytest.approx(studied.laws.batch_size.predict([1.0], task)[0])
        assert frame.loc[task, "beta_learning_rate"] == pytest.approx(studied.laws.learning_rate.predict([1.0], task)[0])
        assert frame.loc[task, "d_min_low"] <= frame.loc[task, "d_min"] <= frame.loc[task, "d_min_high"]


HOSTILE = "<script>alert('x')</script> $\\frac"


def hostile_study():
    cells = [replace(c, spec=replace(c.spec, task=HOSTILE)) for c in synthetic.scaling_cells(["Runner"])]
    laws, measured, validation = synthetic.results(cells, synthetic.make_options(cells, study="<b>study</b>"))
    return measured, replace(laws, warnings=(*laws.warnings, RunWarning("<i>code</i>", "<img src=x>", "x"))), validation


def test_names_and_messages_with_html_in_them_are_escaped(tmp_path, no_pngs):
    measured, laws, validation = hostile_study()
    path = write_report(
        tmp_path, laws, measured, plans=synthetic.make_plans(laws), validation=validation, study_summary={"<u>key</u>": "<em>value</em>"}
    )
    page = path.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;study&lt;/b&gt;" in page
    own = re.sub(r"(?s)<script( id=[^>]*| type=[^>]*)*>.*?</script>", "", page, count=5)
    assert not parse(own).tags & {"script", "img", "b", "i", "em", "u"}


def test_many_warnings_of_one_kind_become_one_group(tmp_path, studied, no_pngs):
    warnings = tuple(RunWarning("duplicate-seeds", f"seed {i} of a cell is a copy", str(i)) for i in range(40))
    laws = replace(studied.laws, warnings=warnings, data=(), budget=None, batch_size=None, learning_rate=None)
    path = write_report(tmp_path, laws, None, plans=[], validation=NOTHING, study_summary={})
    page = path.read_text(encoding="utf-8")
    assert page.count("Duplicate seeds") == 1
    assert "37 more" in page


def poor_inputs():
    scaling = synthetic.scaling_cells(["Runner"])
    both = synthetic.scaling_cells()
    return {
        "one task, no sweep": (scaling, {}),
        "one threshold, no price of data": (scaling, {"thresholds": (500.0,), "data_cost": None}),
        "nothing reached": (synthetic.scaling_cells(["Runner"], limit=0.05), {}),
        "one sigma": ([c for c in both if c.spec.utd == 1.0], {}),
        "sweep alone": (synthetic.sweep_cells(["Runner"]), {}),
        "paper": (scaling, {"method": PAPER, "model_size": 2e4}),
        "one seed, no sizes": (
            [
                replace(c, seeds=c.seeds[:1], returns=c.returns[:1], diverged=c.diverged[:1], duplicate=c.duplicate[:1], costs={})
                for c in scaling
            ],
            {},
        ),
    }


def test_the_page_says_how_exact_the_settings_must_be(written, studied):
    frame = pd.read_csv(written.parent / "tables" / "tolerated.csv")
    law = studied.laws.batch_size
    row = frame[(frame["quantity"] == "batch_size") & (frame["task"] == "Swimmer") & (frame["σ"] == 2.0)].iloc[0]
    told = law.tolerated(2.0, "Swimmer")
    np.testing.assert_allclose(row[["from", "to_high"]].astype(float), [told.low.value, told.high.high], rtol=1e-9)
    # of the truth at B* = 200·2^−0.4, where 0.08·log² = log 1.05
    assert row["to_low"] <= 200 * 2**-0.4 * np.exp(np.sqrt(np.log(1.05) / 0.08)) <= row["to_high"]
    text = written.read_text(encoding="utf-8")
    assert "How exact B and η must be" in text
    assert "at most 5% more data" in text


def test_values_that_no_sweep_chose_are_shown_as_not_optimised_without_intervals(tmp_path, no_pngs):
    cells = synthetic.scaling_cells(("Runner",))
    laws, measured, validation = synthetic.results(cells, synthetic.make_options(cells))
    path = write_report(tmp_path, laws, measured, plans=synthetic.make_plans(laws), validation=validation, study_summary={})
    frame = pd.read_csv(tmp_path / "tables" / "laws.csv")
    assert frame[frame["law"].isin(["B*(σ)", "η*(σ)"])][["low", "high"]].isna().all(axis=None)
    text = path.read_text(encoding="utf-8")
    assert text.count("(not optimised)") >= 6
    assert "no interval" not in text


USUAL = {"one task, no sweep", "one threshold, no price of data", "sweep alone", "paper"}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in USUAL else kind for kind in poor_inputs()])
def test_poor_inputs_give_a_report_without_empty_panels(kind, tmp_path, no_pngs):
    cells, changes = poor_inputs()[kind]
    laws, measured, validation = synthetic.results(cells, synthetic.make_options(cells, **changes))
    plans = synthetic.make_plans(laws) if laws.data and laws.compute else []
    path = write_report(tmp_path, laws, measured, plans=plans, validation=validation, study_summary={})
    page = parse(path.read_text(encoding="utf-8"))
    assert {"summary", "validation", "method", "curves"} <= set(page.ids)
    assert ("data" in page.ids) == bool(laws.data)
    assert ("frontier" in page.ids) == bool(laws.data and laws.compute and laws.batch_size is not None)
    assert ("plan" in page.ids) == bool(plans)
    text = re.sub(r"<svg.*?</svg>|<script.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_a_study_without_cells_or_laws_still_gets_its_page(studied, tmp_path):
    bare = replace(studied.laws, data=(), budget=None, batch_size=None, learning_rate=None, compute={}, warnings=())
    path = write_report(tmp_path, bare, None, plans=[], validation=NOTHING, study_summary={})
    page = re.sub(r"(?s)<script.*?</script>", "", path.read_text(encoding="utf-8"))
    assert "No data law could be fitted" in page
    assert "has not been checked" in page
    assert "<svg" not in page
    assert 'id="planner"' not in page


def test_a_later_report_removes_what_it_no_longer_has_and_leaves_other_files(studied, tmp_path, no_pngs):
    laws = replace(studied.laws, data=(), budget=None)
    write_report(tmp_path, laws, None, plans=[], validation=NOTHING, study_summary={})
    assert (tmp_path / "figures" / "hyperparameters.svg").exists()
    (tmp_path / "figures" / "mine.svg").write_text("x", encoding="utf-8")
    write_report(tmp_path, replace(laws, batch_size=None, learning_rate=None), None, plans=[], validation=NOTHING, study_summary={})
    assert not (tmp_path / "figures" / "hyperparameters.svg").exists()
    assert (tmp_path / "figures" / "mine.svg").exists()


def held(error: float, rival: float, covered: int) -> Validation:
    errors = {"law": error, "power law": rival, "nearest σ": 0.9, "constant": 0.9}
    one = HeldOut(side="largest", utd=(8.0,), fitted=(1.0, 2.0, 4.0), factor=2.0, errors=errors, bias=error, covered=covered, compared=10)
    return Validation(held_out=(one,), budget=None, baseline=(), skipped=())


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        (held(0.05, 0.2, 8), "the law predicted runs it had not seen"),
        (held(0.05, 0.2, 3), "beyond them take its numbers with care"),
        (held(0.5, 0.6, 8), "beyond them take its numbers with care"),
        (held(0.2, 0.1, 8), "beyond them take its numbers with care"),
        (NOTHING, "has not been checked"),
    ],
)
def test_trust_follows_from_what_was_checked(validation, said, studied, tmp_path):
    bare = replace(studied.laws, data=(), budget=None, batch_size=None, learning_rate=None)
    page = write_report(tmp_path, bare, None, plans=[], validation=validation, study_summary={}).read_text(encoding="utf-8")
    assert said in page
