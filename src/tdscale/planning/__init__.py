"""Problems P1 to P3, their answers, the batch size as it is run."""

from tdscale.planning.plan import Plan, Problem
from tdscale.planning.problems import plan_budget, plan_compute, plan_data, round_batch
from tdscale.planning.tradeoff import REACH, Tradeoff, tradeoff

__all__ = ["REACH", "Plan", "Problem", "Tradeoff", "plan_budget", "plan_compute", "plan_data", "round_batch", "tradeoff"]
