"""tdscale: predicts what value-based deep RL will need, data and compute, before the money is spent."""

__version__ = "0.1.0"
