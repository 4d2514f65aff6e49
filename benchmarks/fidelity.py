"""SAC on HalfCheetah-v4 and BRO on cartpole-swingup beside the published curves: env steps to a return, seed by seed and of the mean.

The runs take hours of one core; they go on where they were stopped. `run` trains, `table` prints what is there.

    python benchmarks/fidelity.py run gym --dir fidelity --workers 2
    python benchmarks/fidelity.py table gym --dir fidelity
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.fit import fit_laws
from tdscale.analysis.options import FitOptions
from tdscale.importers import import_runs
from tdscale.running.dispatch import Event, run_jobs
from tdscale.running.pool import LocalPool
from tdscale.running.stages import pending_jobs
from tdscale.runs.cells import load_cells
from tdscale.runs.store import RunStore
from tdscale.runs.types import Cell as CellCurves
from tdscale.study import SETTINGS, CellJob, RunSpec, StopTarget, read_study
from tdscale.study.toml import parse_study
from tdscale.training import single_thread_environment

MARGIN = 0.1  # of further env steps after a cell has crossed
MARGIN_APART = 0.3  # after a seed that is trained by itself has: the others may need longer


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
    high: float  # the raw return that is 1000 on the normalised scale
    threshold: float  # normalised
    seeds: int
    cells: tuple[Cell, ...]
    variants: dict[str, dict[str, object]]  # by name; the first is the default and runs at every σ
    compared: tuple[float, ...]  # σ at which the other variants run
    archive: str | None  # of the published curves


GYM = Domain(
    algorithm="sac",
    suite="gymnasium",
    task="HalfCheetah-v4",
    high=9800,
    threshold=300,
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
        "the default, bfloat16": {"matmul_precision": "bfloat16"},
    },
    compared=(0.5, 1),
    archive="gym_ours.zip",
)
DMC = Domain(
    algorithm="bro-minimal",
    suite="dm_control",
    task="cartpole-swingup",
    high=1000,
    threshold=500,
    seeds=2,
    cells=(
        Cell(utd=1, batch_size=256, learning_rate=3e-4, published=32e3),
        Cell(utd=0.5, batch_size=256, learning_rate=3e-4, published=53e3),
        Cell(utd=2, batch_size=256, learning_rate=3e-4, published=22e3),
    ),
    variants={"default": {}, "default, bfloat16": {"matmul_precision": "bfloat16"}},
    compared=(0.5,),
    archive=None,
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


def run(domain: Domain, directory: Path, workers: int, utd: list[float], variants: list[str], apart: bool) -> None:
    """Train what is not there yet, cell by cell or, `apart`, seed by seed."""
    store = RunStore(directory)
    jobs: list[CellJob] = []
    target = {domain.task: StopTarget(return_threshold=domain.threshold / 1000 * domain.high, margin=MARGIN_APART if apart else MARGIN)}
    for name, cell, specs in wanted(domain):
        if (not utd or cell.utd in utd) and (not variants or name in variants):
            limit = {domain.task: int(3 * cell.published)}
            for part in [[spec] for spec in specs] if apart else [specs]:
                jobs += pending_jobs(part, store.statuses(problems=[]), limit, target)
    started = time.time()

    def tell(event: Event) -> None:
        if event.kind != "progress":
            print(f"{(time.time() - started) / 60:7.1f} min  {event.kind}: {event.job.describe()} {event.message}", flush=True)

    environment = single_thread_environment(directory / "compiled")
    with closing(LocalPool(directory, workers=workers, environment=environment)) as pool:
        run_jobs(pool, jobs, directory, on_event=tell)


def published_cells(domain: Domain) -> list[CellCurves]:
    """The published curves of the domain's task and σ, from TDSCALE_PUBLISHED_DATA; none where the files are not there."""
    archive = Path(os.environ.get("TDSCALE_PUBLISHED_DATA", "../shared/data")) / (domain.archive or "absent")
    if not archive.is_file():
        return []
    with tempfile.TemporaryDirectory() as folder:
        import_runs(archive, "qscaled", Path(folder))
        cells, _ = load_cells(RunStore(Path(folder)), read_study(Path(folder) / "study.toml"))
    wanted_utd = {cell.utd for cell in domain.cells}
    return [cell for cell in cells if cell.spec.task == domain.task and cell.spec.utd in wanted_utd]


def crossing(cell: CellCurves, threshold: float) -> tuple[float, float, float, list[float]]:
    """Env steps to the threshold: of the mean curve, its 80 % interval, and of each distinct seed; infinity where it is not reached."""
    found = find_crossings([cell], [threshold], n_draws=2000, seed=0)
    low, high = np.quantile(found.draws[:, 0, 0], [0.1, 0.9], method="closest_observation")
    singles = [
        replace(cell, returns=cell.returns[[i]], seeds=cell.seeds[[i]], duplicate=cell.duplicate[[i]], diverged=cell.diverged[[i]])
        for i in np.flatnonzero(~cell.duplicate)
    ]
    each = [float(find_crossings([single], [threshold], n_draws=1, seed=0).data[0, 0]) for single in singles]
    return float(found.data[0, 0]), float(low), float(high), each


def alpha(cells: list[CellCurves], domain: Domain) -> str:
    """The fitted exponent α of D(σ) = D_min (1 + (σ/β)^(−α)) with its 80 % interval."""
    scaling = [replace(cell, spec=replace(cell.spec, stage="scaling")) for cell in cells]
    options = FitOptions(study="fidelity", tasks=(domain.task,), thresholds=(domain.threshold,), n_draws=1000)
    laws = fit_laws(scaling, options)
    estimate = laws.data[0].alpha()
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def table(domain: Domain, directory: Path) -> None:
    """Ours beside theirs, as Markdown."""
    study = parse_study(
        f'name = "fidelity"\nalgorithm = "{domain.algorithm}"\nreturn_thresholds = [{domain.threshold}]\n'
        f'[tasks."{domain.task}"]\nsuite = "{domain.suite}"\nhigh = {domain.high}\n'
    )
    own = {cell.spec.cell_id: cell for cell in load_cells(RunStore(directory), study)[0]}
    theirs = published_cells(domain)
    print(f"Env steps to a normalised return of {domain.threshold:g} on {domain.task}, of the mean over seeds, and of each seed\n")
    print("| σ | whose | env steps | 80 % interval | ours / theirs | each seed |\n|---|---|---|---|---|---|")
    reference = {}
    for cell in sorted(theirs, key=lambda one: one.spec.utd):
        value, low, high, each = crossing(cell, domain.threshold)
        reference[cell.spec.utd] = value
        print(_row(cell.spec.utd, "published", value, low, high, "", each))
    rows = [(one.utd, name, specs) for name, one, specs in wanted(domain) if specs[0].cell_id in own]
    for utd, name, specs in sorted(rows, key=lambda row: (row[0], list(domain.variants).index(row[1]))):
        value, low, high, each = crossing(own[specs[0].cell_id], domain.threshold)
        published = reference.get(utd, next(one.published for one in domain.cells if one.utd == utd))
        print(_row(utd, name, value, low, high, f"{value / published:.2f}", each))
    default = next(iter(domain.variants))
    mine = [own[specs[0].cell_id] for _, name, specs in rows if name == default]
    for whose, cells in (("published", theirs), (f"ours ({default})", mine)):
        if len(cells) > 2:
            print(f"\nα, {whose}: {alpha(cells, domain)}")


def _row(utd: float, whose: str, value: float, low: float, high: float, ratio: str, each: list[float]) -> str:
    shown = ", ".join(_thousands(one) for one in sorted(each))
    return f"| {utd:g} | {whose} | {_thousands(value)} | {_thousands(low)} to {_thousands(high)} | {ratio} | {shown} |"


def _thousands(value: float) -> str:
    return f"{value / 1000:.1f}k" if np.isfinite(value) else "never"


def main() -> None:
    """Read the options and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "table"])
    parser.add_argument("domain", choices=list(DOMAINS))
    parser.add_argument("--dir", type=Path, default=Path("fidelity"), help="folder of the runs")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--utd", type=float, nargs="*", default=[], help="only these σ")
    parser.add_argument("--variants", nargs="*", default=[], help="only these settings, by the names that the table shows")
    parser.add_argument("--apart", action="store_true", help="a worker for each seed, which goes on a good while beyond its own crossing")
    parser.add_argument("--seeds", type=int, help="only so many seeds of each cell")
    options = parser.parse_args()
    domain = DOMAINS[options.domain]
    domain = replace(domain, seeds=options.seeds or domain.seeds)
    if options.action == "run":
        run(domain, options.dir / options.domain, options.workers, options.utd, options.variants, options.apart)
    else:
        table(domain, options.dir / options.domain)


if __name__ == "__main__":
    main()
