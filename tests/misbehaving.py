"""A server of chat completions on the loopback that misbehaves as it is told."""

import base64
import contextlib
import http.server
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ask:
    """One request as the server got it."""

    number: int
    """Of all requests, from 0."""
    time: int
    """How often the same body was sent before."""
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def text(self) -> str:
        """What the user says."""
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)

    @property
    def image(self) -> bytes:
        """The picture in the data URL."""
        urls = [p["image_url"]["url"] for p in self.body["messages"][-1]["content"] if p["type"] == "image_url"]
        kind, _, coded = urls[0].partition(",")
        assert kind == "data:image/jpeg;base64"
        return base64.b64decode(coded, validate=True)


@dataclass(frozen=True)
class Deed:
    """What the server does with a request."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    """Ends the connection after so many bytes of the body."""
    reset: bool = False
    """Ends the connection by a reset, without a word."""
    drip: float = 0.0
    """Seconds between the bytes of the body."""


def said(text: Any, finish: str = "stop", tokens: tuple[int, int] = (100, 10), **deed: Any) -> Deed:
    """A good answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return as_json({"object": "chat.completion", "choices": [choice], "usage": usage}, **deed)


def as_json(value: Any, **deed: Any) -> Deed:
    """Any JSON."""
    return Deed(json.dumps(value).encode(), **deed)


def refused(status: int, message: str = "no", **deed: Any) -> Deed:
    """An error as such servers word it."""
    return as_json({"error": {"message": message, "type": "error", "code": status}}, status=status, **deed)


class Server:
    """The server; `asks` is what it was asked, `most` the requests that it had at once."""

    def __init__(self, rule: Callable[[Ask], Deed], models: Deed | None = None) -> None:
        self.rule, self.asks, self.most = rule, list[Ask](), 0
        self.models = models or as_json({"object": "list", "data": [{"id": "some/model"}]})
        self.asked_models: list[dict[str, str]] = []
        self._now, self._times, self._lock = 0, Counter[bytes](), threading.Lock()
        self._open: set[socket.socket] = set()
        self._http = _Http(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """From now on nobody answers, and those who wait are cut off."""
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _asked(self, body: bytes, headers: dict[str, str]) -> Iterator[Ask]:
        with self._lock:
            ask = Ask(len(self.asks), self._times[body], json.loads(body), headers)
            self._times[body] += 1
            self.asks.append(ask)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            yield ask
        finally:
            with self._lock:
                self._now -= 1


@contextlib.contextmanager
def serving(rule: Callable[[Ask], Deed], models: Deed | None = None) -> Iterator[Server]:
    """A server by this rule, until the block ends."""
    server = Server(rule, models)
    try:
        yield server
    finally:
        server.close()


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def _handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server._open.add(self.connection)

        def finish(self) -> None:
            server._open.discard(self.connection)
            super().finish()

        def do_GET(self) -> None:
            server.asked_models.append(dict(self.headers))
            time.sleep(server.models.delay)
            self._do(server.models)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/v1/chat/completions":
                return self._do(refused(404))
            with server._asked(body, dict(self.headers)) as ask:
                deed = server.rule(ask)
                time.sleep(deed.delay)
            self._do(deed)

        def _do(self, deed: Deed) -> None:
            if deed.reset:  # closed with a linger of nothing, a socket sends a reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            headers = {"Content-Type": "application/json", "Content-Length": str(len(deed.body))} | deed.headers
            head = f"HTTP/1.1 {deed.status} Said\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
            if deed.drip:
                self.wfile.write(head.encode())
                for byte in deed.body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(deed.drip)
                return
            self.wfile.write(head.encode() + deed.body[: deed.cut])  # at once: parts would wait for each other
            self.close_connection = deed.cut is not None

        def log_message(self, *args: object) -> None:
            pass

    return Handler
