"""`tdscale simulate`: what it takes from a study, and its table. The simulation and its fits are in `tdscale.running.rehearsal`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from tdscale.analysis.estimate import short
from tdscale.analysis.fit import FitOptions
from tdscale.analysis.laws_file import FILE_NAME
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.cli.console import counted, plain_table
from tdscale.errors import UserError
from tdscale.running.adaptive import candidates_of, rules_of
from tdscale.running.fitting import current_laws, fit_options
from tdscale.running.folder import open_study
from tdscale.running.rehearsal import BEYOND, Precision, Rehearsal, asked_utd, rehearse, rehearsed_sweep
from tdscale.running.rehearsed_design import DESIGNS, RehearsedDesign, likely_truths, rehearse_design, with_scaling
from tdscale.simulate import SweepDesign, Truth, write_simulation
from tdscale.study import Study, read_study

_DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class RehearsalPlan:
    """What is simulated: the laws where some are known, the truth, stage 2, and what was assumed."""

    study: Study
    laws: ScalingLaws | None
    truth: Truth
    design: SweepDesign
    assumed: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class DesignComparison:
    """Designs of stage 1 on the same simulated studies. `utd`: the σ at which D of stage 2 is compared."""

    utd: tuple[float, float, float]
    repeats: int
    designs: Sequence[RehearsedDesign]
    assumed: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        designs = [design.to_dict() for design in self.designs]
        return {"utd": list(self.utd), "repeats": self.repeats, "designs": designs, "assumed": list(self.assumed)}


def seed_counts(texts: Sequence[str]) -> list[int]:
    """Numbers of seeds, rising. Raises UserError for what is none."""
    counts = set()
    for text in texts:
        if not text.isdecimal() or not 2 <= int(text) <= 1000:
            raise UserError(f"--seeds: {text!r} is not a number of seeds from 2 to 1000; give e.g. --seeds 3 5 10")
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
    if study.sizes:
        raise UserError(
            f"{source}: has [sizes], but only one can be simulated; give a copy of the file with the settings of one size in [settings]"
        )
    try:
        truth, design, assumed = rehearsed_sweep(study, laws)
    except ValueError as error:
        raise UserError(f"{source}: {error}; add [scaling] utd = […], or `tdscale fit` the folder first") from None
    return RehearsalPlan(study=study, laws=laws, truth=truth, design=design, assumed=assumed)


def rehearse_plan(plan: RehearsalPlan, counts: Sequence[int], noise: str, repeats: int, seed: int, console: Console) -> Rehearsal:
    """Simulate and fit, with a bar on a terminal."""
    options = _options(plan, seed)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        row = progress.add_task("simulated sweeps", total=len(counts) * repeats)
        how: dict[str, Any] = {"repeats": repeats, "seed": seed, "aggregate": plan.study.aggregate}
        return rehearse(plan.truth, plan.design, options, counts, noise, **how, on_sweep=lambda: progress.advance(row))


def _options(plan: RehearsalPlan, seed: int) -> FitOptions:
    options = fit_options(plan.study, "default", n_draws=_DRAWS, seed=seed)
    levels = options.thresholds
    # σ* needs laws at several returns and a δ in FLOPs (simulated runs take no time that could be measured), all else the highest return
    data_cost = options.data_cost if isinstance(options.data_cost, float) and options.compute_unit == "flops" else None
    kept = sorted({levels[0], levels[len(levels) // 2], levels[-1]}) if data_cost is not None else [levels[-1]]
    return replace(options, thresholds=tuple(kept), data_cost=data_cost, compute_unit="flops")


def rehearse_designs(plan: RehearsalPlan, noise: str, repeats: int, seed: int, console: Console) -> DesignComparison:
    """Simulate stage 1 as a grid and adaptive, and stage 2 after each, with a bar on a terminal."""
    study = plan.study
    if study.sweep is None or study.scaling is None:
        missing = "sweep" if study.sweep is None else "scaling"
        raise UserError(f"--designs: {study.name} has no [{missing}]; designs of stage 1 are compared by the results of stage 2")
    if len(study.sweep.batch_size) == len(study.sweep.learning_rate) == 1:
        raise UserError(
            f"--designs: [sweep] of {study.name} has one batch size and one learning rate, so there is nothing to choose; give several"
        )
    candidates, rules = candidates_of(study), rules_of(study)
    truths, assumed = likely_truths(study, plan.laws, candidates, repeats, seed=seed)
    options = _options(plan, seed)
    found = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        row = progress.add_task("simulated studies", total=4 * repeats)
        for design in DESIGNS:
            how: dict[str, Any] = {"noise": noise, "seed": seed, "on_study": partial(progress.advance, row)}
            rehearsed = rehearse_design(design, truths, candidates, study.return_thresholds, rules, **how)
            found.append(with_scaling(rehearsed, truths, study.scaling, plan.design, options, aggregate=study.aggregate, **how))
    return DesignComparison(utd=asked_utd(study.scaling.utd), repeats=repeats, designs=found, assumed=assumed)


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
    console.print("×÷ 1.2: the 80 % interval is from the estimate / 1.2 to the estimate × 1.2 (median of the simulated sweeps)")
    beyond = f"the outer two σ lie {BEYOND:g}× beyond those of the study"
    console.print(f"D: for one task to reach J = {short(result.threshold)}; {beyond}")
    if any("open" in map(_factor, (s.inside, s.small, s.large, s.best_utd or s.inside)) for s in result.sweeps):
        console.print("open: not known to within a factor of 10, or, for σ*, at an end of the σ of the study")
    for sweep in result.sweeps:
        if sweep.unsettled > 0:
            console.print(f"{sweep.unsettled:.0%} of the sweeps with {sweep.seeds} seeds gave no law")
    for text in plan.assumed:
        console.print(f"assumed: {text}")


def print_designs(console: Console, result: DesignComparison, plan: RehearsalPlan, noise: str) -> None:
    """A row for each design, and what it rests on."""
    size = f"{counted(len(plan.truth.tasks), 'task')} and {len(plan.study.sweep.utd if plan.study.sweep else ())} σ"
    console.print(f"\n{plan.study.name}: stage 1 with {size}, simulated {result.repeats} times, noise {noise!r}")
    inside, small, large = (short(utd) for utd in result.utd)
    with_budget = any(design.scaling is not None and design.scaling.best_utd is not None for design in result.designs)
    columns = [
        "design",
        "runs",
        "env steps",
        "10 to 90 %",
        "regret",
        "10 to 90 %",
        f"D at σ = {inside}",
        f"σ = {small}",
        f"σ = {large}",
        "α",
    ]
    table = plain_table("", *columns, *["σ*"] * with_budget, gap=2, no_wrap=True)
    for design in result.designs:
        steps, regret = design.spread(lambda study: study.env_steps), design.spread(lambda study: study.true_regret)
        row = [design.design, short(design.spread(lambda study: study.runs).middle)]
        row += [short(steps.middle), f"{short(steps.low)} to {short(steps.high)}"]
        row += [f"{regret.middle:.3f}", f"{regret.low:.3f} to {regret.high:.3f}"]
        scaling = design.scaling
        if scaling is None:
            row += ["–"] * (4 + with_budget)
        else:
            row += [_factor(value) for value in (scaling.inside, scaling.small, scaling.large)] + [f"± {scaling.alpha.half_width:.2f}"]
            row += [_factor(scaling.best_utd) if scaling.best_utd is not None else "–"] * with_budget
        table.add_row(*row)
    console.print(table)
    console.print("runs, env steps: of stage 1, median of the simulated studies, with the 10 to 90 % range")
    console.print("regret: cost of the chosen B and η as log D above the best ones; 0.05 is 5 % more data (mean over tasks and σ)")
    console.print(
        "D, α, σ*: after stage 2 at the chosen B and η; ×÷ 1.2: the 80 % interval is from the estimate / 1.2 to the estimate × 1.2"
    )
    within = [content["within_bound"] for content in result.to_dict()["designs"] if content["within_bound"] is not None]
    if within:
        console.print(
            f"in {within[-1]:.0%} of the adaptive sweeps the regret was below the bound that the sweep itself reports (target: 80 %)"
        )
    for text in result.assumed:
        console.print(f"assumed: {text}")


def _factor(precision: Precision) -> str:
    factor = precision.factor
    return f"×÷ {factor:.2f}" if factor < 10 else "open"
