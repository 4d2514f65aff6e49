"""What thousands of small finished runs cost: status, fit's reading, disk and memory, as folders and packed.

    python benchmarks/growth.py [--runs 200 2000 20000] [--points 100]

Every figure is of a fresh process. The runs are those of a study's sweep, with curves that rise with the seed's noise.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from tdscale.running.folder import open_study
from tdscale.runs.records import status_to_dict, to_json, write_curve
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunStatus

_STUDY = """
name = "growth"
algorithm = "sac"
return_thresholds = [500.0, 800.0]
[tasks."HalfCheetah-v4"]
suite = "gymnasium"
low = 0.0
high = 1000.0
[tasks."Ant-v4"]
suite = "gymnasium"
low = 0.0
high = 1000.0
[sweep]
utd = [1, 2, 4, 8]
batch_size = [64, 128, 256, 512, 1024]
learning_rate = [1e-4, 3e-4, 5e-4, 1e-3, 2e-3]
seeds = SEEDS
[limits]
env_steps = 100000
"""
_MEASURE = """
import json, resource, sys, time
from pathlib import Path
from tdscale.running.folder import open_study
start = time.perf_counter()
files = open_study(Path(sys.argv[1]))
if sys.argv[2] == "compact":
    files.store.compact()
else:
    from tdscale.runs.cells import load_cells
    cells, _ = load_cells(files.store, files.study)
    assert cells
    files.store.fingerprint()
print(json.dumps([time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def _fill(directory: Path, runs: int, points: int) -> None:
    directory.mkdir()
    (directory / "study.toml").write_text(_STUDY.replace("SEEDS", str(runs // 200)), encoding="utf-8")
    files, store = open_study(directory), RunStore(directory)
    steps = np.linspace(1000, 100_000, points).astype(np.int64)
    random = np.random.default_rng(0)
    for spec in files.study.sweep_specs():
        returns = 900 * (1 - np.exp(-steps / 30_000 * spec.utd**0.3)) + random.normal(0, 20, points)
        status = RunStatus(state="finished", last_step=100_000, notes={"stopped_at_return": 800.0}, versions={"jax": "0.10.2"})
        # as RunStore.write leaves them, without its waiting for the disk
        folder = store.runs / spec.run_id
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(to_json(spec.to_dict()), encoding="utf-8")
        (folder / "status.json").write_text(to_json(status_to_dict(status)), encoding="utf-8")
        write_curve({"env_step": steps, "return": returns}, folder / "curve.parquet")


def _status(directory: Path) -> tuple[float, float]:
    """Seconds by the clock, and of CPU."""
    start, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "tdscale", "status", str(directory), "--json"], check=True, capture_output=True)
    after = os.times()
    return time.perf_counter() - start, after.children_user + after.children_system - before.children_user - before.children_system


def _measured(directory: Path, what: str) -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", _MEASURE, str(directory), what], check=True, capture_output=True, text=True)
    seconds, mebibytes = json.loads(done.stdout)
    return seconds, mebibytes


def _disk(directory: Path) -> float:
    return sum((Path(folder) / name).stat().st_blocks for folder, _, names in os.walk(directory) for name in names) * 512 / 2**20


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[200, 2000, 20_000], help="multiples of 200")
    parser.add_argument("--points", type=int, default=100, help="logged points of each curve")
    options = parser.parse_args()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("tdscale", "numpy", "pyarrow"))
    print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| runs | form | status, s | its CPU, s | fit's reading, s | its memory, MiB | disk, MiB | packing, s |")
    print("|---|---|---|---|---|---|---|---|")
    for runs in options.runs:
        with tempfile.TemporaryDirectory() as root:
            directory = Path(root) / "study"
            _fill(directory, runs, options.points)
            for form in ("folders", "packed"):
                packing = f"{_measured(directory, 'compact')[0]:.1f}" if form == "packed" else ""
                status = [_status(directory) for _ in range(2)]
                seconds, processor = (min(values) for values in zip(*status, strict=True))
                reading, memory = _measured(directory, "read")
                row = f"{runs:,} | {form} | {seconds:.2f} | {processor:.2f} | {reading:.1f} | {memory:.0f}"
                print(f"| {row} | {_disk(directory):.0f} | {packing} |", flush=True)


if __name__ == "__main__":
    main()
