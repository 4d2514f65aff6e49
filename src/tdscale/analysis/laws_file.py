"""laws.json: every fitted law with its intervals under stable keys, and its draws, so that a plan needs no refit."""

import json
import math
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tdscale.analysis.budget import held_out_laws
from tdscale.analysis.estimate import Estimate, round_digits
from tdscale.analysis.laws import DataLaw, PowerLaw, ScalingLaws
from tdscale.errors import UserError
from tdscale.whole_file import write_text

SCHEMA = 1
FILE_NAME = "laws.json"
_ADAPTER: TypeAdapter[ScalingLaws] = TypeAdapter(ScalingLaws)


def laws_to_dict(laws: ScalingLaws) -> dict[str, Any]:
    """The documented keys: how it was fitted and to what (method … versions), every law, and the warnings. No draws."""
    return {
        "schema": SCHEMA,
        "method": laws.method,
        "n_draws": laws.n_draws,
        "seed": laws.seed,
        "where": list(laws.where),
        "study": laws.study,
        "inputs": laws.inputs,
        "versions": dict(laws.versions),
        "batch_size": _power_law(laws.batch_size),
        "learning_rate": _power_law(laws.learning_rate),
        "data": [entry for law in laws.data for entry in _data_law(law)],
        "budget": _budget(laws),
        "compute": {task: _plain(model.to_dict()) for task, model in laws.compute.items()},
        "warnings": [{"code": w.code, "message": w.message, "where": w.where} for w in laws.warnings],
    }


def write_laws(laws: ScalingLaws, path: Path) -> None:
    """Write laws.json, whole or not at all. The same curves give the same bytes: measured seconds only where the study asks for them.

    Raises:
        UserError: if the disk is full or can't be written.
    """
    if not laws.asks_for_times:
        laws = laws.without_times()
    content = laws_to_dict(laws) | {"draws": _plain(_ADAPTER.dump_python(laws, mode="python"))}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def read_laws(path: Path) -> ScalingLaws:
    """Read laws.json back, draws and all. Raises UserError if it is missing, broken, or of another schema."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `tdscale fit {path.parent}` writes it") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read as JSON ({error}); `tdscale fit {path.parent}` writes it anew") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UserError(f"{path}: is not of schema {SCHEMA}; `tdscale fit {path.parent}` writes it anew")
    try:
        return _ADAPTER.validate_python(content["draws"])
    except (KeyError, ValidationError, ValueError):
        raise UserError(f"{path}: its draws are damaged; `tdscale fit {path.parent}` writes it anew") from None


def _power_law(law: PowerLaw | None) -> dict[str, Any] | None:
    if law is None:
        return None
    return {
        "exponent": law.exponent_estimate.to_dict(),
        "identified": law.identified,
        "source": law.source,
        "tasks": {task: {"coefficient": law.coefficient_estimate(task).to_dict()} for task in law.tasks},
    }


def _data_law(law: DataLaw) -> list[dict[str, Any]]:
    tasks: list[str | None] = [None, *law.tasks]
    return [
        {
            "threshold": round_digits(law.threshold),
            "task": task,
            "d_min": law.d_min(task).to_dict(),
            "beta": law.beta(task).to_dict(),
            "alpha": law.alpha(task).to_dict(),
            "identified": law.identified,
            "models": _models(law, task),
        }
        for task in tasks
    ]


def _models(law: DataLaw, task: str | None) -> list[dict[str, Any]]:
    """What a prediction combines."""
    place, low_high = law.place(task), dict(zip(("low", "high"), law.range, strict=True))
    models = []
    for form in law.forms:
        scale, alpha = math.exp(form.log_scale[place]), float(form.alpha[place])
        if form.form == "offset":
            parameters = {"d_min": scale, "beta": _safe_exp(float(form.log_ratio[place]) / alpha), "alpha": alpha}
        else:
            parameters = {"coefficient": scale, "exponent": -alpha}
        models.append({"form": form.form, "parameters": _plain(parameters), "weight": round_digits(form.weight)})
    if law.held:
        models.append({"form": "held", "parameters": models[0]["parameters"] | _plain(low_high), "weight": round_digits(law.held)})
    return models


def _budget(laws: ScalingLaws) -> dict[str, Any] | None:
    law = laws.budget
    if law is None:
        return None
    return {
        "data_cost": law.data_cost,
        "data_cost_source": laws.data_cost_source,
        "unit": laws.unit,
        "coefficient": Estimate.from_draws(law.coefficient, law.coefficient_draws).to_dict(),
        "exponent": Estimate.from_draws(law.exponent, law.exponent_draws).to_dict(),
        "regret": law.regret.to_dict() if law.regret else None,
        "without_largest": [
            {
                "left_out": count,
                "coefficient": Estimate.from_draws(held.coefficient, held.coefficient_draws).to_dict(),
                "exponent": Estimate.from_draws(held.exponent, held.exponent_draws).to_dict(),
            }
            for count, held in held_out_laws(law, paper=laws.method == "paper")
        ],
        "points": [
            {
                "threshold": round_digits(p.threshold),
                "budget": p.budget.to_dict(),
                "utd": p.utd.to_dict(),
                "at_edge": p.at_edge,
                "regret": p.regret.to_dict() if p.regret else None,
            }
            for p in law.points
        ],
    }


def _safe_exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _plain(value: Any) -> Any:
    """JSON types: floats with ten digits, what is not finite as text (JSON has no infinity)."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round_digits(value) if math.isfinite(value) else repr(value)
    return value
