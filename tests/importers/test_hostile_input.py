"""Files with faults of every kind: an import of them ends well, or in one printable sentence with nothing written."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import mutations
import pytest

from command import called
from tdscale.errors import UserError
from tdscale.study import read_study

_FEW, _MANY, _TOGETHER = 12, 560, 20
KINDS = (
    *("long", "folder", "wide", "parquet", "headless", "headless-csv", "json-lines", "spinning-up", "qscaled", "arrays", "npz", "monitor"),
    *("sb3-progress", "rllib", "rllib-json", "tensorboard", "map", "wandb"),
)
_ROOM = 1 << 20  # kilobytes of memory beyond what the process had


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """By kind. W&B's is recorded by its own program; without it there is none."""

    def events():
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = tmp_path_factory.mktemp("events")
        writer = EventFileWriter(str(folder))
        for i in range(30):
            writer.add_event(Event(summary=Summary(value=[Summary.Value(tag="charts/episodic_return", simple_value=i)]), step=100 * i))
        writer.close()
        return next(folder.iterdir()).read_bytes()

    folder = tmp_path_factory.mktemp("wandb")
    code = (
        "import sys, wandb\n"
        "run = wandb.init(mode='offline', dir=sys.argv[1], project='p', config={'seed': 1})\n"
        "for i in range(30): run.log({'s': 100 * i, 'r': float(i)})\n"
        "run.finish()\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "WANDB_SILENT": "true", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment, capture_output=True, timeout=120)
    return {sample.name: sample for sample in mutations.samples(events, next(folder.rglob("*.wandb")).read_bytes())}


def test_every_kind_is_tried(samples):
    assert tuple(samples) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_whole_it_is_imported(samples, kind, tmp_path):
    sample = samples[kind]
    for name, content in sample.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    answer = called("import", sample.source, "--dir", "study", *sample.options, cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")


def said_well(answer, folder: Path) -> str | None:
    """What is wrong with how a command ended; None if nothing is."""
    if answer.returncode == 0:
        if not all(line.isprintable() for line in answer.stdout.splitlines()):
            return f"prints what is not printable: {answer.stdout!r}"
        return None if answer.stderr == "" else "said something on standard error"
    line = answer.stderr.removesuffix("\n")
    if answer.returncode != 2 or not line.startswith("tdscale: "):
        return f"ended with {answer.returncode}"
    if answer.stdout or not line.isprintable() or len(line) > 4000:
        return "is no printable line"
    return "left something behind" if (folder / "study").exists() else None


def tried(sample, folder, numbers) -> list[str]:
    wrong = []
    for number in numbers:
        place = folder / "try"
        source = mutations.write(sample, place, number)
        answer = called("import", source.relative_to(place), "--dir", "study", *sample.options, cwd=place)
        found = said_well(answer, place)
        if found is not None:
            wrong.append(f"{sample.name} {number} {found}: {answer.stderr[:600]!r}")
        shutil.rmtree(place)
    return wrong


@pytest.mark.parametrize("kind", KINDS)
def test_with_faults_it_ends_well_or_in_a_sentence(samples, kind, tmp_path):
    assert tried(samples[kind], tmp_path, range(_FEW)) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(_TOGETHER))
@pytest.mark.parametrize("kind", KINDS)
def test_with_many_faults_it_ends_well_or_in_a_sentence(samples, kind, part, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = _MANY // _TOGETHER
    assert tried(samples[kind], tmp_path, range(_FEW + part * count, _FEW + (part + 1) * count)) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _ROOM


def study_files(tmp_path, numbers):
    """Those that are refused in another way."""
    examples = sorted((Path(__file__).resolve().parents[2] / "examples").rglob("*.toml"))
    assert examples
    for number in numbers:
        example = examples[number % len(examples)]
        sample = mutations.Sample("study", {"study.toml": example.read_bytes()}, source="study.toml")
        path = mutations.write(sample, tmp_path, number)
        try:
            read_study(path)
        except UserError as error:
            if not str(error).isprintable() or len(str(error)) > 4000:
                yield number, str(error)


def test_a_study_file_with_faults_is_read_or_refused_in_a_sentence(tmp_path):
    assert list(study_files(tmp_path, range(60))) == []


@pytest.mark.slow
def test_a_study_file_with_many_faults_is_read_or_refused_in_a_sentence(tmp_path):
    assert list(study_files(tmp_path, range(60, 1500))) == []
