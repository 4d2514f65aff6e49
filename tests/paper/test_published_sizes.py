"""The follow-up's laws with model size: true to its published points, and refused where they can't answer."""

import json

import pytest

from command import called, refused
from tdscale.paper import PUBLISHED_SIZES, predict_size

# in golden_sizes.json
POINTS = {"sizes-dmc": "dmc", "sizes-dog-humanoid": "dog_humanoid", "sizes-h1-crawl": "h1-crawl-v0", "sizes-h1-stand": "h1-stand-v0"}


def _json(*arguments, cwd):
    answer = called(*arguments, "--json", cwd=cwd)
    assert (answer.returncode, answer.stderr) == (0, "")
    return json.loads(answer.stdout)


@pytest.mark.parametrize("name", PUBLISHED_SIZES)
def test_the_laws_give_the_follow_ups_own_fitted_data_at_every_one_of_its_points(published_data, name):
    path = published_data / "golden_sizes.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    law, points = PUBLISHED_SIZES[name], json.loads(path.read_text())[POINTS[name]]["points"]
    for utd, model_size, _, fitted in points:
        found = predict_size(law, utd, model_size)
        assert found.data == pytest.approx(fitted, rel=1e-3)
        assert found.extrapolation == 1
    assert sorted({point[0] for point in points}) == list(law.utd)
    assert sorted({point[1] for point in points}) == list(law.model_size)


def test_the_parameters_are_those_of_the_published_points():
    """c, a, α, b, β: of DMC, dog and humanoid as its notebooks print them, of SimbaV2 as a fit to its points gives them."""
    stated = {
        "sizes-dmc": (3.719e5, 1.2606, 1.0104, 6.332e5, 0.8902),
        "sizes-dog-humanoid": (5.391e5, 0.8921, 0.7728, 6.677e5, 1.2672),
        "sizes-h1-crawl": (2.495e5, 0.3697, 0.8501, 1.090e6, 1.004),
        "sizes-h1-stand": (1.472e5, 1.140, 0.4738, 2.673e6, 0.7582),
    }
    for name, values in stated.items():
        law = PUBLISHED_SIZES[name]
        assert (law.c, law.a, law.alpha, law.b, law.beta) == pytest.approx(values, rel=5e-3)


def test_a_prediction_by_hand():
    """h1-stand at σ = 2, N = 1e7: 147015·(1 + (1.14431/2)^0.473206 + (2676490/1e7)^0.758112)."""
    found = predict_size(PUBLISHED_SIZES["sizes-h1-stand"], 2.0, 1e7)
    assert found.data == pytest.approx(147015 * (1 + 0.76779 + 0.36808), rel=1e-4)
    assert found.compute == pytest.approx(10 * 1e7 * 256 * 2 * found.data)
    assert found.extrapolation == 1
    assert predict_size(PUBLISHED_SIZES["sizes-h1-stand"], 16.0, 1e7).extrapolation == 2
    assert predict_size(PUBLISHED_SIZES["sizes-h1-stand"], 1.0, 36_028_618.0 * 5).extrapolation == pytest.approx(5)


def test_the_command_predicts_at_every_utd_and_size_that_is_asked_for(tmp_path):
    content = _json("published", "h1-crawl-v0", "--utd", "1,2", "--model-size", "1e6,1e7", cwd=tmp_path)
    (law,) = content["sizes"]
    assert law["name"] == "sizes-h1-crawl"
    assert [(p["model_size"], p["utd"]) for p in law["predictions"]] == [(1e6, 1.0), (1e6, 2.0), (1e7, 1.0), (1e7, 2.0)]
    text = called("published", "h1-crawl-v0", "--utd", "1", "32", cwd=tmp_path).stdout
    assert "D(σ, N) = 2.495e5·(1 + (0.3698/σ)^0.8504 + (1.09e6/N)^1.004)" in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith(("6.04e5", "2.32e6", "9.10e6", "3.60e7"))] == [
        "6.04e5",
        "2.32e6",
        "9.10e6",
        "3.60e7",
    ]
    assert "*: σ or N outside what was run" in text


def test_a_task_of_both_kinds_shows_both_and_a_model_size_those_that_know_it(tmp_path):
    both = _json("published", "cheetah-run", "--utd", "2", cwd=tmp_path)
    assert [law["name"] for law in both["laws"]] == ["dmc", "dmc-committed"]
    assert [law["name"] for law in both["sizes"]] == ["sizes-dmc"]
    sized = _json("published", "cheetah-run", "--utd", "2", "--model-size", "5e6", cwd=tmp_path)
    assert sized["laws"] == []
    assert len(sized["sizes"][0]["predictions"]) == 1
    assert [law["name"] for law in _json("published", cwd=tmp_path)["sizes"]] == list(PUBLISHED_SIZES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["published", "Ant-v4", "--model-size", "1e6"], "no law with model size is published for 'Ant-v4'"),
        (["published", "h1-crawl-v0", "--model-size", "big"], "'big' is not a number of parameters"),
        (["published", "h1-crawl-v0", "--model-size", "0"], "'0' is not a number of parameters"),
        (["published", "h1-crawl-v0", "--model-size", "1e6", "4"], "4 stands alone and may be a UTD ratio or a model size"),
        (["plan", "published:sizes-dmc", "--data", "1e6"], "no B* and η*, so that it can't plan"),
    ],
)
def test_what_they_can_not_answer_is_refused_in_one_sentence(arguments, said, tmp_path):
    assert said in refused(*arguments, cwd=tmp_path)
