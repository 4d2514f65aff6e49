"""Fixtures that tests of every room may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def published_data() -> Path:
    """The folder with the published zips and golden.json; tests that read them are skipped where it is absent."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("TDSCALE_PUBLISHED_DATA", default))
    if not (folder / "golden.json").is_file():
        pytest.skip(f"the published curves are not in {folder}; set TDSCALE_PUBLISHED_DATA to their folder")
    return folder
