"""How fast this machine trains: a few seconds of a study's own shapes, in worker processes as a run would use, in a folder of its own."""

import queue
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tdscale.running.dispatch import Engine
from tdscale.running.pool import Pool
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunStatus
from tdscale.study import CellJob, Checkpoints, RunSpec

_ENOUGH = 1.5  # seconds of training that show a shape's speed
_UPDATES = 20.0  # of the first, short try
_PATIENCE = 4.0  # times the time meant, where nothing or only a first try has been measured
_EPISODE = 200  # env steps, of an evaluation that there was no time for


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured of a shape.

    Attributes:
        spec: a run of it.
        update_seconds: of a critic update with what comes of it for the actor.
        step_seconds: of all else that an env step takes, evaluations left out.
        evaluation_seconds: of one evaluation; 0 where the study has none.
        start_seconds: of a worker's first run of the shape before it trains: imports and compilation.
        critic_update_flops, actor_update_flops: per transition.
    """

    spec: RunSpec
    update_seconds: float
    step_seconds: float
    evaluation_seconds: float
    start_seconds: float
    critic_update_flops: int
    actor_update_flops: int


def probe(specs: Sequence[RunSpec], *, engine: Engine, files: Sequence[Path] = (), seconds: float = 20.0) -> list[Speed]:
    """Train a little of each spec, side by side on as many workers as a run would have, for so long as there is time.

    Args:
        specs: the shapes, the most informative ones first.
        engine: of this machine's cores.
        files: of the user's algorithm.
        seconds: no try is begun after so many, and none is waited for after twice as many, a first and a second one after four times.

    Returns:
        Those that were measured, in order.
    """
    found: dict[int, Speed] = {}
    with TemporaryDirectory(prefix="tdscale-probe-") as folder:
        directory = Path(folder)
        for file in files:
            shutil.copy(file, directory)
        with closing(engine.pool(directory, custom=False, quick=False)) as pool:
            begun = time.monotonic()
            left = iter(enumerate(_Shape(spec, directory) for spec in specs))
            at_work: dict[int, tuple[int, _Shape]] = {}
            pool.want(len(specs))
            while True:
                # a first compilation may take longer on a machine that has more to do
                rough = not found or any(shape.tries == 1 for _, shape in at_work.values())
                patience = begun + (_PATIENCE if rough else 2.0) * seconds - time.monotonic()
                if patience <= 0:
                    break
                try:
                    slot, answer = pool.answers.get(timeout=patience)
                except queue.Empty:
                    break
                if answer is None:
                    pool.ending(slot)
                    at_work.pop(slot, None)
                elif answer["event"] == "error":
                    at_work.pop(slot, None)
                elif answer["event"] == "done":
                    place, shape = at_work[slot]
                    found[place] = shape.measured()
                if answer is not None and answer["event"] not in ("progress", "note"):
                    _go_on(pool, slot, at_work, left, late=time.monotonic() > begun + seconds)
                if not at_work:
                    break
    return [found[place] for place in sorted(found)]


def _go_on(pool: Pool, slot: int, at_work: "dict[int, tuple[int, _Shape]]", left: "Iterator[tuple[int, _Shape]]", *, late: bool) -> None:
    # a first try shows little but its first, slow calls: it is never the only one
    if slot in at_work and ((late and at_work[slot][1].tries > 1) or not at_work[slot][1].prepare()):
        del at_work[slot]
    if slot not in at_work:
        following = None if late else next(left, None)
        if following is None:
            return
        at_work[slot] = following
    pool.give(slot, at_work[slot][1].request())


class _Shape:
    """A shape's tries: a short one that compiles, a longer one, and one that ends with an evaluation."""

    def __init__(self, spec: RunSpec, directory: Path) -> None:
        self._asked, self._store = spec, RunStore(directory)
        self._unit = int(spec.settings.get("environments", 1))
        # the warm-up is cut to what a first minibatch needs: rows are drawn with replacement
        self._warm_up = 8 * self._unit * int(spec.settings.get("n_step", 1))
        self._learning = self._whole(_UPDATES / spec.utd)
        self._try, self._evaluates = 0, False
        self._statuses: list[RunStatus] = []
        self._begun = time.monotonic()
        self._start_seconds = 0.0

    @property
    def tries(self) -> int:
        """That were made."""
        return len(self._statuses)

    def request(self) -> dict[str, Any]:
        """The request for the next try, as a worker takes it."""
        self._begun = time.monotonic()
        job = CellJob(specs=(self._spec(),), env_steps=self._warm_up + self._learning, target=None)
        checkpoints = Checkpoints(minutes=0).model_dump(include={"minutes", "keep"})
        return {"jobs": [job.to_message()], "together": False, "directory": str(self._store.directory), "checkpoints": checkpoints}

    def prepare(self) -> bool:
        """Whether there is another try to make."""
        last = self._statuses[-1]
        if last.state != "finished" or self._evaluates:
            return False
        trained = last.wall_seconds or 0.0
        if trained < _ENOUGH / 2:
            self._learning = self._whole(self._learning * min(max(_ENOUGH / max(trained, 1e-6), 2.0), 100.0))
        elif self._asked.recording.get("evaluation_interval"):
            self._evaluates = True
        else:
            return False
        self._try += 1
        return True

    def measured(self) -> Speed:
        """After a try that is done."""
        (status,) = [status for run_id, status in self._store.statuses().items() if run_id == self._spec().run_id]
        if not self._statuses:
            self._start_seconds = max(time.monotonic() - self._begun - (status.wall_seconds or 0.0), 0.0)
        self._statuses.append(status)
        plain = self._statuses[-2] if self._evaluates else status
        steps = max(plain.last_step, 1)
        step_seconds = max((plain.wall_seconds or 0.0) - (plain.update_seconds or 0.0), 0.0) / steps
        recording = self._asked.recording
        evaluation = step_seconds * _EPISODE * recording.get("evaluation_episodes", 1) if recording.get("evaluation_interval") else 0.0
        if self._evaluates:
            evaluation = max((status.wall_seconds or 0.0) - (plain.wall_seconds or 0.0), 0.0)
        return Speed(
            spec=self._asked,
            update_seconds=(plain.update_seconds or 0.0) / max(plain.critic_updates, 1),
            step_seconds=step_seconds,
            evaluation_seconds=evaluation,
            start_seconds=self._start_seconds,
            critic_update_flops=plain.critic_update_flops or 0,
            actor_update_flops=plain.actor_update_flops or 0,
        )

    def _spec(self) -> RunSpec:
        end = self._warm_up + self._learning
        recording = {**self._asked.recording, "evaluation_interval": end if self._evaluates else 0}
        if recording.get("diagnostics_interval"):
            # their environment is stepped; to compile a diagnosis would take longer than all else
            recording["diagnostics_interval"] = 1 << 30
        return replace(self._asked, seed=self._try, settings={**self._asked.settings, "warm_up": self._warm_up}, recording=recording)

    def _whole(self, env_steps: float) -> int:
        return ceil(max(env_steps, 8) / self._unit) * self._unit
