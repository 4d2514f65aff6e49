"""Which batch runs where: cells as jobs, local worker processes, resume."""

from tdscale.execution.engine import Engine
from tdscale.execution.jobs import CellJob, Target, pending_jobs
from tdscale.execution.pool import Event, StageFailure, default_workers, run_jobs

__all__ = ["CellJob", "Engine", "Event", "StageFailure", "Target", "default_workers", "pending_jobs", "run_jobs"]
