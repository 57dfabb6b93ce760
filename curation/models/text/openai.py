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
from functools import cache
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from curation.errors import StageError, UserError, nearest
from curation.models.text.openai_answer import Failure, read_answer
from curation.models.text.openai_reply import Reply, read_reply

LONGEST_WAIT = 60.0
"""Largest number of seconds between two tries, unless the server asks for more."""
LONGEST_CALL = 600.0
"""Seconds after the beginning of a call from which nothing is tried again: an exhausted quota is not waited for."""
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
            status, _, body = asyncio.run(self._models(where))
        except (Failure, httpx.InvalidURL) as error:
            detail = error.detail if isinstance(error, Failure) else self._safe(error)
            raise UserError(f"no server answers at {where}: {detail}", f"{self.section}.url") from None
        if status in (401, 403):
            raise UserError(f"{where} {WRONG[status]} (HTTP {status}); {self._key_hint()}", self.section)
        if status in (404, 405, 429):  # it has no such list, or no time
            return
        if status != 200:
            raise UserError(f"{where} answers HTTP {status}; expected a list of models", f"{self.section}.url")
        names = self._names(body)
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
            except Failure as failure:
                last = failure
            wait = min(self.wait * 2**number, LONGEST_WAIT) * random.uniform(0.5, 1.5)
            wait = max(wait, last.wait + self.wait * random.random())
            if not last.transient or number + 1 == self.tries or time.monotonic() + wait > until:
                break
            await asyncio.sleep(wait)
        return Reply(failed=last.reason, detail=last.detail)

    async def _try(self, client: httpx.AsyncClient, body: bytes) -> Reply:
        """Sends one request once. Raises Failure, or StageError for an error that every request would get."""
        where = f"{self.url}/chat/completions"
        status, wait, read = await read_answer(client.stream("POST", where, content=body), self.timeout, self._safe)
        if status != 200:
            raise self._refused(status, read, wait)
        try:
            content = json.loads(read)
        except (ValueError, RecursionError):
            raise Failure("invalid_json", self._safe(read.decode("utf-8", "replace"))) from None
        reply = read_reply(content)
        if reply is None:
            raise Failure("invalid_answer", self._safe(read.decode("utf-8", "replace")))
        key = self.key()
        if len(key) > 2 * PART and key in reply.text:  # shorter ones, such as EMPTY, are words
            raise Failure("invalid_answer", "it holds the key", transient=False)
        return reply

    async def _models(self, where: str) -> tuple[int, float, bytes]:
        seconds = min(CONNECT, self.timeout)
        async with httpx.AsyncClient(**self._options(seconds), headers=self._headers()) as client:
            return await read_answer(client.stream("GET", where), seconds, self._safe)

    def _refused(self, status: int, body: bytes, wait: float) -> Exception:
        """Returns the exception for a status other than 200."""
        message = body.decode("utf-8", "replace")
        if status in (400, 403) and _FILTERED.search(message):
            return Failure("content_filter", transient=False)
        if status in WRONG or status < 400:
            what = WRONG.get(status, "sends elsewhere; give the URL at which it answers")
            hint = self._key_hint() if status in (401, 403) else f'the model is "{self.model}": {self._safe(message)}'
            if status in (404, 405) and not self.url.endswith("/v1"):
                hint += "; most URLs end with /v1"
            return StageError(f"{self.section}: {self.url} {what} (HTTP {status}); {hint}")
        return Failure(f"http_{status}", self._safe(message), status in TRANSIENT or status >= 500, wait)

    def _names(self, body: bytes) -> list[str]:
        """Returns the names of the models that the server lists; empty if the list has another form."""
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            where = f"{self.url}/models answers no JSON"
            raise UserError(f"{where}; is {self.url} the base?", f"{self.section}.url") from None
        models = content.get("data") if isinstance(content, dict) else None
        models = models if isinstance(models, list) else []
        return [str(m["id"]) for m in models if isinstance(m, dict) and isinstance(m.get("id"), str | int)]

    def _options(self, timeout: float) -> dict[str, Any]:
        return {
            "timeout": httpx.Timeout(timeout, connect=min(CONNECT, timeout), pool=None),
            "limits": httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency),
            "trust_env": not _loopback(self.url),  # a proxy would look for the server on its own machine
            "verify": _authorities(),
        }

    def _headers(self) -> dict[str, str]:
        key = self.key()
        return {"Content-Type": "application/json", "Accept-Encoding": "gzip"} | (
            {"Authorization": f"Bearer {key}"} if key else {}
        )

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
