"""What runs logged beside their returns, as the figures on training take it."""

from collections.abc import Collection

import numpy as np

from tdscale.runs.selection import Selection, select_runs
from tdscale.runs.store import RunStore
from tdscale.runs.types import ENV_STEP, RunDiagnostics, RunWarning, is_diagnostic
from tdscale.study import Stage, Study


def load_diagnostics(
    store: RunStore,
    study: Study,
    *,
    stages: Collection[Stage] | None = None,
    selection: Selection | None = None,
    problems: list[RunWarning] | None = None,
) -> list[RunDiagnostics]:
    """The diagnostics of the runs that answer a study's question and logged any, in run_id order; failed runs are left out.

    Each run keeps the rows in which something was logged; a column that is nowhere logged is left out.

    Args:
        store: the runs.
        study: names the tasks.
        stages: keep the runs of these stages, None = all.
        selection: those runs; None = found by `select_runs`.
        problems: as in `RunStore`.
    """
    selection = selection or select_runs(store, study, problems=problems)
    statuses = store.statuses(problems=problems)
    wanted = {
        run_id: spec
        for run_id, spec in selection.specs.items()
        if (stages is None or spec.stage in stages)
        and spec.suite != "imported"  # whose curves hold returns alone
        and run_id in statuses
        and statuses[run_id].state != "failed"
    }
    if not wanted:
        return []
    found = []
    for run_id, curve in store.curves(wanted, None, problems=problems).items():
        logged = {name: values for name, values in curve.items() if is_diagnostic(name) and np.isfinite(values).any()}
        if not logged:
            continue
        rows = np.isfinite(np.stack(list(logged.values()))).any(axis=0)
        values = {name: column[rows] for name, column in logged.items()}
        found.append(RunDiagnostics(spec=wanted[run_id], env_steps=curve[ENV_STEP][rows], values=values))
    return found
