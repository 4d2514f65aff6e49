"""The adaptive design of a study: what its stages may run, by which rules, and the next round by the runs that are there."""

from collections.abc import Mapping
from math import inf

from tdscale.design.candidates import AdaptiveSweep, Candidates
from tdscale.design.data_law import ScalingCandidates, ScalingRules, next_seeds
from tdscale.design.records import CellKey, StepPrices
from tdscale.design.rounds import Next, Rules, next_round
from tdscale.design.sized_seeds import next_sized_seeds
from tdscale.running.folder import StudyFiles
from tdscale.running.rounds_file import Rounds, read_rounds
from tdscale.runs.cells import load_cells
from tdscale.runs.choice import Choice
from tdscale.study import Stage, Study

DEFAULT_REGRET, DEFAULT_PRECISION = 0.05, 0.1


def candidates_of(study: Study, sizes: Mapping[str, float] | None = None) -> Candidates:
    """The cells that a study's [sweep] may run, for answers at the σ of [scaling]. `sizes`: N of each of its sizes, rising."""
    sweep = study.sweep
    assert sweep is not None
    limits = {task: study.env_step_limit(task) for task in study.tasks}
    room = min(min(limits.values()), *(one.full_settings.get("replay_capacity", inf) for one in study.by_size().values()))
    return Candidates(
        tasks=tuple(study.tasks),
        utd=tuple(sorted(sweep.utd)),
        batch_size=tuple(sorted(sweep.batch_size)),
        learning_rate=tuple(sorted(sweep.learning_rate)),
        env_steps=limits,
        seeds=sweep.seeds,
        answer_utd=tuple(sorted(study.scaling.utd if study.scaling is not None else sweep.utd)),
        largest_batch=int(min(room, 1 << 20)),
        sizes=sizes or {},
    )


def rules_of(study: Study, prices: StepPrices | None = None, *, seed: int = 0) -> Rules:
    """How a study's adaptive sweep continues and ends. `prices`: of an env step, where they were measured."""
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


def next_of_sweep(
    files: StudyFiles, spent: float, failed: frozenset[CellKey], prices: StepPrices, sizes: Mapping[str, float] | None = None
) -> Next:
    """The next round of stage 1, over all of a study's sizes.

    Args:
        files: the study.
        spent: env steps of stage 1 so far.
        failed: cells that are not asked for.
        prices: of an env step, where they were measured.
        sizes: N of each size, rising.
    """
    stages: tuple[Stage, ...] = ("sweep",)
    cells, _ = load_cells(files.store, files.study, stages=stages)
    study = files.study
    candidates = candidates_of(study, sizes)
    if failed:
        candidates = candidates.without(failed)
    return next_round(cells, study.return_thresholds, candidates, rules_of(study, prices), spent=spent)


def next_of_scaling(files: StudyFiles, spent: float, failed: frozenset[CellKey], choices: Mapping[str, Mapping[str, Choice]]) -> Next:
    """The next round of stage 2, at the B and η chosen for each size, task and σ; else as `next_of_sweep`."""
    study = files.study
    assert study.scaling is not None
    stages: tuple[Stage, ...] = ("scaling",)
    cells, _ = load_cells(files.store, study, stages=stages)
    candidates = {}
    for size, of_size in choices.items():
        values = {(task, utd): of_size[task].scaling[utd] for task in study.tasks for utd in study.scaling.utd}
        name = (size,) if size else ()
        candidates[size] = ScalingCandidates(
            values={place: pair for place, pair in values.items() if (*place, *pair, *name) not in failed},
            env_steps={task: study.env_step_limit(task) for task in study.tasks},
            seeds=study.scaling.seeds,
        )
    rules = ScalingRules(
        precision=DEFAULT_PRECISION if study.scaling.precision is None else study.scaling.precision,
        margin=study.limits.margin if study.limits is not None else 0.1,
    )
    if study.sizes:
        left = {size: one for size, one in candidates.items() if one.values}
        found = next_sized_seeds(cells, study.return_thresholds, left, rules, spent=spent)
    else:
        found = next_seeds(cells, study.return_thresholds, candidates[""], rules, spent=spent)
    return Next(cells=found.cells, env_steps=found.env_steps, why=found.why, precision=found.precision, expected_precision=found.expected)


def adaptive_sweep(files: StudyFiles) -> AdaptiveSweep | None:
    """How stage 1 was chosen, for the report; None where it is not run in rounds, or none was. `files`: without [sizes]."""
    rounds = read_rounds(files.directory, files.study) if files.study.in_rounds("sweep") else Rounds()
    if not rounds.records:
        return None
    assert files.study.sweep is not None
    goal = DEFAULT_REGRET if files.study.sweep.regret is None else files.study.sweep.regret
    return AdaptiveSweep(candidates=candidates_of(files.study), rounds=rounds.records, goal=goal, ended=rounds.ended)
