"""Which runs next: an adaptive sweep's rounds, stage 2's seeds, and what a run would tell."""

from tdscale.design.belief import Belief, Regret, see
from tdscale.design.candidates import Candidates, CellRequest
from tdscale.design.data_law import LawDraws, NextSeeds, ScalingCandidates, ScalingRules, next_seeds
from tdscale.design.replay import Archive, ReplayedRound, replay
from tdscale.design.rounds import Next, RankedRun, Ranking, Rules, next_round, ranked_runs

__all__ = [
    "Archive",
    "Belief",
    "Candidates",
    "CellRequest",
    "LawDraws",
    "Next",
    "NextSeeds",
    "RankedRun",
    "Ranking",
    "Regret",
    "ReplayedRound",
    "Rules",
    "ScalingCandidates",
    "ScalingRules",
    "next_round",
    "next_seeds",
    "ranked_runs",
    "replay",
    "see",
]
