"""Reads the answer to one HTTP request: no more bytes and no more seconds of it than are given."""

import asyncio
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime

import httpx

from curation.errors import RowError

LARGEST = 8_000_000
"""Largest number of bytes of a response that are read; a caption takes some thousand."""


class Failure(RowError):
    """A try that failed; `wait` is the number of seconds for which the server asks to wait before the next."""

    def __init__(self, reason: str, detail: str = "", transient: bool = True, wait: float = 0.0) -> None:
        super().__init__(reason, detail, transient)
        self.wait = wait


async def read_answer(
    asked: AbstractAsyncContextManager[httpx.Response], seconds: float, safe: Callable[[object], str]
) -> tuple[int, float, bytes]:
    """Reads an answer, of at most LARGEST bytes, packed or not.

    Args:
        asked: the request, as `httpx.AsyncClient.stream` makes it.
        seconds: the time from sending to the last byte.
        safe: makes one short line of an error's message, without a key.

    Returns:
        its status, the seconds that it asks to wait, and its body. The body of another status than 200 may be cut.

    Raises:
        Failure: there is no whole answer.
    """
    status, wait, sent, coding = 0, 0.0, b"", ""
    try:  # httpx counts its seconds from byte to byte; a server that drips must not be waited for
        async with asyncio.timeout(seconds), asked as response:
            status, wait = response.status_code, _seconds(response.headers.get("retry-after"))
            coding = response.headers.get("content-encoding", "")
            async for part in response.aiter_raw():  # httpx would unpack a part, whatever comes out of it
                sent += part
                if len(sent) > LARGEST:
                    raise Failure("too_large", f"more than {LARGEST:,} bytes", transient=False)
    except (TimeoutError, httpx.TimeoutException):
        raise Failure("timeout", f"nothing whole in {seconds:g} s") from None
    except (httpx.HTTPError, OSError) as error:
        if status in (0, 200):
            raise Failure("cut" if status else "connection", safe(error)) from None
    try:
        body = _unpacked(sent, coding, LARGEST + 1)
    except ValueError as error:
        raise Failure("invalid_answer", safe(error)) from None
    if len(body) > LARGEST:
        raise Failure("too_large", f"more than {LARGEST:,} bytes", transient=False)
    return status, wait, body


def _unpacked(sent: bytes, coding: str, limit: int) -> bytes:
    """Returns at most `limit` bytes of a body, unpacked: eight megabytes can hold eight gigabytes of zeros.

    Args:
        sent: the body as it was sent.
        coding: the response's Content-Encoding, which may be gzip.
        limit: largest number of bytes to unpack.

    Raises:
        ValueError: the coding is another one, or the body is damaged.
    """
    if coding.strip().lower() in ("", "identity"):
        return sent[:limit]
    if coding.strip().lower() not in ("gzip", "x-gzip"):
        raise ValueError(f"it is packed as {coding}, for which nobody asked")
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(sent, limit)
    except zlib.error as error:
        raise ValueError(f"it is no gzip: {error}") from None


def _seconds(retry_after: str | None) -> float:
    """Returns the seconds that a Retry-After header asks for, given in seconds or as a date; 0 if it asks for none."""
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after or "").timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
