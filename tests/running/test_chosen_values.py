"""B and η of stage 2: by the fitted laws, but never far from what was swept."""

import numpy as np
import pytest

from tdscale.analysis.laws import PowerLaw
from tdscale.errors import RunFailure
from tdscale.running.choosing import _value

GRID = (64, 16, 32)


def law(exponent, spread=0.0):
    one = np.ones((1, 1))
    return PowerLaw(
        quantity="batch_size",
        tasks=("task",),
        exponent=exponent,
        exponent_draws=exponent + spread * np.linspace(-1, 1, 41),
        coefficients=np.array([32.0]),
        coefficient_draws=np.full((41, 1), 32.0),
        utd=np.ones(1),
        points=32 * one,
        points_low=32 * one,
        points_high=32 * one,
    )


@pytest.mark.parametrize(("utd", "value"), [(1.0, 32.0), (0.25, 64.0), (1 / 16, 128.0), (1 / 256, 128.0), (256.0, 8.0)])
def test_a_law_is_followed_to_one_step_of_the_grid_beyond_its_ends(utd, value):
    assert _value(law(-0.5), GRID, utd, "task", []) == pytest.approx(value)


def test_an_uncertain_slope_is_followed_only_as_far_as_the_sweep_demands_it():
    assert _value(law(-0.5, spread=0.3), GRID, 4.0, "task", []) == pytest.approx(32 * 4**-0.26, rel=0.02)
    assert _value(law(-0.5, spread=1.0), GRID, 4.0, "task", []) == pytest.approx(32)


def test_without_a_law_a_grid_of_one_value_decides_and_a_longer_one_does_not():
    assert _value(None, (32,), 4.0, "task", []) == 32
    with pytest.raises(RunFailure, match="can't be chosen for task"):
        _value(None, GRID, 4.0, "task", [])
