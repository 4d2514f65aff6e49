"""laws.json: every fitted law with its intervals under stable keys, and its draws, so that a plan needs no refit."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tdscale.analysis import forms
from tdscale.analysis.arrays import Floats
from tdscale.analysis.budget import held_out_laws
from tdscale.analysis.estimate import round_digits
from tdscale.analysis.fitted_laws import MORE_DATA, DataLaw, PowerLaw
from tdscale.analysis.forms import FittedForm, Form
from tdscale.analysis.method import Method
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.size_forms import SIZE_FORMS
from tdscale.analysis.size_law import SizeLaw
from tdscale.analysis.views import at_size
from tdscale.errors import UserError
from tdscale.whole_file import write_text

SCHEMA = 2
FILE_NAME = "laws.json"
_ADAPTER: TypeAdapter[ScalingLaws] = TypeAdapter(ScalingLaws)


def laws_to_dict(laws: ScalingLaws) -> dict[str, Any]:
    """The documented keys: how it was fitted and to what (method … versions), every law, and the warnings. No draws."""
    return {
        "schema": SCHEMA,
        "method": laws.method.name,
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
    } | _sizes(laws)


def write_laws(laws: ScalingLaws, path: Path) -> None:
    """Write laws.json, whole or not at all. The same curves give the same bytes: measured seconds only where the study asks for them.

    Raises:
        UserError: if the disk is full or can't be written.
    """
    if not laws.asks_for_times:
        laws = laws.without_times()
    content = laws_to_dict(laws) | {"draws": _draws(laws)}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def load_laws(path: Path, methods: Mapping[str, Method]) -> ScalingLaws:
    """Read laws.json back, draws and all.

    Args:
        path: the file.
        methods: by name, those by which laws may have been fitted.

    Raises:
        UserError: if it is missing, broken, or of another schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `tdscale fit {path.parent}` writes it") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read as JSON ({error}); `tdscale fit {path.parent}` writes it again") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UserError(f"{path}: is not of schema {SCHEMA}; `tdscale fit {path.parent}` writes it again")
    try:
        return _from_draws(content["draws"], methods)
    except (AttributeError, KeyError, TypeError, ValidationError, ValueError):
        raise UserError(f"{path}: its draws are damaged; `tdscale fit {path.parent}` writes it again") from None


def _power_law(law: PowerLaw | None) -> dict[str, Any] | None:
    if law is None:
        return None
    return (
        {
            "exponent": law.exponent_estimate.to_dict(),
            "identified": law.identified,
            "optimised": law.optimised,
            "source": law.source,
            "tasks": {task: {"coefficient": law.coefficient_estimate(task).to_dict()} for task in law.tasks},
            "tolerated": _tolerated(law),
        }
        | _offsets(law)
        | ({} if law.size is None else {"size": law.size.to_dict()})
    )


def _offsets(law: PowerLaw) -> dict[str, Any]:
    """B_min or η_min of each task; no key at all for the pure power law."""
    offsets = {task: value.to_dict() for task in law.tasks if (value := law.offset_estimate(task)) is not None}
    return {"offsets": offsets} if offsets else {}


def _tolerated(law: PowerLaw) -> dict[str, Any] | None:
    """The ranges that cost little, for each task and the domain at each σ of the points."""
    if law.leeway is None:
        return None
    tasks: list[str | None] = [None, *law.tasks]
    found = [(task, float(utd), law.tolerated(float(utd), task)) for task in tasks for utd in law.utd]
    ranges = [{"task": task, "utd": utd} | range_.to_dict() for task, utd, range_ in found if range_ is not None]
    return {"more_data": MORE_DATA, "ranges": ranges}


def _data_law(law: DataLaw) -> list[dict[str, Any]]:
    tasks: list[str | None] = [None, *law.tasks]
    return [
        {
            "threshold": round_digits(law.threshold),
            "task": task,
            **{name: value.to_dict() for name, value in law.parameters(task).items()},
            "identified": law.identified,
            "models": _models(law, task),
        }
        for task in tasks
    ]


def _sizes(laws: ScalingLaws) -> dict[str, Any]:
    """What a study with sizes has more: N of each, the N at which the other keys hold, and the laws over σ and N; no key at all without."""
    family = laws.sizes
    if family is None:
        return {}
    named = zip(family.sizes.names, family.sizes.model_size, strict=True)
    return {
        "sizes": [{"size": name, "model_size": round_digits(model_size)} for name, model_size in named],
        "model_size": laws.model_size,
        "size_laws": [entry for law in family.data for entry in _size_law(law)],
    }


def _size_law(law: SizeLaw) -> list[dict[str, Any]]:
    entries = []
    for place, task in [(-1, None), *enumerate(law.tasks)]:
        named = {
            fitted.form.name: fitted.form.described(fitted.log_scale[place], fitted.parameters[place])
            for fitted in law.forms
            if fitted.form.base is fitted.form
        }
        models = [
            {"form": fitted.form.name, "weight": round_digits(fitted.weight)}
            | (
                {"parameters": _plain({name: float(value) for name, value in named[fitted.form.name].items()})}
                if fitted.form.name in named
                else {}
            )
            for fitted in law.forms
        ]
        parameters = {name: value.to_dict() for name, value in law.parameters(task).items()}
        entries.append(
            {"threshold": round_digits(law.threshold), "task": task, **parameters, "identified": law.identified, "models": models}
        )
    return entries


def _models(law: DataLaw, task: str | None) -> list[dict[str, Any]]:
    """What a prediction combines."""
    place, low_high = law.place(task), dict(zip(("low", "high"), law.range, strict=True))
    models = []
    for fitted in law.forms:
        named = fitted.form.described(fitted.log_scale[place], fitted.parameters[place])
        parameters = {name: float(value) for name, value in named.items()}
        if fitted.form.base is not fitted.form:
            parameters |= low_high
        models.append({"form": fitted.form.name, "parameters": _plain(parameters), "weight": round_digits(fitted.weight)})
    return models


def _draws(laws: ScalingLaws) -> dict[str, Any]:
    """The laws with all their draws, as JSON types: the fields of `ScalingLaws`, with the method and the forms by their names."""
    content: dict[str, Any] = _ADAPTER.dump_python(laws, mode="python")
    content["method"] = laws.method.name
    for law in filter(None, (content["batch_size"], content["learning_rate"])):
        _without(law, "offset", "size")
    if laws.sizes is None:
        _without(content, "model_size", "sizes")
        for entry, law in zip(content["data"], laws.data, strict=True):
            _without(entry, "field")
            del entry["beyond_size"]
            _by_form(entry, law.forms, forms.FORMS)
    else:
        # all that holds at one N is taken from the family again
        family = content["sizes"]
        for law in filter(None, (family["batch_size"], family["learning_rate"])):
            _without(law, "offset", "size")
        for entry, law in zip(family["data"], laws.sizes.data, strict=True):
            _by_form(entry, law.forms, SIZE_FORMS)
            for form in entry["forms"]:
                _once(form)
            entry["field_weight_draws"] = [_as_text(draw) for draw in law.field_weight_draws]
        content |= {"data": [], "budget": None, "batch_size": None, "learning_rate": None, "compute": {}, "other_units": {}}
    plain: dict[str, Any] = _plain(content)
    return plain


def _once(columns: dict[str, Any]) -> None:
    """Keeps the parameters that all tasks share once, as a list of one."""
    for name, values in columns.items():
        if name in ("form", "weight") or name.startswith("log_scale"):
            continue
        rows = np.asarray(values)
        if rows.shape[-1] > 1 and (rows == rows[..., :1]).all():
            columns[name] = rows[..., :1].tolist()


def _as_text(values: Floats) -> str:
    """Numbers with spaces between, rows one after the other: of 40 tasks there are millions."""
    return " ".join(f"{value:.5g}" for value in values.ravel())


def _without(content: dict[str, Any], *names: str) -> None:
    """Leaves out what is None: such fields came later."""
    for name in names:
        if content[name] is None:
            del content[name]


def _by_form(entry: dict[str, Any], fitted: Sequence[FittedForm], known: Sequence[Form]) -> None:
    entry["forms"] = [_columns(one) for one in fitted if one.form.base is one.form]
    # a form that takes another one's parameters adds its weight alone
    weights = {one.form.name: one.weight for one in fitted}
    entry |= {form.name: weights.get(form.name, 0.0) for form in known if form.base is not form}


def _columns(fitted: FittedForm) -> dict[str, Any]:
    """A form's weight, and a column for each of its parameters over the tasks and, last, the domain; the same for draws."""
    form = fitted.form
    columns: dict[str, Any] = {"form": form.name, "weight": fitted.weight}
    sides = (("", fitted.log_scale, fitted.parameters), ("_draws", fitted.log_scale_draws, fitted.parameter_draws))
    for suffix, log_scale, parameters in sides:
        columns[f"log_scale{suffix}"] = log_scale.tolist()
        columns |= {f"{name}{suffix}": parameters[..., index].tolist() for index, name in enumerate(form.parameters)}
        columns |= {f"{name}{suffix}": np.zeros(log_scale.shape).tolist() for name in form.zeros}
    return columns


def _from_draws(content: dict[str, Any], methods: Mapping[str, Method]) -> ScalingLaws:
    """The inverse of `_draws`. Raises KeyError, TypeError or ValueError where the content is none of `_draws`."""
    content = content | {"method": methods[content["method"]]}
    if "sizes" not in content:
        data = [_with_forms(entry, ("utd",), forms.FORMS) for entry in content["data"]]
        return _ADAPTER.validate_python(content | {"data": data})
    family = dict(content["sizes"])
    family["data"] = [_with_forms(entry, ("utd", "model_size"), SIZE_FORMS) for entry in family["data"]]
    laws = _ADAPTER.validate_python(content | {"sizes": family})
    assert laws.model_size is not None
    return replace(at_size(laws, laws.model_size), warnings=laws.warnings)


def _from_text(law: dict[str, Any]) -> None:
    """The inverse of `_once` and `_as_text`."""
    n_places, n_points = np.shape(law["field_weights"])
    drawn = [np.array(text.split(), dtype=np.float64) for text in law["field_weight_draws"]]
    law["field_weight_draws"] = np.reshape(drawn, (len(drawn), n_places, n_points))
    for columns in law["forms"]:
        for name, values in columns.items():
            if name not in ("form", "weight"):
                columns[name] = np.broadcast_to(_array(values), (*np.shape(values)[:-1], n_places))


def _with_forms(entry: dict[str, Any], at: Sequence[str], known: Sequence[Form]) -> dict[str, Any]:
    """A data law's fields with its forms. `at`: the fields that D's coordinates stand in."""
    law = dict(entry)
    if "field_weight_draws" in law:
        _from_text(law)
    named = {form.name: form for form in known}
    fitted = {named[columns["form"]]: _from_columns(columns, named[columns["form"]]) for columns in law.pop("forms")}
    coordinates = [_array(law[name]) for name in at]
    points = [coordinates[0] if len(at) == 1 else np.stack(coordinates), _array(law["data"]), _array(law["bound"])]
    for form in known:
        weight = law.pop(form.name, 0.0)
        if form.base is not form and weight:
            fitted[form] = fitted[form.base].as_form(form, weight, *points)
    return law | {"forms": tuple(fitted[form] for form in known if form in fitted)}


def _from_columns(columns: dict[str, Any], form: Form) -> FittedForm:
    def parameters(suffix: str) -> Floats:
        return np.stack([_array(columns[f"{name}{suffix}"]) for name in form.parameters], axis=-1)

    return FittedForm(
        form=form,
        weight=columns["weight"],
        log_scale=_array(columns["log_scale"]),
        parameters=parameters(""),
        log_scale_draws=_array(columns["log_scale_draws"]),
        parameter_draws=parameters("_draws"),
    )


def _array(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _budget(laws: ScalingLaws) -> dict[str, Any] | None:
    law = laws.budget
    if law is None:
        return None
    return {
        "data_cost": law.data_cost,
        "data_cost_source": laws.data_cost_source,
        "unit": laws.unit,
        "coefficient": law.coefficient_estimate.to_dict(),
        "exponent": law.exponent_estimate.to_dict(),
        "regret": law.regret.to_dict() if law.regret else None,
        "without_largest": [
            {
                "left_out": count,
                "coefficient": held.coefficient_estimate.to_dict(),
                "exponent": held.exponent_estimate.to_dict(),
            }
            for count, held in held_out_laws(law, laws.method.budget)
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


def _plain(value: Any) -> Any:
    """JSON types: floats with ten digits, what is not finite as text (JSON has no infinity)."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round_digits(value) if math.isfinite(value) else repr(value)
    return value
