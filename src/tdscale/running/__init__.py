"""What runs a study. Read `workflow` first: from there a run goes through `stages`, `dispatch`, `pool` and `worker`.

`folder` is what a study's folder holds, `fitting` and `choosing` fit its laws, `ledger` records what `tdscale run` wants and what
failed, `confirm` runs a plan, `forecast` says what a study will take, `rehearsal` how many seeds it needs, `trainers/` runs the
user's own trainer.
"""

from tdscale.running.dispatch import Engine, Event, default_workers

__all__ = ["Engine", "Event", "default_workers"]
