"""Defines the base classes of captioners and translators, and finds a backend by its name.

A new backend is one file in this folder that defines a subclass whose `name` is the file's name; nothing else is
edited. The caption passes (`curation/captions/passes.py`) read, decode, batch, retry, check, count and store.
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
"""Group of the entry points by which packages announce captioners and translators."""

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to caption one image."""

    key: str
    image: Any
    """The image as the captioner's `prepare` returned it; None if the captioner reads no images."""
    row: Mapping[str, Any]
    """The row's samples columns and scalar signal columns; any may be None or absent."""
    prompt: str = ""
    """The prompt; "" for the captioner's own."""
    attempt: int = 0
    """Number of the attempt. From 1 on, the previous caption had flags, and the captioner must sample another one."""

    @property
    def seed(self) -> int:
        """The seed for sampling, 0..2⁶³-1. It depends on key and attempt alone, so that no batch changes a caption."""
        return key_hash(self.key, f"attempt {self.attempt}") >> 1


class _Backend(Plugin, ABC):
    """Base of captioners and translators.

    Attributes:
        generative: whether a model writes the texts. Its answers are then cached, since they are expensive, and another
            attempt may give another answer.
        batch_size: number of rows or texts for one call; it may be known only after `load`.
        on_gpu: whether the backend loads a model that needs a GPU of its own, if there is one.
        notice: a notice for the user before the work begins, such as a licence that forbids commercial use; "" for
            none.
    """

    generative: bool = True
    batch_size: int = 32
    on_gpu: bool = False
    notice: str = ""

    def fit(self) -> None:
        """Raises UserError if the model is larger than the memory of this machine, or of its GPUs."""


class Captioner(_Backend):
    """Writes one English caption for each image.

    Attributes:
        side: smallest long side in pixels of the decoded image that the captioner gets; None if it reads no pixels.
        signals: names of the signals whose columns it reads, if the recipe has them.
        max_text: largest number of characters of OCR text in its prompt.
    """

    side: int | None = None
    signals: tuple[str, ...] = ()
    max_text: int = 400

    @property
    def key(self) -> str:
        """See Plugin."""
        return "captions.captioner"

    def side_for(self, width: int, height: int) -> int:
        """Returns the smallest long side, in pixels, at which the captioner needs an image of this size (in pixels)."""
        return self.side or 0

    def prepare(self, pixels: np.ndarray) -> Any:
        """Converts an image's pixels to what `caption` needs; runs on a CPU thread ahead of `caption`.

        Args:
            pixels: uint8 (H, W, 3), channels B, G, R, long side `side_for` or more, or full size if the image is
                smaller.
        """
        return pixels

    @abstractmethod
    def caption(self, requests: Sequence[Request]) -> list[Answer]:
        """Returns one English caption for each request, in order.

        Raises:
            StageError: nothing can be captioned any more, because an endpoint is gone, for example; the shard is
                left for later.
        """


class Translator(_Backend):
    """Translates into the language `into`: into Chinese from English, or into English from Chinese."""

    def __init__(self, params: PluginParams, models: Models | None = None, into: Language = "zh") -> None:
        super().__init__(params, models)
        self.into: Language = into

    @property
    def key(self) -> str:
        """See Plugin."""
        return "captions.translator" if self.into == "zh" else "captions.original_translator"

    @abstractmethod
    def translate(self, texts: Sequence[str]) -> list[Answer]:
        """Returns one translation for each text, in order; an empty one if a text cannot be translated correctly.

        Raises:
            StageError: nothing can be translated any more, because an endpoint is gone, for example.
        """


def captioners() -> dict[str, type[Captioner]]:
    """Returns the classes of all captioners by name."""
    return {cls.name: cls for cls in _everything() if issubclass(cls, Captioner)}


def translators() -> dict[str, type[Translator]]:
    """Returns the classes of all translators by name."""
    return {cls.name: cls for cls in _everything() if issubclass(cls, Translator)}


def load_captioner(name: str) -> type[Captioner]:
    """Returns a captioner's class by name. Raises UserError, with the nearest name, if there is none."""
    for cls in _defined_in(name):
        if issubclass(cls, Captioner):
            return cls
    hint = nearest(name, captioners())
    raise UserError(f'there is no captioner "{name}"{hint}', "captions.captioner.backend")


def load_translator(name: str, section: str = "captions.translator") -> type[Translator]:
    """Returns a translator's class by name. Raises UserError, with the nearest name, if there is none."""
    for cls in _defined_in(name):
        if issubclass(cls, Translator):
            return cls
    hint = nearest(name, translators())
    raise UserError(f'there is no translator "{name}"{hint}', f"{section}.backend")


def make_captioner(settings: Mapping[str, Any], models: Models | None = None) -> Captioner:
    """Creates the captioner of the recipe's section `captions.captioner`. Raises UserError with the recipe's key."""
    cls = load_captioner(str(settings.get("backend", "")))
    return cls(_params(cls, settings, "captions.captioner"), models)


def make_translator(
    settings: Mapping[str, Any],
    models: Models | None = None,
    into: Language = "zh",
    section: str = "captions.translator",
) -> Translator:
    """Creates the translator of a section of the recipe. Raises UserError with the recipe's key."""
    cls = load_translator(str(settings.get("backend", "")), section)
    return cls(_params(cls, settings, section), models, into)


def _params(cls: type[_Backend], settings: Mapping[str, Any], section: str) -> PluginParams:
    try:
        return cls.Params.model_validate(dict(settings))
    except ValidationError as error:
        raise wrong_value(error, cls.Params, section) from None


def _defined_in(name: str) -> "list[type[_Backend]]":
    """Returns the backends of that name: a captioner, a translator, both, or none."""
    importlib.import_module(PACKAGE)
    return extensions.classes(PACKAGE, GROUP, name, _Backend)


def _everything() -> Iterator[type[_Backend]]:
    """Yields all backends. It imports every file of the folder, so it is for listings and error messages only."""
    for name in extensions.names(importlib.import_module(PACKAGE).__path__, GROUP):
        yield from _defined_in(name)
