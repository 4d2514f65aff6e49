"""Stage 2 in rounds against the fixed grid, on simulated runs: how well the data law is known for the env steps.

    python benchmarks/stage_two.py [--repeats 8] [--noise medium]

For each truth the grid is run with 2 to 5 seeds in every cell, and the rounds of `tdscale.design.next_seeds` to the end. A row shows
the mean over truths: env steps as a share of the grid's with 5 seeds; half the 80 % interval of log D where it is widest, mean over
tasks; the true error of log D, mean over the cells; how many of the intervals hold the truth.
"""

import argparse
from collections import defaultdict

import numpy as np

from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.data_law import collect_points, fit_data_laws
from tdscale.design.data_law import LawDraws, ScalingCandidates, ScalingRules, next_seeds, top_law
from tdscale.design.records import CellRequest
from tdscale.design.replay import Archive
from tdscale.simulate import SweepDesign, random_truth, simulate_cell

UTD = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
THRESHOLDS = (300.0, 500.0, 800.0)
SHAPES = ("offset", "broken", "minimum")
SEEDS = 5
SHARES = (0.5, 0.55, 0.6, 0.7, 0.8, 0.9)


def _measured(truth, candidates, cells):
    """Half-width, error and coverage of the law."""
    points = collect_points(cells, find_crossings(cells, THRESHOLDS, n_draws=200, seed=0), truth.tasks)
    law = top_law(fit_data_laws(points, 0)[0])
    places = list(candidates.values)
    true = np.log([truth.data(task, [utd], [law.threshold])[0, 0] for task, utd in places])
    found = [law.estimate(utd, task) for task, utd in places]
    inside = [np.log(one.low) <= value <= np.log(one.high) for one, value in zip(found, true, strict=True)]
    errors = np.abs(np.log([one.value for one in found]) - true)
    return LawDraws.of_law(law, points, places, places).precision(), float(errors.mean()), float(np.mean(inside))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=8, help="truths of each shape")
    parser.add_argument("--noise", default="medium", choices=["low", "medium", "high"])
    options = parser.parse_args()
    design = SweepDesign(seeds=SEEDS, length=1.6)
    for n_tasks in (2, 4):
        rows = defaultdict(list)
        for shape in SHAPES:
            for seed in range(options.repeats):
                truth = random_truth(np.random.default_rng(seed), shape, n_tasks=n_tasks)
                values = {(task, utd): design.hyperparameters(truth, task, utd)[0] for task in truth.tasks for utd in UTD}
                limits = {task: int(1.5 * truth.data(task, [UTD[0]], [800.0])[0, 0]) for task in truth.tasks}
                candidates = ScalingCandidates(values=values, env_steps=limits, seeds=SEEDS)

                def archive(truth=truth, seed=seed):
                    return Archive(lambda key: simulate_cell(truth, design, key[:2], key[2:], options.noise, seed=seed), 800.0)

                grid = {}
                for count in range(2, SEEDS + 1):
                    there = archive()
                    for (task, utd), (batch, rate) in values.items():
                        there.run(
                            CellRequest(task=task, utd=utd, batch_size=batch, learning_rate=rate, seeds=count, env_steps=limits[task])
                        )
                    grid[count] = there.env_steps, *_measured(truth, candidates, there.cells)
                whole = grid[SEEDS][0]
                for count, (steps, *known) in grid.items():
                    rows[f"grid, {count} seeds"].append((steps / whole, *known))
                there, path, default = archive(), [], None
                for _ in range(50):
                    step = next_seeds(there.cells, THRESHOLDS, candidates, ScalingRules(precision=0.0, worth=0.0))
                    if there.runs:
                        path.append((there.env_steps / whole, *_measured(truth, candidates, there.cells)))
                        if default is None and not next_seeds(there.cells, THRESHOLDS, candidates, ScalingRules()).cells:
                            default = path[-1]
                    if not step.cells:
                        break
                    for request in step.cells:
                        there.run(request)
                for share in SHARES:
                    rows[f"rounds, up to {share:g}"].append(max((one for one in path if one[0] <= share), default=path[0]))
                rows["rounds, to their own end"].append(default or path[-1])
        print(f"\n{n_tasks} tasks, {len(SHAPES) * options.repeats} truths\n")
        print("| | env steps | half-width | error | inside |\n|---|---|---|---|---|")
        for name, found in rows.items():
            steps, width, error, inside = np.mean(found, axis=0)
            print(f"| {name} | {steps:.2f} | {width:.3f} | {error:.3f} | {inside:.2f} |", flush=True)


if __name__ == "__main__":
    main()
