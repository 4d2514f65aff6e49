"""Evaluation: the mean return of a few episodes without exploration, all of a batch's side by side."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tdscale.study import TrainingSettings
from tdscale.tasks import ParallelTask, make_parallel_task
from tdscale.training.experience import EnvironmentFailure, guarded
from tdscale.training.learner import Learner
from tdscale.training.run import TrainingRun


class Evaluation:
    """Environments of their own, opened when they are first needed. What they do does not disturb training."""

    def __init__(self, settings: TrainingSettings, mapped: Callable[..., Iterable[Any]]) -> None:
        """`mapped` is `map`, or a thread pool's."""
        self._episodes, self._mapped = settings.evaluation_episodes, mapped
        self._tasks: dict[str, ParallelTask] = {}

    def returns(self, runs: list[TrainingRun], learner: Learner) -> dict[TrainingRun, float]:
        """Mean raw return of each run that is going. The episodes' seeds depend on the run and its env step alone.

        Args:
            runs: one for each of the learner's slots.
            learner: acts.
        """
        places = {slot: self._task(run) for slot, run in enumerate(runs) if run.going}
        size = next(iter(places.values())).observation_size
        observations = np.zeros((len(runs), self._episodes, size), np.float32)
        totals = np.zeros((len(runs), self._episodes))
        over = np.ones((len(runs), self._episodes), bool)

        def begin(slot: int) -> None:
            generator = np.random.default_rng([int(runs[slot].spec.run_id, 16), runs[slot].env_step])
            seeds = generator.integers(0, 1 << 31, self._episodes).astype(np.uint32)
            observations[slot] = guarded(places[slot].reset, np.arange(self._episodes), seeds)
            over[slot] = False

        def step(slot: int) -> None:
            after = guarded(places[slot].step, actions[slot])
            totals[slot] += np.where(over[slot], 0.0, after.rewards)
            over[slot] |= after.terminated | after.truncated
            observations[slot] = after.observations

        def alone(call: Callable[[int], None], slot: int) -> None:
            try:
                call(slot)
            except EnvironmentFailure as failure:
                runs[slot].fail(failure)
                over[slot] = True

        self._all(lambda slot: alone(begin, slot), places)
        while not over.all():
            actions = np.asarray(learner.act(observations, None))
            self._all(lambda slot: alone(step, slot), [slot for slot in places if not over[slot].all()])
        return {runs[slot]: float(totals[slot].mean()) for slot in places if runs[slot].going}

    def _all(self, call: Callable[[int], None], slots: Iterable[int]) -> None:
        for _ in self._mapped(call, slots):
            pass

    def _task(self, run: TrainingRun) -> ParallelTask:
        if run.spec.run_id not in self._tasks:
            self._tasks[run.spec.run_id] = make_parallel_task(run.spec.suite, run.spec.task, self._episodes)
        return self._tasks[run.spec.run_id]

    def forget(self, run: TrainingRun) -> None:
        """Close the environments of a run that is over."""
        task = self._tasks.pop(run.spec.run_id, None)
        if task is not None:
            task.close()

    def close(self) -> None:
        """Close the environments."""
        for task in self._tasks.values():
            task.close()
