"""A process that trains one run by a function of the user's: FUNCTION FOLDER SPEC. What the function yields becomes its CSV."""

import csv
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdscale.errors import UserError
from tdscale.running.trainers.costs import checked_report
from tdscale.whole_file import write_whole


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The run that a function of the user's is to train.

    Attributes:
        algorithm, suite, task, utd, batch_size, learning_rate, seed, stage, reward_scale, settings: as of `RunSpec`.
        env_steps: the limit: how long to train.
        checkpoint: a folder of the run's own that stays until its result is stored: what lies there when the function is called is
            what an interrupted call left.
        report_file: what `report` writes.
        size: name of its size, in a study with [sizes]; model_size: N, where the size gives it.
    """

    algorithm: str
    suite: str
    task: str
    utd: float
    batch_size: int
    learning_rate: float
    seed: int
    stage: str
    reward_scale: float
    settings: Mapping[str, Any]
    env_steps: int
    checkpoint: Path
    report_file: Path
    size: str = ""
    model_size: float | None = None

    def report(self, **facts: Any) -> None:
        """Say what is known of the run beside its returns; a later call adds to the earlier ones.

        Args:
            facts: critic_parameters, actor_parameters, critic_update_flops, actor_update_flops (per transition), critic_updates,
                actor_updates, env_steps, env_seconds, update_seconds, versions.

        Raises:
            UserError: if a fact is not known or its value can't be right.
        """
        earlier = json.loads(self.report_file.read_text(encoding="utf-8")) if self.report_file.exists() else {}
        said, problem = checked_report(earlier | facts, "report")
        if problem is not None:
            raise UserError(problem)
        write_whole(self.report_file, json.dumps(said).encode())


def main() -> None:
    """See the module."""
    from tdscale.training.custom_algorithm import load_custom_algorithm

    name, folder, file = sys.argv[1:]
    content = json.loads(Path(file).read_text(encoding="utf-8"))
    request = RunRequest(
        **content["spec"],
        env_steps=content["env_steps"],
        checkpoint=Path(content["checkpoint"]),
        report_file=Path(content["report"]),
        size=content.get("size", ""),
        model_size=content.get("model_size"),
    )
    try:
        _write(load_custom_algorithm(name, Path(folder), "function")(request), Path(content["output"]))
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


def _write(returned: Any, path: Path) -> None:
    """Rows as they come, each at once on disk, where the worker reads it."""
    if not isinstance(returned, Iterable):
        raise UserError(f"the function returned {type(returned).__name__}; it must yield or return pairs of env_step and return")
    with path.open("w", encoding="utf-8", newline="", buffering=1) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["env_step", "return"])
        for row in returned:
            try:
                env_step, value = row
                table.writerow([int(env_step), float(value)])
            except (TypeError, ValueError):
                raise UserError(f"the function yielded {str(row)[:60]}; it must yield pairs of env_step and return") from None


if __name__ == "__main__":
    main()
