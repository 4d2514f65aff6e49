"""What is done, running, failed and left of a study."""

import json
from typing import Any

from filelock import FileLock, Timeout

from tdscale.cli.progress import PROGRESS_FILE
from tdscale.folder import StudyFiles
from tdscale.stages import wanted_specs
from tdscale.study import STAGES


def study_status(files: StudyFiles) -> dict[str, Any]:
    """Counts of runs and cells by stage, the cells running now with the time left, and failures with reasons.

    Keys: study, running (bool), stages: [{stage, runs, finished, diverged, failed, left}], now (progress of the running
    process, or null), failures: [{run_id, what, reason}], env_steps, problems.
    """
    problems: list[Any] = []
    statuses = files.store.statuses(problems=problems)
    specs = files.store.specs(problems=problems)
    wanted = wanted_specs(files) if files.study.sweep is not None else {}
    stages = []
    for stage, of_stage in wanted.items():
        stages.append({"stage": stage, **_counts([spec.run_id for spec in of_stage], statuses)})
    if not wanted:
        for stage in [stage for stage in STAGES if any(spec.stage == stage for spec in specs.values())]:
            stages.append({"stage": stage, **_counts([run_id for run_id, spec in specs.items() if spec.stage == stage], statuses)})
    elif files.study.scaling is not None and "scaling" not in wanted:
        count = len(files.study.tasks) * len(files.study.scaling.utd) * files.study.scaling.seeds
        stages.append({"stage": "scaling", "runs": count, "finished": 0, "diverged": 0, "failed": 0, "left": count})
    return {
        "study": files.study.name,
        "running": _is_running(files),
        "stages": stages,
        "now": _now(files),
        "failures": [
            {"run_id": run_id, "what": specs[run_id].describe(), "reason": status.reason}
            for run_id, status in statuses.items()
            if status.state == "failed" and run_id in specs
        ],
        "env_steps": sum(status.last_step for status in statuses.values()),
        "problems": [problem.message for problem in problems],
    }


def _counts(run_ids: list[str], statuses: Any) -> dict[str, int]:
    states = [statuses[run_id].state for run_id in run_ids if run_id in statuses]
    counts = {state: states.count(state) for state in ("finished", "diverged", "failed")}
    return {"runs": len(run_ids), **counts, "left": len(run_ids) - counts["finished"] - counts["diverged"]}


def _is_running(files: StudyFiles) -> bool:
    path = files.directory / ".run.lock"
    if not path.exists():
        return False
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def _now(files: StudyFiles) -> dict[str, Any] | None:
    if not _is_running(files):
        return None
    try:
        content = json.loads((files.directory / PROGRESS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
