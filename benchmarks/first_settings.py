"""What `tdscale start` says of a task that nobody ran, checked on the published tasks: each is left out of the prior.

Its own published B*(σ), η*(σ) and D(σ) at σ = 1, 2, 4, 8 against the 80 % ranges that the other tasks of its set give. It takes
seconds and needs no data.

    python benchmarks/first_settings.py
"""

import math

import numpy as np

from tdscale.paper import PUBLISHED, new_task, predict

SETS = ("gym", "gym-committed", "dmc")
UTD = (1.0, 2.0, 4.0, 8.0)
NAMES = {"batch_size": "B", "learning_rate": "η", "data": "D"}


def own_value(name: str, quantity: str, task: str, utd: float) -> float:
    """What was published of the task itself; NaN where nothing was."""
    found = predict(PUBLISHED[name], utd, task=task)
    value = {"batch_size": found.batch_size_range, "learning_rate": found.learning_rate_range, "data": found.data}[quantity]
    return math.nan if value is None else value.value


def main() -> None:
    print("| set | of | inside, tasks | factor up and down | outside |\n|---|---|---|---|---|")
    for name in SETS:
        published = PUBLISHED[name]
        for quantity, symbol in NAMES.items():
            inside, widths, outside, compared = 0.0, [], [], 0
            for task in published.tasks:
                others = [other for other in published.tasks if other != task]
                held = []
                for utd in UTD:
                    value = own_value(name, quantity, task, utd)
                    if math.isnan(value):
                        continue
                    found = new_task(published, quantity, utd, others)
                    held.append(found.low <= value <= found.high)
                    widths.append(found.high / found.value)
                compared += bool(held)
                inside += float(np.mean(held)) if held else 0.0
                outside += [task] if held and not all(held) else []
            missed = ", ".join(outside) or "–"
            print(f"| {name} | {symbol} | {inside:g} of {compared} | {np.median(widths):.2f} | {missed} |")
    print("\nHalfCheetah-v4, left out of gym, beside Table 2 of the paper (σ = 1)")
    others = [task for task in PUBLISHED["gym"].tasks if task != "HalfCheetah-v4"]
    for quantity, symbol in NAMES.items():
        found = new_task(PUBLISHED["gym"], quantity, 1.0, others)
        print(f"{symbol}: {own_value('gym', quantity, 'HalfCheetah-v4', 1.0):.3g} in {found.low:.3g} to {found.high:.3g}")


if __name__ == "__main__":
    main()
