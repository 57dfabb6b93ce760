"""What a captioner and a translator are, and how one is found by its name.

A new backend is one file in this folder that defines a subclass whose `name` is the file's name; nothing else
is edited. What is around them (`curation/captions/passes.py`) reads, decodes, batches, asks again, checks, counts and
stores.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from curation import extensions
from curation.errors import UserError, nearest
from curation.keys import key_hash
from curation.models.checkpoints import Models
from curation.models.plugin import Plugin, PluginParams
from curation.models.text.generation import Answer
from curation.recipe.load import wrong_value

PACKAGE = "curation.captions.backends"
GROUP = "curate.captions"
"""Entry points of packages that bring captioners and translators."""

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Request:
    """One image to be captioned."""

    key: str
    image: Any
    """What the captioner's `prepare` made of the picture; None if it reads none."""
    row: Mapping[str, Any]
    """Samples columns and scalar signal columns of the row; any may be None or absent."""
    prompt: str = ""
    attempt: int = 0
    """0 at first. From 1 on the caption before was found wanting, and the captioner is to sample another one."""

    @property
    def seed(self) -> int:
        """For sampling: 63 bits that depend on the key and the attempt alone, so that no batch changes a caption."""
        return key_hash(self.key, f"attempt {self.attempt}") >> 1


class _Backend(Plugin, ABC):
    """What captioners and translators have in common.

    Attributes:
        generative: whether a model writes the texts: its answers are kept on disk, since they were dear, and another
            attempt may give another one.
        batch_size: rows or texts that one call takes well; it may be known only after `load`.
        on_gpu: whether it loads a model that wants a GPU for itself where there is one.
        notice: what a user should know before it runs, such as a licence that forbids commercial use; "" for nothing.
    """

    generative: bool = True
    batch_size: int = 32
    on_gpu: bool = False
    notice: str = ""

    def fit(self) -> None:
        """Raises UserError if its model is larger than the memory of this machine, or of its GPUs."""


class Captioner(_Backend):
    """Writes one English caption for each image.

    Attributes:
        side: long side in pixels that it wants to see at least; None reads no pixels.
        signals: signals whose columns it reads, if the recipe has them.
        max_text: characters of OCR text that its prompt may carry.
    """

    side: int | None = None
    signals: tuple[str, ...] = ()
    max_text: int = 400

    @property
    def key(self) -> str:
        """See Plugin."""
        return "captions.captioner"

    def side_for(self, width: int, height: int) -> int:
        """The long side in pixels that it wants to see of a picture of this size."""
        return self.side or 0

    def prepare(self, pixels: np.ndarray) -> Any:
        """What it wants to see of a picture, made on a CPU thread ahead of `caption`.

        Args:
            pixels: uint8, (H, W, 3), channels B, G, R, long side `side_for` or more (a smaller picture as it is).
        """
        return pixels

    @abstractmethod
    def caption(self, requests: Sequence[Request]) -> list[Answer]:
        """One English caption for each request, in order.

        Raises:
            StageError: nothing can be captioned any more (an endpoint that is gone); the shard is left for later.
        """


class Translator(_Backend):
    """Translates into `into`, from English or, for "en", from Chinese."""

    def __init__(self, params: PluginParams, models: Models | None = None, into: Language = "zh") -> None:
        super().__init__(params, models)
        self.into: Language = into

    @property
    def key(self) -> str:
        """See Plugin."""
        return "captions.translator" if self.into == "zh" else "captions.original_translator"

    @abstractmethod
    def translate(self, texts: Sequence[str]) -> list[Answer]:
        """One translation for each text, in order; an empty one where it cannot be translated truly.

        Raises:
            StageError: nothing can be translated any more.
        """


def captioners() -> dict[str, type[Captioner]]:
    """All captioners there are, by name."""
    return {cls.name: cls for cls in _everything() if issubclass(cls, Captioner)}


def translators() -> dict[str, type[Translator]]:
    """All translators there are, by name."""
    return {cls.name: cls for cls in _everything() if issubclass(cls, Translator)}


def load_captioner(name: str) -> type[Captioner]:
    """The class of a captioner. Raises UserError, with the nearest name, if there is none such."""
    for cls in _defined_in(name):
        if issubclass(cls, Captioner):
            return cls
    hint = nearest(name, captioners())
    raise UserError(f'there is no captioner "{name}"{hint}', "captions.captioner.backend")


def load_translator(name: str, section: str = "captions.translator") -> type[Translator]:
    """The class of a translator. Raises UserError, with the nearest name, if there is none such."""
    for cls in _defined_in(name):
        if issubclass(cls, Translator):
            return cls
    hint = nearest(name, translators())
    raise UserError(f'there is no translator "{name}"{hint}', f"{section}.backend")


def make_captioner(given: Mapping[str, Any], models: Models | None = None) -> Captioner:
    """The captioner that the recipe's `captions.captioner` asks for. Raises UserError with the key."""
    cls = load_captioner(str(given.get("backend", "")))
    return cls(_params(cls, given, "captions.captioner"), models)


def make_translator(
    given: Mapping[str, Any],
    models: Models | None = None,
    into: Language = "zh",
    section: str = "captions.translator",
) -> Translator:
    """The translator that a section of the recipe asks for. Raises UserError with the key."""
    cls = load_translator(str(given.get("backend", "")), section)
    return cls(_params(cls, given, section), models, into)


def _params(cls: type[_Backend], given: Mapping[str, Any], section: str) -> PluginParams:
    try:
        return cls.Params.model_validate(dict(given))
    except ValidationError as error:
        raise wrong_value(error, cls.Params, section) from None


def _defined_in(name: str) -> "list[type[_Backend]]":
    """The backends of that name: a captioner, a translator, or both; none if there is none such."""
    importlib.import_module(PACKAGE)
    return extensions.classes(PACKAGE, GROUP, name, _Backend)


def _everything() -> Iterator[type[_Backend]]:
    """All backends; imports every file of the folder, so it is for listings and error messages."""
    for name in extensions.names(importlib.import_module(PACKAGE).__path__, GROUP):
        yield from _defined_in(name)
