"""Q-learning with a replay on a windy corridor: a trainer that knows nothing of tdscale, with Python's standard library alone.

Walk from the left end to the right one; every step costs 1, and now and then the wind blows you back. The return of an episode
is minus its steps. Q is a table, learnt by minibatch steps: `utd` of them per environment step, each of `batch_size` transitions.

    python corridor.py --utd 1 --batch-size 16 --learning-rate 0.5 --seed 0 --env-steps 3000 --csv curve.csv

The same learner is a command to tdscale (command.toml) and a function (function.toml).
"""

import argparse
import random
from collections.abc import Iterator

LENGTH = 10
TIME_LIMIT = 100
WIND = 0.1
DISCOUNT = 0.95
EXPLORATION = 0.1


def learn(utd: float, batch_size: int, learning_rate: float, seed: int, env_steps: int, warm_up: int) -> Iterator[tuple[int, float]]:
    """Train; yields (env step, return) at the end of each episode."""
    chance = random.Random(seed)
    values = [[0.0, 0.0] for _ in range(LENGTH)]
    replay: list[tuple[int, int, float, int]] = []
    due, place, steps = 0.0, 0, 0
    for env_step in range(1, env_steps + 1):
        left, right = values[place]
        action = chance.randrange(2) if env_step <= warm_up or left == right or chance.random() < EXPLORATION else int(right > left)
        move = 1 if action == 1 and chance.random() >= WIND else -1
        after = max(place + move, 0)
        replay.append((place, action, -1.0, after))
        place, steps = after, steps + 1
        due += utd if env_step > warm_up else 0.0
        while due >= 1.0:
            due -= 1.0
            update(values, chance.choices(replay, k=batch_size), learning_rate)
        if place == LENGTH or steps == TIME_LIMIT:
            yield env_step, -float(steps)
            place, steps = 0, 0


def update(values: list[list[float]], batch: list[tuple[int, int, float, int]], learning_rate: float) -> None:
    """One step along the mean gradient of the squared TD errors, scaled by the size of the table."""
    errors = []
    for place, action, reward, after in batch:
        future = 0.0 if after == LENGTH else DISCOUNT * max(values[after])
        errors.append(reward + future - values[place][action])
    for (place, action, _, _), error in zip(batch, errors, strict=True):
        values[place][action] += learning_rate * 2 * LENGTH / len(batch) * error


def train(run):
    """As a function for tdscale: yield (env step, return); `report` is optional."""
    run.report(critic_parameters=2 * LENGTH, actor_parameters=0)
    return learn(run.utd, run.batch_size, run.learning_rate, run.seed, run.env_steps, run.settings["warm_up"])


def main() -> None:
    """As a command: the CSV grows while it trains."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--utd", type=float, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--env-steps", type=int, required=True)
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--csv", required=True)
    asked = parser.parse_args()
    with open(asked.csv, "w", buffering=1) as file:
        print("env_step,return", file=file)
        for env_step, value in learn(asked.utd, asked.batch_size, asked.learning_rate, asked.seed, asked.env_steps, asked.warm_up):
            print(f"{env_step},{value}", file=file)


if __name__ == "__main__":
    main()
