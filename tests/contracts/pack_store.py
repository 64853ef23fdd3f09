"""What is promised of installed packs: the newest that is sound and right serves, and no failure takes away what served before."""

import pytest

from pyruvllm.errors import PackError
from pyruvllm.kernels import pack
from pyruvllm.kernels.shelf import CURRENT, PREVIOUS
from pyruvllm.kernels.store import BUNDLED, PackStore
from tests.contracts.pack import flipped, without
from tests.generators import packs
from tests.generators.packs import MODULE


class StoreContract:
    """Bound by ``make_shelf``: async () -> a shelf; the same call gives another view of the same packs."""

    @pytest.fixture
    def make_store(self, make_shelf):
        async def make_store(bundled=1):
            return PackStore(await make_shelf(), trusted=packs.trusted, bundled=lambda: packs.files(bundled))

        return make_store

    async def test_what_is_installed_serves_after_reopening(self, make_store):
        store = await make_store()
        assert (await store.load(right)).place == BUNDLED
        assert (await store.install(packs.files(2), right)).manifest.version == 2
        loaded = await (await make_store()).load(right)
        assert (loaded.place, loaded.pack.manifest.version, loaded.refused, loaded.faults) == (CURRENT, 2, (), ())

    async def test_the_previous_pack_is_kept_and_serves_where_the_current_is_wrong(self, make_store, make_shelf):
        store = await make_store()
        for version in (2, 3, 4):
            await store.install(packs.files(version), right)
        shelf = await make_shelf()
        assert [shelf.read(place) for place in (CURRENT, PREVIOUS)] == [packs.files(4), packs.files(3)]
        loaded = await (await make_store()).load(wrong_in(4))
        assert (loaded.place, loaded.pack.manifest.version) == (PREVIOUS, 3)
        assert loaded.refused == ((CURRENT, "it failed its self-test: widen.simd128: 7 for 8"),)

    @pytest.mark.parametrize("how", ["a list", "an error", "a list, later"])
    async def test_a_pack_that_fails_its_self_test_changes_nothing(self, make_store, make_shelf, how):
        store = await make_store()
        await store.install(packs.files(2), right)
        await store.install(packs.files(3), right)
        with pytest.raises(PackError, match="version 4 of core failed its self-test, version 3 still serves: .*7 for 8"):
            await store.install(packs.files(4), wrong_in(4, how))
        shelf = await make_shelf()
        assert [shelf.read(place) for place in (CURRENT, PREVIOUS)] == [packs.files(3), packs.files(2)]

    async def test_an_older_pack_is_not_installed(self, make_store):
        store = await make_store()
        await store.install(packs.files(3), right)
        with pytest.raises(PackError, match="version: it is 2, older than 3"):
            await store.install(packs.files(2), right)
        with pytest.raises(PackError, match="version: it is 3, older than 9"):
            await (await make_store(bundled=9)).install(packs.files(3), right)
        assert (await store.load(right)).pack.manifest.version == 3

    async def test_an_older_pack_is_not_installed_by_damaging_the_current(self, make_store, make_shelf):
        store = await make_store()
        await store.install(packs.files(3), right)
        await store.install(packs.files(4), right)
        (await make_shelf()).write({CURRENT: without(MODULE)})
        with pytest.raises(PackError, match="older than 3"):
            await store.install(packs.files(2), right)

    async def test_a_newer_bundled_pack_wins(self, make_store):
        await (await make_store()).install(packs.files(2), right)
        newer = await make_store(bundled=3)
        loaded = await newer.load(right)
        assert (loaded.place, loaded.pack.manifest.version, loaded.refused) == (BUNDLED, 3, ())
        await newer.install(packs.files(4), right)
        assert (await newer.load(wrong_in(4))).place == BUNDLED  # the previous one is older

    async def test_damaged_packs_are_passed_over_until_one_is_sound(self, make_store, make_shelf, caplog):
        store = await make_store()
        await store.install(packs.files(2), right)
        await store.install(packs.files(3), right)
        shelf = await make_shelf()
        shelf.write({CURRENT: flipped(MODULE, 0)})
        loaded = await store.load(right)
        assert (loaded.place, loaded.pack.manifest.version) == (PREVIOUS, 2)
        shelf.write({PREVIOUS: packs.files(2, seed=packs.OTHER)})
        loaded = await store.load(right)
        assert (loaded.place, loaded.pack.manifest.version) == (BUNDLED, 1)
        assert [place for place, _ in loaded.refused] == [CURRENT, PREVIOUS]
        assert "SHA-256" in caplog.text and "does not trust" in caplog.text

    async def test_a_damaged_current_pack_does_not_push_out_a_sound_previous_one(self, make_store, make_shelf):
        store = await make_store()
        await store.install(packs.files(2), right)
        await store.install(packs.files(3), right)
        shelf = await make_shelf()
        shelf.write({CURRENT: flipped(MODULE, 0)})
        await store.install(packs.files(4), right)
        assert [shelf.read(place) for place in (CURRENT, PREVIOUS)] == [packs.files(4), packs.files(2)]

    async def test_installing_the_same_again_keeps_the_previous_one(self, make_store, make_shelf):
        store = await make_store()
        await store.install(packs.files(2), right)
        await store.install(packs.files(3), right)
        assert (await store.install(packs.files(3), right)).manifest.version == 3
        assert (await make_shelf()).read(PREVIOUS) == packs.files(2)

    async def test_the_bundled_pack_serves_even_where_some_of_it_is_wrong(self, make_store):
        loaded = await (await make_store()).load(wrong_in(1))
        assert (loaded.place, loaded.faults) == (BUNDLED, ("widen.simd128: 7 for 8",))

    async def test_a_bundled_pack_is_looked_at_again_where_it_or_who_is_trusted_changed(self, make_shelf):
        shelf, files, keys = await make_shelf(), [packs.files(1)], [packs.trusted()]
        store = PackStore(shelf, trusted=lambda: keys[0], bundled=lambda: files[0])
        sound = (await store.load(right)).pack
        assert sound is not None and (await store.load(right)).pack is sound
        files[0] = flipped(MODULE, 8 * 40)
        altered = await store.load(right)
        assert altered.pack is None and "altered" in altered.refused[0][1]
        files[0], keys[0] = packs.files(1), {}
        distrusted = await store.load(right)
        assert distrusted.pack is None and distrusted.refused[0][0] == BUNDLED

    async def test_where_nothing_was_built_an_installed_pack_serves(self, make_shelf):
        store = PackStore(await make_shelf(), trusted=packs.trusted, bundled=lambda: pack.bundled("none"))
        loaded = await store.load(right)
        assert loaded.pack is None and "build.sh" in loaded.refused[0][1]
        await store.install(packs.files(2), right)
        assert (await store.load(right)).place == CURRENT


def right(tried):
    return []


def wrong_in(version, how="a list"):
    """A self-test that this version fails."""
    fault = "widen.simd128: 7 for 8"

    def self_test(tried):
        if tried.manifest.version != version:
            return None
        if how == "an error":
            raise ValueError(fault)
        return [fault]

    async def later(tried):
        return self_test(tried)

    return later if how == "a list, later" else self_test
