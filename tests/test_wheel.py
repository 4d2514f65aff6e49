"""The wheel, installed light into a clean environment: everything but training works there."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from synthetic_zip import write_zip

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
UNREACHABLE = ("error sending request", "onnection", "Could not connect", "Network", "name resolution", "dns error", "timed out", "offline")

STUDY = """\
name = "t"
algorithm = "sac"
return_thresholds = [500]
[tasks.Pendulum-v1]
high = 1000
[sweep]
utd = [1]
batch_size = [16]
learning_rate = [1e-3]
[limits]
env_steps = 10000
"""


def _checked(*command: object, **options) -> subprocess.CompletedProcess:
    answer = subprocess.run([str(part) for part in command], capture_output=True, text=True, encoding="utf-8", **options)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    _checked(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The command of a clean environment that holds the wheel and the pinned light dependencies."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    # the pinned versions without their hashes, which a wheel built just now has none of
    pins = [line.removesuffix("\\").strip() for line in _pins()]
    constraints = folder.parent / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n")
    if shutil.which("uv"):
        _checked("uv", "venv", "--quiet", "--python", sys.executable, folder)
        install = ["uv", "pip", "install", "--quiet", "--python", folder]
    else:
        _checked(sys.executable, "-m", "venv", folder)
        install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile"]
    command = [str(part) for part in [*install, "--constraint", constraints, wheel]]
    # what pip or uv have fetched for this user before
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    if answer.returncode and any(sign in answer.stderr for sign in UNREACHABLE):
        pytest.skip(f"the package index can't be reached: {answer.stderr.strip().splitlines()[-1]}")
    assert answer.returncode == 0, answer.stderr
    return folder / ("Scripts" if os.name == "nt" else "bin") / "tdscale"


def _pins() -> list[str]:
    lines = (ROOT / "requirements" / "light.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith((" ", "#"))]


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "tdscale/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"tdscale"}
    assert any(name.startswith("tdscale/report/templates/") for name in names)
    assert "tdscale/studies/demo.toml" in names


def test_imported_curves_go_all_the_way_without_the_training_libraries(installed, tmp_path):
    python = installed.parent / "python"
    heavy = "import importlib.util as u; print([n for n in ('jax', 'gymnasium', 'mujoco', 'flax') if u.find_spec(n)])"
    assert _checked(python, "-c", heavy).stdout.strip() == "[]"
    assert "Usage: tdscale" in _checked(installed, "--help", cwd=tmp_path).stdout
    write_zip(tmp_path / "gym_ours.zip", seeds=3, utds=(0.5, 1, 2, 4))
    _checked(installed, "import", "gym_ours.zip", "--from", "qscaled", "--dir", "syn", cwd=tmp_path)
    laws = json.loads(_checked(installed, "fit", "syn", "--draws", 20, "--json", cwd=tmp_path).stdout)
    assert laws["data"]
    plan = json.loads(_checked(installed, "plan", "syn", "--data", 2e5, "--json", cwd=tmp_path).stdout)
    assert plan["feasible"] is True
    report = json.loads(_checked(installed, "report", "syn", "--json", cwd=tmp_path).stdout)
    assert (tmp_path / report["report"]).is_file()


def test_training_says_what_it_needs(installed, tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    answer = subprocess.run(
        [installed, "run", "study.toml", "--dir", "out"], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8"
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.count("\n") == 1
    assert 'pip install "tdscale[train]"' in answer.stderr
    assert not (tmp_path / "out").exists()
