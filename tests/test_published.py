"""The authors' own numbers, from their own files, by `--method paper`. Skipped where the files are not."""

import json

import numpy as np
import pytest

from command import tdscale
from tdscale.analysis.paper_law import fit_plain


@pytest.fixture(scope="module")
def golden(published_data):
    return json.loads((published_data / "golden.json").read_text())


@pytest.fixture(scope="module")
def imported(published_data, tmp_path_factory):
    """The folder of the imported study, and what the import and the fit printed."""
    folder = tmp_path_factory.mktemp("published")
    report = tdscale("import", published_data / "gym_ours.zip", "--from", "qscaled", "--dir", "gym", "--json", cwd=folder)
    laws = tdscale("fit", "gym", "--method", "paper", "--draws", 20, "--json", cwd=folder)
    assert (report.returncode, laws.returncode) == (0, 0), (report.stderr, laws.stderr)
    return json.loads(report.stdout), json.loads(laws.stdout)


def test_the_data_law_at_the_top_threshold_is_the_papers(imported):
    _, laws = imported
    (top,) = (law for law in laws["data"] if law["task"] is None and law["threshold"] == pytest.approx(800))
    assert top["d_min"]["value"] == pytest.approx(2.17e5, rel=0.01)
    assert top["alpha"]["value"] == pytest.approx(0.70, abs=0.01)
    assert top["beta"]["value"] == pytest.approx(2.19, abs=0.02)


def test_duplicate_seeds_are_reported(imported):
    report, _ = imported
    (message,) = (message["message"] for message in report["messages"] if message["code"] == "duplicate-seeds")
    assert message.startswith("21 of 28 files")


def test_the_law_of_every_threshold_is_the_one_committed(imported, golden):
    """Through the whole chain, from the zip."""
    _, laws = imported
    shared = [law for law in laws["data"] if law["task"] is None]
    scale = golden["rerun_fitted"]["gym_ours"]["median_of_medians"]
    for law, (a, b, c) in zip(shared, golden["committed"]["data_law_abc"]["gym_ours"], strict=True):
        assert law["alpha"]["value"] == pytest.approx(a, rel=1e-4)
        assert law["d_min"]["value"] == pytest.approx(c * scale, rel=1e-4)
        assert law["beta"]["value"] == pytest.approx(b * c ** (-1 / a), rel=1e-4)


@pytest.mark.parametrize("name", ["gym_ours", "gym_baseline_utd2"])
def test_the_fit_gives_the_committed_coefficients_from_the_published_crossings(golden, name):
    rerun = golden["rerun_fitted"][name]
    data = np.array([rerun["D_env_utd_thr"][task] for task in rerun["envs"]], float)
    data[np.isnan(data)] = np.inf
    medians = np.nanmedian(np.where(np.isfinite(data), data, np.nan), axis=(1, 2))
    z = np.nanmean(np.where(np.isfinite(data), data, np.nan) / medians[:, None, None], axis=0)
    fitted = np.stack(fit_plain(np.array(rerun["utds"]), z.T), axis=1)
    np.testing.assert_allclose(fitted, golden["committed"]["data_law_abc"][name], rtol=1e-4)
