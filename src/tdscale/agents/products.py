"""Matrix products of layers: in float32, or with operands rounded to bfloat16 and sums in float32 (`matmul_precision`).

Parameters, optimisers, targets and losses are float32 in both. Rounding keeps 8 significant bits of each operand, forward and
backward: what tensor cores of GPUs and the AVX512-BF16 or AMX instructions of newer CPUs multiply at up to twice the rate.

Why not JAX's own preset, `precision=DotAlgorithmPreset.BF16_BF16_F32` (jaxlib 0.10, CPU without those instructions; numbers in
`benchmarks/README.md`): XLA accepts it for operands of float32 and then ignores it, bit for bit; with operands cast to bfloat16 it
rounds, but takes half as long again or more, and under `vmap`, as twin critics want it, the process aborts.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

Precision = Literal["float32", "bfloat16"]
_Axes = tuple[tuple[int], tuple[int]]  # those summed over, of the left operand and of the right
_PLAIN: _Axes = ((1,), (0,))
_BY_INPUTS: _Axes = ((1,), (1,))  # the derivative by the left operand: slope @ rightᵀ
_BY_WEIGHT: _Axes = ((0,), (0,))  # by the right one: leftᵀ @ slope


def multiply(inputs: Array, weight: Array, precision: Precision = "float32") -> Array:
    """inputs @ weight: shapes (..., k) and (k, n) give (..., n), in float32."""
    if precision == "float32":
        return inputs @ weight
    outputs = _rounded(inputs.reshape(-1, inputs.shape[-1]), weight)
    return outputs.reshape(*inputs.shape[:-1], weight.shape[-1])


def _rounded_product(axes: _Axes) -> Callable[[Array, Array], Array]:
    """The product of two matrices over these axes, of operands rounded to bfloat16."""

    def product(left: Array, right: Array) -> Array:
        left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
        if not _multiplies_bfloat16():
            return jax.lax.dot_general(left.astype(jnp.float32), right.astype(jnp.float32), (axes, ((), ())))
        if jax.default_backend() == "cpu" and axes == _BY_WEIGHT:
            # XLA:CPU multiplies a transposed left operand as float32, unless it was copied into place before (jaxlib 0.10)
            turned = jax.lax.optimization_barrier(left.T)  # type: ignore[no-untyped-call]
            return jnp.matmul(turned, right, preferred_element_type=jnp.float32)
        return jax.lax.dot_general(left, right, (axes, ((), ())), preferred_element_type=jnp.float32)

    mapped = jax.custom_batching.custom_vmap(product)

    @mapped.def_vmap
    def map_product(size: int, batched: list[bool], left: Array, right: Array) -> tuple[Array, bool]:
        if jax.default_backend() != "cpu":
            return jax.vmap(product, [0 if one else None for one in batched])(left, right), True
        # XLA:CPU has no batched product of bfloat16: at some shapes the process aborts (jaxlib 0.10)
        pairs = ((left[index] if batched[0] else left, right[index] if batched[1] else right) for index in range(size))
        return jnp.stack([mapped(*pair) for pair in pairs]), True

    return mapped


_plain, _by_inputs, _by_weight = map(_rounded_product, (_PLAIN, _BY_INPUTS, _BY_WEIGHT))


@jax.custom_vjp
def _rounded(left: Array, right: Array) -> Array:
    return _plain(left, right)


def _forward(left: Array, right: Array) -> tuple[Array, tuple[Array, Array]]:
    return _plain(left, right), (left, right)


def _backward(kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    # not left to automatic differentiation, whose products would mix bfloat16 with the slope's float32
    left, right = kept
    return _by_inputs(slope, right), _by_weight(left, slope)


_rounded.defvjp(_forward, _backward)


@cache
def _multiplies_bfloat16() -> bool:
    """Whether the device has instructions for it: else rounded operands are multiplied as float32, to the same result but for the
    order of sums."""
    if jax.default_backend() != "cpu":
        return True
    information = Path("/proc/cpuinfo")
    return information.exists() and any(flag in information.read_text() for flag in ("avx512_bf16", "amx_bf16"))
