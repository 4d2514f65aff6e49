from fractions import Fraction

import pytest

from tdscale.training.schedule import UpdateSchedule, exact_ratio


@pytest.mark.parametrize("utd", [0.1, 0.25, 0.3, 1 / 3, 0.7, 1.0, 1.1, 3.0, 16.0, 1 / 1024])
def test_critic_updates_due_after_t_steps_are_the_floor_of_utd_times_t(utd: float) -> None:
    schedule, meant = UpdateSchedule(utd, "per-env-step"), Fraction(utd).limit_denominator(1024)
    done = 0
    for step in range(1, 3001):
        done += sum(flags.critic for flags in schedule.due_between(step - 1, step))
        assert done == schedule.critic_updates_due(step) == meant * step // 1


def test_a_decimal_ratio_is_not_one_update_short() -> None:
    assert int(0.29 * 100) == 28  # what plain floating point makes of it
    assert UpdateSchedule(0.29, "per-env-step").critic_updates_due(100) == 29


def test_an_irregular_ratio_is_taken_as_it_is() -> None:
    assert exact_ratio(0.123456789012345) == Fraction(0.123456789012345)


@pytest.mark.parametrize("utd", [0.1, 0.25, 1.0, 2.5, 16.0])
def test_per_env_step_updates_the_actor_once_at_every_env_step(utd: float) -> None:
    schedule = UpdateSchedule(utd, "per-env-step")
    for step in range(1, 200):
        due = schedule.due_between(step - 1, step)
        assert sum(flags.actor for flags in due) == 1
        assert due[-1].actor  # after the step's critic updates


@pytest.mark.parametrize("utd", [0.1, 1.0, 16.0])
def test_per_critic_update_updates_the_actor_with_every_critic_update(utd: float) -> None:
    schedule = UpdateSchedule(utd, "per-critic-update")
    assert all(flags.critic and flags.actor for step in range(1, 200) for flags in schedule.due_between(step - 1, step))


def test_with_pacing_the_actor_is_updated_on_every_so_manieth_critic_update() -> None:
    schedule = UpdateSchedule(1 / 512, "per-critic-update", 2)
    due = [flags for step in range(3) for flags in schedule.due_between(4096 * step, 4096 * (step + 1))]
    assert [flags.actor for flags in due] == [False, True] * 12
    assert all(flags.critic for flags in due)
