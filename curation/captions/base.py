"""What a captioner and a translator are, and how one is found by its name.

A new backend is one file in this folder that defines a subclass whose `name` is the file's name; nothing else
is edited. The stage around them reads, decodes, batches, checks, counts and stores.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from curation.errors import UserError, nearest

PACKAGE = __name__.rpartition(".")[0]


class BackendParams(BaseModel):
    """A backend's parameters in the recipe. All of them are part of the fingerprint."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    backend: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One image to be captioned."""

    key: str
    pixels: np.ndarray | None
    """uint8, (H, W, 3), channels B, G, R, long side `side` or more; None if it reads none."""
    row: Mapping[str, Any]
    """Samples columns and scalar signal columns of the row; any may be None or absent."""


class Backend(ABC):
    """What captioners and translators have in common.

    Attributes:
        name: the file's name, and the value of `backend` in the recipe.
        version: an integer, raised when the output changes for the same input and parameters.
        batch_size: rows or texts that one call takes well.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    batch_size: ClassVar[int] = 32
    Params: ClassVar[type[BackendParams]] = BackendParams

    def __init__(self, params: BackendParams) -> None:
        self.params = params

    @classmethod
    def models(cls, params: BackendParams) -> dict[str, str]:
        """sha256 of each model file that the parameters name, by file name; part of the fingerprint.

        Raises:
            UserError: a file is missing; said before any work starts.
        """
        return {}


class Captioner(Backend):
    """Writes one English caption for each image.

    Attributes:
        side: long side in pixels that it wants to see at least; None reads no pixels.
        signals: signals whose columns it reads, if they were scored.
    """

    side: ClassVar[int | None] = None
    signals: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def caption(self, requests: Sequence[Request]) -> list[str]:
        """One English caption for each request, in order; "" where there is none to give."""


class Translator(Backend):
    """Translates English captions into Chinese."""

    @abstractmethod
    def translate(self, texts: Sequence[str]) -> list[str | None]:
        """One Chinese text for each English one, in order; None where it cannot be translated truly."""


def captioners() -> list[str]:
    """Names of all captioners there are."""
    return sorted(cls.name for cls in _everything() if issubclass(cls, Captioner))


def translators() -> list[str]:
    """Names of all translators there are."""
    return sorted(cls.name for cls in _everything() if issubclass(cls, Translator))


def load_captioner(name: str) -> type[Captioner]:
    """The class of a captioner. Raises UserError, with the nearest name, if there is none such."""
    for cls in _defined_in(name):
        if issubclass(cls, Captioner):
            return cls
    hint = nearest(name, captioners())
    raise UserError(f'captions.captioner.backend: there is no captioner "{name}"{hint}')


def load_translator(name: str) -> type[Translator]:
    """The class of a translator. Raises UserError, with the nearest name, if there is none such."""
    for cls in _defined_in(name):
        if issubclass(cls, Translator):
            return cls
    hint = nearest(name, translators())
    raise UserError(f'captions.translator.backend: there is no translator "{name}"{hint}')


def make_captioner(given: Mapping[str, Any]) -> Captioner:
    """The captioner that the recipe's `captions.captioner` asks for. Raises UserError with the key."""
    cls = load_captioner(str(given.get("backend", "")))
    return cls(_params(cls, given, "captions.captioner"))


def make_translator(given: Mapping[str, Any]) -> Translator:
    """The translator that the recipe's `captions.translator` asks for. Raises UserError with the key."""
    cls = load_translator(str(given.get("backend", "")))
    return cls(_params(cls, given, "captions.translator"))


def _params(cls: type[Backend], given: Mapping[str, Any], section: str) -> BackendParams:
    try:
        return cls.Params.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = nearest(key, cls.Params.model_fields)
            raise UserError(f"{section}.{key}: {cls.name} knows no such key{hint}") from None
        raise UserError(f"{section}.{key}: {first['msg']} (given: {first['input']!r})") from None


def _files() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__)]


def _defined_in(name: str) -> Iterator[type[Backend]]:
    """The backends called `name` in the file `name`."""
    if name not in _files():
        return
    for value in vars(importlib.import_module(f"{PACKAGE}.{name}")).values():
        if isinstance(value, type) and issubclass(value, Backend) and getattr(value, "name", None) == name:
            yield value


def _everything() -> Iterator[type[Backend]]:
    """All backends; imports every file of the folder, so it is for listings and error messages."""
    for name in _files():
        yield from _defined_in(name)
