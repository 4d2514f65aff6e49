"""The command line as a user meets it: help, exit codes, JSON, and a study of imported curves from end to end."""

import json
import math
import subprocess
import sys

import pytest

from command import called, refused, tdscale
from synthetic_zip import ALPHA, BATCH_EXPONENT, BETA, D_MIN, MAXIMA, UTDS, write_zip

COMMANDS = ("demo", "run", "status", "import", "fit", "plan", "published", "validate", "simulate", "report")
HEAVY = {"jax", "jaxlib", "flax", "optax", "gymnasium", "mujoco", "dm_control", "matplotlib"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the study `syn`, imported from a zip of curves that follow a known law."""
    folder = tmp_path_factory.mktemp("cli")
    write_zip(folder / "mine.zip")
    answer = called("import", "mine.zip", "--from", "qscaled", "--layout", "gym_ours", "--dir", "syn", "--json", cwd=folder)
    assert answer.returncode == 0, answer
    (folder / "import.json").write_text(answer.stdout)
    return folder


@pytest.fixture(scope="module")
def fitted(folder):
    """The folder after `fit`, and what that printed."""
    return folder, _json("fit", "syn", "--json", cwd=folder)


def _json(*arguments, cwd, how=called):
    answer = how(*arguments, cwd=cwd)
    assert answer.returncode == 0, answer
    assert answer.stderr == ""
    return json.loads(answer.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_shows_an_example(command, tmp_path):
    answer = called(*filter(None, [command]), "--help", cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    if command is None:
        assert all(f"\n  {name} " in answer.stdout for name in COMMANDS)
    else:
        assert f"Example:  tdscale {command} " in answer.stdout
        assert "--json" in answer.stdout


def test_without_a_command_it_shows_help(tmp_path):
    answer = tdscale(cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "Usage: tdscale" in answer.stdout


def test_the_version_is_the_packages(tmp_path):
    from importlib.metadata import version

    answer = tdscale("--version", cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (0, f"tdscale {version('tdscale')}\n")


@pytest.mark.parametrize(
    "modules", ["tdscale", "tdscale.cli", "tdscale.planning, tdscale.validation, tdscale.running.workflow, tdscale.cli.commands"]
)
def test_importing_the_package_loads_no_training_library_and_no_plots(modules):
    answer = subprocess.run([sys.executable, "-X", "importtime", "-c", f"import {modules}"], capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in answer.stderr.splitlines() if line.startswith("import time:")}
    assert "tdscale" in loaded
    assert not loaded & HEAVY


def test_help_loads_none_of_what_it_does_not_need():
    code = "import sys, tdscale.cli; print(sorted({name.split('.')[0] for name in sys.modules}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pandas", "scipy", "pyarrow", "pydantic", "rich"} & set(json.loads(answer.stdout.replace("'", '"')))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fitt", "syn"], "no such command 'fitt'"),
        (["fit"], "missing argument 'DIR'"),
        (["fit", "syn", "--methd", "paper"], "no such option: --methd"),
        (["fit", "syn", "--method", "best"], "'default', 'paper'"),
        (["fit", "syn", "--draws", "3"], "--draws"),
        (["import", "x.zip", "--from", "qscaled"], "--dir"),
        (["import", "x.zip", "--from", "excel", "--dir", "y"], "qscaled"),
        (["import", "x.zip", "--from", "qscaled", "--dir", "y"], "x.zip: no such file"),
        (["fit", "nowhere"], "nowhere: no such folder"),
        (["status", "."], "holds no study.toml"),
    ],
)
def test_a_mistaken_option_is_one_sentence(arguments, said, tmp_path):
    assert said in refused(*arguments, cwd=tmp_path)


def test_the_import_says_what_it_understood(folder):
    content = json.loads((folder / "import.json").read_text())
    assert (content["runs"], content["cells"], content["tasks"]) == (4 * 2 * len(UTDS), 2 * len(UTDS), sorted(MAXIMA))
    assert content["utds"] == list(UTDS)
    assert "renamed-file" in {message["code"] for message in content["messages"]}


def _estimate(value):
    assert set(value) == {"value", "low", "high", "level"}
    assert value["low"] <= value["value"] <= value["high"]
    return value["value"]


def test_the_fit_prints_the_documented_keys_and_finds_the_law(fitted):
    folder, laws = fitted
    assert set(laws) >= {"schema", "method", "study", "inputs", "versions", "batch_size", "learning_rate", "data", "budget", "warnings"}
    assert (laws["schema"], laws["method"]) == (2, "default")
    # there is no sweep
    assert laws["batch_size"]["exponent"]["value"] == pytest.approx(BATCH_EXPONENT, abs=0.01)
    for name in ("batch_size", "learning_rate"):
        assert laws[name]["optimised"] is False
        assert set(laws[name]["tasks"]) == set(MAXIMA)
        for estimate in [laws[name]["exponent"], *(task["coefficient"] for task in laws[name]["tasks"].values())]:
            assert estimate["value"] is not None
            assert estimate["low"] is estimate["high"] is None
    for entry in laws["data"]:
        assert set(entry) >= {"threshold", "task", "d_min", "beta", "alpha", "models"}
        assert sum(model["weight"] for model in entry["models"]) == pytest.approx(1)
        assert all(set(model) == {"form", "parameters", "weight"} for model in entry["models"])
    top = next(entry for entry in laws["data"] if entry["task"] is None and entry["threshold"] == pytest.approx(800))
    assert _estimate(top["d_min"]) == pytest.approx(D_MIN, rel=0.1)
    assert _estimate(top["alpha"]) == pytest.approx(ALPHA, abs=0.1)
    assert _estimate(top["beta"]) == pytest.approx(BETA, rel=0.25)
    assert set(laws["budget"]) >= {"coefficient", "exponent", "data_cost", "points"}
    for point in laws["budget"]["points"]:
        assert set(point) >= {"threshold", "budget", "utd"}
        _estimate(point["budget"])
    assert all(set(warning) == {"code", "message", "where"} for warning in laws["warnings"])
    written = json.loads((folder / "syn" / "laws.json").read_text())
    assert {key: written[key] for key in laws} == laws


def test_the_same_fit_gives_the_same_bytes(fitted):
    folder, _ = fitted
    before = (folder / "syn" / "laws.json").read_bytes()
    _json("fit", "syn", "--json", cwd=folder)
    assert (folder / "syn" / "laws.json").read_bytes() == before


def test_the_papers_method_finds_the_law_too(folder, tmp_path):
    write_zip(tmp_path / "gym_ours.zip")
    assert called("import", "gym_ours.zip", "--from", "qscaled", "--dir", "syn", cwd=tmp_path).returncode == 0
    text = (tmp_path / "syn" / "study.toml").read_text()
    (tmp_path / "syn" / "study.toml").write_text('aggregate = "iqm"\n' + text)
    said = refused("fit", "syn", "--method", "paper", cwd=tmp_path)
    assert said == (
        '--method paper: is made for the mean over seeds; take aggregate = "iqm" out of study.toml, or call `tdscale fit` without --method'
    )
    middle = _json("fit", "syn", "--draws", 20, "--json", cwd=tmp_path)
    (tmp_path / "syn" / "study.toml").write_text(text)
    means = _json("fit", "syn", "--draws", 20, "--json", cwd=tmp_path)
    assert middle["data"][0]["d_min"]["value"] != means["data"][0]["d_min"]["value"]
    laws = _json("fit", "syn", "--method", "paper", "--draws", 20, "--json", cwd=tmp_path)
    assert laws["method"] == "paper"
    top = laws["data"][-1 - len(MAXIMA)]
    assert top["task"] is None
    assert len(top["models"]) == 1
    assert _estimate(top["d_min"]) == pytest.approx(D_MIN, rel=0.1)
    assert _estimate(top["alpha"]) == pytest.approx(ALPHA, abs=0.1)


@pytest.mark.parametrize("limit", [("--data", 2e5), ("--compute", 3e14), ("--budget", 6e14)])
def test_a_plan_for_each_limit(fitted, limit):
    folder, _ = fitted
    plan = _json("plan", "syn", limit[0], limit[1], "--json", cwd=folder)
    assert plan["problem"] == limit[0].strip("-")
    assert plan["feasible"] is True
    assert plan["batch_size"] % 16 == 0
    data = _estimate(plan["data"])
    if limit[0] == "--data":
        assert data <= limit[1] * 1.001
        assert plan["chance"] >= 0.8
        even = _json("plan", "syn", *limit, "--sure", 0.5, "--json", cwd=folder)
        assert even["utd_exact"] == pytest.approx(BETA, rel=0.2)  # D = 2·d_min where σ = β
        assert even["utd"] <= plan["utd"]
    assert plan["utd"] > 0
    assert math.isfinite(_estimate(plan["compute"]))


def test_a_plan_in_gradient_steps(fitted):
    folder, _ = fitted
    plan = _json("plan", "syn", "--data", 2e5, "--unit", "gradient-steps", "--json", cwd=folder)
    assert (plan["unit"], plan["accounting"], plan["budget"]) == ("gradient-steps", "paper", None)
    assert plan["compute"]["value"] == pytest.approx(plan["utd"] * plan["data"]["value"])
    priced = _json("plan", "syn", "--budget", 1e6, "--unit", "gradient-steps", "--data-cost", 1, "--json", cwd=folder)
    assert (priced["data_cost"], priced["data_cost_source"]) == (1, "given")


def test_a_plan_that_cannot_be_is_an_answer_with_its_reason(fitted):
    folder, _ = fitted
    answer = called("plan", "syn", "--data", 10, "--json", cwd=folder)
    assert answer.returncode == 3
    plan = json.loads(answer.stdout)
    assert plan["feasible"] is False
    assert plan["refused"] is False
    assert "10 is not enough" in plan["reason"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "exactly one limit of --data, --compute, --budget; none was given"),
        (["--data", 1e5, "--compute", 1e15], "--data, --compute was given"),
        (["--data", 1e5, "--data-cost", 5e9], "--data-cost goes with --budget"),
        (["--budget", 1e15, "--threshold", 500], "--threshold does not go with --budget"),
        (["--budget", 1e15, "--data-cost", 0], "0 is not a price"),
        (["--budget", 1e15, "--data-cost", "dear"], "dear is not a price"),
        (["--budget", 1e15, "--data-cost", "measured"], "recorded no times"),
        (["--data", 1e5, "--unit", "seconds"], "there is --unit flops or --unit gradient-steps"),
        (["--budget", 1e6, "--unit", "gradient-steps"], "give --data-cost"),
        (["--data", "nan"], "'nan' is not a number of env steps"),
        (["--compute", -1], "-1 is not a limit"),
        (["--data", 1e5, "--task", "Hopper-v4"], "there is Ant-v4, HalfCheetah-v4"),
        (["--data", 1e5, "--threshold", 5000], "5000 lies beyond the returns that were fitted"),
        (["--data", "plenty"], "'--data'"),
    ],
)
def test_wrong_combinations_of_limits_are_one_sentence(fitted, options, said):
    assert said in refused("plan", "syn", *options, cwd=fitted[0])


def test_validate_compares_with_simpler_laws(fitted):
    content = _json("validate", "syn", "--json", cwd=fitted[0])
    assert content["held_out"]
    for result in content["held_out"]:
        errors = result["errors"]
        assert len(errors) > 1
        assert min(errors, key=errors.get) == next(iter(errors)), "the true law predicts best"


def test_report_names_what_it_wrote(fitted, no_pngs):
    folder, _ = fitted
    content = _json("report", "syn", "--json", cwd=folder)
    assert (folder / content["report"]).stat().st_size > 10_000
    assert content["figures"]
    assert content["tables"]
    page = (folder / content["report"]).read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_status_counts_what_was_imported(folder):
    content = _json("status", "syn", "--json", cwd=folder)
    assert content["running"] is False
    assert [(row["stage"], row["finished"], row["left"]) for row in content["stages"]] == [("scaling", 4 * 2 * len(UTDS), 0)]


def test_people_get_text_without_terminal_codes(fitted):
    for arguments in (["status", "syn"], ["plan", "syn", "--data", 2e5]):
        answer = called(*arguments, cwd=fitted[0])
        assert (answer.returncode, answer.stderr) == (0, "")
        assert answer.stdout.strip()
        assert "\x1b" not in answer.stdout
        assert "\r" not in answer.stdout


def test_an_imported_study_cannot_be_run(fitted):
    assert "so there is nothing to run" in refused("run", "syn/study.toml", cwd=fitted[0])
