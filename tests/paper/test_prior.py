"""What to begin with on a task that nobody ran: published tasks, left out, lie where the others say."""

import math
import statistics

import pytest
from scipy import stats

from tdscale.errors import UserError
from tdscale.paper import PUBLISHED, SETS, first_settings, new_task

# METHOD.md, section 6: η and B at σ = 1, D_min; D by the printed law at σ = 1, β = 2.0, α = 0.69
HALF_CHEETAH = {"batch_size": 415.4, "learning_rate": 1.86e-3, "data": 7.8e4 * (1 + 0.5**-0.69)}


@pytest.mark.parametrize("quantity", HALF_CHEETAH)
def test_the_papers_values_for_half_cheetah_lie_in_the_ranges_that_the_other_tasks_give(quantity):
    others = [task for task in PUBLISHED["gym"].tasks if task != "HalfCheetah-v4"]
    found = new_task(PUBLISHED["gym"], quantity, 1.0, others)
    assert found.low < HALF_CHEETAH[quantity] < found.high
    assert found.high / found.low < 400


def test_the_ranges_of_tdscale_start_hold_the_papers_b_and_eta_for_half_cheetah():
    found = first_settings("sac", utd=1.0, without="HalfCheetah-v4")
    assert "HalfCheetah-v4" not in found.tasks
    assert found.batch_size_range.low < 415.4 < found.batch_size_range.high
    assert found.learning_rate_range.low < 1.86e-3 < found.learning_rate_range.high


def test_the_range_is_the_predictive_one_of_a_normal_population():
    """BRO's own B at σ = √8, the middle, by Table 2: t with 6 degrees of freedom, √(s²(1 + 1/7) + 0.37²)."""
    logs = [math.log(value) - 0.47 * math.log(8**0.5) for value in (538.2, 564.9, 128.0, 608.2, 451.8, 526.4, 313.3)]
    half = stats.t.ppf(0.9, 6) * math.sqrt(statistics.variance(logs) * (1 + 1 / 7) + 0.37**2)
    found = new_task(PUBLISHED["dmc"], "batch_size", 8**0.5, PUBLISHED["dmc"].tasks)
    assert found.value == pytest.approx(math.exp(statistics.mean(logs)))
    assert found.high / found.value == pytest.approx(math.exp(half))
    assert found.value / found.low == pytest.approx(math.exp(half))


@pytest.mark.parametrize(
    ("name", "quantity"), [(name, quantity) for name in ("gym", "dmc") for quantity in ("batch_size", "learning_rate")]
)
def test_most_published_tasks_lie_in_the_ranges_that_the_others_give(name, quantity):
    published = PUBLISHED[name]
    values = getattr(published, quantity)
    held = []
    for task in published.tasks:
        found = new_task(published, quantity, 1.0, [other for other in published.tasks if other != task])
        held.append(found.low <= values[task] <= found.high)
    assert sum(held) >= 0.8 * len(held)


@pytest.mark.parametrize("algorithm", SETS)
def test_the_utd_to_begin_with_is_a_power_of_two_that_was_swept_and_is_cheap(algorithm):
    found = first_settings(algorithm)
    published = PUBLISHED[found.laws]
    assert math.log2(found.utd).is_integer()
    assert published.sweep_utd[0] <= found.utd <= published.sweep_utd[1]
    assert found.utd_range.low <= found.utd_range.value <= found.utd_range.high
    assert found.batch_size % 16 == 0
    assert [one.task for one in found.seen] == list(published.tasks)
    # C = 10·N·B·σ·D
    expected = 10 * published.model_size * found.batch_size_range.value * found.utd * found.data.value
    assert found.compute.value == pytest.approx(expected)


@pytest.mark.parametrize("algorithm", ["pql", "td3"])
def test_an_algorithm_without_published_laws_is_refused_in_one_sentence(algorithm):
    with pytest.raises(UserError, match=f"no laws of '{algorithm}' are published.*there is sac, bro, bro-minimal"):
        first_settings(algorithm)
