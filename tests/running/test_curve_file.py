"""The CSV of a trainer of one's own, read while it grows."""

import numpy as np
import pytest

from tdscale.errors import UserError
from tdscale.running.trainers.curve_file import CurveFile


@pytest.fixture
def file(tmp_path):
    return CurveFile(tmp_path)


def _rows(file):
    return {step: row["return"] for step, row in file.rows.items()}


def test_lines_count_once_they_are_whole(file):
    file.path.write_text("env_step,return\n100,1\n200,2")
    file.read()
    assert _rows(file) == {100: 1.0}
    file.path.write_text("env_step,return\n100,1\n200,25\n300,")
    file.read()
    assert _rows(file) == {100: 1.0, 200: 25.0}
    file.path.write_text("env_step,return\n100,1\n200,25\n300,3")
    file.read()
    file.close()
    assert _rows(file) == {100: 1.0, 200: 25.0, 300: 3.0}


@pytest.mark.parametrize(
    "text", ["100,1\n200,2\n", "env_step,return\r\n100,1\r\n200,2\r\n", '\ufeff"env_step", return\n100.0, 1\n\n2e2,2\n']
)
def test_a_header_is_not_needed_and_spreadsheets_manners_are_taken(file, text):
    file.path.write_bytes(text.encode())
    file.read()
    assert _rows(file) == {100: 1.0, 200: 2.0}


def test_known_columns_are_kept_others_left_out_and_episodes_of_one_step_averaged(file):
    file.path.write_text("loss,return,evaluation_return,env_step\n9,1,,100\n9,3,5,200\n9,4,,200\n9,8,,200\n")
    file.read()
    curve = file.curve(200)
    assert list(curve) == ["env_step", "return", "evaluation_return"]
    assert curve["env_step"].tolist() == [100, 200]
    assert curve["return"].tolist() == [1, 5]
    assert np.isnan(curve["evaluation_return"][0])


def test_what_follows_a_return_that_is_not_finite_is_not_read(file):
    file.path.write_text("env_step,return\n100,1\n200,inf\nnonsense\n")
    file.read()
    assert (_rows(file), file.diverged_at) == ({100: 1.0}, 200)


def test_nan_before_the_first_return_says_that_no_episode_has_ended(file):
    file.path.write_text("env_step,return\n100,nan\n200,nan\n")
    file.read()
    assert (file.rows, file.diverged_at, file.last_step, file.waited) == ({}, None, 200, True)
    with file.path.open("a") as more:
        more.write("300,3\n400,nan\n")
    file.read()
    assert (_rows(file), file.diverged_at) == ({300: 3.0}, 400)


def test_a_try_that_goes_on_and_has_no_return_has_diverged(tmp_path, file):
    file.path.write_text("env_step,return\n100,1\n200,2\n300,3\n")
    file.read()
    file.keep()
    file.path.write_text("env_step,return\n250,nan\n350,nan\n")
    file.read()
    assert file.diverged_at is None
    file.close()
    assert (_rows(file), file.diverged_at) == ({100: 1.0, 200: 2.0}, 250)


def test_an_infinite_return_diverges_at_any_row(file):
    file.path.write_text("env_step,return\n100,nan\n200,-inf\n")
    file.read()
    assert (file.rows, file.diverged_at) == ({}, 200)


def test_a_try_that_goes_on_replaces_what_came_after_the_state_it_went_on_from(tmp_path, file):
    file.path.write_text("env_step,return\n100,1\n200,2\n300,3\n")
    file.read()
    file.keep()
    assert _rows(CurveFile(tmp_path)) == {100: 1.0, 200: 2.0, 300: 3.0}
    file.path.write_text("env_step,return\n250,9\n")
    file.read()
    assert _rows(file) == {100: 1.0, 200: 2.0, 250: 9.0}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("step,return\n1,2\n", 'output.csv, line 1: names the columns \'step, return\'; "env_step" and "return" must be among them'),
        ("env_step,return\n1,2\n2\n", "output.csv, line 3: has 1 values where there are 2 columns"),
        ("env_step,return\n1,high\n", "output.csv, line 2: 'high' is not a number for return"),
        ("env_step,return\n1,\n", "output.csv, line 2: '' is not a number for return"),
        ("env_step,return\n1.5,2\n", "output.csv, line 2: '1.5' is not a number of env steps"),
        ("env_step,return\n-5,2\n", "output.csv, line 2: '-5' is not a number of env steps"),
        ("env_step,return\nnan,2\n", "output.csv, line 2: 'nan' is not a number of env steps"),
        ("env_step,return\n200,2\n100,2\n", "output.csv, line 3: goes back to env step 100 after 200"),
        ("\x80\n", "output.csv, line 1: "),
        ("x" * 100_000, "output.csv, line 1: is longer than 65536 characters"),
    ],
)
def test_a_line_that_is_no_row_is_one_sentence(file, text, sentence):
    file.path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError) as caught:
        file.read()
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)
