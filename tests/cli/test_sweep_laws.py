"""What `fit`, `plan` and `report` show of the laws B*(σ) and η*(σ) of a sweep."""

import json

import pytest

from command import called
from known_truth import write_swept
from tdscale.simulate import Bowl, LawTruth, SweepDesign
from tdscale.simulate.folder import write_simulation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A simulated study with a sweep, in `swept`; nothing is fitted yet."""
    folder = tmp_path_factory.mktemp("sweep")
    truth = LawTruth(
        d_min={"one": 3e4, "two": 6e4},
        batch_size=Bowl(coefficient=200.0, exponent=-0.5, curvature=0.1, offset=0.2),
        learning_rate=Bowl(coefficient=5e-4, exponent=-0.3),
    )
    write_swept(folder / "swept", truth)
    return folder


def said(*arguments, cwd):
    answer = called(*arguments, cwd=cwd)
    assert answer.returncode == 0, answer
    return answer.stdout


def test_the_fit_and_the_plan_say_how_exact_the_settings_must_be(folder):
    assert "it costs at most 5% more data" in said("fit", "swept", "--draws", "20", cwd=folder)
    assert said("plan", "swept", "--data", "2e5", cwd=folder).count("at most 5% more data from ") == 2
    laws = json.loads((folder / "swept" / "laws.json").read_text())
    ranges = laws["batch_size"]["tolerated"]["ranges"]
    assert {(entry["task"], entry["utd"]) for entry in ranges} == {(task, utd) for task in (None, "one", "two") for utd in (1.0, 2.0, 4.0)}
    assert all(entry["low"]["value"] < entry["high"]["value"] for entry in ranges)


def test_laws_with_offsets_are_shown_and_kept_by_what_follows(folder):
    text = said("fit", "swept", "--offsets", "--draws", "20", cwd=folder)
    assert "B*(σ) = B_min + coefficient·σ^exponent" in text
    assert "η*(σ) = η_min + coefficient·σ^exponent" in text
    written = (folder / "swept" / "laws.json").read_bytes()
    assert json.loads(written)["method"] == "default-offsets"
    plan = json.loads(said("plan", "swept", "--data", "2e5", "--task", "one", "--json", cwd=folder))
    laws = json.loads(written)["batch_size"]
    beta, least = laws["tasks"]["one"]["coefficient"]["value"], laws["offsets"]["one"]["value"]
    assert plan["batch_size_range"]["value"] == pytest.approx(least + beta * plan["utd"] ** laws["exponent"]["value"], rel=1e-4)
    # fitted again, in the same way
    (folder / "swept" / "study.toml").write_text((folder / "swept" / "study.toml").read_text().replace("400.0", "500.0"))
    said("plan", "swept", "--data", "2e5", cwd=folder)
    again = json.loads((folder / "swept" / "laws.json").read_text())
    assert again["data"][0]["threshold"] == 500
    assert again["method"] == "default-offsets"
    assert "B_min" in said("fit", "swept", "--offsets", "--method", "paper", "--draws", "20", cwd=folder)


def test_a_plan_keeps_the_batch_size_of_all_runs_as_it_is(tmp_path):
    rate = Bowl(coefficient=5e-4, exponent=-0.3)
    truth = LawTruth(d_min={"one": 3e4, "two": 6e4}, batch_size=Bowl(coefficient=1024.0, exponent=0.0), learning_rate=rate)
    write_simulation(tmp_path / "one", truth, [SweepDesign(utd=(1.0, 2.0, 4.0), seeds=2)], "low", thresholds=(800,), data_cost=1e9)
    lines = [line.split() for line in said("plan", "one", "--data", "2e5", cwd=tmp_path).splitlines()]
    # not "1024 rounded from 1020"
    assert ["B", "1024", "(not", "optimised)"] in lines


def test_a_batch_size_that_all_tasks_share_is_printed_once_and_in_full(tmp_path):
    batch, rate = Bowl(coefficient=1024.0, exponent=0.0), Bowl(coefficient=5e-4, exponent=0.0)
    truth = LawTruth(d_min={"one": 3e4, "two": 6e4}, batch_size=batch, learning_rate=rate)
    write_simulation(tmp_path / "one", truth, [SweepDesign(utd=(1.0, 2.0, 4.0), seeds=2)], "low", thresholds=(800,), data_cost=1e9)
    text = said("fit", "one", "--draws", "20", cwd=tmp_path)
    rows = [line.split() for line in text.splitlines() if line.startswith(("each of", "one ", "two "))]
    assert [row[:5] for row in rows] == [["each", "of", "2", "tasks", "1024"], ["each", "of", "2", "tasks", "5.00e−4"]]
