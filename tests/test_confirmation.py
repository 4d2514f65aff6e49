"""A study whose baseline is run, whose plan is confirmed, and which is then extended: each time only what is new is trained."""

import json

import pytest

from command import called, tdscale
from tdscale.runs.store import RunStore

pytest.importorskip("jax", reason='needs pip install "tdscale[train]"')

STUDY = """\
name = "micro"
algorithm = "sac"
return_thresholds = [{thresholds}]
data_cost = 1e5
baseline = true

[tasks.mountain-car]
suite = "tdscale"
low = -40
high = 100
{more}
[sweep]
utd = [0.5, 2]
batch_size = [16]
learning_rate = [1e-3]
seeds = 1

[scaling]
utd = [{utds}]
seeds = {seeds}

[limits]
env_steps = 1500

[settings]
hidden_sizes = [8]
warm_up = 100
update_block = 10
evaluation_interval = 0
diagnostics_interval = 0
"""
FIRST = {"thresholds": "100, 200", "utds": "0.5, 1, 2", "seeds": 2, "more": ""}


def run(folder, **changed):
    (folder / "micro.toml").write_text(STUDY.format(**FIRST | changed))
    answer = tdscale("run", "micro.toml", "--dir", "micro", "--workers", 1, "--json", cwd=folder)
    assert answer.returncode == 0, answer
    return answer


def stored(folder):
    """When each run was written, and the runs by stage."""
    runs = folder / "micro" / "runs"
    written = {path.parent.name: path.stat().st_mtime_ns for path in runs.glob("[!.]*/status.json")}
    return written, RunStore(folder / "micro").specs()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("confirmed")
    run(folder)
    return folder


def by_stage(specs, stage):
    return [spec for spec in specs.values() if spec.stage == stage]


def test_the_baseline_keeps_b_and_eta_over_the_sigmas_of_stage_2(study):
    _, specs = stored(study)
    constant = by_stage(specs, "baseline")
    assert {spec.utd for spec in constant} == {0.5, 1.0, 2.0}
    assert len({(spec.batch_size, spec.learning_rate) for spec in constant}) == 1
    assert not {spec.seed for spec in constant} & {spec.seed for spec in by_stage(specs, "scaling")}
    status = json.loads(called("status", "micro", "--json", cwd=study).stdout)
    assert [stage["stage"] for stage in status["stages"]] == ["sweep", "scaling", "baseline"]
    assert all(stage["left"] == 0 for stage in status["stages"])


def test_a_plan_is_run_with_fresh_seeds_and_scored_and_changes_no_law(study):
    laws = (study / "micro" / "laws.json").read_bytes()
    command = ("confirm", "micro", "--data", "1200", "--seeds", 2, "--workers", 1, "--json")
    answer = tdscale(*command, cwd=study)
    assert answer.returncode == 0, answer
    content = json.loads(answer.stdout)
    plan, outcome = content["plan"], content["confirmation"]
    written, specs = stored(study)
    ran = by_stage(specs, "confirm")
    assert {(spec.utd, spec.batch_size, spec.learning_rate) for spec in ran} == {(plan["utd"], plan["batch_size"], plan["learning_rate"])}
    assert len(ran) == outcome["seeds"] == 2
    assert not {spec.seed for spec in ran} & {spec.seed for spec in specs.values() if spec.stage != "confirm"}
    data, compute, seconds = outcome["compared"]
    assert [part["quantity"] for part in (data, compute, seconds)] == ["data", "compute", "seconds"]
    assert data["predicted"] == plan["data"]
    assert outcome["reached"]
    assert data["inside"] == (plan["data"]["low"] <= data["seen"]["value"] <= plan["data"]["high"])
    assert data["ratio"] == pytest.approx(data["seen"]["value"] / plan["data"]["value"])
    # again: nothing is trained, the outcome is the same, and there is one of it
    assert json.loads(tdscale(*command, cwd=study).stdout)["confirmation"] == outcome
    assert stored(study)[0] == written
    assert len(json.loads((study / "micro" / "confirmations.json").read_text())) == 1
    called("fit", "micro", cwd=study)
    assert (study / "micro" / "laws.json").read_bytes() == laws
    assert called("report", "micro", cwd=study).returncode == 0
    assert "Plans that were run" in (study / "micro" / "report.html").read_text()
    assert (study / "micro" / "tables" / "confirmations.csv").is_file()


def test_a_plan_without_an_answer_is_one_sentence(study):
    answer = called("confirm", "micro", "--data", "1", cwd=study)
    assert answer.returncode == 2
    assert len(answer.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("changed", "new"),
    [
        ({"seeds": 3}, 6),  # one more at each of three σ, in stage 2 and the baseline
        ({"seeds": 3, "utds": "0.5, 1, 2, 4"}, 6),
        ({"seeds": 3, "utds": "0.5, 1, 2, 4", "more": '\n[tasks.pendulum]\nsuite = "tdscale"\nlow = -1600\nhigh = 0\n'}, 26),
    ],
)
def test_an_edited_study_runs_only_what_is_new(study, changed, new):
    before, _ = stored(study)
    run(study, **changed)
    after, _ = stored(study)
    assert {name: after.get(name) for name in before} == before
    assert len(after) - len(before) == new


def test_a_higher_threshold_takes_the_same_runs_further(study):
    before, specs = stored(study)
    steps = {run_id: status.last_step for run_id, status in RunStore(study / "micro").statuses().items()}
    more = '\n[tasks.pendulum]\nsuite = "tdscale"\nlow = -1600\nhigh = 0\n'
    run(study, seeds=3, utds="0.5, 1, 2, 4", more=more, thresholds="100, 200, 400")
    after, found = stored(study)
    assert set(found) == set(specs)
    later = {run_id: status.last_step for run_id, status in RunStore(study / "micro").statuses().items()}
    assert all(later[run_id] >= step for run_id, step in steps.items())
    assert {run_id for run_id in before if before[run_id] != after[run_id]} == {run_id for run_id in steps if later[run_id] > steps[run_id]}
