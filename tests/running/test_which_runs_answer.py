"""Which runs answer a study's question: those of the study as it stands, at the B and η that were chosen once."""

import json
from dataclasses import replace

import numpy as np
import pytest

from command import called, refused
from tdscale.running.choosing import choose
from tdscale.running.fitting import current_laws, fit_study, fitted_study
from tdscale.running.folder import open_study
from tdscale.running.stages import later_specs
from tdscale.runs.choice import read_choices
from tdscale.runs.selection import select_runs
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunResult, RunStatus
from tdscale.study import parse_study

STUDY = """\
name = "edited"
algorithm = "sac"
return_thresholds = [500, 800]
data_cost = 1e6

[tasks.Pendulum-v1]
high = 1000

[sweep]
utd = [0.5, 2, 8]
batch_size = [32, 64, 128]
learning_rate = [5e-4, 1e-3, 2e-3]
seeds = 2

[scaling]
utd = [0.5, 1, 2, 4]
seeds = 3

[limits]
env_steps = 100000

[settings]
hidden_sizes = [64, 64]
warm_up = 100
"""
SMALL = STUDY.replace("[64, 64]", "[32, 32]")


def result(spec, top, *, noise=0.02, last_step=None):
    """A run that reaches 800 after about `top`·(1 + 1/σ) env steps, later where B and η are not 64·σ^-0.4 and 1e-3·σ^-0.2."""
    away = np.log(spec.batch_size / (64 * spec.utd**-0.4)) ** 2 + np.log(spec.learning_rate / (1e-3 * spec.utd**-0.2)) ** 2
    rng = np.random.default_rng(int(spec.run_id, 16))
    needed = top * (1 + 1 / spec.utd) * np.exp(0.1 * away + noise * rng.standard_normal())
    steps = np.arange(1, 201) * int(3 * needed / 200)
    steps = steps if last_step is None else steps[steps <= last_step]
    returns = 1000 * (1 - 0.2 ** (steps / needed))
    return RunResult(
        spec=spec,
        columns={"env_step": steps, "return": returns},
        status=RunStatus(
            state="finished",
            last_step=int(steps[-1]),
            critic_parameters=5000,
            actor_parameters=3000,
            critic_update_flops=46000,
            actor_update_flops=48000,
            notes={"stopped_at_return": 800.0},
        ),
    )


@pytest.fixture
def folder(tmp_path):
    """A study that is done: 64-wide networks, for which D_min is 4000 at J = 800."""
    (tmp_path / "study.toml").write_text(STUDY)
    train(tmp_path, 4000)
    return tmp_path


def train(folder, top):
    """What `tdscale run` would do: the sweep, the choice, stage 2; runs that are there stay."""
    files = open_study(folder)
    have = files.store.specs()
    for spec in files.study.sweep_specs():
        if spec.run_id not in have:
            files.store.write(result(spec, top))
    for specs in later_specs(files.study, choose(files, store=True).choices).values():
        for spec in specs:
            if spec.run_id not in have:
                files.store.write(result(spec, top))


def minimum(laws):
    return laws.data[-1].d_min().value


def test_after_an_edit_of_the_network_only_the_new_runs_are_fitted_and_the_old_ones_are_named(folder):
    assert minimum(fit_study(open_study(folder), n_draws=20).laws) == pytest.approx(4000, rel=0.15)
    (folder / "study.toml").write_text(SMALL)
    train(folder, 12000)
    fitted = fit_study(open_study(folder), n_draws=20)
    assert minimum(fitted.laws) == pytest.approx(12000, rel=0.15)
    assert {tuple(cell.spec.settings["hidden_sizes"]) for cell in fitted.measured.cells} == {(32, 32)}
    (left_out,) = [w for w in fitted.laws.warnings if w.code == "other-settings"]
    assert left_out.message == "66 runs are left out: they have hidden_sizes = [64, 64], the study has [32, 32]"
    status = json.loads(called("status", ".", "--json", cwd=folder).stdout)
    assert status["left_out"] == [left_out.message]
    # edited back, the old runs and their choice are there again
    (folder / "study.toml").write_text(STUDY)
    assert minimum(current_laws(open_study(folder))) == pytest.approx(4000, rel=0.15)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('algorithm = "sac"', 'algorithm = "bro"', 'algorithm = "sac", the study has "bro"'),
        ("high = 1000", "high = 1000\nreward_scale = 0.1", "reward_scale = 1.0, the study has 0.1"),
        ("warm_up = 100", "warm_up = 200", "warm_up = 100, the study has 200"),
    ],
)
def test_whatever_decides_a_curve_makes_other_runs_of_it(folder, old, new, words):
    text = STUDY.replace(old, new).replace("hidden_sizes = [64, 64]\n", "" if "bro" in new else "hidden_sizes = [64, 64]\n")
    (folder / "study.toml").write_text(text)
    selection = select_runs(RunStore(folder), parse_study(text))
    assert not selection.specs
    assert [words in warning.message for warning in selection.left_out] == [True]
    assert words in refused("fit", ".", cwd=folder)


def test_intervals_of_evaluation_and_diagnostics_make_no_other_run(folder):
    before = {spec.run_id for spec in parse_study(STUDY).sweep_specs()}
    changed = STUDY + "evaluation_interval = 123\nevaluation_episodes = 7\ndiagnostics_interval = 0\n"
    specs = parse_study(changed).sweep_specs()
    assert {spec.run_id for spec in specs} == before
    assert {spec.recording["evaluation_interval"] for spec in specs} == {123}
    (folder / "study.toml").write_text(changed)
    assert len(select_runs(RunStore(folder), parse_study(changed)).specs) == 66


def test_runs_of_an_earlier_version_are_left_out_with_a_reason(folder):
    files = open_study(folder)
    spec = files.study.sweep_specs()[0]
    old = replace(spec, settings={**spec.settings, "evaluation_interval": 5000}, recording={})
    files.store.write(result(old, 50_000))
    fitted = fit_study(files, n_draws=20)
    assert any(w.code == "earlier-version" and w.message.startswith("1 run is left out: an earlier version") for w in fitted.laws.warnings)
    assert old.run_id not in select_runs(files.store, files.study).specs


def test_laws_are_fitted_again_where_the_scale_of_a_task_is_edited(folder):
    before = minimum(fit_study(open_study(folder), n_draws=20).laws)
    (folder / "study.toml").write_text(STUDY.replace("high = 1000", "high = 900"))
    now = minimum(current_laws(open_study(folder)))
    assert now < 0.95 * before  # 800 of 1000 is a lower return
    assert now == minimum(fit_study(open_study(folder), n_draws=20).laws)


def test_a_study_that_reads_the_sweep_otherwise_is_told_what_it_would_choose(folder):
    def climbs(spec, first, second):
        """A run that reaches 600 after `first` env steps and 900 after `second`."""
        steps = np.arange(1, 401) * 100
        returns = np.where(steps < first, 0.0, np.where(steps < second, 600.0, 900.0))
        run = result(spec, 4000)
        status = replace(run.status, last_step=int(steps[-1]))
        return RunResult(spec=spec, columns={"env_step": steps, "return": returns}, status=status)

    files = open_study(folder)
    for spec in files.study.sweep_specs():  # small batches come first to 600, large ones to 900
        smaller, larger = np.log(spec.batch_size / 32), np.log(128 / spec.batch_size)
        seed = 1 + 0.01 * spec.seed
        files.store.write(climbs(spec, 3000 * np.exp(0.3 * smaller**2) * seed, 12000 * np.exp(0.3 * larger**2) * seed))
    chosen = choose(files, again=True, store=True).choices["Pendulum-v1"]
    assert choose(files).notes == ()
    (folder / "study.toml").write_text(STUDY.replace("[500, 800]", "[300, 500]"))
    found = choose(open_study(folder))
    assert found.choices["Pendulum-v1"].scaling == chosen.scaling
    assert "or how the study reads it, has changed" in found.notes[0]


def test_a_retried_seed_of_the_sweep_moves_nothing_of_stage_2(folder):
    files = open_study(folder)
    chosen, before = choose(files), set(files.store.specs())
    # a seed that had ended early comes back with another curve
    again = files.study.sweep_specs()[5]
    files.store.write(result(again, 4300, noise=0.0))
    assert {task: choice.scaling for task, choice in choose(files, store=True).choices.items()} == {
        task: choice.scaling for task, choice in chosen.choices.items()
    }
    wanted = [spec for specs in later_specs(files.study, choose(files).choices).values() for spec in specs]
    assert {spec.run_id for spec in wanted} <= before


def test_a_sweep_that_would_choose_clearly_otherwise_is_reported_and_rechoose_chooses_again(folder):
    files = open_study(folder)
    chosen = choose(files).choices["Pendulum-v1"]
    for spec in files.study.sweep_specs():  # as if B four times as large were best
        files.store.write(result(replace(spec, batch_size=spec.batch_size), 4000))
        moved = result(replace(spec, batch_size=max(spec.batch_size // 4, 1)), 4000)
        files.store.write(RunResult(spec=spec, columns=moved.columns, status=replace(moved.status, last_step=10**7)))
    found = choose(files, store=True)
    assert found.choices["Pendulum-v1"] == chosen
    assert len(found.notes) == 1
    assert "--rechoose" in found.notes[0]
    assert "for Pendulum-v1 B " in found.notes[0]
    again = choose(files, again=True, store=True)
    assert again.notes == ()
    assert again.choices["Pendulum-v1"].scaling[2.0][0] > 1.5 * chosen.scaling[2.0][0]
    assert read_choices(folder) == {next(iter(read_choices(folder))): again.choices["Pendulum-v1"]}
    # what stage 2 ran at before answers no more
    selection = select_runs(files.store, files.study)
    assert [w.code for w in selection.left_out] == ["other-choice"]


def test_another_sigma_is_added_to_the_choice_and_the_others_stay(folder):
    before = choose(open_study(folder)).choices["Pendulum-v1"]
    (folder / "study.toml").write_text(STUDY.replace("[0.5, 1, 2, 4]", "[0.5, 1, 2, 4, 8]"))
    after = choose(open_study(folder), store=True).choices["Pendulum-v1"]
    assert {utd: after.scaling[utd] for utd in before.scaling} == before.scaling
    assert set(after.scaling) == {0.5, 1.0, 2.0, 4.0, 8.0}


def test_stage_2_at_several_b_without_a_record_is_refused_until_a_run_records_the_choice(folder):
    files = open_study(folder)
    (folder / "choice.json").unlink()
    other = next(spec for spec in files.store.specs().values() if spec.stage == "scaling")
    files.store.write(result(replace(other, batch_size=other.batch_size + 16), 9000))
    assert "`tdscale run` on the study's file records which are meant" in refused("fit", ".", cwd=folder)
    choose(files, store=True)
    assert minimum(fit_study(files, n_draws=20).laws) == pytest.approx(4000, rel=0.15)


def test_a_damaged_choice_is_one_sentence(folder):
    (folder / "choice.json").write_text("{")
    assert "choice.json: is damaged" in refused("fit", ".", cwd=folder)


def test_commands_use_what_was_fitted_and_refit_in_the_same_way(folder, no_pngs):
    assert called("fit", ".", "--draws", 50, cwd=folder).returncode == 0
    laws = (folder / "laws.json").read_bytes()
    assert json.loads(laws)["n_draws"] == 50
    for command in (
        ("validate", "."),
        ("report", "."),
        ("plan", ".", "--data", "1e4"),
        ("plan", ".", "--compute", "1e15", "--unit", "flops"),
    ):
        assert called(*command, cwd=folder).returncode == 0
        assert (folder / "laws.json").read_bytes() == laws, command
    (folder / "study.toml").write_text(STUDY.replace("[500, 800]", "[500, 700]"))
    assert called("plan", ".", "--data", "1e4", cwd=folder).returncode == 0
    assert json.loads((folder / "laws.json").read_bytes())["n_draws"] == 50
    assert fitted_study(open_study(folder)).laws.thresholds == (500.0, 700.0)


def test_what_is_read_back_was_measured_as_what_was_fitted(folder):
    fitted = fit_study(open_study(folder), n_draws=40)
    again = fitted_study(open_study(folder))
    np.testing.assert_array_equal(again.measured.points.data, fitted.measured.points.data)
