"""Creates the captioner and the translators that a recipe names, and loads their models."""

from contextlib import suppress
from functools import cached_property
from typing import Any

from curation.captions.base import Captioner, Translator, make_captioner, make_translator
from curation.corpora.samples import samples_notes
from curation.errors import UserError
from curation.models.checkpoints import ModelAbsent
from curation.scoring.opened import Opened
from curation.workspace.digests import digest
from curation.workspace.files import stamps


def crews(opened: Opened) -> "list[Crew]":
    """Returns the backends of the recipe's `captions`, and of each captioner of `caption_eval`.

    Raises:
        UserError: for the reasons of `Crew`; it names the recipe's key.
    """
    result = [Crew(opened)]
    for name, captions in opened.recipe.caption_eval.captioners.items():
        try:
            result.append(Crew(opened.with_captions(captions)))
        except UserError as error:
            raise UserError(str(error), f"caption_eval.captioners.{name}") from None
    return result


class Crew:
    """The captioner and the translators of a recipe. Creating it is cheap; `load` loads the models.

    Args:
        opened: the recipe, of which the sections `captions`, `signals` and `models` are read.

    Raises:
        UserError: a backend is unknown, a parameter is wrong, or a model file is missing.
    """

    def __init__(self, opened: Opened) -> None:
        settings, models, cascade = opened.recipe.captions, opened.models, opened.cascade
        self.settings = settings
        self.captioner: Captioner = make_captioner(settings.captioner, models)
        self.translator = make_translator(settings.translator, models) if settings.translator else None
        self.original_translator = (
            make_translator(settings.original_translator, models, "en", "captions.original_translator")
            if settings.original_translator
            else None
        )
        self.signals = {n: cascade.identity_of(n) for n in self.captioner.signals if n in cascade.signals}
        """Identities of the signals that the captioner reads, by name."""
        self._stamps = self._files()
        self._digests: dict[Captioner | Translator, str] = {}

    def _files(self) -> list[Any]:
        """Returns the paths of the model files that exist, and their sizes and modification times."""
        paths: list[str] = []
        for backend in self.all.values():
            with suppress(ModelAbsent):
                paths += map(str, backend.files().values())
        return [paths, stamps(paths)]

    @property
    def all(self) -> dict[str, Captioner | Translator]:
        """The captioner and the translators by their keys in the recipe's `captions`."""
        backends = {
            "captioner": self.captioner,
            "translator": self.translator,
            "original_translator": self.original_translator,
        }
        return {key: backend for key, backend in backends.items() if backend is not None}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that captions depend on besides the images: backends, signals, prompts, attempts and checks."""
        backends = {key: backend.full_identity for key, backend in self.all.items()}
        asked = self.settings.model_dump(
            mode="json", include={"prompts", "text_prompt", "attempts", "checks", "tolerate"}
        )
        return {"backends": backends, "signals": self.signals} | (asked if self.captioner.generative else {})

    def digest_of(self, backend: Captioner | Translator) -> str:
        """Returns the digest that stands for a backend in the names of cached answers."""
        into = backend.into if isinstance(backend, Translator) else None
        if backend not in self._digests:
            self._digests[backend] = digest([backend.full_identity, into])
        return self._digests[backend]

    @property
    def outdated(self) -> bool:
        """Whether a model file has changed since this object was created."""
        return self._files() != self._stamps

    @property
    def notices(self) -> list[str]:
        """Notices for the user before the work begins, such as a licence that forbids commercial use."""
        return [backend.notice for backend in self.all.values() if backend.notice]

    def find(self) -> None:
        """Raises UserError if a backend lacks a file or a key; it is quick, since no model is opened."""
        for backend in self.all.values():
            backend.find()

    def check(self, here: bool = False) -> None:
        """Raises UserError if a backend could not do its work: a model is missing, damaged, or does not fit.

        Args:
            here: whether this machine does the work, so that its memory is checked too; other machines check theirs on
                loading.
        """
        for backend in self.all.values():
            backend.check()
            if here:
                backend.fit()

    @property
    def made_with(self) -> dict[str, dict[str, Any]]:
        """Identity and model digests of each backend, noted for machines without the models; see `Models.note`."""
        return {b.key: {"identity": b.identity, "models": b.digests()} for b in self.all.values()}

    def load(self, threads: int) -> None:
        """Loads all models; each backend may keep `threads` CPU threads busy beside a GPU."""
        for backend in self.all.values():
            backend.threads = threads
            backend.load()


_kept: dict[str, Crew] = {}
_loaded: set[str] = set()


def crew_of(opened: Opened, threads: int | None = None) -> Crew:
    """Returns the recipe's captioner and translators, kept for the next shard of the same process.

    Args:
        opened: the recipe.
        threads: CPU threads that may be busy beside a GPU; None does not load the models.
    """
    key = opened.recipe.model_dump_json(include={"captions", "signals", "models", "workspace"})
    if key not in _kept or _kept[key].outdated:
        _kept.clear()
        _loaded.clear()
        _kept[key] = Crew(opened)
    if threads is not None and key not in _loaded:
        _kept[key].load(threads)
        _loaded.add(key)
    return _kept[key]


def caption_fingerprint(opened: Opened, corpus: str, shard: str) -> str:
    """Returns the fingerprint of captions: of backends, their parameters and models, the signals read, and the rows."""
    return digest([digest(crew_of(opened).identity), samples_notes(opened.workspace, corpus, shard)["rows_digest"]])
