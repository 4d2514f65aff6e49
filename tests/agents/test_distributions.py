"""Projection of a distribution's mass to atoms, and the twins' minimum."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdscale.agents.distributions import binary_cross_entropy, cross_entropy, expectation, pessimistic_target, project

ATOMS = np.linspace(-10, 10, 51, dtype=np.float32)
FEW = np.array([0.0, 1.0, 2.0], np.float32)
_projected = jax.jit(lambda masses, positions: project(masses, positions, ATOMS))


def brute_force(masses: np.ndarray, positions: np.ndarray) -> np.ndarray:
    found = np.zeros(len(ATOMS))
    for mass, position in zip(masses, np.clip(np.float64(positions), -10, 10), strict=True):
        above = int(np.searchsorted(np.float64(ATOMS), position))  # the first atom at or above
        if ATOMS[above] == position:
            found[above] += mass
        else:
            low, high = np.float64(ATOMS[above - 1]), np.float64(ATOMS[above])
            found[above - 1] += mass * (high - position) / (high - low)
            found[above] += mass * (position - low) / (high - low)
    return found


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (1.0, [0, 1, 0]),
        (0.0, [1, 0, 0]),
        (2.0, [0, 0, 1]),
        (0.25, [0.75, 0.25, 0]),
        (1.5, [0, 0.5, 0.5]),
        (-3.0, [1, 0, 0]),
        (7.0, [0, 0, 1]),
    ],
)
def test_mass_goes_to_the_atoms_beside_it_by_nearness_and_beyond_them_to_the_last(position: float, expected: list[float]) -> None:
    positions = np.array([position, position, position], np.float32)
    np.testing.assert_allclose(project(np.array([0.2, 0.3, 0.5], np.float32), positions, FEW), expected, atol=1e-6)


def drawn(seed: int, reward: float, factor: float) -> tuple[np.ndarray, np.ndarray]:
    masses = np.random.default_rng(seed).dirichlet(np.full(51, 0.3))
    return masses.astype(np.float32), (reward + factor * ATOMS).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-30, 30), st.floats(0, 1))
def test_a_projected_distribution_is_the_brute_force_one_and_sums_to_1(seed: int, reward: float, factor: float) -> None:
    masses, positions = drawn(seed, reward, factor)
    found = np.float64(_projected(masses, positions))
    np.testing.assert_allclose(found, brute_force(masses, positions), atol=1e-5)
    np.testing.assert_allclose(found.sum(), 1, atol=1e-5)
    assert found.min() >= 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-5, 5), st.floats(0, 0.5))
def test_the_mean_is_kept_where_no_mass_leaves_the_atoms(seed: int, reward: float, factor: float) -> None:
    masses, positions = drawn(seed, reward, factor)
    found = np.float64(_projected(masses, positions))
    np.testing.assert_allclose(found @ ATOMS, reward + factor * np.float64(masses @ ATOMS), atol=1e-4)


def test_a_terminal_transition_puts_all_mass_at_its_reward() -> None:
    logits = np.random.default_rng(0).standard_normal((2, 1, 3)).astype(np.float32)
    target = pessimistic_target(logits, np.array([0.5], np.float32), np.zeros(1, np.float32), FEW)
    np.testing.assert_allclose(target, [[0.5, 0.5, 0]], atol=1e-6)


def test_the_minimum_of_twins_that_agree_is_either_and_of_twins_that_do_not_is_lighter() -> None:
    certain = np.log(np.array([[[0.8, 0.1, 0.1]], [[0.2, 0.1, 0.7]]], np.float32))
    reward, factor = np.zeros(1, np.float32), np.ones(1, np.float32)
    np.testing.assert_allclose(pessimistic_target(certain, reward, factor, FEW), [[0.2, 0.1, 0.1]], atol=1e-6)
    agreed = pessimistic_target(np.stack([certain[0], certain[0]]), reward, factor, FEW)
    np.testing.assert_allclose(agreed, [[0.8, 0.1, 0.1]], atol=1e-6)
    np.testing.assert_allclose(expectation(agreed, FEW), [0.3], atol=1e-6)
    np.testing.assert_allclose(expectation(agreed / 5, FEW), [0.3], atol=1e-6)


def test_cross_entropy_is_least_at_the_normalised_target_with_its_mass_as_the_weight() -> None:
    target = np.array([0.2, 0.1, 0.1], np.float32)
    slope = jax.grad(lambda logits: cross_entropy(logits, target))(np.log(np.array([0.2, 0.5, 0.3], np.float32)))
    # mass · softmax − target
    np.testing.assert_allclose(slope, 0.4 * np.array([0.2, 0.5, 0.3]) - target, atol=1e-6)
    at_target = jax.grad(lambda logits: cross_entropy(logits, target))(np.log(target / 0.4))
    np.testing.assert_allclose(at_target, 0, atol=1e-7)


def test_binary_cross_entropy_is_that_of_each_atom_averaged() -> None:
    logits = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    target = np.random.default_rng(1).uniform(size=(4, 6)).astype(np.float32)
    likely = np.exp(np.float64(logits)) / np.exp(np.float64(logits)).sum(axis=1, keepdims=True)
    expected = np.mean(-target * np.log(likely) - (1 - target) * np.log(1 - likely), axis=1)
    np.testing.assert_allclose(binary_cross_entropy(logits, target), expected, rtol=1e-5)


@pytest.mark.parametrize("gap", [20.0, 200.0])
def test_binary_cross_entropy_keeps_its_digits_where_one_atom_has_all_but_a_trace_of_the_mass(gap: float) -> None:
    """Then 1 − p of that atom is the others' mass, 2·exp(−gap), and rounds to 0 in float32."""
    logits, target = np.array([gap, 0.0, 0.0], np.float32), np.array([0.25, 0.5, 0.0], np.float32)
    loss, slope = jax.value_and_grad(binary_cross_entropy)(logits, target)
    np.testing.assert_allclose(loss, (0.75 * (gap - np.log(2)) + 0.5 * gap) / 3, rtol=1e-5)
    # the dominant atom's complement falls by one unit of logarithm for one of the gap
    np.testing.assert_allclose(slope, np.array([0.75 + 0.5, -0.5 - 0.375, -0.375]) / 3, atol=1e-5)
