"""Parses and checks a server's reply in OpenAI's protocol."""

from dataclasses import dataclass
from typing import Any

from curation.keys import well_formed


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of one request."""

    text: str = ""
    complete: bool = True
    """Whether the model ended the text itself; False if the text was cut at the limit of tokens."""
    tokens_in: int = 0
    """Number of tokens that the model read."""
    tokens_out: int = 0
    """Number of tokens that the model wrote."""
    failed: str = ""
    """The reason why there is no text, in one word: connection, timeout, cut, too_large, invalid_json, invalid_answer,
    content_filter, http_500 …"""
    detail: str = ""
    """The reason in more words, for people."""


def read_reply(response: Any) -> Reply | None:
    """Returns the reply in a response's JSON; None if it is not a chat completion."""
    choices = response.get("choices") if isinstance(response, dict) else None
    if not isinstance(choices, list):
        return None
    usage = response.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    read, written = (_count(counts.get(f"{of}_tokens")) for of in ("prompt", "completion"))
    if not choices:  # as some hosts answer for an image that they reject
        return Reply("", True, read, written, "content_filter")
    message = choices[0].get("message") if isinstance(choices[0], dict) else None
    if not isinstance(message, dict):
        return None
    content, finish = message.get("content"), choices[0].get("finish_reason")
    if isinstance(content, list):  # the text is in parts
        texts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(text for text in texts if isinstance(text, str))
    if not isinstance(content, str | None):
        return None
    if finish == "content_filter" or (not content and message.get("refusal")):
        return Reply("", True, read, written, "content_filter")
    return Reply(well_formed(content or ""), finish != "length", read, written)


def _count(tokens: Any) -> int:
    return tokens if isinstance(tokens, int) and 0 <= tokens < 2**31 else 0
