"""A full disk, a folder that can only be read, a clock that jumps: a sentence each, and nothing torn."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from command import called
from synthetic_zip import write_zip
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunResult, RunStatus
from tdscale.study import RunSpec

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits and permissions are those of Unix")

# Files can't grow beyond the limit: every write that would is refused by the kernel, as on a full disk
_FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from tdscale.errors import UserError
from tdscale.runs.store import RunStore
from tdscale.runs.types import RunResult, RunStatus
from tdscale.study import RunSpec
store = RunStore(sys.argv[1])
spec = next(iter(store.specs().values()))
n = 50_000
result = RunResult(spec=spec, columns={"env_step": np.arange(1, n + 1), "return": np.random.default_rng(0).normal(size=n)},
                   status=RunStatus(state="finished", last_step=n))
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
for act in (lambda: store.write(result), lambda: store.write_packed([result], "part"), lambda: store.compact()):
    try:
        act()
    except UserError as error:
        print(error)
"""
_FULL_FOR_RESULTS = """
import contextlib, io, resource, sys
from pathlib import Path
from tdscale.cli import main
import tdscale.report, tdscale.validation, tdscale.planning
study = Path(sys.argv[1])
for command, room in (("fit", 8192), ("report", (study / "laws.json").stat().st_size + 8192)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    sys.argv = ["tdscale", command, sys.argv[-1]]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            assert end.code == 2, end.code
"""
_READ_ONLY = """
import os, sys
from pathlib import Path
from tdscale.cli.status import study_status
from tdscale.errors import UserError
from tdscale.running.folder import open_study, sole_runner
from tdscale.running.ledger import Ledger
directory = Path(sys.argv[1])
files = open_study(directory)
study_status(files)  # imports what it needs
spec = next(iter(files.store.specs().values()))
if os.geteuid() == 0:
    os.seteuid(65534)  # permissions don't hold for root
try:
    (directory / "probe").touch()
    sys.exit("the folder can be written")
except OSError:
    pass
assert study_status(files)["env_steps"] == 1000
def hold():
    with sole_runner(directory):
        pass
for act in (files.store.compact, hold, lambda: Ledger(files, "sweep", [spec], [], print)):
    try:
        act()
    except UserError as error:
        print(error)
"""
_STUDY = """
name = "s"
algorithm = "sac"
return_thresholds = [500.0]
[tasks.T]
suite = "imported"
low = 0.0
high = 1000.0
"""


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Of one run; its curve packs to more than a small file."""
    (tmp_path / "study.toml").write_text(_STUDY)
    store = RunStore(tmp_path)
    spec = RunSpec(algorithm="sac", suite="imported", task="T", utd=1, batch_size=8, learning_rate=1e-3, seed=0, stage="scaling")
    columns = {"env_step": list(range(1, 1001)), "return": [float((i * 7919) % 1009) / 7 for i in range(1000)]}
    store.write(RunResult(spec=spec, columns=columns, status=RunStatus(state="finished", last_step=1000)))
    return store


def _said(script: str, directory: Path, *, errors: bool = False) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script, str(directory)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return (done.stderr if errors else done.stdout).splitlines()


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(store: RunStore) -> None:
    before = store.fingerprint()
    said = _said(_FULL, store.directory)
    assert len(said) == 3
    assert all("can't be written (" in line and "stored runs stay" in line for line in said)
    assert store.fingerprint() == before
    assert store.problems() == []
    assert not list(store.runs.rglob(".new-*"))
    assert not list((store.runs / "packed").iterdir())


@pytest.mark.slow
def test_a_disk_too_full_for_laws_and_report_leaves_the_earlier_ones(tmp_path: Path) -> None:
    archive, study = write_zip(tmp_path / "gym_ours.zip", seeds=2, utds=(0.25, 1, 4, 16)), tmp_path / "study"
    for arguments in (("import", archive, "--dir", study), ("fit", study)):
        assert called(*arguments, cwd=tmp_path).returncode == 0
    (study / "figures" / "data.svg").mkdir(parents=True)  # stands for a disk that fills up when the laws are written already
    files = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    said = _said(_FULL_FOR_RESULTS, study, errors=True)
    laws, report = said
    advice = "check disk space and permissions"
    assert laws == f"tdscale: {study / 'laws.json'}: can't be written (File too large); {advice}"
    assert report == f"tdscale: {study / 'figures' / 'data.svg'}: the report can't be written (Is a directory); {advice}"
    assert {path: path.read_bytes() for path in study.rglob("*") if path.is_file()} == files


def test_a_folder_that_can_only_be_read_has_a_status_and_refuses_the_rest_in_a_sentence(store: RunStore) -> None:
    paths = [store.directory, store.runs, *store.runs.iterdir()]
    (store.directory / ".run.lock").touch(0o644)
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    opened = [parent for parent in store.directory.parents if parent.stat().st_mode & 0o001 == 0]
    modes = {parent: parent.stat().st_mode for parent in opened}
    try:
        for parent in opened:  # pytest keeps its folders to one user
            parent.chmod(0o755)
        said = _said(_READ_ONLY, store.directory)
    finally:
        for parent, mode in modes.items():
            parent.chmod(mode)
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert len(said) == 3
    assert all("can't be written (" in line for line in said)


def test_no_duration_is_taken_from_the_clock_that_people_set() -> None:
    source = Path(__file__).resolve().parents[2] / "src" / "tdscale"
    wall_clock = re.compile(r"\btime\.time\(|\bdatetime\.(now|utcnow|today)\(")
    found = [path.name for path in source.rglob("*.py") for _ in wall_clock.findall(path.read_text(encoding="utf-8"))]
    # the time of day at which a study will end, which is shown to people, and on which day that is
    assert found == ["progress.py", "progress.py"]
