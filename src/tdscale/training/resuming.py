"""What every batch writes into its runs' checkpoints, and how it tells whether it can go on from one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Protocol

import jax
from numpy.typing import NDArray

from tdscale.training.checkpoint import Checkpoint, CheckpointRefused, Snapshot
from tdscale.training.pytrees import fingerprint
from tdscale.training.record import Record


class Resumable(Protocol):
    """A batch of runs whose state can be written between two steps."""

    @property
    def runs(self) -> Sequence[Record]:
        """One in each slot."""
        ...

    def snapshot(self, slot: int) -> Snapshot:
        """What a checkpoint holds of a run: among its values env_step, and `steps`, where the batch stands."""
        ...

    def restore(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        """Become the batch that wrote these checkpoints, one for each run by run_id, all of the same `steps`.

        Raises:
            CheckpointRefused: if one was not written by this algorithm on this task with these libraries; the batch is of no use then.
        """
        ...

    def checkpoint_bytes(self) -> int:
        """About so many in the first checkpoints of these runs."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


def origin(agent: Any, versions: Mapping[str, str]) -> dict[str, Any]:
    """What has to be the same where a run is to go on bit for bit: the agent's structure, libraries, kind of device."""
    return {"agent": fingerprint(agent), "versions": {"tdscale": version("tdscale")} | dict(versions), "device": jax.default_backend()}


@contextmanager
def fitting(run_id: str, checkpoint: Checkpoint, here: Mapping[str, Any]) -> Iterator[None]:
    """Refuse a run's checkpoint of another origin than `here`, and one that can't be restored within."""
    try:
        _check_origin(checkpoint, here)
        yield
    except CheckpointRefused as refused:
        refused.run_id = run_id
        raise
    except Exception as error:  # its bytes are what was written, so another version of this code wrote them
        unfit = CheckpointRefused(f"{checkpoint.path}: does not fit this run ({type(error).__name__}: {error})")
        unfit.run_id = run_id
        raise unfit from error


def _check_origin(checkpoint: Checkpoint, here: Mapping[str, Any]) -> None:
    there = {name: checkpoint.values.get(name) for name in here}
    for name in ("versions", "device"):
        if there[name] != here[name]:
            why = f"was written with {_listed(there[name])}, now there is {_listed(here[name])}"
            raise CheckpointRefused(f"{checkpoint.path}: {why}; the run would not be the same bit for bit")
    if there != here:
        raise CheckpointRefused(f"{checkpoint.path}: holds networks of other shapes than the algorithm has here")


def part_of(arrays: Mapping[str, NDArray[Any]], part: str) -> dict[str, NDArray[Any]]:
    """Those named "part/…", without it."""
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}


def named(**parts: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The inverse of `part_of` for several parts."""
    return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def _listed(made_by: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(made_by.items())) if isinstance(made_by, dict) else str(made_by)
