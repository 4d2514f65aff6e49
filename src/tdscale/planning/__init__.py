"""Problems P1 to P3, their answers, the batch size as it is run; studies side by side."""

from tdscale.planning.comparable import Contestant
from tdscale.planning.compare import compare_laws
from tdscale.planning.comparison import MEASURES, Comparison, Contrast, Measure, Point
from tdscale.planning.confirmation import Compared, Confirmation, laws_for, score
from tdscale.planning.plan import Alternative, Plan, Problem, Relaxed
from tdscale.planning.prediction import Prediction, predict
from tdscale.planning.problems import plan_compute, plan_data
from tdscale.planning.question import SURE, batch_to_run, round_batch
from tdscale.planning.sizes import Network, Paths, networks_run, optimal_paths, plan_sizes
from tdscale.planning.total import plan_budget
from tdscale.planning.tradeoff import REACH, WORTHWHILE, Tradeoff, tradeoff

__all__ = [
    "MEASURES",
    "REACH",
    "SURE",
    "WORTHWHILE",
    "Alternative",
    "Compared",
    "Comparison",
    "Confirmation",
    "Contestant",
    "Contrast",
    "Measure",
    "Network",
    "Paths",
    "Plan",
    "Point",
    "Prediction",
    "Problem",
    "Relaxed",
    "Tradeoff",
    "batch_to_run",
    "compare_laws",
    "laws_for",
    "networks_run",
    "optimal_paths",
    "plan_budget",
    "plan_compute",
    "plan_data",
    "plan_sizes",
    "predict",
    "round_batch",
    "score",
    "tradeoff",
]
