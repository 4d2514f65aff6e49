"""A study of a toy trainer, whose D is known and whose runs take a tenth of a second: for adaptive designs."""

import os
import random
import signal
from pathlib import Path

import small_study
from command import start
from tdscale.running import Engine
from tdscale.running.folder import StudyFiles, place_study
from tdscale.running.workflow import run_study

STUDY = """\
name = "toy"
command = ["python3", "toy.py", "{{task}}", "{{utd}}", "{{batch_size}}", "{{learning_rate}}", "{{seed}}", "{{env_steps}}", "{{output}}"]
return_thresholds = [400, 700]
data_cost = 1e5

[tasks.slow]
high = 1000

[tasks.fast]
high = 1000

[sweep]
design = "adaptive"
utd = [1, 2, 4]
batch_size = [32, 64, 128, 256]
learning_rate = [1e-4, 3e-4, 1e-3]
seeds = 3
{sweep}

[scaling]
utd = [1, 2, 4]
seeds = 2

[limits]
env_steps = 20000
{more}
"""
# log D is two parabolas about B* = 120·σ^-0.3 (slow; fast 60) and η* = 3e-4·σ^-0.2
TOY = """\
import math, os, random, sys
task, utd, batch, rate, seed, steps, output = sys.argv[1:]
utd, batch, rate, steps = float(utd), float(batch), float(rate), int(steps)
{first}
best = {{"slow": 120, "fast": 60}}[task] * utd**-0.3
excess = 0.15 * math.log(batch / best) ** 2 + 0.2 * math.log(rate / (3e-4 * utd**-0.2)) ** 2
data = {{"slow": 3000, "fast": 1500}}[task] * (1 + (utd / 2) ** -0.7) * math.exp(excess)
noise = random.Random(repr(sys.argv[1:6]))
pace = math.exp(0.15 * noise.gauss(0, 1))
with open(output, "w") as file:
    file.write("env_step,return\\n")
    for step in range(200, steps + 1, 200):
        value = 950 * -math.expm1(-1.335 * pace * step / data) + noise.gauss(0, 20)
        file.write(f"{{step}},{{value}}\\n")
"""


def write(folder: Path, *, sweep: str = "", more: str = "", first: str = "") -> Path:
    """Write the study's file, with more lines in [sweep] and at its end, and its trainer, with `first` done first; the study's path."""
    folder.mkdir(exist_ok=True)
    (folder / "toy.py").write_text(TOY.format(first=first))
    (folder / "toy.toml").write_text(STUDY.format(sweep=sweep, more=more))
    return folder / "toy.toml"


# by N: a network eight times as large needs B* twice as large, and two thirds of the data
SIZES = {"s": 1e4, "l": 8e4}


def write_sized(folder: Path, *, sweep: str = "") -> Path:
    """The same with networks of two sizes."""
    sizes = "\n[sizes]\n" + "".join(
        f"{name} = {{ n = {model_size:g}, model_size = {model_size:g} }}\n" for name, model_size in SIZES.items()
    )
    study = write(folder, sweep=sweep, more=sizes)
    study.write_text(study.read_text().replace('"{output}"]', '"{output}", "{n}"]'))
    toy = (folder / "toy.py").read_text()
    for plain, by_size in (
        ("output = sys.argv[1:]", "output, n = sys.argv[1:]"),
        ("* utd**-0.3", "* utd**-0.3 * (float(n) / 1e4) ** (1 / 3)"),
        ("math.exp(excess)", "math.exp(excess) * (float(n) / 1e4) ** -0.2"),
        ("sys.argv[1:6]", "[*sys.argv[1:6], n]"),
    ):
        assert toy.count(plain) == 1
        toy = toy.replace(plain, by_size)
    (folder / "toy.py").write_text(toy)
    return study


def run_killed(folder: Path, seed: int) -> int:
    """`tdscale run toy.toml`, killed up to four times at moments that the seed decides; how often it was."""
    rng = random.Random(seed)
    kills = 0
    while kills < 4:
        with start("run", "toy.toml", "--workers", rng.choice([1, 2]), cwd=folder, start_new_session=True) as process:
            try:
                process.wait(timeout=rng.uniform(1.5, 6.0))
            except Exception:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
                continue
            break
    return kills


class Noted(small_study.Silent):
    """A display that keeps what is said, and how many jobs each stage or round has."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.parts: list[tuple[str, int]] = []

    def stage(self, name, jobs, cells_done, later, part=None):
        self.parts.append((name, len(jobs)))

    def note(self, text):
        self.notes.append(text)


def run(study: Path, directory: Path, *, workers: int = 2, display: Noted | None = None) -> tuple[StudyFiles, list[str]]:
    """Run what is missing of the study; its files, and what failed."""
    files = place_study(study, directory, accept_changes=True)
    return files, run_study(files, engine=Engine(workers=workers), display=display or Noted())
