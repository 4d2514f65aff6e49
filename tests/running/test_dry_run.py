"""`tdscale run --dry-run`: what a study will take, with nothing written."""

import json
from pathlib import Path

import numpy as np
import pytest

from command import called
from tdscale.cli.console import for_people
from tdscale.cli.results import print_forecast
from tdscale.design.records import CellRequest, RoundRecord
from tdscale.running import Engine
from tdscale.running.folder import place_study, prepare_study
from tdscale.running.forecast import forecast
from tdscale.running.probe import Speed
from tdscale.running.rounds import Rounds, write_rounds
from tdscale.runs.types import RunResult, RunStatus

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom-trainer" / "command.toml"
STUDY = """\
name = "small"
algorithm = "sac"
return_thresholds = [500]

[tasks.Pendulum-v1]
low = -1500
high = -150

[sweep]
utd = [1, 2]
batch_size = [16]
learning_rate = [1e-3, 3e-3]
seeds = 2

[scaling]
utd = [0.5, 1, 2]
seeds = 4

[limits]
env_steps = 1000

[settings]
hidden_sizes = [8]
warm_up = 200
update_block = 8
evaluation_interval = 0
diagnostics_interval = 0
"""


def test_a_trainers_study_is_counted_and_not_tried(tmp_path):
    answer = called("run", EXAMPLE, "--dir", "study", "--dry-run", "--json", cwd=tmp_path)
    assert answer.returncode == 0
    content = json.loads(answer.stdout)
    sweep, scaling = content["stages"]
    assert (sweep["cells"], sweep["runs"], sweep["env_steps"]) == (12, 24, 24 * 1500)
    # floor(σ·1400) updates of 20 parameters at 10 FLOPs each: no actor is told of
    assert sweep["critic_updates"] == 8 * (350 + 1400 + 5600)
    assert sweep["flops"] == 4 * (350 + 1400 + 5600) * (4 + 16) * 200
    # stage 2 with the middle of the sweep
    assert scaling["flops"] == 3 * (350 + 700 + 1400 + 2800 + 5600) * 16 * 200
    assert (sweep["seconds"], content["total"]["seconds"], content["speeds"]) == (None, None, [])
    assert any("B = 16, η = 0.1" in note for note in content["notes"])
    assert list(tmp_path.iterdir()) == []


def test_what_is_done_is_subtracted_and_nothing_is_written(tmp_path):
    (tmp_path / "small.toml").write_text(STUDY)
    files = place_study(tmp_path / "small.toml", tmp_path / "study")
    cell = files.study.sweep_specs()[:2]
    columns = {"env_step": np.array([500, 1000]), "return": np.array([-1400.0, -1300.0])}
    for spec in cell:
        files.store.write(RunResult(spec=spec, columns=columns, status=RunStatus(state="finished", last_step=1000)))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("*")}
    found = forecast(prepare_study(tmp_path / "small.toml", tmp_path / "study"), Engine(workers=1), probe_seconds=0, simulated=3)
    assert [(stage.cells_to_go, stage.runs_to_go, stage.env_steps) for stage in found.stages] == [(3, 6, 6000), (3, 12, 12_000)]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("*")} == before


def test_time_is_that_of_training_the_studys_own_shapes(tmp_path):
    (tmp_path / "small.toml").write_text(STUDY)
    found = forecast(prepare_study(tmp_path / "small.toml", tmp_path / "study"), Engine(workers=2), probe_seconds=30)
    (speed,) = found.speeds
    assert (speed.spec.task, speed.spec.batch_size, speed.spec.utd) == ("Pendulum-v1", 16, 1.0)
    assert speed.update_seconds > 0
    assert speed.step_seconds > 0
    sweep, scaling = found.stages
    per_update = speed.critic_update_flops
    assert sweep.flops == pytest.approx(16 * 4 * ((800 + 1600) * per_update + 2 * 800 * speed.actor_update_flops))
    assert sweep.seconds is not None
    # two workers: half of what 8 runs take, and the compilation
    alone = 2 * speed.start_seconds + 8000 * speed.step_seconds + sweep.critic_updates * speed.update_seconds
    assert sweep.seconds == pytest.approx(alone / 2, rel=0.35)
    assert scaling.seconds is not None
    assert not (tmp_path / "study").exists()
    assert found.to_dict()["total"]["runs_to_go"] == 20


ADAPTIVE = (
    STUDY.replace("utd = [1, 2]\nbatch_size = [16]\nlearning_rate = [1e-3, 3e-3]\n", "{}")
    .format("utd = [1, 2, 4]\nbatch_size = [16, 32, 64, 128]\nlearning_rate = [3e-4, 1e-3, 3e-3, 1e-2]\n")
    .replace("seeds = 2\n", 'seeds = 3\ndesign = "adaptive"\n')
    .replace("env_steps = 1000", "env_steps = 20_000")
)


@pytest.fixture
def probed(monkeypatch):
    """In the place of a probe: 1 ms for an env step, 2 ms for a critic update, whatever the shape."""

    def speeds(specs, **_options):
        known = {"update_seconds": 2e-3, "step_seconds": 1e-3, "evaluation_seconds": 0.0, "start_seconds": 0.0}
        return [Speed(spec=spec, **known, critic_update_flops=100, actor_update_flops=0) for spec in specs]

    monkeypatch.setattr("tdscale.running.forecast.probe", speeds)


def test_an_adaptive_sweep_is_expected_to_take_less_than_its_grid_and_says_how_uncertain_that_is(tmp_path, probed):
    (tmp_path / "small.toml").write_text(ADAPTIVE)
    answer = called("run", "small.toml", "--dir", "study", "--workers", "1", "--dry-run", "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer
    content = json.loads(answer.stdout)
    sweep, scaling = content["stages"]
    found = sweep["adaptive"]
    assert (found["grid_cells"], found["grid_runs"]) == (48, 144)
    assert 0 < found["env_steps"]["low"] < found["env_steps"]["high"]
    assert found["env_steps"]["low"] <= sweep["env_steps"] <= found["env_steps"]["high"] < found["grid_env_steps"]["middle"]
    assert found["runs_to_go"]["high"] < 144
    # three cells of each σ at least, each to its crossing or its limit
    assert sweep["runs_to_go"] >= 9
    assert sweep["env_steps"] <= sweep["runs_to_go"] * 20_000
    # σ of 1 to 4: an env step brings one to four critic updates, of 16 to 128 transitions (8 to 256 beyond the grid's ends)
    for end in ("low", "high"):
        assert found["env_steps"][end] * 3e-3 * 0.9 < found["seconds"][end] < found["env_steps"][end] * 9e-3
        assert found["env_steps"][end] * 8 * 100 * 0.9 < found["flops"][end] < found["env_steps"][end] * 4 * 256 * 100
    assert found["seconds"]["low"] <= sweep["seconds"] <= found["seconds"]["high"]
    assert (scaling["runs_to_go"], scaling["adaptive"]) == (12, None)
    assert any("no laws are known yet" in note for note in content["notes"])
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_what_the_rounds_took_so_far_is_taken_off_an_adaptive_sweeps_price(tmp_path):
    (tmp_path / "small.toml").write_text(ADAPTIVE)
    files = place_study(tmp_path / "small.toml", tmp_path / "study")
    before = forecast(files, Engine(workers=1), probe_seconds=0, simulated=3)
    request = CellRequest(task="Pendulum-v1", utd=1.0, batch_size=32, learning_rate=1e-3, seeds=2, env_steps=20_000)
    record = RoundRecord(number=1, cells=(request,), spent=0.0, expected_env_steps=20_000.0)
    write_rounds(files.directory, files.study, "sweep", Rounds(records=(record,)))
    for spec in files.study.specs([request.key], "sweep", 2):
        columns = {"env_step": np.array([500, 10_000]), "return": np.array([-1400.0, -1300.0])}
        files.store.write(RunResult(spec=spec, columns=columns, status=RunStatus(state="finished", last_step=10_000)))
    after = forecast(files, Engine(workers=1), probe_seconds=0, simulated=3)
    first, then = (found.stages[0].adaptive for found in (before, after))
    assert first is not None
    assert then is not None
    assert then.env_steps.middle == pytest.approx(first.env_steps.middle - 20_000)
    assert then.runs_to_go.middle == first.runs_to_go.middle - 2
    # once the rounds have ended there is nothing left of them
    write_rounds(files.directory, files.study, "sweep", Rounds(records=(record,), ended="enough"))
    assert forecast(files, Engine(workers=1), probe_seconds=0).stages[0].adaptive is None


def test_the_price_of_an_adaptive_sweep_is_told_in_two_lines(tmp_path, capsys):
    (tmp_path / "small.toml").write_text(ADAPTIVE)
    print_forecast(
        for_people(), forecast(prepare_study(tmp_path / "small.toml", tmp_path / "study"), Engine(workers=1), probe_seconds=0, simulated=3)
    )
    said = capsys.readouterr().out
    assert "10 to 90 % of 3 simulated studies" in said
    assert "the whole grid would take 144 runs" in said
