"""A user's own file: imported where it is named, once, from where it lies; every mistake in it is one sentence."""

import sys
from pathlib import Path

import pytest

from tdscale.errors import UserError
from tdscale.running.custom_code import _settings as answer_settings
from tdscale.training.algorithms import Algorithm, named_algorithm
from tdscale.training.custom_algorithm import custom_version, load_custom_algorithm

SAC = "from tdscale.training.algorithms import ALGORITHMS\nMine = ALGORITHMS['sac']\n"


def _write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (None, "mine:Mine", "there is no module 'mine': no mine.py lies in"),
        (None, "no_such_lab.mine:Mine", "there is no module 'no_such_lab.mine': Python's path does not have it"),
        ("", "mine:Mine", "mine.py holds no 'Mine'"),
        ("Mine = 3", "mine:Mine", "algorithm 'mine:Mine' is of type int, not a tdscale.training.algorithms.Algorithm"),
        ("x = 1\nraise RuntimeError('out of\\norder')", "mine:Mine", "mine.py can't be imported: RuntimeError: out of (line 2)"),
        ("import no_such_helper", "mine:Mine", "mine.py can't be imported: ModuleNotFoundError: No module named 'no_such_helper' (line 1)"),
        ("import sys\nsys.exit(3)", "mine:Mine", "mine.py can't be imported: SystemExit: 3 (line 2)"),
        ("def broken(:", "mine:Mine", "mine.py can't be imported: SyntaxError"),
    ],
)
def test_a_mistake_is_one_sentence(text: str | None, name: str, said: str, tmp_path: Path) -> None:
    if text is not None:
        _write(tmp_path, text)
    with pytest.raises(UserError) as error:
        named_algorithm(name, tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_working_directory_plays_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, SAC)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no module 'mine'"):
        load_custom_algorithm("mine:Mine", tmp_path / "elsewhere")
    assert isinstance(named_algorithm("mine:Mine", Path(".")), Algorithm)


def test_a_module_on_pythons_path_is_found_too_and_the_folders_file_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    _write(tmp_path, "Mine = 'of the path'", "on_the_path.py")
    (tmp_path / "study").mkdir()
    assert load_custom_algorithm("on_the_path:Mine", tmp_path / "study") == "of the path"
    assert load_custom_algorithm("on_the_path:Mine", None) == "of the path"
    _write(tmp_path / "study", "Mine = 'of the folder'", "on_the_path.py")
    assert load_custom_algorithm("on_the_path:Mine", tmp_path / "study") == "of the folder"


def test_a_file_is_imported_once_and_again_when_it_has_changed_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    _write(tmp_path, "Mine = object()")
    first = load_custom_algorithm("mine:Mine", tmp_path)
    assert load_custom_algorithm("mine:Mine", tmp_path) is first, "compiled functions are kept by the identity of what they come from"
    version = custom_version("mine:Mine", tmp_path)
    _write(tmp_path, "Mine = 'another'")
    assert load_custom_algorithm("mine:Mine", tmp_path) == "another"
    assert custom_version("mine:Mine", tmp_path) != version
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_a_file_named_as_another_module_does_not_take_its_place(tmp_path: Path) -> None:
    import colorsys

    _write(tmp_path, "Mine = 1", "colorsys.py")
    assert load_custom_algorithm("colorsys:Mine", tmp_path) == 1
    assert sys.modules["colorsys"] is colorsys


def test_settings_are_checked_by_the_algorithms_own_class(tmp_path: Path) -> None:
    _write(tmp_path, SAC)
    question = {"algorithm": "mine:Mine", "folder": str(tmp_path), "source": "study.toml", "sizes": {}}
    full = answer_settings(question | {"settings": {"hidden_sizes": [8]}})["settings"][""]
    assert (full["hidden_sizes"], full["warm_up"]) == ([8], 5000)
    assert answer_settings(question | {"settings": {"hidden_size": [8]}}) == {
        "mistake": "study.toml, settings.hidden_size: unknown key; did you mean 'hidden_sizes'?"
    }
    mistake = answer_settings(question | {"settings": {}, "algorithm": "mine:Yours"})["mistake"]
    assert mistake.startswith("study.toml, algorithm: ")
