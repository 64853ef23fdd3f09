"""Renderers killed in the middle of writing: what was acknowledged is there, and the file is in order."""

import pytest

from tests.e2e.killing import survive
from tests.e2e.storage_page import storage_site

KILLS = 10


@pytest.fixture(scope="module")
def site():
    with storage_site() as address:
        yield address


def test_no_acknowledged_batch_is_lost_in_ten_kills(new_context, console, tmp_path):
    console.allow("crashed")
    profile = tmp_path / "profile"
    assert survive(new_context(str(profile)), profile, KILLS) > 10 * KILLS
