"""Stable-Baselines3's SAC as a trainer for tdscale: σ becomes `train_freq` and `gradient_steps`, episodes become rows of a CSV.

Needs stable-baselines3 (and with it torch) in the environment that `python` is of; tdscale itself may be elsewhere.

    python train.py --task Pendulum-v1 --utd 0.5 --batch-size 64 --learning-rate 1e-3 --seed 0 --env-steps 5000 --csv curve.csv
"""

import argparse
import json
import math
from fractions import Fraction
from typing import TextIO

import stable_baselines3
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback


class Curve(BaseCallback):
    """A row for each episode that ends, at once on disk; a run whose critics are no longer finite ends as diverged."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self.file = file
        print("env_step,return", file=file)

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                finite = all(bool(torch.isfinite(part).all()) for part in self.model.critic.parameters())
                print(f"{self.num_timesteps},{info['episode']['r'] if finite else math.nan}", file=self.file)
                if not finite:
                    return False
        return True


def write(path: str | None, report: dict) -> None:
    if path is not None:
        with open(path, "w") as file:
            json.dump(report, file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", required=True)
    parser.add_argument("--utd", type=float, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--env-steps", type=int, required=True)
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--report")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # tdscale starts one trainer per core
    ratio = Fraction(asked.utd).limit_denominator(1000)
    model = SAC(
        "MlpPolicy",
        asked.task,
        learning_rate=asked.learning_rate,
        batch_size=asked.batch_size,
        buffer_size=asked.env_steps,
        learning_starts=asked.warm_up,
        train_freq=ratio.denominator,  # env steps between updates …
        gradient_steps=ratio.numerator,  # … and how many updates then: σ of them per env step
        policy_kwargs={"net_arch": [asked.width, asked.width]},
        seed=asked.seed,
        device="cpu",
    )
    report = {
        "critic_parameters": sum(part.numel() for part in model.critic.parameters()),
        "actor_parameters": sum(part.numel() for part in model.actor.parameters()),
        "versions": {"torch": torch.__version__, "stable-baselines3": stable_baselines3.__version__},
    }
    write(asked.report, report)  # at once: a cell that has seen enough ends its trainers
    with open(asked.csv, "w", buffering=1) as file:
        model.learn(asked.env_steps, callback=Curve(file))
    updates = model._n_updates
    write(asked.report, report | {"critic_updates": updates, "actor_updates": updates})


if __name__ == "__main__":
    main()
