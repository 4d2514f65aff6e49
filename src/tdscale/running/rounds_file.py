"""rounds.json: the rounds of an adaptive study, as they were asked for. Each is stored before its runs start."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tdscale.design.records import CellKey, CellRequest, Regret, RoundRecord, SizedPlace, StepPrices, request_of
from tdscale.errors import UserError
from tdscale.study import RunSpec, Stage, Study
from tdscale.whole_file import write_text

FILE_NAME = "rounds.json"


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """The rounds of one stage, of all sizes together where the study has [sizes].

    Attributes:
        records: in order.
        ended: why the stage has ended, in a sentence; empty if it continues.
        regret: of the choice of B and η at its end; precision: of D, for stage 2.
        given_up: (task, σ), or (task, σ, size), at which no cell reached a threshold.
        prices: cost of an env step by (task, σ, B), or (task, σ, B, size), where it was measured.
    """

    records: tuple[RoundRecord, ...] = ()
    ended: str = ""
    regret: Regret | None = None
    precision: float | None = None
    given_up: tuple[SizedPlace, ...] = ()
    prices: StepPrices = field(default_factory=dict)

    def requests(self, study: Study) -> dict[CellKey, CellRequest]:
        """What was asked for so far of a study's tasks: of each cell the last request, with the most seeds."""
        found: dict[CellKey, CellRequest] = {}
        for record in self.records:
            for request in record.cells:
                if request.task in study.tasks:
                    earlier = found.get(request.cell)
                    found[request.cell] = replace(request, seeds=max(request.seeds, 0 if earlier is None else earlier.seeds))
        return found

    def specs(self, study: Study, stage: Stage) -> list[RunSpec]:
        """Every run that was asked for so far."""
        sizes = study.by_size()
        return [spec for one in self.requests(study).values() for spec in sizes[one.size].specs([one.key], stage, one.seeds)]


def rounds_id(study: Study) -> str:
    """What rounds hold for: the algorithm with its settings, those of each of its sizes by name. 16 hexadecimal digits."""
    settings = {name: one.spec_settings[0] for name, one in study.by_size().items()}
    return hashlib.sha256(json.dumps([study.algorithm, settings if study.sizes else settings[""]], sort_keys=True).encode()).hexdigest()[
        :16
    ]


def read_rounds(directory: Path, study: Study, stage: Stage = "sweep") -> Rounds:
    """The rounds of a study's stage so far. Raises UserError where the file is damaged."""
    values = _read(directory).get(rounds_id(study), {}).get(stage)
    try:
        return Rounds() if values is None else _rounds(values)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(_damaged(directory)) from None


def write_rounds(directory: Path, study: Study, stage: Stage, rounds: Rounds) -> None:
    """Store them, whole or not at all. Raises UserError where the folder can't be written."""
    content = _read(directory)
    content.setdefault(rounds_id(study), {})[stage] = {
        "rounds": [asdict(record) for record in rounds.records],
        "ended": rounds.ended,
        "regret": None if rounds.regret is None else asdict(rounds.regret),
        "precision": rounds.precision,
        "given_up": [list(place) for place in rounds.given_up],
        "prices": [[*place, price] for place, price in sorted(rounds.prices.items())],
    }
    write_text(directory / FILE_NAME, json.dumps({"schema": 1, "studies": content}, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _read(directory: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads((directory / FILE_NAME).read_text(encoding="utf-8"))
        studies: dict[str, dict[str, Any]] = content["studies"]
        if not all(isinstance(stages, dict) for stages in studies.values()):
            raise TypeError
        return studies
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(_damaged(directory)) from None


def _damaged(directory: Path) -> str:
    return (
        f"{directory / FILE_NAME}: is damaged, so the rounds of the adaptive design are unknown; restore it from a backup, or remove it: "
        "`tdscale run` then chooses them again, uses the runs that are there, and may ask for others"
    )


def _rounds(values: Mapping[str, Any]) -> Rounds:
    def regret(one: Any) -> Regret | None:
        return None if one is None else Regret(expected=float(one["expected"]), bound=float(one["bound"]))

    records = tuple(
        RoundRecord(**{**record, "cells": tuple(map(request_of, record["cells"])), "regret": regret(record["regret"])})
        for record in values["rounds"]
    )
    prices: dict[Any, float] = {
        (str(task), float(utd), int(batch), *size): float(price) for task, utd, batch, *size, price in values["prices"]
    }
    return Rounds(
        records=records,
        ended=str(values["ended"]),
        regret=regret(values["regret"]),
        precision=values["precision"],
        given_up=tuple((str(task), float(utd), *size) for task, utd, *size in values["given_up"]),
        prices=prices,
    )
