"""The page in real Chromium: its planner against the commands, its figures, and every way to look at it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdscale.analysis.between import law_at
from tdscale.planning import Plan, plan_budget, plan_compute, plan_data
from tdscale.planning.candidates import chances
from tdscale.planning.question import Question
from tdscale.report import write_report

pytestmark = pytest.mark.page

_CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
_WIDE, _PHONE = {"width": 1200, "height": 900}, {"width": 400, "height": 800}
_N_QUESTIONS = 100


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright, which drives the browser, is not installed")
    if _CHROMIUM is None:
        pytest.skip("there is no Chromium; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def written(studied, tmp_path_factory) -> Path:
    return write_report(
        tmp_path_factory.mktemp("study"),
        studied.laws,
        studied.measured,
        plans=studied.plans,
        validation=studied.validation,
        study_summary={"algorithm": "sac"},
        scales={"Runner": (-50.0, 950.0), "Swimmer": (0.0, 1000.0)},
    )


@dataclass(frozen=True)
class Opened:
    page: Any
    asked_for: list[str]
    errors: list[str]


@pytest.fixture
def opened(browser, written) -> Iterator[Any]:
    """Opens the report as asked for and waits for the planner and the figure "data", or for all figures."""
    contexts = []

    def open_page(viewport: dict[str, int] = _WIDE, scheme: str = "light", *, whole: bool = False) -> Opened:
        context = browser.new_context(viewport=viewport, color_scheme=scheme, accept_downloads=True)
        contexts.append(context)
        page, asked_for, errors = context.new_page(), [], []
        page.on("request", lambda request: asked_for.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.set_default_timeout(120_000)
        page.goto(written.as_uri())
        page.wait_for_selector("#planner[data-ready]")
        page.wait_for_function("window.planner.panel?.holder.dataset.drawn")
        page.evaluate("chart_data.get('data').draw()")
        drawn = f"[...document.querySelectorAll('{'.panel' if whole else '#figure-data .panel'}')].every((one) => one.dataset.drawn)"
        page.wait_for_function(drawn)
        return Opened(page, asked_for, errors)

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def questions(studied) -> list[tuple[dict[str, Any], Plan]]:
    """Random questions as the page takes them, each with the command's answer."""
    laws, rng, asked = studied.laws, np.random.default_rng(3), []
    names: list[str | None] = [None, *laws.tasks]
    for number in range(_N_QUESTIONS):
        place, sure = int(rng.integers(len(names))), float(np.round(rng.uniform(0.5, 0.95), 2))
        threshold = float(rng.integers(laws.data[0].threshold, laws.data[-1].threshold))
        law, task = law_at(laws, threshold), names[place]
        utd = np.exp(rng.uniform(*np.log(law.range), 1))
        data = law.predict(utd, task)
        compute = float(laws.compute_for(utd, data, task)[0])
        more, problem = float(rng.uniform(1.0, 1.6)), ("data", "compute", "budget")[number % 3]
        cost = float(laws.data_cost * (np.exp(rng.uniform(-1, 1)) if problem == "budget" else 1.0))
        if problem == "data":
            plan = plan_data(laws, limit := more * float(data[0]), threshold=threshold, task=task, sure=sure)
        elif problem == "compute":
            plan = plan_compute(laws, limit := more * compute, threshold=threshold, task=task, sure=sure)
        else:
            plan = plan_budget(laws, limit := compute + cost * float(data[0]), cost, task=task, sure=sure)
        question = {"task": place, "problem": problem, "unit": laws.unit, "limit": limit, "sure": sure, "threshold": threshold}
        asked.append((question | {"cost": cost, "size": None}, plan))
    return asked


_ANSWERS = """async (questions) => {
  const found = [];
  for (const question of questions) {
    await planner.lookup.prepare(question.task);
    const { options, neighbours, ...answer } = planner.lookup.plan(question);
    found.push(answer);
  }
  return found;
}"""


def test_the_planner_answers_as_the_commands_do(opened, questions, studied):
    answers = opened().page.evaluate(_ANSWERS, [question for question, _ in questions])
    compared = 0
    for (question, plan), answer in zip(questions, answers, strict=True):
        assert answer["feasible"] == plan.feasible, question
        if not plan.feasible or plan.threshold is None or answer["utd"] != pytest.approx(plan.utd):
            continue
        compared += 1
        assert answer["threshold"] == pytest.approx(plan.threshold, abs=1)
        assert answer["batch"] == plan.batch_size
        assert answer["learning_rate"][0] == pytest.approx(plan.learning_rate, rel=1e-3)
        assert answer["chance"] == pytest.approx(plan.chance, abs=0.03)
        for name in ("data", "compute", "budget"):
            estimate = getattr(plan, name)
            assert answer[name] == pytest.approx([estimate.value, estimate.low, estimate.high], rel=0.01), question
    feasible = [plan for _, plan in questions if plan.feasible and plan.threshold is not None]
    assert len(feasible) > _N_QUESTIONS / 2
    assert compared >= 0.95 * len(feasible)


def test_every_ratio_that_the_planner_names_lies_in_the_commands_range_and_meets_the_limit_as_surely(opened, questions, studied):
    answers = opened().page.evaluate(_ANSWERS, [question for question, _ in questions])
    for (asked, plan), answer in zip(questions, answers, strict=True):
        if not plan.feasible or plan.threshold is None:
            continue
        assert plan.utd_range.low * 0.999 <= answer["utd"] <= plan.utd_range.high * 1.001, asked
        law = law_at(studied.laws, answer["threshold"])
        task = [None, *studied.laws.tasks][asked["task"]]
        question = Question(studied.laws, law, task, asked["cost"], 16)
        needs = question.needs(np.array([answer["utd"]]), np.array([answer["batch"]]))
        side = needs[("data", "compute", "budget").index(asked["problem"])]
        assert chances(side, 1.001 * asked["limit"])[0] >= asked["sure"] - 0.03 or asked["sure"] <= 0.5, asked


def test_a_budget_beyond_every_return_is_called_so(opened, studied):
    top = studied.laws.budget.points[-1].budget.value
    question = {"task": 0, "problem": "budget", "unit": studied.laws.unit, "sure": 0.8, "threshold": 800, "cost": studied.laws.data_cost}
    low, high = opened().page.evaluate(_ANSWERS, [question | {"limit": 0.5 * top}, question | {"limit": 5 * top}])
    assert not low["beyond"]
    assert high["beyond"]
    assert high["threshold"] == 800


def test_the_page_draws_every_figure_offline_and_without_an_error(opened, written):
    found = opened(whole=True)
    assert {url.split(":")[0] for url in found.asked_for} <= {"file", "blob", "data"}
    assert found.asked_for[0] == written.as_uri()
    assert [url for url in found.asked_for if url.startswith("file:")] == [written.as_uri()]
    assert found.errors == []
    empty = found.page.evaluate("[...document.querySelectorAll('.panel')].filter((one) => !one.querySelector('svg path')).length")
    assert empty == 0
    assert found.page.locator("figure .panel").count() > 15
    assert written.stat().st_size < 6_000_000


def test_asking_for_less_data_raises_the_utd_ratio_and_the_answer_is_said_in_words(opened):
    page = opened().page
    limit, output = page.locator("[name=limit]"), page.locator("#planner output")
    limit.fill("1M")
    much, data = page.evaluate("[planner.answer.utd, planner.answer.data[0]]")
    limit.fill(f"{0.8 * data:.0f}")
    assert page.evaluate("planner.answer.utd") > much
    assert page.evaluate("planner.answer.data[0]") < 0.8 * data
    assert "env steps (80 % interval" in output.inner_text()
    limit.fill("10")
    assert "No UTD ratio meets 10 env steps with a chance of 80 %" in output.inner_text()
    limit.fill("as much as it takes")
    assert "is not a limit" in output.inner_text()
    assert limit.get_attribute("aria-invalid") == "true"


def test_the_raw_return_stands_beside_the_normalised_one(opened):
    page = opened().page
    page.locator("[name=task]").select_option(label="Runner")
    page.wait_for_function("planner.asked.task === 1")
    # 800 of 1000 on a scale from -50 to 950
    assert "800 (raw 750)" in page.locator(".threshold-value").inner_text()


def test_the_answer_is_copied_as_a_command_as_settings_and_as_json(opened, studied):
    page = opened().page
    text = page.locator(".copied-text")
    assert text.inner_text().startswith("tdscale plan synthetic --data ")
    page.get_by_role("button", name="JSON").click()
    answer = json.loads(text.inner_text())
    plan = plan_data(studied.laws, answer["question"]["limit"], threshold=answer["question"]["threshold"], sure=answer["question"]["sure"])
    assert (answer["utd"], answer["batch_size"]) == (plan.utd, plan.batch_size)
    assert answer["data"]["value"] == pytest.approx(plan.data.value, rel=1e-4)
    for name, library in (("Stable-Baselines3", "stable_baselines3"), ("SBX", "sbx")):
        page.get_by_role("button", name=name).click()
        settings = text.inner_text()
        assert f"from {library} import SAC" in settings
        updates, steps = (int(settings.split(f"{key}=")[1].split(",")[0].split(")")[0]) for key in ("gradient_steps", "train_freq"))
        assert updates / steps == pytest.approx(plan.utd)
    page.get_by_role("button", name="CleanRL").click()
    assert f"--batch-size {plan.batch_size}" in text.inner_text()


def test_a_figure_tells_values_and_intervals_to_the_keyboard(opened):
    page = opened().page
    panel = page.locator("#figure-data .panel")
    panel.focus()
    page.keyboard.press("ArrowRight")
    assert "80 % interval" in page.locator("#figure-data .unseen").inner_text()
    assert panel.locator(".tip").is_visible()
    page.keyboard.press("Escape")
    assert not panel.locator(".tip").is_visible()


def test_a_figure_tells_values_and_intervals_to_the_mouse(opened):
    page = opened().page
    panel = page.locator("#figure-data .panel")
    panel.scroll_into_view_if_needed()
    place = page.evaluate("chart_data.get('data').panels[0].located().find((one) => one.text.join().includes('interval'))")
    panel.hover(position={"x": place["left"], "y": place["top"]})
    assert "80 % interval" in panel.locator(".tip").inner_text()


def test_tasks_and_thresholds_are_switched_by_key(opened):
    page = opened().page
    count = "document.querySelectorAll('#figure-data .panel svg .mark-symbol path').length"
    before = page.evaluate(count)
    for name in ("J = 800", "Runner"):
        button = page.locator("#figure-data").get_by_role("button", name=name)
        button.focus()
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "false"
        page.wait_for_function(f"{count} < {before}")
        after = page.evaluate(count)
        page.keyboard.press("Enter")
        page.wait_for_function(f"{count} === {before}")
        assert 0 < after < before


def test_an_axis_is_drawn_linearly_where_that_is_asked_for(opened):
    page = opened().page
    page.locator("#figure-data select").nth(1).select_option("linear")
    page.wait_for_function("chart_data.get('data').panels[0].view.scale('y').type === 'linear'")
    assert page.evaluate("chart_data.get('data').panels[0].view.scale('x').type") == "log"


def test_a_figure_is_saved_as_svg_png_and_csv(opened):
    page = opened().page
    found = {}
    for name in ("SVG", "PNG", "CSV"):
        with page.expect_download() as waiting:
            page.locator("#figure-data").get_by_role("button", name=f"Download {name}").click()
        found[name] = Path(waiting.value.path()).read_bytes()
        assert waiting.value.suggested_filename == f"data.{name.lower()}"
    assert b"<svg" in found["SVG"]
    assert b"var(" not in found["SVG"]
    assert found["PNG"].startswith(b"\x89PNG")
    header, *rows = found["CSV"].decode().splitlines()
    assert header == "panel,series,kind,x,y,low,high,x axis,y axis"
    assert any("J = 800" in row and ",points," in row for row in rows)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_enough(opened, scheme):
    assert opened(scheme=scheme, whole=True).page.evaluate(_PALE) == []


# texts whose contrast with the nearest opaque ground is below 4.5
_PALE = """() => {
  const read = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([red, green, blue]) => [red, green, blue].map((one) => one / 255)
    .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const found = read(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const pale = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("script, style, noscript")) continue;
    const style = getComputedStyle(node), ink = read(node.closest("svg") ? style.fill : style.color);
    const [one, other] = [light(ink), light(ground(node))].sort((a, b) => b - a);
    if ((one + 0.05) / (other + 0.05) < 4.5) pale.add(`${node.tagName} ${node.textContent.trim().slice(0, 40)}`);
  }
  return [...pale];
}"""


def test_figures_are_dark_in_the_dark(opened):
    page = opened(scheme="dark", whole=True).page
    grounds = page.evaluate("[...document.querySelectorAll('figure')].map((one) => getComputedStyle(one).backgroundColor)")
    assert all(sum(map(int, text[4:-1].split(","))) < 3 * 60 for text in grounds)
    # a figure that is shown as it was drawn has the page's ground, too
    patch = page.evaluate("getComputedStyle(document.querySelector('.scroll svg path')).fill")
    assert sum(map(int, patch[4:-1].split(","))) < 3 * 60


def test_on_a_phone_nothing_is_wider_than_the_screen_but_what_scrolls_by_itself(opened):
    page = opened(_PHONE, whole=True).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.evaluate("[...document.querySelectorAll('.panel svg')].every((one) => one.getBoundingClientRect().right <= 400)")
    wide = """[...document.querySelectorAll('.scroll, .table')].filter((one) => one.scrollWidth > one.clientWidth)
      .every((one) => one.tabIndex === 0 && getComputedStyle(one).overflowX === 'auto')"""
    assert page.evaluate(wide)


def test_two_panels_stand_one_below_the_other_on_a_phone(opened):
    page = opened(_PHONE, whole=True).page
    panels = page.locator("#figure-hyperparameters .panel")
    first, second = (panels.nth(place).bounding_box() for place in range(2))
    assert first["y"] + first["height"] <= second["y"]


def test_print_shows_what_is_folded_and_by_light(opened):
    page = opened(scheme="dark", whole=True).page
    page.emulate_media(media="print", color_scheme="dark")
    hidden = "[...document.querySelectorAll('details table')].filter((one) => one.getBoundingClientRect().height < 20).length"
    assert page.evaluate("document.querySelectorAll('details table').length") > 5
    assert page.evaluate(hidden) == 0
    assert page.evaluate("getComputedStyle(document.querySelector('figure')).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('.panel svg text')).fill") == "rgb(0, 0, 0)"
    assert page.pdf(format="A4").count(b"/Type /Page\n") <= 20


def test_each_control_and_figure_has_a_name_and_headings_go_down_by_one(opened):
    page = opened(whole=True).page
    nameless = """[...document.querySelectorAll('input, select, button, [tabindex]')].filter((one) =>
      !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
      .map((one) => one.outerHTML.slice(0, 80))"""
    assert page.evaluate(nameless) == []
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    assert page.evaluate("[...document.querySelectorAll('.panel, .scroll')].every((one) => one.ariaLabel && one.getAttribute('role'))")
