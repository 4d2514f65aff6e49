"""A worker process: takes cells as lines of JSON on standard input, trains them, stores their runs, answers in lines of JSON.

It ends when its input ends, so that workers never outlive the process that started them, however that one died.
"""

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

from tdscale.errors import UserError
from tdscale.execution.jobs import CellJob


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
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    while True:
        _serve(requests.get(), answers)


def _read(requests: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)


def _stop_target(job: CellJob) -> Any:
    from tdscale.training import StopTarget

    return None if job.target is None else StopTarget(return_threshold=job.target.return_threshold, margin=job.target.margin)


def _serve(request: dict[str, Any], answers: TextIO) -> None:
    def say(event: str, **values: Any) -> None:
        answers.write(json.dumps({"event": event, **values}) + "\n")
        answers.flush()

    try:
        from tdscale.runs.store import RunStore
        from tdscale.training import CellGoal, Progress, train_cells

        jobs = [CellJob.from_message(message) for message in request["jobs"]]
        goals = [CellGoal(specs=job.specs, env_steps=job.env_steps, target=_stop_target(job)) for job in jobs]
        directory = Path(request["directory"])
        store = RunStore(directory)

        def report(progress: Progress) -> None:
            say("progress", done=progress.cells)

        for goal, results in train_cells(goals, together=request["together"], report=report, folder=directory):
            for result in results:
                store.write(result)
            runs = [{"state": r.status.state, "reason": r.status.reason, "last_step": r.status.last_step} for r in results]
            say("done", job=goals.index(goal), runs=runs)
    except UserError as error:
        say("error", message=str(error))
    except Exception as error:
        import traceback

        traceback.print_exc()  # to the worker's log; the user gets the sentence
        say("error", message=f"{type(error).__name__}: {error}".splitlines()[0])


if __name__ == "__main__":
    main()
