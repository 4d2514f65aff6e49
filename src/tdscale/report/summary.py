"""The report's answers in plain sentences, each number with its interval."""

from collections.abc import Sequence

import numpy as np

from tdscale.analysis.compute import UNIT_NAMES
from tdscale.analysis.estimate import short
from tdscale.analysis.fitted_laws import MORE_DATA, DataLaw, PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning import Confirmation
from tdscale.report.style import plain_utd
from tdscale.validation import HeldOut, HeldOutSize, Validation

# a law that misses by less than this factor, and whose intervals hold so much, has proved itself
GOOD_FACTOR = 1.25
GOOD_COVERAGE = 0.6
_CONFIRMED = 3  # plans that were run, the last so many


def opening(laws: ScalingLaws) -> str:
    """What was studied, in a sentence."""
    names = ", ".join(laws.tasks)
    tasks = f"{len(laws.tasks)} tasks ({names})" if len(laws.tasks) != 1 else f"the task {names}"
    utds = sorted({float(u) for law in laws.data for u in law.utd})
    over = f", at σ from {plain_utd(utds[0])} to {plain_utd(utds[-1])}" if utds else ""
    goals = f"return {laws.thresholds[0]:.4g}" + (f" to {laws.thresholds[-1]:.4g}" if len(laws.thresholds) > 1 else "")
    return f"{laws.study}: {tasks}{over}; how much data and compute training takes to reach {goals} (normalised, 0 to 1000)."


def headlines(laws: ScalingLaws) -> list[str]:
    """The answers."""
    sentences = _data_sentences(laws)
    for law in (laws.batch_size, laws.learning_rate):
        if law is not None:
            sentences.append(_power_sentence(law))
    if laws.budget is not None and laws.budget.fitted:
        exponent = laws.budget.exponent_estimate
        way = (
            "the sign is open"
            if exponent.holds_zero
            else "a larger budget goes with more updates per step"
            if exponent.value > 0
            else "a larger budget goes with fewer updates per step"
        )
        price = f"δ = {short(laws.budget.data_cost)} {UNIT_NAMES[laws.unit]} per env step"
        sentences.append(f"The cheapest σ goes as F to the power {exponent}: {way} (F = C + δ·D, {price}).")
    return sentences


def _data_sentences(laws: ScalingLaws) -> list[str]:
    if not laws.data:
        return ["No data law could be fitted, so nothing is predicted here; the warnings say why."]
    law: DataLaw = laws.data[-1]
    low, high = law.range
    sentences = [
        f"To reach return {law.threshold:.4g} takes {law.estimate(low)} env steps at σ = {plain_utd(low)} "
        f"and {law.estimate(high)} at σ = {plain_utd(high)}" + (" (geometric mean over tasks)." if len(laws.tasks) > 1 else ".")
    ]
    where = f"J = {law.threshold:.4g}"
    codes = {w.code for w in laws.warnings if w.where == where}
    if "d-min-not-identified" in codes or not law.identified:
        sentences.append(
            "The data it takes still falls at the largest σ; the least that would do however large σ is (D_min) "
            "can't be told from these runs."
        )
    elif "constant" in codes:
        sentences.append("The data it takes does not fall with σ: more updates per step do not help here.")
    else:
        sentences.append(
            f"However large σ is, the law says it takes at least D_min = {law.d_min()} env steps; "
            f"it falls towards that with exponent α = {law.alpha()}."
        )
    return sentences


def _power_sentence(law: PowerLaw) -> str:
    name = "batch size" if law.quantity == "batch_size" else "learning rate"
    if law.source == "as-run":
        return (
            f"The runs used a {name} that goes as σ to the power {short(law.exponent)}; it is not optimised: there was no sweep to "
            "tell which is best."
        )
    if not law.identified:
        settled = "the interval holds 0, so whether it falls or rises with σ is not identified"
        return f"The best {name} goes as σ to the power {law.exponent_estimate}: {settled}.{_leeway(law)}"
    way = "falls" if law.exponent < 0 else "rises"
    least = "" if law.offset is None else f", beyond a least value of {short(law.offset.ratio)} times that power’s coefficient"
    return f"The best {name} {way} with σ, as σ to the power {law.exponent_estimate}{least}.{_leeway(law)}"


def _leeway(law: PowerLaw) -> str:
    if law.leeway is None:
        return ""
    below, above = law.leeway.factors()
    return f" From {below} to {above} times the best value it costs at most {MORE_DATA:.0%} more data."


def verdict(validation: Validation) -> tuple[str, list[str]]:
    """Whether to trust the extrapolation: "good", "mixed" or "unknown", and the sentences behind it."""
    checked: list[HeldOut | HeldOutSize] = [*validation.held_out, *(held for held in validation.sizes if held.place == "end")]
    checked = [held for held in checked if np.isfinite(held.errors.get("law", float("nan")))]
    if not checked:
        return "unknown", [
            "The extrapolation has not been checked: " + ("; ".join(validation.skipped) or "there was nothing to check it on") + "."
        ]
    state = "good" if _best(checked) and all(_good(held) for held in checked) else "mixed"
    first = (
        "Within the range checked, the law predicted runs it had not seen."
        if state == "good"
        else f"Trust the law between the {'σ and N' if validation.sizes else 'σ'} that were run; beyond them take its numbers with care."
    )
    sentences = [first, *(_held_sentence(held) for held in checked)]
    overall = validation.best_sentence()
    if overall is not None and len(checked) > 1:
        sentences.append(as_sentence(overall))
    budget = validation.budget
    if budget is not None:
        better = "better than" if budget.error < budget.constant_error else "no better than"
        sentences.append(
            f"For budgets up to {budget.factor:.2g} times those fitted, σ*(F) missed the cheapest σ "
            f"by a factor of {np.exp(budget.error):.3g}, {better} keeping the last σ* ({np.exp(budget.constant_error):.3g})."
        )
    return state, sentences


def _best(checked: Sequence[HeldOut | HeldOutSize]) -> bool:
    """Whether no simpler predictor does better than the law on average; 0.02 is no difference."""
    means = {name: np.mean([held.errors[name] for held in checked]) for name in checked[0].errors}
    return bool(min((mean for mean in means.values() if np.isfinite(mean)), default=np.inf) >= means["law"] - 0.02)


def _good(held: HeldOut | HeldOutSize) -> bool:
    return bool(np.exp(held.errors["law"]) <= GOOD_FACTOR and held.covered >= GOOD_COVERAGE * held.compared)


_RIVALS = {
    "power law": "a pure power law",
    "nearest σ": "taking the nearest σ's value",
    "constant": "a constant",
    "sum": "the sum form alone",
    "product": "the product form alone",
    "nearest": "taking the nearest point's value",
}


def _held_sentence(held: HeldOut | HeldOutSize) -> str:
    finite = {name: error for name, error in held.errors.items() if np.isfinite(error) and name != "law"}
    rival = min(finite, key=lambda name: finite[name]) if finite else None
    left_out = f"σ = {', '.join(plain_utd(u) for u in held.utd)}" if isinstance(held, HeldOut) else f"the {held.name}"
    missed = f"the law missed D by a factor of {np.exp(held.errors['law']):.3g}"
    text = f"With {left_out} left out, {held.factor:.2g} times beyond the rest, {missed}"
    if rival is not None:
        text += f" ({_RIVALS.get(rival, rival)}, the best of the simpler ways, by {np.exp(finite[rival]):.3g})"
    return text + f"; {held.covered} of {held.compared} measured values lie in its 80 % interval."


def confirmed_sentences(confirmations: Sequence[Confirmation]) -> list[str]:
    """What became of the plans that were run, a sentence each."""
    return [_confirmed(one) for one in confirmations[-_CONFIRMED:]]


def _confirmed(one: Confirmation) -> str:
    data = one.compared[0]
    what = f"σ = {short(one.utd)}, J = {one.threshold:.4g}, {one.seeds} fresh seeds"
    plan = f"A plan was run ({what}): it predicted {data.predicted} env steps,"
    if data.seen is None:
        return plan + f" and J was not reached by {one.last_step}."
    return plan + f" and {data.seen} were measured, {'inside' if data.inside else 'outside'} its interval."


def grouped_warnings(laws: ScalingLaws) -> list[tuple[str, list[str]]]:
    """Warnings by code, each message once with how often it came, in order of appearance."""
    groups: dict[str, dict[str, int]] = {}
    for warning in laws.warnings:
        messages = groups.setdefault(warning.code, {})
        messages[warning.message] = messages.get(warning.message, 0) + 1
    return [
        (code, [text + (f" ({count} times)" if count > 1 else "") for text, count in messages.items()]) for code, messages in groups.items()
    ]


def skipped_sentences(validation: Validation) -> Sequence[str]:
    """What was not checked, and why."""
    return [as_sentence(text) for text in validation.skipped]


def as_sentence(text: str) -> str:
    """With a capital and a full stop; a symbol such as σ stays as it is."""
    start = text[:1].upper() if text[:1].isascii() else text[:1]
    return start + text[1:] + ("" if text.endswith(".") else ".")
