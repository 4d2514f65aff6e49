"""Certified numbers: each check says how many digits match, and fails below the number it asks for.

`pytest tests/certified -s` shows the table; `--junitxml` keeps it as properties.
"""

import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike

from tdscale.importers import import_runs
from tdscale.running.fitting import fit_study
from tdscale.running.folder import open_study

Certify = Callable[..., None]
MOST = 15.0


def matching_digits(values: ArrayLike, references: ArrayLike) -> float:
    """The fewest digits in which a value agrees with its reference: −log10 of the largest relative error; equal numbers have 15."""
    found, known = np.asarray(values, dtype=np.float64), np.asarray(references, dtype=np.float64)
    assert found.shape == known.shape
    same = (found == known) | (np.isnan(found) & np.isnan(known))
    error = np.where(same, 0.0, np.abs(found - known) / np.abs(np.where(known == 0, 1.0, known)))
    return min(MOST, -float(np.log10(np.max(np.nan_to_num(error, nan=1e300), initial=10.0**-MOST))))


@pytest.fixture(scope="session")
def golden(published_data):
    return json.loads((published_data / "golden.json").read_text())


@pytest.fixture(scope="session")
def fitted(published_data, tmp_path_factory):
    """A published file, imported and fitted by the paper's method; each once."""
    done = {}

    def get(name, n_draws=20):
        if name not in done:
            directory = tmp_path_factory.mktemp(name)
            import_runs(published_data / f"{name}.zip", "qscaled", directory)
            done[name] = fit_study(open_study(directory), "paper", n_draws=n_draws)
        return done[name]

    return get


@pytest.fixture(scope="session")
def _heading():
    print(f"\n\n{'certified':<66} {'numbers':>7} {'digits':>7} {'asked':>6}")


@pytest.fixture
def certify(_heading, record_property) -> Certify:
    """Prints and records a row of the table, and asserts its least number of matching digits."""

    def check(name: str, values: ArrayLike, references: ArrayLike, *, at_least: float) -> None:
        digits = matching_digits(values, references)
        print(f"{name:<66} {np.size(references):>7} {digits:>7.1f} {at_least:>6.1f}")
        record_property(name, round(digits, 2))
        assert digits >= at_least, f"{name}: {digits:.2f} digits match"

    return check
