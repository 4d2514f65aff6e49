"""A task that nobody ran but at one σ: how far its D lies from its domain's law, and whether its 80 % interval holds what is seen.

First the prior of `tdscale.analysis.misfit`: tasks of a domain differ from its law by a tilt of log D in log σ, beyond what an α of
their own gives. From each published domain (both Gym files, dmc_sweep's best cells, every size of dmc_bro_ablations) each task's
tilt, with its error; the scale and the degrees of freedom that make the tilts likeliest, domain by domain (a domain's spread is
scaled-inverse-χ² about the scale). Then each task is left out but for one σ (`tdscale.validation`), with the prior fitted to the other
sets; and simulated domains of 2, 4, 7 and 40 tasks, whose truths lie inside and outside the forms that are fitted.

    TDSCALE_PUBLISHED_DATA=DIR python benchmarks/new_task.py
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prediction import DRAWS, FILES, groups
from tdscale.analysis import misfit
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.data_law import DataPoints, collect_points
from tdscale.analysis.fit import FitOptions, measure
from tdscale.analysis.form_fit import Prior, fit_form
from tdscale.analysis.forms import OFFSET
from tdscale.running.folder import open_study
from tdscale.runs.cells import load_cells
from tdscale.simulate import SHAPES, SweepDesign, random_truth, simulate_cells
from tdscale.validation.tasks import leave_task_out

Floats = NDArray[np.float64]
SCALES, WORTHS = np.arange(0.02, 0.3, 0.01), (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0)


@dataclass
class Outcome:
    """Of tasks left out: how many D lie in their interval, of how many; intervals' factors up and down, errors of log D."""

    covered: int = 0
    compared: int = 0
    widths: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        self.covered += other.covered
        self.compared += other.compared
        for name in ("widths", "errors"):
            getattr(self, name).extend(getattr(other, name))

    def row(self, name: str) -> str:
        share = f"{self.covered / self.compared:.0%} of {self.compared}"
        return f"| {name} | {share} | {np.mean(self.errors):.2f} | {np.median(self.widths):.2f} |"


def published(data: Path, folder: Path) -> dict[str, list[DataPoints]]:
    """By set its domains; of dmc_sweep the best cells alone."""
    found: dict[str, list[DataPoints]] = {}
    for name in FILES:
        domains = list(groups(folder / name, data / f"{name}.zip"))
        if name == "dmc_sweep":
            files = open_study(folder / name)
            cells, _ = load_cells(files.store, files.study)
            tasks = tuple(files.study.tasks)
            options = FitOptions(study=name, tasks=tasks, thresholds=tuple(files.study.return_thresholds), n_draws=DRAWS)
            domains = [measure(cells, options).points]
        found[name] = domains
    return found


def tilts(points: DataPoints) -> Floats:
    """How well each of `misfit.SPREADS` agrees with a domain's tilts: log likelihood."""
    parts = misfit.measure_misfit(OFFSET, points.utd, points.data, points.bound, points.n_seeds)
    found = []
    for index in range(len(points.thresholds)):
        try:
            fit = fit_form(OFFSET, points.utd, points.data[:1, ..., index], points.bound, Prior())
        except ValueError:
            continue
        found.append(misfit.tilts_about(points.utd, fit, points.data[..., index]))
    return misfit.likelihood_of_spreads(found, parts.tasks)


def likeliest(domains: Sequence[Floats]) -> tuple[float, float]:
    """The scale and the degrees of freedom under which the domains' tilts are likeliest."""

    def log_likelihood(scale: float, worth: float) -> float:
        prior = misfit.log_tilt_prior(scale, worth)
        return float(sum(np.logaddexp.reduce(prior + domain) for domain in domains))

    return max(((scale, worth) for scale in SCALES for worth in WORTHS), key=lambda pair: log_likelihood(*pair))


def left_out(points: DataPoints, tilt: float, worth: float) -> Outcome:
    """Every task of a domain left out but for one σ, with this prior."""
    misfit.TILT, misfit.TILT_WORTH = tilt, worth
    options = FitOptions(study="new-task", tasks=points.tasks, thresholds=tuple(map(float, points.thresholds)), n_draws=DRAWS)
    outcome = Outcome()
    with np.errstate(all="ignore"):
        for task in range(len(points.tasks)):
            found = leave_task_out(points, options, task, {})
            if not isinstance(found, str):
                outcome.add(Outcome(found.covered, found.compared, [found.width], [found.errors["law"]]))
    return outcome


def of_some_tasks(points: DataPoints, n_tasks: int, rng: np.random.Generator) -> DataPoints:
    """A domain of some of its tasks."""
    chosen = np.sort(rng.choice(len(points.tasks), n_tasks, replace=False))
    tasks = tuple(points.tasks[task] for task in chosen)
    return replace(points, tasks=tasks, data=points.data[:, chosen], bound=points.bound[chosen], n_seeds=points.n_seeds[chosen])


def simulated(index: int, n_tasks: int) -> tuple[DataPoints, float, float]:
    """A domain whose tasks differ by tilts of sd 0.1, of a shape that the index chooses; and the prior that ships."""
    rng = np.random.default_rng([31, n_tasks, index])
    truth = random_truth(rng, SHAPES[index % len(SHAPES)], n_tasks=n_tasks)
    truth = replace(truth, tilts=dict(zip(truth.tasks, map(float, rng.normal(0, 0.1, n_tasks)), strict=True)))
    cells = simulate_cells(truth, SweepDesign(utd=(0.5, 1.0, 2.0, 4.0, 8.0), seeds=5), "medium", seed=index)
    thresholds = (500.0, 650.0, 800.0)
    points = collect_points(cells, find_crossings(cells, thresholds, n_draws=DRAWS, seed=index), truth.tasks)
    return points, misfit.TILT, misfit.TILT_WORTH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TDSCALE_PUBLISHED_DATA", "../shared/data")))
    parser.add_argument("--domains", type=int, default=40, help="simulated for each number of tasks; of 40 tasks, an eighth of that")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sets = published(options.data, Path(folder))
    of_sets = {name: [tilts(points) for points in domains] for name, domains in sets.items()}
    scale, worth = likeliest([domain for domains in of_sets.values() for domain in domains])
    print(f"prior from all sets: scale {scale:.2f} per e-fold of σ, {worth:g} degrees of freedom")
    print(f"prior that ships: scale {misfit.TILT:.2f}, {misfit.TILT_WORTH:g}")
    jobs: dict[str, list[tuple[DataPoints, float, float]]] = defaultdict(list)
    rng = np.random.default_rng(0)
    for name, domains in sets.items():
        # both Gym files hold the same tasks
        others = [n for n in sets if n[:3] != name[:3]] if name.startswith("gym") else [n for n in sets if n != name]
        prior = likeliest([domain for other in others for domain in of_sets[other]])
        print(f"prior without {name}: scale {prior[0]:.2f}, {prior[1]:g} degrees of freedom", flush=True)
        jobs[name] = [(points, *prior) for points in domains]
        if name == "dmc_bro_ablations":
            for n_tasks in (2, 4, 7):
                some = [of_some_tasks(points, n_tasks, rng) for points in domains for _ in range(2)]
                jobs[f"{name}, {n_tasks} of its tasks"] = [(points, *prior) for points in some]
    for n_tasks in (2, 4, 7, 40):
        count = options.domains if n_tasks < 40 else -(-options.domains // 8)
        jobs[f"simulated, {n_tasks} tasks"] = [simulated(index, n_tasks) for index in range(count)]
    print("| domain | held | error of log D | factor up and down |\n|---|---|---|---|")
    pooled = Outcome()
    with ProcessPoolExecutor(options.workers) as pool:
        for name, asked in jobs.items():
            outcome = Outcome()
            for found in pool.map(left_out, *zip(*asked, strict=True)):
                outcome.add(found)
            print(outcome.row(name), flush=True)
            if name in sets:
                pooled.add(outcome)
    print(pooled.row("published, pooled"))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
