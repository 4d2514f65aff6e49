"""`tdscale compare`: what it prints, writes and refuses."""

import json

import pandas as pd
import pytest

from command import called
from tdscale.simulate import LawTruth, SweepDesign, write_simulation

TASKS = {"one": 5e4, "two": 2e5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    there = tmp_path_factory.mktemp("compare")
    design = SweepDesign(utd=(0.5, 1.0, 2.0, 4.0), seeds=4)
    for name, factor, seed in (("slow", 2.0, 1), ("fast", 1.0, 2)):
        truth = LawTruth(d_min={task: factor * data for task, data in TASKS.items()})
        write_simulation(there / name, truth, design, "low", thresholds=(400, 800), data_cost=2e9, name=name, seed=seed)
    return there


def test_the_answer_comes_first_then_tables_and_files(folder, tmp_path):
    figure, table = tmp_path / "compared.svg", tmp_path / "compared.csv"
    done = called("compare", str(folder / "slow"), str(folder / "fast"), "--figure", str(figure), "--csv", str(table), cwd=folder)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("fast needs 0.")
    assert "times the env steps of slow at equal compute" in lines[0]
    assert "over 2 tasks" in lines[0]
    for heading in ("at equal compute", "at equal data", "return at equal budgets", "budget for equal returns", "by task", "to know"):
        assert heading in done.stdout
    assert figure.read_text(encoding="utf-8").startswith("<?xml")
    assert set(pd.read_csv(table)["study"]) == {"slow", "fast"}


def test_a_document_holds_the_same_answer(folder):
    done = called("compare", str(folder / "slow"), str(folder / "fast"), "--task", "one", "--json", cwd=folder)
    content = json.loads(done.stdout)
    assert content["answer"].endswith("on one")
    assert content["studies"] == ["slow", "fast"]
    assert {one["measure"] for one in content["compared"]} == {"data", "compute", "return", "budget"}


def test_mistakes_end_in_a_sentence(folder):
    slow, fast = str(folder / "slow"), str(folder / "fast")
    for arguments, said in (
        ((slow,), "two studies or more"),
        ((slow, fast, "--task", "three"), "there is no 'three'"),
        ((slow, fast, "--compute", "lots"), "must be numbers above 0"),
        ((slow, fast, "--size", "m"), "none of the studies has sizes"),
        ((slow, fast, "--figure", "x.pdf"), ".svg or .png"),
        ((slow, "published:gym"), "counted compute"),
    ):
        done = called("compare", *arguments, cwd=folder)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_published_laws_are_compared_without_intervals(folder):
    done = called("compare", "published:gym", "published:gym-committed", cwd=folder)
    assert done.returncode == 0
    # D of both at σ = 2 to 10 differs by their D_min, which the authors' committed fits put higher
    assert done.stdout.startswith("published:gym-committed needs 1.")
    assert "no intervals and no chances" in done.stdout
    assert "--data-cost sets one price for all" in done.stdout
