"""The page's server, for this machine alone: the page at /, its questions at /ask/NAME, and nothing else.

It is the standard library's: one reader and a handful of questions need no more, and nothing has to be installed.
Two things protect a reader who has other pages open. The server listens on the loopback address only. And a page from
elsewhere can neither ask (its Origin is another one) nor reach the server under a name of its own that leads to this
address ("DNS rebinding": then Host is that name).
"""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import urlsplit

from .._checks import integer
from .html import content_policy, live_page
from .questions import QUESTIONS, answer
from .texts import Subject

ADDRESS = "127.0.0.1"
OUR_NAMES = {"127.0.0.1", "localhost", "::1"}
MOST_BYTES = 300_000  # of a question
MOST_DRAINED = 4_000_000  # of one that is refused
PATIENCE = 60  # seconds: a question waits so long for the one before it, and for its own bytes


class Server(ThreadingHTTPServer):
    """Serves one model. Questions are answered one after the other, since they share the model. Raises ValueError for a
    port outside 0 (any free one) .. 65535, OSError for one that is in use."""

    daemon_threads = True  # a connection that somebody holds open does not keep the program alive

    def __init__(self, subject: Subject, port: int = 0, text: str | None = None):
        port = integer("port", port, 0, 65535)
        self.subject, self.text, self.lock = subject, text, Lock()
        super().__init__((ADDRESS, port), Handler)

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request, client_address):
        """A reader who closes the page while it loads is no error of ours; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Refused(Exception):
    """A request that is not answered: the status, and why, in words."""

    def __init__(self, status: HTTPStatus, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


class Handler(BaseHTTPRequestHandler):
    """One request: the connection is closed after each answer (HTTP/1.0)."""

    timeout = PATIENCE
    server: Server
    unread = 0  # bytes of the question that have not been read yet

    def do_GET(self):
        self._respond(self._page)

    do_HEAD = do_GET

    def do_POST(self):
        self._respond(self._answer)

    def _respond(self, find) -> None:
        length = self.headers.get("Content-Length", "")
        self.unread = int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0
        try:
            self._check_sender()
            status, kind, body = HTTPStatus.OK, *find()
        except Refused as refused:
            self.rfile.read(min(self.unread, MOST_DRAINED))  # who is still sending would not see the answer
            status, kind, body = refused.status, "application/json", _json({"error": refused.reason})
        self._send(status, kind, body)

    def _check_sender(self) -> None:
        hosts, origins = self.headers.get_all("Host") or [], self.headers.get_all("Origin") or []
        if len(hosts) != 1 or _name(f"//{hosts[0]}") not in OUR_NAMES:
            raise Refused(HTTPStatus.FORBIDDEN, "this page is for this machine alone: open it as http://127.0.0.1")
        if origins and origins != [f"http://{hosts[0]}"]:
            raise Refused(HTTPStatus.FORBIDDEN, "a page from elsewhere may not ask")

    def _page(self) -> tuple[str, bytes]:
        if self.path != "/":
            there_is = "POST answers questions there" if self.path.startswith("/ask/") else "the page is at /"
            raise Refused(HTTPStatus.NOT_FOUND, f"nothing is here: {there_is}")
        return "text/html; charset=utf-8", live_page(self.server.subject, self.server.text).encode()

    def _answer(self) -> tuple[str, bytes]:
        question = self.path.removeprefix("/ask/")
        if self.path != f"/ask/{question}" or question not in QUESTIONS:
            raise Refused(HTTPStatus.NOT_FOUND, f"nothing is here: a question is at /ask/ and {', '.join(QUESTIONS)}")
        fields = self._fields()
        if not self.server.lock.acquire(timeout=PATIENCE):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "another question is still being answered: try again")
        try:
            return "application/json", _json(answer(self.server.subject, question, fields))
        except (ValueError, FloatingPointError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, " ".join(str(error).split())) from None
        except Exception as error:  # memory that is full, or a fault of ours: the page says so, and the server goes on
            reason = f"this could not be computed: {type(error).__name__}: {error!s:.200}"
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, reason) from None
        finally:
            self.server.lock.release()

    def _fields(self):
        """The JSON of the question."""
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a question is JSON: say Content-Type: application/json")
        if "Transfer-Encoding" in self.headers or not self.headers.get("Content-Length", "").isdigit():
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "say with Content-Length how many bytes the question has")
        if self.unread > MOST_BYTES or len(self.headers["Content-Length"]) > 15:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the question has more than {MOST_BYTES} bytes")
        body, self.unread = self.rfile.read(self.unread), 0
        try:
            return json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError):
            raise Refused(HTTPStatus.BAD_REQUEST, "the question is not JSON in UTF-8") from None

    def send_error(self, code, message=None, explain=None):
        """What the standard library refuses (an unknown method, a line that is too long), in words and as JSON."""
        status = HTTPStatus(code)
        if code == HTTPStatus.NOT_IMPLEMENTED:
            status, message = HTTPStatus.METHOD_NOT_ALLOWED, "the page takes GET and HEAD, a question POST"
        self._send(status, "application/json", _json({"error": message or status.description}))

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", f"{content_policy()}; frame-ancestors 'none'")
        for name, value in (
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD, POST")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "minigpt"

    def log_message(self, *_):
        """The terminal stays empty: the page says what went wrong."""


def _name(address: str) -> str | None:
    """The host in an address, without its port; None where it is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _json(data) -> bytes:
    return json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
