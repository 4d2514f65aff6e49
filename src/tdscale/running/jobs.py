"""What is left to run: cells as jobs, worked out from the specs that are wanted and the runs that are there."""

from collections.abc import Iterable, Mapping, Sequence

from tdscale.runs.types import RunStatus
from tdscale.study import CellJob, RunSpec, StopTarget


def pending_jobs(
    specs: Iterable[RunSpec], statuses: Mapping[str, RunStatus], limits: Mapping[str, int], targets: Mapping[str, StopTarget]
) -> list[CellJob]:
    """The jobs that bring every wanted cell to its end; none for a cell that is there.

    A cell is done when its seeds stand at one step and either that is the limit or they stopped at a threshold at least as
    high as the one wanted now. Seeds that are missing or failed are brought to the step of the others. A raised limit or
    threshold runs the cell again: a run's curve does not depend on how long it goes on, so what was seen stays as it was.

    Args:
        specs: every run that is wanted.
        statuses: of the runs that exist, by run_id.
        limits: env steps, by task.
        targets: by task.
    """
    cells: dict[str, list[RunSpec]] = {}
    for spec in specs:
        cells.setdefault(spec.cell_id, []).append(spec)
    jobs = []
    for members in cells.values():
        job = _job(members, statuses, limits[members[0].task], targets[members[0].task])
        if job is not None:
            jobs.append(job)
    return jobs


def _job(members: Sequence[RunSpec], statuses: Mapping[str, RunStatus], limit: int, target: StopTarget) -> CellJob | None:
    ended = {spec.run_id: status for spec in members if (status := statuses.get(spec.run_id)) and status.state != "failed"}
    whole = CellJob(specs=tuple(members), env_steps=limit, target=target)
    finished = [status for status in ended.values() if status.state == "finished"]
    if not finished:
        # every seed diverged: an outcome; else nothing is there yet
        return None if len(ended) == len(members) else whole
    reached = max(status.last_step for status in finished)
    stopped = [status.notes.get("stopped_at_return") for status in finished]
    settled = reached >= limit or any(value is not None and value >= target.return_threshold - 1e-9 for value in stopped)
    if not settled:
        return whole
    behind = tuple(
        spec
        for spec in members
        if spec.run_id not in ended or (ended[spec.run_id].state == "finished" and ended[spec.run_id].last_step < reached)
    )
    return CellJob(specs=behind, env_steps=reached, target=None) if behind else None
