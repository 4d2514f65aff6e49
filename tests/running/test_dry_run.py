"""`tdscale run --dry-run`: what a study will take, with nothing written."""

import json
from pathlib import Path

import numpy as np
import pytest

from command import called
from tdscale.running import Engine
from tdscale.running.folder import place_study, prepare_study
from tdscale.running.forecast import forecast
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
    found = forecast(prepare_study(tmp_path / "small.toml", tmp_path / "study"), Engine(workers=1), probe_seconds=0)
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
