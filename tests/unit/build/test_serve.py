import gzip
import http.client
import os
import socket

import pytest
from serve import POLICY, open_server, serving
from steps import Failure


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "site"
    root.mkdir()
    (root / "index.html").write_text("<!doctype html><title>x</title>")
    (root / "code.wasm").write_bytes(b"\0asm" + bytes(4096))
    (tmp_path / "secret.txt").write_text("outside")
    return root


@pytest.fixture
def ask(folder):
    with serving(folder) as address:

        def ask(path, method="GET", **headers):
            connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"))
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return answer, body

        yield ask


def test_the_page_comes_with_its_policy_and_type(ask):
    answer, body = ask("/")
    assert (answer.status, body) == (200, b"<!doctype html><title>x</title>")
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "unsafe-inline" not in POLICY and "'unsafe-eval'" not in POLICY and "default-src 'none'" in POLICY
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_wasm_has_the_type_that_streaming_compilation_wants(ask):
    assert ask("/code.wasm")[0].headers["Content-Type"] == "application/wasm"


def test_what_has_not_changed_is_not_sent_again(ask, folder):
    tag = ask("/code.wasm")[0].headers["ETag"]
    answer, body = ask("/code.wasm", If_None_Match=tag)
    assert (answer.status, body) == (304, b"")
    (folder / "code.wasm").write_bytes(b"\0asm" + bytes(5000))
    assert ask("/code.wasm", If_None_Match=tag)[0].status == 200


def test_a_rewrite_with_the_same_content_keeps_the_tag(ask, folder):
    tag = ask("/code.wasm")[0].headers["ETag"]
    os.utime(folder / "code.wasm", (1, 1))
    assert ask("/code.wasm")[0].headers["ETag"] == tag


def test_the_compressed_twin_is_sent_only_to_who_takes_it_and_only_while_it_is_current(ask, folder):
    plain = (folder / "code.wasm").read_bytes()
    (folder / "code.wasm.gz").write_bytes(gzip.compress(plain))
    answer, body = ask("/code.wasm", Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip" and gzip.decompress(body) == plain
    assert ask("/code.wasm")[1] == plain
    os.utime(folder / "code.wasm.gz", (1, 1))
    assert ask("/code.wasm", Accept_Encoding="gzip")[1] == plain


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "//etc/passwd", "/nothing", "/%00", "/sub/"])
def test_nothing_outside_the_folder_is_served(ask, path):
    answer, body = ask(path)
    assert answer.status == 404
    assert b"outside" not in body and b"root:" not in body
    assert answer.headers["Content-Security-Policy"] == POLICY


def test_head_has_no_body(ask):
    answer, body = ask("/code.wasm", method="HEAD")
    assert (answer.status, answer.headers["Content-Length"], body) == (200, "4100", b"")


def test_a_taken_port_is_named(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Failure, match=f"Port {port} cannot be used: Address already in use.*--port {port + 1}"):
            open_server([folder], port)
