"""What a cell would tell, against the whole joint Gaussian of all parameters, inverted by NumPy."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from small_sweeps import CANDIDATES, THRESHOLDS, archive_of

from tdscale.analysis.response_surface import TELLS
from tdscale.design.belief import Belief, see
from tdscale.design.rounds import Rules, _Gain, next_round


@pytest.fixture(scope="module")
def belief() -> Belief:
    archive = archive_of()
    for request in next_round([], THRESHOLDS, CANDIDATES, Rules()).cells:
        archive.run(request)
    return Belief(see(archive.cells, CANDIDATES, THRESHOLDS), CANDIDATES)


class Joint:
    """Precision of shared parameters and of every place's own, in one matrix."""

    def __init__(self, belief: Belief) -> None:
        e, model = belief.equations, belief.model
        places, cells, self.n_shared = e.by_shared.shape
        self.n_local = e.by_local.shape[-1]
        prior = [model.prior_spread.ravel() ** -2.0] + [np.concatenate([[30.0], belief.state.deviation]) ** -2.0] * places
        self.precision = np.diag(np.concatenate(prior))
        for place in range(places):
            for cell in range(cells):
                row = self.row(place, e.by_shared[place, cell], e.by_local[place, cell])
                self.precision += e.weight[place, cell] * np.outer(row, row)

    def row(self, place: int, by_shared: np.ndarray, by_local: np.ndarray) -> np.ndarray:
        row = np.zeros(len(self.precision) if hasattr(self, "precision") else 0)
        row[: self.n_shared] = by_shared
        start = self.n_shared + place * self.n_local
        row[start : start + self.n_local] = by_local
        return row

    def regret(self, belief: Belief) -> float:
        targets, weights = belief.targets
        covariance = np.linalg.inv(self.precision)[: self.n_shared, : self.n_shared]
        return float(sum(w * t @ covariance @ t for t, w in zip(targets, weights, strict=True)))

    def observe(self, belief: Belief, place: int, pair: int, variance: float) -> None:
        row = self.row(place, belief.by_shared[place, pair], belief.by_local[place, pair])
        self.precision = self.precision + np.outer(row, row) / variance


def test_gains_are_those_of_the_joint_gaussian_also_after_cells_were_taken(belief):
    joint, gain = Joint(belief), _Gain(belief)
    variance = np.full(belief.log_data.shape, 0.03)
    assert gain.regret() == pytest.approx(joint.regret(belief), rel=1e-6)
    for place, pair, size in [(0, 3, 0.03), (0, 3, 0.02), (4, 17, 0.3), (2, 8, 0.01), (0, 11, 0.03)]:
        today = joint.regret(belief)
        for other, cell in [(0, 3), (1, 5), (4, 2), (5, 19)]:
            tried = Joint.__new__(Joint)
            tried.__dict__.update(joint.__dict__)
            tried.observe(belief, other, cell, 0.03)
            assert gain.of(variance)[other, cell] == pytest.approx(today - tried.regret(belief), rel=1e-5)
        joint.observe(belief, place, pair, size)
        gain.take(place, pair, size)
        assert gain.regret() == pytest.approx(joint.regret(belief), rel=1e-6)


def test_the_information_of_student_noise_is_that_by_quadrature():
    """Mean square of the score of t with 5 degrees of freedom, by SciPy's density."""
    squares = quad(lambda x: (6 * x / (5 + x**2)) ** 2 * stats.t(5).pdf(x), -np.inf, np.inf)[0]
    assert pytest.approx(squares, rel=1e-6) == TELLS


def test_what_the_surface_took_of_the_cells_is_the_trace_of_the_smoother(belief):
    """Effective parameters: how much the fitted values follow the data, cell by cell, by the whole joint Gaussian."""
    e, sweep = belief.equations, belief.model.sweep
    joint = Joint(belief)
    covariance = np.linalg.inv(joint.precision)
    taken = 0.0
    for place, cell in zip(*np.nonzero(sweep.present & ~sweep.censored), strict=True):
        row = joint.row(place, e.by_shared[place, cell], e.by_local[place, cell])
        taken += e.weight[place, cell] * float(row @ covariance @ row)
    exact = int((sweep.present & ~sweep.censored).sum())
    assert belief.noise_degrees == pytest.approx(max(exact - taken, 3.0), rel=1e-6)
    assert taken > belief.model.n_places


def test_every_cell_that_is_taken_lowers_the_regret(belief):
    gain, before = _Gain(belief), np.inf
    for place, pair in np.ndindex(*belief.log_data.shape):
        if pair % 5 == 0:
            assert gain.regret() < before
            before = gain.regret()
            gain.take(place, pair, 0.05)
