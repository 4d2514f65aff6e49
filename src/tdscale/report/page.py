"""report.html: one file that needs no network."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from vl_convert import javascript_bundle

from tdscale.analysis.compute import UNIT_NAMES
from tdscale.analysis.estimate import short
from tdscale.analysis.fitted_laws import MORE_DATA, Tolerated
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning import Confirmation, Plan
from tdscale.planning.plan import percent, sure_in_words
from tdscale.planning.sizes import Paths
from tdscale.report import colours, summary
from tdscale.report.rounds import Story
from tdscale.report.sizes import named_size, size_formulas, size_sentences
from tdscale.report.tables import Table, cells_as_text
from tdscale.validation import Validation

# messages of one kind of warning that are shown at once; the others unfold
FIRST_MESSAGES = 3


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure on the page: its section, name, caption and what is drawn.

    `chart`: its series (`charts.chart`), drawn in the page; None shows the SVG as it is, and a `wide` one scrolls sideways on a phone.
    """

    section: str
    name: str
    caption: str
    svg: str
    wide: bool = False
    chart: Mapping[str, Any] | None = None


def render_page(
    laws: ScalingLaws,
    *,
    drawings: Sequence[Drawing],
    tables: Sequence[Table],
    plans: Sequence[Plan],
    validation: Validation,
    study_summary: Mapping[str, str],
    confirmations: Sequence[Confirmation],
    choosing: Story | None = None,
    paths: Paths | None = None,
    planner: Mapping[str, Any] | None = None,
) -> str:
    """The page's HTML. Everything but the figures' SVG is escaped. `planner`: the tables of `planner.planner_tables`."""
    environment = Environment(
        loader=PackageLoader("tdscale.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["maths"] = _maths
    state, trust = summary.verdict(validation)
    groups = summary.grouped_warnings(laws)
    sections = [
        ("summary", "Summary"),
        ("plan", "Plan"),
        ("sizes", "Model size, D_J(σ, N)"),
        ("data", "Data and compute, D_J(σ) and C_J(σ)"),
        ("frontier", "Frontiers and σ*(F)"),
        ("hyperparameters", "B*(σ) and η*(σ)"),
        ("choosing", "How the sweep was chosen"),
        ("curves", "Learning curves"),
        ("training", "Inside training"),
        ("validation", "Validation"),
        ("tables", "Tables"),
        ("warnings", "Warnings"),
        ("method", "How it was made"),
    ]
    charts = {drawing.name: drawing.chart for drawing in drawings if drawing.chart is not None}
    by_section = {key: [_inlined(d) for d in drawings if d.section == key] for key, _ in sections}
    filled = {"summary", "validation", "method"} | {key for key, found in by_section.items() if found}
    filled |= {key for key, found in (("plan", plans), ("choosing", choosing), ("tables", tables), ("warnings", groups)) if found}
    return environment.get_template("report.html.jinja").render(
        title=laws.study,
        sections=[(key, title) for key, title in sections if key in filled],
        drawings=by_section,
        opening=summary.opening(laws),
        study_summary=dict(study_summary),
        headlines=[*size_sentences(laws, paths), *summary.headlines(laws)],
        formulas=[*size_formulas(laws), *_formulas(laws)],
        size=named_size(laws),
        state=state,
        trust=[*trust, *summary.confirmed_sentences(confirmations)],
        skipped=summary.skipped_sentences(validation),
        plans=[_plan(plan) for plan in plans],
        tables=[(table, *cells_as_text(table)) for table in tables if choosing is None or table.name != choosing.table.name],
        choosing=choosing.sentences if choosing is not None else (),
        rounds=[(choosing.table, *cells_as_text(choosing.table))] if choosing is not None else [],
        warnings=[(code.replace("-", " "), messages[:FIRST_MESSAGES], messages[FIRST_MESSAGES:]) for code, messages in groups],
        method=_method(laws),
        versions=sorted(laws.versions.items()),
        planner=planner,
        planner_cost=_first_price(planner),
        planner_data=_as_json(planner),
        charts_data=_as_json(charts),
        styles=Markup(_styles(environment, drawings, charts)),
        scripts=Markup("".join(_source(environment, name) for name in ("lookup.js", "charts.js", "planner.js"))),
        library=Markup(charting_library()),
    )


@cache
def charting_library() -> str:
    """Vega with its embedding function, from the dependency vl-convert-python: one script that needs no network."""
    bundle: str = javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script")


def _source(environment: Environment, name: str) -> str:
    loader = environment.loader
    assert loader is not None
    return loader.get_source(environment, name)[0]


def _styles(environment: Environment, drawings: Sequence[Drawing], charts: Mapping[str, Any]) -> str:
    """The style sheet, with a variable for each colour that a figure has."""
    text = json.dumps(charts) + "".join(drawing.svg for drawing in drawings if drawing.chart is None)
    light, dark = colours.rules(sorted({*colours.colours_in(text), *colours.OF_THE_PAGE}))
    sheet = _source(environment, "report.css")
    # in print as by light
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n{sheet}"


def _as_json(value: Any) -> Markup:
    """JSON as it may stand in a script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _first_price(planner: Mapping[str, Any] | None) -> str:
    """δ of the study, as the form begins with it."""
    costs = [unit["cost"] for unit in planner["units"] if unit["own"]] if planner is not None else []
    return f"{costs[0]:g}" if costs and costs[0] is not None else ""


def _inlined(drawing: Drawing) -> dict[str, object]:
    svg = drawing.svg[drawing.svg.index("<svg") :]
    # HTML knows these namespaces by itself
    svg = colours.with_variables(re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg, count=2))
    panels = len(drawing.chart["panels"]) if drawing.chart is not None else 0
    return {"name": drawing.name, "caption": drawing.caption, "svg": Markup(svg.strip()), "wide": drawing.wide, "panels": panels}


def _maths(text: str) -> Markup:
    """Text, escaped, with the symbols' subscripts and exponents set as such."""
    escaped = str(escape(text))
    escaped = re.sub(r"\b([DC])_(J|min)\b", r"\1<sub>\2</sub>", escaped)
    return Markup(re.sub(r"\^(−?(?:[\d.]+(?:e−?\d+)?|α))", r"<sup>\1</sup>", escaped))


def _formulas(laws: ScalingLaws) -> list[str]:
    found = [law.formula() for law in laws.data[-1:]] + [law.formula() for law in (laws.batch_size, laws.learning_rate) if law is not None]
    if laws.budget is not None and laws.budget.fitted:
        found.append(laws.budget.formula())
    return found


def _plan(plan: Plan) -> dict[str, object]:
    limits = {
        "data": f"At most {short(plan.limit)} env steps",
        "compute": f"At most {short(plan.limit)} {plan.unit_name}",
        "budget": f"A budget of {short(plan.limit)} {plan.unit_name}"
        + (f", an env step at {short(plan.data_cost)}" if plan.data_cost is not None else ""),
    }
    facts: list[tuple[str, str]] = []
    if plan.feasible:
        raw = f" (raw {plan.raw_threshold:.4g})" if plan.raw_threshold is not None else ""
        facts.append(("return J", "not predicted" if plan.threshold is None else f"{plan.threshold:.4g}{raw}"))
        if plan.model_size is not None:
            facts.append(("size", f"{plan.size}, N = {short(plan.model_size)}"))
        facts.append(("UTD σ", plan.ratio()))
        if plan.batch_size is not None:
            facts.append(("B", plan.run_with("batch_size") + _tolerated(plan.batch_size_tolerated)))
        if plan.learning_rate is not None:
            facts.append(("η", plan.run_with("learning_rate") + _tolerated(plan.learning_rate_tolerated)))
        facts += [
            (name, str(e))
            for name, e in (("D, env steps", plan.data), (f"C, {plan.compute_name}", plan.compute), (f"F, {plan.unit_name}", plan.budget))
            if e is not None
        ]
        if plan.chance is not None:
            facts.append(("chance to meet the limit", percent(plan.chance)))
    return {
        "title": limits[plan.problem] + (f" for {plan.task}" if plan.task is not None else ""),
        "feasible": plan.feasible,
        "opening": summary.as_sentence(plan.sentence()),
        "sentence": f"{plan.binding} {sure_in_words(plan)}".strip() if plan.feasible else "",
        "facts": facts,
        "notes": [summary.as_sentence(note) for note in plan.notes],
    }


def _tolerated(found: Tolerated | None) -> str:
    if found is None:
        return ""
    return f"; at most {MORE_DATA:.0%} more data from {short(found.low.value)} to {short(found.high.value)}"


def _method(laws: ScalingLaws) -> list[tuple[str, str]]:
    accountings = sorted({model.accounting for model in laws.compute.values()})
    unit = UNIT_NAMES[laws.unit]
    counting = {
        "paper": f"paper: C = {'σ·D' if laws.unit == 'gradient-steps' else '10·N·B·σ·D'}, the actor neglected",
        "counted": "counted: the updates really done, warm-up excluded",
        "measured": "measured: fitted to the seconds that the runs' updates took",
    }
    facts = [
        ("method", laws.method.title),
        ("intervals", "80 %, from bootstrap draws over seeds carried through the whole chain"),
        ("crossing", "first env step at which the isotonic fit of the mean over seeds reaches J"),
        ("compute", f"{unit}, {'; '.join(counting[name] for name in accountings)}" if accountings else "not known"),
        (
            "data cost δ",
            f"{short(laws.data_cost)} {unit} per env step, {laws.data_cost_source}" if laws.data_cost is not None else "not given",
        ),
    ]
    if laws.inputs:
        facts.append(("fingerprint of the curves", laws.inputs))
    return facts
