"""What one GPU is worth: updates per second of 1 to 256 SAC runs and 1 to 32 BRO runs that advance together.

Beside them: the share of the device's own matrix products, one CPU core of the same machine, whole training loops with their
environments, and the batches that a real sweep makes. One command of under ten minutes; it prints Markdown.

    python benchmarks/gpu.py
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SIZES = {"sac": (1, 8, 64, 256), "bro": (1, 8, 32)}
BATCH_SIZE = {"sac": 256, "bro": 128}
CHUNK = 16
OBSERVATION, ACTION = 17, 6  # HalfCheetah's
EXAMPLES = Path(__file__).parent.parent / "examples"


def matrix_product_peak(size: int, repeats: int) -> float:
    """FLOP/s of a square float32 product at JAX's default precision, which is the agents' too."""
    import jax
    import jax.numpy as jnp

    left = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul)
    product(left, left).block_until_ready()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        product(left, left).block_until_ready()
        seconds.append(time.perf_counter() - started)
    return 2.0 * size**3 / statistics.median(seconds)


class Rate(NamedTuple):
    """Updates per second over all runs, FLOPs of one, seconds to compile, and of a diagnosis of all runs (NaN on the host)."""

    updates: float
    flops: float
    compiling: float
    diagnosis: float


def update_rate(name: str, runs: int, seconds: float, on_host: bool) -> Rate:
    """Measure; each update of critic and actor on its own minibatch."""
    import jax

    from tdscale.study import SETTINGS
    from tdscale.training.algorithms import ALGORITHMS
    from tdscale.training.device_learner import DeviceLearner
    from tdscale.training.learner import HostLearner
    from tdscale.training.record import NEWEST, UNIFORM, VALIDATION, newest_ages
    from tdscale.training.schedule import UpdateFlags

    algorithm, settings = ALGORITHMS[name], SETTINGS[name]()

    class Sizes:
        observation_size, action_size = OBSERVATION, ACTION

    config = algorithm.configure(settings, Sizes())  # type: ignore[arg-type]
    shapes: dict[str, Any] = {"capacity": 20_000, "chunk": CHUNK, "batch_size": BATCH_SIZE[name]}
    started = time.perf_counter()
    learner: Any
    if on_host:
        learner = HostLearner(algorithm, config, seed=np.uint32(0), learning_rate=3e-4, **shapes)
    else:
        seeds = [np.uint32(seed) for seed in range(runs)]
        learner = DeviceLearner(algorithm, config, seeds=seeds, learning_rates=[3e-4] * runs, environments=1, **shapes)
    learner.finite()
    compiling = time.perf_counter() - started
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(max(1000, NEWEST, VALIDATION), config.row_size)).astype(np.float32)
    learner.remember([rows] * runs)
    generators = [np.random.default_rng(seed) for seed in range(runs)]
    flags = [UpdateFlags(critic=True, actor=True)] * CHUNK
    for _ in range(2):
        learner.update(flags, generators)
    jax.block_until_ready(learner.finite())
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        # the device runs ahead of the host by a few calls, as in training
        for _ in range(4):
            learner.update(flags, generators)
            calls += 1
        learner.finite()
    elapsed = time.perf_counter() - started
    costs = learner.costs()
    flops = BATCH_SIZE[name] * (costs.critic_update_flops + costs.actor_update_flops)
    diagnosing = []
    for _ in range(0 if on_host else 4):
        begun = time.perf_counter()
        learner.diagnose(UNIFORM, newest_ages(1, 20_000), [rows[:VALIDATION]] * runs, generators)
        diagnosing.append(time.perf_counter() - begun)
    # the first one compiles
    return Rate(calls * CHUNK * runs / elapsed, float(flops), compiling, nan if on_host else statistics.median(diagnosing[1:]))


def loop_rate(task: str, utd: float, runs: int, env_steps: int) -> tuple[float, float]:
    """Env steps per second over all runs of SAC past warm-up, environments included, and the share of it that updates took."""
    from tdscale.study import SETTINGS, RunSpec
    from tdscale.training.batch import RunBatch, advance_in_turns

    warm_up = 300
    settings = SETTINGS["sac"](warm_up=warm_up, evaluation_interval=0).model_dump(mode="json")
    specs = [
        RunSpec(
            algorithm="sac",
            suite="gymnasium",
            task=task,
            utd=utd,
            batch_size=256,
            learning_rate=3e-4,
            seed=seed,
            stage="sweep",
            settings=settings,
        )
        for seed in range(runs)
    ]
    parts = [specs[::2], specs[1::2]] if runs > 1 else [specs]
    batches = [RunBatch(part, 50_000, together=True) for part in parts]
    first = warm_up + 50
    advance_in_turns(batches, first)
    for batch in batches:
        batch._learner.finite()
    started = time.perf_counter()
    before = sum(run.update_seconds for batch in batches for run in batch.runs)
    advance_in_turns(batches, first + env_steps)
    for batch in batches:
        batch._learner.finite()
    elapsed = time.perf_counter() - started
    waiting = sum(run.update_seconds for batch in batches for run in batch.runs) - before
    for batch in batches:
        batch.close()
    return runs * env_steps / elapsed, waiting / elapsed


def composition() -> None:
    """Which batches the sweeps of the examples make."""
    from tdscale.study import read_study

    print("\n| sweep | runs | batches of one shape | runs in each | in batches of at most 256 |\n|---|---|---|---|---|")
    for path in sorted(EXAMPLES.glob("*.toml")):
        study = read_study(path)
        try:
            specs = study.sweep_specs()
        except Exception as error:  # an algorithm of the user's own is not looked up here
            print(f"| {path.stem} | – | – | {type(error).__name__} | – |")
            continue
        sizes = Counter(spec.batch_id for spec in specs)
        share = sorted(set(sizes.values()))
        batches = sum(-(-size // 256) for size in sizes.values())
        print(f"| {path.stem} | {len(specs)} | {len(sizes)} | {', '.join(map(str, share))} | {batches} |")


def cpu_core(name: str, seconds: float) -> float:
    """Updates per second of one run on one core of this machine, in a process of its own."""
    from tdscale.training import single_thread_environment

    environment = os.environ | single_thread_environment(tempfile.gettempdir() + "/tdscale-benchmark-cache")
    command = [sys.executable, __file__, "--host-rate", name, "--seconds", str(seconds)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Read the options and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement of updates")
    parser.add_argument("--env-steps", type=int, default=300, help="timed env steps of each whole loop")
    parser.add_argument("--tiny", action="store_true", help="small numbers of runs: to see that it works, on a CPU too")
    parser.add_argument("--host-rate", choices=list(SIZES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host_rate:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(update_rate(options.host_rate, 1, options.seconds, on_host=True).updates)
        return

    import jax

    device = jax.devices()[0]
    named = ", ".join(f"{package} {version(package)}" for package in ("jax", "mujoco", "gymnasium", "numpy"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {device.device_kind}, {os.cpu_count()} CPU cores, Python {platform.python_version()}, {named}\n")
    peak = matrix_product_peak(512 if options.tiny else 8192, 10)
    print(f"Matrix product at its best: {peak / 1e12:.1f} TFLOP/s (float32 at JAX's default precision)\n")
    print(
        "| algorithm | runs together | updates per second | share of the product's rate | against one CPU core | compile, s "
        "| diagnosis of all, s | of the time of 1000 updates each |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, sizes in SIZES.items():
        core = cpu_core(name, min(options.seconds, 5.0))
        for runs in (1, 2) if options.tiny else sizes:
            rate, flops, compiling, diagnosis = update_rate(name, runs, options.seconds, on_host=False)
            share, cost = rate * flops / peak, diagnosis * rate / (1000 * runs)
            shown = f"{rate:,.0f} | {share:.0%} | {rate / core:.1f} cores | {compiling:.0f} | {diagnosis:.2f} | {cost:.1%}"
            print(f"| {name} | {runs} | {shown} |", flush=True)
        print(f"| {name}, one CPU core | 1 | {core:,.1f} | | | | | |", flush=True)
    print("\n| whole loop: SAC on HalfCheetah-v5 | runs together | env steps per second | share of the time that waits for updates |")
    print("|---|---|---|---|")
    for utd in (1.0,) if options.tiny else (1.0, 4.0):
        for runs in (2,) if options.tiny else (8, 64, 256):
            rate, waiting = loop_rate("HalfCheetah-v5", utd, runs, options.env_steps)
            print(f"| σ = {utd:g} | {runs} | {rate:,.0f} | {waiting:.0%} |", flush=True)
    composition()


if __name__ == "__main__":
    main()
