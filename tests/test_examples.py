"""The study files in examples/ are ones that run."""

import json
from pathlib import Path

import pytest

from command import tdscale
from tdscale.study import is_custom, read_study
from tdscale.tasks import check_task

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.toml"))
# one for each domain and its algorithm
DOMAINS = ["gym-sac", "dmc-bro", "franka-pql"]


def test_there_are_examples() -> None:
    assert [path.stem for path in EXAMPLES] == ["classic-sac", "custom-algorithm", "dmc-bro", "franka-pql", "gym-sac", "sac-sizes"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_study_with_both_stages_and_tasks_that_exist(path: Path) -> None:
    study = read_study(path)
    assert is_custom(study.algorithm) or study.sweep_specs()
    assert study.scaling is not None
    assert study.data_cost is not None
    for name, task in study.tasks.items():
        check_task(task.suite, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", DOMAINS)
def test_an_example_runs_through_at_its_smoke_size(name: str, tmp_path: Path) -> None:
    (path,) = [path for path in EXAMPLES if path.stem == name]
    answer = tdscale("run", path, "--smoke", "--dir", tmp_path / "smoke", "--workers", 2, "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer
    content = json.loads(answer.stdout)
    assert (content["smoke"], content["failed"]) == (True, [])
    assert content["laws"]["data"]
    assert content["plans"]
    assert Path(content["report"]).is_file()
    assert "its numbers mean nothing" in answer.stderr
    states = [json.loads(path.read_text())["state"] for path in (tmp_path / "smoke").glob("runs/*/status.json")]
    # eight cells of stage 1, or the three at each of two σ that a first round asks for; three of two seeds in stage 2
    assert states == ["finished"] * (12 if read_study(path).in_rounds("sweep") else 14)
