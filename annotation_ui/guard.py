"""Stands before the application: it refuses what cannot be a request of its own page, and adds the security headers.

It needs no database. A session's CSRF token is derived from the session's own, which the page cannot read, so that a
request with the right header must come from a page that was told it after signing in.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import cookie_parser

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "curate_session"
BODY = 64_000
"""Largest number of bytes of a request's body."""
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
TUNE = "/tune/"
"""Where the page of `curate tune` is shown to leads."""
TUNE_BODY = 2_000_000
"""Largest number of bytes of a body sent to it: ten thousand thresholds take one million."""
_OPEN = ("/api/sign-in",)
"""Requests that change something and come before there is a session."""


def csrf_token(session: str) -> str:
    """Returns the CSRF token of a session."""
    return hashlib.sha256(f"csrf {session}".encode()).hexdigest()[:32]


def cookie_name(scope: Scope) -> str:
    """Returns the name of the session's cookie; browsers share cookies between ports, so each server has its own."""
    port = _header(scope, b"host").rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isdecimal() else COOKIE


def session_of(scope: Scope) -> str:
    """Returns the session's token in a request's cookie; "" if there is none."""
    # As browsers do it: cookies of other applications on the same host, which may hold anything, spoil nothing.
    return cookie_parser(_header(scope, b"cookie")).get(cookie_name(scope), "")


class Guard:
    """Wraps an application of the ASGI.

    Args:
        application: the application.
        hosts: the values of the Host header that are admitted; empty admits all, behind a proxy that checks it.
        secure: whether browsers reach the server by HTTPS alone.
    """

    def __init__(self, application: Application, hosts: frozenset[str], secure: bool) -> None:
        self._application, self._hosts = application, hosts
        headers = _HEADERS | ({"strict-transport-security": "max-age=31536000"} if secure else {})
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in self._headers if h[0] not in own)]
                if b"cache-control" not in own:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        if refusal := self._refusal(scope):
            await answer_error(send_guarded, *refusal)
            return
        most = TUNE_BODY if scope["path"].startswith(TUNE) else BODY
        await self._application(scope, _bounded(receive, most), send_guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Returns the status, code and message by which a request is refused; None if it is admitted."""
        host, origin = _header(scope, b"host").lower(), _header(scope, b"origin").lower()
        if self._hosts and host not in self._hosts:
            return 421, "host", "this server is not known by that name; see `curate annotate serve --host`"
        if origin and urlsplit(origin).netloc != host:
            return 403, "origin", "this request comes from another site"
        if scope["method"] not in ("POST", "PUT", "PATCH", "DELETE"):
            return None
        length = _header(scope, b"content-length")
        most = TUNE_BODY if scope["path"].startswith(TUNE) else BODY
        if length and not (length.isdecimal() and int(length) <= most):
            return 413, "too_large", f"a request has at most {most:,} bytes"
        if _header(scope, b"content-type").split(";")[0].strip().lower() != "application/json":
            return 415, "not_json", "send JSON"
        if scope["path"].startswith(TUNE):  # that page knows no token; its browser says where it comes from
            return None if origin else (403, "origin", "this request does not say from which page it comes")
        session = "" if scope["path"] in _OPEN else session_of(scope)
        if session and _header(scope, b"x-csrf-token") != csrf_token(session):
            return 403, "csrf", "the header X-CSRF-Token is missing or belongs to an earlier session"
        return None


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def _bounded(receive: Receive, most: int) -> Receive:
    """Returns a `receive` that ends a body of more bytes than allowed, which told no length before."""
    received = 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return {"type": "http.disconnect"} if received > most else message

    return bounded


async def answer_error(send: Send, status: int, code: str, message: str) -> None:
    """Answers a request by an error status and JSON that says why."""
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
