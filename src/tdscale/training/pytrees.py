"""An agent's state as plain arrays, and back: what a checkpoint holds of it."""

import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray


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
