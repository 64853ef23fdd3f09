"""Language models on the page: a file loaded, an answer streamed with sources, stopped, kept, unloaded; downloads, and what they meet."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from pyruvllm.models.adapter import Lora, write_adapter
from tests.e2e.conftest import Console
from tests.e2e.test_page import ready, remember, settle, violations
from tests.generators.fileserver import FileServer, certified
from tests.generators.scripted import CONTROL, scripted_model

LEASE = "Signed the new lease for Quay Street 14. It runs for three years and ends on 31 January 2029."
LONG = [f" w{number:02}x" for number in range(40)]
SCRIPT = ["The lease", " ends on 31", " January 2029", " [", "1, 9].", " It can be", " renewed once."]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "parrot.gguf").write_bytes(scripted_model(SCRIPT))
    (folder / "echo.gguf").write_bytes(scripted_model(SCRIPT, name="echo"))
    (folder / "endless.gguf").write_bytes(scripted_model(["again and", " on and on "], loop=True, name="endless", layers=24))
    (folder / "broken.gguf").write_bytes(b"PK\3\4 is no model")
    (folder / "large.gguf").write_bytes(scripted_model(LONG, name="large", layers=6))
    (folder / "small.gguf").write_bytes(scripted_model(LONG, name="small"))
    (folder / "insistent.gguf").write_bytes(insisting(LONG))
    (folder / "foreign.gguf").write_bytes(insisting(SCRIPT + LONG))
    return folder


def insisting(script: list[str]) -> bytes:
    """An adapter for a scripted model, whose layers add nothing: with it the first pulls every token towards the first of the script, and
    the second follows.
    """
    vocabulary = 256 + len(CONTROL) + len(script)
    hidden = -(-vocabulary // 16) * 16
    towards = np.zeros((hidden, 1), np.float32)
    towards[256 + len(CONTROL)] = 8
    into = np.ones((1, hidden), np.float32), np.full((32, 1), 8, np.float32)
    parts = {"blk.0.ffn_up": into, "blk.0.ffn_gate": into, "blk.0.ffn_down": (np.ones((1, 32), np.float32), towards)}
    return write_adapter(Lora(0.0, parts, "llama"))


def choose(page: Page, button: str, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("#view-models").get_by_role("button", name=button).click()
    chooser.value.set_files(file)


def load(page: Page, file: Path, keep: bool = False) -> None:
    page.get_by_role("link", name="Language model").first.click()
    view = page.locator("#view-models")
    view.get_by_label("Keep a copy in this browser").set_checked(keep)
    with page.expect_file_chooser() as chooser:
        view.get_by_role("button", name="Open a model file").click()
    chooser.value.set_files(file)


def ask(page: Page, question: str) -> None:
    page.get_by_label("Question", exact=True).fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()


def test_a_model_is_loaded_answers_is_stopped_and_unloaded(page: Page, files: Path):
    page.goto("/")
    ready(page)
    remember(page, LEASE, "Lease")
    expect(page.locator("#composer-note")).to_contain_text("No language model is loaded")
    load(page, files / "parrot.gguf", keep=True)
    view = page.locator("#view-models")
    expect(view.locator(".model-cards")).to_contain_text("parrot")
    expect(view.locator(".model-list").first).to_contain_text("parrot.gguf")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("#composer-note")).to_contain_text("parrot writes the answers")

    ask(page, "When does the lease end?")
    answer = page.locator(".answer").last
    expect(answer).to_contain_text("Written by parrot")
    expect(answer.locator(".prose")).to_contain_text("The lease ends on 31 January 2029 1. It can be renewed once.")
    expect(answer.locator(".chip", has_text="Lease")).to_be_visible()
    answer.locator(".made-summary").click()
    expect(answer.locator(".made-notes")).to_contain_text("named sources that there are not: [9]")
    expect(answer.locator(".made-body")).to_contain_text("First word after")

    load(page, files / "endless.gguf")
    expect(view.locator(".model-cards")).to_contain_text("endless")
    page.go_back()
    ask(page, "And what goes on?")
    stopped = page.locator(".answer").last
    expect(stopped.locator(".prose")).to_contain_text("again and on and on again")
    page.get_by_role("button", name="Stop").click()
    expect(stopped).to_contain_text("Written by endless")
    stopped.locator(".made-summary").click()
    expect(stopped.locator(".made-notes")).to_contain_text("It was stopped before it was finished.")
    said = stopped.locator(".prose").text_content()

    page.reload()
    ready(page)
    expect(page.locator(".answer").last.locator(".prose")).to_have_text(said)
    page.get_by_role("link", name="Language model").first.click()
    expect(view.locator(".model-cards")).to_contain_text("No language model")  # a file that was not kept is not there after a reload
    view.get_by_role("button", name="Load parrot.gguf").click()
    expect(view.locator(".model-cards")).to_contain_text("Measured here")
    view.get_by_label("Keep a copy in this browser").check()
    choose(page, "Open a draft file", files / "echo.gguf")
    expect(view.locator(".model-cards")).to_contain_text("echo, ")
    page.reload()
    expect(view.locator(".model-cards")).to_contain_text("Measured here")  # those that are kept are loaded again
    expect(view.locator(".model-cards")).to_contain_text("echo, ")
    expect(view.locator(".model-row", has_text="echo.gguf")).to_contain_text("Draft")
    view.get_by_role("button", name="Unload", exact=True).click()
    expect(page.locator("#dock")).to_contain_text("parrot is unloaded")
    for name in ("parrot.gguf", "echo.gguf"):
        view.get_by_role("button", name=f"Delete {name}").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(view).to_contain_text("No model file is kept here yet.")
    page.get_by_role("link", name="Witness log").click()
    expect(page.locator("#view-log")).to_contain_text("endless")


def test_a_draft_guesses_and_a_conversation_has_an_adapter(page: Page, files: Path):
    page.goto("/#/models")
    ready(page)
    view, alert = page.locator("#view-models"), page.locator("#view-models").get_by_role("alert")
    guessing = view.locator(".model-cards .card", has_text="Guessing ahead")
    load(page, files / "large.gguf")
    expect(guessing).to_contain_text("Words are guessed from the text itself.")
    choose(page, "Open a draft file", files / "parrot.gguf")
    expect(alert).to_contain_text("cannot guess for large: it has 266 tokens and large 299. A smaller model of the same family")
    view.get_by_role("button", name="Dismiss").click()
    choose(page, "Open a draft file", files / "small.gguf")
    expect(guessing).to_contain_text(re.compile(r"small, \d.*not yet known"))
    choose(page, "Add an adapter file", files / "foreign.gguf")
    expect(alert).to_contain_text("The adapter was made for another model")
    view.get_by_role("button", name="Dismiss").click()
    choose(page, "Add an adapter file", files / "insistent.gguf")
    expect(view).to_contain_text("Fits large")
    view.locator(".model-settings summary").click()
    view.get_by_label("Longest answer").fill("30")

    choice, answer = page.locator(".adapter-choice select"), page.locator(".answer").last
    page.get_by_role("button", name="New conversation").click()
    ask(page, "w00x?")
    expect(answer).to_contain_text("Written by large")
    expect(answer.locator(".prose")).to_contain_text("w00x w01x w02x")
    answer.locator(".made-summary").click()
    expect(answer.locator(".made-body")).to_contain_text(re.compile(r"Guessed ahead: .*small: \d+ of \d+ guesses were right"))
    choice.select_option("insistent")
    ask(page, "w00x?")
    expect(page.locator(".answer")).to_have_count(2)
    expect(answer).to_contain_text("Written by large")
    expect(answer.locator(".prose")).to_contain_text("w01x w01x w01x")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        settle(page)
        assert violations(page) == []

    page.get_by_role("link", name="Language model").first.click()
    expect(guessing).to_contain_text(re.compile(r"Guesses right\s*\d+ of \d+"))
    guessing.get_by_role("button", name="Unload draft").click()
    expect(guessing).to_contain_text("Words are guessed from the text itself.")
    page.get_by_role("button", name="New conversation").click()
    expect(choice).to_have_value("")
    choice.select_option("insistent")
    ask(page, "w00x?")
    expect(answer.locator(".prose")).to_contain_text("w01x w01x w01x")
    page.get_by_role("link", name="Language model").first.click()
    view.get_by_role("button", name="Remove insistent").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    page.go_back()
    expect(choice).to_contain_text("insistent (not there)")


def test_what_is_no_model_is_refused_and_the_panel_can_be_read(page: Page, files: Path):
    page.goto("/#/models")
    ready(page)
    view = page.locator("#view-models")
    expect(view).to_contain_text("LFM2 350M")
    expect(view.get_by_role("button", name="Download LFM2 350M")).to_be_enabled()
    load(page, files / "broken.gguf")
    expect(view.get_by_role("alert")).to_contain_text("Magic is b'PK")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        settle(page)
        assert violations(page) == []
    page.context.set_offline(True)
    expect(view).to_contain_text("This device is offline")
    expect(view.get_by_role("button", name="Download LFM2 350M")).to_be_disabled()


def test_a_download_is_paused_goes_on_and_is_checked(new_context, console: Console, tmp_path: Path):
    """From the address that the catalogue names, which this browser finds at a server of the test's own."""
    console.allow("net::|Failed to load|CORS|Content Security Policy|violates")
    data, path = scripted_model(SCRIPT, layers=8), "LiquidAI/LFM2-350M-GGUF/resolve/main/LFM2-350M-Q4_0.gguf"
    with FileServer(certified("huggingface.co", tmp_path)) as server:
        server.put(path, data, pause=0.05, cors="*")
        found = f"--host-resolver-rules=MAP huggingface.co 127.0.0.1:{server.server_port}"
        page = new_context(args=(found, "--ignore-certificate-errors")).pages[0]
        page.goto("/#/models")
        ready(page)
        view = page.locator("#view-models")
        view.get_by_role("button", name="Download LFM2 350M").click()
        expect(view.locator(".job-figure")).to_contain_text(" of ")
        view.get_by_role("button", name="Pause").click()
        expect(page.locator("#dock")).to_contain_text("Paused. What came is kept")
        expect(view.locator(".model-list").first).to_contain_text("Not all here")
        server.files[path].pause = 0
        view.get_by_role("button", name="Resume downloading LFM2-350M-Q4_0.gguf").click()
        expect(view.locator(".model-cards")).to_contain_text("parrot")
        assert re.fullmatch(r"bytes=[1-9]\d+-", server.files[path].asked[-1]["range"])

        view.get_by_role("button", name="Delete LFM2-350M-Q4_0.gguf").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
        expect(view.locator(".model-cards")).to_contain_text("No language model")
        alert = view.get_by_role("alert")
        for behaviour, said in (
            ({"data": data + b"more", "cors": "*"}, "the one that came first from there; it was thrown away"),
            ({"data": data}, "does not let other sites’ pages read its files (CORS)"),
            ({"data": data, "cors": "*", "status": 404}, "answered 404"),
        ):
            server.put(path, **behaviour)
            view.get_by_role("button", name="Download LFM2 350M").click()
            expect(alert).to_contain_text(said.replace("’", "'"))
            view.get_by_role("button", name="Dismiss").click()
        view.get_by_label("Address of a GGUF file").fill("https://example.com/model.gguf")
        view.get_by_role("button", name="Download", exact=True).click()
        expect(alert).to_contain_text("content policy does not let it read from example.com")
