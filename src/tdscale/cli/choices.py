"""The options that take one of a few words."""

from enum import StrEnum


class NoiseRegime(StrEnum):
    """Sizes of simulated noise."""

    low = "low"
    medium = "medium"
    high = "high"


class Device(StrEnum):
    """Where runs are trained."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class Unit(StrEnum):
    """What compute is told in."""

    flops = "flops"
    gradient_steps = "gradient-steps"
    seconds = "seconds"


class FitMethod(StrEnum):
    """Ways to fit."""

    default = "default"
    paper = "paper"
