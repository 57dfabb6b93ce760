"""Captions and translations by any server that speaks OpenAI's chat completions: vLLM, SGLang, LMDeploy, a hosted API.

The key comes from the environment variable that `key_env` names and goes nowhere but to the server.
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
"""Requests of one call, in multiples of those in flight: at the end of a call some connections wait for the last."""
SEEDS = 2**31
"""Servers take seeds below this."""
OURS = {"model", "messages", "stream", "n"}
"""What `extra` may not say."""
PLACEMENT = frozenset({"url", "key_env", "concurrency", "tries", "timeout", "wait", "price", "listed"})
"""How a model is reached; not what it says. Another model must have another name, wherever it is served."""

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
"""What the model is told, by the language that it translates into."""

NO_KEY = "a key does not belong into a recipe; put it into an environment variable and name that by key_env"
_SECRET = re.compile(r"key|secret|password|authorization|bearer|(^|_)token$", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』", "«": "»"}


def _base(url: str) -> str:
    """The URL without what follows the base. Raises ValueError, which repeats nothing of it: it may hold a password."""
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


def _variable(name: str) -> str:
    """The name of an environment variable. Raises ValueError, which repeats nothing of it: it may be the key itself."""
    if name and not re.fullmatch("[A-Z_][A-Z0-9_]*", name):
        raise ValueError(
            "expected the name of an environment variable in capitals, such as OPENAI_API_KEY; never a key"
        )
    return name


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: float = Field(0.0, ge=0, description="tokens of prompt and image")
    output: float = Field(0.0, ge=0, description="tokens of the answer")


class EndpointParams(PluginParams):
    """What a captioner and a translator behind an endpoint have in common."""

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
        if said := sorted(OURS & set(extra)):
            raise ValueError(f"`{said[0]}` cannot be set here")
        if any(_SECRET.search(name) for name in extra):
            raise ValueError(NO_KEY)
        return extra

    @model_validator(mode="before")
    @classmethod
    def _no_key(cls, given: Any) -> Any:
        """A key that stands in a recipe would be copied into files; what stands there is not repeated."""
        if isinstance(given, dict) and any(_SECRET.search(str(name)) for name in given.keys() - {"key_env"}):
            raise ValueError(NO_KEY)
        return given

    @property
    def told(self) -> str:
        """What answers, for people; not where, since it stands in the card too."""
        return f"{self.model}, behind an endpoint"

    def client(self, section: str) -> "Client":
        """What asks the server."""
        from curation.models.text.openai import Client

        return Client(
            section, self.url, self.model, self.key_env, self.concurrency, self.tries, self.timeout, self.wait
        )

    def payload(self, messages: list[dict[str, Any]], **sampling: Any) -> dict[str, Any]:
        """The body of a request, less the model."""
        ours = {"messages": messages, "max_tokens": self.max_tokens} | sampling
        return {name: value for name, value in (ours | self.extra).items() if value is not None}

    def answer(self, reply: "Reply", asked: str = "") -> Answer:
        """The answer in a reply, with what it cost."""
        cost = (reply.tokens_in * self.price.input + reply.tokens_out * self.price.output) / 1e6
        text = bare(reply.text, asked)
        return Answer(text, reply.complete, reply.failed, reply.tokens_in, reply.tokens_out, cost)


class _AtEndpoint(Plugin):
    """What both have in common: the server."""

    placement = PLACEMENT
    params: EndpointParams

    @cached_property
    def client(self) -> "Client":
        """What asks the server."""
        return self.params.client(self.key)

    @property
    def told(self) -> str:
        """See Plugin."""
        return self.params.told

    def find(self) -> None:
        """See Plugin: no key."""
        self.client.key()

    def check(self) -> None:
        """See Plugin: no key, no server, or no such model there."""
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
        """The picture as the JPEG that is sent, its long side `side` at most."""
        small = np.ascontiguousarray(fit(pixels, self.params.side))
        return bytes(simplejpeg.encode_jpeg(small, quality=self.params.quality, colorspace="BGR"))

    def payload(self, request: Request) -> dict[str, Any]:
        """The body of a request, less the model: greedy at first, sampled at later attempts."""
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
    """Translations by a language model behind an endpoint, a whole caption at a time, greedy."""

    name = "endpoint"
    version = 1
    Params = EndpointTranslatorParams
    params: EndpointTranslatorParams

    def __init__(self, params: EndpointTranslatorParams, models: Models | None = None, into: Language = "zh") -> None:
        super().__init__(params, models, into)
        self.batch_size = IN_FLIGHT_TIMES * params.concurrency

    @property
    def prompt(self) -> str:
        """What the model is told."""
        return INTO[self.into] if self.params.prompt is None else self.params.prompt

    @property
    def identity(self) -> dict[str, Any]:
        """See Plugin: what the model is told is part of it."""
        return super().identity | {"prompt": self.prompt}

    def payload(self, text: str) -> dict[str, Any]:
        """The body of a request, less the model."""
        messages = [{"role": "system", "content": self.prompt}, {"role": "user", "content": text}]
        return self.params.payload(messages, temperature=0.0)

    def translate(self, texts: Sequence[str]) -> list[Answer]:
        """See Translator. `failed` is one of `curation.models.text.openai_reply.Reply`'s words."""
        replies = self.client.chat(texts, self.payload)
        return [self.params.answer(reply, text) for reply, text in zip(replies, texts, strict=True)]


def bare(text: str, asked: str = "") -> str:
    """An answer without what a reasoning model thought before it, and without quotation marks about the whole of it.

    Args:
        asked: the text that was to be translated; if it is all in quotation marks, so is its translation.
    """
    text = after_thought(text)
    return text if _quoted(asked.strip()) else text[1:-1].strip() if _quoted(text) else text


def _quoted(text: str) -> bool:
    """Whether one pair of quotation marks is about the whole text, and none of its kind within."""
    closing = _QUOTES.get(text[:1])
    inner = text[1:-1]
    return len(text) > 1 and text.endswith(closing or "\0") and text[0] not in inner and (closing or "") not in inner
