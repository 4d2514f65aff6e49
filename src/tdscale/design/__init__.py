"""Which runs next: an adaptive sweep's rounds, and what a run would tell."""

from tdscale.design.belief import Belief, Regret, see
from tdscale.design.candidates import Candidates, CellRequest
from tdscale.design.records import AdaptiveSweep, RoundRecord
from tdscale.design.replay import Archive, ReplayedRound, replay
from tdscale.design.rounds import Next, Rules, next_round

__all__ = [
    "AdaptiveSweep",
    "Archive",
    "Belief",
    "Candidates",
    "CellRequest",
    "Next",
    "Regret",
    "ReplayedRound",
    "RoundRecord",
    "Rules",
    "next_round",
    "replay",
    "see",
]
