"""Franka-Push learnt by PQL on a CPU core: success of the policy alone, by env steps and CPU time.

The agent learns from shaped rewards (`franka-push-shaped`) unless told otherwise; success and return are always those of the task itself.
It begins with random steps. All other settings but those in CHANGED below are the defaults.

    taskset -c 0 python benchmarks/franka_learning.py [--seed 0] [--env-steps 2621440] [--task franka-push-shaped]
"""

import argparse
import platform
import time

import jax
import numpy as np

from tdscale.study import SETTINGS, RunSpec
from tdscale.tasks.franka_push import FrankaPush
from tdscale.training.batch import RunBatch

ENVIRONMENTS, EPISODE = 1024, 256
EPISODES = 256  # of an evaluation, the same ones each time
CHANGED = {
    "environments": ENVIRONMENTS,
    "warm_up": 64 * ENVIRONMENTS,
    "hidden_sizes": (256, 128),
    "discount": 0.98,
    "exploration_std_max": 0.5,
    "replay_capacity": 3_000_000,
    "evaluation_interval": 0,
    "diagnostics_interval": 0,
}
UTD, BATCH_SIZE, LEARNING_RATE = 1 / 128, 1024, 5e-4


def evaluate(batch: RunBatch, task: FrankaPush) -> dict[str, float]:
    """Mean return and last measures of the policy without noise."""
    observations = task.reset(np.arange(EPISODES), np.arange(1_000_000, 1_000_000 + EPISODES, dtype=np.uint32))
    returns, over = np.zeros(EPISODES), False
    while not over:
        step = task.step(batch._learner.act(observations[None], None)[0])
        observations, returns, over = step.observations, returns + step.rewards, bool(step.truncated.all())
    return {"return": float(returns.mean())} | {name: float(values.mean()) for name, values in task.measures().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--env-steps", type=int, default=10 * ENVIRONMENTS * EPISODE)
    parser.add_argument("--task", choices=("franka-push-shaped", "franka-push"), default="franka-push-shaped")
    arguments = parser.parse_args()
    spec = RunSpec(
        algorithm="pql",
        suite="tdscale",
        task=arguments.task,
        utd=UTD,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        seed=arguments.seed,
        stage="sweep",
        settings=SETTINGS["pql"].model_validate(CHANGED).model_dump(mode="json"),
    )
    begun = time.process_time()
    batch, task = RunBatch([spec], arguments.env_steps), FrankaPush(EPISODES)
    print(f"{platform.machine()}, jax {jax.__version__}, {task.versions()}, seed {arguments.seed}\n")
    print("| env steps | critic updates | CPU minutes | success at 4 cm | at 2 cm | goal distance, m | return |")
    print("|---|---|---|---|---|---|---|")
    while batch.env_step < arguments.env_steps:
        batch.advance(batch.env_step + ENVIRONMENTS * EPISODE)
        trained = (time.process_time() - begun) / 60
        evaluating = time.process_time()
        found = evaluate(batch, task)
        print(
            f"| {batch.env_step:,} | {batch.runs[0].critic_updates:,} | {trained:.1f} | {found['success_4cm']:.1%} "
            f"| {found['success_2cm']:.1%} | {found['goal_distance']:.3f} | {found['return']:.1f} |",
            flush=True,
        )
        begun += time.process_time() - evaluating
    batch.close()
    task.close()


if __name__ == "__main__":
    main()
