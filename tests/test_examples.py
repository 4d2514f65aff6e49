"""The study files in examples/ are ones that run."""

from pathlib import Path

import pytest

from tdscale.study import read_study
from tdscale.tasks import check_task

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.toml"))


def test_there_are_examples() -> None:
    assert [path.name for path in EXAMPLES] == ["classic-sac.toml", "dmc-bro.toml", "gym-sac.toml"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_study_with_both_stages_and_tasks_that_exist(path: Path) -> None:
    study = read_study(path)
    assert study.sweep_specs()
    assert study.scaling is not None
    assert study.data_cost is not None
    for name, task in study.tasks.items():
        check_task(task.suite, name)
