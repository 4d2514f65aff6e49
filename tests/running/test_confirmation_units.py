"""A confirmation compares like with like, in every unit; what it needs is checked before anything is trained."""

import json
from pathlib import Path

import pytest

from command import called, refused
from small_study import run_file
from tdscale.runs.store import RunStore

TRAINER = """\
import math

def train(run):
    {report}
    needed = 300 * (1 + 1 / run.utd) * (1 + 0.1 * math.sin(run.seed))
    for step in range(20, run.env_steps + 1, 20):
        yield step, 1000 * (1 - 0.2 ** (step / needed))
"""
STUDY = """\
name = "known law"
function = "known:train"
return_thresholds = [500, 800]

[tasks.known]
high = 1000

[sweep]
utd = [0.5, 2]
batch_size = [16]
learning_rate = [1e-3]
seeds = 1

[scaling]
utd = [0.5, 1, 2, 4]
seeds = {seeds}

[limits]
env_steps = 3000
"""


def run(folder: Path, report: str, seeds: int = 2) -> None:
    (folder / "known.py").write_text(TRAINER.format(report=report))
    (folder / "known.toml").write_text(STUDY.format(seeds=seeds))
    run_file(folder / "known.toml")


@pytest.fixture(scope="module")
def without_sizes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("without_sizes")
    run(folder, "pass", seeds=1)
    return folder


@pytest.fixture(scope="module")
def with_sizes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("with_sizes")
    run(folder, "run.report(critic_parameters=100, actor_parameters=50, env_seconds=1.0, update_seconds=2.0)")
    return folder


def confirmed(folder: Path, *options: str) -> dict[str, dict]:
    answer = called("confirm", "known", "--data", "600", "--workers", 1, "--json", *options, cwd=folder)
    assert answer.returncode == 0, answer
    return {part["quantity"]: part for part in json.loads(answer.stdout)["confirmation"]["compared"]}


@pytest.mark.parametrize(
    ("unit", "words"), [("flops", "FLOPs, counted"), ("gradient-steps", "gradient steps"), ("seconds", "seconds, measured")]
)
def test_predicted_and_seen_compute_are_in_the_unit_that_was_asked_for(with_sizes, unit, words):
    compared = confirmed(with_sizes, "--unit", unit)
    assert compared["compute"]["unit"].startswith(words)
    # the truth is the law that was fitted, so that seen and predicted differ by the seeds' noise alone
    assert compared["data"]["ratio"] == pytest.approx(1, abs=0.3)
    if unit != "seconds":
        assert compared["compute"]["ratio"] == pytest.approx(compared["data"]["ratio"], rel=0.05)
    else:
        assert 0.05 < compared["compute"]["ratio"] < 20


def test_gradient_steps_are_those_that_sigma_asks_for(with_sizes):
    compared = confirmed(with_sizes, "--unit", "gradient-steps")
    plan = json.loads(called("plan", "known", "--data", "600", "--unit", "gradient-steps", "--json", cwd=with_sizes).stdout)
    assert compared["compute"]["seen"]["value"] == pytest.approx(plan["utd"] * compared["data"]["seen"]["value"], rel=0.01)


def test_a_trainer_that_names_no_sizes_is_confirmed_in_gradient_steps(without_sizes):
    assert set(confirmed(without_sizes)) >= {"data"}
    assert "compute" in confirmed(without_sizes, "--unit", "gradient-steps")


def test_a_unit_that_is_not_known_is_refused_before_anything_is_trained(without_sizes):
    before = len(RunStore(without_sizes / "known").specs())
    said = refused("confirm", "known", "--data", "600", "--unit", "seconds", "--seeds", "4", cwd=without_sizes)
    assert "compute can't be told in seconds" in said
    assert len(RunStore(without_sizes / "known").specs()) == before


def test_scoring_in_another_unit_than_the_plans_is_an_error(with_sizes):
    from tdscale.analysis.views import in_unit
    from tdscale.planning import plan_data, score
    from tdscale.running.fitting import current_laws
    from tdscale.running.folder import open_study

    laws = current_laws(open_study(with_sizes / "known"), times=True)
    plan = plan_data(in_unit(laws, "gradient-steps"), 600.0)
    with pytest.raises(ValueError, match="compute is in gradient-steps, the laws' in flops"):
        score(plan, laws, [])
