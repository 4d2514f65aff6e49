"""How an adaptive sweep was chosen, in sentences and a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tdscale.analysis.estimate import short
from tdscale.design.belief import Belief
from tdscale.design.candidates import AdaptiveSweep
from tdscale.report.tables import Table
from tdscale.runs.types import Cell


@dataclass(frozen=True, kw_only=True)
class Story:
    """An adaptive sweep told. `env_steps`: of all of its runs."""

    sentences: tuple[str, ...]
    table: Table
    env_steps: float


def tell_rounds(adaptive: AdaptiveSweep | None, sweep: Sequence[Cell], belief: Belief | None) -> Story | None:
    """What the rounds took and why they ended; None where there are none."""
    if adaptive is None or not adaptive.rounds:
        return None
    candidates = adaptive.candidates
    env_steps = float(sum(len(cell.seeds) * cell.last_step for cell in sweep))
    runs = sum(len(cell.seeds) for cell in sweep)
    cells = len(candidates.places) * len(candidates.grid)
    n = len(adaptive.rounds)
    sentences = [
        f"Stage 1 was run in {n} round{'s' * (n != 1)}: {runs} runs of {len(sweep)} cells, {short(env_steps)} env steps in all. The whole "
        f"grid has {cells} cells with {candidates.seeds} seeds each. Each round asked for the cells that were expected to lower the regret "
        "the most for what they cost; a run was stopped once its cell needed clearly more data than the best one of its task and σ."
    ]
    end = f"The sweep has ended: {adaptive.ended}." if adaptive.ended else "The sweep has not ended yet."
    if belief is not None:
        regret = belief.regret
        end += (
            f" The chosen B and η are expected to need {np.expm1(regret.expected):.1%} more data than the best ones"
            f" (80 % chance: less than {np.expm1(regret.bound):.1%}), mean over tasks and σ."
        )
    return Story(sentences=(*sentences, end), table=_table(adaptive), env_steps=env_steps)


def _table(adaptive: AdaptiveSweep) -> Table:
    rows = [
        {
            "round": record.number,
            "cells": len(record.cells),
            "env_steps_before": record.spent,
            "expected_env_steps": record.expected_env_steps,
            "regret": None if record.regret is None else record.regret.expected,
            "regret_bound": None if record.regret is None else record.regret.bound,
            "expected_regret": record.expected_regret,
        }
        for record in adaptive.rounds
    ]
    shown = [
        {
            "round": str(record.number),
            "cells": str(len(record.cells)),
            "env steps before it": short(record.spent),
            "expected env steps": short(record.expected_env_steps),
            "regret before it": _said(None if record.regret is None else record.regret.expected),
            "80 % bound": _said(None if record.regret is None else record.regret.bound),
            "regret expected after it": _said(record.expected_regret),
        }
        for record in adaptive.rounds
    ]
    return Table(
        name="rounds",
        title="Rounds of stage 1",
        note="Regret: log D at the chosen B and η above that at the best ones, mean over tasks and σ. The first round has no surface yet.",
        frame=pd.DataFrame(rows),
        shown=pd.DataFrame(shown),
    )


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
