"""Optuna as the comparison of adaptive.py: which runs it makes of each (task, σ), where each ends; needs Optuna and NumPy, not tdscale.

Read as JSON from the input: `studies`, each with its `cells` (number, B, η), and of every seed of each cell the env step at which it
`ends`, whether it has `crossed` the threshold there, and its `returns` at the `rungs`. A trial is one seed of the cell that TPE
suggests: its value is −log of its env steps, known once it has crossed. At every rung before, the pruner sees its return, and may end
it. Written to the output: rounds of one trial of each study, as [cell number, seed, env steps].
"""

import json
import math
import sys

import optuna

PRUNERS = {
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=3),
    "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=2),
}


class Peer:
    """One study, of a (task, σ)."""

    def __init__(self, study, top, seed, pruner):
        self.study, self.top = study, top
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=5)
        # both the pruner's returns and the value are to be high: the value is −log D
        self.optuna = optuna.create_study(direction="maximize", sampler=sampler, pruner=PRUNERS[pruner]())
        self.batches = sorted({batch for _, batch, _ in study["cells"]})
        self.rates = sorted({rate for _, _, rate in study["cells"]})
        self.row = {(batch, rate): row for row, (_, batch, rate) in enumerate(study["cells"])}
        self.used = {}

    def trial(self):
        """A run as [cell number, seed, env steps], or None where the suggested cell has no seed left."""
        study = self.study
        trial = self.optuna.ask()
        batch, rate = trial.suggest_int("batch", 0, len(self.batches) - 1), trial.suggest_int("rate", 0, len(self.rates) - 1)
        row = self.row[self.batches[batch], self.rates[rate]]
        seed = self.used.get(row, 0)
        if seed == len(study["ends"][row]):
            # nothing new to be had of it: the value of its last seed again
            if study["crossed"][row][-1]:
                self.optuna.tell(trial, -math.log(study["ends"][row][-1]))
            else:
                self.optuna.tell(trial, state=optuna.trial.TrialState.FAIL)
            return None
        self.used[row] = seed + 1
        end = study["ends"][row][seed]
        for number, rung in enumerate(study["rungs"]):
            # a run that has ended at its crossing stays at the threshold
            trial.report(study["returns"][row][seed][number] if rung < end else self.top, number)
            if rung < end and trial.should_prune():
                self.optuna.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return [study["cells"][row][0], seed, rung]
        if study["crossed"][row][seed]:
            self.optuna.tell(trial, -math.log(end))
        else:
            self.optuna.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return [study["cells"][row][0], seed, end]


def main():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    asked = json.load(sys.stdin)
    peers = [Peer(study, asked["top"], asked["seed"] + 1000 * number, asked["pruner"]) for number, study in enumerate(asked["studies"])]
    rounds, taken = [], 0.0
    while taken < asked["env_steps"] and len(rounds) < 400:
        rounds.append([run for peer in peers if (run := peer.trial()) is not None])
        taken += sum(end for *_, end in rounds[-1])
    json.dump(rounds, sys.stdout)


if __name__ == "__main__":
    main()
