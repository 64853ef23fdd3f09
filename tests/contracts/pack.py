"""What is promised of packs of kernels: every way to tamper with one is refused before anything is compiled, and something serves."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.errors import PackError
from pyruvllm.kernels import keys, manifest, memory, module, pack, signature, wasm
from pyruvllm.kernels.library import Library
from pyruvllm.kernels.pack import Limits
from pyruvllm.kernels.shelf import CURRENT, MemoryShelf
from pyruvllm.kernels.store import BUNDLED, PackStore
from tests.generators import packs
from tests.generators.packs import MODULE


class Recording:
    """A real memory that notes what it compiles."""

    def __init__(self) -> None:
        self._memory = memory.current()
        self.name, self.features = self._memory.name, self._memory.features
        self.empty, self.address = self._memory.empty, self._memory.address
        self.compiled: list[bytes] = []

    def load(self, code, name):
        self.compiled.append(code)
        return self._memory.load(code, name)

    def self_test(self, tried):
        """Loads every kernel; nothing is wrong with any."""
        library = Library(tried.manifest, tried.files, self)
        for operation in library.operations:
            for name in library.names(operation):
                library.kernel(operation, name)


def flipped(name, bit):
    """A sound pack in which one bit of one file is another."""
    files = packs.files()
    content = bytearray(files[name])
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    return {**files, name: bytes(content)}


def holding(**changes):
    """A pack whose module is wrong, and whose signature, length and hash are right."""
    return packs.files(modules={MODULE: packs.module(**changes)})


def importing(*imports):
    return holding(imports=imports)


def without(name):
    files = packs.files()
    del files[name]
    return files


def listing(**changes):
    """A pack whose manifest says something else of its module."""
    [entry] = packs.content()["modules"]
    return packs.files(modules={MODULE: packs.module()}) | packs.signed(
        {MODULE: packs.module(), manifest.FILE: json.dumps(packs.content() | {"modules": [entry | changes]}).encode()}
    )


def two(**changes):
    """Two modules with the same needs."""
    names = (MODULE, "convert.relaxed.wasm")
    return packs.files(modules={name: packs.module(**changes) for name in names})


SEGMENT = packs.leb(0)
AT_BASE = b"\x23\0\x0b"  # global.get 0 (__memory_base), end
AT_TABLE = b"\x23\1\x0b"
FIXED = b"\x41\x80\x08\x0b"  # i32.const 1024, end
MEGABYTES = 1 << 20

TAMPERED = {  # what was done: (the files, what the refusal says)
    "a bit of the module": (lambda: flipped(MODULE, 900), "SHA-256: convert.simd128.wasm was altered"),
    "a bit of the manifest": (lambda: flipped(manifest.FILE, 77), "signature: it does not fit"),
    "a bit of the signature": (lambda: flipped(signature.FILE, 8 * 90), "signature"),
    "a foreign key under a trusted name": (
        lambda: packs.signed(packs.files(), packs.OTHER, claimed=packs.SEED),
        "signature: it does not fit",
    ),
    "an unknown key": (lambda: packs.files(seed=packs.OTHER), "signature: it is by the key .* does not trust"),
    "unsigned": (lambda: without(signature.FILE), "unsigned"),
    "a manifest of another pack": (lambda: {**packs.files(), manifest.FILE: packs.files(2)[manifest.FILE]}, "signature: it does not fit"),
    "a missing manifest": (lambda: without(manifest.FILE), "files: manifest.json is missing"),
    "a missing module": (lambda: without(MODULE), "files: convert.simd128.wasm is missing"),
    "an extra file": (lambda: {**packs.files(), "more.simd128.wasm": packs.module()}, "files: more.simd128.wasm is not listed"),
    "a truncated module": (lambda: {**packs.files(), MODULE: packs.module()[:-1]}, "length: convert.simd128.wasm has"),
    "a longer module": (lambda: {**packs.files(), MODULE: packs.module() + b"\0"}, "length: convert.simd128.wasm has"),
    "a text in the place of bytes": (lambda: {**packs.files(), MODULE: "text"}, "file names: .* not bytes"),
    "another ABI": (lambda: packs.files(abi=manifest.ABI + 1), "ABI: it was compiled for version 2"),
    "another name": (lambda: packs.files(name="other"), "name: it is 'other'"),
    "no version": (lambda: packs.files(version=0), "manifest: .* name and version"),
    "operations without a module": (lambda: packs.files(modules={}), "manifest: widen is of family 'convert', which has no module"),
    "a kernel that is no identifier": (
        lambda: packs.files(operations={"widen": {"family": "convert", "args": ["u32 n"], "kernels": ["a.b"]}}),
        "manifest: .* identifiers",
    ),
    "a family that leads elsewhere": (
        lambda: packs.files(operations={"widen": {"family": "..os", "args": ["u32 n"]}}),
        "manifest: .* identifiers",
    ),
    "an unknown feature": (lambda: listing(features=["threads"]), "manifest: .* features|manifest: .* needs some of"),
    "a module of another family": (lambda: listing(family="distance"), "manifest: .* no module of family"),
    "too many files": (lambda: {**packs.files(), **{f"file{n}": b"" for n in range(300)}}, "size: it has 303 files"),
    "too many bytes": (lambda: {**packs.files(), "big": bytes(17 * MEGABYTES)}, "size: it has .* bytes"),
    "a huge manifest": (lambda: {**packs.files(), manifest.FILE: b" " * (MEGABYTES + 1)}, "size: manifest.json"),
    "static memory over the limit": (lambda: holding(memory=8 * MEGABYTES + 1), "module: .* static memory .* limit"),
    "static memory over the limit in two modules": (lambda: two(memory=5 * MEGABYTES), "module: .* static memory .* limit"),
    "a huge memory imported": (lambda: importing(packs.a_memory(129)), "module: .* memory of at least"),
    "a huge table imported": (
        lambda: importing(packs.imported("__indirect_function_table", packs.TABLE, 0x70, 0, *packs.leb(5000))),
        "module: .* table of at least",
    ),
    "table entries over the limit": (lambda: holding(table=5000), "module: .* table entries"),
    "an alignment over the limit": (lambda: holding(align=16), "module: .* alignment"),
    "a shared memory": (lambda: importing(packs.a_memory(1, 3)), "module: .* shared"),
    "an imported function": (
        lambda: importing(*packs.IMPORTS, packs.imported("emscripten_run_script", packs.FUNCTION, 0)),
        "module: .* imports 'env.emscripten_run_script'",
    ),
    "a known name of another module": (
        lambda: importing(packs.imported("memory", packs.MEMORY, 0, 0, module="wasi")),
        "module: .* imports 'wasi.memory'",
    ),
    "a known name as another thing": (lambda: importing(packs.imported("__memory_base", packs.FUNCTION, 0)), "module: .* as function"),
    "a base that can be changed": (
        lambda: importing(packs.imported("__memory_base", packs.GLOBAL, packs.I32, 1)),
        "module: .* as global var i32",
    ),
    "an import twice": (lambda: importing(packs.MEMORY_BASE, packs.MEMORY_BASE), "module: .* or twice"),
    "a start function": (lambda: holding(late=packs.section(8, packs.leb(1))), "module: .* a start function"),
    "a memory of its own": (lambda: holding(early=packs.section(5, packs.many(b"\0\1"))), "module: .* a memory of its own"),
    "a table of its own": (lambda: holding(early=packs.section(4, packs.many(b"\x70\0\1"))), "module: .* a table of its own"),
    "a library that it needs": (lambda: holding(dylink=b"\2\4\1\2ab"), "module: .* libraries"),
    "a listed kernel that is not exported": (
        lambda: packs.files(operations={"narrow": {"family": "convert", "args": ["u32 n"]}}),
        "module: .* does not export narrow",
    ),
    "a kernel of another type": (
        lambda: packs.files(
            modules={MODULE: packs.module(exports=(packs.text("narrow") + b"\0\1",))},
            operations={"narrow": {"family": "convert", "args": ["u32 n"]}},
        ),
        "module: .* exports narrow as something else",
    ),
    "JavaScript for the loader": (lambda: holding(exports=(packs.text("__em_js__hello") + b"\0\0",)), "module: .* exports .__em_js__"),
    "an exported memory": (lambda: holding(exports=(packs.text("memory") + b"\2\0",)), "module: .* exports memory as something else"),
    "data at a fixed address": (lambda: holding(memory=8, data=(SEGMENT + FIXED + b"\1x",)), "module: .* elsewhere"),
    "data at the wrong base": (lambda: holding(memory=8, data=(SEGMENT + AT_TABLE + b"\1x",)), "module: .* than at __memory_base"),
    "data beyond its memory": (lambda: holding(memory=3, data=(SEGMENT + AT_BASE + b"\4data",)), "module: .* a segment of 4"),
    "passive data": (lambda: holding(data=(b"\1\1x",)), "module: .* a segment of kind 1"),
    "functions beyond its table": (
        lambda: holding(table=1, late=packs.section(9, packs.many(SEGMENT + AT_TABLE + b"\2\0\0"))),
        "module: .* a segment of 2",
    ),
    "no module at all": (lambda: packs.files(modules={MODULE: b"\x7fELF and so on"}), "module: .* not with the header of WASM"),
    "a module at fixed addresses": (lambda: packs.files(modules={MODULE: b"\0asm\1\0\0\0"}), "module: .* not relocatable"),
}
NAMES = ["", ".", "..", "../keys.json", "/etc/passwd", "a/b.wasm", "a\\b.wasm", "c:x", "A.wasm", "a\0b", "a..b", "ü", "x" * 200, "a\n", 7]
each_tampering = pytest.mark.parametrize(("tamper", "why"), TAMPERED.values(), ids=list(TAMPERED))


class PackContract:
    async def test_a_sound_pack_is_taken(self):
        files = packs.files(3)
        found = await pack.verify(files, keys=packs.trusted(packs.OTHER, packs.SEED), newest=3)
        assert found.manifest.version == 3 and found.files == files and found.key == keys.key_id(packs.public(packs.SEED))
        recording = Recording()
        recording.self_test(found)
        assert recording.compiled == [packs.module()]

    async def test_what_real_modules_have_is_taken(self):
        code = packs.module(
            exports=(packs.text("__wasm_apply_data_relocs") + b"\0\1",),
            memory=5,
            table=2,
            align=4,
            late=packs.section(9, packs.many(SEGMENT + AT_TABLE + b"\2\0\0")),
            data=(SEGMENT + AT_BASE + b"\5bytes",),
        )
        recording = Recording()
        recording.self_test(await pack.verify(packs.files(modules={MODULE: code}), keys=packs.trusted()))
        assert recording.compiled == [code]

    @each_tampering
    async def test_tampering_is_refused_and_the_bundled_pack_serves(self, tamper, why):
        recording, shelf = Recording(), MemoryShelf()
        shelf.packs[CURRENT] = tamper()
        store = PackStore(shelf, trusted=packs.trusted, bundled=packs.files)
        loaded = await store.load(recording.self_test)
        assert (loaded.place, loaded.pack.files) == (BUNDLED, packs.files())
        [(place, reason)] = loaded.refused
        assert place == CURRENT
        with pytest.raises(PackError, match=why) as caught:
            await store.install(tamper(), recording.self_test)
        assert str(caught.value) == reason
        assert recording.compiled == [packs.module()]  # that of the bundled pack alone

    @each_tampering
    async def test_a_tampered_installation_compiles_nothing(self, tamper, why, caplog):
        recording = Recording()
        loaded = await PackStore(MemoryShelf(), trusted=packs.trusted, bundled=tamper).load(recording.self_test)
        assert loaded.pack is None and [place for place, _ in loaded.refused] == [BUNDLED]
        assert loaded.refused[0][1] in caplog.text
        assert recording.compiled == []

    @pytest.mark.parametrize("name", NAMES, ids=repr)
    async def test_names_that_lead_elsewhere_are_refused(self, name):
        with pytest.raises(PackError, match="file names"):
            await pack.verify({**packs.files(), name: b""}, keys=packs.trusted())

    async def test_an_older_version_is_refused(self):
        with pytest.raises(PackError, match="version: it is 2, older than 3"):
            await pack.verify(packs.files(2), keys=packs.trusted(), newest=3)

    async def test_without_keys_nothing_is_trusted(self):
        with pytest.raises(PackError, match="it trusts none"):
            await pack.verify(packs.files(), keys={})

    async def test_the_manifest_is_not_read_before_its_signature(self):
        """Signed garbage is found out by the reader, unsigned garbage by the signature."""
        garbage = {**packs.files(), manifest.FILE: b'{"abi": '}
        with pytest.raises(PackError, match="signature: it does not fit"):
            await pack.verify(garbage, keys=packs.trusted())
        with pytest.raises(PackError, match="manifest: .* cannot be read"):
            await pack.verify(packs.signed(garbage), keys=packs.trusted())

    @given(st.sampled_from([manifest.FILE, signature.FILE, MODULE]), st.integers(0, 2**16))
    @settings(max_examples=60, deadline=None)
    async def test_any_one_bit_makes_the_difference(self, name, bit):
        with pytest.raises(PackError):
            await pack.verify(flipped(name, bit), keys=packs.trusted())

    async def test_the_bundled_pack_is_sound(self):
        found = await pack.verify(pack.bundled(), keys=keys.pinned())
        assert found.manifest.version == manifest.VERSION and found.manifest.modules
        assert pack.declared().operations.keys() == found.manifest.operations.keys() and not pack.declared().modules

    def test_what_was_not_built_says_what_builds_it(self):
        with pytest.raises(PackError, match=r"build\.sh"):
            pack.bundled("none")


class WasmContract:
    """Whatever the bytes are, a module is taken or PackError is raised."""

    def test_a_module_cut_short_anywhere_is_refused(self):
        code = packs.module(late=packs.section(9, packs.many(SEGMENT + AT_TABLE + b"\1\0")), table=1)
        for length in range(len(code)):
            with pytest.raises(PackError):
                module.check(code[:length], ["widen"], Limits())
        assert module.check(code, ["widen"], Limits()).table == 1

    @given(st.binary(max_size=200))
    @settings(max_examples=300, deadline=None)
    def test_any_bytes_after_the_head(self, rest):
        self.tried(b"\0asm\1\0\0\0" + rest)
        self.tried(packs.module()[:23] + rest)

    @given(st.data())
    @settings(max_examples=300, deadline=None)
    def test_a_module_with_some_bytes_changed(self, data):
        code = bytearray(packs.module(memory=9, table=2, data=(SEGMENT + AT_BASE + b"\5bytes",)))
        for _ in range(data.draw(st.integers(1, 4))):
            code[data.draw(st.integers(8, len(code) - 1))] = data.draw(st.integers(0, 255))
        self.tried(bytes(code))

    @given(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]), st.binary(max_size=40))
    @settings(max_examples=300, deadline=None)
    def test_sections_of_any_content(self, kind, content):
        self.tried(packs.module()[:23] + packs.section(kind, content))

    @pytest.mark.parametrize("number", [b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x1f", b"\xff" * 9, b"\x80\x80\x80\x80\x80\0"])
    @pytest.mark.parametrize("kind", [0, 1, 2, 3, 7, 9, 10, 11])
    def test_huge_counts_and_numbers_that_never_end(self, kind, number):
        with pytest.raises(PackError):
            module.check(packs.module()[:23] + packs.section(kind, number), [], Limits())
        with pytest.raises(PackError):
            module.check(packs.module()[:23] + bytes([kind]) + number, [], Limits())

    def test_numbers(self):
        for number in (0, 1, 127, 128, 2**31, 2**32 - 1):
            assert wasm.Reader(packs.leb(number)).number() == number
        with pytest.raises(PackError, match="32 bits"):
            wasm.Reader(packs.leb(2**32)).number()

    @staticmethod
    def tried(code):
        try:
            module.check(code, ["widen"], Limits())
        except PackError:
            pass
