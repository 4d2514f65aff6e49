"""Held-out predictions on a study that follows the law."""

from dataclasses import replace

import numpy as np
import pytest

from known_truth import synthetic_study
from tdscale.analysis.fit import fit_laws, measure_data
from tdscale.analysis.options import FitOptions
from tdscale.validation import validate

OPTIONS = FitOptions(study="known", tasks=("one", "two"), thresholds=(300.0, 500.0, 600.0, 700.0, 800.0), data_cost=1e9, n_draws=100)


@pytest.fixture(scope="module")
def study():
    cells = synthetic_study(noise=0.05)
    laws = fit_laws(cells, OPTIONS)
    return laws, measure_data(cells, OPTIONS, laws.batch_size, laws.learning_rate)[1]


def test_where_the_law_holds_it_predicts_held_out_sigma_better_than_constants(study):
    laws, points = study
    result = validate(points, OPTIONS, laws)
    assert {h.side for h in result.held_out} == {"smallest", "largest"}
    for held_out in result.held_out:
        assert held_out.factor == pytest.approx(4)
        assert held_out.errors["law"] < held_out.errors["nearest σ"] < held_out.errors["constant"]


def test_held_out_sigma_are_not_seen_by_the_fit(study):
    laws, points = study
    spoiled = replace(points, data=np.where(points.utd[None, None, :, None] < 1, points.data * 50, points.data))
    clean, dirty = (next(h for h in validate(p, OPTIONS, laws).held_out if h.side == "smallest") for p in (points, spoiled))
    assert dirty.bias == pytest.approx(clean.bias - np.log(50), abs=1e-6)


def test_what_can_not_be_checked_is_said(study):
    laws, points = study
    few = points.subset(np.arange(len(points.utd)) < 3)
    result = validate(few, OPTIONS, replace(laws, budget=None))
    assert result.held_out == ()
    assert len(result.skipped) == 3


def test_a_constant_baseline_that_needs_twice_the_data_is_seen_so(study):
    laws, points = study
    result = validate(points, OPTIONS, laws, replace(points, data=2 * points.data))
    np.testing.assert_allclose([ratio for _, ratio in result.baseline], 2)
