"""What to run next, in the columns of the authors' own tables: B and η by the fitted laws, and kept constant."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tdscale.analysis.crossings import DEFAULT_RULE, CrossingRule, Crossings, find_crossings
from tdscale.analysis.fitted_laws import PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.report.tables import STANDARD_UTD, Table
from tdscale.runs.types import Cell

# the σ whose best B and η the paper keeps constant
BASELINE_UTD = 2.0
_FACTORS = (("", 1.0), (" x√2", np.sqrt(2.0)), (" x√0.5", np.sqrt(0.5)))


def proposed_hyperparameters(
    batch_size: PowerLaw | Sequence[PowerLaw], learning_rate: PowerLaw | Sequence[PowerLaw], utds: Sequence[float] = STANDARD_UTD
) -> pd.DataFrame:
    """B and η by the laws, and √2 times and 1/√2 times of them, a row for each task and σ.

    B is cut to a whole number, then rounded to a multiple of 16 in the columns that say so (halves to the even multiple); η has
    three digits. Columns and their order are the authors'.

    Args:
        batch_size: B*(σ), or one law per task; learning_rate: η*(σ) likewise.
        utds: σ of the rows.
    """
    batch_laws = [batch_size] if isinstance(batch_size, PowerLaw) else batch_size
    rate_laws = [learning_rate] if isinstance(learning_rate, PowerLaw) else learning_rate
    rate_of = {task: law for law in rate_laws for task in law.tasks}
    rows: list[dict[str, object]] = []
    for law in batch_laws:
        for task in (name for name in law.tasks if name in rate_of):
            for utd in utds:
                batch, rate = float(law.predict([utd], task)[0]), float(rate_of[task].predict([utd], task)[0])
                if not np.isfinite([batch, rate]).all():
                    continue
                cut = {f"Batch Size{name}": int(batch * factor) for name, factor in _FACTORS}
                row: dict[str, object] = {"Environment": task, "UTD": float(utd), "Learning Rate": _digits(rate), "Batch Size": int(batch)}
                row |= {f"Learning Rate{name}": _digits(rate * factor) for name, factor in _FACTORS[1:]}
                row |= cut | {f"{name}(rounded)": 16 * round(value / 16) for name, value in cut.items()}
                rows.append(row)
    return pd.DataFrame(rows)


def baseline_hyperparameters(
    cells: Sequence[Cell],
    threshold: float,
    *,
    utd: float = BASELINE_UTD,
    utds: Sequence[float] = STANDARD_UTD,
    rule: CrossingRule = DEFAULT_RULE,
) -> pd.DataFrame:
    """Each task's best (B, η) of one σ of a sweep, the same for every σ; `is_new_experiment`: the sweep has no such cell.

    Args:
        cells: of the sweep.
        threshold: J at which the best is chosen.
        utd: the σ whose best is kept; utds: σ of the rows.
        rule: of the crossings.
    """
    here = [cell for cell in cells if np.isclose(cell.spec.utd, utd)]
    crossings = find_crossings(here, [threshold], n_draws=0, seed=0, rule=rule)
    seen = {(c.spec.task, c.spec.utd, c.spec.batch_size, c.spec.learning_rate) for c in cells}
    return pd.DataFrame(
        [
            {
                "Environment": task,
                "UTD": float(at),
                "Learning Rate": rate,
                "Batch Size": batch,
                "is_new_experiment": (task, float(at), batch, rate) not in seen,
            }
            for task, (batch, rate) in constant_baseline(here, crossings, utd).items()
            for at in utds
        ]
    )


def constant_baseline(cells: Sequence[Cell], crossings: Crossings, utd: float) -> dict[str, tuple[int, float]]:
    """(B, η) of each task's best cell at one σ of a sweep, to be kept for every σ; tasks that reach nothing there are left out.

    The highest threshold that one of the task's cells reaches decides; of equals the smallest B wins, then the smallest η.

    Args:
        cells: of a sweep.
        crossings: theirs.
        utd: the σ.
    """
    chosen = {}
    for task in dict.fromkeys(cell.spec.task for cell in cells):
        members = [i for i, cell in enumerate(cells) if cell.spec.task == task and np.isclose(cell.spec.utd, utd)]
        reached = np.flatnonzero(np.isfinite(crossings.data[members]).any(axis=0))
        if reached.size:
            top = reached[-1]
            best = min(members, key=lambda i: (crossings.data[i, top], cells[i].spec.batch_size, cells[i].spec.learning_rate))
            chosen[task] = (cells[best].spec.batch_size, cells[best].spec.learning_rate)
    return chosen


def proposed_tables(laws: ScalingLaws, sweep: Sequence[Cell]) -> list[Table]:
    """Both tables, where there is a sweep: by the laws, and constant, with the best of the swept σ nearest to 2."""
    if not sweep:
        return []
    found = []
    if laws.batch_size is not None and laws.learning_rate is not None:
        frame = proposed_hyperparameters(laws.batch_size, laws.learning_rate)
        note = "B and η by the laws, with √2 times and 1/√2 times of them; B cut to a whole number, and rounded to a multiple of 16."
        found.append(Table(name="proposed", title="B and η to run", note=note, frame=frame, shown=frame.astype(str)))
    nearest = min({cell.spec.utd for cell in sweep}, key=lambda utd: abs(np.log(utd / BASELINE_UTD)))
    frame = baseline_hyperparameters(sweep, laws.thresholds[-1], utd=nearest, rule=laws.method.crossing)
    note = f"The best B and η of σ = {nearest:g} kept for every σ, to compare with; is_new_experiment: not a cell of the sweep."
    found.append(Table(name="proposed_baseline", title="Constant B and η", note=note, frame=frame, shown=frame.astype(str)))
    return [table for table in found if not table.frame.empty]


def _digits(value: float) -> float:
    return float(f"{value:.3g}")
