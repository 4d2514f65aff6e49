"""What a run that may be cut tells, against simulated censored samples."""

import numpy as np
import pytest
from scipy.special import log_ndtr

from tdscale.design.rounds import censored_information


@pytest.mark.parametrize("cut", [-2.0, -0.5, 0.0, 1.0, 3.0])
def test_what_a_cut_run_tells_is_the_variance_of_its_score(cut):
    """The Fisher information is the variance of the slope of the log likelihood, by 400,000 draws and a numerical slope."""
    draws = np.random.default_rng(0).standard_normal(400_000)
    seen = np.minimum(draws, cut)

    def log_likelihood(mean):
        return np.where(draws < cut, -((seen - mean) ** 2) / 2, log_ndtr(mean - cut))

    score = (log_likelihood(1e-4) - log_likelihood(-1e-4)) / 2e-4
    assert float(censored_information(np.array(cut))) == pytest.approx(score.var(), rel=0.02)


def test_a_run_that_is_surely_cut_tells_nothing_and_one_that_never_is_all():
    told = censored_information(np.array([-30.0, -8.0, 8.0, 30.0]))
    assert told[:2] == pytest.approx(1e-6)
    assert told[2:] == pytest.approx(1.0)
    assert (np.diff(censored_information(np.linspace(-6, 6, 100))) >= 0).all()
