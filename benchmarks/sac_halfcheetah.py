"""SAC training against Stable-Baselines3 and SBX: env steps per CPU second on HalfCheetah, past warm-up.

One pinned core and one thread each, the same environment, networks 2×256, B = 256, σ = 1, an update after every env step. Runs of
the three alternate; the medians of their rates are compared. See README.md beside this file for the set-up.

    python benchmarks/sac_halfcheetah.py --peers .venv-bench/bin/python
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

TASK = "HalfCheetah-v4"
WARM_UP = 1000  # env steps of random actions; then a few hundred of training, compilation among them, before the clock starts
SETTLE = 300
PACKAGES = {
    "tdscale": ("tdscale", "jax", "mujoco", "gymnasium", "numpy"),
    "sb3": ("stable-baselines3", "torch", "mujoco", "gymnasium", "numpy"),
    "sbx": ("sbx-rl", "jax", "mujoco", "gymnasium", "numpy"),
}


def measure_tdscale(env_steps: int) -> float:
    """Env steps per CPU second."""
    from tdscale.study import RunSpec, SACSettings
    from tdscale.training.run import Run

    settings = SACSettings(warm_up=WARM_UP, evaluation_interval=0).model_dump(mode="json")
    spec = RunSpec(
        algorithm="sac", suite="gymnasium", task=TASK, utd=1.0, batch_size=256, learning_rate=3e-4, seed=0, stage="sweep", settings=settings
    )
    run = Run(spec, 1_000_000)
    run.advance(WARM_UP + SETTLE)
    started, updates = time.process_time(), run.critic_updates
    run.advance(WARM_UP + SETTLE + env_steps)
    seconds = time.process_time() - started
    assert run.going
    assert run.critic_updates - updates == env_steps
    return env_steps / seconds


def measure_peer(module: str, env_steps: int) -> float:
    """Env steps per CPU second of `module`.SAC, whose interface Stable-Baselines3 and SBX share."""
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
        batch_size=256,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": [256, 256]},
        seed=0,
        verbose=0,
        **arguments,
    )
    first = WARM_UP + SETTLE
    model.learn(first + env_steps, callback=clock, log_interval=None)
    return env_steps / (clock.times[first + env_steps] - clock.times[first])


MEASURES = {
    "tdscale": measure_tdscale,
    "sb3": lambda env_steps: measure_peer("stable_baselines3", env_steps),
    "sbx": lambda env_steps: measure_peer("sbx", env_steps),
}


def run_worker(name: str, core: int, env_steps: int) -> None:
    """Measure one of the three in this process, and print it as JSON."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    rate = MEASURES[name](env_steps)
    print(json.dumps({"rate": rate, "versions": {package: version(package) for package in PACKAGES[name]}}))


def cpu_model() -> str:
    """As the operating system names it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def compare(peers: str, core: int, env_steps: int, repeats: int) -> None:
    """Alternate the three and print medians."""
    from tdscale.training import single_thread_environment

    rates: dict[str, list[float]] = {name: [] for name in MEASURES}
    versions: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | single_thread_environment(cache)
        for repeat in range(repeats):
            for name in MEASURES:
                python = sys.executable if name == "tdscale" else peers
                command = [python, __file__, "--worker", name, "--core", str(core), "--env-steps", str(env_steps)]
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
                rates[name].append(found["rate"])
                versions[name] = found["versions"]
                print(f"repeat {repeat + 1}, {name}: {found['rate']:.1f} env steps per CPU second", flush=True)
    print(
        f"\n{TASK}, {env_steps} env steps past warm-up, {repeats} repeats, one core of {cpu_model()}, Python {platform.python_version()}\n"
    )
    print("| | env steps per CPU second, median | all | tdscale is faster by | versions |\n|---|---|---|---|---|")
    ours = statistics.median(rates["tdscale"])
    for name, values in rates.items():
        median = statistics.median(values)
        every = ", ".join(f"{value:.1f}" for value in values)
        named = ", ".join(f"{package} {number}" for package, number in versions[name].items())
        print(f"| {name} | {median:.1f} | {every} | {ours / median:.2f}× | {named} |")


def main() -> None:
    """Read the options and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=".venv-bench/bin/python", help="the Python that has Stable-Baselines3 and SBX")
    parser.add_argument("--core", type=int, default=0, help="the CPU core to pin to")
    parser.add_argument("--env-steps", type=int, default=1000, help="env steps that are timed")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", choices=list(MEASURES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_worker(options.worker, options.core, options.env_steps)
    else:
        compare(options.peers, options.core, options.env_steps, options.repeats)


if __name__ == "__main__":
    main()
