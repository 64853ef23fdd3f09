"""The picture of the memory in use: with no model, as conversations are held, and as they leave; its figures are those of the memory."""

import re
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.test_page import FITS, ready, settle, violations

LISTEN = """
window.calls = [];
window.Worker = class extends Worker {
  constructor(...given) {
    super(...given);
    window.engine = this;
  }
  postMessage(message, ...rest) {
    calls.push(message.method);
    super.postMessage(message, ...rest);
  }
};
"""
ASK = """() => new Promise((resolve, reject) => {
  const hear = ({ data }) => {
    if (data.id !== -7 || data.event) return;
    engine.removeEventListener("message", hear);
    data.error ? reject(new Error(data.error.message)) : resolve(data.result);
  };
  engine.addEventListener("message", hear);
  engine.postMessage({ id: -7, method: "in_use", params: {} });
})"""
GO_ON = """([session, text]) => engine.postMessage(
  { id: -8, method: "ask", params: { text, session, settings: { use_model: true, max_tokens: 40 } } })"""
QUESTIONS = (
    "When does the lease of the workshop end?",
    "What is Jonas allergic to?",
    "Which paint was used for the boat?",
    "Who repairs the clock?",
)


def begin(page: Page, samples: bool = True) -> Locator:
    page.add_init_script(LISTEN)
    page.goto("/")
    ready(page)
    if samples:
        page.get_by_role("button", name=re.compile("sample", re.IGNORECASE)).first.click()
        expect(page.locator("#dock")).to_contain_text("remembered")
    return page.locator("#view-memory")


def load_built_in(page: Page) -> None:
    page.get_by_role("link", name="Language model").first.click()
    page.locator("#view-models").get_by_role("button", name="Load PyRuvLLM").click()
    expect(page.locator("#view-models .model-cards")).to_contain_text("Measured here")


def converse(page: Page, question: str) -> None:
    page.get_by_role("button", name="New conversation").click()
    page.get_by_label("Question", exact=True).fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()
    expect(page.locator(".answer").last).to_contain_text(re.compile("Written by|Quoted"))


def show(page: Page) -> None:
    page.get_by_role("link", name="Memory in use").first.click()


def in_use(page: Page) -> dict[str, Any]:
    """What the memory itself says, asked behind the page's back."""
    return page.evaluate(ASK)


def written(value: float) -> str:
    """As the page writes bytes."""
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{round(value) if value >= 100 or unit == 'B' else f'{value:.1f}'} {unit}"
        value /= 1000
    raise AssertionError(value)


def test_without_a_model_it_says_what_will_appear_and_the_budget(page: Page):
    view = begin(page, samples=False)
    show(page)
    expect(view.get_by_role("heading", name="Memory in use", level=2)).to_be_visible()
    told = in_use(page)
    assert not told.get("pool") and not told.get("caches")
    expect(view).to_contain_text("No language model is loaded")
    expect(view.locator(".big-figure")).to_have_text(f"{written(told['used'])} in use, up to {written(told['budget'])} for conversations")
    expect(view.get_by_role("row", name=re.compile("Vector index"))).to_contain_text(written(told["kinds"]["index"]))
    expect(view.get_by_role("heading", name="Conversations")).to_be_hidden()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        settle(page)
        assert violations(page) == []
    page.keyboard.press("k")
    expect(view).to_be_hidden()
    page.keyboard.press("u")
    expect(view).to_be_visible()
    view.get_by_role("link", name="Load a model").click()
    expect(page.locator("#view-models")).to_be_visible()


def test_its_figures_are_those_of_the_memory(page: Page):
    view = begin(page)
    load_built_in(page)
    for question in QUESTIONS[:2]:
        converse(page, question)
    show(page)
    told = in_use(page)
    live = told["caches"]["live"]
    assert len(live) == 2 and all(each["tokens"] for each in live)
    expect(view.locator(".budget-card .big-figure")).to_have_text(f"{written(told['used'])} of {written(told['budget'])}")
    pages, kinds = told["caches"]["pages"], told["kinds"]
    rows = {
        "Newest tokens": pages["exact"],
        "Older tokens": pages["old"],
        "State of the model": kinds["kv"] - pages["exact"] - pages["old"],
        "Vector index": kinds["index"],
        "Kept embeddings": kinds["embedding"],
        "Free": told["budget"] - told["used"],
    }
    for name, size in rows.items():
        expect(view.get_by_role("row", name=re.compile(f"^{name}")).locator("td").first).to_have_text(written(size))
    bar = view.locator(".budget-bar")
    said = f"{written(told['used'])} of {written(told['budget'])} in use: Newest tokens {written(pages['exact'])}, "
    expect(bar).to_have_attribute("aria-label", re.compile(re.escape(said)))
    drawn = bar.locator(".fill.index").evaluate("(rect) => rect.width.baseVal.value")
    assert abs(drawn - max(1000 * kinds["index"] / told["budget"], 3)) < 1

    table = view.get_by_role("table", name="Conversations and what of them is held where")
    for number, each in enumerate(live, 1):
        row = table.get_by_role("row").nth(number)
        expect(row.get_by_role("link")).to_have_attribute("href", f"#/c/{each['session']}")
        cells = [cell.inner_text() for cell in row.get_by_role("cell").all()]
        assert cells[0].startswith("Hot") and cells[1].startswith(f"{each['exact_tokens']}"), cells
        assert written(each["exact_bytes"]) in cells[1] and cells[3].startswith(written(each["bytes"])), cells
        assert row.locator(".page-strip rect").count() == each["exact_pages"] + each["old_pages"]
    expect(view.locator(".tier.hot")).to_contain_text("2 conversations")
    expect(view.locator(".tier.gone")).to_contain_text("Continued from here: 2 times")
    assert set(told["pool"]["counts"].values()) == {0}
    expect(view).to_contain_text("Nothing so far.")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        settle(page)
        assert violations(page) == []

    # a conversation goes on while it is looked at: the picture follows by itself
    row = table.get_by_role("row").nth(1)
    before = row.get_by_role("cell").nth(1).inner_text()
    page.evaluate(GO_ON, [live[0]["session"], QUESTIONS[2]])
    expect(row.get_by_role("cell").nth(1)).not_to_have_text(before)

    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(FITS)
    settle(page)
    assert violations(page) == []

    page.set_viewport_size({"width": 1280, "height": 800})

    # what nobody sees asks nothing of the worker
    page.keyboard.press("l")
    expect(view).to_be_hidden()
    page.evaluate("calls.length = 0")
    converse(page, QUESTIONS[3])
    assert "in_use" not in page.evaluate("calls")
    show(page)
    expect(view.locator(".tier.hot")).to_contain_text("3 conversations")


def smaller(route: Route) -> None:
    """The same worker, whose memory has room for one whole conversation and not a byte more."""
    response = route.fetch()
    opening = "llm = await pyruvllm.open(database, "
    small = "from pyruvllm.cache import beside, budget; beside.LEAST = budget.LEAST = 0"
    config = "config=pyruvllm.config.Config(cache=pyruvllm.config.CacheConfig(budget=1))"
    text = response.text()
    assert text.count(opening) == 1
    route.fulfill(response=response, body=text.replace(opening, f"{small}; {opening}{config}, "))


def test_what_leaves_is_shown(page: Page):
    page.route(re.compile(r"/worker\.js$"), smaller)
    view = begin(page)
    load_built_in(page)
    for question in (*QUESTIONS, *QUESTIONS):
        converse(page, question)
        if in_use(page)["pool"]["counts"]["evicted"]:
            break
    show(page)
    told = in_use(page)
    assert told["used"] <= told["budget"] and told["pool"]["peak"] <= told["budget"]
    events = told["pool"]["evictions"]
    gone = next(each for each in events if each["step"] == "evicted" and each["kind"] == "kv")
    assert gone["saved"] and gone["reason"] == "room" and gone["name"] in {each["session"] for each in told["caches"]["cold"]}

    listed = view.get_by_role("table", name="What left, the newest first")
    rows = listed.get_by_role("row")
    expect(rows).to_have_count(1 + len(events))
    for number, each in enumerate(reversed(events), 1):
        expect(rows.nth(number)).to_contain_text(written(each["bytes"]))
    saved = listed.get_by_role("row", name=re.compile("saved: now cold"))
    expect(saved.first).to_contain_text("something new needed room")
    expect(saved.first).to_contain_text(re.compile("|".join(re.escape(question[:20]) for question in QUESTIONS)))
    expect(view.locator(".tier.cold")).to_contain_text(written(told["caches"]["cold_bytes"]))
    cold = view.locator(f".in-use-table a[href='#/c/{gone['name']}']")
    expect(cold).to_have_count(1)
    settle(page)
    assert violations(page) == []
    cold.click()
    page.get_by_label("Question", exact=True).fill("And who else?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator(".answer").last).to_contain_text(re.compile("Written by|Quoted"))
    assert in_use(page)["caches"]["hits"]["cold"] >= 1
