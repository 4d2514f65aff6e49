"""What is done, running, failed and left of a study. Nothing that fits is imported or called: the answer must be quick."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live

from tdscale.cli.console import duration, for_people, plain_table
from tdscale.errors import UserError
from tdscale.running.folder import StudyFiles, is_running
from tdscale.running.ledger import PROGRESS_FILE, by_size, cell_failures, wanted_by_size, wanted_runs
from tdscale.running.rounds_file import read_rounds
from tdscale.runs.selection import select_runs
from tdscale.runs.sizes import Sizes
from tdscale.runs.types import RunStatus
from tdscale.study import STAGES, RunSpec
from tdscale.study.spec import with_size

_COUNTS = ("runs", "finished", "diverged", "failed", "running", "left")
_SHOWN = 8  # cells and failures shown as text; JSON has all
_WATCH_EVERY = 3.0


def show_status(files: StudyFiles, *, watch: bool) -> None:
    """Print `study_status`; with `watch`, on a terminal, again every few seconds."""
    console = for_people()
    if not (watch and console.is_terminal):
        console.print(_page(study_status(files)))
        return
    try:
        with Live(_page(study_status(files)), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(_WATCH_EVERY)
                live.update(_page(study_status(files)), refresh=True)
    except KeyboardInterrupt:
        pass


def study_status(files: StudyFiles) -> dict[str, Any]:
    """Counts of runs by stage and task, the cells running now with the time left, and failures with reasons.

    Keys: study, running (bool), rounds (of an adaptive design, by stage: rounds, ended, regret, precision), stages: [{stage, runs,
    finished, diverged, failed, running, left, tasks: [{task, and the same counts}], with [sizes] also sizes: [{size, and the same
    counts}]}], now (progress of the running process, or null), failures: [{run_id, runs, stage, task, what, reason}], env_steps,
    left_out (sentences about runs on disk that do not answer the study's question), problems.
    """
    problems: list[Any] = []
    statuses = files.store.statuses(problems=problems)
    cells = {
        cell_id: failure
        for cell_id, failure in cell_failures(files.directory).items()
        # failed runs that were stored have their own reason
        if any(run_id not in statuses for run_id in failure["run_ids"])
    }
    lost = {run_id for failure in cells.values() for run_id in failure["run_ids"]}
    now = _now(files)
    at_work = [(row["stage"], row["task"], row.get("size", "")) for row in (now or {}).get("running", []) for _ in range(row["seeds"])]
    running, of_size = Counter((stage, task) for stage, task, _ in at_work), Counter((stage, size) for stage, _, size in at_work)
    wanted, sizes = _wanted(files, problems)
    stages = [_stage(stage, of_tasks, statuses, lost, running) for stage, of_tasks in wanted.items()]
    for row in stages if files.study.sizes else ():
        stage = row["stage"]
        row["sizes"] = [_counts("size", size, stage, ids, statuses, lost, of_size) for size, ids in sizes.get(stage, {}).items()]
    answering, left_out = _answering(files, wanted, statuses, problems)
    return {
        "study": files.study.name,
        "running": is_running(files.directory),
        "rounds": _rounds(files),
        "stages": sorted(stages, key=lambda row: STAGES.index(row["stage"])),
        "now": now,
        "failures": _failures(files, {run_id: statuses[run_id] for run_id in answering}, cells, problems),
        "env_steps": sum(statuses[run_id].last_step for run_id in answering),
        "left_out": left_out,
        "problems": list(dict.fromkeys(problem.message for problem in problems)),
    }


def _rounds(files: StudyFiles) -> dict[str, dict[str, Any]]:
    """How many rounds each stage of an adaptive design has had, why it has ended, and how well the answer is known."""
    found: dict[str, dict[str, Any]] = {}
    if files.study.sweep is not None and files.study.sweep.is_adaptive:
        for stage in STAGES:
            rounds = read_rounds(files.directory, files.study, stage)
            last = rounds.records[-1] if rounds.records else None
            if last is not None:
                regret, precision = (rounds.regret, rounds.precision) if rounds.ended else (last.regret, last.precision)
                known = {"regret": None if regret is None else asdict(regret), "precision": precision}
                found[stage] = {"rounds": len(rounds.records), "ended": rounds.ended, **known}
    return found


def _wanted(files: StudyFiles, problems: list[Any]) -> tuple[dict[str, dict[str, list[str]]], dict[str, dict[str, list[str]]]]:
    """run_ids by stage and task, and by stage and size, these only in a study with [sizes]."""
    if files.study.sweep is None:
        planned, known = list(files.store.specs(problems=problems).values()), {}
    else:
        known = wanted_runs(files.directory)
        planned = [] if "sweep" in known else files.study.sweep_specs()
        planned += [spec for stage, specs in files.study.expected_stages().items() if stage not in known for spec in specs]
    sizes = {}
    if files.study.sizes:
        stages = {spec.stage for spec in planned}
        sizes = {stage: by_size(files.study, [spec for spec in planned if spec.stage == stage]) for stage in stages}
    return _by_task(planned) | known, sizes | wanted_by_size(files.directory)


def _answering(
    files: StudyFiles, wanted: Mapping[str, dict[str, list[str]]], statuses: Mapping[str, RunStatus], problems: list[Any]
) -> tuple[set[str], list[str]]:
    """The run_ids that count, and sentences about those that do not. Specs are read only where there are other runs."""
    asked_for = {run_id for of_tasks in wanted.values() for run_ids in of_tasks.values() for run_id in run_ids}
    if files.study.sweep is not None and statuses.keys() <= asked_for:
        return set(statuses), []
    try:
        selection = select_runs(files.store, files.study, problems=problems)
    except UserError as error:  # which fit asks; the counts are of all runs
        return set(statuses), [str(error)]
    return statuses.keys() & selection.specs.keys(), [warning.message for warning in selection.left_out]


def _by_task(specs: Iterable[RunSpec]) -> dict[str, dict[str, list[str]]]:
    wanted: dict[str, dict[str, list[str]]] = {}
    for spec in specs:
        wanted.setdefault(spec.stage, {}).setdefault(spec.task, []).append(spec.run_id)
    return wanted


def _stage(
    stage: str, of_tasks: Mapping[str, list[str]], statuses: Mapping[str, RunStatus], lost: set[str], running: Mapping[tuple[str, str], int]
) -> dict[str, Any]:
    tasks = [_counts("task", task, stage, run_ids, statuses, lost, running) for task, run_ids in of_tasks.items()]
    return {"stage": stage, **{name: sum(task[name] for task in tasks) for name in _COUNTS}, "tasks": tasks}


def _counts(
    kind: str,
    name: str,
    stage: str,
    run_ids: Sequence[str],
    statuses: Mapping[str, RunStatus],
    lost: set[str],
    running: Mapping[tuple[str, str], int],
) -> dict[str, Any]:
    """A row of a task or a size."""
    counts = Counter(statuses[run_id].state if run_id in statuses else "failed" if run_id in lost else "missing" for run_id in run_ids)
    row = {state: counts[state] for state in ("finished", "diverged", "failed")}
    left = len(run_ids) - row["finished"] - row["diverged"]
    return {kind: name, "runs": len(run_ids), **row, "running": min(running.get((stage, name), 0), len(run_ids)), "left": left}


def _failures(
    files: StudyFiles, statuses: Mapping[str, RunStatus], cells: Mapping[str, dict[str, Any]], problems: list[Any]
) -> list[dict[str, Any]]:
    found = [
        {"run_id": cell["run_ids"][0], "runs": len(cell["run_ids"]), **{key: cell[key] for key in ("stage", "task", "what", "reason")}}
        for cell in cells.values()
    ]
    of_cells = {run_id for cell in cells.values() for run_id in cell["run_ids"]}
    failed = {run_id: status for run_id, status in statuses.items() if status.state == "failed" and run_id not in of_cells}
    specs, sizes = (files.store.specs(problems=problems), Sizes(files.study)) if failed else ({}, None)
    for run_id, status in failed.items():
        if run_id in specs:
            spec = specs[run_id]
            what = with_size(spec.describe(), (sizes and sizes.of(spec)) or "")
            found.append({"run_id": run_id, "runs": 1, "stage": spec.stage, "task": spec.task, "what": what, "reason": status.reason})
    return found


def _page(content: dict[str, Any]) -> RenderableType:
    """As text: plain where the output is not a terminal."""
    state = "running" if content["running"] else "not running"
    parts: list[RenderableType] = [f"{content['study']}: {state}, {content['env_steps']:,} env steps done"]
    table = plain_table("", "", *_COUNTS, gap=2)
    for row in content["stages"]:
        table.add_row(row["stage"], *(f"{row[name]:,}" for name in _COUNTS))
        for task in row["tasks"] if len(row["tasks"]) > 1 else ():
            table.add_row(f"  {task['task']}", *(f"{task[name]:,}" for name in _COUNTS))
        for size in row.get("sizes", ()):
            table.add_row(f"  size {size['size']}", *(f"{size[name]:,}" for name in _COUNTS))
    parts.append(table)
    parts += [_round_line(stage, values) for stage, values in content["rounds"].items()]
    now = content["now"]
    if now:
        left = f", about {duration(now['seconds_left'])} left" if now.get("seconds_left") is not None else ""
        parts.append(f"{now['title']}: {now['cells_done']} of {now['cells']} cells{left}{pace(now)}")
        rows = [f"  {row['cell']}, {row['seeds']} seeds, {row['share_of_limit']:.0%} of its limit" for row in now["running"]]
        parts += _shortened(rows)
    parts += _shortened([f"failed: {row['what']}: {row['reason']}" for row in content["failures"]], 20)
    parts += content["left_out"]
    parts += _shortened([f"unreadable: {problem}" for problem in content["problems"]], 20)
    return Group(*parts)


def _round_line(stage: str, values: Mapping[str, Any]) -> str:
    """How far the rounds of a stage are."""
    text = f"{stage}: {values['rounds']} round{'s' if values['rounds'] > 1 else ''}"
    if values["regret"] is not None:
        text += f", expected regret {values['regret']['expected']:.3f} (80 % chance: below {values['regret']['bound']:.3f})"
    if values["precision"] is not None:
        text += f", log D known to ±{values['precision']:.2f} where it is known least"
    return f"{text}; ended: {values['ended']}" if values["ended"] else text


def pace(now: Mapping[str, Any]) -> str:
    """Throughput in words, empty before it is known."""
    steps, runs = now.get("env_steps_per_second"), now.get("runs_per_hour")
    text = f"; {steps:,.0f} env steps/s over all workers" if steps else ""
    return text + (f", {runs:,.0f} runs/h" if runs else "")


def _shortened(lines: list[str], most: int = _SHOWN) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"  and {len(lines) - most} more"]


def _now(files: StudyFiles) -> dict[str, Any] | None:
    if not is_running(files.directory):
        return None
    try:
        content = json.loads((files.directory / PROGRESS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("schema") == 2 else None
