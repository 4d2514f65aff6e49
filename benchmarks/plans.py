"""Is the limit of a plan met as often as it says? Sweeps with a known truth are simulated, fitted and planned with; the truth decides.

For every noise regime and number of seeds as many sweeps of each shape of truth, inside the fitted family (the offset law, a power
law) and outside it (a broken power law, a minimum in σ, tasks that differ in α). σ = 0.5 to 8 are run. Limits are such that the plan
lies among them, or about 2 times beyond them: at most D0 env steps (P2), at most C0 FLOPs (P1), and C + δ·D (P3). A plan's σ, B and η
are run with infinitely many seeds: D is the truth's there, at the B and η of the plan, which need not be the best.

    python benchmarks/plans.py --simulations 150
"""

import argparse
import json
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product

import numpy as np

from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning import Plan, plan_budget, plan_compute, plan_data
from tdscale.simulate import NOISE, SweepDesign, Truth, random_truth, simulate_cells

SHAPES = ("offset", "power", "broken", "minimum", "task-alphas")
UTD = (0.5, 1.0, 2.0, 4.0, 8.0)
THRESHOLDS = (500.0, 650.0, 800.0)
PRICE = 4e9
LIMITS = ("data", "compute", "budget")
PLACES = {"inside": (1.4, 4.5), "2x beyond": (16.0, 0.25)}


def simulate(index: int, *, noise: str, seeds: int, shape: str, draws: int, sure: float) -> list[dict[str, object]]:
    """Of one sweep: each plan's problem, place, chance, and whether the truth meets its limit."""
    truth = random_truth(np.random.default_rng([21, index]), shape)  # another one in each row of the table
    cells = simulate_cells(truth, SweepDesign(utd=UTD, seeds=seeds), noise, seed=index)
    laws = fit_laws(
        cells,
        FitOptions(
            study=shape,
            tasks=truth.tasks,
            thresholds=THRESHOLDS,
            data_cost=PRICE,
            accounting="paper",
            model_size=1.5e5,
            n_draws=draws,
            seed=index,
        ),
    )
    found = []
    task = None if index % 2 else truth.tasks[0]
    for where, ratios in PLACES.items():
        utd = ratios[index // 2 % 2]
        for problem, any_utd in product(LIMITS, (False, True)):
            plan = ask(laws, laws.data[-1], task, utd, problem, sure, any_utd=any_utd)
            if plan is None or not plan.feasible or plan.threshold is None or plan.chance is None:
                continue
            place = "inside" if plan.extrapolation <= 1.01 else "beyond"
            if "limit binds" in plan.binding or "budget binds" in plan.binding:
                met = truly(truth, laws, plan) <= plan.limit
                kind = "any" if any_utd else "as it stands"
                found.append({"problem": problem, "kind": kind, "where": where, "place": place, "chance": plan.chance, "met": bool(met)})
    return [row for row in found if str(row["where"]).endswith(str(row["place"]))]


def ask(laws: ScalingLaws, law: DataLaw, task: str | None, utd: float, problem: str, sure: float, *, any_utd: bool) -> Plan | None:
    """A plan whose limit makes about this σ the answer."""
    at = np.array([utd])
    data = np.sort(law.predict_draws(at, task)[:, 0])[int(np.ceil(sure * laws.n_draws)) - 1]
    compute = float(laws.compute_for(at, np.array([data]), task)[0])
    if problem == "data":
        return plan_data(laws, float(data), task=task, sure=sure, any_utd=any_utd)
    if problem == "compute":
        return plan_compute(laws, compute, task=task, sure=sure, any_utd=any_utd)
    # the price of an env step at which this σ is the cheapest: −dC/dσ over dD/dσ
    ends = utd * np.array([0.98, 1.02])
    needs = law.predict(ends, task)
    price = -np.diff(laws.compute_for(ends, needs, task))[0] / np.diff(needs)[0]
    if not price > 0:
        return None
    return plan_budget(laws, 0.9 * (compute + price * float(data)), float(price), task=task, sure=sure, any_utd=any_utd)


def truly(truth: Truth, laws: ScalingLaws, plan: Plan) -> float:
    """What the plan's σ, B and η really take of what was limited."""
    assert plan.utd is not None
    assert plan.threshold is not None
    tasks = laws.tasks if plan.task is None else (plan.task,)
    at = np.array([plan.utd])
    logs = []
    for task in tasks:
        # the domain's B and η stand for each task's own, as `tdscale confirm` runs them
        batch = plan.batch_size if plan.task is not None else float(laws.batch_size_at(at, task)[0])
        rate = plan.learning_rate if plan.task is not None or laws.learning_rate is None else laws.learning_rate.predict(at, task)[0]
        logs.append(np.log(truth.data(task, at, [plan.threshold], batch_size=batch, learning_rate=rate)[0, 0]))
    data = float(np.exp(np.mean(logs)))
    compute = float(np.mean([laws.compute[task].compute_for(plan.utd, plan.batch_size, data) for task in tasks]))
    return {"data": data, "compute": compute, "budget": compute + (plan.data_cost or 0.0) * data}[plan.problem]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=150, help="sweeps for each noise regime and number of seeds")
    parser.add_argument("--draws", type=int, default=200, help="bootstrap draws of each fit")
    parser.add_argument("--sure", type=float, default=0.8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    options = parser.parse_args()
    started = time.perf_counter()
    each = -(-options.simulations // len(SHAPES))
    found: dict[tuple[str, ...], list[tuple[float, bool]]] = defaultdict(list)
    with ProcessPoolExecutor(options.workers) as pool:
        for first, (noise, seeds) in enumerate((noise, seeds) for noise in NOISE for seeds in (3, 5, 10)):
            for shape in SHAPES:
                one = partial(simulate, noise=noise, seeds=seeds, shape=shape, draws=options.draws, sure=options.sure)
                for rows in pool.map(one, range(first * each, (first + 1) * each), chunksize=2):
                    for row in rows:
                        case = float(str(row["chance"])), bool(row["met"])
                        kind, where, problem = (str(row[name]) for name in ("kind", "where", "problem"))
                        for of in (f"{noise}, {seeds} seeds", shape, problem, "all"):
                            found[of, kind, where].append(case)
    table = [
        {"of": of, "kind": kind, "where": where, "plans": len(cases), "chance": _mean(cases, 0), "met": _mean(cases, 1)}
        for (of, kind, where), cases in found.items()
    ]
    if options.json:
        print(json.dumps(table, indent=1))
        return
    columns = [(kind, where) for kind in ("as it stands", "any") for where in PLACES]
    print("| plans | " + " | ".join(f"{kind}, {where}" for kind, where in columns) + " |\n|" + "---|" * (len(columns) + 1))
    for of in dict.fromkeys(row["of"] for row in table):
        cells = []
        for kind, where in columns:
            cases = found.get((str(of), kind, where), [])
            cells.append(f"{_mean(cases, 1):.0%} ({_mean(cases, 0):.0%} of {len(cases)})" if cases else "–")
        print(f"| {of} | " + " | ".join(cells) + " |")
    print(f"{time.perf_counter() - started:.0f} s; limit met, in brackets the mean of the chances that the plans print, and how many plans")


def _mean(cases: list[tuple[float, bool]], index: int) -> float:
    return round(float(np.mean([case[index] for case in cases])), 3)


if __name__ == "__main__":
    main()
