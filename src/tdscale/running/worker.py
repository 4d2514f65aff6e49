"""A worker process: takes cells as lines of JSON on standard input, trains them, stores their runs, answers in lines of JSON.

It ends when its input ends, so that workers never outlive the process that started them, however that one died. Then, and when it
is asked to end (SIGTERM, SIGINT), it leaves checkpoints of its runs first.
"""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tdscale.errors import UserError
from tdscale.study import CellJob

if TYPE_CHECKING:
    from tdscale.runs.store import RunStore
    from tdscale.runs.types import RunResult

_SECONDS_TO_SAVE = 8.0  # what the process that started it waits is a little longer


def main() -> None:
    """Serve until standard input ends. The first argument is the CPU to stay on, or -1."""
    cpu = int(sys.argv[1])
    if cpu >= 0 and hasattr(os, "sched_setaffinity"):
        # before JAX is imported: it sizes its thread pools by what it finds
        os.sched_setaffinity(0, {cpu})
    # what libraries print must not mix with the answers
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    state = _State()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, state.observe)
    threading.Thread(target=_read, args=(requests, state), daemon=True).start()
    while True:
        request = requests.get()
        state.idle.clear()
        _serve(request, answers, state.stop)
        state.idle.set()
        state.end_if_asked()


class _State:
    """Whether a worker is at work, and whether it was asked to end."""

    def __init__(self) -> None:
        self.stop, self.idle = threading.Event(), threading.Event()
        self.idle.set()
        self._asked = 0

    def observe(self, number: int, frame: Any) -> None:
        """Handle a signal: end after the checkpoint, or at once where there is nothing to save, or at a second one."""
        again, self._asked = bool(self._asked), number
        self.stop.set()
        if again or self.idle.is_set():
            self.end_if_asked()

    def end_if_asked(self) -> None:
        """As the signal does of itself."""
        if self._asked:
            signal.signal(self._asked, signal.SIG_DFL)
            os.kill(os.getpid(), self._asked)


def _read(requests: "queue.Queue[dict[str, Any]]", state: _State) -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    state.stop.set()
    state.idle.wait(_SECONDS_TO_SAVE)
    os._exit(0)


def _trained(
    jobs: Sequence[CellJob], request: Mapping[str, Any], store: "RunStore", say: Callable[..., None], stop: threading.Event
) -> "Iterator[tuple[CellJob, list[RunResult], Callable[[], None]]]":
    """Each job as it is done, with its results and what is to be called once they are stored."""
    from tdscale.training import Progress, Saving, train_cells

    def note(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)
        say("note", message=sentence)

    if request.get("trainer") is not None:
        from tdscale.running.trainers.cell import train_custom_cell
        from tdscale.running.trainers.trainer import CustomTrainer

        trainer, keep = CustomTrainer.from_message(request["trainer"]), request["checkpoints"]["keep"]
        for job in jobs:
            work = store.checkpoint_directory
            results = train_custom_cell(
                job, trainer, store.directory, work, report=lambda done: say("progress", done=[done]), note=note, stop=stop
            )
            # a failed run may resume from its checkpoint when it is tried again
            done = [] if keep else [result.spec.run_id for result in results if result.status.state != "failed"]
            yield job, results, partial(store.discard_checkpoints, done)
        return

    def report(progress: Progress) -> None:
        say("progress", done=progress.cells)

    saving = Saving(directory=store.checkpoint_directory, stop=stop, tell=note, **request["checkpoints"])
    for job, results in train_cells(jobs, together=request["together"], report=report, folder=store.directory, saving=saving):
        yield job, results, partial(saving.stored, job.specs)


def _serve(request: dict[str, Any], answers: TextIO, stop: threading.Event) -> None:
    def say(event: str, **values: Any) -> None:
        try:
            answers.write(json.dumps({"event": event, **values}) + "\n")
            answers.flush()
        except OSError:  # the parent died: what was trained is to be saved
            stop.set()

    from tdscale.runs.store import RunStore
    from tdscale.training import Stopped

    try:
        jobs = [CellJob.from_message(message) for message in request["jobs"]]
        store = RunStore(Path(request["directory"]))
        for job, results, stored in _trained(jobs, request, store, say, stop):
            for result in results:
                store.write(result)
            stored()
            runs = [{"state": r.status.state, "reason": r.status.reason, "last_step": r.status.last_step} for r in results]
            say("done", job=jobs.index(job), runs=runs)
    except Stopped:
        pass  # what is done is stored, what is not is in its checkpoints
    except UserError as error:
        say("error", message=str(error))
    except Exception as error:
        import traceback

        traceback.print_exc()  # to the worker's log; the user gets the sentence
        say("error", message=f"{type(error).__name__}: {error}".splitlines()[0])


if __name__ == "__main__":
    main()
