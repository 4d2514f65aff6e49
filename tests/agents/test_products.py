"""Products of operands rounded to bfloat16, against float64 products of rounded operands; agents that learn with them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from tdscale.agents import products
from tdscale.agents.networks import apply_network, apply_twins, init_twins
from tdscale.agents.products import multiply
from tdscale.study import SETTINGS
from tdscale.training.algorithms import ALGORITHMS, Algorithm


@pytest.fixture(params=["the device's", "emulated"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """With the device's own instructions, where it has any, and without."""
    if request.param == "the device's":
        yield request.param
        return
    monkeypatch.setattr(products, "_multiplies_bfloat16", lambda: False)
    jax.clear_caches()
    yield request.param
    jax.clear_caches()


def normal(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rounded(array: Any) -> Any:
    """To 8 significant bits, as float64."""
    return np.asarray(array).astype(ml_dtypes.bfloat16).astype(np.float64)


def test_operands_are_rounded_and_sums_are_not(kind: str) -> None:
    inputs, weight = jnp.array(normal(0, 5, 4, 300)), jnp.array(normal(1, 300, 7))
    np.testing.assert_allclose(multiply(inputs, weight, "bfloat16"), rounded(inputs) @ rounded(weight), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(multiply(inputs, weight), inputs @ weight)
    assert multiply(inputs, weight, "bfloat16").dtype == np.float32


def test_gradients_are_products_of_rounded_operands_too(kind: str) -> None:
    inputs, weight, slope = normal(2, 64, 31), normal(3, 31, 12), normal(4, 64, 12)
    _, pull_back = jax.vjp(lambda *both: multiply(*both, "bfloat16"), inputs, weight)
    by_inputs, by_weight = pull_back(slope)
    np.testing.assert_allclose(by_inputs, rounded(slope) @ rounded(weight).T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_weight, rounded(inputs).T @ rounded(slope), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_mapped_twice_it_is_what_each_gives_alone() -> None:
    twins = jax.vmap(lambda key: init_twins(key, (3, 40, 2)))(jax.random.split(jax.random.key(0), 3))
    inputs = jnp.array(normal(5, 3, 8, 3))

    def loss(pair: Any, given: Any) -> Any:
        return jnp.sum(apply_twins(pair, given, precision="bfloat16") ** 2)

    together, slopes = jax.vmap(jax.value_and_grad(loss))(twins, inputs)
    for run in range(3):
        pair = jax.tree.map(lambda leaf, run=run: leaf[run], twins)
        each = [apply_network(jax.tree.map(lambda leaf, i=i: leaf[i], pair), inputs[run], precision="bfloat16") for i in range(2)]
        np.testing.assert_allclose(together[run], np.sum(np.square(each)), rtol=1e-5)
        alone = jax.grad(loss)(pair, inputs[run])
        jax.tree.map(lambda one, all_, run=run: np.testing.assert_allclose(all_[run], one, rtol=1e-4, atol=1e-5), alone, slopes)


class Sizes:
    observation_size, action_size = 5, 2


def configured(name: str, precision: str) -> Any:
    """The algorithm's config, with small networks."""
    small = {"critic_width": 32, "actor_width": 16} if name.startswith("bro") else {"hidden_sizes": (32, 32)}
    settings = SETTINGS[name].model_validate(small | {"matmul_precision": precision})
    return ALGORITHMS[name].configure(settings, Sizes())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sac", *(pytest.param(name, marks=pytest.mark.slow) for name in sorted({*ALGORITHMS} - {"sac"}))])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_product_of_an_update_has_factors_of_the_chosen_precision(name: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_multiplies_bfloat16", lambda: True)  # it is looked at, and not run
    algorithm, config = ALGORITHMS[name], configured(name, precision)
    state = jax.eval_shape(partial(algorithm.init, config), np.uint32(0))
    flags = np.ones(2, bool)
    lowered = Algorithm.update.lower(
        algorithm, config, state, np.zeros((2, 8, config.row_size), np.float32), flags, flags, np.int32(2), np.float32(1e-3)
    )
    factors = re.findall(r"stablehlo.dot_general .*: \((tensor<[^>]*>), (tensor<[^>]*>)\)", lowered.as_text())
    # a mean over PQL-D's atoms is none of layers
    of_layers = [pair for pair in factors if "tensor<51xf32>" not in pair]
    assert len(of_layers) > 20
    assert {re.sub(r".*x", "", one) for pair in of_layers for one in pair} == {"bf16>" if precision == "bfloat16" else "f32>"}
    jax.clear_caches()


@pytest.mark.slow
def test_an_update_with_rounded_operands_is_nearly_that_in_float32() -> None:
    algorithm, found = ALGORITHMS["sac"], {}
    for precision in ("float32", "bfloat16"):
        config = configured("sac", precision)
        rows, flags = normal(6, 1, 128, config.row_size), np.ones(1, bool)
        state, finite = algorithm.update(config, algorithm.init(config, np.uint32(1)), rows, flags, flags, np.int32(1), np.float32(1e-3))
        # the first moments after one step: a tenth of the gradients
        found[precision] = [state.critic_optimiser.mu, state.actor_optimiser.mu]
        assert bool(finite)
    for exact, near in zip(found["float32"], found["bfloat16"], strict=True):
        one, other = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (exact, near))
        assert 1e-5 < np.linalg.norm(other - one) / np.linalg.norm(one) < 0.05


@pytest.mark.parametrize("name", ["sac", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bro", "pql"))])
def test_what_acts_is_not_rounded(name: str) -> None:
    algorithm, config = ALGORITHMS[name], configured(name, "bfloat16")
    state, observations, noise = algorithm.init(config, np.uint32(1)), normal(7, 4, 5), normal(8, 4, 2)
    exact = replace(config, matmul_precision="float32")
    np.testing.assert_array_equal(algorithm.act(config, state, observations, noise), algorithm.act(exact, state, observations, noise))
