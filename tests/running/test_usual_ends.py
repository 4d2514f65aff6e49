"""Where cells will likely stop: from those that stopped, by hand."""

import numpy as np
import pytest

from tdscale.running.folder import place_study
from tdscale.running.stages import pending_jobs
from tdscale.running.usual_ends import UsualEnds
from tdscale.runs.types import RunResult, RunStatus
from tdscale.study import StopTarget

STUDY = """\
name = "small"
algorithm = "sac"
return_thresholds = [100]

[tasks.Pendulum-v1]
low = -2000
high = 0

[sweep]
utd = [1, 4]
batch_size = [16]
learning_rate = [1e-3, 3e-3]
seeds = 1

[scaling]
utd = [0.25, 1, 2, 4, 16]
seeds = 1

[limits]
env_steps = 100_000
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "small.toml").write_text(STUDY)
    return place_study(tmp_path / "small.toml", tmp_path / "study")


def end(files, spec, step):
    columns = {"env_step": np.array([step]), "return": np.array([0.0])}
    files.store.write(RunResult(spec=spec, columns=columns, status=RunStatus(state="finished", last_step=step)))


def expected(files, specs):
    target = {"Pendulum-v1": StopTarget(return_threshold=0.0, margin=0.1)}
    jobs = pending_jobs(specs, {}, {"Pendulum-v1": 100_000}, target)
    return {job.specs[0].utd: job.likely_env_steps for job in UsualEnds(files).expect(jobs)}


def later(files):
    return files.study.scaling_specs({("Pendulum-v1", utd): (16, 1e-3) for utd in files.study.scaling.utd})


def test_nothing_is_expected_where_nothing_has_stopped(files):
    assert set(expected(files, later(files)).values()) == {None}


def test_stage_two_is_expected_to_stop_as_the_sooner_cells_of_the_sweep_on_a_line_in_logs(files):
    for spec in files.study.sweep_specs():
        end(files, spec, {1.0: 8000, 4.0: 4000}[spec.utd])
    # D falls as 1/√σ: half at four times σ, and on with it beyond
    assert expected(files, later(files)) == pytest.approx({0.25: 16_000, 1: 8000, 2: 4000 * 2**0.5, 4: 4000, 16: 2000}, rel=1e-3)


def test_stage_twos_own_ends_count_once_there_are_two(files):
    for spec in files.study.sweep_specs():
        end(files, spec, 8000)
    specs = {spec.utd: spec for spec in later(files)}
    end(files, specs[1.0], 50_000)
    assert expected(files, later(files))[2.0] == 8000
    end(files, specs[4.0], 50_000)
    assert expected(files, later(files)) == dict.fromkeys((0.25, 1, 2, 4, 16), 50_000)


def test_no_cell_is_expected_beyond_its_limit(files):
    specs = {spec.utd: spec for spec in later(files)}
    end(files, specs[1.0], 90_000)
    end(files, specs[4.0], 22_500)
    assert expected(files, later(files))[0.25] == 100_000
