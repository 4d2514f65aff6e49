"""Studies with [sizes], trained for real: killed and resumed, chosen size by size, forecast, shown."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest

import adaptive_study
import small_study
from command import called
from tdscale.cli.status import study_status
from tdscale.errors import RunFailure, UserError
from tdscale.running import Engine
from tdscale.running.advisor import Advisor
from tdscale.running.choosing import choose_by_size
from tdscale.running.fitting import fit_study
from tdscale.running.folder import StudyFiles, place_study
from tdscale.running.forecast import forecast
from tdscale.running.model_sizes import model_sizes
from tdscale.running.probe import Speed
from tdscale.running.rates import Rates, shapes_of
from tdscale.running.rounds_file import FILE_NAME, read_rounds
from tdscale.running.stages import cells_to_go, sized, wanted_specs
from tdscale.running.workflow import run_study
from tdscale.runs.cells import load_cells
from tdscale.runs.choice import read_choices
from tdscale.study import CellJob, parse_study

SIZES = "\n[sizes]\nhidden_sizes = [[4], [8, 8]]\n"
# of the pair: observations and actions of Pendulum are 3 + 1 numbers, and each layer has as many biases as outputs
PARAMETERS = {"4": 2 * ((4 * 4 + 4) + (4 + 1)), "8x8": 2 * ((4 * 8 + 8) + (8 * 8 + 8) + (8 + 1))}
REGRET = "regret = 0.02"  # of the adaptive toy study, for a few rounds


class Killed(Exception):
    """Ends a study in the middle."""


class Watched(small_study.Silent):
    """A display that remembers what was begun, and ends the study after so many cells."""

    def __init__(self, kill_after=0):
        self.begun, self.notes, self.left = [], [], kill_after

    def event(self, event):
        if event.kind == "start":
            self.begun.append(event.job)
        if event.kind == "done" and self.left:
            self.left -= 1
            if not self.left:
                raise Killed

    def note(self, text):
        self.notes.append(text)


def _write(folder: Path, more: str = SIZES) -> Path:
    study = small_study.write(folder, utds="0.5, 2", seeds=1)
    study.write_text(study.read_text().replace("hidden_sizes = [8]\n", "").replace("baseline = true\n", "") + more)
    return study


def _place(folder: Path, more: str = SIZES) -> StudyFiles:
    study = _write(folder, more)
    return place_study(study, study.with_suffix(""))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study of two sizes, killed in stage 2, and what was begun after that."""
    files = _place(tmp_path_factory.mktemp("sized"))
    with pytest.raises(Killed):
        run_study(files, engine=Engine(workers=1), display=Watched(kill_after=5))
    display = Watched()
    assert run_study(files, engine=Engine(workers=1), display=display) == []
    return files, display


def test_every_size_is_run_at_every_stage_and_its_n_is_counted_from_its_networks(done):
    cells, warnings = load_cells(done[0].store, done[0].study)
    assert {(cell.size, cell.model_size) for cell in cells} == set(PARAMETERS.items())
    for size in PARAMETERS:
        stages = [cell.spec.stage for cell in cells if cell.size == size]
        assert {stage: stages.count(stage) for stage in set(stages)} == {"sweep": 2, "scaling": 2}
    assert {warning.code for warning in warnings} == {"one-seed"}


def test_what_was_done_before_the_study_was_killed_is_not_repeated(done):
    files, display = done
    assert [job.specs[0].stage for job in display.begun] == ["scaling"] * 3  # of 4, after 4 of stage 1
    assert cells_to_go(files, [spec for specs in wanted_specs(files).values() for spec in specs]) == []


def test_a_study_of_one_size_alone_asks_for_the_same_runs(done):
    files, _ = done
    text = (files.directory / "study.toml").read_text()
    stored = {run_id for run_id, spec in files.store.specs().items() if spec.settings["hidden_sizes"] == [8, 8]}
    for settings in (text.replace(SIZES, "hidden_sizes = [8, 8]\n"), text.replace("[[4], [8, 8]]", "[[8, 8]]")):
        alone = StudyFiles(directory=files.directory, study=parse_study(settings), store=files.store)
        wanted = wanted_specs(alone)
        assert {spec.run_id for specs in wanted.values() for spec in specs} == stored
        assert cells_to_go(alone, [spec for specs in wanted.values() for spec in specs]) == []


def test_jobs_of_different_networks_share_no_program_and_the_larger_is_the_dearer(done):
    files, _ = done
    small, large = ({job.size: job for job in [sized(job, one) for job in _whole(one)]}[name] for name, one in files.by_size().items())
    assert small.shape != large.shape
    assert small.cost < large.cost
    assert (small.describe(), large.describe()) == ("Pendulum-v1 σ=0.5 B=16 η=0.001, size 4", "Pendulum-v1 σ=0.5 B=16 η=0.001, size 8x8")


def _whole(files: StudyFiles):
    return [CellJob(specs=tuple(files.study.sweep_specs()[:1]), env_steps=1200, target=None)]


def test_each_size_has_choices_of_its_own(done):
    files, _ = done
    chosen = choose_by_size(files)
    assert list(chosen) == ["4", "8x8"]
    assert len(read_choices(files.directory)) == 2
    for name, one in files.by_size().items():
        cells, _ = load_cells(files.store, one.study, stages=["scaling"])
        assert {(c.spec.batch_size, c.spec.learning_rate) for c in cells} == {chosen[name].choices["Pendulum-v1"].scaling[2.0]}


def test_a_size_whose_sweep_tells_nothing_is_named(done, tmp_path):
    files = _place(tmp_path)
    with pytest.raises(RunFailure, match=r"size 4: stage 1 has no run .* or leave the size out of \[sizes\]"):
        choose_by_size(files)


def test_status_counts_the_runs_of_each_size(done):
    content = study_status(done[0])
    assert [(row["stage"], [(size["size"], size["runs"], size["finished"]) for size in row["sizes"]]) for row in content["stages"]] == [
        ("sweep", [("4", 2, 2), ("8x8", 2, 2)]),
        ("scaling", [("4", 2, 2), ("8x8", 2, 2)]),
    ]
    assert content["left_out"] == []
    assert "size 8x8" in called("status", done[0].directory, cwd=done[0].directory).stdout


def test_runs_are_suggested_for_one_size(done):
    with pytest.raises(UserError, match=r"has several sizes, and suggests runs of one at a time; choose one of 4, 8x8 \(--size\)"):
        Advisor(done[0])
    with pytest.raises(UserError, match="there is no size '16'; there is 4, 8x8"):
        Advisor(done[0], size="16")
    cells = Advisor(done[0], size="8x8").cells
    assert len(cells) == 4
    assert {tuple(cell.spec.settings["hidden_sizes"]) for cell in cells} == {(8, 8)}


def test_a_dry_run_counts_the_cells_of_every_size(tmp_path):
    files = _place(tmp_path)
    found = forecast(files, Engine(workers=1), probe_seconds=0)
    assert [(stage.cells, stage.runs) for stage in found.stages] == [(4, 4), (4, 4)]
    # σ·1100 updates of each run, at two sizes
    assert [stage.critic_updates for stage in found.stages] == [2 * (550 + 2200)] * 2
    assert json.dumps(found.to_dict())


def test_time_is_reckoned_by_the_size_of_each_network_and_of_one_not_measured_by_the_nearest(tmp_path):
    files = _place(tmp_path, "\n[sizes]\nhidden_sizes = [[64, 64], [512, 512], [1024, 1024]]\n")
    asked = shapes_of(cells_to_go(files, files.study.sweep_specs()))
    assert [spec.settings["hidden_sizes"] for spec in asked] == [[64, 64], [512, 512], [1024, 1024]]

    def speed(spec, update_seconds, flops):
        return Speed(
            spec=spec,
            update_seconds=update_seconds,
            step_seconds=0.0,
            evaluation_seconds=0.0,
            start_seconds=0.0,
            critic_update_flops=flops,
            actor_update_flops=0,
        )

    rates = Rates([speed(asked[0], 1e-3, 10_000), speed(asked[1], 8e-3, 640_000)], files.study)
    small, large, unmeasured = (rates.run_seconds(spec, 1100) for spec in asked)
    # σ·1000 updates, σ nearest to 1: 0.5
    assert (small, large) == (pytest.approx(0.5, rel=1e-3), pytest.approx(4.0, rel=1e-3))
    # four times the products but for inputs and outputs; seconds in proportion to FLOPs
    assert 3.8 < unmeasured / large < 4
    assert 3.8 < rates.update_flops(asked[2])[0] / 640_000 < 4
    one = CellJob(specs=(asked[0],), env_steps=1100, target=None)
    assert shapes_of([one, one]) == [asked[0]]


COMMAND = """
import sys
size, width, n, steps, output = sys.argv[1:]
with open(output, "w") as file:
    file.write("env_step,return\\n")
    for step in range(50, int(steps) + 1, 50):
        file.write(f"{step},{min(step * int(width) / 10, 1000)}\\n")
with open(output + "." + size, "w") as file:
    file.write(n)
"""
CUSTOM = """\
name = "own"
command = ["python3", "train.py", "{size}", "{width}", "{model_size}", "{env_steps}", "{output}", "{seed}{utd}"]
return_thresholds = [300]

[tasks.chain]
high = 1000

[sweep]
utd = [1, 2]
batch_size = [16]
learning_rate = [1e-3]
seeds = 2

[limits]
env_steps = 1000

[sizes]
m = { width = 10, model_size = 500 }
l = { width = 20, model_size = 2e3 }
"""


def test_a_command_is_told_the_size_and_its_n_which_count_its_compute(tmp_path):
    (tmp_path / "train.py").write_text(COMMAND.replace("sys.argv[1:]", "sys.argv[1:6]"))
    (tmp_path / "own.toml").write_text(CUSTOM)
    files = place_study(tmp_path / "own.toml", tmp_path / "own")
    assert run_study(files, engine=Engine(workers=1), display=small_study.Silent()) == []
    cells, _ = load_cells(files.store, files.study)
    assert [(cell.size, cell.model_size, cell.costs["critic_update_flops"]) for cell in cells] == [
        *[("m", 500, 5000)] * 2,
        *[("l", 2000, 20000)] * 2,
    ]
    # the wider one rises twice as fast
    assert [cell.returns[0, 0] for cell in cells] == [50, 50, 100, 100]


def test_a_function_finds_the_size_and_its_settings_in_the_run(tmp_path):
    (tmp_path / "fun.py").write_text(
        "def train(run):\n"
        "    assert run.model_size == {'m': 500, 'l': 2000}[run.size]\n"
        "    return [(step, run.settings['width']) for step in range(50, run.env_steps + 1, 50)]\n"
    )
    command = next(line for line in CUSTOM.splitlines() if line.startswith("command"))
    (tmp_path / "own.toml").write_text(CUSTOM.replace(command, 'function = "fun:train"'))
    files = place_study(tmp_path / "own.toml", tmp_path / "own")
    assert run_study(files, engine=Engine(workers=1), display=small_study.Silent()) == []
    cells, _ = load_cells(files.store, files.study)
    assert {(cell.size, cell.returns[0, 0]) for cell in cells} == {("m", 10.0), ("l", 20.0)}


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    """The adaptive toy study with two sizes, run to its end by one worker."""
    folder = tmp_path_factory.mktemp("joint")
    files, failures = adaptive_study.run(adaptive_study.write_sized(folder, sweep=REGRET), folder / "toy", workers=1)
    assert failures == []
    fit_study(files, n_draws=20)
    return files


def test_rounds_span_all_sizes_and_find_the_best_values_of_each(joint):
    assert len(json.loads((joint.directory / FILE_NAME).read_text())["studies"]) == 1
    sweep, scaling = (read_rounds(joint.directory, joint.study, stage) for stage in ("sweep", "scaling"))
    assert sweep.ended == "the expected regret is below 0.02"
    assert len(sweep.records) > 1
    first = Counter((request.task, request.utd, request.size) for request in sweep.records[0].cells)
    assert first == {(task, utd, size): 3 for task in ("slow", "fast") for utd in (1.0, 2.0, 4.0) for size in ("s", "l")}
    assert scaling.ended == "every cell has all of its seeds"
    assert {(request.size, request.seeds) for request in scaling.records[0].cells} == {("s", 2), ("l", 2)}
    grid = len(joint.study.sweep_specs())
    assert len(sweep.specs(joint.study, "sweep")) < 0.4 * grid
    # half the curvature times the squared error, as the toy has it
    for name, chosen in choose_by_size(joint).items():
        for task, best in (("slow", 120), ("fast", 60)):
            batch, rate = chosen.choices[task].scaling[2.0]
            best_batch = best * 2**-0.3 * (adaptive_study.SIZES[name] / 1e4) ** (1 / 3)
            assert 0.15 * math.log(batch / best_batch) ** 2 + 0.2 * math.log(rate / (3e-4 * 2**-0.2)) ** 2 < 0.15


def test_status_tells_the_rounds_of_all_sizes_as_one(joint):
    rounds = study_status(joint)["rounds"]
    assert list(rounds) == ["sweep", "scaling"]
    assert rounds["sweep"]["rounds"] == len(read_rounds(joint.directory, joint.study).records)


def _same(files, other):
    for name in (FILE_NAME, "choice.json", "laws.json"):
        assert (files.directory / name).read_bytes() == (other.directory / name).read_bytes()


def test_a_study_with_sizes_killed_in_its_rounds_and_resumed_by_more_workers_is_the_same(joint, tmp_path):
    study = adaptive_study.write_sized(tmp_path, sweep=REGRET)
    files = place_study(study, tmp_path / "toy")
    for kill_after in (9, 25, 15):
        with pytest.raises(Killed):
            run_study(files, engine=Engine(workers=2), display=Watched(kill_after))
    assert run_study(files, engine=Engine(workers=2), display=Watched()) == []
    fit_study(files, n_draws=20)
    _same(files, joint)
    again = Watched()
    assert run_study(files, engine=Engine(workers=1), display=again) == []
    assert again.begun == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_study_with_sizes_killed_at_any_moment_ends_as_one_that_was_not(joint, tmp_path, seed):
    study = adaptive_study.write_sized(tmp_path, sweep=REGRET)
    assert adaptive_study.run_killed(tmp_path, seed)
    files, failures = adaptive_study.run(study, tmp_path / "toy", workers=2)
    assert failures == []
    fit_study(files, n_draws=20)
    _same(files, joint)


def test_where_one_size_fails_it_is_given_up_and_the_study_ends(tmp_path):
    study = adaptive_study.write_sized(tmp_path, sweep="regret = 0.3")
    toy = tmp_path / "toy.py"
    fails = "if (task, utd, n) == ('slow', '4', '80000'): sys.exit('too large')\nutd, batch, rate, steps ="
    toy.write_text(toy.read_text().replace("utd, batch, rate, steps =", fails, 1))
    study.write_text(study.read_text() + "\n[trainer]\nretries = 0\n")
    files, failures = adaptive_study.run(study, tmp_path / "toy")
    assert failures
    assert all(text.startswith("slow σ=4 ") and ", size l: " in text for text in failures)
    rounds = read_rounds(files.directory, files.study)
    assert rounds.ended
    assert rounds.given_up == (("slow", 4.0, "l"),)
    cells, _ = load_cells(files.store, files.study, stages=["scaling"])
    assert len(cells) == 11
    assert ("slow", 4.0, "l") not in {(cell.spec.task, cell.spec.utd, cell.size) for cell in cells}


def test_n_of_tdscales_own_networks_is_counted_before_any_run(tmp_path):
    files = _place(tmp_path, "\n[tasks.InvertedPendulum-v5]\nhigh = 1000\n\n[sizes]\nhidden_sizes = [[8, 8], [4]]\n")
    # of the second task: 4 + 1 numbers
    wide = {"4": 2 * ((5 * 4 + 4) + (4 + 1)), "8x8": 2 * ((5 * 8 + 8) + (8 * 8 + 8) + (8 + 1))}
    counted = model_sizes(files)
    assert list(counted) == ["4", "8x8"]
    for name, size in counted.items():
        assert size == pytest.approx(math.sqrt(PARAMETERS[name] * wide[name]))
    assert files.store.specs() == {}


def test_n_of_other_programs_networks_is_what_the_study_says_and_a_study_without_sizes_has_none(joint, tmp_path):
    assert model_sizes(joint) == adaptive_study.SIZES
    assert model_sizes(place_study(adaptive_study.write(tmp_path), tmp_path / "toy")) == {}


def test_an_adaptive_study_is_forecast_over_all_its_sizes(tmp_path):
    one = forecast(place_study(adaptive_study.write(tmp_path / "one"), tmp_path / "plain"), Engine(workers=1)).stages[0]
    two = forecast(place_study(adaptive_study.write_sized(tmp_path / "two"), tmp_path / "sized"), Engine(workers=1)).stages[0]
    assert two.adaptive.grid_cells == 2 * one.adaptive.grid_cells == 2 * 72
    assert two.adaptive.grid_env_steps.middle == pytest.approx(2 * one.adaptive.grid_env_steps.middle)
    # each size has cells of its own at every task and UTD ratio, and tells of the other one's best values
    assert one.env_steps < two.env_steps < 2 * one.env_steps
