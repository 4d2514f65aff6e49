"""`tdscale predict` on a study's folder, on published laws and on a file of points."""

import json

import pytest

from command import called, refused
from known_truth import write_swept
from tdscale.simulate import Bowl, LawTruth

D_MIN, BETA, ALPHA = {"one": 3e4, "two": 6e4}, 1.5, 0.8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A simulated study with a sweep, fitted: B* = 200·σ^−0.5."""
    folder = tmp_path_factory.mktemp("predict")
    truth = LawTruth(
        d_min=D_MIN,
        beta=BETA,
        alpha=ALPHA,
        batch_size=Bowl(coefficient=200.0, exponent=-0.5, curvature=0.1),
        learning_rate=Bowl(coefficient=5e-4, exponent=-0.3),
    )
    write_swept(folder / "swept", truth)
    assert called("fit", "swept", "--draws", "40", cwd=folder).returncode == 0
    return folder


def told(*arguments, cwd):
    answer = called("predict", *arguments, "--json", cwd=cwd)
    assert (answer.returncode, answer.stderr) == (0, "")
    return json.loads(answer.stdout)["predictions"]


def test_several_utd_ratios_are_predicted_near_the_truth_each_with_its_intervals(folder):
    found = told("swept", "--utd", "1/2", "--utd", "3,8", "--task", "one", cwd=folder)
    assert [one["utd"] for one in found] == [0.5, 3, 8]
    for one in found:
        truth = D_MIN["one"] * (1 + (one["utd"] / BETA) ** -ALPHA)
        assert one["data"]["value"] == pytest.approx(truth, rel=0.15 if one["extrapolation"] == 1 else 0.3)
        assert one["data"]["low"] < one["data"]["high"]
        assert 0.5 < one["batch_size_range"]["value"] / (200 * one["utd"] ** -0.5) < 2
        assert one["batch_size_tolerated"]["low"]["value"] < one["batch_size_range"]["value"] < one["batch_size_tolerated"]["high"]["value"]
    assert [one["extrapolation"] for one in found] == [1, 1, 2]


def test_nothing_is_fitted_again(folder):
    before = (folder / "swept" / "laws.json").stat().st_mtime_ns
    told("swept", "--utd", "3", cwd=folder)
    assert (folder / "swept" / "laws.json").stat().st_mtime_ns == before


def test_people_read_one_point_at_length_and_many_as_a_table(folder):
    one = called("predict", "swept", "--utd", "8", cwd=folder).stdout
    assert "extrapolates by a factor of 2: UTD 0.5 to 4 was run" in one
    assert one.count("at most 5% more data from ") == 2
    many = called("predict", "swept", "--utd", "0.5,1,2,4,8", cwd=folder).stdout
    assert len([line for line in many.splitlines() if line.startswith("all tasks")]) == 5
    assert "8*" in many


def test_points_of_a_file_are_those_of_the_options(folder):
    (folder / "points.csv").write_text("task, utd, threshold\none, 1/2, 400\n, 3,\n")
    first, second = told("swept", "--points", "points.csv", cwd=folder)
    assert first == told("swept", "--utd", "0.5", "--task", "one", "--threshold", "400", cwd=folder)[0]
    assert second == told("swept", "--utd", "3", cwd=folder)[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task,sigma\none,3\n", "has a column 'sigma'"),
        ("task\none\n", "has no column utd"),
        ("utd,utd\n1,2\n", "has a column twice"),
        ("utd\n", "holds no points"),
        ("utd\nmany\n", "line 2: 'many' is not a UTD ratio"),
        ("utd,task\n1,one,3\n", "line 2: must hold one value for each of utd, task"),
        ("utd,threshold\n1,high\n", "line 2: must hold one value"),
        ("", "has no column utd"),
    ],
)
def test_a_bad_file_of_points_is_one_sentence_with_its_place(folder, text, said):
    (folder / "bad.csv").write_text(text)
    sentence = refused("predict", "swept", "--points", "bad.csv", cwd=folder)
    assert said in sentence
    assert "bad.csv" in sentence


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["swept"], "either --utd, e.g. --utd 3, or --points FILE.csv"),
        (["swept", "--utd", "0"], "--utd: '0' is not a UTD ratio; it must be a number above 0, e.g. 3, 0.25 or 1/4"),
        (["swept", "--utd", "1/0"], "'1/0' is not a UTD ratio"),
        (["swept", "--utd", "1", "--task", "three"], "there is no 'three' in this study; there is one, two"),
        (["swept", "--utd", "1", "--size", "large"], "this study has no sizes"),
        (["swept", "--utd", "1", "--points", "x.csv"], "either --utd"),
        (["swept", "--points", "x.csv", "--task", "one"], "--points: goes without --task"),
        (["swept", "--points", "x.csv"], "x.csv: can't be read"),
        (["published:gym", "--utd", "1", "--size", "m"], "knows one network"),
        (["published:nobody", "--utd", "1"], "there are no published laws 'nobody'"),
        (["published:sizes-dmc", "--utd", "1"], "only D(σ, N) was published"),
        (["nowhere", "--utd", "1"], "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_sentence(folder, arguments, said):
    assert said in refused("predict", *arguments, cwd=folder)


def test_published_laws_predict_without_intervals_and_say_which_set_to_use(folder):
    """Table 2 of the paper: B* = 415.4·σ^−0.33, D = 7.8e4·(1 + (σ/2)^−0.69)."""
    text = called("predict", "published:gym", "--utd", "2", "--task", "HalfCheetah-v4", cwd=folder).stdout
    assert "336, rounded from 330 (no interval)" in text
    assert "1.56e5 (no interval)" in text
    assert "(raw 6800)" in text
    assert "which published set to use" in text
