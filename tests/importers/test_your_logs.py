"""Tables of one's own, what any log may be like, and what is wrong with it."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from known_logs import GIVEN, curves_of, long_table, messages, rising

from command import called, refused
from tdscale.errors import UserError
from tdscale.importers import Columns, Scale, gather_runs, import_runs
from tdscale.runs.cells import load_cells
from tdscale.runs.store import RunStore
from tdscale.study import read_study, study_to_toml

# --- tables


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_a_long_table_gives_its_runs_whatever_the_rows_order(tmp_path, suffix):
    table = long_table().sample(frac=1, random_state=0)
    path = tmp_path / f"curves.{suffix}"
    table.to_parquet(path) if suffix == "parquet" else table.to_csv(path, index=False)
    report = import_runs(path, "auto", tmp_path / "study")
    assert (report.runs, report.cells) == (12, 4)
    assert "unsorted" in messages(report)
    np.testing.assert_allclose(curves_of(tmp_path / "study")[2.0, 1]["return"], rising(2, 1))


def test_a_wide_table_has_a_run_in_each_column(tmp_path):
    columns = {f"sac utd{utd} s{seed}": rising(utd, seed) for utd in (0.5, 2.0) for seed in range(2)}
    table = pd.DataFrame({"Step": 100 * np.arange(30), **columns, "sac utd0.5 s0__MIN": 0.0})
    table.loc[20:, "sac utd2.0 s1"] = np.nan
    table.to_csv(tmp_path / "wide.csv", index=False)
    given = GIVEN | {"utd": None, "names": "* utd{utd} s{seed}", "seed": "seed", "env_step": "Step"}
    import_runs(tmp_path / "wide.csv", "csv", tmp_path / "study", **given)
    curves = curves_of(tmp_path / "study")
    assert set(curves) == {(0.5, 0), (0.5, 1), (2.0, 0), (2.0, 1)}
    assert len(curves[2.0, 1]["return"]) == 20


def test_columns_of_categories_are_read_as_their_values(tmp_path):
    long_table(env_id=pd.Categorical(["Pendulum-v1"] * len(long_table()))).to_parquet(tmp_path / "curves.parquet")
    assert import_runs(tmp_path / "curves.parquet", "auto", tmp_path / "study").tasks == ("Pendulum-v1",)


def test_a_header_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "curves.csv").write_text("x" * 200_000 + ",return\n1,2\n")
    with pytest.raises(UserError, match="can't be read as a table"):
        import_runs(tmp_path / "curves.csv", "csv", tmp_path / "study")


def test_the_same_runs_are_refused_also_where_they_were_taken_for_another_stage(tmp_path):
    long_table().to_csv(tmp_path / "one.csv", index=False)
    pd.concat([long_table(), long_table(batch_size=128)]).to_csv(tmp_path / "two.csv", index=False)
    import_runs(tmp_path / "one.csv", "csv", tmp_path / "study")
    with pytest.raises(UserError, match=r"are in .* already, from another source"):
        import_runs(tmp_path / "two.csv", "csv", tmp_path / "study")


def one_file_a_run(folder):
    folder.mkdir()
    for (utd, seed), rows in long_table().groupby(["utd", "seed"]):
        rows.to_csv(folder / f"utd{utd}_{seed}.csv", index=False)
    return sorted(folder.iterdir())


def test_a_table_whose_last_row_was_never_finished_gives_the_rows_before(tmp_path):
    first, *_ = one_file_a_run(tmp_path / "logs")
    whole = first.read_text()
    first.write_text(whole[: whole.rindex(",64,") + 2])
    report = import_runs(tmp_path / "logs", "auto", tmp_path / "study")
    assert report.runs == 12
    assert messages(report)["torn-rows"] == "a row is not whole (4 of 7 columns) and left out"
    np.testing.assert_allclose(curves_of(tmp_path / "study")[0.5, 0]["return"], rising(0.5, 0)[:-1])


def test_what_cannot_be_imported_is_told_at_once_and_may_be_left_out(tmp_path):
    first, second, third, *_ = one_file_a_run(tmp_path / "logs")
    first.write_text(first.read_text().replace("1500,", "oops,"))
    second.write_bytes(b"env_step,return\n\xff\xfe,1\n")
    pd.read_csv(third).drop(columns="learning_rate").to_csv(third, index=False)
    said = refused("import", tmp_path / "logs", "--dir", tmp_path / "study", cwd=tmp_path)
    table = f"{first}: can't be read as a table ('oops' is there instead of a number)"
    assert f"{table}; 2 more of 12 can't be imported either, the next: " in said
    assert said.strip().endswith("--skip-bad imports the others")
    assert not (tmp_path / "study").exists()
    answer = called("import", tmp_path / "logs", "--dir", tmp_path / "study", "--skip-bad", cwd=tmp_path)
    assert "9 runs in 3 cells" in answer.stdout
    assert answer.stdout.count("left out: ") == 3
    assert "the log does not have η" in answer.stdout


def test_where_all_is_bad_nothing_is_left_to_skip_to(tmp_path):
    long_table().drop(columns="learning_rate").to_csv(tmp_path / "curves.csv", index=False)
    with pytest.raises(UserError, match="give --learning-rate KEY") as refusal:
        import_runs(tmp_path / "curves.csv", "csv", tmp_path / "study", skip_bad=True)
    assert "--skip-bad" not in str(refusal.value)


def test_both_series_that_are_not_known_are_asked_for_together(tmp_path):
    long_table().rename(columns={"env_step": "t", "return": "y"}).to_csv(tmp_path / "curves.csv", index=False)
    with pytest.raises(UserError, match="give --env-step KEY and --return KEY; there are t, y, utd"):
        import_runs(tmp_path / "curves.csv", "csv", tmp_path / "study")


@pytest.mark.slow
def test_memory_does_not_grow_with_a_table(tmp_path):
    def peak(n):
        path = tmp_path / f"{n}.csv"
        with path.open("w") as file:
            file.write("env_step,return,utd,seed,note\n")
            for start in range(0, n, 100_000):
                rows = (f"{i // 10},{i % 977}.5,{1 + i % 5},{i % 10},{'x' * 30}\n" for i in range(start, start + 100_000))
                file.writelines(rows)
        code = (
            "import resource, sys\nfrom tdscale.importers import Columns, gather_runs\n"
            "columns = Columns(batch_size='=64', learning_rate='=3e-4', task='=T')\n"
            "with gather_runs(sys.argv[1], 'csv', columns) as gathered: print(gathered.preview.tasks[0].runs)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        )
        out = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True).stdout.split()
        assert int(out[0]) == 10
        return int(out[1]) / 1024, path.stat().st_size / 2**20

    small, large = peak(100_000), peak(1_000_000)
    # 39 MiB more of table; a library that reads it whole needs more than that
    assert large[1] - small[1] > 39
    assert large[0] - small[0] < 30


# --- what any log may be like


@pytest.mark.parametrize(
    ("answer", "curve"),
    [("mean", [[0, 5, 2]]), ("last", [[0, 5]]), ("seeds", [[0, 5, 1], [3]])],
)
def test_rows_at_one_env_step_are_asked_about_and_never_averaged_unasked(tmp_path, answer, curve):
    pd.DataFrame({"env_step": [0, 100, 100, 50], "return": [0.0, 1.0, 3.0, 5.0]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=r"a row has the env step of another .* \(at env step 100: 1 and 3\); give --repeated mean"):
        gather_runs(tmp_path / "a.csv", "csv", Columns(**GIVEN))
    report = import_runs(tmp_path / "a.csv", "csv", tmp_path / "study", **GIVEN, repeated=answer)
    assert "unsorted" in messages(report)
    assert sorted(found["return"].tolist() for found in curves_of(tmp_path / "study").values()) == curve


@pytest.mark.parametrize(
    ("column", "option"), [("utd", "--utd"), ("batch_size", "--batch-size"), ("learning_rate", "--learning-rate"), ("env_id", "--task")]
)
def test_a_hyperparameter_that_no_log_has_is_asked_for_by_name(tmp_path, column, option):
    long_table().drop(columns=column).to_csv(tmp_path / "a.csv", index=False)
    said = refused("import", "a.csv", "--dir", "d", cwd=tmp_path)
    assert f"{option} KEY" in said
    assert "seed" in said  # what there is
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--utd", "config.nope"], "'config.nope'"),
        (["--utd", "=0"], "can't be σ"),
        (["--batch-size", "=2.5"], "can't be B"),
        (["--learning-rate", "=high"], "can't be η"),
        (["--return", "charts/x"], "--return"),
        (["--env-step", "=5"], "can't be a constant"),
        (["--names", "{a}{a}"], "can't be a key"),
        (["--names", "*x*{utd}"], "--names"),
        (["--high", "Hopper=3"], "there is no task 'Hopper'"),
        (["--thresholds", "a"], "--thresholds a"),
        (["--thresholds", "1,2000"], "--thresholds"),
        (["--map", "no.toml"], "no.toml"),
        (["--layout", "gym_ours"], "--layout"),
        (["--task", "=a\x1b[2J"], "printable"),
    ],
)
def test_a_wrong_word_about_a_log_is_one_sentence_and_nothing_is_written(tmp_path, arguments, said):
    long_table().to_csv(tmp_path / "a.csv", index=False)
    assert said in refused("import", "a.csv", "--dir", "d", *arguments, cwd=tmp_path)
    assert not (tmp_path / "d" / "study.toml").exists()


def test_a_mapping_is_given_once_in_a_file_and_options_go_before_it(tmp_path):
    long_table().rename(columns={"utd": "ratio", "return": "score"}).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "map.toml").write_text('from = "csv"\nutd = "ratio"\nreturn = "score"\nbatch_size = 128\nlearning_rate = 1e-4\n')
    answer = called("import", "a.csv", "--map", "map.toml", "--learning-rate", "=0.01", "--dir", "d", "--json", cwd=tmp_path)
    content = json.loads(answer.stdout)
    (task,) = content["preview"]
    assert (task["utds"], task["batch_sizes"], task["learning_rates"]) == ([0.5, 1, 2, 4], [128], [0.01])
    (tmp_path / "map.toml").write_text("utt = 1\n")
    assert "utt: unknown key" in refused("import", "a.csv", "--map", "map.toml", "--dir", "e", cwd=tmp_path)


def test_a_dry_run_shows_holes_copies_and_grids_and_writes_nothing(tmp_path):
    table = pd.concat([long_table(), long_table(batch_size=128)])
    table = table[~((table.utd == 4) & (table.batch_size == 128))]
    same = table[(table.utd == 1) & (table.batch_size == 64) & (table.seed == 0)].assign(seed=7)
    short = table[(table.utd == 2) & (table.env_step > 2000)].index
    pd.concat([table, same]).drop(index=short).to_csv(tmp_path / "a.csv", index=False)
    before = set(tmp_path.iterdir())
    answer = called("import", "a.csv", "--dry-run", cwd=tmp_path)
    for words in (
        "4 different" if False else "different grids",
        "copies  1",
        "no run has σ=4 B=128",
        "a sweep over B",
        "nothing was written",
    ):
        assert words in answer.stdout
    content = json.loads(called("import", "a.csv", "--dry-run", "--json", cwd=tmp_path).stdout)
    assert content["preview"][0]["duplicates"] == 1
    assert set(tmp_path.iterdir()) == before


def test_seeds_of_unequal_length_and_grid_become_one_cell_that_fits(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for utd in (0.5, 1.0, 2.0, 4.0, 8.0):
        for seed in range(3):
            steps = np.cumsum(rng.integers(50, 150, 40 + 5 * seed))
            returns = 1000 * (1 - np.exp(-steps * utd**0.5 / 900)) + rng.normal(0, 8, len(steps))
            rows.append(pd.DataFrame({"env_step": steps, "return": returns, "utd": utd, "seed": seed}))
    pd.concat(rows).to_csv(tmp_path / "a.csv", index=False)
    given = [part for name in ("batch_size", "learning_rate", "task") for part in (f"--{name.replace('_', '-')}", GIVEN[name])]
    called("import", "a.csv", *given, "--high", "1000", "--thresholds", "300,500,700", "--dir", "d", cwd=tmp_path)
    answer = called("fit", "d", "--draws", "20", "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    laws = json.loads(answer.stdout)
    assert len([law for law in laws["data"] if law["task"] is None]) == 3
    assert {"unequal-lengths", "binned"} <= {warning["code"] for warning in laws["warnings"]}


@pytest.mark.slow
def test_html_in_a_name_is_text_in_the_report(tmp_path):
    long_table(env_id="<script>alert(1)</script>").to_csv(tmp_path / "a<b>.csv", index=False)
    called("import", "a<b>.csv", "--high", "1000", "--dir", "d", cwd=tmp_path)
    assert called("fit", "d", "--draws", "20", cwd=tmp_path).returncode == 0
    assert called("report", "d", cwd=tmp_path).returncode == 0
    assert "<script>alert" not in (tmp_path / "d" / "report.html").read_text()


def test_the_same_log_again_replaces_what_it_brought_and_a_copy_of_it_is_refused(tmp_path):
    long_table().to_csv(tmp_path / "a.csv", index=False)
    import_runs(tmp_path / "a.csv", "csv", tmp_path / "d")
    before = RunStore(tmp_path / "d").fingerprint()
    report = import_runs(tmp_path / "a.csv", "csv", tmp_path / "d")
    assert "study-kept" in messages(report)
    assert RunStore(tmp_path / "d").fingerprint() == before
    long_table().to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(UserError, match="already, from another source"):
        import_runs(tmp_path / "b.csv", "csv", tmp_path / "d")


def test_of_two_runs_with_one_seed_the_longer_is_kept_unless_they_are_counted(tmp_path):
    for name, n in (("a", 10), ("b", 20)):
        pd.DataFrame({"env_step": np.arange(n), "return": np.arange(n), "seed": 1}).to_csv(tmp_path / f"{name}.csv", index=False)
    report = import_runs(tmp_path, "csv", tmp_path / "d", **GIVEN)
    assert report.runs == 1
    assert "repeated-runs" in messages(report)
    assert len(curves_of(tmp_path / "d")[1.0, 1]["return"]) == 20
    with gather_runs(tmp_path, "csv", Columns(**GIVEN, seed="=count")) as gathered:
        assert gathered.preview.tasks[0].seeds == (2, 2)


def test_resets_of_imported_runs_are_kept_in_the_studys_file(tmp_path):
    long_table().to_csv(tmp_path / "a.csv", index=False)
    given = ["import", "a.csv", "--low", 0, "--high", 1000]
    for options, line in (
        (["--reset-critic-updates", "600000"], "reset_critic_updates = 600000"),
        (["--reset-env-steps", "15001,50001"], "reset_env_steps = [15001, 50001]"),
    ):
        answer = called(*given, "--dir", line[:12], *options, cwd=tmp_path)
        assert answer.returncode == 0, answer
        text = (tmp_path / line[:12] / "study.toml").read_text()
        assert line in text.splitlines()
        assert study_to_toml(read_study(tmp_path / line[:12] / "study.toml")) == text
    given += ["--dir", "b", "--reset-env-steps"]
    assert "reset_env_steps: can't be combined with reset_critic_updates" in refused(*given, "5", "--reset-critic-updates", 5, cwd=tmp_path)
    assert "--reset-env-steps 5,six: 'six' is not an env step" in refused(*given, "5,six", cwd=tmp_path)
    assert refused(*given, "6,5", cwd=tmp_path).startswith("--reset-env-steps: must rise from one to the next")
    assert "is not an env step; it must be a whole number" in refused(*given, f"1{'0' * 400}", cwd=tmp_path)
    assert not (tmp_path / "b").exists()


def test_a_scale_is_read_off_the_curves_where_none_is_given(tmp_path):
    table = long_table()
    table["return"] -= 1500
    table.to_csv(tmp_path / "a.csv", index=False)
    report = import_runs(tmp_path / "a.csv", "csv", tmp_path / "d")
    task = report.study.tasks["Pendulum-v1"]
    assert "drafted-scale" in messages(report)
    assert -1500 < task.low < -1200 < -600 < task.high < -490
    with gather_runs(tmp_path / "a.csv") as gathered:
        report = gathered.write(tmp_path / "e", Scale(low=["-1500"], high=["Pendulum-v1=-500"]))
    cells, _ = load_cells(RunStore(tmp_path / "e"), report.study)
    np.testing.assert_allclose(np.mean([cell.returns[:, 0].mean() for cell in cells]), 0, atol=5)


@pytest.mark.parametrize("step", [-1, 0.5, 1e300])
def test_a_step_that_counts_nothing_is_refused(tmp_path, step):
    pd.DataFrame({"env_step": [0, step], "return": [0.0, 1.0]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match="not a count of env steps"):
        gather_runs(tmp_path / "a.csv", "csv", Columns(**GIVEN))
