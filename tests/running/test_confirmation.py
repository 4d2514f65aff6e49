"""A study whose baseline is run, whose plan is confirmed, and which is then extended: each time only what is new is trained."""

import json
import shutil

import pytest

from command import called
from small_study import SECOND, run
from tdscale.runs.store import RunStore

pytest.importorskip("jax", reason='needs pip install "tdscale[train]"')


def stored(folder):
    """When each run was written, and the runs by stage."""
    runs = folder / "micro" / "runs"
    written = {path.parent.name: path.stat().st_mtime_ns for path in runs.glob("[!.]*/status.json")}
    return written, RunStore(folder / "micro").specs()


@pytest.fixture
def study(trained, tmp_path):
    """A copy of the trained study's folder, to be changed."""
    return shutil.copytree(trained, tmp_path / "study")


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


def test_a_plan_is_run_with_fresh_seeds_and_scored_and_changes_no_law(study, no_pngs):
    laws = (study / "micro" / "laws.json").read_bytes()
    command = ("confirm", "micro", "--data", "1200", "--seeds", 2, "--workers", 1, "--json")
    answer = called(*command, cwd=study)
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
    assert json.loads(called(*command, cwd=study).stdout)["confirmation"] == outcome
    assert stored(study)[0] == written
    assert len(json.loads((study / "micro" / "confirmations.json").read_text())) == 1
    called("fit", "micro", cwd=study)
    assert (study / "micro" / "laws.json").read_bytes() == laws
    assert called("report", "micro", cwd=study).returncode == 0
    page = (study / "micro" / "report.html").read_text()
    assert "Plans that were run" in page
    assert "2 fresh seeds): it predicted" in page
    assert (study / "micro" / "tables" / "confirmations.csv").is_file()


def test_a_plan_without_an_answer_is_one_sentence(study):
    answer = called("confirm", "micro", "--data", "1", cwd=study)
    assert answer.returncode == 3
    assert answer.stdout.startswith("no ")


def test_more_seeds_and_another_sigma_run_only_what_is_new(study):
    before, _ = stored(study)
    run(study, seeds=3, utds="0.5, 1, 2, 4")
    after, specs = stored(study)
    assert {name: after.get(name) for name in before} == before
    new = [specs[name] for name in after if name not in before]
    # in stage 2 and the baseline: a seed more at three σ, three at the new one
    assert sorted((spec.stage, spec.utd) for spec in new) == sorted(
        (stage, utd) for stage in ("scaling", "baseline") for utd in (0.5, 1.0, 2.0, 4.0, 4.0, 4.0)
    )


@pytest.mark.slow
def test_another_task_and_a_higher_threshold_train_that_task_and_take_the_others_further(study):
    before, _ = stored(study)
    steps = {run_id: status.last_step for run_id, status in RunStore(study / "micro").statuses().items()}
    run(study, more=SECOND, thresholds="100, 200, 400")
    after, specs = stored(study)
    assert {specs[name].task for name in after if name not in before} == {"InvertedPendulum-v5"}
    later = {run_id: status.last_step for run_id, status in RunStore(study / "micro").statuses().items()}
    assert all(later[run_id] >= step for run_id, step in steps.items())
    further = {run_id for run_id, step in steps.items() if later[run_id] > step}
    assert further
    assert further <= {run_id for run_id in before if before[run_id] != after[run_id]}
