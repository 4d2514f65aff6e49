"""`Engine`: what trains a study's runs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tdscale.running.dispatch import RETRIES
from tdscale.running.pool import LocalPool, Pool


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Where runs are trained.

    Attributes:
        workers: the most processes; None, with Ray alone: as many as there is room for.
        gpu: each worker has a GPU of its own and all cores, where runs that share shapes advance together; else it has a core.
        runs_together: the most runs that do.
        ray: address of a Ray cluster, "auto" for the one at hand; None for this machine, without Ray.
        cores: with Ray, those that a worker holds.
        retries: how often a cell is tried again whose worker died.
    """

    workers: int | None
    gpu: bool = False
    runs_together: int = 256
    ray: str | None = None
    cores: int = 1
    retries: int = RETRIES

    def pool(self, directory: Path, *, own: bool, quick: bool) -> Pool:
        """The workers, none started yet.

        Args:
            directory: the study's folder.
            own: whether a trainer of the user's own is run: it has the user's environment, and as many threads as it likes.
            quick: whether runs are too short for good code.

        Raises:
            UserError: if there is no such cluster, or no Ray.
        """
        environment: Callable[[], dict[str, str]] = dict if own else partial(worker_environment, gpu=self.gpu, quick=quick)
        if self.ray is None:
            from tdscale.training.devices import visible_gpus

            return LocalPool(
                directory,
                workers=self.workers or 1,
                environment=environment(),
                # a GPU's worker steps its environments in threads, on every core
                pinned=not (own or self.gpu),
                devices=visible_gpus() if self.gpu else (),
            )
        from tdscale.running.ray_pool import RayPool

        return RayPool(directory, address=self.ray, environment=environment, workers=self.workers, gpu=self.gpu, cores=self.cores)


def worker_environment(*, gpu: bool, quick: bool) -> dict[str, str]:
    """Variables that a worker starts with, on the machine that it is on."""
    from tdscale.training.devices import cache_directory, gpu_environment, quick_to_compile, single_thread_environment

    make: Callable[[Path], dict[str, str]] = gpu_environment if gpu else single_thread_environment
    environment = make(cache_directory())
    return quick_to_compile(environment) if quick else environment
