"""Sends requests to any server with OpenAI's chat completions API: vLLM, SGLang, LMDeploy, a hosted API.

It sends many requests concurrently, up to a limit, and repeats those that failed for a passing reason, with growing
delays. The key is read from the environment when it is sent, and no message of the server that contains it is shown.
"""

import asyncio
import json
import os
import random
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from curation.errors import RowError, StageError, UserError, nearest
from curation.models.text.openai_reply import Reply, read_reply

LONGEST_WAIT = 60.0
"""Largest number of seconds between two tries, unless the server asks for more."""
LONGEST_CALL = 600.0
"""Seconds after the beginning of a call from which nothing is tried again: an exhausted quota is not waited for."""
LARGEST = 8_000_000
"""Largest number of bytes of a response that are read; a caption takes some thousand."""
MANY = 8
"""Number of failures without one success from which the images cannot be at fault."""
PART = 8
"""Number of characters of a part of the key. A part is not shown either: a server may mask only the key's end."""
CONNECT = 10.0
"""Time limit in seconds for connecting, and for the check before the work."""

TRANSIENT = {408, 409, 425, 429}
"""HTTP status codes, besides all from 500, after which a request is tried again."""
WRONG = {
    401: "refuses the key",
    402: "wants to be paid first",
    403: "refuses the key",
    404: "knows no such model or path",
    405: "takes no chat completions there",
    410: "knows no such model or path",
}
"""HTTP status codes that every further request would get as well."""
GONE = {"connection", "http_429", "http_502", "http_503", "http_504"}
"""Kinds of failure that are never a request's own fault."""

_FILTERED = re.compile("content_filter|content_policy|moderation|flagged", re.IGNORECASE)

Asked = TypeVar("Asked")


class _Failure(RowError):
    """A try that failed; `wait` is the number of seconds for which the server asks to wait before the next."""

    def __init__(self, reason: str, detail: str = "", transient: bool = True, wait: float = 0.0) -> None:
        super().__init__(reason, detail, transient)
        self.wait = wait


class Client:
    """Sends requests to one model of one server.

    Args:
        section: the recipe's section, for error messages.
        url: the base URL, such as http://host:8000/v1.
        model: the model's name on the server.
        key_env: the environment variable that holds the key; "" sends none.
        concurrency: largest number of requests in flight.
        tries: largest number of tries of one request.
        timeout: seconds for one try, from sending to the last byte.
        wait: seconds before the second try, doubled for each further one and varied by up to half.
    """

    def __init__(
        self,
        section: str,
        url: str,
        model: str,
        key_env: str = "",
        concurrency: int = 16,
        tries: int = 6,
        timeout: float = 120.0,
        wait: float = 1.0,
    ) -> None:
        self.section, self.url, self.model, self.key_env = section, url, model, key_env
        self.concurrency, self.tries, self.timeout, self.wait = concurrency, tries, timeout, wait

    def check(self, listed: bool = True) -> None:
        """Asks the server for its models before any work starts; a server without such a list passes.

        Args:
            listed: whether the model must be in the list; False only checks that the server answers.

        Raises:
            UserError: the key is missing or refused, no server answers, or there is no such model. One line.
        """
        where = f"{self.url}/models"
        try:
            with httpx.Client(**self._options(min(CONNECT, self.timeout))) as client:
                response = client.get(where, headers=self._headers())
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise UserError(f"no server answers at {where}: {self._safe(error)}", f"{self.section}.url") from None
        status = response.status_code
        if status in (401, 403):
            raise UserError(f"{where} {WRONG[status]} (HTTP {status}); {self._key_hint()}", self.section)
        if status in (404, 405, 429):  # it has no such list, or no time
            return
        if status != 200:
            raise UserError(f"{where} answers HTTP {status}; expected a list of models", f"{self.section}.url")
        names = self._names(response)
        if listed and names and self.model not in names:
            hint = self._safe(nearest(self.model, names) or f"; it lists {len(names)} models")
            raise UserError(f'{self.url} serves no model "{self.model}"{hint}', f"{self.section}.model")

    def chat(self, requests: Sequence[Asked], payload: Callable[[Asked], dict[str, Any]]) -> list[Reply]:
        """Sends all requests and returns one reply for each, in order; a failed request has a reply with `failed`.

        Args:
            requests: the requests, in any form that `payload` takes.
            payload: makes the body of a request, just before it is sent, since images in base64 are large.

        Raises:
            StageError: every further request would fail too, as the server is gone, or refuses the key or the model.
                One line, without the key.
            UserError: the environment variable with the key is missing.
        """
        if not requests:
            return []
        replies = asyncio.run(self._chat(requests, payload))
        failures = Counter(reply.failed for reply in replies)
        hopeless = len(replies) >= MANY and "content_filter" not in failures
        if "" not in failures and (hopeless or set(failures) <= GONE):
            word, count = failures.most_common(1)[0]
            detail = next(reply.detail for reply in replies if reply.failed == word)
            all_of = f"all {len(replies)} requests" if len(replies) > 1 else "the request"
            raise StageError(
                f"{self.section}: {all_of} to {self.url} failed, {count} by {word}{detail and f' ({detail})'}; "
                "see to the server, then run again"
            )
        return replies

    async def _chat(self, requests: Sequence[Asked], payload: Callable[[Asked], dict[str, Any]]) -> list[Reply]:
        replies = [Reply()] * len(requests)
        waiting, until = iter(enumerate(requests)), time.monotonic() + LONGEST_CALL

        async def work(client: httpx.AsyncClient) -> None:
            for at, request in waiting:
                body = json.dumps({"model": self.model} | payload(request)).encode()
                replies[at] = await self._ask(client, body, until)

        try:
            async with (
                httpx.AsyncClient(**self._options(self.timeout), headers=self._headers()) as client,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(min(self.concurrency, len(requests))):
                    group.create_task(work(client))
        except ExceptionGroup as errors:  # the first ended all the others
            raise errors.exceptions[0] from None
        return replies

    async def _ask(self, client: httpx.AsyncClient, body: bytes, until: float) -> Reply:
        """Sends one request until it gets a reply or must be given up."""
        for number in range(self.tries):
            try:
                return await self._try(client, body)
            except _Failure as failure:
                last = failure
            wait = min(self.wait * 2**number, LONGEST_WAIT) * random.uniform(0.5, 1.5)
            wait = max(wait, last.wait + self.wait * random.random())
            if not last.transient or number + 1 == self.tries or time.monotonic() + wait > until:
                break
            await asyncio.sleep(wait)
        return Reply(failed=last.reason, detail=last.detail)

    async def _try(self, client: httpx.AsyncClient, body: bytes) -> Reply:
        """Sends one request once. Raises _Failure, or StageError for an error that every request would get."""
        status, wait, read = 0, 0.0, b""
        where = f"{self.url}/chat/completions"
        try:  # httpx counts its seconds from byte to byte; a server that drips must not be waited for
            async with asyncio.timeout(self.timeout), client.stream("POST", where, content=body) as response:
                status, wait = response.status_code, _seconds(response.headers.get("retry-after"))
                async for part in response.aiter_bytes():
                    read += part
                    if len(read) > LARGEST:
                        raise _Failure("too_large", f"more than {LARGEST:,} bytes", transient=False)
        except (TimeoutError, httpx.TimeoutException):
            raise _Failure("timeout", f"nothing whole in {self.timeout:g} s") from None
        except (httpx.HTTPError, OSError) as error:
            if status in (0, 200):
                raise _Failure("cut" if status else "connection", self._safe(error)) from None
        if status != 200:
            raise self._refused(status, read, wait)
        try:
            content = json.loads(read)
        except (ValueError, RecursionError):
            raise _Failure("invalid_json", self._safe(read.decode("utf-8", "replace"))) from None
        reply = read_reply(content)
        if reply is None:
            raise _Failure("invalid_answer", self._safe(read.decode("utf-8", "replace")))
        key = self.key()
        if len(key) > 2 * PART and key in reply.text:  # shorter ones, such as EMPTY, are words
            raise _Failure("invalid_answer", "it holds the key", transient=False)
        return reply

    def _refused(self, status: int, body: bytes, wait: float) -> Exception:
        """Returns the exception for a status other than 200."""
        message = body.decode("utf-8", "replace")
        if status in (400, 403) and _FILTERED.search(message):
            return _Failure("content_filter", transient=False)
        if status in WRONG or status < 400:
            what = WRONG.get(status, "sends elsewhere; give the URL at which it answers")
            hint = self._key_hint() if status in (401, 403) else f'the model is "{self.model}": {self._safe(message)}'
            if status in (404, 405) and not self.url.endswith("/v1"):
                hint += "; most URLs end with /v1"
            return StageError(f"{self.section}: {self.url} {what} (HTTP {status}); {hint}")
        return _Failure(f"http_{status}", self._safe(message), status in TRANSIENT or status >= 500, wait)

    def _names(self, response: httpx.Response) -> list[str]:
        """Returns the names of the models that the server lists; empty if the list has another form."""
        try:
            content = response.json()
        except ValueError:
            raise UserError(f"{response.url} answers no JSON; is {self.url} the base?", f"{self.section}.url") from None
        models = content.get("data") if isinstance(content, dict) else None
        models = models if isinstance(models, list) else []
        return [str(model["id"]) for model in models if isinstance(model, dict) and "id" in model]

    def _options(self, timeout: float) -> dict[str, Any]:
        return {
            "timeout": httpx.Timeout(timeout, connect=min(CONNECT, timeout), pool=None),
            "limits": httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency),
            "trust_env": not _loopback(self.url),  # a proxy would look for the server on its own machine
            "verify": _authorities(),
        }

    def _headers(self) -> dict[str, str]:
        key = self.key()
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def key(self) -> str:
        """Returns the key. Raises UserError, without the key in its message, if it is not set or malformed."""
        if not self.key_env:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise UserError(f"the environment variable {self.key_env} is not set; set it", f"{self.section}.key_env")
        if not (key.isascii() and key.isprintable()):  # sending it would fail with a message that shows all of it
            raise UserError(f"{self.key_env} holds characters that no key has; set it anew", f"{self.section}.key_env")
        return key

    def _key_hint(self) -> str:
        return f"see the environment variable {self.key_env}" if self.key_env else "name one by key_env"

    def _safe(self, message: object) -> str:
        """Returns a server's or error's message in one short line, or a notice if it contains a part of the key."""
        text = " ".join(str(message).split()) or type(message).__name__
        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        parts = (key[i : i + PART] for i in range(max(1, len(key) - PART + 1)))
        if key and any(part in text for part in parts):
            return "what it says is not shown: it holds the key"
        return text[:200]


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


@cache
def _authorities() -> ssl.SSLContext:
    """Returns the certificate authorities; cached, since reading them takes longer than sending a request."""
    return httpx.create_ssl_context()


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
