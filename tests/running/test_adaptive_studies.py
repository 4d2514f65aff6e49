"""Adaptive studies: rounds that are stored before they start, cells that are cut, and the same study however often it is killed."""

import json
import math
import shutil
from dataclasses import replace

import pytest

import adaptive_study
from adaptive_study import Noted
from command import called, refused
from tdscale.design.records import RoundRecord, SizedRequest
from tdscale.design.replay import key_of
from tdscale.errors import UserError
from tdscale.running import Engine
from tdscale.running.adaptive import candidates_of, next_of_sweep
from tdscale.running.fitting import fit_study
from tdscale.running.folder import StudyFiles, open_study
from tdscale.running.probe import Speed
from tdscale.running.rounds import round_jobs, step_prices
from tdscale.running.rounds_file import Rounds, read_rounds, write_rounds
from tdscale.runs.cells import load_cells
from tdscale.runs.store import RunStore
from tdscale.study import parse_study


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The toy study, run to its end by one worker, and what was shown."""
    folder = tmp_path_factory.mktemp("adaptive")
    display = Noted()
    files, failures = adaptive_study.run(adaptive_study.write(folder), folder / "toy", workers=1, display=display)
    assert failures == []
    fit_study(files, n_draws=20)
    return files, display


def _copy(done, folder):
    files, _ = done
    shutil.copytree(files.directory.parent, folder, dirs_exist_ok=True)
    return folder / "toy.toml", folder / "toy"


def test_an_adaptive_study_finds_the_best_values_at_a_part_of_the_grids_price(done):
    files, display = done
    rounds = read_rounds(files.directory, files.study)
    assert rounds.ended == "the expected regret is below 0.05"
    assert rounds.regret.expected < 0.05
    assert rounds.regret.expected < rounds.regret.bound
    cells, _ = load_cells(files.store, files.study, stages=("sweep",))
    assert sum(len(cell.seeds) for cell in cells) < 0.5 * len(files.study.sweep_specs())
    laws = fit_study(files, n_draws=20, write=False).laws
    # half the curvature times the squared error, as the toy has it
    for task, best in (("slow", 120), ("fast", 60)):
        batch = 0.15 * math.log(laws.batch_size.predict([2.0], task)[0] / (best * 2**-0.3)) ** 2
        rate = 0.2 * math.log(laws.learning_rate.predict([2.0], task)[0] / (3e-4 * 2**-0.2)) ** 2
        assert batch + rate < 0.15
    assert [note for note in display.notes if note.startswith("stage 1 ends after")]
    assert [warning for warning in laws.warnings if warning.code == "one-seed"] == []


def test_each_round_is_what_the_runs_before_it_ask_for(done, tmp_path):
    """From the stored runs alone, whoever asks: the runs of the rounds before, cut as they were, give the same round again."""
    files, _ = done
    rounds = read_rounds(files.directory, files.study)
    everything = next_of_sweep(files, 0.0, frozenset(), {})
    assert everything.cells == ()
    assert everything.regret == rounds.regret
    first = next_of_sweep(replace(files, store=type(files.store)(tmp_path)), 0.0, frozenset(), {})
    assert first.cells == rounds.records[0].cells
    by_place: dict[tuple[str, float], list[tuple[int, float]]] = {}
    for request in first.cells:
        by_place.setdefault((request.task, request.utd), []).append((request.batch_size, request.learning_rate))
    assert all(len(set(pairs)) == len(pairs) == 3 for pairs in by_place.values())
    assert len({frozenset(pairs) for (task, _), pairs in by_place.items() if task == "slow"}) == 3


def test_a_finished_study_runs_nothing_again(done, tmp_path):
    study, directory = _copy(done, tmp_path)
    before = (directory / "rounds.json").read_bytes()
    display = Noted()
    files, failures = adaptive_study.run(study, directory, display=display)
    assert failures == []
    assert all(count == 0 for _, count in display.parts)
    assert (directory / "rounds.json").read_bytes() == before
    assert files.store.fingerprint() == done[0].store.fingerprint()


def test_two_workers_make_the_same_study_as_one(done, tmp_path):
    study = adaptive_study.write(tmp_path)
    files, _ = adaptive_study.run(study, tmp_path / "toy", workers=2)
    fit_study(files, n_draws=20)
    for name in ("rounds.json", "choice.json", "laws.json"):
        assert (tmp_path / "toy" / name).read_bytes() == (done[0].directory / name).read_bytes()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_a_study_killed_at_any_moment_of_its_rounds_ends_as_one_that_was_not(done, tmp_path, seed):
    adaptive_study.write(tmp_path)
    kills = adaptive_study.run_killed(tmp_path, seed)
    files, failures = adaptive_study.run(tmp_path / "toy.toml", tmp_path / "toy", workers=2)
    assert failures == []
    assert kills
    fit_study(files, n_draws=20)
    for name in ("rounds.json", "choice.json", "laws.json"):
        assert (tmp_path / "toy" / name).read_bytes() == (done[0].directory / name).read_bytes()
    assert files.store.fingerprint() == done[0].store.fingerprint()


def test_a_seed_more_trains_the_cell_as_one_and_a_met_request_trains_nothing(done, tmp_path):
    study, directory = _copy(done, tmp_path)
    files = open_study(directory)
    requests = read_rounds(directory, files.study).requests(files.study)
    assert round_jobs(files, "sweep", list(requests.values())) == {}
    statuses = files.store.statuses(problems=[])
    request = next(one for one in requests.values() if one.seeds == 1)
    (spec,) = files.study.specs([request.key], "sweep", 1)
    stood = statuses[spec.run_id].last_step
    (job,) = round_jobs(files, "sweep", [replace(request, seeds=2)]).values()
    assert [one.seed for one in job.specs] == [0, 1]
    assert job.least == stood
    assert job.most_env_steps == max(request.env_steps, stood)
    del study


def test_a_cell_that_fails_is_not_asked_for_again_and_the_study_ends(tmp_path):
    fails = "if batch == 64 and rate == 3e-4: sys.exit('no luck')"
    study = adaptive_study.write(tmp_path, first=fails, more="\n[trainer]\nretries = 0\n")
    files, failures = adaptive_study.run(study, tmp_path / "toy")
    # at most once for each task and σ
    of_sweep = [text for text in failures if "B=64 η=0.0003" in text]
    assert 0 < len(of_sweep) <= 6
    assert read_rounds(files.directory, files.study).ended
    status = json.loads(called("status", "toy", "--json", cwd=tmp_path).stdout)
    assert {failure["reason"] for failure in status["failures"]} == {"no luck (exit code 1)"}


def test_the_limit_on_env_steps_is_kept(tmp_path):
    study = adaptive_study.write(tmp_path, sweep="regret = 0.001\nmost_env_steps = 200000\nround_size = 4")
    files, _ = adaptive_study.run(study, tmp_path / "toy")
    rounds = read_rounds(files.directory, files.study)
    assert rounds.ended == "the limit on env steps is reached"
    cells, _ = load_cells(files.store, files.study, stages=("sweep",))
    spent = sum(len(cell.seeds) * cell.last_step for cell in cells)
    assert spent < 200000
    # the first cells of each task and σ, three, come before
    later = [record for record in rounds.records if record.regret is not None and record.number > 2]
    assert later
    assert all(len(record.cells) <= 4 for record in later)


def test_without_disk_for_checkpoints_runs_begin_from_the_start_and_the_study_is_the_same(done, tmp_path):
    study = adaptive_study.write(tmp_path, more="\n[checkpoints]\ngigabytes = 0\n")
    display = Noted()
    files, failures = adaptive_study.run(study, tmp_path / "toy", display=display)
    assert failures == []
    assert any("stopped runs were removed: they took more than 0 GB" in note for note in display.notes)
    assert not list(files.directory.rglob("checkpoint"))
    assert (files.directory / "rounds.json").read_bytes() == (done[0].directory / "rounds.json").read_bytes()
    assert files.store.fingerprint() == done[0].store.fingerprint()


def test_rounds_that_cannot_be_read_are_one_sentence_and_nothing_is_lost(done, tmp_path):
    study, directory = _copy(done, tmp_path)
    text = (directory / "rounds.json").read_text()
    (directory / "rounds.json").write_text(text[: len(text) // 2])
    said = refused("run", study.name, "--dir", "toy", cwd=tmp_path)
    assert "rounds.json: is damaged" in said
    (directory / "rounds.json").unlink()
    display = Noted()
    adaptive_study.run(study, directory, display=display)
    # every run that it asks for first is there already
    assert sum(count for name, count in display.parts if name == "sweep") == 0
    (directory / "rounds.json").write_text('{"schema": 1, "studies": {"x": 3}}')
    with pytest.raises(UserError, match="is damaged"):
        read_rounds(directory, done[0].study)


def test_rounds_are_written_and_read_as_they_are(done, tmp_path):
    files, _ = done
    rounds = replace(read_rounds(files.directory, files.study), prices={("slow", 1.0, 32): 0.01}, given_up=(("fast", 2.0),))
    write_rounds(tmp_path, files.study, "sweep", rounds)
    assert read_rounds(tmp_path, files.study) == rounds
    sized = files.study.model_copy(update={"sizes": {"s": {"n": 1}, "l": {"n": 2}}})
    request = SizedRequest(task="slow", utd=1.0, batch_size=32, learning_rate=1e-3, seeds=2, env_steps=900, size="l")
    record = RoundRecord(number=1, cells=(request, replace(request, size="s")), spent=0.0, expected_env_steps=1.0)
    by_size = Rounds(records=(record,), prices={("slow", 1.0, 32, "s"): 0.01, ("slow", 1.0, 32, "l"): 0.05}, given_up=(("fast", 2.0, "l"),))
    write_rounds(tmp_path, sized, "sweep", by_size)
    assert read_rounds(tmp_path, sized) == by_size
    assert [(spec.settings["n"], spec.seed) for spec in by_size.specs(sized, "sweep")] == [(2, 0), (2, 1), (1, 0), (1, 1)]
    assert read_rounds(tmp_path, files.study) == rounds
    other = files.study.model_copy(update={"settings": {"width": 3}})
    assert read_rounds(tmp_path, other).records == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[scaling]\nutd = [1, 2, 4]\nseeds = 2\n", ""), 'sweep.design: "adaptive" needs a [scaling]'),
        (('design = "adaptive"', "regret = 0.1"), "sweep: regret: is for the adaptive design"),
        (("seeds = 3", 'seeds = 3\nprice = "seconds"'), 'sweep.price: "seconds" is measured on tdscale\'s own agents'),
        (("[32, 64, 128, 256]\nlearning_rate = [1e-4, 3e-4, 1e-3]", "[32]\nlearning_rate = [1e-4]"), "has one B and one η to choose from"),
        (('"adaptive"', '"random"'), "sweep.design: \"random\" is not known; it must be 'grid' or 'adaptive'"),
    ],
)
def test_an_adaptive_sweep_that_cannot_be_is_one_sentence(change, says):
    text = adaptive_study.STUDY.format(sweep="", more="")
    assert change[0] in text
    with pytest.raises(UserError) as refusal:
        parse_study(text.replace(*change))
    assert says in str(refusal.value)


def test_stage_2_asks_for_seeds_where_the_data_law_is_known_least_and_for_no_more_than_the_grid(tmp_path):
    study = adaptive_study.write(tmp_path)
    text = study.read_text().replace("[scaling]\nutd = [1, 2, 4]\nseeds = 2", "[scaling]\nutd = [1, 2, 4]\nseeds = 6\nprecision = 0.04")
    study.write_text(text)
    files, failures = adaptive_study.run(study, tmp_path / "toy")
    assert failures == []
    rounds = read_rounds(files.directory, files.study, "scaling")
    assert rounds.ended
    assert {request.seeds for request in rounds.records[0].cells} == {2}
    assert len(rounds.records) > 1
    cells, _ = load_cells(files.store, files.study, stages=("scaling",))
    seeds = [len(cell.seeds) for cell in cells]
    assert len(seeds) == 6
    assert min(seeds) >= 2
    assert max(seeds) <= 6
    assert 12 < sum(seeds) <= 36
    # a cell stops as one, also where seeds came later
    statuses = files.store.statuses(problems=[])
    for cell in cells:
        specs = files.study.specs([key_of(cell)], "scaling", len(cell.seeds))
        assert len({statuses[spec.run_id].last_step for spec in specs}) == 1


def test_a_stage_2_of_the_grid_design_has_all_of_its_seeds(done, tmp_path):
    study, directory = _copy(done, tmp_path)
    study.write_text(study.read_text().replace("seeds = 2\n", 'seeds = 3\ndesign = "grid"\n'))
    files, _ = adaptive_study.run(study, directory)
    cells, _ = load_cells(files.store, files.study, stages=("scaling",))
    assert [len(cell.seeds) for cell in cells] == [3] * 6


SECONDS = """\
name = "seconds"
algorithm = "sac"
return_thresholds = [100, 200]

[tasks.Pendulum-v1]
low = -2000
high = 0

[sweep]
design = "adaptive"
price = "seconds"
utd = [0.5, 2]
batch_size = [16, 64]
learning_rate = [1e-3, 3e-3]

[scaling]
utd = [0.5, 2]

[limits]
env_steps = 1200

[settings]
warm_up = 1000
"""


def test_prices_in_seconds_are_measured_once_and_stored_before_the_first_round(tmp_path, monkeypatch):
    """Twice the B, so many times the seconds, as two shapes measured here tell."""
    study, measured = parse_study(SECONDS), []

    def probe(specs, **options):
        measured.append(specs)
        known = {
            "step_seconds": 1e-3,
            "evaluation_seconds": 0.0,
            "start_seconds": 1.0,
            "critic_update_flops": 100,
            "actor_update_flops": 0,
        }
        return [Speed(spec=spec, update_seconds=1e-4 * spec.batch_size, **known) for spec in specs if spec.batch_size in (16, 64)]

    monkeypatch.setattr("tdscale.running.forecast.probe", probe)
    files = StudyFiles(directory=tmp_path, study=study, store=RunStore(tmp_path))
    notes: list[str] = []
    prices = step_prices(files, Engine(workers=1), notes.append)
    assert step_prices(files, Engine(workers=1), notes.append) == prices
    assert len(measured) == len(notes) == 1
    assert read_rounds(tmp_path, study).prices == prices
    assert {utd for _, utd, _ in prices} == {0.5, 2.0}
    small, large = (prices["Pendulum-v1", 2.0, batch] for batch in (16, 64))
    # 1200 env steps, of which warm-up takes the first 1000, at 1 ms, and 400 updates at 1.6 and 6.4 ms
    assert small == pytest.approx((1.2 + 0.64) / 1200, rel=0.25)
    assert large == pytest.approx((1.2 + 2.56) / 1200, rel=0.25)
    write_rounds(tmp_path, study, "sweep", Rounds())
    with pytest.raises(UserError, match="only on CPU cores of this machine"):
        step_prices(files, Engine(workers=1, gpu=True), notes.append)


def test_prices_in_seconds_are_those_of_each_sizes_networks(tmp_path, monkeypatch):
    study = parse_study(SECONDS + "\n[sizes]\nhidden_sizes = [[64, 64], [256, 256]]\n")

    def probe(specs, **options):
        known = {"step_seconds": 1e-3, "evaluation_seconds": 0.0, "start_seconds": 1.0, "critic_update_flops": 100, "actor_update_flops": 0}
        return [Speed(spec=spec, update_seconds=1e-7 * spec.batch_size * spec.settings["hidden_sizes"][0] ** 2, **known) for spec in specs]

    monkeypatch.setattr("tdscale.running.forecast.probe", probe)
    files = StudyFiles(directory=tmp_path, study=study, store=RunStore(tmp_path))
    notes: list[str] = []
    prices = step_prices(files, Engine(workers=1), notes.append)
    assert notes == ["measuring the cost of an env step at each UTD ratio, batch size and size, 40 s …"]
    # 1 ms for each of 1200 env steps, and 200·2 updates of B·width²·1e-7 s
    for size, width in (("64x64", 64), ("256x256", 256)):
        assert prices["Pendulum-v1", 2.0, 64, size] == pytest.approx((1.2 + 400 * 64 * width**2 * 1e-7) / 1200, rel=0.01)
    assert step_prices(files, Engine(workers=1), notes.append) == prices
    assert len(notes) == 1


def test_candidates_are_the_sweeps_and_one_step_beyond(done):
    candidates = candidates_of(done[0].study)
    assert len(candidates.grid) == 12
    assert {batch for batch, _ in candidates.pairs} == {16, 32, 64, 128, 256, 512}
    assert {rate for _, rate in candidates.pairs} == {3.33e-5, 1e-4, 3e-4, 1e-3, 3.33e-3}
    assert candidates.answer_utd == (1.0, 2.0, 4.0)
