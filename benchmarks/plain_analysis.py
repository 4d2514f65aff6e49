"""The authors' procedure written plainly with scikit-learn and scipy, as the comparison of analysis.py; needs neither tdscale nor JAX.

One bootstrap replicate after another: mean over the drawn seeds, `IsotonicRegression`, first crossing; for the sweep the best B and η of
each and a line through them; for the Gym files a grid of starting points and L-BFGS at each threshold, then the cheapest σ on 100 points.

    python benchmarks/plain_analysis.py sweep --data DIR --draws 100
"""

import argparse
import io
import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression

NAME = re.compile(r"utd_([\d.]+)/([^/]+)/[^/]+/bs_(\d+)_lr_([\d.e-]+)\.npy$")
GYM_MAXIMA = {"HalfCheetah-v4": 9800, "Walker2d-v4": 4950, "Ant-v4": 6625, "Humanoid-v4": 6450}
SWEEP_THRESHOLDS = 1000 - np.logspace(np.log10(900), np.log10(200), 8)
GYM_THRESHOLDS = 1000 - np.logspace(np.log10(700), np.log10(200), 10)


def read(path, with_steps):
    """(task, σ, B, η) → (env steps, normalised returns of shape (n_steps, n_seeds))."""
    cells = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            found = NAME.search(name)
            if found and "__MACOSX" not in name:
                array = np.load(io.BytesIO(archive.read(name)), allow_pickle=False).astype(float)
                utd, task, batch, rate = float(found[1]), found[2], int(found[3]), float(found[4])
                if with_steps:
                    cells[task, utd, batch, rate] = array[:, 0], 1000 * array[:, 1:] / GYM_MAXIMA[task]
                else:
                    cells[task, utd, batch, rate] = 5000 + 1000 * np.arange(len(array)), array
    return cells


def crossing(steps, mean, thresholds):
    fitted = IsotonicRegression().fit_transform(steps, mean)
    index = np.searchsorted(fitted, thresholds)
    return np.where(index < len(steps), steps[np.minimum(index, len(steps) - 1)], np.inf)


def draws_of(cells, thresholds, n_draws):
    rng = np.random.default_rng(0)
    result = {}
    for key, (steps, returns) in cells.items():
        n = returns.shape[1]
        result[key] = np.array([crossing(steps, returns[:, rng.integers(n, size=n)].mean(axis=1), thresholds) for _ in range(n_draws)])
    return result


def sweep(data, n_draws):
    """Shared slopes of B* and η*."""
    cells = read(data / "dmc_sweep.zip", with_steps=False)
    found = draws_of(cells, SWEEP_THRESHOLDS, n_draws)
    tasks, utds, batches, rates = (sorted({key[i] for key in cells}) for i in range(4))
    slopes = []
    for values, others, order in ((batches, rates, (0, 1)), (rates, batches, (1, 0))):
        rows, target = [], []
        for index, task in enumerate(tasks):
            for utd in utds:
                best = []
                for draw in range(n_draws):
                    for other in others:
                        pairs = [(value, other) if order == (0, 1) else (other, value) for value in values]
                        times = [found[(task, utd, *pair)][draw, -1] if (task, utd, *pair) in found else np.inf for pair in pairs]
                        best.append(values[int(np.argmin(times))])
                rows.append([np.log(utd), *np.eye(len(tasks))[index]])
                target.append(np.log(np.mean(best)))
        slopes.append(float(LinearRegression(fit_intercept=False).fit(rows, target).coef_[0]))
    return {"slopes": slopes}


def fit(utd, z):
    """a, b, c of z = c + (σ/b)^(−a) by brute force and L-BFGS."""

    def loss(p):
        with np.errstate(all="ignore"):
            value = np.mean((p[2] + (utd / p[1]) ** -p[0] - z) ** 2)
        return value if np.isfinite(value) else 1e12

    starts = [(a, b, c) for a in np.geomspace(0.1, 3, 8) for b in np.geomspace(0.05, 5, 8) for c in np.linspace(0, z.min(), 5)]
    starts.sort(key=loss)
    return min(
        (minimize(loss, s, method="L-BFGS-B", bounds=[(1e-3, 20), (1e-6, 1e6), (0, None)]) for s in starts[:1]), key=lambda r: r.fun
    ).x


def gym(data, n_draws):
    """Data laws of both files at ten thresholds, and σ* at each, for every draw."""
    exponents = []
    for name in ("gym_ours", "gym_baseline_utd2"):
        cells = read(data / f"{name}.zip", with_steps=True)
        found = draws_of(cells, GYM_THRESHOLDS, n_draws)
        tasks, utds = (sorted({key[i] for key in cells}) for i in range(2))
        at = {(task, utd): values for (task, utd, *_), values in found.items()}
        grid = np.geomspace(min(utds), max(utds), 100)
        for draw in range(n_draws):
            table = np.array([[at[task, utd][draw] for utd in utds] for task in tasks])
            table[~np.isfinite(table)] = np.nan
            medians = np.nanmedian(table, axis=(1, 2))
            points = []
            for index in range(len(GYM_THRESHOLDS)):
                a, b, c = fit(np.array(utds), np.nanmean(table[..., index] / medians[:, None], axis=0))
                predicted = np.median(medians) * (c + (grid / b) ** -a)
                total = 10 * 1.5e5 * 400 * grid**-0.33 * grid * predicted + 4e9 * predicted
                points.append((np.log(total.min()), np.log(grid[np.argmin(total)])))
            exponents.append(np.polyfit(*np.array(points).T, 1)[0])
    return {"exponent": float(np.median(exponents))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["sweep", "gym"])
    parser.add_argument("--data", type=Path, required=True, help="folder of the published zips")
    parser.add_argument("--draws", type=int, default=100)
    options = parser.parse_args()
    started = time.process_time()
    result = {"sweep": sweep, "gym": gym}[options.part](options.data, options.draws)
    print(json.dumps({"cpu_seconds": time.process_time() - started, "draws": options.draws, **result}))


if __name__ == "__main__":
    main()
