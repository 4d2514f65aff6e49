"""`tdscale simulate`: what it takes from a study, and its table. The simulation and its fits are in `tdscale.running.rehearsal`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from tdscale.analysis.estimate import short
from tdscale.analysis.laws_file import FILE_NAME
from tdscale.cli.console import counted, plain_table
from tdscale.errors import UserError
from tdscale.running.fitting import current_laws, fit_options
from tdscale.running.folder import open_study
from tdscale.running.rehearsal import BEYOND, Precision, Rehearsal, rehearse, rehearsed_sweep
from tdscale.simulate import SweepDesign, Truth, write_simulation
from tdscale.study import Study, read_study

_DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class RehearsalPlan:
    """What is simulated: the truth, stage 2, and what was assumed."""

    study: Study
    truth: Truth
    design: SweepDesign
    assumed: Sequence[str]


def seed_counts(texts: Sequence[str]) -> list[int]:
    """Numbers of seeds, rising. Raises UserError for what is none."""
    counts = set()
    for text in texts:
        if not text.isdecimal() or not 2 <= int(text) <= 1000:
            raise UserError(f"--seeds: {text!r} is no number of seeds from 2 to 1000; give e.g. --seeds 3 5 10")
        counts.add(int(text))
    if not counts:
        raise UserError("--seeds: no number is given; give e.g. --seeds 3 5 10")
    return sorted(counts)


def plan_rehearsal(source: Path) -> RehearsalPlan:
    """From a study's file, or its folder with the laws there."""
    laws = None
    if source.is_dir():
        files = open_study(source)
        study = files.study
        if (source / FILE_NAME).exists():
            laws = current_laws(files)
    else:
        study = read_study(source)
    try:
        truth, design, assumed = rehearsed_sweep(study, laws)
    except ValueError as error:
        raise UserError(f"{source}: {error}; add [scaling] utd = […], or `tdscale fit` the folder first") from None
    return RehearsalPlan(study=study, truth=truth, design=design, assumed=assumed)


def rehearse_plan(plan: RehearsalPlan, counts: Sequence[int], noise: str, repeats: int, seed: int, console: Console) -> Rehearsal:
    """Simulate and fit, with a bar on a terminal."""
    options = fit_options(plan.study, "default", n_draws=_DRAWS, seed=seed)
    levels = options.thresholds
    # σ* needs laws at several returns and a δ in FLOPs (simulated runs take no time that could be measured), all else the highest return
    data_cost = options.data_cost if isinstance(options.data_cost, float) and options.compute_unit == "flops" else None
    kept = sorted({levels[0], levels[len(levels) // 2], levels[-1]}) if data_cost is not None else [levels[-1]]
    options = replace(options, thresholds=tuple(kept), data_cost=data_cost, compute_unit="flops")
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        row = progress.add_task("simulated sweeps", total=len(counts) * repeats)
        how: dict[str, Any] = {"repeats": repeats, "seed": seed, "aggregate": plan.study.aggregate}
        return rehearse(plan.truth, plan.design, options, counts, noise, **how, on_sweep=lambda: progress.advance(row))


def write_study(plan: RehearsalPlan, directory: Path, count: int, noise: str, seed: int) -> None:
    """One simulated sweep as a study's folder: stage 1 where the study has one, and stage 2."""
    stages = [replace(plan.design, seeds=count)]
    sweep = plan.study.sweep
    if sweep is not None:
        grid = replace(plan.design, stage="sweep", utd=sweep.utd, seeds=sweep.seeds, first_seed=0)
        stages = [replace(grid, batch_size=sweep.batch_size, learning_rate=sweep.learning_rate), replace(stages[0], first_seed=10_000)]
    write_simulation(
        directory,
        plan.truth,
        stages,
        noise,
        thresholds=plan.study.return_thresholds,
        name=f"{plan.study.name}, simulated",
        data_cost=plan.study.data_cost if isinstance(plan.study.data_cost, float) else None,
        seed=seed,
        aggregate=plan.study.aggregate,
    )


def print_rehearsal(console: Console, result: Rehearsal, plan: RehearsalPlan, noise: str) -> None:
    """A row for each number of seeds, and what it rests on."""
    n_tasks = len(plan.truth.tasks)
    size = f"{counted(n_tasks, 'task')} and {len(plan.design.utd)} σ"
    console.print(f"\n{plan.study.name}: stage 2 with {size}, simulated {result.repeats} times for each number of seeds, noise {noise!r}")
    inside, small, large = (short(utd) for utd in result.utd)
    with_budget = any(sweep.best_utd is not None for sweep in result.sweeps)
    columns = ["seeds", "runs", "env steps", f"D at σ = {inside}", f"σ = {small}", f"σ = {large}", "α"] + ["σ*"] * with_budget
    table = plain_table("", *columns, gap=2, no_wrap=True)
    table.columns[0].justify = "right"
    for sweep in result.sweeps:
        factors = [_factor(value) for value in (sweep.inside, sweep.small, sweep.large)]
        row = [str(sweep.seeds), str(sweep.runs), short(sweep.env_steps), *factors, f"± {sweep.alpha.half_width:.2f}"]
        table.add_row(*row, *([_factor(sweep.best_utd)] if sweep.best_utd is not None else ["–"] * with_budget))
    console.print(table)
    console.print("×÷ 1.2: the 80 % interval reaches from the estimate divided by 1.2 to it times 1.2 (median of the simulated sweeps)")
    beyond = f"the outer two σ lie {BEYOND:g}× beyond those that are run"
    console.print(f"D is that of one task to reach J = {short(result.threshold)}; {beyond}")
    if any("open" in map(_factor, (s.inside, s.small, s.large, s.best_utd or s.inside)) for s in result.sweeps):
        console.print("open: not known to a factor of 10, or, for σ*, at an end of the σ that are run")
    for sweep in result.sweeps:
        if sweep.unsettled > 0:
            console.print(f"{sweep.unsettled:.0%} of the sweeps with {sweep.seeds} seeds gave no law")
    for text in plan.assumed:
        console.print(f"assumed: {text}")


def _factor(precision: Precision) -> str:
    factor = precision.factor
    return f"×÷ {factor:.2f}" if factor < 10 else "open"
