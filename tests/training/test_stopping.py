import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from tdscale.study import StopTarget
from tdscale.training.schedule import ReturnCurve, StopRule, crossed_share, has_crossed, longest_episode


def curve(returns: list[float], every: int = 100) -> ReturnCurve:
    return ReturnCurve(np.arange(1, len(returns) + 1) * every, np.array(returns, float))


def test_a_curve_has_crossed_where_its_isotonic_fit_reaches_the_threshold() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        returns = np.cumsum(generator.normal(0.1, 1, 12))
        threshold = generator.normal(1, 1)
        assert bool(has_crossed(returns, threshold)) == bool(isotonic_regression(returns).x[-1] >= threshold - 1e-12)


def test_seeds_that_all_crossed_have_crossed_in_every_resample() -> None:
    assert crossed_share([curve([0, 1, 5, 5]), curve([0, 2, 6, 6])], 4.0) == 1.0


def test_one_seed_of_three_that_stays_below_keeps_some_means_below() -> None:
    share = crossed_share([curve([0, 5, 5]), curve([0, 5, 5]), curve([0, 0, 0])], 4.9)
    assert share == pytest.approx((2 / 3) ** 3, abs=0.1)


@pytest.mark.parametrize("aggregate", ["iqm", "median"])
def test_of_another_aggregate_that_is_what_must_have_crossed(aggregate) -> None:
    # nearly every resample's mean is drawn above by one lucky seed of five, and most middle seeds stay below
    seeds = [curve([0, 3, 3])] * 4 + [curve([0, 99, 99])]
    assert crossed_share(seeds, 4.0) == pytest.approx(1 - 0.8**5, abs=0.08)
    # that seed must come twice (for the interquartile mean) or three times (for the median)
    share = {"iqm": 1 - 0.8**5 - 0.8**4, "median": 10 * 0.2**3 * 0.8**2 + 5 * 0.2**4 * 0.8 + 0.2**5}[aggregate]
    assert crossed_share(seeds, 4.0, aggregate) == pytest.approx(share, abs=0.05)


def test_a_diverged_seed_counts_with_its_last_return_held() -> None:
    healthy = [curve([0, 5, 5, 5, 5]), curve([0, 5, 5, 5, 5])]
    assert crossed_share([*healthy, curve([0, 5])], 4.0) == 1.0
    assert crossed_share([*healthy, curve([0, 0])], 4.9) < 0.95


def test_a_seed_without_any_episode_counts_as_the_worst_return_seen() -> None:
    assert crossed_share([curve([0, 5, 5]), ReturnCurve(np.zeros(0, np.int64), np.zeros(0))], 4.0) < 0.95


def test_without_episodes_nothing_has_crossed() -> None:
    assert crossed_share([], 0.0) == 0.0
    assert crossed_share([ReturnCurve(np.zeros(0, np.int64), np.zeros(0))], -1e9) == 0.0


def test_seeds_with_unequal_episodes_meet_on_one_grid() -> None:
    assert crossed_share([curve([0, 5, 5, 5], every=70), curve([0, 5, 5], every=100)], 4.0) == 1.0


def test_the_longest_episode_is_the_longest_gap() -> None:
    assert longest_episode([curve([1, 2], every=30), ReturnCurve(np.array([10, 90]), np.zeros(2))]) == 80


class _Run:
    """A seed whose return is 0 until a step, and 10 from there on; an episode takes 10 env steps."""

    state = "finished"
    going = True

    def __init__(self, crosses: int) -> None:
        self.env_step, self._crosses = 0, crosses

    def return_curve(self, env_step: int) -> ReturnCurve:
        steps = np.arange(10, env_step + 1, 10)
        return ReturnCurve(steps, np.where(steps >= self._crosses, 10.0, 0.0))


def _end(rule: StopRule, *crosses: int) -> int:
    runs = [_Run(step) for step in crosses]
    step = 0
    while True:
        step = rule.next_stop
        for run in runs:
            run.env_step = step
        if rule.is_done_at(step, runs):
            return step


TARGET = StopTarget(return_threshold=5.0, margin=0.1)


def test_a_cell_is_cut_where_it_has_not_crossed_by_then() -> None:
    rule = StopRule(1000, TARGET, cut=333)
    assert _end(rule, 600, 600) == 333
    assert rule.stopped_at is None


def test_a_cell_that_crosses_just_before_its_cut_has_its_margin() -> None:
    rule = StopRule(1000, TARGET, cut=320)
    assert _end(rule, 300) == 330
    assert rule.stopped_at == 5.0


def test_a_cell_goes_at_least_as_far_as_it_was_before() -> None:
    assert _end(StopRule(1000, TARGET, cut=200, least=400), 900) == 400
    assert _end(StopRule(1000, TARGET, cut=900, least=700), 100) == 700
    assert _end(StopRule(1000, TARGET, cut=2000), 2000) == 1000
