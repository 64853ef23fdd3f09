"""What every way to verify Ed25519 answers: RFC 8032, section 7.1, and signatures that must not be taken."""

import hashlib
import json

import pytest

from pyruvllm import host
from pyruvllm.errors import PackError
from pyruvllm.kernels import ed25519, keys, signature
from tests.generators import packs

VECTORS = {  # seed, public key, message, signature
    "empty": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "one byte": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "two bytes": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    "SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
}
VECTORS = {name: tuple(bytes.fromhex(part) for part in parts) for name, parts in VECTORS.items()}
each_vector = pytest.mark.parametrize("vector", VECTORS.values(), ids=list(VECTORS))


def plus_order(made: bytes) -> bytes:
    """The same signature with s + L in the place of s: an equation modulo L does not see the difference."""
    return made[:32] + (int.from_bytes(made[32:], "little") + ed25519.L).to_bytes(32, "little")


def flipped(content: bytes, bit: int) -> bytes:
    return (int.from_bytes(content, "little") ^ 1 << bit).to_bytes(len(content), "little")


async def in_python(*arguments):
    return ed25519.verify(*arguments)


async def by_the_host(*arguments):
    answer = await host.current().verify_ed25519(*arguments)
    if answer is None:
        pytest.skip("this host has no Ed25519")
    return answer


class SignatureContract:
    """Bound once per way: ``verify`` is async (public key, signature, message) -> bool."""

    @each_vector
    async def test_the_vectors_of_the_rfc(self, verify, vector):
        _, public, message, made = vector
        assert await verify(public, made, message) is True

    @each_vector
    async def test_another_message_signature_or_key_is_refused(self, verify, vector):
        _, public, message, made = vector
        other = VECTORS["empty" if message else "one byte"]
        assert await verify(public, made, message + b"\0") is False
        assert await verify(other[1], made, message) is False
        assert await verify(public, other[3], message) is False
        for bit in (0, 100, 255, 256, 400, 507):
            assert await verify(public, flipped(made, bit), message) is False

    @each_vector
    async def test_s_beyond_the_order_is_refused(self, verify, vector):
        _, public, message, made = vector
        assert await verify(public, plus_order(made), message) is False

    async def test_many_lengths_of_message(self, verify):
        for length in (0, 1, 63, 64, 65, 127, 128, 129, 5000):
            message = bytes(length)
            made = packs.sign(packs.SEED, message)
            assert await verify(packs.public(packs.SEED), made, message) is True
            assert await verify(packs.public(packs.SEED), made, message + b"x") is False


class StrictContract(SignatureContract):
    """Of the ways that answer the same in every engine also where the RFC leaves room."""

    @pytest.mark.parametrize("length", [0, 31, 33])
    async def test_keys_and_signatures_of_other_lengths_are_refused(self, verify, length):
        _, public, message, made = VECTORS["empty"]
        assert await verify(bytes(length), made, message) is False
        assert await verify(public, bytes(2 * length), message) is False

    async def test_points_written_otherwise_than_they_are_made_are_refused(self, verify):
        """y = 1 is the neutral point, and so would be y = P + 1: with it as key and R, s = 0 signs anything."""
        other = (ed25519.P + 1).to_bytes(32, "little")
        assert await verify(other, other + bytes(32), b"anything") is False
        _, public, message, made = VECTORS["empty"]
        assert await verify(public, other + made[32:], message) is False

    async def test_a_key_that_is_no_point_is_refused(self, verify):
        _, _, message, made = VECTORS["empty"]
        assert await verify((2).to_bytes(32, "little"), made, message) is False


class PythonContract(StrictContract):
    @pytest.fixture
    def verify(self):
        return in_python


class HostContract(SignatureContract):
    @pytest.fixture
    def verify(self):
        return by_the_host


class ChosenContract(StrictContract):
    @pytest.fixture
    def verify(self):
        return signature.verified


class FallbackContract(StrictContract):
    @pytest.fixture
    def verify(self, monkeypatch):
        async def none(*_):
            return None

        monkeypatch.setattr(type(host.current()), "verify_ed25519", none)
        return signature.verified


class FilesContract:
    def test_a_signature_comes_back_as_it_went(self):
        made = signature.Signature("0123456789abcdef", bytes(range(64)))
        assert signature.read(signature.written(made)) == made

    @pytest.mark.parametrize(
        "change",
        [
            {"algorithm": "none"},
            {"key": 7},
            {"signature": "AAAA"},
            {"signature": "?" * 88},
            {"signature": None},
            {"more": 1},
        ],
        ids=str,
    )
    def test_anything_else_is_refused(self, change):
        made = json.loads(signature.written(signature.Signature("0123456789abcdef", bytes(64))))
        with pytest.raises(PackError, match="signature"):
            signature.read(json.dumps({**made, **change}, sort_keys=True).encode() + b"\n")

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 2_000_000, b" " * 2000, b"7"], ids=range(7))
    def test_what_is_no_signature_is_refused(self, content):
        with pytest.raises(PackError, match="signature"):
            signature.read(content)

    def test_keys_come_back_as_they_went(self):
        trusted = packs.trusted(packs.SEED, packs.OTHER)
        assert keys.read(keys.written(trusted.values())) == trusted
        assert all(len(name) == 16 for name in trusted)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[]",
            b'{"0123456789abcdef": "00"}',
            b'{"0123456789abcdef": 7}',
            keys.written([bytes(31)]),
            keys.written([(1).to_bytes(32, "little")]),  # the neutral point: with it s = 0 signs anything
            keys.written([(2).to_bytes(32, "little")]),  # no point
            keys.written([(ed25519.P + 1).to_bytes(32, "little")]),
        ],
        ids=["empty", "list", "short", "number", "31 bytes", "neutral", "no point", "not canonical"],
    )
    def test_keys_that_sign_nothing_are_refused(self, content):
        with pytest.raises(PackError, match="pinned key"):
            keys.read(content)
