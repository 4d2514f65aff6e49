"""SAC on HalfCheetah-v4 and BRO on cartpole-swingup beside the published curves: env steps to a return, seed by seed and of the mean.

The runs take hours of one core; they go on where they were stopped. `run` trains, `table` prints what is there.

    python benchmarks/fidelity.py run gym --dir fidelity --workers 2
    python benchmarks/fidelity.py table gym --dir fidelity
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tdscale.execution.jobs import CellJob, Target, pending_jobs
from tdscale.execution.pool import Event, run_jobs
from tdscale.runs.store import RunStore
from tdscale.study import SETTINGS, RunSpec
from tdscale.training import single_thread_environment

MARGIN = 0.1  # of further env steps after a cell has crossed


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One σ of the published study, as it is to be run again."""

    utd: float
    batch_size: int
    learning_rate: float
    published: float  # env steps to the return, of the mean over the published distinct seeds


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A task, the return to be reached, and the settings that are compared."""

    algorithm: str
    suite: str
    task: str
    return_threshold: float  # raw
    seeds: int
    cells: tuple[Cell, ...]
    variants: dict[str, dict[str, object]]  # by name; the first is the default and runs at every σ
    compared: tuple[float, ...]  # σ at which the other variants run


GYM = Domain(
    algorithm="sac",
    suite="gymnasium",
    task="HalfCheetah-v4",
    return_threshold=0.3 * 9800,
    seeds=4,
    cells=(
        Cell(utd=0.25, batch_size=560, learning_rate=0.00267, published=70e3),
        Cell(utd=0.5, batch_size=432, learning_rate=0.0022, published=42e3),
        Cell(utd=1, batch_size=336, learning_rate=0.00181, published=28e3),
        Cell(utd=2, batch_size=272, learning_rate=0.00151, published=22e3),
        Cell(utd=4, batch_size=208, learning_rate=0.00124, published=18e3),
    ),
    variants={
        "entropy -A/2, actor per env step": {"target_entropy_per_dimension": -0.5, "actor_updates": "per-env-step"},
        "entropy -A, actor per env step": {"target_entropy_per_dimension": -1.0, "actor_updates": "per-env-step"},
        "entropy -A/2, actor per critic update": {"target_entropy_per_dimension": -0.5, "actor_updates": "per-critic-update"},
        "entropy -A, actor per critic update": {"target_entropy_per_dimension": -1.0, "actor_updates": "per-critic-update"},
    },
    compared=(0.5, 1),
)
DMC = Domain(
    algorithm="bro-minimal",
    suite="dm_control",
    task="cartpole-swingup",
    return_threshold=500,
    seeds=2,
    cells=(
        Cell(utd=1, batch_size=256, learning_rate=3e-4, published=32e3),
        Cell(utd=0.5, batch_size=256, learning_rate=3e-4, published=53e3),
        Cell(utd=2, batch_size=256, learning_rate=3e-4, published=22e3),
    ),
    variants={"default": {}},
    compared=(),
)
DOMAINS = {"gym": GYM, "dmc": DMC}


def wanted(domain: Domain) -> Iterator[tuple[str, Cell, list[RunSpec]]]:
    """Every cell with its variant, in the order in which they are run: what decides the defaults first, then cheap ones."""
    default = next(iter(domain.variants))
    pairs = [(name, cell) for cell in domain.cells for name in domain.variants if name == default or cell.utd in domain.compared]
    for name, cell in pairs:
        if cell.utd == 1 and "per critic update" in name:
            continue  # the same as per env step
        changed = domain.variants[name] | {"evaluation_interval": 0}
        settings = SETTINGS[domain.algorithm](**changed).model_dump(mode="json")
        specs = [
            RunSpec(
                algorithm=domain.algorithm,
                suite=domain.suite,
                task=domain.task,
                utd=cell.utd,
                batch_size=cell.batch_size,
                learning_rate=cell.learning_rate,
                seed=seed,
                stage="scaling",
                settings=settings,
            )
            for seed in range(domain.seeds)
        ]
        yield name, cell, specs


def run(domain: Domain, directory: Path, workers: int, utd: list[float]) -> None:
    """Train what is not there yet, cell by cell."""
    store = RunStore(directory)
    jobs: list[CellJob] = []
    target = {domain.task: Target(return_threshold=domain.return_threshold, margin=MARGIN)}
    for _, cell, specs in wanted(domain):
        if not utd or cell.utd in utd:
            limit = {domain.task: int(3 * cell.published)}
            jobs += pending_jobs(specs, store.statuses(problems=[]), limit, target)
    started = time.time()

    def tell(event: Event) -> None:
        if event.kind != "progress":
            print(f"{(time.time() - started) / 60:7.1f} min  {event.kind}: {event.job.describe()} {event.message}", flush=True)

    environment = single_thread_environment(directory / "compiled")
    run_jobs(jobs, directory, workers=workers, environment=environment, on_event=tell)


def main() -> None:
    """Read the options and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "table"])
    parser.add_argument("domain", choices=list(DOMAINS))
    parser.add_argument("--dir", type=Path, default=Path("fidelity"), help="folder of the runs")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--utd", type=float, nargs="*", default=[], help="only these σ")
    options = parser.parse_args()
    if options.action == "run":
        run(DOMAINS[options.domain], options.dir / options.domain, options.workers, options.utd)


if __name__ == "__main__":
    main()
