"""The rounds of an adaptive study: each is chosen by what was run before it, stored in rounds.json, and only then run.

A round is a function of finished runs alone. Killed at any moment, a study finds the round that it was in, brings it to its end, and
chooses the next one as it would have.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tdscale.design.belief import Regret
from tdscale.design.candidates import CellRequest, Key
from tdscale.design.records import RoundRecord
from tdscale.design.rounds import Next
from tdscale.errors import UserError
from tdscale.running.adaptive import DEFAULT_REGRET
from tdscale.running.folder import StudyFiles
from tdscale.running.stages import Part, StageRunner
from tdscale.runs.types import RunStatus
from tdscale.study import CellJob, RunSpec, Stage, StopTarget, Study
from tdscale.whole_file import write_text

FILE_NAME = "rounds.json"
Choose = Callable[[StudyFiles, float, frozenset[Key]], Next]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """The rounds of one stage.

    Attributes:
        records: in order.
        ended: why the stage has ended, in a sentence; empty where it goes on.
        regret: of the choice of B and η at its end.
        given_up: (task, σ) at which no cell reached a threshold.
        prices: cost of an env step by (task, σ, B), where it was measured.
    """

    records: tuple[RoundRecord, ...] = ()
    ended: str = ""
    regret: Regret | None = None
    given_up: tuple[tuple[str, float], ...] = ()
    prices: Mapping[tuple[str, float, int], float] = field(default_factory=dict)

    def requests(self, study: Study) -> dict[Key, CellRequest]:
        """What was asked for so far of a study's tasks: of each cell the last request, with the most seeds."""
        found: dict[Key, CellRequest] = {}
        for record in self.records:
            for request in record.cells:
                if request.task in study.tasks:
                    earlier = found.get(request.key)
                    found[request.key] = replace(request, seeds=max(request.seeds, 0 if earlier is None else earlier.seeds))
        return found

    def specs(self, study: Study, stage: Stage) -> list[RunSpec]:
        """Every run that was asked for so far."""
        return [spec for request in self.requests(study).values() for spec in study.specs([request.key], stage, request.seeds)]


def rounds_id(study: Study) -> str:
    """What rounds hold for: the algorithm with its settings. 16 hexadecimal digits."""
    settings, _ = study.spec_settings
    return hashlib.sha256(json.dumps([study.algorithm, settings], sort_keys=True).encode()).hexdigest()[:16]


def read_rounds(directory: Path, study: Study, stage: Stage = "sweep") -> Rounds:
    """The rounds of a study's stage so far. Raises UserError where the file is damaged."""
    values = _read(directory).get(rounds_id(study), {}).get(stage)
    try:
        return Rounds() if values is None else _rounds(values)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(_damaged(directory)) from None


def write_rounds(directory: Path, study: Study, stage: Stage, rounds: Rounds) -> None:
    """Store them, whole or not at all. Raises UserError where the folder can't be written."""
    content = _read(directory)
    content.setdefault(rounds_id(study), {})[stage] = {
        "rounds": [asdict(record) for record in rounds.records],
        "ended": rounds.ended,
        "regret": None if rounds.regret is None else asdict(rounds.regret),
        "given_up": [list(place) for place in rounds.given_up],
        "prices": [[*place, price] for place, price in sorted(rounds.prices.items())],
    }
    write_text(directory / FILE_NAME, json.dumps({"schema": 1, "studies": content}, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _read(directory: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads((directory / FILE_NAME).read_text(encoding="utf-8"))
        studies: dict[str, dict[str, Any]] = content["studies"]
        if not all(isinstance(stages, dict) for stages in studies.values()):
            raise TypeError
        return studies
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(_damaged(directory)) from None


def _damaged(directory: Path) -> str:
    return (
        f"{directory / FILE_NAME}: is damaged, so the rounds of the adaptive design are not known; restore it from a backup, or remove it: "
        "`tdscale run` then chooses them again, uses the runs that are there, and may ask for others"
    )


def _rounds(values: Mapping[str, Any]) -> Rounds:
    def regret(one: Any) -> Regret | None:
        return None if one is None else Regret(expected=float(one["expected"]), bound=float(one["bound"]))

    records = tuple(
        RoundRecord(**{**record, "cells": tuple(CellRequest(**cell) for cell in record["cells"]), "regret": regret(record["regret"])})
        for record in values["rounds"]
    )
    return Rounds(
        records=records,
        ended=str(values["ended"]),
        regret=regret(values["regret"]),
        given_up=tuple((str(task), float(utd)) for task, utd in values["given_up"]),
        prices={(str(task), float(utd), int(batch)): float(price) for task, utd, batch, price in values["prices"]},
    )


def run_rounds(runner: StageRunner, stage: Stage, choose: Choose, *, later: Sequence[RunSpec] = ()) -> list[str]:
    """Bring the stored rounds of a stage to their end, then choose, store and run one after the other until the stage has ended.

    Args:
        runner: holds the study's folder.
        stage: whose rounds they are.
        choose: the next round by what was run, given the env steps spent and the cells that failed now.
        later: stand for the stages after it, in the time left.

    Returns:
        A sentence for each cell that failed. Such a cell is not asked for again until the next call.

    Raises:
        RunFailure: if nothing works.
    """
    files = runner.files
    rounds = read_rounds(files.directory, files.study, stage)
    failures: list[str] = []
    failed: set[Key] = set()
    for place in range(len(rounds.records)):
        failures += _run_round(runner, stage, replace(rounds, records=rounds.records[: place + 1]), failed, later)
    while True:
        spent = _spent(files, rounds.specs(files.study, stage))
        found = choose(files, spent, frozenset(failed))
        if not found.cells:
            break
        record = RoundRecord(
            number=len(rounds.records) + 1,
            cells=found.cells,
            spent=spent,
            expected_env_steps=found.env_steps,
            regret=found.regret,
            expected_regret=found.expected,
        )
        rounds = replace(rounds, records=(*rounds.records, record), ended="", regret=None, given_up=found.given_up)
        write_rounds(files.directory, files.study, stage, rounds)
        failures += _run_round(runner, stage, rounds, failed, later)
    rounds = replace(rounds, ended=found.why, regret=found.regret, given_up=found.given_up)
    write_rounds(files.directory, files.study, stage, rounds)
    if not (files.study.checkpoints and files.study.checkpoints.keep):
        files.store.discard_checkpoints(spec.run_id for spec in rounds.specs(files.study, stage))
    runner.display.note(ending(rounds, stage, _spent(files, rounds.specs(files.study, stage))))
    return failures


def _run_round(runner: StageRunner, stage: Stage, rounds: Rounds, failed: set[Key], later: Sequence[RunSpec]) -> list[str]:
    """Train what is left of the last of these rounds; `failed` gets its cells that failed."""
    files, record = runner.files, rounds.records[-1]
    jobs = round_jobs(files, stage, record.cells)
    if not jobs:
        return []
    specs = rounds.specs(files.study, stage)
    part = Part(number=record.number, further=_further(files.study, record), note=_beginning(record))
    failures = runner.run(stage, specs, jobs=list(jobs.values()), later=later, part=part)
    if failures:
        failed |= round_jobs(files, stage, record.cells).keys()
    _bound_checkpoints(files, stage, rounds)
    return failures


def round_jobs(files: StudyFiles, stage: Stage, requests: Sequence[CellRequest]) -> dict[Key, CellJob]:
    """What is to be trained so that all of these requests are met.

    A request is met when all seeds of the cell stand at one env step and it has crossed the top threshold or come to where it is cut.
    Seeds that are asked for beside others are trained with them: a cell stops as one, and its mean is another one.
    """
    study, statuses = files.study, files.store.statuses(problems=[])
    jobs = {}
    for request in requests:
        if request.task in study.tasks:
            specs = study.specs([request.key], stage, request.seeds)
            job = _job(specs, request, statuses, study)
            if job is not None:
                jobs[request.key] = job
    return jobs


def _job(specs: Sequence[RunSpec], request: CellRequest, statuses: Mapping[str, RunStatus], study: Study) -> CellJob | None:
    assert study.limits is not None
    limit, top = study.env_step_limit(request.task), study.raw_return(request.task, study.return_thresholds[-1])
    there = [status for spec in specs if (status := statuses.get(spec.run_id)) is not None and status.state != "failed"]
    finished = [status for status in there if status.state == "finished"]
    steps = {status.last_step for status in finished}
    if len(there) == len(specs) and len(steps) <= 1:
        crossed = [status.notes.get("stopped_at_return") for status in finished]
        if not steps or min(steps) >= min(request.env_steps, limit) or all(value is not None and value >= top - 1e-9 for value in crossed):
            return None
    target = StopTarget(return_threshold=top, margin=study.limits.margin, aggregate=study.aggregate)
    return CellJob(specs=tuple(specs), env_steps=limit, target=target, cut=min(request.env_steps, limit), least=max(steps, default=0))


def _spent(files: StudyFiles, specs: Sequence[RunSpec]) -> float:
    statuses = files.store.statuses(problems=[])
    return float(sum(statuses[spec.run_id].last_step for spec in specs if spec.run_id in statuses))


def _bound_checkpoints(files: StudyFiles, stage: Stage, rounds: Rounds) -> None:
    """Remove the oldest checkpoints of stopped runs beyond the disk that they may take."""
    checkpoints = files.study.checkpoints
    most = (4.0 if checkpoints is None else checkpoints.gigabytes) * 1e9
    if checkpoints is not None and checkpoints.keep:
        return
    total = 0
    asked = {request.key: None for record in reversed(rounds.records) for request in record.cells if request.task in files.study.tasks}
    known = rounds.requests(files.study)
    for key in asked:
        for spec in files.study.specs([key], stage, known[key].seeds):
            folder = files.store.checkpoint_directory(spec.run_id)
            size = sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0
            total += size
            if size and total > most:
                files.store.discard_checkpoints([spec.run_id])
                total -= size


def _further(study: Study, record: RoundRecord) -> float:
    """How many rounds more like this one are expected: what is known about the answer, 1/regret, grows by as much in each."""
    assert study.sweep is not None
    goal = DEFAULT_REGRET if study.sweep.regret is None else study.sweep.regret
    if record.regret is None or record.expected_regret is None:
        return 2.0
    now, after = 1 / max(record.regret.expected, 1e-9), 1 / max(min(record.expected_regret, 0.99 * record.regret.expected), 1e-9)
    return float(min(max((1 / goal - after) / (after - now), 0.0), 20.0))


def _beginning(record: RoundRecord) -> str:
    price = f"{'at most' if record.regret is None else 'about'} {record.expected_env_steps:,.0f} env steps"
    regret = "" if record.regret is None else f"; expected regret so far {said(record.regret)}"
    return f"round {record.number}: {len(record.cells)} cells, {price}{regret}"


def said(regret: Regret) -> str:
    """In words."""
    return f"{regret.expected:.3f} (80 % chance: below {regret.bound:.3f})"


def ending(rounds: Rounds, stage: Stage, spent: float) -> str:
    """How a stage ended, in a sentence."""
    name = {"sweep": "stage 1", "scaling": "stage 2"}.get(stage, stage)
    text = f"{name} ends after {len(rounds.records)} rounds and {spent:,.0f} env steps: {rounds.ended}"
    if rounds.regret is not None and stage == "sweep":
        text += f"; the chosen B and η are expected to need {rounds.regret.expected:.1%} more data than the best ones"
        text += f" (80 % chance: less than {rounds.regret.bound:.1%})"
    if rounds.given_up:
        places = ", ".join(f"{task} at UTD ratio {utd:g}" for task, utd in rounds.given_up[:4])
        text += f". No cell reached a threshold for {places}"
    return text
