"""What one GPU is worth: updates per second of 1 to 256 SAC runs and 1 to 32 BRO runs that advance together.

Beside them: the share of the device's own matrix products, one CPU core of the same machine, whole training loops with their
environments, what a diagnosis costs, products of bfloat16, and the batches that real sweeps make. One command of under ten minutes, which
prints one Markdown table: what matters most comes first, and what there is no time left for is said.

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
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BATCH_SIZE = {"sac": 256, "bro": 128}
CHUNK = 16
OBSERVATION, ACTION = 17, 6  # HalfCheetah's
TASK = "HalfCheetah-v5"
EXAMPLES = Path(__file__).parent.parent / "examples"


def matrix_product_peak(size: int, dtype: str, repeats: int = 10) -> float:
    """FLOP/s of a square product; of float32 at JAX's default precision, which is the agents' too."""
    import jax
    import jax.numpy as jnp

    left = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.matmul)
    product(left, left).block_until_ready()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        product(left, left).block_until_ready()
        seconds.append(time.perf_counter() - started)
    return 2.0 * size**3 / statistics.median(seconds)


class Found(NamedTuple):
    """A row of the table; what is None was not measured there.

    per_second: updates of critics and actor, or env steps of a loop, over all runs. flops: of one update. compiling: seconds, with
    initialisation. diagnosis: seconds, of all runs. waiting: share of a loop's time that waits for updates.
    """

    per_second: float
    flops: float | None = None
    compiling: float | None = None
    diagnosis: float | None = None
    waiting: float | None = None


def update_rate(name: str, runs: int, seconds: float, *, on_host: bool = False, precision: str = "float32") -> Found:
    """Measure; each update of critic and actor on its own minibatch."""
    import jax

    from tdscale.study import SETTINGS
    from tdscale.training.algorithms import ALGORITHMS
    from tdscale.training.device_learner import DeviceLearner
    from tdscale.training.learner import HostLearner
    from tdscale.training.run import UNIFORM, VALIDATION, newest_ages
    from tdscale.training.schedule import UpdateFlags

    algorithm, settings = ALGORITHMS[name], SETTINGS[name].model_validate({"matmul_precision": precision})

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
    rows = rng.normal(size=(1000, config.row_size)).astype(np.float32)
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
    rate = calls * CHUNK * runs / (time.perf_counter() - started)
    if on_host:
        return Found(rate)
    costs, diagnosing = learner.costs(), 0.0
    for _ in range(2):  # the first one compiles
        started = time.perf_counter()
        learner.diagnose(UNIFORM, newest_ages(1, 20_000), [rows[:VALIDATION]] * runs, generators)
        diagnosing = time.perf_counter() - started
    flops = BATCH_SIZE[name] * (costs.critic_update_flops + costs.actor_update_flops)
    return Found(rate, flops=float(flops), compiling=compiling, diagnosis=diagnosing)


def loop_rate(utd: float, runs: int, env_steps: int) -> Found:
    """Env steps per second over all runs of SAC past warm-up, environments included."""
    from tdscale.study import SETTINGS, RunSpec
    from tdscale.training.batch import RunBatch, advance_in_turns

    warm_up = 300
    settings = SETTINGS["sac"](warm_up=warm_up, evaluation_interval=0, diagnostics_interval=0).model_dump(mode="json")
    specs = [
        RunSpec(
            algorithm="sac",
            suite="gymnasium",
            task=TASK,
            utd=utd,
            batch_size=256,
            learning_rate=3e-4,
            seed=seed,
            stage="sweep",
            settings=settings,
        )
        for seed in range(runs)
    ]
    started = time.perf_counter()
    parts = [specs[::2], specs[1::2]] if runs > 1 else [specs]
    batches = [RunBatch(part, 50_000, together=True) for part in parts]
    compiling = time.perf_counter() - started
    first = warm_up + 50

    def advance(env_step: int) -> float:
        """And the seconds that waited for updates until then."""
        advance_in_turns(batches, env_step)
        for batch in batches:
            batch._learner.finite()
        return sum(run.update_seconds for batch in batches for run in batch.runs)

    before = advance(first)
    started = time.perf_counter()
    waiting = advance(first + env_steps) - before
    elapsed = time.perf_counter() - started
    for batch in batches:
        batch.close()
    return Found(runs * env_steps / elapsed, compiling=compiling, waiting=waiting / elapsed)


def composition() -> Iterator[str]:
    """Which batches the sweeps of the examples make: runs by shape, and the batches of at most 256."""
    from tdscale.study import read_study

    for path in sorted(EXAMPLES.glob("*.toml")):
        study = read_study(path)
        if ":" in str(study.algorithm):  # an algorithm of the user's own is not looked up here
            continue
        sizes = Counter(spec.batch_id for spec in study.sweep_specs())
        share = ", ".join(map(str, sorted(set(sizes.values()))))
        batches = sum(-(-size // 256) for size in sizes.values())
        yield f"{path.stem}: {sum(sizes.values())} runs of {len(sizes)} shapes, {share} of each, in {batches} batches"


def cpu_core(name: str, seconds: float) -> float:
    """Updates per second of one run on one core of this machine, in a process of its own."""
    from tdscale.training import single_thread_environment

    environment = os.environ | single_thread_environment(tempfile.gettempdir() + "/tdscale-benchmark-cache")
    command = [sys.executable, __file__, "--host-rate", name, "--seconds", str(seconds)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


class Table:
    """Rows as they are found, while there is time for them."""

    def __init__(self, minutes: float, peaks: dict[str, float]) -> None:
        self._end, self._peaks = time.monotonic() + 60 * minutes, peaks
        self._cores: dict[str, float] = {}
        self._longest = 0.0
        print(
            "| what | runs together | per second | share of the product's rate | CPU cores as fast | compile, s "
            "| diagnosis of all, s | of the time of 1000 updates each | waits for updates |"
        )
        print("|---|---|---|---|---|---|---|---|---|")

    def core(self, name: str, measure: Callable[[], Found]) -> None:
        """One CPU core's updates, to which those of the GPU are compared."""
        found = self._measure(f"{name} on one CPU core, updates", 1, measure)
        if found is not None:
            self._cores[name] = found.per_second
            self._show(f"{name} on one CPU core, updates", 1, f"{found.per_second:,.1f}")

    def updates(self, name: str, runs: int, measure: Callable[[], Found], precision: str = "float32") -> None:
        """Updates of so many runs together."""
        what = f"{name}, updates" + (f", {precision}" if precision != "float32" else "")
        found = self._measure(what, runs, measure)
        if found is None or found.flops is None or found.diagnosis is None:
            return
        share = f"{found.per_second * found.flops / self._peaks[precision]:.0%}"
        cores = f"{found.per_second / self._cores[name]:.1f}" if name in self._cores else ""
        diagnosing = found.diagnosis * found.per_second / (1000 * runs)
        self._show(
            what, runs, f"{found.per_second:,.0f}", share, cores, f"{found.compiling:.0f}", f"{found.diagnosis:.2f}", f"{diagnosing:.1%}"
        )

    def loop(self, utd: float, runs: int, measure: Callable[[], Found]) -> None:
        """Whole training of so many runs together."""
        what = f"sac on {TASK}, σ = {utd:g}, env steps"
        found = self._measure(what, runs, measure)
        if found is not None:
            self._show(what, runs, f"{found.per_second:,.0f}", "", "", f"{found.compiling:.0f}", "", "", f"{found.waiting:.0%}")

    def _measure(self, what: str, runs: int, measure: Callable[[], Found]) -> Found | None:
        """None where the time left is less than the longest measurement took; or where one does not fit into the device's memory."""
        from tdscale.errors import OUT_OF_MEMORY

        started = time.monotonic()
        if started + self._longest > self._end:
            self._show(what, runs, "no time left")
            return None
        try:
            return measure()
        except Exception as error:
            if OUT_OF_MEMORY not in str(error):
                raise
            self._show(what, runs, "does not fit into memory")
            return None
        finally:
            self._longest = max(self._longest, time.monotonic() - started)

    @staticmethod
    def _show(what: str, runs: int, *cells: str) -> None:
        print("|", " | ".join([what, str(runs), *cells, *[""] * (7 - len(cells))]), "|", flush=True)


def main() -> None:
    """Read the options and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="after which nothing more is begun")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement of updates")
    parser.add_argument("--env-steps", type=int, default=200, help="timed env steps of each whole loop")
    parser.add_argument("--tiny", action="store_true", help="small numbers of runs: to see that it works, on a CPU too")
    parser.add_argument("--host-rate", choices=list(BATCH_SIZE), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host_rate:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(update_rate(options.host_rate, 1, options.seconds, on_host=True).per_second)
        return
    with tempfile.TemporaryDirectory() as cache:
        measure_all(options, cache)


def measure_all(options: argparse.Namespace, cache: str) -> None:
    """The table, and what it was measured on and with."""
    from tdscale.training.devices import gpu_environment

    # what tdscale's own workers have, before JAX is imported
    os.environ.update(gpu_environment(cache))
    import jax

    size = 512 if options.tiny else 8192
    peaks = {dtype: matrix_product_peak(size, dtype) for dtype in ("float32", "bfloat16")}
    named = ", ".join(f"{package} {version(package)}" for package in ("jax", "mujoco", "gymnasium", "numpy"))
    kind, cores = jax.devices()[0].device_kind, os.cpu_count()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {kind}, {cores} CPU cores, Python {platform.python_version()}, {named}.")
    fastest = ", ".join(f"{dtype} {rate / 1e12:.1f} TFLOP/s" for dtype, rate in peaks.items())
    print(f"Matrix products of {size} × {size} at their best, at JAX's default precision: {fastest}.\n")

    table = Table(options.minutes, peaks)
    updates = partial(partial, update_rate)
    few = (1, 2)
    table.core("sac", lambda: Found(cpu_core("sac", min(options.seconds, 4.0))))
    for runs in few if options.tiny else (256, 64, 8, 1):
        table.updates("sac", runs, updates("sac", runs, options.seconds))
    for runs in (2,) if options.tiny else (256, 64):
        table.loop(1.0, runs, partial(loop_rate, 1.0, runs, options.env_steps))
    table.core("bro", lambda: Found(cpu_core("bro", min(options.seconds, 4.0))))
    for runs in few if options.tiny else (32, 8, 1):
        table.updates("bro", runs, updates("bro", runs, options.seconds))
    for name, runs in (("sac", 2),) if options.tiny else (("bro", 32), ("sac", 256)):
        table.updates(name, runs, updates(name, runs, options.seconds, precision="bfloat16"), "bfloat16")
    for utd, runs in () if options.tiny else ((4.0, 256), (1.0, 8)):
        table.loop(utd, runs, partial(loop_rate, utd, runs, options.env_steps))
    print("\nBatches of the examples' sweeps:", "; ".join(composition()) + ".")


if __name__ == "__main__":
    main()
