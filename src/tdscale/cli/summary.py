"""Results as a person reads them on a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from tdscale.analysis.budget import held_out_laws, regret_in_words
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.scaling_laws import PowerLaw, ScalingLaws
from tdscale.paper import Prediction, PublishedLaws
from tdscale.planning import Confirmation, Plan
from tdscale.runs.types import RunWarning

_HEADINGS = {
    "compute": "at most C = {limit} {unit}: the least data",
    "data": "at most D = {limit} env steps: the least compute",
    "budget": "at most F = C + δ·D = {limit} {unit}: the highest return",
}


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", padding=(0, 2))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index == 0)
    return table


def print_laws(console: Console, laws: ScalingLaws) -> None:
    """Every law with its intervals, then the warnings."""
    _line(
        console,
        f"\n{laws.study}: laws by the {laws.method.name} method; [low, high] hold the truth with probability {Estimate(0, 0, 0).level:.0%}",
    )
    for law, name in ((laws.batch_size, "batch size B*(σ)"), (laws.learning_rate, "learning rate η*(σ)")):
        if law is not None:
            console.print(_power_table(law, name))
    if laws.data:
        table = _table("\ndata law D_J(σ) = D_min·(1 + (σ/β)^−α), env steps", "J", "D_min", "β", "α")
        for entry in laws.data:
            if entry.identified:
                table.add_row(short(entry.threshold), str(entry.d_min()), str(entry.beta()), str(entry.alpha()))
            else:
                table.add_row(
                    short(entry.threshold), f"below {short(entry.d_min().high)}", "not identified", f"as a power law: {entry.formula()[9:]}"
                )
        console.print(table)
        top = laws.data[-1]
        if len(laws.tasks) > 1 and top.identified:
            table = _table(f"\nD_min of each task at J = {short(top.threshold)}", "task", "D_min")
            for task in top.tasks:
                table.add_row(task, str(top.d_min(task)))
            console.print(table)
        if len(top.forms) > 1:
            *shares, last = (f"{form.weight:.0%} {form.form.title}" for form in top.forms)
            _line(console, f"predictions combine {', '.join(shares)} and {last} (weighted by how each predicts σ left out)")
    if laws.budget is not None and laws.budget.fitted:
        budget = laws.budget
        exponent = Estimate.from_draws(budget.exponent, budget.exponent_draws)
        table = _table(
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
            exponent = Estimate.from_draws(held.exponent, held.exponent_draws)
            _line(console, f"without the {'two largest budgets' if count > 1 else 'largest budget'}: {held.formula()}, exponent {exponent}")
        if budget.regret is not None:
            _line(console, f"regret: how much more F an uncertain σ* costs. By the law σ*(F), {regret_in_words(budget.regret)}")
    timed = {task: model for task, model in laws.compute.items() if model.accounting == "measured"}
    if timed:
        scatter = ", ".join(f"{model.scatter:.0%} on {task}" for task, model in timed.items())
        _line(console, f"\nC in seconds of updates, as fitted to those measured; single cells lie off by {scatter}")
    print_warnings(console, laws.warnings)


def _power_table(law: PowerLaw, name: str) -> Table:
    estimate = law.exponent_estimate
    state = "" if law.identified or law.source != "sweep" else "; not identified: its interval holds 0"
    source = {"sweep": "", "as-run": ", as the runs used it", "published": ", as published"}[law.source]
    table = _table(f"\n{name} = coefficient·σ^exponent{source}; exponent {estimate}{state}", "task", "coefficient (at σ = 1)")
    for task in law.tasks:
        table.add_row(task, str(law.coefficient_estimate(task)))
    return table


def print_warnings(console: Console, warnings: Iterable[RunWarning]) -> None:
    """Each code's warnings, at most three of one kind."""
    by_code: dict[str, list[RunWarning]] = {}
    for warning in warnings:
        by_code.setdefault(warning.code, []).append(warning)
    if by_code:
        _line(console, "\nto know")
    for group in by_code.values():
        for warning in group[:3]:
            _line(console, f"  · {warning.message}")
        if len(group) > 3:
            _line(console, f"    and {len(group) - 3} more like this")


def print_plan(console: Console, plan: Plan) -> None:
    """The question, the answer, the second best, what to know."""
    scope = f" on {plan.task}" if plan.task else ""
    price = f", δ = {short(plan.data_cost)} per env step ({plan.data_cost_source})" if plan.problem == "budget" and plan.data_cost else ""
    _line(console, f"\nplan{scope}, {_HEADINGS[plan.problem].format(limit=short(plan.limit), unit=plan.unit_name)}{price}")
    if not plan.feasible:
        _line(console, f"  {'no answer' if plan.refused else 'no plan'}: {plan.reason}")
        return
    for name, text in _plan_rows(plan):
        _line(console, f"  {name:<7} {text}")
    kept = f" It is kept in {plan.chance:.0%} of the bootstrap draws." if plan.chance is not None and plan.chance < 0.995 else ""
    _line(console, f"  {plan.binding}{kept}")
    more = _relaxed(plan)
    if more:
        _line(console, f"  {more}")
    if plan.alternatives:
        console.print(_alternatives(plan))
    for note in plan.notes:
        _line(console, f"  · {note}")


def _plan_rows(plan: Plan) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if plan.threshold is None:
        rows.append(("return", "beyond the highest threshold fitted: not predicted"))
    else:
        interval = plan.threshold_range
        between = f"   in the draws {short(interval.low)} to {short(interval.high)}" if interval and interval.low < interval.high else ""
        rows.append(("return", f"{short(plan.threshold)} (normalised){between}"))
    assert plan.utd is not None
    best = plan.utd_range
    # published laws have no interval
    rows.append(("σ", short(plan.utd) + (f"   best σ in [{short(best.low)}, {short(best.high)}]" if best and best.low < best.high else "")))
    if plan.batch_size is not None:
        rows.append(("B", f"{plan.batch_size}   rounded from B* = {plan.batch_size_range}"))
    if plan.learning_rate is not None:
        rows.append(("η", str(plan.learning_rate_range)))
    priced = f", with δ = {short(plan.data_cost)}" if plan.problem != "budget" and plan.data_cost else ""
    units = (("D", plan.data, "env steps"), ("C", plan.compute, plan.compute_name), ("F", plan.budget, plan.unit_name + priced))
    rows += [(name, f"{value} {unit}") for name, value, unit in units if value is not None]
    return rows


def _relaxed(plan: Plan) -> str:
    """What 10 % more would buy."""
    more = plan.relaxed
    if more is None or plan.data is None:
        return ""
    if plan.problem == "budget":
        return f"10% more budget would reach J = {short(more.threshold or 0)}, at σ = {short(more.utd)}."
    if plan.problem == "compute":
        saved, bought = 1 - more.data / plan.data.value, f"D = {short(more.data)}, {{saved:.1%}} less"
    elif more.compute is not None and plan.compute is not None and plan.compute.value > 0:
        saved, bought = 1 - more.compute / plan.compute.value, f"C = {short(more.compute)}, {{saved:.1%}} less"
    else:
        return ""
    return f"10% more {plan.problem} would buy {bought.format(saved=saved)}, at σ = {short(more.utd)}." if saved > 0 else ""


def _alternatives(plan: Plan) -> Table:
    """D, C and F of each with their change against the plan's."""
    pairs = [("D", plan.data), ("C", plan.compute), ("F", plan.budget)]
    known = [(name, value.value) for name, value in pairs if value is not None]
    table = _table("", "  instead", "σ", "B", *(name for name, _ in known), "limit")
    table.padding = (0, 1)  # within 80 columns
    for row in plan.alternatives:
        values = [value.value for value in (row.data, row.compute, row.budget) if value is not None]
        changes = [_change(value, here) for value, (_, here) in zip(values, known, strict=True)]
        batch = str(row.batch_size) if row.batch_size is not None else "–"
        table.add_row(f"  {row.label}", short(row.utd), batch, *changes, "kept" if row.within_limit else "broken")
    return table


def _change(value: float, here: float) -> str:
    """A value, and its change against the plan's, which may be a C of 0: where warm-up alone reaches J."""
    return f"{short(value)} {value / here - 1:+.0%}".replace(" -", " −") if here > 0 else short(value)


def print_published(console: Console, laws: PublishedLaws, task: str | None, predictions: Sequence[Prediction]) -> None:
    """One set of published laws, its coefficients, and what it predicts."""
    _line(console, f"\n{laws.name}: {laws.title}; {laws.source}")
    top = laws.data[-1]
    _line(console, f"  B*(σ) = β_B·σ^{short(laws.batch_size_exponent)}   η*(σ) = β_η·σ^{short(laws.learning_rate_exponent)}")
    _line(console, f"  D_J(σ) = D_min·(1 + (σ/{short(top.beta)})^{short(-top.alpha)}) at J = {short(top.threshold)}")
    if laws.budget is not None:
        _line(console, f"  σ*(F) = {short(laws.budget[0])}·F^{short(laws.budget[1])} at δ = {short(laws.data_cost)}")
    table = _table("", "task", "β_B", "β_η", "D_min")
    for name in (task,) if task is not None else laws.tasks:
        table.add_row(name, short(laws.batch_size[name]), short(laws.learning_rate[name]), short(top.tasks.get(name, float("nan"))))
    if task is None:
        table.add_row("all tasks", "", "", short(top.d_min))
    console.print(table)
    if predictions:
        table = _table("", "task", "σ", "B", "rounded", "η", "D (env steps)", "C (FLOPs)")
        for p in predictions:
            needs = (short(float("nan") if value is None else value) for value in (p.data, p.compute))
            table.add_row(p.task, short(p.utd), short(p.batch_size), str(p.batch_size_rounded), short(p.learning_rate), *needs)
        console.print(table)
    for note in laws.notes:
        _line(console, f"  · {note}")
    far = sorted({p.utd for p in predictions if p.extrapolation > 1})
    if predictions:
        _line(
            console,
            f"  · D is for J = {short(top.threshold)}; C = 10·N·B·σ·D with N = {short(laws.model_size)}, the actor's updates neglected",
        )
    if far:
        _line(console, f"  · σ = {', '.join(map(short, far))}: outside the σ that were run, {short(laws.utd[0])} to {short(laws.utd[-1])}")


def print_confirmation(console: Console, outcome: Confirmation) -> None:
    """What was foretold beside what was seen."""
    title = f"\nreturn {short(outcome.threshold)} at σ = {short(outcome.utd)}, {outcome.seeds} fresh seeds for each task"
    table = _table(title, "", "foretold", "seen", "seen / foretold", "")
    for part in outcome.compared:
        seen = str(part.seen) if part.seen is not None else f"J not reached by {outcome.last_step}"
        ratio = "" if part.ratio is None else f"{part.ratio:.2f}"
        table.add_row(f"{part.quantity}, {part.unit}", str(part.predicted), seen, ratio, "inside" if part.inside else "outside")
    console.print(table)
    if outcome.diverged:
        _line(console, f"{outcome.diverged} runs diverged; they count as not reaching J")


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False)
