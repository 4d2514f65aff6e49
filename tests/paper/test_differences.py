"""Where the default fit and the authors' procedure differ on one sweep, it is said with both numbers; elsewhere nothing is."""

import json
from dataclasses import replace

import pytest

from command import called
from tdscale.analysis.fit import FitOptions, fit_laws, fit_measured, measure
from tdscale.paper import METHODS, differences
from tdscale.simulate import Bowl, LawTruth, SweepDesign, simulate_cells
from tdscale.simulate.folder import write_simulation

TASKS = {"one": 3e4, "two": 6e4, "three": 5e4}
RATE = Bowl(coefficient=5e-4, exponent=-0.3)
SWEEP = SweepDesign(
    utd=(1.0, 2.0, 4.0, 8.0),
    seeds=5,
    stage="sweep",
    batch_size=(32, 64, 128, 256, 512),
    learning_rate=(1.5e-4, 3e-4, 6e-4, 1.2e-3),
    log_interval=2000,
)
SCALING = SweepDesign(utd=(1.0, 2.0, 4.0, 8.0), seeds=3, log_interval=2000)
OPTIONS = FitOptions(study="swept", tasks=tuple(TASKS), thresholds=(400.0, 800.0), n_draws=40)
# σ^−0.8 from far above the grid at σ = 1 to its middle at σ = 8: the grid's end stands for what lies beyond it
STEEP = LawTruth(d_min=TASKS, batch_size=Bowl(coefficient=900.0, exponent=-0.8), learning_rate=RATE)


def fitted(truth, stages=(SWEEP, SCALING), options=OPTIONS):
    measured = measure(simulate_cells(truth, stages, "low"), options)
    return fit_measured(measured), measured


def test_a_law_that_the_papers_procedure_flattens_is_named_with_both_exponents():
    laws, measured = fitted(STEEP)
    (remark,) = [remark for remark in differences(laws, measured) if remark.where == "batch_size"]
    theirs = fit_laws(measured.cells, replace(OPTIONS, method=METHODS["paper"])).batch_size
    assert str(theirs.exponent_estimate) in remark.message
    assert str(laws.batch_size.exponent_estimate) in remark.message
    # the truth is nearer to the default
    assert abs(laws.batch_size.exponent + 0.8) < abs(theirs.exponent + 0.8)


@pytest.mark.parametrize("case", ["nothing reaches the highest J", "iqm"])
def test_nothing_is_said_where_the_papers_procedure_has_nothing_to_choose_by_or_would_be_refused(case):
    """Where nothing reaches J it takes the least value of the grid everywhere, and says so with an exponent of 0 ± 0."""
    cells = simulate_cells(STEEP, (SWEEP, SCALING), "low")
    options = OPTIONS
    if case == "iqm":
        cells = [replace(cell, aggregate="iqm") for cell in cells]
    else:
        options = replace(OPTIONS, thresholds=(400.0, 5000.0))
    measured = measure(cells, options)
    assert differences(fit_measured(measured), measured) == []


@pytest.mark.parametrize("case", ["they agree", "no sweep", "paper", "paper-offsets", "default-offsets"])
def test_nothing_is_said_where_there_is_nothing_to_compare_or_no_difference(case):
    flat = replace(STEEP, batch_size=Bowl(coefficient=128.0, exponent=0.0, curvature=0.2))
    options = replace(OPTIONS, method=METHODS.get(case, OPTIONS.method))
    found = fitted(flat if case == "they agree" else STEEP, SCALING if case == "no sweep" else (SWEEP, SCALING), options)
    assert [remark for remark in differences(*found) if remark.where == "batch_size"] == []


def test_the_fit_says_it_and_where_to_read_on_and_keeps_it(tmp_path):
    write_simulation(tmp_path / "swept", STEEP, [SWEEP, SCALING], "low", thresholds=(400, 800), data_cost=1e9)
    text = called("fit", "swept", "--draws", "40", cwd=tmp_path).stdout
    assert text.count("B*(σ) by the paper's procedure (--method paper) goes as σ^") == 1
    assert "Which B*(σ) and η*(σ) to believe" in text
    # the report shows what laws.json holds
    kept = json.loads((tmp_path / "swept" / "laws.json").read_text(encoding="utf-8"))["warnings"]
    assert [entry["where"] for entry in kept if entry["code"] == "differs-from-paper"] == ["batch_size"]
    assert "by the paper's procedure" not in called("fit", "swept", "--draws", "40", "--method", "paper", cwd=tmp_path).stdout
