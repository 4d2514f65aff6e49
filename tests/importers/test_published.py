"""The published files themselves: the importer's counts, and the crossings that the authors' code finds on them."""

import json
import math

import numpy as np
import pytest

from tdscale.importers import import_runs
from tdscale.runs.cells import load_cells
from tdscale.runs.selection import Selection
from tdscale.runs.store import RunStore


@pytest.fixture(scope="module")
def imported(published_data, tmp_path_factory):
    """Cells, report and warnings of one published file, each imported once."""
    done = {}

    def get(name):
        if name not in done:
            directory = tmp_path_factory.mktemp(name)
            report = import_runs(published_data / f"{name}.zip", "qscaled", directory)
            # of every size: what the cells of one look like is the same
            everything = Selection(specs=RunStore(directory).specs())
            done[name] = (*load_cells(RunStore(directory), report.study, selection=everything), report)
        return done[name]

    return get


@pytest.fixture(scope="module")
def golden(published_data):
    return json.loads((published_data / "golden.json").read_text())


def _crossing(cell, threshold):
    """First logged env step at which the isotonic regression of the mean over all seeds is at or above the threshold."""
    mean = cell.returns.mean(axis=0)
    index = int(np.argmin(np.concatenate([[0.0], np.cumsum(mean - threshold)])))
    return float(cell.env_steps[index]) if index < len(mean) else math.nan


@pytest.mark.parametrize("name", ["gym_ours", "gym_baseline_utd2"])
def test_crossings_on_gym_are_those_of_the_authors_code(imported, golden, name):
    cells, _, report = imported(name)
    reference = golden["rerun_fitted"][name]
    assert report.study.return_thresholds == pytest.approx(reference["thresholds"], rel=1e-12)
    assert len(cells) == 28
    for cell in cells:
        expected = reference["D_env_utd_thr"][cell.spec.task][reference["utds"].index(cell.spec.utd)]
        assert [_crossing(cell, threshold) for threshold in report.study.return_thresholds] == expected


@pytest.mark.slow
def test_crossings_on_the_sweep_are_those_of_the_authors_code(imported, golden):
    cells, warnings, _ = imported("dmc_sweep")
    table = golden["rerun_grid_dmc_sweep"]["crossings_table"]
    found = {(c.spec.task, c.spec.utd, c.spec.batch_size, c.spec.learning_rate): c for c in cells}
    assert warnings == []
    assert len(found) == len(table["rows"]) == 840
    for row in table["rows"]:
        cell = found[row["env"], row["utd"], row["bs"], row["lr"]]
        expected = [math.nan if value is None else value for value in row["D"]]
        np.testing.assert_array_equal([_crossing(cell, threshold) for threshold in table["thresholds"]], expected)


# code -> what the message must say; counts as published with the files
_SAID = {
    "gym_ours": {
        "duplicate-seeds": "21 of 28 files",
        "unequal-seeds": "gym_ours/utd_0.25/Humanoid-v4/episode.return/bs_560_lr_0.000276.npy has 7 seeds",
        "step-gaps": "utd_0.25/Humanoid-v4",
        "never-reached": "18 of 223 single seeds",
    },
    "gym_baseline_utd2": {"duplicate-seeds": "11 of 28 files", "unequal-seeds": "has 3 seeds", "never-reached": "0 of 28 mean curves"},
    "dmc_sweep": {
        "assumed-steps": "5000 + 1000·r",
        "unverified-steps": "87 of 840 files",
        "truncated-returns": "finger-spin",
        "already-isotonic": "no curve ever falls",
        "never-reached": "11 of 840 mean curves",
    },
    "dmc_bro_ablations": {
        "assumed-steps": "25000·(r + 1)",
        "assumed-hyperparameters": "batch size is not recorded",
        "resets": "dip",
        "duplicate-seeds": "byte-identical",
        "unequal-lengths": "80 rows",
        "never-reached": "of 1000 mean curves",
        "threshold-from-start": "",
        "threshold-not-reached": "",
    },
    "simbav2": {
        "means-of-seeds": "mean of 5 seeds",
        "assumed-hyperparameters": "the learning rate is not recorded",
        "sizes-by-width": "N, the critics' parameters",
        "unequal-seeds": "most files have 5 seeds",
        "never-reached": "of 160 mean curves",
        "threshold-from-start": "",
    },
}
_COUNTS = {
    "gym_ours": (223, 28, 4),
    "gym_baseline_utd2": (217, 28, 4),
    "dmc_sweep": (8400, 840, 7),
    "dmc_bro_ablations": (10_000, 1000, 40),
    "simbav2": (1156, 160, 2),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name.startswith("dmc") else name for name in _SAID])
def test_every_trap_of_a_published_file_is_said(imported, name):
    cells, _, report = imported(name)
    said = {message.code: message.message for message in report.messages}
    assert set(said) == set(_SAID[name])
    for code, part in _SAID[name].items():
        assert part in said[code]
    assert (report.runs, report.cells, len(report.tasks)) == _COUNTS[name]
    assert sum(len(cell.seeds) for cell in cells) == report.runs


@pytest.mark.slow
def test_copies_are_flagged_in_as_many_cells_as_were_reported(imported):
    for name, count in (("gym_ours", 21), ("gym_baseline_utd2", 11), ("dmc_sweep", 0)):
        cells, warnings, _ = imported(name)
        assert sum(cell.duplicate.any() for cell in cells) == count
        assert sum(warning.code == "duplicate-seeds" for warning in warnings) == count
        assert not any(cell.duplicate[0] for cell in cells)
