"""A cell of RunSpecs becomes curves on one device: replay, loop, evaluation, diagnostics. JAX is imported when training starts."""

from tdscale.training.cell import CellGoal, Progress, train_cell, train_cells
from tdscale.training.compute import counted_flops
from tdscale.training.devices import single_thread_environment
from tdscale.training.saving import Saving, Stopped
from tdscale.training.stopping import StopTarget

__all__ = [
    "CellGoal",
    "Progress",
    "Saving",
    "StopTarget",
    "Stopped",
    "counted_flops",
    "single_thread_environment",
    "train_cell",
    "train_cells",
]
