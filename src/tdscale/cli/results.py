"""Results as a person reads them on a terminal: laws, plans, confirmations, published laws, validation, and what a study will take."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from tdscale.analysis.budget import held_out_laws, regret_in_words
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.fitted_laws import MORE_DATA, SYMBOLS, PowerLaw, Tolerated
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.cli.console import counted, duration, plain_table
from tdscale.cli.prediction_results import prediction_table
from tdscale.cli.size_results import print_size_laws
from tdscale.paper import PartlyPublished, PublishedLaws
from tdscale.planning import Confirmation, Plan, Prediction
from tdscale.planning.plan import name_of_ratio, percent, sure_in_words
from tdscale.running.forecast import AdaptiveForecast, Forecast
from tdscale.running.rehearsed_design import Spread
from tdscale.runs.types import RunWarning
from tdscale.study.spec import with_size
from tdscale.validation import (
    PREDICTORS,
    SIZE_PREDICTORS,
    BaselineRatio,
    HeldOut,
    HeldOutBudget,
    HeldOutSize,
    HeldOutTask,
    Validation,
)
from tdscale.validation.tasks import TASK_PREDICTORS

_HEADINGS = {
    "compute": "at most C = {limit} {unit}: the least data",
    "data": "at most D = {limit} env steps: the least compute",
    "budget": "at most F = C + δ·D = {limit} {unit}: the highest return",
}
_WIDTH = 100  # columns
_BYTES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def print_laws(console: Console, laws: ScalingLaws) -> None:
    """Every law with its intervals, then the warnings."""
    console.print(
        f"\n{laws.study}: laws by the {laws.method.name} method; [low, high] hold the truth with probability {Estimate(0, 0, 0).level:.0%}",
    )
    if laws.sizes is None:
        _print_one_size(console, laws)
    else:
        print_size_laws(console, laws, laws.sizes)
    if laws.budget is not None and laws.budget.fitted:
        budget = laws.budget
        exponent = budget.exponent_estimate
        table = plain_table(
            f"\ncheapest σ for each return, F = C + δ·D in {laws.compute_name}, δ = {short(budget.data_cost)} per env step"
            f" ({laws.data_cost_source}); {budget.formula()}, exponent {exponent}",
            "J",
            "F",
            "σ*",
            "regret",
            "",
        )
        for point in budget.points:
            regret = f"{point.regret.value:.1%}, up to {point.regret.high:.1%}" if point.regret else "–"
            edge = "at the end of the σ run" if point.at_edge else ""
            table.add_row(short(point.threshold), str(point.budget), str(point.utd), regret, edge)
        console.print(table)
        for count, held in held_out_laws(budget, laws.method.budget):
            exponent = held.exponent_estimate
            console.print(f"without the {'two largest budgets' if count > 1 else 'largest budget'}: {held.formula()}, exponent {exponent}")
        if budget.regret is not None:
            console.print(f"regret: how much more F an uncertain σ* costs. By the law σ*(F), {regret_in_words(budget.regret)}")
    timed = {task: model for task, model in laws.compute.items() if model.accounting == "measured"}
    if timed:
        scatter = ", ".join(f"{model.scatter:.0%} on {task}" for task, model in timed.items())
        console.print(f"\nC in seconds of updates, as fitted to those measured; single cells lie off by {scatter}")
    print_warnings(console, laws.warnings)


def _print_one_size(console: Console, laws: ScalingLaws) -> None:
    """B*(σ), η*(σ) and D_J(σ)."""
    for law, name in ((laws.batch_size, "batch size B*(σ)"), (laws.learning_rate, "learning rate η*(σ)")):
        if law is not None:
            console.print(_power_table(law, name))
    if any(law is not None and law.leeway is not None for law in (laws.batch_size, laws.learning_rate)):
        console.print(f"from, to: between these multiples of the best value, at any σ, it costs at most {MORE_DATA:.0%} more data")
    if laws.data:
        table = plain_table("\ndata law D_J(σ) = D_min·(1 + (σ/β)^−α), env steps", "J", "D_min", "β", "α")
        for entry in laws.data:
            if entry.identified:
                table.add_row(short(entry.threshold), str(entry.d_min()), str(entry.beta()), str(entry.alpha()))
            else:
                high = entry.d_min().high
                least = f"below {short(high)}" if np.isfinite(high) else "not identified"
                table.add_row(short(entry.threshold), least, "not identified", f"as a power law: {entry.formula()[9:]}")
        console.print(table)
        top = laws.data[-1]
        if len(laws.tasks) > 1 and top.identified:
            table = plain_table(f"\nD_min of each task at J = {short(top.threshold)}", "task", "D_min")
            for task in top.tasks:
                table.add_row(task, str(top.d_min(task)))
            console.print(table)
        if len(top.forms) > 1:
            *shares, last = (f"{form.weight:.0%} {form.form.title}" for form in top.forms)
            console.print(f"predictions combine {', '.join(shares)} and {last} (weighted by how each predicts σ left out)")


def _power_table(law: PowerLaw, name: str) -> Table:
    estimate = law.exponent_estimate
    state = "" if law.identified or law.source != "sweep" else "; not identified: its interval holds 0"
    source = {"sweep": "", "as-run": ", as the runs used it", "published": ", as published"}[law.source]
    symbol = SYMBOLS[law.quantity]
    least = "" if law.offset is None else f"{symbol[0]}_min + "
    title = f"\n{name} = {least}coefficient·σ^exponent{source}; exponent {law.shown(estimate)}{state}"
    columns = ["coefficient (at σ = 1)"] if law.offset is None else [f"{symbol[0]}_min", "coefficient"]
    table = plain_table(title, "task", *columns, *((f"from, × {symbol}", f"to, × {symbol}") if law.leeway is not None else ()))
    rows = {}
    for index, task in enumerate(law.tasks):
        offset = law.offset_estimate(task)
        texts = [law.shown(value) for value in (offset, law.coefficient_estimate(task)) if value is not None]
        rows[task] = (*texts, *map(str, law.leeway.factors(index) if law.leeway is not None else ()))
    if len(rows) > 1 and len(set(rows.values())) == 1:
        rows = {f"each of {len(rows)} tasks": next(iter(rows.values()))}
    for task, row in rows.items():
        table.add_row(task, *row)
    return table


def print_warnings(console: Console, warnings: Iterable[RunWarning]) -> None:
    """Each code's warnings, at most three of one kind."""
    by_code: dict[str, list[RunWarning]] = {}
    for warning in warnings:
        by_code.setdefault(warning.code, []).append(warning)
    if by_code:
        console.print("\nto know")
    for group in by_code.values():
        for warning in group[:3]:
            console.print(f"  · {warning.message}")
        if len(group) > 3:
            console.print(f"    and {len(group) - 3} more like this")


def print_plan(console: Console, plan: Plan) -> None:
    """The answer in one line, the question, what it takes, the second best, what to know."""
    console.print(plan.sentence(), soft_wrap=True)
    scope = f" on {plan.task}" if plan.task else ""
    price = f", δ = {short(plan.data_cost)} per env step ({plan.data_cost_source})" if plan.problem == "budget" and plan.data_cost else ""
    console.print(f"\nplan{scope}, {_HEADINGS[plan.problem].format(limit=short(plan.limit), unit=plan.unit_name)}{price}")
    if not plan.feasible:
        return
    for name, text in _plan_rows(plan):
        console.print(f"  {name:<7} {text}")
    for text in (plan.binding, sure_in_words(plan), _relaxed(plan)):
        if text:
            console.print(f"  {text}")
    if plan.alternatives:
        console.print(_alternatives(plan))
    if plan.by_size:
        console.print(_by_size(plan))
    for note in plan.notes:
        console.print(f"  · {note}")


def _plan_rows(plan: Plan) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if plan.threshold is None:
        rows.append(("return", "beyond the highest threshold fitted: not predicted"))
    else:
        interval = plan.threshold_range
        between = f"   in the draws {short(interval.low)} to {short(interval.high)}" if interval and interval.low < interval.high else ""
        raw = f", raw {plan.raw_threshold:.4g}" if plan.raw_threshold is not None else ""
        rows.append(("return", f"{plan.threshold:.4g} (normalised{raw}){between}"))
    assert plan.utd is not None
    if plan.model_size is not None:
        rows.append(("size", f"{plan.size}, N = {short(plan.model_size)} parameters"))
    best = plan.utd_range
    # published laws have no interval
    exact = f"best {plan.utd_exact:.3g}, " if plan.utd_exact is not None and abs(plan.utd_exact / plan.utd - 1) > 0.005 else "best "
    inside = f"   {exact}in [{short(best.low)}, {short(best.high)}]" if best and best.low < best.high else ""
    rows.append(("UTD σ", name_of_ratio(plan.utd) + inside))
    if plan.batch_size is not None:
        best_batch = plan.batch_size_range
        as_run = "batch_size" in plan.not_optimised and best_batch is not None and round(best_batch.value) == plan.batch_size
        rounded = f"{plan.batch_size}   rounded from B* = {plan.shown('batch_size')}"
        rows.append(("B", plan.run_with("batch_size") if as_run else rounded))
        rows += _tolerated(plan.batch_size_tolerated)
    if plan.learning_rate is not None:
        rows.append(("η", plan.shown("learning_rate")))
        rows += _tolerated(plan.learning_rate_tolerated)
    priced = f", with δ = {short(plan.data_cost)}" if plan.problem != "budget" and plan.data_cost else ""
    units = (("D", plan.data, "env steps"), ("C", plan.compute, plan.compute_name), ("F", plan.budget, plan.unit_name + priced))
    rows += [(name, f"{value} {unit}") for name, value, unit in units if value is not None]
    return rows


def _tolerated(found: Tolerated | None) -> list[tuple[str, str]]:
    """How exact the value above must be."""
    if found is None:
        return []
    return [("", f"at most {MORE_DATA:.0%} more data from {found}" + (", partly beyond the sweep" if found.beyond else ""))]


def _relaxed(plan: Plan) -> str:
    """What 10 % more would buy."""
    more = plan.relaxed
    if more is None or plan.data is None:
        return ""
    if plan.problem == "budget":
        return f"10% more budget would reach J = {more.threshold or 0:.4g}, at UTD {name_of_ratio(more.utd)}."
    if plan.problem == "compute":
        saved, bought = 1 - more.data / plan.data.value, f"D = {short(more.data)}, {{saved:.1%}} less"
    elif more.compute is not None and plan.compute is not None and plan.compute.value > 0:
        saved, bought = 1 - more.compute / plan.compute.value, f"C = {short(more.compute)}, {{saved:.1%}} less"
    else:
        return ""
    return f"10% more {plan.problem} would buy {bought.format(saved=saved)}, at UTD {name_of_ratio(more.utd)}." if saved > 0 else ""


def _alternatives(plan: Plan) -> Table:
    """D, C and F of each with their change against the plan's."""
    pairs = [("D", plan.data), ("C", plan.compute), ("F", plan.budget)]
    known = [(name, value.value) for name, value in pairs if value is not None]
    table = plain_table("", "  instead", "UTD", "B", *(name for name, _ in known), "limit met")
    table.padding = (0, 1)  # within 80 columns
    for row in plan.alternatives:
        values = [value.value for value in (row.data, row.compute, row.budget) if value is not None]
        changes = [_change(value, here) for value, (_, here) in zip(values, known, strict=True)]
        batch = str(row.batch_size) if row.batch_size is not None else "–"
        met = ("yes" if row.within_limit else "no") if row.chance is None else percent(row.chance)
        table.add_row(f"  {row.label}", name_of_ratio(row.utd), batch, *changes, met)
    return table


def _by_size(plan: Plan) -> Table:
    """The same question's answer with each network."""
    pairs = [("D", plan.data), ("C", plan.compute), ("F", plan.budget)]
    known = {name: value.value for name, value in pairs if value is not None}
    reached = ["J"] if plan.problem == "budget" else []
    table = plain_table("", "  size", "N", *reached, "σ", "B", *known)
    table.padding = (0, 1)  # within 80 columns
    for row in plan.by_size:
        named = f"  {row.size}{' (the plan)' if row.model_size == plan.model_size else ''}"
        if not row.feasible or row.utd is None:
            table.add_row(named, short(row.model_size), *("–" for _ in (*reached, "σ", "B", *known)))
            continue
        values = {"D": row.data, "C": row.compute, "F": row.budget}
        changes = [_change(value.value, here) if (value := values[name]) is not None else "–" for name, here in known.items()]
        level = [f"{row.threshold:.4g}" if row.threshold is not None else "beyond"] if reached else []
        batch = str(row.batch_size) if row.batch_size is not None else "–"
        table.add_row(named, short(row.model_size), *level, name_of_ratio(row.utd), batch, *changes)
    return table


def _change(value: float, here: float) -> str:
    """A value, and its change against the plan's, which may be a C of 0: where warm-up alone reaches J."""
    if here <= 0:
        return short(value)
    return f"{short(value)} ×{value / here:.3g}" if value > 10 * here else f"{short(value)} {value / here - 1:+.0%}".replace(" -", " −")


def print_published(console: Console, laws: PublishedLaws, task: str | None, predictions: Sequence[Prediction]) -> None:
    """One set of published laws, its coefficients, and what it predicts."""
    console.print(f"\n{laws.name}: {laws.title}; {laws.source}")
    top = laws.data[-1]
    console.print(f"  B*(σ) = β_B·σ^{short(laws.batch_size_exponent)}   η*(σ) = β_η·σ^{short(laws.learning_rate_exponent)}")
    console.print(f"  D_J(σ) = D_min·(1 + (σ/{short(top.beta)})^{short(-top.alpha)}) at J = {short(top.threshold)}")
    if laws.budget is not None:
        console.print(f"  σ*(F) = {short(laws.budget[0])}·F^{short(laws.budget[1])} at δ = {short(laws.data_cost)}")
    table = plain_table("", "task", "β_B", "β_η", "D_min")
    for name in (task,) if task is not None else laws.tasks:
        table.add_row(name, short(laws.batch_size[name]), short(laws.learning_rate[name]), short(top.tasks.get(name, float("nan"))))
    if task is None:
        table.add_row("all tasks", "", "", short(top.d_min))
    console.print(table)
    if predictions:
        console.print(prediction_table(predictions))
    for note in laws.notes:
        console.print(f"  · {note}")
    far = sorted({p.utd for p in predictions if p.extrapolation > 1})
    if predictions:
        raw = "" if task is None else f", a raw return of {short(top.threshold / 1000 * laws.high[task])}"
        accounting = f"C = 10·N·B·σ·D with N = {short(laws.model_size)}, the actor's updates neglected"
        console.print(f"  · D is for J = {short(top.threshold)}{raw}; {accounting}")
    if far:
        console.print(f"  · σ = {', '.join(map(short, far))}: outside the σ that were run, {short(laws.utd[0])} to {short(laws.utd[-1])}")


def print_partly_published(console: Console, laws: PartlyPublished) -> None:
    """What is known of published laws that are illegible in part."""
    console.print(f"\n{laws.name}: {laws.title}; {laws.source}; legible only in part, so that it predicts nothing")
    console.print(f"  B*(σ) = {short(laws.batch_size_least)}·(1 + (σ/σ0)^{short(laws.batch_size_exponent)}), σ0 not legible")
    batches, rates = ", ".join(map(str, laws.batch_sizes)), ", ".join(map(short, laws.learning_rates))
    console.print(f"  swept: σ = 1/{1 / laws.utd[0]:.0f} to 1/{1 / laws.utd[-1]:.0f} in powers of two; B = {batches}; η = {rates}")
    console.print(f"  {laws.seeds} seeds, N = {short(laws.model_size)}, δ = {short(laws.data_cost)}; tasks: {', '.join(laws.tasks)}")
    for text in laws.missing:
        console.print(f"  · {text}")


def print_confirmation(console: Console, outcome: Confirmation) -> None:
    """What was predicted beside what was measured."""
    title = f"\nreturn {short(outcome.threshold)} at σ = {short(outcome.utd)}, {outcome.seeds} fresh seeds for each task"
    table = plain_table(title, "", "predicted", "measured", "measured / predicted", "")
    for part in outcome.compared:
        seen = str(part.seen) if part.seen is not None else f"J not reached by {outcome.last_step}"
        ratio = "" if part.ratio is None else f"{part.ratio:.2f}"
        table.add_row(f"{part.quantity}, {part.unit}", str(part.predicted), seen, ratio, "inside" if part.inside else "outside")
    console.print(table)
    if outcome.diverged:
        console.print(f"{outcome.diverged} runs diverged; they count as not reaching J")


def print_validation(console: Console, validation: Validation) -> None:
    """Errors of held-out predictions beside simpler ones, coverage, and what was not checked."""
    if not console.is_terminal:  # rich takes 80 columns then, and would cut what is longer
        console.width = max(console.width, _WIDTH)
    if validation.held_out or validation.leave_one_out:
        console.print(_utd_table([*validation.held_out, *validation.leave_one_out]))
    if validation.tasks:
        console.print(_task_table(validation.tasks))
    if validation.sizes:
        console.print(_size_table(validation.sizes))
    if validation.held_out or validation.tasks or validation.sizes:
        console.print("error: mean |log predicted − log measured|, and in percent; * the best of the row; in 80 %: measured D within the")
        console.print("interval of the law and of their own noise")
    sentence = validation.best_sentence()
    if sentence is not None:
        console.print(f"\n{sentence}")
    parts = [f"{name} {value.covered} of {value.compared} ({value.share:.0%})" for name, value in validation.coverage.items()]
    if parts:
        console.print(f"measured D within the 80 % interval: {', '.join(parts)}")
    if validation.model_size is not None and (validation.budgets or validation.hyperparameters):
        console.print(f"\nwhat follows is checked at N = {short(validation.model_size)}, where the laws stand")
    if validation.budgets:
        console.print(_budget_table(validation.budgets))
    if validation.hyperparameters:
        console.print(_baseline_table(validation.hyperparameters))
        censored = sum(ratio.constant_censored for ratio in validation.hyperparameters)
        if censored:
            console.print(f"{censored} pairs of task and J, which constant B and η never reach, are not part of the ratios")
    if validation.skipped:
        console.print("")
    for text in validation.skipped:
        console.print(f"not checked: {text}")


def _utd_table(items: Sequence[HeldOut]) -> Table:
    table = plain_table("\nD predicted at σ that were left out", "σ left out", "beyond", *PREDICTORS, "in 80 %", gap=2, no_wrap=True)
    for item in items:
        beyond = f"{item.factor:.2g}×" if item.factor > 1 else "inside"
        row = _errors(item.errors, PREDICTORS)
        table.add_row(", ".join(map(short, item.utd)), beyond, *row, f"{item.covered}/{item.compared}")
    return table


def _size_table(items: Sequence[HeldOutSize]) -> Table:
    title = "\nD predicted at σ and N that were left out; sum, product: single forms"
    table = plain_table(title, "left out", "beyond", *SIZE_PREDICTORS, "in 80 %", gap=2, no_wrap=True)
    for item in items:
        beyond = f"{item.factor:.2g}×" if item.factor > 1 else item.place
        table.add_row(item.name, beyond, *_errors(item.errors, SIZE_PREDICTORS), f"{item.covered}/{item.compared}")
    return table


def _task_table(items: Sequence[HeldOutTask]) -> Table:
    title = "\nD of a task that was left out but for one σ"
    table = plain_table(title, "task", "known at", *TASK_PREDICTORS, "interval", "of all runs", "in 80 %", gap=2, no_wrap=True)
    for item in items:
        row = _errors(item.errors, TASK_PREDICTORS)
        widths = (f"×÷ {item.width:.2f}", f"×÷ {item.full_width:.2f}")
        table.add_row(item.task, f"σ = {short(item.given)}", *row, *widths, f"{item.covered}/{item.compared}")
    return table


def _budget_table(items: Sequence[HeldOutBudget]) -> Table:
    title = "\nσ* of budgets that were left out; regret: what it costs beyond the cheapest σ"
    table = plain_table(title, "J left out", "F beyond", "error of σ*(F)", "of the last σ* kept", "regret", "kept", gap=2, no_wrap=True)
    for item in items:
        law, kept = _errors({"law": item.error, "kept": item.constant_error}, ("law", "kept"))
        regrets = (f"{100 * item.regret:.2g} %", f"{100 * item.constant_regret:.2g} %")
        table.add_row(", ".join(map(short, item.thresholds)), f"{item.factor:.2g}×", law, kept, *regrets)
    return table


def _baseline_table(items: Sequence[BaselineRatio]) -> Table:
    title = "\nconstant B and η over the fitted ones; above 1 the fitted ones need less"
    table = plain_table(title, "σ", "D", "C", "task × J", gap=2, no_wrap=True)
    for item in items:
        table.add_row(short(item.utd), str(item.data), str(item.compute) if item.compute is not None else "–", str(item.compared))
    return table


def _errors(errors: Mapping[str, float], names: Sequence[str]) -> list[str]:
    """Each error in log units and percent, the least marked."""
    finite = [errors[name] for name in names if np.isfinite(errors[name])]
    least = min(finite, default=np.nan)
    return [
        f"{errors[n]:.2f} {np.expm1(errors[n]):.0%}{'*' if errors[n] == least else ' '}" if np.isfinite(errors[n]) else "–" for n in names
    ]


def print_forecast(console: Console, found: Forecast) -> None:
    """A row for each stage, then disk, speeds and what was assumed."""
    total = found.to_dict()["total"]
    console.print(f"dry run of {found.study}: nothing is written into {found.directory}")
    if not total["runs_to_go"]:
        console.print(f"all {total['runs']} runs are done")
        return
    table = plain_table("", "stage", "cells to go", "runs to go", "env steps", "critic updates", "FLOPs", "time", gap=2)
    rows = [{"stage": row.stage, **vars(row)} for row in found.stages] + ([{"stage": "in all", **total}] if len(found.stages) > 1 else [])
    for row in rows:
        table.add_row(
            row["stage"],
            _of(row["cells_to_go"], row["cells"]),
            _of(row["runs_to_go"], row["runs"]),
            _count(row["env_steps"]),
            _count(row["critic_updates"]),
            "?" if row["flops"] is None else short(row["flops"]),
            "?" if row["seconds"] is None else _time(row["seconds"]),
        )
    console.print(table)
    lines = [line for row in found.stages if row.adaptive is not None for line in _adaptive_lines(row.adaptive)]
    if total["seconds"] is not None and found.workers is not None:
        lines.append(f"time    with {counted(found.workers, 'worker')} on this machine, as it is loaded now")
    if total["likely_env_steps"] is not None and total["likely_env_steps"] < total["env_steps"]:
        likely = f"{_steps(total['likely_env_steps'])} env steps"
        likely += f" and {_time(total['likely_seconds'])}" if total["likely_seconds"] is not None else ""
        lines.append(f"likely  {likely}, by where cells of this study stopped so far")
    checkpoints = "" if not found.checkpoint_bytes else f"; while it runs, up to {size_on_disk(found.checkpoint_bytes)} of checkpoints"
    lines.append(f"disk    about {size_on_disk(found.disk_bytes)}{checkpoints}")
    for speed, size in zip(found.speeds, found.speed_sizes or ("",) * len(found.speeds), strict=True):
        update, step = speed.update_seconds, speed.step_seconds
        what = f"{with_size(f'{speed.spec.task} B={speed.spec.batch_size}', size)}: {short(1 / update) if update else '?'} critic updates/s"
        lines.append(
            f"probe   {what}, {short(1 / step) if step else '?'} env steps/s without updates, {duration(speed.start_seconds)} to start"
        )
    for line in [*lines, *(f"  · {note}" for note in found.notes)]:
        console.print(line)


def _adaptive_lines(found: AdaptiveForecast) -> list[str]:
    """How far the price of an adaptive stage 1 spreads, and what the grid would take."""

    def spread(of: Spread, say: Callable[[float], str]) -> str:
        return f"{say(of.low)} to {say(of.high)}"

    parts = [f"{spread(found.env_steps, _steps)} env steps", f"{spread(found.runs_to_go, short)} runs"]
    if found.flops is not None:
        parts.append(f"{spread(found.flops, short)} FLOPs")
    if found.seconds is not None:
        parts.append(spread(found.seconds, _time))
    share = found.grid_share
    return [
        f"sweep   adaptive; 10 to 90 % of {found.studies} simulated studies: {', '.join(parts)}",
        f"grid    the whole grid would take {found.grid_runs:,} runs and {spread(found.grid_env_steps, _steps)} env steps; "
        f"the adaptive sweep takes {share.low:.0%} to {share.high:.0%} of these",
    ]


def _steps(number: float) -> str:
    return _count(int(float(f"{number:.3g}")))


def _of(left: int, whole: int) -> str:
    return str(left) if left == whole else f"{left} of {whole}"


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**7 else short(number)


def _time(seconds: float) -> str:
    return duration(seconds) if seconds < 3 * 86_400 else f"{seconds / 86_400:,.0f} days"


def size_on_disk(count: float) -> str:
    """As people say it: 3.9 MB."""
    for unit, size in _BYTES:
        if count >= size:
            return f"{count / size:.2g} {unit}" if count < 100 * size else f"{count / size:.0f} {unit}"
    return f"{count:.0f} bytes"
