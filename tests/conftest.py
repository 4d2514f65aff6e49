"""Fixtures that tests of every room may use."""

import os
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

# The same examples every time: chance must not fail what nobody changed. --hypothesis-profile=default looks further, at 100 each.
settings.register_profile("same-examples", max_examples=40, derandomize=True, deadline=None, database=None)
settings.load_profile("same-examples")

# JAX reads these when it is first imported. Tests compile far more than they compute: half the compile time is worth slower code,
# and what one process has compiled serves the others. One thread: two processes are on two cores already.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
_CACHE = Path(__file__).resolve().parents[1] / ".pytest_cache"
_FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["XLA_FLAGS"] = " ".join(filter(None, [os.environ.get("XLA_FLAGS"), _FLAGS]))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# What workers compile, and matplotlib's list of fonts: once for all tests, and nothing of the user's.
os.environ["XDG_CACHE_HOME"] = str(_CACHE / "home")
os.environ["MPLCONFIGDIR"] = str(_CACHE / "matplotlib")


@pytest.fixture(scope="session")
def published_data() -> Path:
    """The folder with the published zips and golden.json; tests that read them are skipped where it is absent."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("TDSCALE_PUBLISHED_DATA", default))
    if not (folder / "golden.json").is_file():
        pytest.skip(f"the published curves are not in {folder}; set TDSCALE_PUBLISHED_DATA to their folder")
    return folder


@pytest.fixture
def no_pngs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves PNGs out of reports: half of their time, and nothing of the page depends on them."""
    monkeypatch.setattr("tdscale.report.style.to_png", lambda figure: b"")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `small_study`, as `tdscale run` leaves it: `micro.toml` and `micro`. Trained once for all processes of the tests.

    A test that changes anything copies it first.
    """
    pytest.importorskip("jax", reason='needs pip install "tdscale[train]"')
    import small_study
    from command import called

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "micro" / "report.html").exists():
            folder.mkdir(exist_ok=True)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("tdscale.report.style.to_png", lambda figure: b"")
                answer = called("run", small_study.write(folder), "--dir", folder / "micro", "--workers", 1, cwd=folder)
            assert answer.returncode == 0, answer
            (folder / "printed.txt").write_text(answer.stdout, encoding="utf-8")
    return folder
