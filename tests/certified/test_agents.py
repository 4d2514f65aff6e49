"""Every agent against numbers that the public reference programs computed: two updates from one starting point, and fresh networks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tdscale.study import SETTINGS

golden_agents = pytest.importorskip("golden_agents", reason='needs pip install "tdscale[train]"')
FILES = golden_agents.FILES
IN_FLOAT64 = 1e-9
# the references' own largest differences between float32 and float64 (README of the files): gradients, other numbers, parameters
IN_FLOAT32 = {
    "sac": (5e-7, 3e-7, 4e-7),
    "bro_minimal": (9e-7, 1.4e-5, 2e-7),
    "bro": (4e-6, 1e-5, 6e-7),
    "bro_alt": (2.3e-5, 2.4e-5, 6e-6),
    "pql": (3e-7, 5e-7, 1.3e-7),
    "pql_d": (1.7e-6, 1.3e-6, 3e-7),
}


@pytest.fixture(scope="module")
def folder(published_data) -> Path:
    found = published_data / "golden_agents"
    if not found.is_dir():
        pytest.skip(f"the references' numbers are not in {found}")
    return found


@pytest.fixture(scope="module")
def in_float64(folder) -> dict[str, dict[str, float]]:
    """By file: the largest differences in float64, which JAX computes in a process of its own alone."""
    environment = os.environ | {"JAX_ENABLE_X64": "1"}
    command = [sys.executable, golden_agents.__file__, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def hold(record_property):
    """Prints and records the largest difference, and asserts that each is within its bound."""

    def check(title: str, found: dict[str, float], bounds: dict[str, float]) -> None:
        assert {key.partition("/")[0] for key in found} == set(bounds)
        for kind, bound in bounds.items():
            chosen = {key: value for key, value in found.items() if key.startswith(kind)}
            worst = max(chosen, key=lambda key: chosen[key])
            print(f"{f'{title}: {kind}':<66} {len(chosen):>7} {chosen[worst]:>7.0e} {bound:>6.0e}")
            record_property(f"{title}: {kind}", chosen[worst])
            assert chosen[worst] <= bound, f"{title}: {worst} is off by {chosen[worst]:.2g}, more than {bound:.2g}"

    return check


def kinds_of(name: str) -> list[str]:
    return ["parameters", "gradients", "intermediate", *([] if name.startswith("pql") else ["initial"])]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_in_float64_two_updates_are_those_of_the_reference_program(name, in_float64, hold):
    hold(f"{name}, float64", in_float64[name], dict.fromkeys(kinds_of(name), IN_FLOAT64))


@pytest.mark.parametrize("name", [name if name in ("sac", "pql") else pytest.param(name, marks=pytest.mark.slow) for name in FILES])
def test_in_float32_they_differ_by_no_more_than_rounding_does_in_the_reference_program(name, folder, hold):
    gradients, other, parameters = (3 * bound for bound in IN_FLOAT32[name])
    bounds = {"parameters": parameters, "gradients": gradients, "intermediate": other, "initial": parameters}
    hold(f"{name}, float32", golden_agents.differences(folder, name), {kind: bounds[kind] for kind in kinds_of(name)})


@pytest.mark.parametrize("name", ["pql", "pql_d"])
def test_observations_are_normalised_as_the_reference_program_does(name, folder):
    # it takes the root in float32
    assert golden_agents.normalised(folder, name) < 3e-7


@pytest.mark.parametrize("name", [name for name in FILES if name != "bro_alt"])
def test_our_default_settings_are_the_reference_programs(name, folder):
    """But for sizes, and SAC's and PQL's atoms, which the files do not say."""
    _, said = golden_agents.read(folder, name)
    asked = golden_agents.config_of(said)
    sizes = {"observation_size", "action_size", "hidden_sizes", "critic_width", "critic_blocks", "actor_width", "actor_blocks", "quantiles"}
    settings = SETTINGS[name.replace("_", "-")]()
    compared = {field: value for field, value in vars(asked).items() if field not in sizes and hasattr(settings, field)}
    assert compared == {field: getattr(settings, field) for field in compared}
    assert {"discount", "target_rate"} < set(compared)


@pytest.mark.parametrize("name", ["sac", "bro_minimal", "bro"])
def test_fresh_weights_have_the_singular_values_of_the_reference_program(name, folder):
    """Those of an orthogonal matrix are its gain, each."""
    golden, said = golden_agents.read(folder, name)
    theirs = golden_agents.parts(golden, said, "init")
    config = golden_agents.config_of(said)
    ours = golden_agents.fields(golden_agents.agent_of(said).init(config, np.uint32(0)))
    compared = 0
    for part in ("actor", "critics", "target_critics", "explorer"):
        if part not in theirs:
            continue
        for one, other in zip(golden_agents.leaves(ours[part]), golden_agents.leaves(theirs[part]), strict=True):
            if one.ndim - (part in ("critics", "target_critics")) == 1:  # biases and layer norms
                np.testing.assert_array_equal(one, other)
                continue
            # a policy's last layer holds two matrices
            halves = 2 if part == "actor" and one.shape[-1] == 2 * config.action_size else 1
            for mine, known in zip(np.split(one, halves, axis=-1), np.split(other, halves, axis=-1), strict=True):
                found, expected = (np.linalg.svd(matrix, compute_uv=False) for matrix in (mine, known))
                np.testing.assert_allclose(found, expected, rtol=1e-5)
                compared += 1
    # twins lie in one array
    kernels = [key for key in golden if key.startswith("init/") and key.endswith("/kernel") and key.split("/")[1][-1] != "2"]
    assert compared == len(kernels)


@pytest.mark.parametrize("name", ["pql", "pql_d"])
def test_fresh_weights_of_pql_are_spread_as_the_reference_programs(name, folder):
    """Weights and biases fill ±1/√inputs evenly: per layer, times √inputs, a root mean square of 1/√3."""
    golden, said = golden_agents.read(folder, name)
    config = golden_agents.config_of(said)
    theirs = golden_agents.parts(golden, said, "init")
    ours = golden_agents.fields(golden_agents.agent_of(said).init(config, np.uint32(0)))
    for part in ("actor", "critics"):
        for mine, known in zip(ours[part], theirs[part], strict=True):
            root = mine.weight.shape[-2] ** 0.5
            assert mine.weight.shape == known.weight.shape
            for arrays in zip(mine, known, strict=True):
                for array in arrays:
                    scaled = root * np.asarray(array)
                    assert np.abs(scaled).max() <= 1 + 1e-6
                    # six standard deviations of the mean square of so many values
                    assert abs(np.mean(scaled**2) - 1 / 3) < 6 * 0.3 / scaled.size**0.5
                    assert np.any(scaled)


@pytest.mark.parametrize("name", ["pql", "pql_d"])
def test_n_step_returns_are_those_of_the_reference_program(name, folder):
    from tdscale.training.experience import NStepWindow

    golden, said = golden_agents.read(folder, name)
    size, n_step, gamma = said["observation_dim"], said["nstep"], said["gamma"]
    terminations = 0
    for step in (1, 2):
        raw = {key: golden[f"step{step}/nstep/raw_{key}"] for key in ("observation", "action", "reward", "next_observation", "done")}
        batch = {key: golden[f"step{step}/batch/{key}"] for key in ("observation", "action", "reward", "mask", "next_observation")}
        environments = len(raw["reward"])
        window = NStepWindow(environments, 2 * size + said["action_dim"] + 2, size, n_step, gamma)
        rows = []
        for at in range(n_step):
            done = raw["done"][:, at] > 0
            terminations += int(done.sum())
            arrays = (raw["observation"][:, at], raw["action"][:, at], raw["reward"][:, at].astype(np.float64))
            rows.append(window.push(*arrays, done, done, raw["next_observation"][:, at]))
        first = {row[:size].tobytes(): row for row in np.concatenate(rows)}
        for index in range(environments):
            row = first[batch["observation"][index].tobytes()]
            np.testing.assert_array_equal(row[size : -size - 2], batch["action"][index])
            np.testing.assert_allclose(row[-size - 2], batch["reward"][index], rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(row[-size - 1], gamma ** (n_step - 1) * batch["mask"][index], rtol=1e-6)
            if batch["mask"][index]:
                np.testing.assert_array_equal(row[-size:], batch["next_observation"][index])
    assert terminations
