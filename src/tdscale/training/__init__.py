"""A cell of RunSpecs becomes curves on one device; begin with `training.cell`. JAX is imported when training starts."""

from tdscale.agents.costs import counted_flops
from tdscale.study import CellJob, StopTarget
from tdscale.training.cell import Progress, train_cell, train_cells
from tdscale.training.checkpoint import Saving, Stopped
from tdscale.training.devices import single_thread_environment

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
