"""`tdscale suggest`: a table, JSON, CSV, ready commands; what is said where there is nothing to go by."""

import csv
import json
import shlex
import subprocess
from dataclasses import replace

import pytest

from command import called, refused
from tdscale.errors import UserError
from tdscale.running.suggestions import Suggestion
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunResult
from tdscale.simulate import Bowl, LawTruth, SweepDesign, simulate_cells, write_simulation

TRUTH = LawTruth(d_min={"one": 3e4, "two": 6e4}, batch_size=Bowl(coefficient=200.0, exponent=-0.4, curvature=0.1))
SWEEP = SweepDesign(
    utd=(1.0, 2.0, 4.0), seeds=2, stage="sweep", batch_size=(64, 128, 512), learning_rate=(1.5e-4, 6e-4, 2.4e-3), log_interval=4000
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three simulated studies: `swept`; `three`, one cell at each of three UTD ratios; `one`, at a single one. And `logs.csv`."""
    folder = tmp_path_factory.mktemp("suggest")
    write_simulation(folder / "swept", TRUTH, SWEEP, thresholds=(400, 800))
    for name, utd in (("three", (1.0, 2.0, 4.0)), ("one", (1.0,))):
        alike = SweepDesign(utd=utd, seeds=3, batch_size=(256,), learning_rate=(3e-4,), log_interval=4000)
        write_simulation(folder / name, TRUTH, alike, thresholds=(400, 800), data_cost=1e9)
    with (folder / "logs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["env", "utd", "batch_size", "lr", "seed", "env_step", "return"])
        for cell in simulate_cells(TRUTH, SweepDesign(utd=(1.0, 2.0, 4.0), seeds=3, log_interval=4000), seed=1):
            for seed, returns in zip(cell.seeds, cell.returns, strict=True):
                name = "Hop $(touch made)"
                here = [name if cell.spec.task == "one" else "two", cell.spec.utd, 256, 3e-4, seed]
                rows.writerows([*here, step, round(float(value), 1)] for step, value in zip(cell.env_steps, returns, strict=True))
    return folder


def said(*arguments, cwd):
    answer = called(*arguments, cwd=cwd)
    assert answer.returncode == 0, answer
    return answer.stdout


def test_the_table_shows_the_regret_before_and_after_each_run_and_its_price(folder):
    text = said("suggest", "swept", "-n", "5", cwd=folder)
    assert "expected regret of the chosen B and η" in text
    found = json.loads(said("suggest", "swept", "-n", "5", "--json", cwd=folder))
    assert f"today {found['before']:.3g}, below {found['bound']:.3g} with a chance of 80 %" in text
    lines = [line.split() for line in text.splitlines() if line.split()[:1] in (["one"], ["two"])]
    assert len(lines) == len(found["suggestions"]) == 5
    for line, run in zip(lines, found["suggestions"], strict=True):
        assert line[:3] == [run["task"], f"{run['utd']:g}", str(run["batch_size"])]
        assert line[5] == f"{run['env_steps']:,}"
        assert line[-1] == f"{run['after']:.3g}"
    assert "5 runs, " in text


def test_the_csv_has_a_row_for_each_run_and_the_same_values_as_the_document(folder):
    said("suggest", "swept", "-n", "4", "--csv", "next.csv", cwd=folder)
    found = json.loads(said("suggest", "swept", "-n", "4", "--json", cwd=folder))["suggestions"]
    with (folder / "next.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], float(row["utd"]), int(row["batch_size"]), int(row["seed"])) for row in rows] == [
        (run["task"], run["utd"], run["batch_size"], run["seed"]) for run in found
    ]
    assert [float(row["learning_rate"]) for row in rows] == [run["learning_rate"] for run in found]


def test_nothing_in_the_folder_changes(folder):
    def content():
        return {path: path.read_bytes() for path in sorted((folder / "swept").rglob("*")) if path.is_file()}

    before = content()
    said("suggest", "swept", cwd=folder)
    said("suggest", "swept", "--for", "D@8", cwd=folder)
    assert content() == before


def test_a_limit_says_how_many_runs(folder):
    found = json.loads(said("suggest", "swept", "--env-steps", "1e6", "--json", cwd=folder))
    assert 0 < found["env_steps"] <= 1e6
    more = json.loads(said("suggest", "swept", "-n", str(len(found["suggestions"]) + 1), "--json", cwd=folder))
    assert more["env_steps"] > 1e6
    assert more["suggestions"][:-1] == found["suggestions"]


def test_ready_commands_are_words_as_they_were_meant_whatever_the_task_is_called(folder):
    assert called("import", "logs.csv", "--task", "env", "--dir", "mine", "--low", "0", "--high", "1000", cwd=folder).returncode == 0
    template = (
        """train --env {task} --also "{task}" --or '{task}' --lr={learning_rate} --utd {utd} --end {env_steps} {{x}} {seed} {batch_size}"""
    )
    lines = said("suggest", "mine", "--template", template, cwd=folder).splitlines()
    found = json.loads(said("suggest", "mine", "--json", cwd=folder))["suggestions"]
    assert len(lines) == len(found) == 12
    for line, run in zip(lines, found, strict=True):
        numbers = [f"--lr={run['learning_rate']!r}", "--utd", f"{run['utd']:g}", "--end", str(run["stop_at"])]
        rest = ["{x}", str(run["seed"]), str(run["batch_size"])]
        task = run["task"]
        assert shlex.split(line) == ["train", "--env", task, "--also", task, "--or", task, *numbers, *rest]
        # as a shell takes it, too
        printed = subprocess.run(["sh", "-c", line.replace("train", "printf '%s\\n'", 1)], cwd=folder, capture_output=True, text=True)
        assert printed.stdout.splitlines()[1] == task
    assert {"Hop $(touch made)", "two"} == {run["task"] for run in found}
    assert not (folder / "made").exists()


HOSTILE = ["a'b", 'a"b', "a\\", "$(x)", "`x`", "a\nb", "; rm -rf x", "{utd}", "", "é ü", "!x", "*", "~"]


@pytest.mark.parametrize("task", HOSTILE)
@pytest.mark.parametrize(
    "template", ["t {task}", "t '{task}'", 't "{task}"', "t 'a '{task}' b'", 't "a \\" {task}"', "t \\'{task}", "t x{task}y"]
)
def test_every_text_stays_text_in_a_shell(task, template):
    run = Suggestion(task=task, utd=1.0, batch_size=64, learning_rate=1e-4, seed=0, env_steps=1.0, stop_at=1)
    plain = shlex.split(template.replace("{task}", "NAME"))
    expected = [word.replace("NAME", task) for word in plain]
    assert shlex.split(run.command(template)) == expected
    printed = subprocess.run(["sh", "-c", f"printf '%s\\0' {run.command(template)[2:]}"], capture_output=True, check=True)
    assert printed.stdout.decode().split("\0")[:-1] == expected[1:]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("a {lr}", "no placeholder {lr}; there is {task}, {utd}"),
        ("a {", "has a lone {"),
        ("a }", "has a lone }"),
        ("{}", "no placeholder {}"),
    ],
)
def test_a_placeholder_that_is_not_known_is_one_sentence(template, said):
    run = Suggestion(task="t", utd=1.0, batch_size=64, learning_rate=1e-4, seed=0, env_steps=1.0, stop_at=1)
    with pytest.raises(UserError, match="template: ") as error:
        run.command(template)
    assert said in str(error.value)


def test_one_cell_at_each_utd_ratio_says_what_is_missing_and_spreads_others(folder):
    found = json.loads(said("suggest", "three", "-n", "40", "--json", cwd=folder))
    assert "one batch size and one learning rate" in found["notes"][0]
    assert found["before"] is None
    assert {run["utd"] for run in found["suggestions"]} == {1.0, 2.0, 4.0}
    pairs = {(run["batch_size"], run["learning_rate"]) for run in found["suggestions"]}
    assert len({batch for batch, _ in pairs}) > 1
    assert len({rate for _, rate in pairs}) > 1
    # one run of each place first
    assert len({(run["task"], run["utd"]) for run in found["suggestions"][:6]}) == 6


def test_one_utd_ratio_says_so_and_asks_for_others(folder):
    found = json.loads(said("suggest", "one", "-n", "40", "--json", cwd=folder))
    assert "all runs are at UTD ratio 1" in found["notes"][0]
    assert {run["utd"] for run in found["suggestions"]} == {1.0, 2.0, 4.0}
    assert "at least three" in refused("suggest", "one", "--for", "D@4", cwd=folder)


def test_where_no_run_reaches_a_threshold_it_is_said(folder, tmp_path):
    truth = replace(TRUTH, plateau=600.0, reference=500.0)
    write_simulation(tmp_path / "low", truth, replace(SWEEP, top=500.0), "low", thresholds=(1000,))
    text = said("suggest", "low", cwd=tmp_path)
    assert "no run reaches J = 1000" in text
    assert "lower return_thresholds" in text


def test_what_is_named_is_narrowed(folder):
    text = said("suggest", "three", "--for", "D@16", "-n", "4", cwd=folder)
    assert "half the width of the 80 % interval of log D at UTD ratio 16, mean over tasks; today" in text
    found = json.loads(said("suggest", "three", "--for", "D@16", "-n", "4", "--json", cwd=folder))
    assert max(run["utd"] for run in found["suggestions"]) == 16
    assert found["suggestions"][-1]["after"] < 0.7 * found["before"]
    budget = json.loads(said("suggest", "three", "--for", "budget", "-n", "3", "--json", cwd=folder))
    assert budget["measure"] == "half the width of the 80 % interval of the exponent of σ*(F)"
    assert len(budget["suggestions"]) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--for", "16"), "'16' is not known; it must be D@UTD, D@UTD:TASK or budget, e.g. D@16"),
        (("--for", "D@0"), "is not known; it must be"),
        (("--for", "D@nan"), "is not known; it must be"),
        (("--for", "D@4:three"), "there is no task 'three'; there is one, two"),
        (("--for", "budget"), "there is no law σ*(F): "),
        (("--hours", "3"), "the runs of one, two recorded no times"),
        (("--hours", "3", "--env-steps", "3"), "give one limit"),
        (("--env-steps", "-1"), "it must be above 0"),
        (("--env-steps", "nan"), "is not a number of env steps"),
        (("--template", "x", "--json"), "--template and --json can't be combined"),
        (("--template", "{lr}"), "there is no placeholder {lr}"),
        (("-n", "0"), "`tdscale suggest --help` shows"),
        (("--where", "nothing=1"), "no run has nothing=1"),
    ],
)
def test_mistakes_are_one_sentence(folder, arguments, sentence):
    assert sentence in refused("suggest", "swept", *arguments, cwd=folder)


def test_hours_count_the_seconds_that_runs_took_and_change_what_is_worth_most(folder, tmp_path):
    write_simulation(tmp_path / "timed", TRUTH, SWEEP, thresholds=(400, 800))
    store = RunStore(tmp_path / "timed")
    statuses, curves = store.statuses(), store.curves(list(store.specs()), None)
    for run_id, spec in store.specs().items():
        steps = statuses[run_id].last_step
        # an env step takes 1 ms, an update 1 ms and 0.1 ms for each transition
        updates = int(steps * spec.utd)
        times = {"update_seconds": updates * (1e-3 + 1e-4 * spec.batch_size), "critic_updates": updates}
        status = replace(statuses[run_id], **times, wall_seconds=times["update_seconds"] + 1e-3 * steps)
        store.write(RunResult(spec=spec, columns=curves[run_id], status=status))
    found = json.loads(said("suggest", "timed", "--hours", "3", "--json", cwd=tmp_path))["suggestions"]
    assert len(found) > 1
    for run in found:
        expected = run["env_steps"] * (1e-3 + run["utd"] * (1e-3 + 1e-4 * run["batch_size"]))
        assert run["seconds"] == pytest.approx(expected, rel=0.02)
    assert sum(run["seconds"] for run in found) <= 3 * 3600
    by_steps = json.loads(said("suggest", "timed", "-n", str(len(found)), "--json", cwd=tmp_path))["suggestions"]
    # large batches take long: by the hour they are asked for less
    assert sum(run["seconds"] for run in found) < sum(run["seconds"] for run in by_steps)
