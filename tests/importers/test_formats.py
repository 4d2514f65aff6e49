"""Logs of many forms, read by their content: each gives the D that it was made with, or asks one question whose answer gives it."""

import gzip
import io
import json
import re
import shlex
import zipfile

import numpy as np
import pytest
from known_logs import CASES, THRESHOLDS, assert_lawful, curve, messages

from command import called, refused
from tdscale.errors import UserError
from tdscale.importers import gather_runs, import_runs
from tdscale.importers.formats import form_of
from tdscale.importers.logged_run import Columns
from tdscale.runs.store import RunStore

STEPS = np.arange(2000, 140_001, 2000)
UTDS = (1, 2, 4, 8)
GIVEN = {"batch_size": "=256", "learning_rate": "=3e-4", "task": "=walker-run"}
D0 = 40_000.0  # D at 800 is D0·(1 + 1/σ)
SCALE = {"low": ["0"], "high": ["1000"], "thresholds": THRESHOLDS}
TASK = {"walker-run": D0}
TYPED = (
    *("--batch-size", "=256", "--learning-rate", "=3e-4", "--task", "=walker-run"),
    *("--low", "0", "--high", "1000", "--thresholds", ",".join(f"{j:g}" for j in THRESHOLDS)),
)


def returns_at(steps, utd, seed):
    return curve(steps, utd, seed, D0, spread=3.0)


def written(folder, write, name):
    """A file for each σ and seed, in folders by σ."""
    for utd in UTDS:
        (folder / f"run_utd{utd}").mkdir(parents=True)
        for seed in range(3):
            write(folder / f"run_utd{utd}" / name.format(seed=seed), returns_at(STEPS, utd, seed))
    return folder


def imported(source, folder, kind="auto", scale=SCALE, **columns):
    with gather_runs(source, kind, Columns(**columns)) as gathered:
        return gathered.write(folder, type_of_scale()(**scale))


def type_of_scale():
    from tdscale.importers import Scale

    return Scale


def lines_of(rows):
    return "".join(line + "\n" for line in rows)


def plain(path, returns):
    path.write_text(lines_of(f"{step} {value:.1f}" for step, value in zip(STEPS, returns, strict=True)))


def aligned(path, returns):
    rows = (f"{step:>9}   {value:>10.2f}  {0.1:>6}" for step, value in zip(STEPS, returns, strict=True))
    path.write_text(lines_of(["     step       return    loss", *rows]))


def commas(path, returns):
    np.savetxt(path, np.column_stack([STEPS, returns]), delimiter=",")


def commented(path, returns):
    np.savetxt(path, np.column_stack([STEPS, returns]), header="env_step score")


def tabs(path, returns):
    rows = (f"{i}\t{step}\t{value}" for i, (step, value) in enumerate(zip(STEPS, returns, strict=True)))
    path.write_text(lines_of(["iteration\tenv_steps\tepisode_return", *rows]))


def spaced(path, returns):
    path.write_text(lines_of(["env_step, return", *(f"{step}, {value}" for step, value in zip(STEPS, returns, strict=True))]))


def zipped(path, returns):
    path.write_bytes(gzip.compress(lines_of(["step;return", *(f"{s};{v}" for s, v in zip(STEPS, returns, strict=True))]).encode()))


def json_lines(path, returns):
    first = [{"config": {"agent": "sac", "batch_size": 256}}, {"env_step": 0, "loss": 1.0}, {"env_step": 1000, "loss": 0.5}]
    rows = [{"env_step": int(step), "eval": {"return": float(value)}} for step, value in zip(STEPS, returns, strict=True)]
    path.write_text(lines_of(map(json.dumps, [*first, *rows])) + '{"env_step": 99')


@pytest.mark.parametrize(
    ("write", "name", "columns"),
    [
        (plain, "{seed}.txt", {}),
        (plain, "{seed}", {}),
        (aligned, "{seed}.log", {}),
        (commas, "{seed}.csv", {}),
        (commas, "{seed}.txt", {}),
        (commented, "{seed}.dat", {}),
        (tabs, "{seed}.tsv", {}),
        (tabs, "{seed}.csv", {}),
        (spaced, "{seed}.csv", {}),
        (zipped, "{seed}.csv.gz", {}),
        (json_lines, "{seed}.jsonl", {"returns": "eval.return"}),
        (json_lines, "{seed}.json", {"returns": "eval.return"}),
    ],
)
@pytest.mark.parametrize("suffix", [False, True])
def test_a_table_is_read_by_its_content(tmp_path, write, name, columns, suffix):
    logs = written(tmp_path / "logs", write, name)
    pattern = "run_utd{utd}/" + (name if suffix else name.partition(".")[0])
    report = imported(logs, tmp_path / "study", names=pattern, **GIVEN, **columns)
    assert report.runs == 12
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)


def test_keys_of_json_lines_are_those_of_all_lines_and_a_value_said_once_holds_for_all(tmp_path):
    path = tmp_path / "log.jsonl"
    json_lines(path, returns_at(STEPS, 1, 0))
    form = form_of(path)
    assert form.names == ("config.agent", "config.batch_size", "env_step", "loss", "eval.return")
    assert dict(form.constants) == {"config.agent": "sac", "config.batch_size": 256}
    report = imported(path, tmp_path / "study", returns="eval.return", utd="=1", learning_rate="=1e-3", task="=T", scale={})
    assert "no JSON object" in messages(report)["torn-rows"]
    assert {spec.batch_size for spec in RunStore(tmp_path / "study").specs().values()} == {256}


def test_files_that_are_no_tables_are_passed_over(tmp_path):
    logs = written(tmp_path / "logs", plain, "{seed}.txt")
    (logs / "requirements.txt").write_text("numpy==2.0\nscipy==1.14\n")
    (logs / "README.txt").write_text("These runs were made in May, on two machines.\nAsk for more.\n")
    (logs / "run_utd1" / "stdout.log").write_text("starting\nstep 3: loss 4, return 5\ndone\n")
    (logs / "config.json").write_text(json.dumps({"batch_size": 256}, indent=1))
    (logs / "empty.txt").write_text("")
    imported(logs, tmp_path / "study", names="run_utd{utd}/{seed}", **GIVEN)
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)


# --- what can't be seen is asked for, and the answer as it is typed gives it


def answered(question, source, folder, *typed, cwd):
    """What the options that a question names give, the first of two ways."""
    options = re.search(r"give ((?:--[a-z-]+ [^\s,;]+(?: |, | and )?)+)", question)
    assert options is not None, question
    words = shlex.split(options[1].replace(" and ", " ").split(", or")[0].split(" or ")[0].rstrip(", ;"))
    answer = called("import", source, "--dir", folder, *typed, *words, cwd=cwd)
    assert answer.returncode == 0, answer.stderr
    return words


def test_of_three_columns_without_names_the_return_is_asked_for(tmp_path):
    def write(path, returns):
        np.savetxt(path, np.column_stack([STEPS, returns, np.full(len(STEPS), 12.5)]))

    logs = written(tmp_path / "logs", write, "{seed}.txt")
    typed = (*TYPED, "--names", "run_utd{utd}/{seed}")
    question = refused("import", logs, "--dir", "study", *typed, cwd=tmp_path)
    assert "3 columns without a header" in question
    assert answered(question, logs, "study", *typed, cwd=tmp_path) == ["--env-step", "0", "--return", "1"]
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)


def test_rows_that_count_themselves_are_not_taken_for_env_steps(tmp_path):
    def write(path, returns):
        np.savetxt(path, np.column_stack([np.arange(len(returns)), returns]))

    logs = written(tmp_path / "logs", write, "{seed}.txt")
    question = refused("import", logs, "--dry-run", *TYPED, "--names", "run_utd{utd}/{seed}", cwd=tmp_path)
    assert "column 0 counts 0, 1, … as rows do" in question
    question = question.replace("give --env-step 0 --return 1", "give --first-step 2000 --step-every 2000 --return 1")
    answered(question, logs, "study", *TYPED, "--names", "run_utd{utd}/{seed}", cwd=tmp_path)
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)


def spinning_up(folder, *, tested=True):
    """progress.txt and config.json as Spinning Up's logger writes them."""
    for utd in (1, 5, 20):
        for seed in range(2):
            run = folder / f"redq_{utd}" / f"redq_{utd}_s{seed}"
            run.mkdir(parents=True)
            returns = returns_at(STEPS, utd, seed)
            config = {"env_name": "Hopper-v4", "seed": seed, "utd_ratio": utd, "batch_size": 256, "lr": 3e-4, "logger": {"out": {"x": 1}}}
            (run / "config.json").write_text(json.dumps(config, indent=4))
            names = ["Epoch", "TotalEnvInteracts", "Time", "AverageEpRet", *(["AverageTestEpRet"] if tested else [])]
            trained = returns_at(STEPS, utd, seed + 50) * 0.9
            rows = [
                [i + 1, step, 7.1 * i, trained[i] if tested else returns[i], *([returns[i]] if tested else [])]
                for i, step in enumerate(STEPS)
            ]
            (run / "progress.txt").write_text(lines_of("\t".join(map(str, row)) for row in [names, *rows]))
    return folder


def test_spinning_ups_progress_is_read_with_the_config_beside_it(tmp_path):
    logs = spinning_up(tmp_path / "logs", tested=False)
    imported(logs, tmp_path / "study")
    assert_lawful(tmp_path / "study", (1, 5, 20), 2000, {"Hopper-v4": D0})
    assert {spec.seed for spec in RunStore(tmp_path / "study").specs().values()} == {0, 1}


def test_of_evaluations_and_training_episodes_one_is_asked_for(tmp_path):
    logs = spinning_up(tmp_path / "logs")
    typed = TYPED[6:]
    question = refused("import", logs, "--dir", "study", *typed, cwd=tmp_path)
    assert "--return AverageTestEpRet for evaluations, or --return AverageEpRet for training episodes" in question
    called("import", logs, "--dir", "study", *typed, "--return", "AverageTestEpRet", cwd=tmp_path)
    assert_lawful(tmp_path / "study", (1, 5, 20), 2000, {"Hopper-v4": D0})


def sb3(folder, *, evaluated=True):
    """progress.csv of Stable-Baselines3's logger: rows of episodes, rows of evaluations, and a model beside them."""
    for utd in UTDS:
        for seed in range(2):
            run = folder / f"gs{utd}" / f"seed{seed}"
            run.mkdir(parents=True)
            returns = returns_at(STEPS, utd, seed)
            rows = [["eval/mean_reward", "rollout/ep_rew_mean", "time/total_timesteps", "train/n_updates"]]
            for step, value in zip(STEPS, returns, strict=True):
                rows += [["", str(0.8 * value if evaluated else value), str(step - 500), "1"]]
                rows += [[str(value), "", str(step), "1"]] if evaluated else []
            (run / "progress.csv").write_text(lines_of(",".join(row) for row in (rows if evaluated else [r[1:] for r in rows])))
            data = {"batch_size": 128, "learning_rate": 3e-4, "gradient_steps": utd, "train_freq": 1, "n_envs": 1, "seed": seed}
            with zipfile.ZipFile(run / "model.zip", "w") as model:
                model.writestr("data", json.dumps(data))
    return folder


@pytest.mark.parametrize("kind", ["auto", "sb3"])
@pytest.mark.parametrize("evaluated", [True, False])
def test_sb3s_own_progress_is_read_as_sb3_with_the_model_beside_it(tmp_path, kind, evaluated):
    logs = sb3(tmp_path / "logs", evaluated=evaluated)
    # each row is a return of its own here, which nothing in such a file says
    window = {} if evaluated else {"return_window": "none"}
    report = imported(logs, tmp_path / "study", kind=kind, task="=walker-run", **window)
    assert report.preview.kind == "sb3"
    assert ("moving-mean" in messages(report)) == (not evaluated)
    assert ("no-moving-mean" in messages(report)) == evaluated
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)
    assert {spec.batch_size for spec in RunStore(tmp_path / "study").specs().values()} == {128}


# --- arrays


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def seeds_of(utd, steps=STEPS, n=4):
    return np.column_stack([returns_at(steps, utd, seed) for seed in range(n)])


def as_zip(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def as_folder(path, entries):
    for name, content in entries.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("make", [as_zip, as_folder])
@pytest.mark.parametrize(
    ("place", "pattern"),
    [
        (
            "exp/utd_{}/walker-run/episode.return/bs_64_lr_3e-4.npy",
            "{{root}}/utd_{{utd}}/{{task}}/episode.return/bs_{{batch_size}}_lr_{{learning_rate}}.npy",
        ),
        (
            "utd_{}/walker-run/episode.return/bs_64_lr_3e-4.npy",
            "{{root}}/utd_{{utd}}/{{task}}/episode.return/bs_{{batch_size}}_lr_{{learning_rate}}.npy",
        ),
        ("mine/s{}/walker-run.npy", "s{{utd}}/{{task}}"),
    ],
)
def test_arrays_have_a_seed_in_each_column_beside_the_steps(tmp_path, make, place, pattern):
    entries = {place.format(utd): npy(np.column_stack([STEPS, seeds_of(utd)])) for utd in UTDS}
    source = make(tmp_path / "arrays.zip", entries)
    columns = {} if "bs_" in place else {"batch_size": "=64", "learning_rate": "=3e-4"}
    report = imported(source, tmp_path / "study", kind="arrays", names=pattern.format(), **columns)
    assert (report.runs, report.cells) == (16, 4)
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)


def test_where_arrays_have_no_steps_they_are_asked_for(tmp_path):
    source = as_zip(tmp_path / "a.zip", {f"s{utd}.npy": npy(seeds_of(utd)) for utd in UTDS})
    typed = (*TYPED, "--names", "s{utd}")
    question = refused("import", source, "--dir", "study", *typed, cwd=tmp_path)
    assert "column 0 does not rise in whole numbers in s1.npy" in question
    assert "--first-step F and --step-every E if no column does" in question
    answer = called("import", source, "--dir", "study", *typed, "--first-step", "2000", "--step-every", "2000", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)


@pytest.mark.parametrize("shape", ["one", "many"])
def test_an_npz_file_names_its_steps_and_returns(tmp_path, shape):
    logs = tmp_path / "logs"
    logs.mkdir()
    for utd in UTDS:
        returns = seeds_of(utd)
        np.savez(logs / f"utd{utd}.npz", env_steps=STEPS, returns=returns if shape == "many" else returns.mean(axis=1), lengths=STEPS)
    report = imported(logs, tmp_path / "study", names="utd{utd}", **GIVEN)
    assert report.runs == (16 if shape == "many" else 4)
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)
    assert_names_asked(logs, tmp_path)


def assert_names_asked(logs, tmp_path):
    with pytest.raises(UserError, match=r"give --utd KEY|give --task KEY"):
        import_runs(logs, "auto", tmp_path / "other")


def test_shorter_seeds_end_where_their_column_turns_nan(tmp_path):
    entries = {}
    for utd in UTDS:
        array = np.column_stack([STEPS.astype(float), seeds_of(utd)])
        array[-3:, 2] = np.nan
        entries[f"s{utd}.npy"] = npy(array)
    report = imported(as_zip(tmp_path / "a.zip", entries), tmp_path / "study", names="s{utd}.npy", **GIVEN)
    assert "12 rows" in messages(report)["not-finite"]
    assert {status.state for status in RunStore(tmp_path / "study").statuses().values()} == {"finished"}
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)


@pytest.mark.parametrize(
    ("array", "columns", "said"),
    [
        (np.zeros((5, 60)), {"first_step": "0", "step_every": "10"}, "transpose it"),
        (np.zeros((5, 3)), {"step_column": "3"}, "the last is number 2"),
        (np.zeros((5, 3)), {"step_column": "0", "step_every": "3"}, "--step-column: can't be combined"),
        (np.zeros((5, 3)), {"step_every": "3"}, "must be given together"),
        (np.zeros((5, 3)), {"step_column": "first"}, "must be a whole number"),
        (np.column_stack([np.arange(5), np.zeros(5)]), {}, "counts 0, 1, … as rows do"),
        (np.column_stack([STEPS, STEPS + 1]), {}, "other columns rise in whole numbers, too"),
        (np.zeros((5, 2, 2)), {"first_step": "0", "step_every": "10"}, "3 axes"),
        (np.array([{}, 1], dtype=object), {"first_step": "0", "step_every": "10"}, "Python objects"),
    ],
)
def test_an_array_that_can_mean_two_things_is_refused_in_one_sentence(tmp_path, array, columns, said):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(UserError) as caught:
        imported(tmp_path / "a.npy", tmp_path / "study", utd="=1", **GIVEN, **columns)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study").exists()


# --- the authors' layouts


@pytest.mark.parametrize("make", [as_zip, as_folder])
def test_a_file_of_the_authors_tool_is_read_under_any_name(tmp_path, make):
    entries = {
        f"my_sweep/utd_{utd}/{task}/online_returns/bs_256_lr_0.0003.npy": npy(np.column_stack([STEPS, seeds_of(utd)]))
        for utd in UTDS
        for task in ("walker-run", "dog-run")
    }
    report = imported(make(tmp_path / "results-v2.zip", entries), tmp_path / "study", scale={"thresholds": THRESHOLDS})
    assert report.preview.kind == "qscaled"
    assert (report.study.tasks["dog-run"].high, report.study.data_cost) == (1000.0, 1e10)
    assert "authors-conventions" in messages(report)
    assert_lawful(tmp_path / "study", UTDS, 2000, {"walker-run": D0, "dog-run": D0})


def test_a_task_that_the_authors_did_not_have_gets_no_scale_of_theirs(tmp_path):
    entries = {f"r/utd_{utd}/Hopper-v9/return/bs_256_lr_3e-4.npy": npy(np.column_stack([STEPS, seeds_of(utd)])) for utd in UTDS}
    report = imported(as_zip(tmp_path / "a.zip", entries), tmp_path / "study", scale={})
    assert (report.study.data_cost, report.study.model_size, report.study.algorithm) == (None, None, "imported")
    assert {"drafted-scale"} <= set(messages(report))


def follow_up(variants=("",), widths=((512, 2_000_000), (1024, 8_767_688))):
    entries = {}
    for (width, size), utd, variant in ((w, u, v) for w in widths for u in UTDS for v in variants):
        folder = f"bro/w{width}p{size}/utd_{utd}/walker-run"
        name = f"bs_512_lr_0.0003{variant}.npy"
        array = np.column_stack([STEPS, seeds_of(utd * width / 512)])
        loss = np.column_stack([STEPS, np.full((len(STEPS), 4), 1 / width)])
        entries |= {f"{folder}/return/{name}": npy(array), f"{folder}/critic_loss/{name}": npy(loss)}
        entries |= {f"{folder}/validation_critic_loss/{name}": npy(loss * [1, 2, 2, 2, 2]), f"{folder}/critic_pnorm/{name}": npy(loss)}
    return entries


def test_the_follow_ups_layout_has_sizes_and_losses(tmp_path):
    report = imported(as_zip(tmp_path / "a.zip", follow_up()), tmp_path / "study", scale={})
    assert (report.runs, report.cells) == (32, 8)
    assert messages(report)["skipped-entries"].startswith("8 entries")  # critic_pnorm
    store = RunStore(tmp_path / "study")
    curves = store.curves(columns=["return", "critic_loss", "validation_critic_loss"])
    for run_id, spec in store.specs().items():
        assert (spec.settings["width"], spec.settings["model_size"]) in {(512, 2_000_000), (1024, 8_767_688)}
        assert store.statuses()[run_id].critic_parameters == spec.settings["model_size"]
        np.testing.assert_allclose(curves[run_id]["critic_loss"], 1 / spec.settings["width"])
        np.testing.assert_allclose(curves[run_id]["validation_critic_loss"], 2 / spec.settings["width"])
        np.testing.assert_allclose(curves[run_id]["return"], returns_at(STEPS, spec.utd * spec.settings["width"] / 512, spec.seed - 1))


def test_runs_that_differ_in_what_else_their_path_says_are_asked_for(tmp_path):
    entries = follow_up(variants=("_nstep_1", "_nstep_3"), widths=((512, 2_000_000),))
    source = as_zip(tmp_path / "a.zip", entries)
    question = refused("import", source, "--dir", "study", cwd=tmp_path)
    words = shlex.split(question[question.index("--from arrays") :])
    answer = called("import", source, "--dir", "study", *words, *TYPED[6:], cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)


def test_of_two_returns_in_the_authors_layout_one_is_asked_for(tmp_path):
    entries = {
        f"r/utd_{utd}/walker-run/{metric}/bs_256_lr_3e-4.npy": npy(np.column_stack([STEPS, factor * seeds_of(utd)]))
        for utd in UTDS
        for metric, factor in (("online_returns", 1), ("return", 0.5))
    }
    source = as_zip(tmp_path / "a.zip", entries)
    question = refused("import", source, "--dir", "study", cwd=tmp_path)
    assert "give --return FOLDER; there are online_returns, return" in question
    called("import", source, "--dir", "study", "--return", "online_returns", "--thresholds", "300,500,800", cwd=tmp_path)
    assert_lawful(tmp_path / "study", UTDS, 2000, TASK)


@pytest.mark.parametrize("name", ["gym_ours", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dmc_bro_ablations", "simbav2"))])
def test_a_published_file_is_the_same_under_any_name_and_folder(published_data, tmp_path, name):
    with zipfile.ZipFile(published_data / f"{name}.zip") as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist() if entry.endswith(".npy") and "__MACOSX" not in entry}
    stripped = {entry.partition("/")[2]: content for entry, content in entries.items()}
    first = import_runs(published_data / f"{name}.zip", "auto", tmp_path / "a")
    known = RunStore(tmp_path / "a")
    for source, folder in (
        (as_zip(tmp_path / "mine.zip", {f"x/y/{k}": v for k, v in stripped.items()}), "b"),
        (as_folder(tmp_path / "z", stripped), "c"),
    ):
        report = import_runs(source, "auto", tmp_path / folder)
        assert report.study == first.study
        store = RunStore(tmp_path / folder)
        assert store.specs() == known.specs()
        curves, expected = store.curves(columns=None), known.curves(columns=None)
        assert all(np.array_equal(curves[run][c], expected[run][c], equal_nan=True) for run in expected for c in expected[run])


def test_a_dry_run_shows_a_published_layout_and_writes_nothing(tmp_path):
    source = as_zip(tmp_path / "a.zip", follow_up())
    before = set(tmp_path.rglob("*"))
    answer = called("import", source, "--dry-run", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "walker-run" in answer.stdout
    assert "nothing was written" in answer.stdout
    assert set(tmp_path.rglob("*")) == before


def test_constant_hyperparameters_are_shown_as_such(tmp_path):
    root = "gym_baseline_utd2"
    entries = {f"{root}/utd_{utd}/Ant-v4/episode.return/bs_256_lr_3e-4.npy": npy(np.column_stack([STEPS, seeds_of(utd)])) for utd in UTDS}
    source = as_zip(tmp_path / "a.zip", entries)
    assert "one B and η for every σ" in called("import", source, "--dry-run", cwd=tmp_path).stdout
    assert {spec.stage for spec in _specs(source, tmp_path)} == {"baseline"}


def _specs(source, folder):
    import_runs(source, "auto", folder / "study")
    return RunStore(folder / "study").specs().values()


# --- logs that others were misled by, where they are found


@pytest.fixture(scope="module")
def cases():
    if not CASES.is_dir():
        pytest.skip(f"there are no logs in {CASES}; set TDSCALE_CASES to their folder")
    return CASES


def test_the_case_of_plain_text(cases, tmp_path):
    names = "task_{task}_updates_per_step_{utd}/{seed}"
    imported(cases / "plain-text", tmp_path / "study", names=names, batch_size="=256", learning_rate="=3e-4")
    assert_lawful(tmp_path / "study", UTDS, 20_000, {"walker-run": 40_000.0, "dog-run": 300_000.0})


def test_the_case_of_spinning_up(cases, tmp_path):
    with pytest.raises(UserError, match="give --return AverageTestEpRet"):
        imported(cases / "spinup-progress-txt", tmp_path / "study")
    report = imported(cases / "spinup-progress-txt", tmp_path / "study", returns="AverageTestEpRet")
    assert (report.runs, report.utds, report.tasks) == (6, (1.0, 5.0, 20.0), ("Hopper-v4",))
