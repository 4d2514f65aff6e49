"""What a checkpoint holds of an agent and its run, and how a run tells whether it can resume from one."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tdscale.training.checkpoint import Checkpoint, CheckpointRefused


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


def to_arrays(tree: Any) -> dict[str, NDArray[Any]]:
    """The leaves in order, named by their place; of JAX's random keys, their data."""
    leaves = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)]
    return {f"{place:04d}": np.asarray(leaf) for place, leaf in enumerate(leaves)}


def from_arrays(like: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """The inverse of `to_arrays` for a tree of the structure of `like`. Raises KeyError if a leaf is missing."""
    leaves, structure = jax.tree.flatten(like)
    return jax.tree.unflatten(structure, [_leaf(leaf, arrays[f"{place:04d}"]) for place, leaf in enumerate(leaves)])


def fingerprint(tree: Any) -> str:
    """16 hexadecimal digits of SHA-256 over every leaf's path, shape and type."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    listed = [(jax.tree_util.keystr(path), np.shape(leaf), str(leaf.dtype)) for path, leaf in leaves]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _leaf(like: Any, array: NDArray[Any]) -> Any:
    # copies: what JAX is given to consume must not be memory that NumPy still owns
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.array(array, copy=True), impl=jax.random.key_impl(like))
    if array.dtype.kind == "V":  # NumPy's files know bfloat16 and the like as bytes
        array = array.view(like.dtype)
    return jnp.array(array, dtype=like.dtype, copy=True)
