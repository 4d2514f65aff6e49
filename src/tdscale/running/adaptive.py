"""The adaptive design of a study: what stage 1 may run, by which rules, and the next round by the runs that are there."""

from collections.abc import Mapping
from math import inf

from tdscale.design import Candidates, Next, Rules, next_round
from tdscale.design.candidates import Key
from tdscale.running.folder import StudyFiles
from tdscale.runs.cells import load_cells
from tdscale.study import Stage, Study

DEFAULT_REGRET = 0.05


def candidates_of(study: Study, excluded: frozenset[Key] = frozenset()) -> Candidates:
    """The cells that a study's [sweep] may run, for answers at the σ of [scaling]."""
    sweep = study.sweep
    assert sweep is not None
    limits = {task: study.env_step_limit(task) for task in study.tasks}
    room = min(min(limits.values()), study.full_settings.get("replay_capacity", inf))
    return Candidates(
        tasks=tuple(study.tasks),
        utd=tuple(sorted(sweep.utd)),
        batch_size=tuple(sorted(sweep.batch_size)),
        learning_rate=tuple(sorted(sweep.learning_rate)),
        env_steps=limits,
        seeds=sweep.seeds,
        answer_utd=tuple(sorted(study.scaling.utd if study.scaling is not None else sweep.utd)),
        largest_batch=int(min(room, 1 << 20)),
        excluded=excluded,
    )


def rules_of(study: Study, prices: Mapping[tuple[str, float, int], float] | None = None, *, seed: int = 0) -> Rules:
    """How a study's adaptive sweep goes on and ends. `prices`: of an env step by (task, σ, B), where they were measured."""
    sweep = study.sweep
    assert sweep is not None
    return Rules(
        regret=DEFAULT_REGRET if sweep.regret is None else sweep.regret,
        round_size=sweep.round_size,
        most_env_steps=sweep.most_env_steps,
        margin=study.limits.margin if study.limits is not None else 0.1,
        seed=seed,
        step_price=prices or {},
    )


def next_of_sweep(files: StudyFiles, spent: float, failed: frozenset[Key], prices: Mapping[tuple[str, float, int], float]) -> Next:
    """The next round of stage 1.

    Args:
        files: the study.
        spent: env steps of stage 1 so far.
        failed: cells that are not asked for.
        prices: of an env step, where they were measured.
    """
    stages: tuple[Stage, ...] = ("sweep",)
    cells, _ = load_cells(files.store, files.study, stages=stages)
    study = files.study
    return next_round(cells, study.return_thresholds, candidates_of(study, failed), rules_of(study, prices), spent=spent)
