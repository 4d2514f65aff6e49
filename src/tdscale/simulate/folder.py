"""A simulated sweep as a study's folder: runs and study.toml, so that every command works on it as on anything else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tdscale.errors import UserError
from tdscale.runs.store import RunStore
from tdscale.runs.types import ENV_STEP, RETURN, RunResult, RunStatus
from tdscale.simulate.noise import Noise
from tdscale.simulate.sweep import SimulatedCell, SweepDesign, simulate_runs
from tdscale.simulate.truth import Truth
from tdscale.study import Aggregate, Study, Task, study_to_toml

STUDY_FILE = "study.toml"


def write_simulation(
    directory: Path,
    truth: Truth,
    design: SweepDesign | Sequence[SweepDesign],
    noise: Noise | str = "medium",
    *,
    thresholds: Sequence[float],
    name: str = "simulated",
    data_cost: float | None = None,
    seed: int = 0,
    aggregate: Aggregate = "mean",
) -> Study:
    """Draw a sweep and write it as a study, returns on the normalised scale.

    Args:
        directory: new or empty.
        truth, design, noise, seed: as for `simulate_cells`, whose cells are those that the folder's runs give.
        thresholds: J of the study, rising.
        name: of the study.
        data_cost: δ, FLOPs per env step; None leaves the budget law out.
        aggregate: what the study takes over the seeds of a cell.

    Raises:
        UserError: if the folder holds anything already.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory}: is not an empty folder; give a new one: simulated runs must not mix with others")
    study = Study(
        name=name,
        algorithm="sac",
        return_thresholds=tuple(map(float, thresholds)),
        tasks={task: Task(suite="imported", low=0.0, high=1000.0, reward_scale=1.0, env_steps=None) for task in truth.tasks},
        data_cost=data_cost,
        accounting="counted",
        model_size=None,
        aggregate=aggregate,
        origin="simulated, not run",
    )
    store = RunStore(directory)
    store.write_packed((run for cell in simulate_runs(truth, design, noise, seed=seed) for run in _runs(cell)), "simulated")
    (directory / STUDY_FILE).write_text(study_to_toml(study), encoding="utf-8")
    return study


def _runs(cell: SimulatedCell) -> Iterator[RunResult]:
    for index, (count, diverged) in enumerate(zip(cell.rows, cell.diverged, strict=True)):
        spec = replace(cell.spec, seed=cell.spec.seed + index)
        sizes: Mapping[str, float] = cell.costs
        last_step = int(cell.env_steps[max(count - 1, 0)])
        yield RunResult(
            spec=spec,
            columns={ENV_STEP: cell.env_steps[:count], RETURN: cell.returns[index, :count]},
            status=RunStatus(
                state="diverged" if diverged else "finished",
                last_step=last_step,
                reason="its loss was NaN (simulated)" if diverged else None,
                critic_parameters=_whole(sizes.get("critic_parameters")),
                actor_parameters=_whole(sizes.get("actor_parameters")),
            ),
        )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
