import itertools

import pytest

from pyruvllm.storage import delete_database
from tests.contracts.driver import DriverContract

count = itertools.count()


class TestSqljs(DriverContract):
    @pytest.fixture
    async def name(self):
        name = f"contract-{next(count)}"
        yield name
        await delete_database(name)
