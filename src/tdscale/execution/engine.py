"""`Engine`: what trains a study's runs."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Where runs are trained.

    Attributes:
        workers: processes.
        gpu: one worker, on a GPU, where runs that share shapes advance together; else each worker has a core.
        runs_together: the most runs that do.
    """

    workers: int
    gpu: bool = False
    runs_together: int = 256
