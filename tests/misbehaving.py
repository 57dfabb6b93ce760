"""A server of chat completions on the loopback interface that misbehaves as a test demands."""

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
class ChatRequest:
    """One request as the server received it."""

    number: int
    """Number of the request among all, from 0."""
    time: int
    """Number of earlier requests with the same body."""
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def text(self) -> str:
        """Text of the user's last message."""
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)

    @property
    def image(self) -> bytes:
        """Bytes of the picture in the data URL."""
        urls = [p["image_url"]["url"] for p in self.body["messages"][-1]["content"] if p["type"] == "image_url"]
        kind, _, coded = urls[0].partition(",")
        assert kind == "data:image/jpeg;base64"
        return base64.b64decode(coded, validate=True)


@dataclass(frozen=True)
class ServerReply:
    """The reaction of the server to a request."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the reply."""
    cut: int | None = None
    """Number of bytes of the body after which the connection ends; None sends all."""
    reset: bool = False
    """Whether the connection ends by a reset, without a reply."""
    drip: float = 0.0
    """Seconds between the bytes of the body."""


def completion(text: Any, finish: str = "stop", tokens: tuple[int, int] = (100, 10), **reply: Any) -> ServerReply:
    """Returns a good reply with a text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return as_json({"object": "chat.completion", "choices": [choice], "usage": usage}, **reply)


def as_json(value: Any, **reply: Any) -> ServerReply:
    """Returns a reply with any JSON as its body."""
    return ServerReply(json.dumps(value).encode(), **reply)


def refused(status: int, message: str = "no", **reply: Any) -> ServerReply:
    """Returns an error as such servers word it."""
    return as_json({"error": {"message": message, "type": "error", "code": status}}, status=status, **reply)


class Server:
    """The server; `requests` holds all that it received, `most` is the maximum number of requests at one time."""

    def __init__(self, rule: Callable[[ChatRequest], ServerReply], models: ServerReply | None = None) -> None:
        self.rule, self.requests, self.most = rule, list[ChatRequest](), 0
        self.models = models or as_json({"object": "list", "data": [{"id": "some/model"}]})
        self.asked_models: list[dict[str, str]] = []
        self._now, self._times, self._lock = 0, Counter[bytes](), threading.Lock()
        self._open: set[socket.socket] = set()
        self._http = _Http(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stops the server, and cuts off the clients that wait."""
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _asked(self, body: bytes, headers: dict[str, str]) -> Iterator[ChatRequest]:
        with self._lock:
            ask = ChatRequest(len(self.requests), self._times[body], json.loads(body), headers)
            self._times[body] += 1
            self.requests.append(ask)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            yield ask
        finally:
            with self._lock:
                self._now -= 1


@contextlib.contextmanager
def serving(rule: Callable[[ChatRequest], ServerReply], models: ServerReply | None = None) -> Iterator[Server]:
    """Runs a server that replies by this rule, until the block ends."""
    server = Server(rule, models)
    try:
        yield server
    finally:
        server.close()


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores errors: a client that went away is no news."""


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
                reply = server.rule(ask)
                time.sleep(reply.delay)
            self._do(reply)

        def _do(self, reply: ServerReply) -> None:
            if reply.reset:  # closed with a linger of nothing, a socket sends a reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body))} | reply.headers
            head = f"HTTP/1.1 {reply.status} Said\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
            if reply.drip:
                self.wfile.write(head.encode())
                for byte in reply.body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(reply.drip)
                return
            self.wfile.write(head.encode() + reply.body[: reply.cut])  # at once: parts would wait for each other
            self.close_connection = reply.cut is not None

        def log_message(self, *args: object) -> None:
            pass

    return Handler
