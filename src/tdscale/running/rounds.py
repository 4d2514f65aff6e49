"""The rounds of an adaptive study: each is chosen by what was run before it, stored in rounds.json, and only then run.

A round is a function of finished runs alone. Killed at any moment, a study finds the round that it was in, completes it, and
chooses the next one as it would have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tdscale.design.records import CellKey, CellRequest, Regret, RoundRecord, StepPrices
from tdscale.design.rounds import Next
from tdscale.running.adaptive import DEFAULT_PRECISION, DEFAULT_REGRET
from tdscale.running.dispatch import Engine
from tdscale.running.folder import StudyFiles
from tdscale.running.rounds_file import Rounds, read_rounds, write_rounds
from tdscale.running.stages import Part, StageRunner, sized
from tdscale.runs.types import RunStatus
from tdscale.study import CellJob, RunSpec, Stage, StopTarget, Study
from tdscale.study.spec import with_size

Choose = Callable[[StudyFiles, float, frozenset[CellKey]], Next]


def run_rounds(runner: StageRunner, stage: Stage, choose: Choose, *, later: Sequence[RunSpec] = ()) -> list[str]:
    """Complete the stored rounds of a stage, then choose, store and run one after the other until the stage has ended.

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
    failed: set[CellKey] = set()
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
            precision=found.precision,
            expected_precision=found.expected_precision,
        )
        rounds = replace(rounds, records=(*rounds.records, record), ended="", regret=None, precision=None, given_up=found.given_up)
        write_rounds(files.directory, files.study, stage, rounds)
        failures += _run_round(runner, stage, rounds, failed, later)
    rounds = replace(rounds, ended=found.why, regret=found.regret, precision=found.precision, given_up=found.given_up)
    write_rounds(files.directory, files.study, stage, rounds)
    if not (files.study.checkpoints and files.study.checkpoints.keep):
        files.store.discard_checkpoints(spec.run_id for spec in rounds.specs(files.study, stage))
    runner.display.note(ending(rounds, stage, _spent(files, rounds.specs(files.study, stage))))
    return failures


def step_prices(files: StudyFiles, engine: Engine, note: Callable[[str], None]) -> StepPrices:
    """What an env step costs when cells are compared: empty where each costs the same, else seconds, measured once and stored."""
    assert files.study.sweep is not None
    if files.study.sweep.price != "seconds":
        return {}
    rounds = read_rounds(files.directory, files.study)
    if not rounds.prices:
        from tdscale.running.forecast import PROBE_SECONDS, seconds_per_step

        what = "UTD ratio, batch size and size" if files.study.sizes else "UTD ratio and batch size"
        seconds = PROBE_SECONDS * len(files.by_size())
        note(f"measuring the cost of an env step at each {what}, {seconds:g} s …")
        rounds = replace(rounds, prices=seconds_per_step(files, engine, seconds))
        write_rounds(files.directory, files.study, "sweep", rounds)
    return rounds.prices


def _run_round(runner: StageRunner, stage: Stage, rounds: Rounds, failed: set[CellKey], later: Sequence[RunSpec]) -> list[str]:
    """Train what is left of the last of these rounds; `failed` gets its cells that failed."""
    files, record = runner.files, rounds.records[-1]
    jobs = round_jobs(files, stage, record.cells)
    if not jobs:
        return []
    specs = rounds.specs(files.study, stage)
    part = Part(number=record.number, further=_further(files.study, record), note=f"round {record.number}: {_beginning(record)}")
    failures = runner.run(stage, specs, jobs=list(jobs.values()), later=later, part=part)
    if failures:
        failed.update(round_jobs(files, stage, record.cells))
    _bound_checkpoints(files, stage, rounds, runner.display.note)
    return failures


def round_jobs(files: StudyFiles, stage: Stage, requests: Sequence[CellRequest]) -> dict[CellKey, CellJob]:
    """What is to be trained so that all of these requests are met.

    A request is met when all seeds of the cell are at one env step and it has crossed the top threshold or reached its cut.
    Seeds that are asked for beside others are trained with them: a cell stops as one, and its mean is another one.
    """
    sizes, statuses = files.by_size(), files.store.statuses(problems=[])
    jobs = {}
    for request in requests:
        if request.task in files.study.tasks:
            of_size = sizes[request.size]
            specs = of_size.study.specs([request.key], stage, request.seeds)
            job = _job(specs, request, statuses, of_size.study)
            if job is not None:
                jobs[request.cell] = sized(job, of_size)
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


def _bound_checkpoints(files: StudyFiles, stage: Stage, rounds: Rounds, note: Callable[[str], None]) -> None:
    """Remove the oldest checkpoints of stopped runs beyond the disk that they may take."""
    checkpoints = files.study.checkpoints
    most = (4.0 if checkpoints is None else checkpoints.gigabytes) * 1e9
    if checkpoints is not None and checkpoints.keep:
        return
    total, removed = 0, 0
    sizes, known = files.study.by_size(), rounds.requests(files.study)
    asked = {request.cell: None for record in reversed(rounds.records) for request in record.cells if request.task in files.study.tasks}
    for request in map(known.__getitem__, asked):
        for spec in sizes[request.size].specs([request.key], stage, request.seeds):
            size = files.store.checkpoint_bytes(spec.run_id)
            total += size
            if size and total > most:
                files.store.discard_checkpoints([spec.run_id])
                total -= size
                removed += 1
    if removed:
        note(f"checkpoints of {removed} stopped runs were removed: they took more than {most / 1e9:g} GB ([checkpoints] gigabytes)")


def _further(study: Study, record: RoundRecord) -> float:
    """How many rounds more like this one are expected: what is known about the answer, 1/variance, grows by as much in each."""
    assert study.sweep is not None
    assert study.scaling is not None
    if record.regret is not None and record.expected_regret is not None:
        variances = record.regret.expected, record.expected_regret, study.sweep.regret or DEFAULT_REGRET
    elif record.precision is not None and record.expected_precision is not None:
        variances = record.precision**2, record.expected_precision**2, (study.scaling.precision or DEFAULT_PRECISION) ** 2
    else:
        return 2.0
    now, after, goal = (1 / max(min(value, 0.99 * variances[0] if value != variances[0] else value), 1e-9) for value in variances)
    most = 20.0
    if record.precision is not None:  # no more than the seeds that are left
        places = len(study.tasks) * len(study.scaling.utd) * max(len(study.sizes), 1)
        most = places * study.scaling.seeds / max(len(record.cells), 1) - record.number
    return float(min(max((goal - after) / (after - now), 0.0), max(most, 0.0)))


def _beginning(record: RoundRecord) -> str:
    first = record.regret is None and record.precision is None
    price = f"{'at most' if first else 'about'} {record.expected_env_steps:,.0f} env steps"
    so_far = "" if record.regret is None else f"; expected regret so far {said(record.regret)}"
    if record.precision is not None:
        so_far = f"; log D is known to ±{record.precision:.2f} where it is least known"
    return f"{len(record.cells)} cells, {price}{so_far}"


def said(regret: Regret) -> str:
    """In words. Of few cells the posterior has long tails, whose mean says nothing."""
    if regret.expected > 1:
        return "over 1: almost nothing is known yet"
    return f"{regret.expected:.3f} (80 % chance: below {regret.bound:.3f})"


def ending(rounds: Rounds, stage: Stage, spent: float) -> str:
    """How a stage ended, in a sentence."""
    name = {"sweep": "stage 1", "scaling": "stage 2"}.get(stage, stage)
    count = "1 round" if len(rounds.records) == 1 else f"{len(rounds.records)} rounds"
    text = f"{name} ends after {count} and {spent:,.0f} env steps: {rounds.ended}"
    if rounds.regret is not None and stage == "sweep":
        text += f"; the chosen B and η are expected to need {np.expm1(rounds.regret.expected):.1%} more data than the best ones"
        text += f" (80 % chance: less than {np.expm1(rounds.regret.bound):.1%})"
    if rounds.precision is not None:
        text += f"; log D is known to ±{rounds.precision:.2f} where it is least known"
    if rounds.given_up:
        places = ", ".join(with_size(f"{task} at UTD ratio {utd:g}", "".join(size)) for task, utd, *size in rounds.given_up[:4])
        text += f". No cell reached a threshold for {places}"
    return text
