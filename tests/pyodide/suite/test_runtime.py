import itertools

import pytest

import pyruvllm
from pyruvllm.storage import delete_database
from tests.contracts.runtime import RuntimeContract

pytestmark = pytest.mark.asset
count = itertools.count()


@pytest.fixture
async def open_llm():
    run, opened, names = next(count), [], set()

    async def open_llm(name="main", **options):
        name = f"runtime-{run}-{name}"
        names.add(name)
        opened.append(await pyruvllm.open(name, **options))
        return opened[-1]

    yield open_llm
    for llm in opened:
        await llm.close()
    for name in names:
        await delete_database(name)


class TestInTheBrowser(RuntimeContract):
    pass
