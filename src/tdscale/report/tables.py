"""The report's tables, as pandas frames: `frame` with numbers for CSV, `shown` with text for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tdscale.analysis.compute import UNIT_NAMES
from tdscale.analysis.data_law import DataPoints
from tdscale.analysis.estimate import LEVEL, Estimate, short
from tdscale.analysis.fitted_laws import MORE_DATA, SYMBOLS
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning import Confirmation, Plan, round_batch
from tdscale.planning.plan import percent
from tdscale.report.style import plain_utd
from tdscale.validation import PREDICTORS, SIZE_PREDICTORS, HeldOut, HeldOutSize, Validation

# the σ of the paper's Tables 4 to 7
STANDARD_UTD = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
DOMAIN = "all tasks"
# batch sizes are run as multiples of this (the paper, section 4)
BATCH_MULTIPLE = 16


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table under a file name and a title."""

    name: str
    title: str
    note: str
    frame: pd.DataFrame
    shown: pd.DataFrame


def all_tables(
    laws: ScalingLaws,
    points: DataPoints | None,
    plans: Sequence[Plan],
    validation: Validation,
    confirmations: Sequence[Confirmation] = (),
) -> list[Table]:
    """Every table that has a row."""
    tables = [
        laws_table(laws),
        coefficients_table(laws),
        crossings_table(laws, points),
        hyperparameter_table(laws, "batch_size"),
        hyperparameter_table(laws, "learning_rate"),
        tolerated_table(laws),
        budget_table(laws),
        plans_table(plans),
        confirmations_table(confirmations),
        held_out_table(validation),
    ]
    return [table for table in tables if not table.frame.empty]


def laws_table(laws: ScalingLaws) -> Table:
    """Every parameter of every law with its interval."""
    rows: list[tuple[str, float | None, str, str, Estimate]] = []
    texts: dict[str, Callable[[Estimate], str]] = {}
    for symbol, power_law in (("B*(σ)", laws.batch_size), ("η*(σ)", laws.learning_rate)):
        if power_law is None:
            continue
        texts[symbol] = power_law.shown
        rows.append((symbol, None, DOMAIN, "exponent", power_law.exponent_estimate))
        at_one = "value at σ = 1" if power_law.offset is None else "β, at σ = 1 beyond the least"
        for task in power_law.tasks:
            rows.append((symbol, None, task, at_one, power_law.coefficient_estimate(task)))
            least = power_law.offset_estimate(task)
            if least is not None:
                rows.append((symbol, None, task, f"{symbol[0]}_min", least))
    for law in laws.data:
        rows += [("D_J(σ)", law.threshold, DOMAIN, "α", law.alpha()), ("D_J(σ)", law.threshold, DOMAIN, "β", law.beta())]
        rows += [("D_J(σ)", law.threshold, task or DOMAIN, "D_min", law.d_min(task)) for task in (None, *law.tasks)]
    if laws.budget is not None and laws.budget.fitted:
        rows.append(("σ*(F)", None, DOMAIN, "coefficient", laws.budget.coefficient_estimate))
        rows.append(("σ*(F)", None, DOMAIN, "exponent", laws.budget.exponent_estimate))
    frame = pd.DataFrame(
        [(law, j, task, name, e.value, e.low, e.high, e.level) for law, j, task, name, e in rows],
        columns=["law", "J", "task", "parameter", "value", "low", "high", "level"],
    )
    shown = pd.DataFrame(
        [(law, "" if j is None else f"{j:.4g}", task, name, texts.get(law, str)(e)) for law, j, task, name, e in rows],
        columns=["law", "J", "task", "parameter", "value [interval]"],
    )
    with_offsets = any(law is not None and law.offset is not None for law in (laws.batch_size, laws.learning_rate))
    power = "B_min, η_min plus β times σ to the exponent." if with_offsets else "value at σ = 1 times σ to the exponent."
    return Table(
        name="laws",
        title="Parameters of the laws",
        note=f"B*, η*: {power} D_J(σ) = D_min·(1 + (σ/β)^−α).",
        frame=frame,
        shown=shown,
    )


def coefficients_table(laws: ScalingLaws) -> Table:
    """β_η, β_B and D_min of each task, the latter at the highest J that has a law (the paper's Table 2)."""
    law = laws.data[-1] if laws.data else None
    rows, shown = [], []
    for task in laws.tasks:
        of_task: dict[str, Estimate] = {}
        texts: dict[str, Callable[[Estimate], str]] = {}
        for power_law in (laws.learning_rate, laws.batch_size):
            if power_law is not None:
                name = f"beta_{power_law.quantity}"
                of_task[name], texts[name] = power_law.estimate(1.0, task), power_law.shown
        if law is not None:
            of_task["d_min"] = law.d_min(task)
        known = {name: e for name, e in of_task.items() if np.isfinite(e.value)}
        if not known:
            continue
        row: dict[str, object] = {"task": task}
        for name, e in known.items():
            row |= _with_ends(name, e)
        rows.append(row)
        shown.append({"task": task} | {_COEFFICIENTS[name]: texts.get(name, str)(e) for name, e in known.items()})
    at = ""
    if law is not None:
        at = f" D_min is that at J = {law.threshold:.4g}" + ("." if law.identified else ", which these runs do not settle.")
    return Table(
        name="coefficients",
        title="Coefficients of the tasks",
        note=f"β_η and β_B are η* and B* at σ = 1, with 80 % intervals.{at} The paper’s Table 2.",
        frame=pd.DataFrame(rows),
        shown=pd.DataFrame(shown).fillna("–"),
    )


_COEFFICIENTS = {"beta_learning_rate": "β_η", "beta_batch_size": "β_B", "d_min": "D_min (env steps)"}


def crossings_table(laws: ScalingLaws, points: DataPoints | None) -> Table:
    """D_J of each task, σ and threshold, "> bound" where it was not reached."""
    rows = []
    shown: dict[tuple[str, str], dict[str, str]] = {}
    fitted = {law.threshold: law for law in laws.data}
    thresholds = list(points.thresholds) if points is not None else list(fitted)
    for index, threshold in enumerate(thresholds):
        law = fitted.get(float(threshold))
        if law is not None:
            utds, data, low, high, bound = law.utd, law.data, law.data_low, law.data_high, law.bound
        else:
            assert points is not None
            utds, data, bound = points.utd, points.data[0, ..., index], points.bound
            draws = np.where(np.isnan(points.data[1:, ..., index]), np.inf, points.data[1:, ..., index])
            low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="nearest")
        for row, task in enumerate(laws.tasks):
            for column, utd in enumerate(utds):
                value, limit = float(data[row, column]), float(bound[row, column])
                if np.isnan(value):
                    continue
                censored = bool(np.isposinf(value))
                ends = (float(low[row, column]), float(high[row, column]))
                rows.append((task, float(utd), float(threshold), None if censored else value, *ends, limit, censored))
                text = f"> {short(limit)}" if censored else f"{short(value)} [{short(ends[0])}, {short(ends[1])}]"
                shown.setdefault((task, plain_utd(float(utd))), {})[f"J = {threshold:.4g}"] = text
    columns = ["task", "σ", "J", "env_steps", "low", "high", "last_step_seen", "censored"]
    wide = pd.DataFrame([{"task": task, "σ": utd, **texts} for (task, utd), texts in shown.items()]).fillna("–")
    note = "Env steps until J, with the interval from seed noise. “>”: not reached by the last step seen; the law takes it as a bound."
    return Table(name="crossings", title="Data until each threshold, D_J", note=note, frame=pd.DataFrame(rows, columns=columns), shown=wide)


def shown_utd(laws: ScalingLaws) -> list[float]:
    """σ of the prediction tables: the paper's, or powers of two about those that were run where they lie elsewhere."""
    law = laws.batch_size or laws.learning_rate
    if law is None or (law.utd.max() >= STANDARD_UTD[0] and law.utd.min() <= STANDARD_UTD[-1]):
        return list(STANDARD_UTD)
    return [float(2.0**p) for p in range(int(np.floor(np.log2(law.utd.min()))) - 1, int(np.ceil(np.log2(law.utd.max()))) + 2)]


def hyperparameter_table(laws: ScalingLaws, quantity: str) -> Table:
    """B* or η* predicted for each task over σ (the paper's Tables 4 to 7)."""
    law = laws.batch_size if quantity == "batch_size" else laws.learning_rate
    rows, shown = [], []
    if law is not None and np.isfinite(law.exponent):
        known = law.utd[np.isfinite(law.points).any(axis=0)]
        for task in law.tasks:
            if not np.isfinite(law.coefficient_estimate(task).value):
                continue
            texts = {"task": task}
            for utd in shown_utd(laws):
                estimate = law.estimate(utd, task)
                factor = float(max(known.min() / utd, utd / known.max(), 1.0))
                rounded = _rounded(estimate) if quantity == "batch_size" else ()
                rows.append((task, utd, *rounded, estimate.value, estimate.low, estimate.high, estimate.level, factor))
                texts[f"σ = {plain_utd(utd)}"] = _interval_text(*rounded) if rounded else law.shown(estimate)
            shown.append(texts)
    symbol = "B*" if quantity == "batch_size" else "η*"
    name = "batch size" if quantity == "batch_size" else "learning rate"
    note = f"{symbol}(σ)" + (" with its 80 % interval" if law is None or law.source == "sweep" else "")
    note += f", to multiples of {BATCH_MULTIPLE}, as it is run; the CSV has it unrounded, too." if quantity == "batch_size" else "."
    note += f" The paper’s Tables {'4 and 6' if quantity == 'batch_size' else '5 and 7'}."
    if law is not None and law.source == "as-run":
        note += " There was no sweep: this is the law through the values that the runs used. They are not optimised, so without intervals."
    elif law is not None and law.source == "published":
        note += " There was no sweep: this is the published law that study.toml names, known without intervals."
    used = ["as_run", "as_run_low", "as_run_high"] if quantity == "batch_size" else []
    frame = pd.DataFrame(rows, columns=["task", "σ", *used, quantity, "low", "high", "level", "extrapolation"])
    return Table(name=quantity, title=f"Predicted {name}, {symbol}(σ)", note=note, frame=frame, shown=pd.DataFrame(shown))


def tolerated_table(laws: ScalingLaws) -> Table:
    """How exact B and η must be: the range that costs at most 5 % more data, for each task and σ of the sweep."""
    rows, shown = [], []
    for law in (laws.batch_size, laws.learning_rate):
        if law is None or law.leeway is None:
            continue
        for task in (*law.tasks, None):
            texts = {}
            for utd in map(float, law.utd):
                found = law.tolerated(utd, task)
                if found is None:
                    continue
                row: dict[str, object] = {"quantity": law.quantity, "task": task or DOMAIN, "σ": utd}
                row |= _with_ends("from", found.low) | _with_ends("to", found.high)
                rows.append(row | {"beyond": found.beyond})
                texts[f"σ = {plain_utd(utd)}"] = f"{short(found.low.value)} to {short(found.high.value)}" + "*" * found.beyond
            if texts:
                below, above = law.leeway.factors(-1 if task is None else law.tasks.index(task))
                symbol = SYMBOLS[law.quantity][0]
                shown.append({"": symbol, "task": task or DOMAIN, "times the best": f"{below} to {above}"} | texts)
    note = (
        f"B (η at its best), and η (B at its best), that cost at most {MORE_DATA:.0%} more data than the best value of the law, by the "
        "response surface through all cells of the sweep. *: partly beyond the values that were swept, where only its shape tells. "
        "The CSV has the intervals of both ends."
    )
    return Table(
        name="tolerated", title="How exact B and η must be", note=note, frame=pd.DataFrame(rows), shown=pd.DataFrame(shown).fillna("–")
    )


def _rounded(estimate: Estimate) -> tuple[float, ...]:
    """B and the ends of its interval as they would be run; an end that is not known stays so."""
    values = (estimate.value, estimate.low, estimate.high)
    return tuple(float(round_batch(v, BATCH_MULTIPLE)) if np.isfinite(v) else v for v in values)


def _interval_text(value: float, low: float, high: float) -> str:
    return f"{value:.0f}" + (f" [{low:.0f}, {high:.0f}]" if np.isfinite(low) and np.isfinite(high) else "")


def budget_table(laws: ScalingLaws) -> Table:
    """The cheapest σ for each threshold."""
    points = laws.budget.points if laws.budget is not None else ()
    frame = pd.DataFrame(
        [
            (p.threshold, p.budget.value, p.budget.low, p.budget.high, p.utd.value, p.utd.low, p.utd.high, p.data, p.compute, p.at_edge)
            for p in points
        ],
        columns=["J", "budget", "budget_low", "budget_high", "σ", "σ_low", "σ_high", "env_steps", "compute", "at_edge"],
    )
    shown = pd.DataFrame(
        [
            (f"{p.threshold:.4g}", str(p.budget), str(p.utd) + (" (at an end)" if p.at_edge else ""), short(p.data), short(p.compute))
            for p in points
        ],
        columns=["J", f"F ({UNIT_NAMES[laws.unit]})", "σ*", "D (env steps)", f"C ({laws.compute_name})"],
    )
    return Table(
        name="budget",
        title="Cheapest way to each threshold",
        note="The σ of least F = C + δ·D among those that were run.",
        frame=frame,
        shown=shown,
    )


def _with_ends(name: str, estimate: Estimate | None) -> dict[str, object]:
    """An estimate as three columns."""
    ends = (estimate.value, estimate.low, estimate.high) if estimate is not None else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


LIMITS = {"data": "D ≤", "compute": "C ≤", "budget": "F ≤"}


def confirmations_table(confirmations: Sequence[Confirmation]) -> Table:
    """What was predicted and what was measured, a row for each quantity of each plan that was run."""
    rows, shown = [], []
    for one in confirmations:
        for part in one.compared:
            row: dict[str, object] = {"problem": one.problem, "limit": one.limit, "task": one.task, "J": one.threshold, "σ": one.utd}
            row |= {"quantity": part.quantity, "unit": part.unit, "seeds": one.seeds, "reached": one.reached}
            row |= _with_ends("predicted", part.predicted) | _with_ends("seen", part.seen)
            rows.append(row | {"inside": part.inside, "ratio": part.ratio})
            shown.append(
                {
                    "limit": f"{LIMITS[one.problem]} {short(one.limit)}",
                    "task": one.task or DOMAIN,
                    "J": f"{one.threshold:.4g}",
                    "σ": short(one.utd),
                    "seeds": str(one.seeds),
                    "quantity": part.unit,
                    "predicted": str(part.predicted),
                    "measured": str(part.seen or f"J not reached by {one.last_step}"),
                    "measured / predicted": "–" if part.ratio is None else f"{part.ratio:.2f}",
                    "inside": "yes" if part.inside else "no",
                }
            )
    return Table(
        name="confirmations",
        title="Plans that were run",
        note="What plans predicted and what fresh seeds at their σ, B and η showed (tdscale confirm). Inside: in the predicted interval.",
        frame=pd.DataFrame(rows),
        shown=pd.DataFrame(shown),
    )


def plans_table(plans: Sequence[Plan]) -> Table:
    """The plans' answers."""
    rows, shown = [], []
    for plan in plans:
        row: dict[str, object] = {
            "problem": plan.problem,
            "limit": plan.limit,
            "task": plan.task,
            "feasible": plan.feasible,
            "chance": plan.chance,
            "J": plan.threshold,
        }
        row |= {"σ": plan.utd, "batch_size": plan.batch_size, "learning_rate": plan.learning_rate}
        for name in ("data", "compute", "budget"):
            row |= _with_ends(name, getattr(plan, name))
        rows.append(row | {"extrapolation": plan.extrapolation})
        shown.append(
            {
                "limit": f"{LIMITS[plan.problem]} {short(plan.limit)}",
                "task": plan.task or DOMAIN,
                "chance": "–" if plan.chance is None else percent(plan.chance),
                "J": "–" if plan.threshold is None else f"{plan.threshold:.4g}",
                "σ": plan.ratio(),
                "B": plan.run_with("batch_size"),
                "η": plan.run_with("learning_rate"),
                "D (env steps)": str(plan.data or "–"),
                f"C ({plan.compute_name})": str(plan.compute or "–"),
                f"F ({plan.unit_name})": str(plan.budget or "–"),
            }
        )
    return Table(
        name="plans",
        title="Plans",
        note="What each limit allows, as in the section “Plan”.",
        frame=pd.DataFrame(rows),
        shown=pd.DataFrame(shown),
    )


def held_out_table(validation: Validation) -> Table:
    """Errors on what the fit had not seen."""
    rows: list[dict[str, object]] = []
    shown = []
    named: list[tuple[str, HeldOut | HeldOutSize]] = [
        (f"σ = {', '.join(plain_utd(u) for u in held.utd)}", held) for held in validation.held_out
    ]
    named += [(held.name, held) for held in validation.sizes]
    predictors = SIZE_PREDICTORS if validation.sizes else PREDICTORS
    for left_out, held in named:
        rows.append(
            {"left_out": left_out, "factor": held.factor}
            | {f"error of {name}": held.errors.get(name, float("nan")) for name in predictors}
            | {"bias": held.bias, "covered": held.covered, "compared": held.compared}
        )
        shown.append(
            {"left out": left_out, "beyond by": f"×{held.factor:.3g}"}
            | {name: factor_of(held.errors.get(name, float("nan"))) for name in predictors}
            | {"in the interval": f"{held.covered} of {held.compared}"}
        )
    if validation.budget is not None:
        budget = validation.budget
        left_out = f"σ* at J = {', '.join(f'{j:.4g}' for j in budget.thresholds)}"
        rows.append(
            {"left_out": left_out, "factor": budget.factor, "error of law": budget.error, "error of constant": budget.constant_error}
        )
        shown.append(
            {
                "left out": left_out,
                "beyond by": f"×{budget.factor:.3g}",
                "law": factor_of(budget.error),
                "constant": factor_of(budget.constant_error),
            }
        )
    note = (
        "The factor by which D (for budgets σ*) was missed, on average: 1.1 is 10 % off. Predictors: the law, "
        + (
            "the sum and the product form alone, a power law in both, the nearest point's value."
            if validation.sizes
            else "a pure power law, the nearest σ's value, a constant."
        )
        + " In the CSV: mean absolute errors of the logarithm."
    )
    return Table(
        name="held_out",
        title="Predictions against runs left out",
        note=note,
        frame=pd.DataFrame(rows),
        shown=pd.DataFrame(shown).fillna("–"),
    )


def factor_of(error: float) -> str:
    """A mean error of the logarithm as a factor."""
    return f"×{np.exp(error):.3g}" if np.isfinite(error) else "–"


def to_csv(table: Table) -> str:
    """The numbers as CSV, ten digits."""
    return str(table.frame.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def cells_as_text(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what is shown; escaping is the page's work."""
    return [str(c) for c in table.shown.columns], [[str(v) for v in row] for row in table.shown.itertuples(index=False, name=None)]
