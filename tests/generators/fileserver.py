"""A file server that behaves as it is told: with ranges or without, cutting off, slow, lying, for pages of other origins or not."""

import http.server
import ssl
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path


@dataclass
class Behaviour:
    """What a file's server does from now on. cut: bytes of an answer after which the connection ends; cuts: how often."""

    data: bytes
    ranges: bool = True
    etag: str | None = '"one"'
    modified: str | None = "Sat, 01 Nov 2025 10:00:00 GMT"
    cut: int | None = None
    cuts: int = 1_000_000
    status: int | None = None
    length: int | None = None  # told instead of the true one
    total: int | None = None  # told in Content-Range instead of the true one
    shift: int = 0  # bytes by which the start of a range is missed
    pause: float = 0.0  # seconds after each 64 KiB
    cors: str | None = None  # Access-Control-Allow-Origin
    asked: list[dict[str, str]] = field(default_factory=list)  # headers of each request, names in lower case


class FileServer(http.server.ThreadingHTTPServer):
    """Serves ``files[path]``, a Behaviour, at ``address + path``."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, Behaviour] = {}
        super().__init__(("127.0.0.1", 0), _Request)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def put(self, path: str, data: bytes, **behaviour: object) -> str:
        self.files[path] = Behaviour(data, **behaviour)
        return self.address + path

    def __enter__(self) -> "FileServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request, client_address) -> None:
        """A client that goes away in mid-answer is no news."""


class _Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def _answer(self, body: bool) -> None:
        file = self.server.files.get(self.path.partition("?")[0].lstrip("/"))
        if file is None:
            return self._head(404, {"Content-Length": "0"})
        if body:
            file.asked.append({name.lower(): value for name, value in self.headers.items()})
        common = {"Access-Control-Allow-Origin": file.cors, "Access-Control-Expose-Headers": "*", "Connection": "close"}
        common |= {"ETag": file.etag, "Last-Modified": file.modified}
        if file.status is not None:
            return self._head(file.status, common | {"Content-Length": "0"})
        start = self._start(file)
        if start is not None and start >= len(file.data):
            return self._head(416, common | {"Content-Range": f"bytes */{len(file.data)}", "Content-Length": "0"})
        sent = file.data[(start or 0) + (file.shift if start else 0) :]
        told = common | {"Content-Length": str(len(sent) if file.length is None else file.length)}
        if start is not None:
            first, total = start + file.shift, file.total or len(file.data)
            told["Content-Range"] = f"bytes {first}-{first + len(sent) - 1}/{total}"
        self._head(206 if start is not None else 200, told)
        if body:
            self._send(file, sent)

    def _start(self, file: Behaviour) -> int | None:
        """Where the range begins that is asked for and given."""
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if not asked or not file.ranges or condition not in (None, file.etag, file.modified):
            return None
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def _send(self, file: Behaviour, sent: bytes) -> None:
        if file.cut is not None and file.cuts and file.cut < len(sent):
            file.cuts -= 1
            sent = sent[: file.cut]
        for at in range(0, len(sent), 1 << 16):
            self.wfile.write(sent[at : at + (1 << 16)])
            self.wfile.flush()
            time.sleep(file.pause)
        self.close_connection = True

    def _head(self, status: int, headers: dict[str, str | None]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments) -> None:
        pass


def certified(host: str, folder: Path) -> ssl.SSLContext:
    """A certificate for that host that nobody vouches for, which a browser takes that is told to."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    start = datetime(2025, 1, 1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=3650))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(made.public_bytes(pem) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context
