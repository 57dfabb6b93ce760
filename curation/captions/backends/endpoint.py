"""Captions and translates by any server with OpenAI's chat completions API: vLLM, SGLang, LMDeploy, a hosted API.

The key is read from the environment variable that `key_env` names and is sent to the server only.
"""

import base64
import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import numpy as np
import simplejpeg
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from curation.captions.base import Captioner, Language, Request, Translator
from curation.images import fit
from curation.models.checkpoints import Models
from curation.models.plugin import Plugin, PluginParams
from curation.models.text.generation import Answer, after_thought

if TYPE_CHECKING:
    from curation.models.text.openai import Client
    from curation.models.text.openai_reply import Reply


IN_FLIGHT_TIMES = 4
"""Number of requests in a call per request in flight: at the end of a call, connections wait for the last request."""
SEEDS = 2**31
"""The bound below which servers accept seeds."""
OURS = {"model", "messages", "stream", "n"}
"""Fields of a request that `extra` must not set."""
PLACEMENT = frozenset({"url", "key_env", "concurrency", "tries", "timeout", "wait", "price", "listed"})
"""Parameters that say how the model is reached and do not change its output. A different model must have a different
`model` name, wherever it is served."""

INTO: dict[Language, str] = {
    "zh": (
        "You translate captions of images from English into Simplified Chinese. Translate everything and add nothing. "
        "Keep numbers as digits where they are digits. Text between quotation marks stands in the image: copy it "
        "character by character, in the same quotation marks, untranslated. Answer with the translation alone."
    ),
    "en": (
        "You translate captions of images from Chinese into English. Translate everything and add nothing. "
        "Keep numbers as digits where they are digits. Text between quotation marks stands in the image: copy it "
        "character by character, in the same quotation marks, untranslated. Answer with the translation alone."
    ),
}
"""The system prompt, by the language that the model translates into."""

NO_KEY = "a key does not belong into a recipe; put it into an environment variable and name that by key_env"
_SECRET = re.compile(r"key|secret|password|authorization|bearer|(^|_)token$", re.IGNORECASE)
_HEADER = re.compile(r"\s*(authorization:|bearer\s|basic\s+[\w+/]+=*\s*$)", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』", "«": "»"}


def _base(url: str) -> str:
    """Returns the base of a URL. Raises ValueError, whose message never contains the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is no URL; expected one such as http://host:8000/v1") from None
    if "@" in url:
        raise ValueError("holds a user or password; put the key into an environment variable and name that by key_env")
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise ValueError("expected http:// or https:// and a host, such as http://host:8000/v1")
    if "?" in url or "#" in url:
        raise ValueError("expected nothing behind ? or #; a key goes into an environment variable, named by key_env")
    return url.rstrip("/").removesuffix("/chat/completions")


def _holds_secret(value: Any) -> bool:
    """Returns whether a name at any depth is that of a secret, or a text is a header that holds one."""
    if isinstance(value, dict):
        return any(_SECRET.search(str(name)) or _holds_secret(inner) for name, inner in value.items())
    if isinstance(value, list):
        return any(map(_holds_secret, value))
    return isinstance(value, str) and _HEADER.match(value) is not None


def _variable(name: str) -> str:
    """Checks the name of an environment variable. Raises ValueError, without the name: it may be the key itself."""
    if name and not re.fullmatch("[A-Z_][A-Z0-9_]*", name):
        raise ValueError(
            "expected the name of an environment variable in capitals, such as OPENAI_API_KEY; never a key"
        )
    return name


class Price(BaseModel):
    """Prices in US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: float = Field(0.0, ge=0, description="tokens of prompt and image")
    output: float = Field(0.0, ge=0, description="tokens of the answer")


class EndpointParams(PluginParams):
    """Parameters of both a captioner and a translator behind an endpoint."""

    url: Annotated[str, AfterValidator(_base)] = Field(description="the base, such as http://host:8000/v1")
    model: str = Field(min_length=1, description="the model's name there")
    key_env: Annotated[str, AfterValidator(_variable)] = Field("", description="environment variable with the key")
    concurrency: int = Field(16, ge=1, le=1024, description="requests in flight at most, of each worker")
    tries: int = Field(6, ge=1, le=20, description="of one request")
    timeout: float = Field(120, gt=0, description="seconds for one try")
    wait: float = Field(1, ge=0, description="seconds before the second try, doubled for each further one")
    price: Price = Price()
    listed: bool = Field(True, description="false where the server serves models that it does not list (Azure)")
    max_tokens: int = Field(512, ge=1, description="of an answer")
    extra: dict[str, Any] = Field({}, description="more of a request's body; null takes away what would be sent")

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if forbidden := sorted(OURS & set(extra)):
            raise ValueError(f"`{forbidden[0]}` cannot be set here")
        if _holds_secret(extra):
            raise ValueError(NO_KEY)
        return extra

    @model_validator(mode="before")
    @classmethod
    def _no_key(cls, section: Any) -> Any:
        """Raises ValueError, without quoting it, if the recipe holds a key, which would be copied into files."""
        if isinstance(section, dict) and any(_SECRET.search(str(name)) for name in section.keys() - {"key_env"}):
            raise ValueError(NO_KEY)
        return section

    @property
    def told(self) -> str:
        """The model in words, without the URL, since the text is also in the dataset card."""
        return f"{self.model}, behind an endpoint"

    def client(self, section: str) -> "Client":
        """Returns the client that sends requests to the server."""
        from curation.models.text.openai import Client

        return Client(
            section, self.url, self.model, self.key_env, self.concurrency, self.tries, self.timeout, self.wait
        )

    def payload(self, messages: list[dict[str, Any]], **sampling: Any) -> dict[str, Any]:
        """Returns the body of a request, without the model's name."""
        ours = {"messages": messages, "max_tokens": self.max_tokens} | sampling
        return {name: value for name, value in (ours | self.extra).items() if value is not None}

    def answer(self, reply: "Reply", asked: str = "") -> Answer:
        """Converts a server's reply to an answer, with its cost in US dollars."""
        cost = (reply.tokens_in * self.price.input + reply.tokens_out * self.price.output) / 1e6
        text = bare(reply.text, asked)
        return Answer(text, reply.complete, reply.failed, reply.tokens_in, reply.tokens_out, cost)


class _AtEndpoint(Plugin):
    """Base of captioner and translator, with the connection to the server."""

    placement = PLACEMENT
    params: EndpointParams

    @cached_property
    def client(self) -> "Client":
        """The client that sends requests to the server."""
        return self.params.client(self.key)

    @property
    def told(self) -> str:
        """See Plugin."""
        return self.params.told

    def find(self) -> None:
        """See Plugin. Raises UserError if the key is missing."""
        self.client.key()

    def check(self) -> None:
        """See Plugin. Raises UserError if the key is missing, no server answers, or it does not have the model."""
        self.client.check(self.params.listed)


class EndpointCaptionerParams(EndpointParams):
    """Parameters of the captioner."""

    side: int = Field(1024, ge=64, le=8192, description="long side in pixels of the picture that is sent, at most")
    quality: int = Field(90, ge=1, le=100, description="of its JPEG")
    temperature: float = Field(0.6, ge=0, le=2, description="from the second attempt on; the first one is greedy")
    top_p: float = Field(0.95, gt=0, le=1, description="the same")


class Endpoint(_AtEndpoint, Captioner):
    """Captions by a vision-language model behind an endpoint."""

    name = "endpoint"
    version = 1
    signals = ("ocr",)
    Params = EndpointCaptionerParams
    params: EndpointCaptionerParams

    def __init__(self, params: EndpointCaptionerParams, models: Models | None = None) -> None:
        super().__init__(params, models)
        self.side, self.batch_size = params.side, IN_FLIGHT_TIMES * params.concurrency

    def prepare(self, pixels: np.ndarray) -> bytes:
        """Returns the JPEG that is sent, with a long side of at most `side` pixels."""
        small = np.ascontiguousarray(fit(pixels, self.params.side))
        return bytes(simplejpeg.encode_jpeg(small, quality=self.params.quality, colorspace="BGR"))

    def payload(self, request: Request) -> dict[str, Any]:
        """Returns the body of a request, without the model's name: greedy at first, sampled at later attempts."""
        url = f"data:image/jpeg;base64,{base64.b64encode(request.image).decode()}"
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}}]
        if request.prompt:
            content.append({"type": "text", "text": request.prompt})
        sampling: dict[str, Any] = {"temperature": 0.0}
        if request.attempt:
            sampling = {"temperature": self.params.temperature, "top_p": self.params.top_p}
            sampling["seed"] = request.seed % SEEDS
        return self.params.payload([{"role": "user", "content": content}], **sampling)

    def caption(self, requests: Sequence[Request]) -> list[Answer]:
        """See Captioner. `failed` is one of `curation.models.text.openai_reply.Reply`'s words."""
        return [self.params.answer(reply) for reply in self.client.chat(requests, self.payload)]


class EndpointTranslatorParams(EndpointParams):
    """Parameters of the translator."""

    max_tokens: int = Field(1024, ge=1, description="of an answer")
    prompt: str | None = Field(None, description="what the model is told, in place of ours")


class EndpointTranslator(_AtEndpoint, Translator):
    """Translations by a language model behind an endpoint: a whole caption at a time, by greedy decoding."""

    name = "endpoint"
    version = 1
    Params = EndpointTranslatorParams
    params: EndpointTranslatorParams

    def __init__(self, params: EndpointTranslatorParams, models: Models | None = None, into: Language = "zh") -> None:
        super().__init__(params, models, into)
        self.batch_size = IN_FLIGHT_TIMES * params.concurrency

    @property
    def prompt(self) -> str:
        """The system prompt."""
        return INTO[self.into] if self.params.prompt is None else self.params.prompt

    @property
    def identity(self) -> dict[str, Any]:
        """See Plugin. The system prompt is part of the identity."""
        return super().identity | {"prompt": self.prompt}

    def payload(self, text: str) -> dict[str, Any]:
        """Returns the body of a request, without the model's name."""
        messages = [{"role": "system", "content": self.prompt}, {"role": "user", "content": text}]
        return self.params.payload(messages, temperature=0.0)

    def translate(self, texts: Sequence[str]) -> list[Answer]:
        """See Translator. `failed` is one of `curation.models.text.openai_reply.Reply`'s words."""
        replies = self.client.chat(texts, self.payload)
        return [self.params.answer(reply, text) for reply, text in zip(replies, texts, strict=True)]


def bare(text: str, asked: str = "") -> str:
    """Removes what a reasoning model wrote before its answer, and quotation marks around the whole answer.

    Args:
        text: the answer.
        asked: the text to be translated; if it is wholly in quotation marks, so is its translation.
    """
    text = after_thought(text)
    return text if _quoted(asked.strip()) else text[1:-1].strip() if _quoted(text) else text


def _quoted(text: str) -> bool:
    """Returns whether one pair of quotation marks encloses the whole text, with none of its kind within."""
    closing = _QUOTES.get(text[:1])
    inner = text[1:-1]
    return len(text) > 1 and text.endswith(closing or "\0") and text[0] not in inner and (closing or "") not in inner
