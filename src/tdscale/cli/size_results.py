"""Laws over σ and N as a person reads them on a terminal, and the published ones."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.fitted_laws import MORE_DATA, SYMBOLS, PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.size_family import SizeFamily
from tdscale.analysis.size_forms import SIZE_POWER
from tdscale.analysis.size_law import SizeLaw
from tdscale.analysis.views import at_size
from tdscale.cli.console import plain_table
from tdscale.paper.published_sizes import PublishedSizeLaw, SizePrediction

_ONE_ROW = 12  # tasks whose used value is the same are one row above this


def print_size_laws(console: Console, laws: ScalingLaws, family: SizeFamily) -> None:
    """The sizes, the laws over σ and N, and at which N what follows holds."""
    sizes = family.sizes
    table = plain_table(f"\nnetworks of {len(sizes.names)} sizes; N: parameters of the critics", "size", "N")
    for name, size in zip(sizes.names, sizes.model_size, strict=True):
        table.add_row(name, f"{size:,.0f}")
    console.print(table)
    for law in (family.batch_size, family.learning_rate):
        if law is not None:
            console.print(_best_table(law))
    if any(law is not None and law.leeway is not None for law in (family.batch_size, family.learning_rate)):
        console.print(f"from, to: between these multiples of the best value, at any σ and N, it costs at most {MORE_DATA:.0%} more data")
    if family.data:
        for one in _data_tables(family):
            console.print(one)
        console.print(_values_table(laws, family))
        *shares, last = (f"{form.weight:.0%} {form.form.title}" for form in family.data[-1].forms)
        combined = f"{', '.join(shares)} and {last}" if shares else last
        console.print(f"predictions combine {combined} (weighted by how each predicts the ends of σ and N left out)")
    if laws.model_size is not None:
        name_of = family.ran(laws.model_size)
        where = f"N = {short(laws.model_size)}" + (f", size {name_of}" if name_of is not None else "")
        console.print(
            f"\nwhat follows is at {where}, the one in the middle; `tdscale plan` answers for every size, with --size NAME for one"
        )
        for law in (laws.batch_size, laws.learning_rate):
            if law is not None:
                console.print(f"  {law.formula()}")


def _best_table(law: PowerLaw) -> Table:
    """B*(σ, N) or η*(σ, N): its parts for σ and N, and each task's level."""
    symbol, name = SYMBOLS[law.quantity], "batch size" if law.quantity == "batch_size" else "learning rate"
    source = {"sweep": "", "as-run": ", as the runs used it", "published": ", as published"}[law.source]
    title = f"\n{name} {law.formula()}{source}\n  exponent of σ  {_known(law.exponent_estimate, law, law.identified)}"
    at = "at σ = 1"
    if law.size is not None:
        at += f", N = {short(law.size.reference)}"
        title += f"\n  slope in log N, at N = {short(law.size.reference)}  {_known(law.size.slope, law, law.size.identified)}"
    elif law.source == "sweep":
        title += "\n  N: not identified; one law for all sizes"
    table = plain_table(title, "task", at, *((f"from, × {symbol}", f"to, × {symbol}") if law.leeway is not None else ()))
    texts = [(task, law.shown(law.estimate(1.0, task))) for task in law.tasks]
    if len(texts) > _ONE_ROW and not law.optimised and len({text for _, text in texts}) == 1:
        texts = [(f"each of {len(texts)} tasks", texts[0][1])]
    for index, (task, text) in enumerate(texts):
        table.add_row(task, text, *map(str, law.leeway.factors(index) if law.leeway is not None else ()))
    return table


def _known(estimate: Estimate, law: PowerLaw, identified: bool) -> str:
    return law.shown(estimate) + ("" if identified or law.source != "sweep" else "; not identified: its interval holds 0")


def _data_tables(family: SizeFamily) -> list[Table]:
    """The sum form where the runs settle it, in two tables so that each fits a terminal; else the power law in both."""
    known, open_ones = ([law for law in family.data if law.identified == settled] for settled in (True, False))
    tables = []
    if known:
        title = "\ndata law D_J(σ, N) = D_min·(1 + (a/σ)^α + (b/N)^β), env steps; its part for σ"
        for heads, names, above in (
            (("J", "D_min", "a", "α"), ("d_min", "a", "alpha"), title),
            (("J", "b", "β"), ("b", "beta"), "\nits part for N"),
        ):
            table = plain_table(above, *heads)
            for law in known:
                values = law.parameters()
                table.add_row(short(law.threshold), *(str(values[name]) for name in names))
            tables.append(table)
    if open_ones:
        start = "at these J " if known else "data law "
        title = f"\n{start}D_J(σ, N) ∝ σ^x·N^y: D_min, a and b are not identified, as warned below"
        table = plain_table(title, "J", "D_min", "x", "y")
        for law in open_ones:
            x, y = _powers(law)
            high = law.parameters()["d_min"].high
            table.add_row(short(law.threshold), f"below {short(high)}" if high < float("inf") else "not identified", x, y)
        tables.append(table)
    return tables


def _powers(law: SizeLaw) -> tuple[str, str]:
    """The exponents of the power law in both."""
    form = next((form for form in law.forms if form.form is SIZE_POWER), None)
    if form is None:
        return "–", "–"
    value = form.form.described(form.log_scale[-1], form.parameters[-1])
    draws = form.form.described(form.log_scale_draws[:, -1], form.parameter_draws[:, -1])
    x, y = (str(Estimate.from_draws(float(value[name]), draws[name])) for name in ("exponent", "size_exponent"))
    return x, y


def _values_table(laws: ScalingLaws, family: SizeFamily) -> Table:
    """D at the highest J for each size, at the least and the largest σ."""
    top = family.data[-1]
    utds = sorted({float(u) for u in top.utd})
    utds = [utds[0], utds[-1]]
    title = f"\nD until J = {short(top.threshold)}" + (", mean over tasks" if len(laws.tasks) > 1 else "")
    table = plain_table(title, "size", "N", *(f"σ = {short(utd)}" for utd in utds))
    for name, size in zip(family.sizes.names, family.sizes.model_size, strict=True):
        law = at_size(laws, size, with_budgets=False).data[-1]
        table.add_row(name, short(size), *(str(law.estimate(utd)) for utd in utds))
    return table


def print_published_sizes(console: Console, law: PublishedSizeLaw, predictions: Sequence[SizePrediction]) -> None:
    """A published law with model size, and what it predicts: a row for each N, a column for each σ."""
    console.print(f"\n{law.name}: {law.title}; {law.source}")
    console.print(f"  {law.formula()}")
    if len(law.tasks) > 1:
        console.print(f"  D in env steps, mean over {', '.join(f'{task} (return {short(j)})' for task, j in law.thresholds.items())}")
    else:
        console.print(f"  D in env steps, of {law.tasks[0]}")
    ran = ", ".join(f"{size:,.0f}" for size in law.model_size)
    console.print(f"  run: σ = {', '.join(map(short, law.utd))}; N = {ran} (parameters of the critics)")
    utds = sorted({p.utd for p in predictions})
    if predictions:
        table = plain_table("", "N", *(f"D at σ = {short(utd)}" for utd in utds))
        by_size: dict[float, list[SizePrediction]] = {}
        for p in sorted(predictions, key=lambda p: (p.model_size, p.utd)):
            by_size.setdefault(p.model_size, []).append(p)
        for size, row in by_size.items():
            table.add_row(short(size), *(short(p.data) + "*" * (p.extrapolation > 1) for p in row))
        console.print(table)
        console.print("  · C = 10·N·B·σ·D, with B = 256 as the follow-up has it, is in --json")
        if any(p.extrapolation > 1 for p in predictions):
            console.print("  · *: σ or N outside what was run")
    for note in law.notes:
        console.print(f"  · {note}")
