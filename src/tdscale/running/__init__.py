"""What runs a study: its folder, stages, ledger, forecast and confirmations; and cells as jobs on the slots of a pool, here or on Ray."""

from tdscale.running.dispatch import RETRIES, Event, StageFailure, default_workers, run_jobs, run_with
from tdscale.running.engine import Engine
from tdscale.running.jobs import pending_jobs
from tdscale.running.pool import LocalPool, Pool
from tdscale.study import CellJob, StopTarget

__all__ = [
    "RETRIES",
    "CellJob",
    "Engine",
    "Event",
    "LocalPool",
    "Pool",
    "StageFailure",
    "StopTarget",
    "default_workers",
    "pending_jobs",
    "run_jobs",
    "run_with",
]
