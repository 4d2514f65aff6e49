"""Which batch runs where: cells as jobs, local worker processes, resume."""

from tdscale.execution.crew import Crew, LocalCrew
from tdscale.execution.engine import Engine
from tdscale.execution.jobs import pending_jobs
from tdscale.execution.pool import RETRIES, Event, StageFailure, default_workers, run_jobs, run_with
from tdscale.study import CellJob, StopTarget

__all__ = [
    "RETRIES",
    "CellJob",
    "Crew",
    "Engine",
    "Event",
    "LocalCrew",
    "StageFailure",
    "StopTarget",
    "default_workers",
    "pending_jobs",
    "run_jobs",
    "run_with",
]
