"""tdscale: predicts what value-based deep RL will need, data and compute, before the money is spent.

The public names below are loaded when they are first used, so that `import tdscale` costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Advisor": "tdscale.running.advisor",
    "Cell": "tdscale.runs.types",
    "Comparison": "tdscale.planning",
    "Contestant": "tdscale.planning",
    "Estimate": "tdscale.analysis.estimate",
    "FirstSettings": "tdscale.paper",
    "FitOptions": "tdscale.analysis.fit",
    "LawTruth": "tdscale.simulate",
    "Noise": "tdscale.simulate",
    "Plan": "tdscale.planning",
    "Prediction": "tdscale.planning",
    "RunSpec": "tdscale.study",
    "RunStore": "tdscale.runs.store",
    "ScalingLaws": "tdscale.analysis.scaling_laws",
    "Study": "tdscale.study",
    "Suggestion": "tdscale.running.suggestions",
    "Suggestions": "tdscale.running.suggestions",
    "SweepDesign": "tdscale.simulate",
    "UserError": "tdscale.errors",
    "at_size": "tdscale.analysis.views",
    "find_crossings": "tdscale.analysis.crossings",
    "compare_laws": "tdscale.planning",
    "compare_studies": "tdscale.running.comparing",
    "confirm_plan": "tdscale.running.confirm",
    "first_settings": "tdscale.paper",
    "fit_laws": "tdscale.analysis.fit",
    "fit_study": "tdscale.running.fitting",
    "import_runs": "tdscale.importers",
    "load_cells": "tdscale.runs.cells",
    "open_study": "tdscale.running.folder",
    "optimal_paths": "tdscale.planning",
    "plan_budget": "tdscale.planning",
    "plan_compute": "tdscale.planning",
    "plan_data": "tdscale.planning",
    "plan_sizes": "tdscale.planning",
    "predict": "tdscale.planning",
    "plot_comparison": "tdscale.report.plots",
    "plot_data": "tdscale.report.plots",
    "plot_frontier": "tdscale.report.plots",
    "read_laws": "tdscale.running.fitting",
    "read_study": "tdscale.study",
    "report_study": "tdscale.running.workflow",
    "run_study": "tdscale.running.workflow",
    "simulate_cells": "tdscale.simulate",
    "suggest": "tdscale.running.advisor",
    "validate_study": "tdscale.running.workflow",
    "write_laws": "tdscale.analysis.laws_file",
    "write_simulation": "tdscale.simulate",
}

__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'tdscale' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
