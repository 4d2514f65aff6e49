"""Numbers of options, as people write them."""

import pytest

from command import called, refused
from tdscale.amounts import number, seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("300k", 300_000),
        ("1.5M", 1_500_000),
        ("2e15", 2e15),
        ("5G", 5e9),
        ("0.2t", 2e11),
        ("1_000", 1000),
        (" 7 ", 7),
        (12, 12),
        ("-3", -3),
    ],
)
def test_a_count_may_have_a_letter_behind_it(text, value):
    assert number(text) == value


@pytest.mark.parametrize(("text", "value"), [("90min", 5400), ("2h", 7200), ("1d", 86_400), ("1.5H", 5400), ("30s", 30)])
def test_a_time_has_its_unit_behind_it(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "k", "3x", "nan", "inf", "1e999", "300,000", "2 h", "1__e", True, None, "٣"])
def test_what_is_no_number_is_none(text):
    assert number(text) is None
    assert seconds(text) is None


def test_a_number_without_a_unit_is_no_time_and_a_time_is_no_count():
    assert seconds("90") is None
    assert number("90min") is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "x", "--data", "plenty"], "'--data': 'plenty' is not a number of env steps; it must be a number, e.g. 300k"),
        (["plan", "x", "--data", "2h"], "'--data': '2h' is not a number of env steps"),
        (["plan", "x", "--compute", "2 h"], "'--compute': '2 h' is not an amount of compute; it must be a number, e.g. 2e15, or 2h"),
        (["plan", "x", "--batch-multiple", "2.5"], "'--batch-multiple': '2.5' is not a batch size; it must be a whole number, e.g. 16"),
        (["fit", "x", "--draws", "3"], "'--draws': '3' can't be a number of draws; it must be at least 20 and at most 100000, e.g. 1k"),
        (
            ["suggest", "x", "--hours", "soon"],
            "'--hours': 'soon' is not a time; it must be hours, or a number with min, h or d, e.g. 90min",
        ),
        (["published", "Ant-v4", "--utd", "1,x"], "--utd: 'x' is not a UTD ratio"),
    ],
)
def test_a_bad_number_is_one_sentence_that_names_the_option_and_shows_a_right_one(arguments, said, tmp_path):
    assert said in refused(*arguments, cwd=tmp_path)


def test_a_plan_takes_300k_and_a_time_only_where_compute_is_told_in_seconds(tmp_path):
    ask = ("plan", "published:gym", "--task", "HalfCheetah-v4")
    assert called(*ask, "--data", "300k", "--json", cwd=tmp_path).stdout == called(*ask, "--data", "300000", "--json", cwd=tmp_path).stdout
    said = refused(*ask, "--compute", "2h", cwd=tmp_path)
    assert said == "--compute: is a time, but compute is told in FLOPs; add --unit seconds, or give e.g. 2e15"
