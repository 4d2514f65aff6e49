"""Whole studies of a trainer of the user's own, the examples among them, where no JAX can be imported."""

import json
import os
from pathlib import Path

import pytest

from command import called, refused
from tdscale.cli.progress import RunDisplay
from tdscale.errors import UserError
from tdscale.running import Engine
from tdscale.running.fitting import fit_study
from tdscale.running.folder import StudyFiles, place_study
from tdscale.running.workflow import run_study
from tdscale.runs.cells import load_cells
from tdscale.study import read_study

EXAMPLES = Path(__file__).parents[2] / "examples" / "custom-trainer"
SMALLER = (("utd = [0.25, 1, 4]", "utd = [1]"), ("batch_size = [4, 16]", "batch_size = [16]"), ("[0.25, 0.5, 1, 2, 4]", "[0.5, 1, 4]"))
FEWER = (("learning_rate = [0.03, 0.1]", "learning_rate = [0.1]"), ("seeds = 3", "seeds = 2"), ("seeds = 2\n\n[sc", "seeds = 1\n\n[sc"))


@pytest.fixture
def no_jax(tmp_path, monkeypatch):
    """What importing JAX, or a simulator, does where it is not installed."""
    folder = tmp_path / "absent"
    folder.mkdir()
    for name in ("jax", "flax", "optax", "gymnasium", "mujoco", "dm_control"):
        (folder / f"{name}.py").write_text(f'raise ModuleNotFoundError("No module named {name!r}", name={name!r})\n')
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


def _small(name: str, folder: Path) -> Path:
    text = (EXAMPLES / f"{name}.toml").read_text()
    for right, small in (*SMALLER, *FEWER):
        assert right in text
        text = text.replace(right, small)
    folder.mkdir(exist_ok=True)
    (folder / "corridor.py").write_bytes((EXAMPLES / "corridor.py").read_bytes())
    (folder / f"{name}.toml").write_text(text)
    return folder / f"{name}.toml"


def _leave_out_scaling(study: Path) -> None:
    text = study.read_text()
    study.write_text(text[: text.index("[scaling]")] + text[text.index("[limits]") :])


def _run(files: StudyFiles) -> list[str]:
    from rich.console import Console

    with RunDisplay(files.directory, Console(quiet=True), 2) as display:
        return run_study(files, engine=Engine(workers=2), display=display)


def test_the_example_of_another_library_is_a_study():
    study = read_study(EXAMPLES.parent / "sb3" / "study.toml")
    assert study.scaling is not None
    assert len(study.sweep_specs()) == 24


def test_the_examples_run_without_jax_and_command_and_function_are_the_same_learner(tmp_path, no_jax, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = {}
    for name in ("function", "command"):
        study = _small(name, Path("from"))
        if name == "function":
            _leave_out_scaling(study)
        files = place_study(study, Path(name))
        assert _run(files) == []
        cells[name], _ = load_cells(files.store, files.study)
        assert {cell.costs["critic_update_flops"] for cell in cells[name]} == {200.0 if name == "command" else 160.0}
        assert not list(files.directory.glob("runs/*/checkpoint"))
    (one,), other = cells["function"], next(cell for cell in cells["command"] if cell.spec.stage == "sweep")
    assert one.spec == other.spec
    assert one.env_steps.tolist() == other.env_steps.tolist()
    assert one.returns.tolist() == other.returns.tolist()
    law = fit_study(files, n_draws=20).laws.data[-1]
    # more updates, less data
    assert law.predict([4.0])[0] < law.predict([0.5])[0]
    before = files.store.fingerprint()
    assert _run(place_study(files.directory / "study.toml", files.directory)) == []
    assert files.store.fingerprint() == before


def test_what_failed_is_told_and_tried_again_and_another_trainers_runs_are_not_mixed_in(tmp_path, no_jax):
    study = _small("command", tmp_path)
    _leave_out_scaling(study)
    study.write_text(study.read_text().replace("corridor.py", "learner.py").replace("[limits]", "[trainer]\nretries = 0\n\n[limits]"))
    (tmp_path / "learner.py").write_text("import sys\nsys.exit('no luck today')\n")
    assert _run(place_study(study, tmp_path / "study")) == ["corridor σ=1 B=16 η=0.1: 1 of 1 seeds: no luck today (exit code 1)"]
    status = json.loads(called("status", "study", "--json", cwd=tmp_path).stdout)
    assert [failure["reason"] for failure in status["failures"]] == ["no luck today (exit code 1)"]
    # nothing has come of that file, so another one may take its place
    (tmp_path / "learner.py").write_bytes((EXAMPLES / "corridor.py").read_bytes())
    assert _run(place_study(study, tmp_path / "study")) == []
    (tmp_path / "learner.py").write_text((EXAMPLES / "corridor.py").read_text() + "\n# changed\n")
    with pytest.raises(UserError, match=r"its runs were made with another learner\.py than the one given now; give --dir another folder"):
        place_study(study, tmp_path / "study")
    assert _run(place_study(study, tmp_path / "study", accept_changes=True)) == []
    assert _run(place_study(study, tmp_path / "study")) == []


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("100,inf", "every run of stage 1 diverged below the lowest threshold"),
        ("100,nan\n1500,nan", "stage 1 has no run from which B and η can be chosen"),
    ],
)
def test_a_study_whose_runs_all_diverge_at_once_ends_in_one_sentence(tmp_path, rows, says):
    study = _small("command", tmp_path)
    study.write_text(study.read_text().replace("[limits]", "[trainer]\nretries = 0\n\n[limits]"))
    (tmp_path / "corridor.py").write_text(f"import sys\nopen(sys.argv[-1], 'w').write({('env_step,return' + chr(10) + rows)!r})\n")
    answer = called("run", "command.toml", "--dir", "study", cwd=tmp_path)
    assert answer.returncode == 1
    assert says in answer.stderr.splitlines()[-1]


def test_a_trainer_that_is_not_there_is_one_sentence(tmp_path):
    study = _small("command", tmp_path)
    study.write_text(study.read_text().replace('"python3"', '"pyhton3"'))
    assert refused("run", "command.toml", cwd=tmp_path) == (
        "command.toml, command[0]: there is no program 'pyhton3' on PATH; give its path, or activate its environment first"
    )
    assert not (tmp_path / "command").exists()
    study = _small("function", tmp_path)
    study.write_text(study.read_text().replace("corridor:train", "corridor:learn"))
    assert "function: 'corridor:learn' can't be called with one argument" in refused("run", "function.toml", cwd=tmp_path)
    assert "--device gpu: is about tdscale's own agents" in refused("run", _small("command", tmp_path), "--device", "gpu", cwd=tmp_path)
    assert not (tmp_path / "function").exists()
