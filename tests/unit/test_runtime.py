import weakref
from pathlib import Path

import pytest
import pytest_asyncio

import pyruvllm
from pyruvllm.storage import sealing
from tests.contracts.runtime import RuntimeContract
from tests.generators.scripted import scripted_model


@pytest_asyncio.fixture
async def open_llm(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(sealing, "ROUNDS", 100_000)  # the fewest that are accepted: these tests derive a dozen keys
    opened = []

    async def open_llm(name="main", **options):
        opened.append(await pyruvllm.open(tmp_path / f"{name}.db", **options))
        return opened[-1]

    yield open_llm
    for llm in opened:
        await llm.close()


class TestNative(RuntimeContract):
    pass


async def test_a_file_is_remembered_under_its_name(open_llm, tmp_path):
    note = tmp_path / "harbour.md"
    note.write_text("# Mooring\n\nMooring 47 on the west pontoon is paid until October.", encoding="utf-8-sig")
    llm = await open_llm()
    document = await llm.remember(note)
    assert (document.title, document.media_type) == ("harbour.md", "text/markdown")
    assert "47" in (await llm.ask("Which mooring is ours?")).text


async def test_a_memory_made_of_bytes_is_protected_and_locked_too(open_llm, tmp_path):
    llm = await open_llm()
    await llm.remember("Mooring 47 on the west pontoon is paid until October.")
    other = await pyruvllm.open_bytes(await llm.export(), tmp_path / "taken along.db")
    await other.protect(device_key=True)
    await other.lock()
    await other.unlock()
    assert "47" in (await other.ask("Which mooring is ours?")).text
    await other.close()


async def test_a_model_and_its_pool_do_not_hold_a_locked_memory(open_llm, tmp_path):
    (tmp_path / "model.gguf").write_bytes(scripted_model(["The mooring", " is 47."]))
    llm = await open_llm(passphrase="net loft")
    await llm.remember("Mooring 47 on the west pontoon is paid until October.")
    await llm.models.load(tmp_path / "model.gguf")
    assert (await llm.ask("Which mooring is ours?", session="s")).kind == "generated"
    parts = [weakref.ref(part) for part in (llm.memory, llm.pool, llm.models.model)]
    await llm.lock()
    assert [part() for part in parts] == [None] * 3


@pytest.mark.parametrize("file, said", [("README.md", "31 January 2029"), ("docs/python.md", "“Mooring 47 is paid until October.” [1]")])
def test_the_examples_run(file, said, tmp_path, monkeypatch, capsys):
    """Marked as native, as they stand in the documents."""
    monkeypatch.chdir(tmp_path)
    code = (Path(__file__).parents[2] / file).read_text().split("<!-- native -->")[1].split("```python\n")[1].split("```")[0]
    exec(compile(code, file, "exec"), {"__name__": "__main__"})
    assert said in capsys.readouterr().out
