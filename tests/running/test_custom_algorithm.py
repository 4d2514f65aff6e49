"""A study of a user's own algorithm, in real worker processes; and what may be done without its file."""

import json
import shutil
from pathlib import Path

import pytest

from command import called, refused
from small_study import run_file
from tdscale.errors import UserError
from tdscale.running.folder import open_study, place_study
from tdscale.study import parse_study

EXAMPLES = Path(__file__).parents[2] / "examples"
STUDY = """\
name = "own"
algorithm = "td3:TD3"
return_thresholds = [300]

[tasks.Pendulum-v1]
low = -2000
high = 0

[sweep]
utd = [1]
batch_size = [16]
learning_rate = [1e-3, 3e-3]
seeds = 1

[limits]
env_steps = 400

[settings]
hidden_sizes = [8]
warm_up = 300
update_block = 8
exploration_std = 0.2
evaluation_interval = 0
diagnostics_interval = 50
"""


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """The study's folder after a run, moved elsewhere; what it was made from is gone."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    (first / "own.toml").write_text(STUDY)
    shutil.copy(EXAMPLES / "td3.py", first)
    # from another working directory: the file is found beside the study
    run_file(first / "own.toml")
    shutil.move(first / "own", second / "study")
    shutil.rmtree(first)
    return second / "study"


def test_worker_processes_train_it_and_record_which_file_it_was(placed):
    statuses = [json.loads(path.read_text()) for path in placed.glob("runs/*/status.json")]
    assert [(status["state"], status["critic_updates"], status["actor_updates"]) for status in statuses] == [("finished", 96, 96)] * 2
    assert len({status["versions"]["td3"] for status in statuses}) == 1
    (spec, *_) = [json.loads(path.read_text()) for path in placed.glob("runs/*/spec.json")]
    assert spec["algorithm"] == "td3:TD3"
    assert (spec["settings"]["exploration_std"], spec["settings"]["smoothing_std"]) == (0.2, 0.2)


def test_the_folder_holds_all_that_it_needs_to_go_on(placed):
    assert (placed / "td3.py").read_bytes() == (EXAMPLES / "td3.py").read_bytes()
    files = place_study(placed / "study.toml", placed)
    wanted = {spec.run_id for spec in files.study.sweep_specs()}
    assert wanted == set(files.store.statuses(problems=[]))


def test_runs_of_two_versions_of_the_file_are_not_mixed(placed, tmp_path):
    (tmp_path / "own.toml").write_text(STUDY)
    (tmp_path / "td3.py").write_text((EXAMPLES / "td3.py").read_text() + "# another\n")
    before = (placed / "td3.py").read_bytes()
    with pytest.raises(UserError, match=r"its runs were made with another td3\.py"):
        place_study(tmp_path / "own.toml", placed)
    assert (placed / "td3.py").read_bytes() == before


def test_a_setting_that_the_algorithm_does_not_have_is_one_sentence(tmp_path):
    shutil.copy(EXAMPLES / "td3.py", tmp_path)
    (tmp_path / "own.toml").write_text(STUDY.replace("exploration_std", "exploraton_std"))
    sentence = refused("run", "own.toml", cwd=tmp_path)
    assert sentence == "own.toml, settings.exploraton_std: unknown key; did you mean 'exploration_std'?"
    assert not (tmp_path / "own").exists()


@pytest.fixture
def received(placed, tmp_path):
    """The folder as it may come from elsewhere: its file does something when it is imported."""
    shutil.copytree(placed, tmp_path / "study")
    (tmp_path / "study" / "td3.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\nraise SystemExit\n")
    return tmp_path


def test_reading_a_study_never_imports_its_algorithm(received):
    status = json.loads(called("status", "study", "--json", cwd=received).stdout)
    assert [(row["stage"], row["finished"], row["left"]) for row in status["stages"]] == [("sweep", 2, 0)]
    assert called("fit", "study", "--draws", 20, cwd=received).returncode == 0
    called("plan", "study", "--data", 300, cwd=received)
    assert not (received / "imported").exists()


def test_an_edited_study_has_unknown_settings_until_it_is_run(placed, tmp_path):
    shutil.copytree(placed, tmp_path / "study")
    (tmp_path / "study" / "study.toml").write_text(STUDY.replace("exploration_std = 0.2", "exploration_std = 0.3"))
    with pytest.raises(UserError, match="are not known yet; `tdscale run` asks its module for them"):
        open_study(tmp_path / "study").study.sweep_specs()


@pytest.mark.parametrize("name", ["td3", "td3:", ":TD3", "td3.py:TD3:x", "td 3:TD3", "../td3:TD3"])
def test_a_name_of_another_form_is_refused(name):
    with pytest.raises(UserError, match='or your own as "module:name"'):
        parse_study(STUDY.replace("td3:TD3", name))
