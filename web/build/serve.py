"""A small static server for the page: this machine only, strict policy, files sent compressed and only when they changed."""

import hashlib
import http.server
import mimetypes
import os
import shutil
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from steps import Failure

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self' https://huggingface.co https://*.huggingface.co https://*.hf.co",  # where a person may download models from
        "worker-src 'self'",
        "manifest-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".whl": "application/zip",
}


class Server(http.server.ThreadingHTTPServer):
    """Serves the files under ``roots``, the first that has one, on 127.0.0.1."""

    daemon_threads = True

    def __init__(self, roots: Sequence[Path], port: int):
        self.roots = [root.resolve() for root in roots]
        self.tags: dict[tuple[Path, int, int], str] = {}
        super().__init__(("127.0.0.1", port), Request)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def find(self, name: str) -> Path | None:
        if "\0" in name:  # no path of any file system
            return None
        for root in self.roots:
            path = (root / name).resolve()
            if path.is_relative_to(root) and path.is_file():
                return path
        return None

    def tag(self, path: Path) -> str:
        """A strong ETag of the content, computed once a version of the file."""
        state = path.stat()
        version = (path, state.st_mtime_ns, state.st_size)
        if version not in self.tags:
            with path.open("rb") as file:
                self.tags[version] = f'"{hashlib.file_digest(file, "sha256").hexdigest()[:32]}"'
        return self.tags[version]

    def handle_error(self, request, client_address) -> None:
        """A browser that closes a connection in mid-answer is no news."""


class Request(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "pyruvllm", ""

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, body: bool) -> None:
        name = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/") or "index.html"
        path = self.server.find(name)
        if path is None:
            return self.reply(HTTPStatus.NOT_FOUND, {"Content-Type": "text/plain; charset=utf-8"}, f"no such file: {name}\n".encode(), body)
        packed = path.with_name(path.name + ".gz")
        fresh = packed.is_file() and packed.stat().st_mtime_ns >= path.stat().st_mtime_ns
        gzipped = fresh and "gzip" in self.headers.get("Accept-Encoding", "")
        sent = packed if gzipped else path
        # no-cache: kept by the browser, asked for anew with the tag, answered 304 while nothing changed
        headers = {"ETag": self.server.tag(sent), "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if headers["ETag"] in self.headers.get("If-None-Match", ""):
            return self.reply(HTTPStatus.NOT_MODIFIED, headers, b"", body)
        headers["Content-Type"] = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if gzipped:
            headers["Content-Encoding"] = "gzip"
        self.reply(HTTPStatus.OK, headers, sent, body)

    def reply(self, status: HTTPStatus, headers: dict[str, str], content: bytes | Path, body: bool) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, **headers}.items():
            self.send_header(name, value)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(content) if isinstance(content, bytes) else content.stat().st_size))
        self.end_headers()
        if not body:
            return
        if isinstance(content, bytes):
            self.wfile.write(content)
        else:
            with content.open("rb") as file:
                shutil.copyfileobj(file, self.wfile, 1 << 18)

    def log_message(self, format: str, *arguments) -> None:
        """Silent: the address is all that a person needs to see."""


def open_server(roots: Sequence[Path], port: int) -> Server:
    """A server on that port. Failure names the port if it is taken."""
    try:
        return Server(roots, port)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise Failure(
            f"Port {port} cannot be used: {why}. Stop what is using it, or choose another: "
            f"./build.sh demo --port {port + 1} (--port 0 takes any free one)"
        ) from error


@contextmanager
def serving(*roots: Path) -> Iterator[str]:
    """The address of a server on a free port, for as long as the block runs."""
    server = open_server(roots, 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
