"""Speed and memory of training on one CPU core, beside Stable-Baselines3, SBX and the plain matrix products of an update.

Every figure comes from a process of its own, pinned to one core with one thread; what is compared alternates, and medians are
printed, as Markdown. Seconds are CPU seconds. See README.md beside this file for the peers' environment.

    python benchmarks/training.py --peers .venv-bench/bin/python
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

TASK = "HalfCheetah-v4"
OBSERVATION, ACTION = 17, 6
WARM_UP, SETTLE = 500, 150  # env steps of random actions, and of training before the clock starts
CHUNK = 16  # minibatches in one call of an update
PACKAGES = ("tdscale", "jax", "numpy", "gymnasium", "mujoco", "stable-baselines3", "torch", "sbx-rl")
Found = dict[str, float]


def loop(env_steps: int, *, utd: float = 1.0, batch_size: int = 256, width: int = 256, **changed: str) -> Found:
    """Env steps per CPU second of `train_cell` past warm-up, without evaluations and diagnostics: the peers have none either."""
    from tdscale.study import RunSpec, SACSettings
    from tdscale.training import Progress, train_cell

    given = {"warm_up": WARM_UP, "evaluation_interval": 0, "diagnostics_interval": 0, "hidden_sizes": (width, width)}
    settings = SACSettings.model_validate(given | changed).model_dump(mode="json")
    spec = RunSpec(
        algorithm="sac",
        suite="gymnasium",
        task=TASK,
        utd=utd,
        batch_size=batch_size,
        learning_rate=3e-4,
        seed=0,
        stage="sweep",
        settings=settings,
    )
    clock: dict[int, float] = {}

    def report(progress: Progress) -> None:
        clock[progress.env_steps] = time.process_time()

    (result,) = train_cell([spec], env_steps=WARM_UP + SETTLE + env_steps, target=None, report=report)
    assert result.status.state == "finished", result.status.reason
    first, last = min(step for step in clock if step >= WARM_UP + SETTLE), max(clock)
    return {"env steps": (last - first) / (clock[last] - clock[first])}


def peer(module: str, env_steps: int, *, batch_size: int = 256, width: int = 256) -> Found:
    """The same of `module`.SAC, whose interface Stable-Baselines3 and SBX share."""
    import gymnasium
    from stable_baselines3.common.callbacks import BaseCallback

    if module == "stable_baselines3":
        import torch

        torch.set_num_threads(1)
        from stable_baselines3 import SAC
    else:
        from sbx import SAC

    class Clock(BaseCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.times: dict[int, float] = {}

        def _on_step(self) -> bool:
            self.times[self.num_timesteps] = time.process_time()
            return True

    clock = Clock()
    arguments: dict[str, Any] = {"device": "cpu"} if module == "stable_baselines3" else {}
    model = SAC(
        "MlpPolicy",
        gymnasium.make(TASK),
        learning_starts=WARM_UP,
        batch_size=batch_size,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": [width, width]},
        seed=0,
        verbose=0,
        **arguments,
    )
    first = WARM_UP + SETTLE
    model.learn(first + env_steps, callback=clock, log_interval=None)
    return {"env steps": env_steps / (clock.times[first + env_steps] - clock.times[first])}


def updater(name: str, batch_size: int, actor_every: int = 1, **settings: Any) -> Callable[[], None]:
    """A call that makes 16 updates of the critics, with the actor's beside every so many, on random minibatches."""
    import numpy as np

    from tdscale.study import SETTINGS
    from tdscale.training.algorithms import ALGORITHMS

    class Sizes:
        observation_size, action_size = OBSERVATION, ACTION

    algorithm = ALGORITHMS[name]
    config = algorithm.configure(SETTINGS[name].model_validate(settings), Sizes())  # type: ignore[arg-type]
    state = [algorithm.init(config, np.uint32(0))]
    batches = np.random.default_rng(0).standard_normal((CHUNK, batch_size, config.row_size)).astype(np.float32)
    do_critic, do_actor = np.ones(CHUNK, bool), np.arange(CHUNK) % actor_every == actor_every - 1

    def call() -> None:
        state[0], finite = algorithm.update(config, state[0], batches, do_critic, do_actor, np.int32(CHUNK), np.float32(3e-4))
        finite.block_until_ready()

    return call


def products(batch: int, width: int) -> Callable[[], None]:
    """The matrix products of one update of SAC's critics and actor, forward and backward, and nothing else: NumPy's, into arrays that
    are there already."""
    import numpy as np

    def forward(sizes: list[int]) -> list[tuple[int, int, int]]:
        return [(batch, inputs, outputs) for inputs, outputs in pairwise(sizes)]

    def by_weights(sizes: list[int]) -> list[tuple[int, int, int]]:
        return [(inputs, batch, outputs) for inputs, outputs in pairwise(sizes)]

    def by_inputs(sizes: list[int]) -> list[tuple[int, int, int]]:
        return [(batch, outputs, inputs) for inputs, outputs in pairwise(sizes)]

    actor, critic = [OBSERVATION, width, width, 2 * ACTION], [OBSERVATION + ACTION, width, width, 1]
    plain = 2 * forward(actor) + 6 * forward(critic)  # targets, critics, critics of the actor's loss
    left = 2 * by_weights(critic) + by_weights(actor)  # left operand transposed
    right = 2 * by_inputs(critic[1:]) + by_inputs(actor[1:]) + 2 * by_inputs([ACTION, *critic[1:]])  # right operand transposed
    rng = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    calls = [(array(m, k), array(k, n), np.empty((m, n), np.float32)) for m, k, n in plain]
    calls += [(array(k, m).T, array(k, n), np.empty((m, n), np.float32)) for m, k, n in left]
    calls += [(array(m, k), array(n, k).T, np.empty((m, n), np.float32)) for m, k, n in right]

    def call() -> None:
        for _ in range(CHUNK):
            for one, other, out in calls:
                np.matmul(one, other, out=out)

    return call


def rates(calls: dict[str, Callable[[], None]], rounds: int) -> Found:
    """Updates per CPU second, the calls in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_number in range(rounds + 1):
        for name, call in calls.items():
            started = time.process_time()
            call()
            if round_number:  # the first one compiles
                seconds[name].append(time.process_time() - started)
    return {name: CHUNK / statistics.median(values) for name, values in seconds.items()}


def update_sac(width: int, batch_size: int, rounds: int) -> Found:
    """Updates of critics and actor, and their matrix products, per CPU second."""
    sizes = (width, width)
    return rates({"update": updater("sac", batch_size, hidden_sizes=sizes), "products": products(batch_size, width)}, rounds)


def update_actor_schedule(rounds: int) -> Found:
    """Critic updates per CPU second at σ = 8, by when the actor is updated."""
    return rates({"per env step": updater("sac", 256, actor_every=8), "per critic update": updater("sac", 256)}, rounds)


def update_bro(name: str, batch_size: int, rounds: int) -> Found:
    """Updates of critics and actors per CPU second, critics of width 512."""
    return rates({"update": updater(name, batch_size)}, rounds)


def update_precisions(name: str, batch_size: int, rounds: int) -> Found:
    """Updates of critics and actors per CPU second, by the precision of their matrix products."""
    return rates({precision: updater(name, batch_size, matmul_precision=precision) for precision in ("float32", "bfloat16")}, rounds)


def memory(env_steps: int) -> Found:
    """Peak resident MiB of a process that holds an environment, an agent that has been updated, and a full replay."""
    import resource

    import numpy as np

    from tdscale.study import SACSettings
    from tdscale.tasks import make_task
    from tdscale.training.algorithms import ALGORITHMS
    from tdscale.training.learner import HostLearner
    from tdscale.training.schedule import UpdateFlags

    task, algorithm = make_task("gymnasium", TASK), ALGORITHMS["sac"]
    config = algorithm.configure(SACSettings(), task)
    capacity = min(SACSettings().replay_capacity, env_steps)
    learner = HostLearner(algorithm, config, seed=np.uint32(0), capacity=capacity, chunk=CHUNK, batch_size=256, learning_rate=3e-4)
    for _ in range(capacity // 1000):
        learner.remember([np.ones((1000, config.row_size), np.float32)])
    learner.update([UpdateFlags(critic=True, actor=True)], [np.random.default_rng(0)])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB, on a Mac in bytes
    return {"MiB": peak / (1024 if sys.platform != "darwin" else 1024**2)}


def start_up() -> Found:
    """CPU seconds to import all that training needs, and to compile the first update. What the cache holds decides the latter."""
    started = time.process_time()
    importlib.import_module("tdscale.training.batch")
    imported = time.process_time()
    updater("sac", 256)()
    return {"import": imported - started, "compile": time.process_time() - imported}


PRECISE = ("SAC 256", "BRO minimal 256", "BRO 128", "PQL 8192")
WORKERS: dict[str, Callable[[int], Found]] = {
    "loop": loop,
    "loop sb3": lambda steps: peer("stable_baselines3", steps),
    "loop sbx": lambda steps: peer("sbx", steps),
    "update": lambda steps: update_sac(256, 256, steps // 16),
    "small": lambda steps: loop(2 * steps, batch_size=64, width=64),
    "small sb3": lambda steps: peer("stable_baselines3", steps, batch_size=64, width=64),
    "small update": lambda steps: update_sac(64, 64, steps // 4),
    "sigma 8, per env step": lambda steps: loop(steps // 4, utd=8.0),
    "sigma 8, per critic update": lambda steps: loop(steps // 4, utd=8.0, actor_updates="per-critic-update"),
    "sigma 8 update": lambda steps: update_actor_schedule(steps // 32),
    "bro 128": lambda steps: update_bro("bro", 128, 3),
    "bro 256": lambda steps: update_bro("bro", 256, 2),
    "bro-minimal 128": lambda steps: update_bro("bro-minimal", 128, 3),
    "bro-minimal 256": lambda steps: update_bro("bro-minimal", 256, 2),
    "loop, bfloat16": lambda steps: loop(steps, matmul_precision="bfloat16"),
    "precisions, SAC 256": lambda steps: update_precisions("sac", 256, steps // 16),
    "precisions, BRO minimal 256": lambda steps: update_precisions("bro-minimal", 256, 2),
    "precisions, BRO 128": lambda steps: update_precisions("bro", 128, 3),
    "precisions, PQL 8192": lambda steps: update_precisions("pql", 8192, 1),
    "memory 1000000": lambda steps: memory(1_000_000),
    "memory 50000": lambda steps: memory(50_000),
    "start-up": lambda steps: start_up(),
}
PARTS = {
    "sac": ("loop", "loop sb3", "loop sbx", "update"),
    "actor": ("sigma 8, per env step", "sigma 8, per critic update", "sigma 8 update"),
    "bro": ("bro-minimal 128", "bro-minimal 256", "bro 128", "bro 256"),
    "small": ("small", "small sb3", "small update"),
    "bfloat16": (
        "loop, bfloat16",
        "loop sb3",
        "loop sbx",
        "precisions, SAC 256",
        "precisions, BRO minimal 256",
        "precisions, BRO 128",
        "precisions, PQL 8192",
    ),
    "memory": ("memory 1000000", "memory 50000"),
    "start-up": ("start-up",),
    "franka": (),  # franka_push.py, which prints tables of its own
}
UNITS = {
    "env steps": "env steps/s",
    "update": "updates/s",
    "products": "updates/s of plain products",
    "per env step": "critic updates/s, actor per env step",
    "per critic update": "critic updates/s, actor per critic update",
    "float32": "updates/s, products in float32",
    "bfloat16": "updates/s, products of bfloat16",
    "MiB": "MiB, peak",
    "import": "s to import",
    "compile": "s to compile",
}
COMPARED = (  # what stands over what
    ("whole training over Stable-Baselines3", "loop", "env steps", "loop sb3", "env steps"),
    ("whole training over SBX", "loop", "env steps", "loop sbx", "env steps"),
    ("update over its plain products", "update", "update", "update", "products"),
    ("2×64, B = 64: whole training over Stable-Baselines3", "small", "env steps", "small sb3", "env steps"),
    ("2×64, B = 64: update over its plain products", "small update", "update", "small update", "products"),
    ("whole training, bfloat16, over Stable-Baselines3 (float32)", "loop, bfloat16", "env steps", "loop sb3", "env steps"),
    ("whole training, bfloat16, over SBX (float32)", "loop, bfloat16", "env steps", "loop sbx", "env steps"),
    *((f"{name}: bfloat16 over float32", f"precisions, {name}", "bfloat16", f"precisions, {name}", "float32") for name in PRECISE),
    ("σ = 8, actor per env step over per critic update: update", "sigma 8 update", "per env step", "sigma 8 update", "per critic update"),
    (
        "σ = 8, actor per env step over per critic update: whole training",
        "sigma 8, per env step",
        "env steps",
        "sigma 8, per critic update",
        "env steps",
    ),
)


def run_worker(name: str, core: int, env_steps: int) -> None:
    """Measure in this process, and print JSON."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    print(json.dumps({"found": WORKERS[name](env_steps), "versions": installed()}))


def installed() -> dict[str, str]:
    """Versions of what is there."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def ask(name: str, options: argparse.Namespace, cache: str) -> tuple[Found, dict[str, str]]:
    """Run a worker in a process of its own."""
    from tdscale.training import single_thread_environment

    python = options.peers if name.endswith(("sb3", "sbx")) else sys.executable
    command = [python, __file__, "--worker", name, "--core", str(options.core), "--env-steps", str(options.env_steps)]
    environment = os.environ | single_thread_environment(cache)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["found"], answer["versions"]


def measure(options: argparse.Namespace) -> None:
    """All parts, or one, and their tables."""
    parts = PARTS if options.only is None else {options.only: PARTS[options.only]}
    series: dict[tuple[str, str], list[float]] = {}
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as cache:
        for part, names in parts.items():
            # a new folder for the second worker of "start-up" would find no compilation: it takes the first one's
            folder = str(Path(cache) / ("cold" if part == "start-up" else "shared"))
            for repeat in range(2 if part == "start-up" else 1 if part == "memory" else options.repeats):
                for name in names:
                    if options.peers is None and name.endswith(("sb3", "sbx")):
                        continue
                    found, seen = ask(name, options, folder)
                    versions |= seen
                    label = name if part != "start-up" else f"{name}, {('no cache', 'cached')[repeat]}"
                    for what, value in found.items():
                        series.setdefault((label, what), []).append(value)
                    said = ", ".join(f"{value:.4g} {UNITS[what]}" for what, value in found.items())
                    print(f"{label}: {said}", file=sys.stderr, flush=True)
    if series:
        show(series, versions, options)
    if "franka" in parts:
        print("", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name("franka_push.py"))], check=True)


def show(series: dict[tuple[str, str], list[float]], versions: dict[str, str], options: argparse.Namespace) -> None:
    """Markdown: what was measured, then the ratios."""
    named = ", ".join(f"{package} {number}" for package, number in versions.items())
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, core {options.core} of {cpu_model()}, Python {platform.python_version()}, {named}. CPU seconds.\n"
    )
    print("| | | median | all |\n|---|---|---|---|")
    for (name, what), values in series.items():
        print(f"| {name} | {UNITS[what]} | {statistics.median(values):.4g} | {', '.join(f'{value:.4g}' for value in values)} |")
    rows = []
    for label, name, what, other, other_what in COMPARED:
        one, two = series.get((name, what)), series.get((other, other_what))
        if one and two:
            pairs = [a / b for a, b in zip(one, two, strict=True)]
            rows.append(f"| {label} | {statistics.median(pairs):.2f} | {', '.join(f'{pair:.2f}' for pair in pairs)} |")
    if rows:
        print("\n| ratio | median of the pairs | all |\n|---|---|---|", *rows, sep="\n")


def cpu_model() -> str:
    """As the operating system names it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Read the options and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PARTS), help="one part")
    parser.add_argument("--repeats", type=int, default=3, help="processes for each figure")
    parser.add_argument("--core", type=int, default=0, help="the CPU core to pin to")
    parser.add_argument("--env-steps", type=int, default=600, help="env steps that are timed; the other parts scale with it")
    parser.add_argument("--peers", help="the Python that has Stable-Baselines3 and SBX; without it they are left out")
    parser.add_argument("--worker", choices=list(WORKERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_worker(options.worker, options.core, options.env_steps)
    else:
        measure(options)


if __name__ == "__main__":
    main()
