"""n-step rows against a plain computation over whole episodes."""

import numpy as np
import pytest

pytest.importorskip("jax", reason='needs pip install "tdscale[train]"')
from tdscale.training.experience import NStepWindow

GAMMA = 0.9


def plain(episode: list[tuple[float, float, float, float, bool]], n_step: int) -> set[tuple[float, ...]]:
    """The rows of an episode, whose steps are (observation, action, reward, observation after, terminated)."""
    found = set()
    for start, (observation, action, *_) in enumerate(episode):
        window = episode[start : start + n_step]
        total = sum(GAMMA**k * step[2] for k, step in enumerate(window))
        factor = 0.0 if window[-1][4] else GAMMA ** (len(window) - 1)
        found.add(tuple(np.float32([observation, action, total, factor, window[-1][3]]).round(4).tolist()))
    return found


@pytest.mark.parametrize("n_step", [1, 2, 3, 5])
def test_every_transition_gives_one_row_with_its_n_step_return(n_step: int) -> None:
    rng = np.random.default_rng(n_step)
    environments, lengths = 3, (7, 11, 4)
    window = NStepWindow(environments, 5, 1, n_step, GAMMA)
    rows, episodes = [], [[[]] for _ in range(environments)]
    before = rng.normal(size=(environments, 1)).astype(np.float32)
    for step in range(1, 45):
        actions, after = (rng.normal(size=(environments, 1)).astype(np.float32) for _ in range(2))
        rewards = rng.normal(size=environments)
        ended = np.array([step % length == 0 for length in lengths])
        terminated = ended & np.array([True, False, step % 8 == 0])
        rows.append(window.push(before, actions, rewards, terminated, ended, after))
        for index in range(environments):
            episodes[index][-1].append((before[index, 0], actions[index, 0], rewards[index], after[index, 0], bool(terminated[index])))
            if ended[index]:
                episodes[index].append([])
        # an episode that follows begins elsewhere
        before = np.where(ended[:, None], rng.normal(size=(environments, 1)), after).astype(np.float32)
    got = [tuple(row) for row in np.concatenate(rows).round(4).tolist()]
    wanted = set().union(*(plain(episode, n_step) for one in episodes for episode in one[:-1]))
    assert len(got) == len(set(got))
    assert wanted <= {tuple(np.float32(row).tolist()) for row in got}
    # of the episodes in progress, all but the last n − 1
    assert len(got) == len(wanted) + sum(max(len(one[-1]) - n_step + 1, 0) for one in episodes)


def test_a_window_goes_on_where_its_copy_was_left() -> None:
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(2, 1)), rng.normal(size=(2, 1)), rng.normal(size=2)) for _ in range(9)]
    no = np.zeros(2, bool)
    first, second = NStepWindow(2, 5, 1, 3, GAMMA), NStepWindow(2, 5, 1, 3, GAMMA)
    for before, actions, rewards in draws[:5]:
        first.push(before, actions, rewards, no, no, before + 1)
    second.set_state({name: values.copy() for name, values in first.state().items()})
    for before, actions, rewards in draws[5:]:
        np.testing.assert_array_equal(*(one.push(before, actions, rewards, no, no, before + 1) for one in (first, second)))
