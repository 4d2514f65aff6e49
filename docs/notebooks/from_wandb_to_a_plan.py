"""
From W&B to a plan
==================

You have logged runs to Weights & Biases and want to know which UTD ratio, batch size and learning rate to use next.
This page goes from the logs to the plan. It is executed when the documentation is built; at its end you can download
it as a notebook.
"""

# %%
# The logs
# --------
#
# 20 runs of SAC on HalfCheetah-v5 stand in for yours: four UTD ratios with five seeds each. Their curves are those of the
# example study that comes with tdscale. Here they are logged to W&B as a training script would do it, offline.

import tempfile
from pathlib import Path

import wandb

import tdscale
from tdscale.running.example import copy_example

work = Path(tempfile.mkdtemp())
copy_example(work / "sac")
store = tdscale.open_study(work / "sac").store
curves = store.curves()

quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
for run_id, spec in store.specs().items():
    if spec.task == "HalfCheetah-v5" and spec.stage == "scaling" and 0.5 <= spec.utd <= 4:
        config = {"env_id": spec.task, "utd": spec.utd, "batch_size": spec.batch_size, "lr": spec.learning_rate}
        config["seed"] = spec.seed
        run = wandb.init(project="cheetah", mode="offline", dir=work, config=config, settings=quiet)
        for step, episode_return in zip(curves[run_id]["env_step"], curves[run_id]["return"], strict=True):
            run.log({"global_step": int(step), "charts/episodic_return": float(episode_return)})
        run.finish()

# %%
# Read them
# ---------
#
# ``tdscale import`` reads the folder that W&B wrote, or a project on its server (``ENTITY/PROJECT``). In Python it is
# :func:`tdscale.import_runs`. Usual names such as ``batch_size`` and ``global_step`` are found without being named.
# Normalised returns put 0 at ``low`` and 1000 at ``high``, so that thresholds mean the same on every task.
#
# .. code-block:: console
#
#    $ tdscale import wandb --algorithm =sac --low -280 --high 2920 --thresholds 200,300,400 --dir mine

options = {"algorithm": "=sac", "low": ["-280"], "high": ["2920"], "thresholds": [200, 300, 400]}
report = tdscale.import_runs(work / "wandb", "wandb", work / "mine", **options)
print(f"{report.runs} runs in {report.cells} cells, UTD ratios {', '.join(f'{utd:g}' for utd in report.utds)}")

# %%
# Fit the laws
# ------------
#
# How many env steps each return takes, as a function of the UTD ratio, with intervals that hold the truth with a
# probability of 80 %.

laws = tdscale.fit_study(tdscale.open_study(work / "mine")).laws
for law in laws.data:
    print(f"return {law.threshold:.0f}:", *(f"UTD {utd:g}: {law.estimate(utd)}" for utd in (0.5, 1, 2, 4)), sep="  ")

# %%
# Ask
# ---
#
# The smallest UTD ratio that reaches the highest return within 8,000 env steps, and what it will take.

plan = tdscale.plan_data(laws, 8_000)
print(plan.sentence())
