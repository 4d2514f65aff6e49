"""`tdscale validate` as a person reads it: a table for each kind of check, what is best in a sentence; within 100 columns."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from tdscale.analysis.estimate import short
from tdscale.validation import PREDICTORS, BaselineRatio, HeldOut, HeldOutBudget, HeldOutTask, Validation
from tdscale.validation.tasks import TASK_PREDICTORS

_WIDTH = 100


def print_validation(console: Console, validation: Validation) -> None:
    """Errors of held-out predictions beside simpler ones, coverage, and what was not checked."""
    if not console.is_terminal:  # rich takes 80 columns then, and would cut what is longer
        console.width = max(console.width, _WIDTH)
    if validation.held_out or validation.leave_one_out:
        console.print(_utd_table([*validation.held_out, *validation.leave_one_out]))
    if validation.tasks:
        console.print(_task_table(validation.tasks))
    if validation.held_out or validation.tasks:
        _say(console, "error: mean |log predicted − log measured|, and in percent; * the best of the row; in 80 %: measured D within the")
        _say(console, "interval of the law and of their own noise")
    sentence = validation.best_sentence()
    if sentence is not None:
        _say(console, f"\n{sentence}")
    parts = [f"{name} {value.covered} of {value.compared} ({value.share:.0%})" for name, value in validation.coverage.items()]
    if parts:
        _say(console, f"measured D within the 80 % interval: {', '.join(parts)}")
    if validation.budgets:
        console.print(_budget_table(validation.budgets))
    if validation.hyperparameters:
        console.print(_baseline_table(validation.hyperparameters))
        censored = sum(ratio.constant_censored for ratio in validation.hyperparameters)
        if censored:
            _say(console, f"{censored} pairs of task and J, which constant B and η never reach, are not part of the ratios")
    if validation.skipped:
        _say(console, "")
    for text in validation.skipped:
        _say(console, f"not checked: {text}")


def _utd_table(items: Sequence[HeldOut]) -> Table:
    table = _table("\nD predicted at σ that were left out", "σ left out", "beyond", *PREDICTORS, "in 80 %")
    for item in items:
        beyond = f"{item.factor:.2g}×" if item.factor > 1 else "inside"
        row = _errors(item.errors, PREDICTORS)
        table.add_row(", ".join(map(short, item.utd)), beyond, *row, f"{item.covered}/{item.compared}")
    return table


def _task_table(items: Sequence[HeldOutTask]) -> Table:
    title = "\nD of a task that was left out but for one σ"
    table = _table(title, "task", "known at", *TASK_PREDICTORS, "interval", "of all runs", "in 80 %")
    for item in items:
        row = _errors(item.errors, TASK_PREDICTORS)
        widths = (f"×÷ {item.width:.2f}", f"×÷ {item.full_width:.2f}")
        table.add_row(item.task, f"σ = {short(item.given)}", *row, *widths, f"{item.covered}/{item.compared}")
    return table


def _budget_table(items: Sequence[HeldOutBudget]) -> Table:
    title = "\nσ* of budgets that were left out; regret: what it costs beyond the cheapest σ"
    table = _table(title, "J left out", "F beyond", "error of σ*(F)", "of the last σ* kept", "regret", "kept")
    for item in items:
        law, kept = _errors({"law": item.error, "kept": item.constant_error}, ("law", "kept"))
        regrets = (f"{100 * item.regret:.2g} %", f"{100 * item.constant_regret:.2g} %")
        table.add_row(", ".join(map(short, item.thresholds)), f"{item.factor:.2g}×", law, kept, *regrets)
    return table


def _baseline_table(items: Sequence[BaselineRatio]) -> Table:
    title = "\nconstant B and η over the fitted ones; above 1 the fitted ones need less"
    table = _table(title, "σ", "D", "C", "task × J")
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


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return table


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False)
