"""Franka-Push: control steps per second by number of environments and threads, and what no policy and a hand-written one earn.

A row's task is stepped with random actions; its rates are medians over blocks of steps, after a first block that is not counted. On a GPU
`--backend mjx` measures MJX, first step (compilation) apart.

    python benchmarks/franka_push.py [--backend mujoco|mjx] [--episodes 1024] [--environments 1 64 1024 4096] [--threads 1 2]
"""

import argparse
import os
import platform
import statistics
import time

import numpy as np

from tdscale.tasks.franka_push import FrankaPush
from tdscale.tasks.franka_push.scripted import push
from tdscale.tasks.franka_push.task import Backend

BLOCKS = 9
STEPS_IN_A_BLOCK = 8192  # over all environments


def rates(environments: int, cubes: int, threads: int | None, backend: Backend) -> tuple[float, float, float]:
    """Control steps per second of CPU time and per second of the clock, and seconds until the first step was taken."""
    begun = time.perf_counter()
    task = FrankaPush(environments, cubes, threads, backend)
    everyone, generator = np.arange(environments), np.random.default_rng(0)
    task.reset(everyone, everyone.astype(np.uint32))
    task.step(np.zeros((environments, 7), np.float32))
    first = time.perf_counter() - begun
    steps = max(1, min(250 // BLOCKS, STEPS_IN_A_BLOCK // environments))
    actions = generator.uniform(-1, 1, (steps, environments, 7)).astype(np.float32)
    by_cpu, by_clock = [], []
    for block in range(BLOCKS):
        cpu, clock = time.process_time(), time.perf_counter()
        for action in actions:
            task.step(action)
        if block:
            by_cpu.append(steps * environments / (time.process_time() - cpu))
            by_clock.append(steps * environments / (time.perf_counter() - clock))
    task.close()
    return statistics.median(by_cpu), statistics.median(by_clock), first


def score(episodes: int, pushing: bool, backend: Backend) -> dict[str, float]:
    """Mean return, and the measures of the last states, over episodes of seeds 0, 1, …"""
    task = FrankaPush(episodes, backend=backend)
    everyone = np.arange(episodes)
    observations = task.reset(everyone, everyone.astype(np.uint32))
    returns = np.zeros(episodes)
    over = False
    while not over:
        step = task.step(push(observations) if pushing else np.zeros((episodes, 7), np.float32))
        observations, returns, over = step.observations, returns + step.rewards, bool(step.truncated.all())
    measured = {name: float(values.mean()) for name, values in task.measures().items()}
    task.close()
    return {"return": float(returns.mean()), "spread": float(returns.std())} | measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("mujoco", "mjx"), default="mujoco")
    parser.add_argument("--episodes", type=int, default=1024)
    parser.add_argument("--environments", type=int, nargs="+", default=[1, 64, 1024, 4096])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    versions = FrankaPush(1).versions()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {versions}, load {os.getloadavg()[0]:.1f}\n")
    print("| cubes | environments | threads | steps per CPU second | steps per second | until the first step, s |")
    print("|---|---|---|---|---|---|")
    on_device = arguments.backend == "mjx"
    for cubes in (1, 6):
        for environments in arguments.environments:
            for threads in [1] if on_device else [count for count in arguments.threads if count <= environments]:
                cpu, clock, first = rates(environments, cubes, threads, arguments.backend)
                where = "device" if on_device else threads
                print(f"| {cubes} | {environments} | {where} | {cpu:,.0f} | {clock:,.0f} | {first:.2f} |", flush=True)
    print("\n| policy | return | return a step | spread of returns | success at 4 cm | at 2 cm | goal distance, m |")
    print("|---|---|---|---|---|---|---|")
    for name, pushing in (("none: all actions 0", False), ("hand-written", True)):
        found = score(arguments.episodes, pushing, arguments.backend)
        print(
            f"| {name} | {found['return']:.2f} | {found['return'] / 256:.4f} | {found['spread']:.1f} "
            f"| {found['success_4cm']:.1%} | {found['success_2cm']:.1%} | {found['goal_distance']:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
