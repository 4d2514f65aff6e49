"""The example that comes along: copied whole, never over anything, and small."""

import json

import pytest

from command import called, refused
from tdscale.cli.app import GROUPS, app
from tdscale.running.example import copy_example
from tdscale.running.folder import open_study


def test_the_example_is_a_whole_study_of_at_most_two_megabytes(tmp_path):
    answer = called("example", "sac", cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "tdscale plan sac" in answer.stdout
    files = open_study(tmp_path / "sac")
    assert set(files.study.tasks) == {"HalfCheetah-v5", "walker-walk", "cartpole-swingup"}
    assert len(files.store.statuses()) > 100
    assert sum(path.stat().st_size for path in (tmp_path / "sac").rglob("*") if path.is_file()) < 2e6
    # what the study says itself is not asked of the user again
    assert json.loads(called("status", "sac", "--json", cwd=tmp_path).stdout)["failures"] == []


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "exists already" in refused("example", "mine", cwd=tmp_path)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    assert "is not a folder" in refused("example", "nowhere/sac", cwd=tmp_path)


def test_a_copy_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tdscale.running.example.shutil.copytree", full)
    with pytest.raises(Exception, match="No space left"):
        copy_example(tmp_path / "sac")
    assert list(tmp_path.iterdir()) == []


def test_every_command_is_listed_in_one_group_and_on_one_line(tmp_path):
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted({command.name or command.callback.__name__ for command in app.registered_commands})
    lines = called("--help", cwd=tmp_path).stdout.splitlines()
    for name in grouped:
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert len(line) <= 80
        assert not line.endswith("...")
    commands = [line for line in lines if line.startswith("  ") and line.split()[0] in grouped]
    assert len(commands) == len(grouped)
