"""A small study, trained for real: two runs of stage 1, six of stage 2, six of the baseline."""

from pathlib import Path

from tdscale.running import Engine
from tdscale.running.fitting import fit_study
from tdscale.running.folder import place_study
from tdscale.running.stages import Display
from tdscale.running.workflow import run_study

STUDY = """\
name = "micro"
algorithm = "sac"
return_thresholds = [{thresholds}]
data_cost = 1e5
baseline = true

[tasks.Pendulum-v1]
low = -2000
high = 0
{more}
[sweep]
utd = [0.5, 2]
batch_size = [16]
learning_rate = [1e-3]
seeds = 1

[scaling]
utd = [{utds}]
seeds = {seeds}

[limits]
env_steps = 1200

[settings]
hidden_sizes = [8]
warm_up = 100
update_block = 8
evaluation_interval = 0
diagnostics_interval = 0
"""
SECOND = "\n[tasks.InvertedPendulum-v5]\nhigh = 30\n"
FIRST = {"thresholds": "100, 200", "utds": "0.5, 1, 2", "seeds": 2, "more": ""}


class Silent:
    """A display that shows nothing."""

    def stage(self, name, jobs, cells_done, later, part=None):
        pass

    def event(self, event):
        pass

    def note(self, text):
        pass


def write(folder: Path, **changed: object) -> Path:
    """Write the study's file, `micro.toml`, with some of `FIRST` changed."""
    (folder / "micro.toml").write_text(STUDY.format(**FIRST | changed))
    return folder / "micro.toml"


def run(folder: Path, *, display: Display | None = None, **changed: object) -> None:
    """Run what is missing of the study in `folder`; its file is written first where it is not there or something is changed."""
    study = folder / "micro.toml"
    run_file(write(folder, **changed) if changed or not study.exists() else study, display)


def run_file(study: Path, display: Display | None = None) -> None:
    """Run what is missing of a study, into the folder of its name beside it, and fit its laws.

    The report is left out: its figures take longer than small runs.
    """
    files = place_study(study, study.with_suffix(""))
    assert run_study(files, engine=Engine(workers=1), display=display or Silent()) == []
    fit_study(files)
