"""A cell of RunSpecs becomes curves on one device: replay, loop, evaluation, diagnostics. JAX is imported when training starts."""

from tdscale.agents.costs import counted_flops
from tdscale.study import CellJob, StopTarget
from tdscale.training.cell import Progress, train_cell, train_cells
from tdscale.training.devices import single_thread_environment
from tdscale.training.saving import Saving, Stopped

__all__ = [
    "CellJob",
    "Progress",
    "Saving",
    "StopTarget",
    "Stopped",
    "counted_flops",
    "single_thread_environment",
    "train_cell",
    "train_cells",
]
