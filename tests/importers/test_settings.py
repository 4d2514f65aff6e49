"""Imported runs that differ in a setting that decides a curve never stand in one law."""

import json

import numpy as np
import pytest

from command import called, refused
from tdscale.importers import import_runs
from tdscale.running.folder import open_study
from tdscale.runs.cells import load_cells
from tdscale.runs.selection import select_runs
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunResult, RunStatus
from tdscale.study import RunSpec, Study, Task, study_to_toml


def imported(folder, rows):
    """Runs given as dicts of task, utd, batch_size, settings and D_min at 800: D = D_min·(1 + 1/σ); three seeds each."""
    results = []
    for row in rows:
        for seed in range(3):
            spec = RunSpec(
                algorithm="sac",
                suite="imported",
                task=row.get("task", "Ant-v4"),
                utd=row["utd"],
                batch_size=row.get("batch_size", 256),
                learning_rate=3e-4,
                seed=seed,
                stage="scaling",
                settings=row.get("settings", {}),
            )
            needed = row["top"] * (1 + 1 / row["utd"]) * np.exp(0.02 * np.random.default_rng(int(spec.run_id, 16)).standard_normal())
            steps = np.arange(1, 151) * int(2 * needed / 150)
            columns = {"env_step": steps, "return": 1000 * (1 - 0.2 ** (steps / needed))}
            results.append(RunResult(spec=spec, columns=columns, status=RunStatus(state="finished", last_step=int(steps[-1]))))
    tasks = {row.get("task", "Ant-v4"): Task(suite="imported", high=1000.0) for row in rows}
    study = Study(name="logs", algorithm="sac", return_thresholds=(500.0, 800.0), tasks=tasks)
    RunStore(folder).write_packed(results, "logs")
    (folder / "study.toml").write_text(study_to_toml(study))


WIDTHS = [
    {"utd": utd, "settings": {"width": width, "train_freq": 1}, "top": top}
    for utd in (0.5, 1, 2, 4)
    for width, top in ((64, 20_000), (256, 5_000))
]


def test_two_widths_are_refused_and_right_with_where(tmp_path):
    imported(tmp_path, WIDTHS)
    sentence = refused("fit", ".", cwd=tmp_path)
    assert "width is 64, 256" in sentence
    assert "`tdscale fit . --where width=64`" in sentence
    for width, top in ((64, 20_000), (256, 5_000)):
        answer = called("fit", ".", "--where", f"width={width}", "--json", cwd=tmp_path)
        assert answer.returncode == 0, answer
        laws = json.loads(answer.stdout)
        assert laws["where"] == [f"width={width}"]
        (law,) = [law for law in laws["data"] if law["threshold"] == 800 and law["task"] is None]
        assert law["d_min"]["value"] == pytest.approx(top, rel=0.15)
    # whatever comes later keeps to what was fitted
    before = (tmp_path / "laws.json").read_bytes()
    for command in (("plan", ".", "--data", "2e4"), ("validate", "."), ("report", ".")):
        assert called(*command, cwd=tmp_path).returncode in (0, 2), command
        assert (tmp_path / "laws.json").read_bytes() == before
    assert "width=256" in (tmp_path / "report.html").read_text()


def test_a_size_that_changes_along_sigma_is_refused_even_though_each_place_has_one_cell(tmp_path):
    imported(tmp_path, [{"utd": utd, "settings": {"size": "s" if utd < 2 else "m"}, "top": 5_000} for utd in (0.5, 1, 2, 4)])
    assert "size is m, s" in refused("fit", ".", cwd=tmp_path)


def test_a_setting_that_follows_the_task_is_kept_and_listed(tmp_path):
    rows = [
        {"task": task, "utd": utd, "settings": {"target_entropy": entropy}, "top": 5_000}
        for task, entropy in (("Ant-v4", -4), ("Humanoid-v4", -8))
        for utd in (0.5, 1, 2, 4)
    ]
    imported(tmp_path, rows)
    files = open_study(tmp_path)
    selection = select_runs(files.store, files.study)
    assert len(selection.specs) == 24
    assert [w.message for w in selection.listed] == ["target_entropy differs between tasks (-8, -4)"]


def test_where_that_names_nothing_is_one_sentence_with_what_there_is(tmp_path):
    imported(tmp_path, WIDTHS)
    assert "there is width 64, 256" in refused("fit", ".", "--where", "width=65", cwd=tmp_path)
    assert "there is no 'depth'; the runs have" in refused("fit", ".", "--where", "depth=2", cwd=tmp_path)


def test_imported_cells_with_several_b_at_one_sigma_are_a_sweep(tmp_path):
    imported(tmp_path, [{"utd": utd, "batch_size": b, "top": 5_000 + b} for utd in (1, 2, 4) for b in (64, 256)])
    files = open_study(tmp_path)
    cells, _ = load_cells(files.store, files.study)
    assert {cell.spec.stage for cell in cells} == {"sweep"}
    assert len(cells) == 6


@pytest.mark.parametrize(
    ("name", "where", "stage", "cells"),
    [
        pytest.param("dmc_bro_ablations", "size=m", "scaling", 200, marks=pytest.mark.slow),
        ("simbav2", "width=512", "sweep", 32),
    ],
)
def test_one_size_of_the_published_files_is_chosen_by_where(name, where, stage, cells, published_data, tmp_path):
    import_runs(published_data / f"{name}.zip", "qscaled", tmp_path)
    sentence = refused("fit", ".", "--method", "paper", cwd=tmp_path)
    assert "knows no model size; choose the runs of one size by --where" in sentence
    files = open_study(tmp_path)
    from tdscale.runs.where import parse_where

    found, _ = load_cells(files.store, files.study, selection=select_runs(files.store, files.study, where=parse_where([where])))
    assert {cell.spec.stage for cell in found} == {stage}
    assert len(found) == cells
