"""Curves of whole sweeps drawn from known laws, with the noise of real runs: for tests, for calibration, for planning a sweep."""

from tdscale.simulate.folder import write_simulation
from tdscale.simulate.noise import NOISE, Noise
from tdscale.simulate.sweep import SweepDesign, simulate_cell, simulate_cells
from tdscale.simulate.truth import SHAPES, Bowl, LawTruth, Truth, random_truth

__all__ = [
    "NOISE",
    "SHAPES",
    "Bowl",
    "LawTruth",
    "Noise",
    "SweepDesign",
    "Truth",
    "random_truth",
    "simulate_cell",
    "simulate_cells",
    "write_simulation",
]
