"""A study whose truth is known, made in no time: curves that rise to 1000 at a pace that σ, B and η set."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tdscale.analysis.fit import FitOptions, Measured, fit_measured, measure
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning import Plan, plan_budget, plan_compute, plan_data
from tdscale.runs.types import Cell
from tdscale.study import RunSpec
from tdscale.study.spec import Stage
from tdscale.validation import Validation, validate

TASKS = {"Runner": 8_000.0, "Swimmer": 15_000.0}
THRESHOLDS = (300.0, 450.0, 600.0, 700.0, 800.0)


def truth(task: str, utd: float, batch_size: float, learning_rate: float) -> float:
    """Data until J = 800: the law's at the best B and η, more away from them."""
    best_batch, best_rate = 200 * utd**-0.4, 1e-3 * utd**-0.3
    off = 0.08 * np.log(batch_size / best_batch) ** 2 + 0.08 * np.log(learning_rate / best_rate) ** 2
    return float(TASKS[task] * (1 + (utd / 1.2) ** -0.8) * np.exp(off))


def make_cell(
    task: str, utd: float, batch_size: int, learning_rate: float, stage: Stage, *, seeds: int, limit: float = 2.0, name: str | None = None
) -> Cell:
    spec = RunSpec(
        algorithm="sac",
        suite="gymnasium",
        task=name or task,
        utd=utd,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=0,
        stage=stage,
    )
    needed = truth(task, utd, batch_size, learning_rate)
    rng = np.random.default_rng(int(spec.cell_id, 16))
    steps = np.arange(1, 151) * max(int(limit * needed / 150), 1)
    pace = needed * np.exp(0.08 * rng.standard_normal((seeds, 1))) / np.log(5)
    returns = 1000 * (1 - np.exp(-steps / pace)) + 25 * rng.standard_normal((seeds, len(steps)))
    nothing = np.zeros(seeds, dtype=bool)
    costs = {"critic_parameters": 20_000.0, "actor_parameters": 10_000.0, "warm_up": 200.0}
    return Cell(
        spec=spec,
        seeds=np.arange(seeds),
        env_steps=steps,
        returns=returns,
        last_step=int(steps[-1]),
        diverged=nothing,
        duplicate=nothing,
        costs=costs,
    )


def sweep_cells(tasks: Sequence[str] = tuple(TASKS)) -> list[Cell]:
    grid = [(u, b, r) for u in (0.5, 2.0, 4.0) for b in (64, 160, 400) for r in (3e-4, 9e-4, 2.7e-3)]
    return [make_cell(task, u, b, r, "sweep", seeds=3) for task in tasks for u, b, r in grid]


def scaling_cells(tasks: Sequence[str] = tuple(TASKS), *, limit: float = 2.0) -> list[Cell]:
    cells = []
    for task in tasks:
        for utd in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0):
            # one cell that stops before the top threshold
            short = 0.7 if (task, utd) == ("Swimmer", 0.25) else limit
            cells.append(make_cell(task, utd, int(16 * round(200 * utd**-0.4 / 16)), 1e-3 * utd**-0.3, "scaling", seeds=4, limit=short))
    return cells


def make_options(cells: Sequence[Cell], **changes: object) -> FitOptions:
    tasks = tuple(dict.fromkeys(cell.spec.task for cell in cells))
    return replace(FitOptions(study="synthetic", tasks=tasks, thresholds=THRESHOLDS, data_cost=5e7, n_draws=40), **changes)  # type: ignore[arg-type]


def results(cells: Sequence[Cell], options: FitOptions) -> tuple[ScalingLaws, Measured, Validation]:
    measured = measure(cells, options)
    laws = fit_measured(measured, inputs="0123abcd", versions={"numpy": "2"})
    return laws, measured, validate(measured.points, options, laws)


def make_plans(laws: ScalingLaws) -> list[Plan]:
    top = laws.data[-1]
    plans = [plan_data(laws, float(top.predict([1.0])[0])), plan_data(laws, 10.0)]
    if laws.compute:
        plans.append(plan_compute(laws, float(laws.compute_for(np.array([2.0]), top.predict([2.0]))[0])))
    if laws.budget is not None:
        plans += [plan_budget(laws, laws.budget.points[-1].budget.value * factor) for factor in (0.9, 4.0)]
    return plans
