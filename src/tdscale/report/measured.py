"""The cells behind the laws: those whose curves and crossings the report shows."""

from collections.abc import Sequence

from tdscale.analysis.data import DataPoints
from tdscale.analysis.fit import measure_data
from tdscale.analysis.laws import ScalingLaws
from tdscale.analysis.options import FitOptions
from tdscale.runs.types import Cell


def measured_cells(laws: ScalingLaws, cells: Sequence[Cell]) -> tuple[list[Cell], DataPoints | None]:
    """The cells that measured D_J(σ), one per (task, σ), and their crossings; ([], None) where there are none."""
    own = [cell for cell in cells if cell.spec.task in laws.tasks and cell.spec.stage != "confirm" and len(cell.env_steps)]
    if not own:
        return [], None
    options = FitOptions(study=laws.study, tasks=laws.tasks, thresholds=laws.thresholds, method=laws.method)
    kept, points, _ = measure_data(own, options, laws.batch_size, laws.learning_rate)
    return sorted(kept, key=lambda cell: (laws.tasks.index(cell.spec.task), cell.spec.utd)), points
