"""Defines the base of translators by a local encoder-decoder model, which translate sentence by sentence."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field

from curation.captions.base import Language, Translator
from curation.captions.sentences import BETWEEN, SentencePlan, clauses
from curation.models.device import device
from curation.models.plugin import PluginParams
from curation.models.text.generation import Answer
from curation.models.text.seq2seq import Seq2SeqCheckpoint

CODES: dict[Language, tuple[str, ...]] = {"en": ("en", "eng", "eng_Latn"), "zh": ("zh", "zho", "cmn", "zho_Hans")}
"""Names of the two languages in checkpoints."""


class Seq2SeqParams(PluginParams):
    """The checkpoint of an encoder-decoder translator, and the settings of its beam search."""

    checkpoint: str = Field(description="folder of the checkpoint")
    beams: int = Field(4, ge=1, le=16, description="hypotheses that are followed at once; 1 is greedy")
    batch_tokens: int = Field(8192, ge=1, description="tokens that a GPU is given at once")


class Sentencewise(Translator):
    """Base class of these translators; a subclass defines the checkpoint, and the tokens that name the languages."""

    Params: type[Seq2SeqParams] = Seq2SeqParams
    params: Seq2SeqParams
    placement = frozenset({"batch_tokens"})
    on_gpu = True
    batch_size = 1

    @cached_property
    @abstractmethod
    def checkpoint(self) -> Seq2SeqCheckpoint:
        """The checkpoint that the recipe names. Raises UserError if it does not exist."""

    @cached_property
    def prefix(self) -> str:
        """The token before each source; "" for none. Raises UserError if the checkpoint does not have it."""
        return ""

    @cached_property
    def first(self) -> int | None:
        """The id of the first token of each target; None for none. Raises UserError if the checkpoint lacks it."""
        return None

    def files(self) -> dict[str, Path]:
        """See Plugin."""
        return self.checkpoint.files

    def check(self) -> None:
        """See Plugin."""
        super().check()
        self.checkpoint.check()
        _ = self.prefix, self.first

    def fit(self) -> None:
        """Raises UserError if the weights are larger than this machine's memory, or its GPU's."""
        self.checkpoint.fit()

    def load(self) -> None:
        """See Plugin."""
        self.checkpoint.load()
        # On a CPU each sentence is translated alone: a larger call would gain nothing, and delay finished answers.
        self.batch_size = 64 if device() == "cuda" else 1

    def encode(self, text: str) -> list[int]:
        """Returns the token ids of a sentence, with the prefix."""
        return self.checkpoint.encode(text, self.prefix)

    def translate(self, texts: Sequence[str]) -> list[Answer]:
        """See Translator. A text in scripts of other languages fails as `not_english` or `not_chinese`."""
        plans = [SentencePlan(text, self.into) for text in texts]
        translations = self._translated(part for plan in plans for part in plan.wholes())
        translations |= self._translated(part for plan in plans for part in plan.fragments(translations))
        return [plan.answer(translations) for plan in plans]

    def _translated(self, texts: Iterable[str]) -> dict[str, Answer]:
        """Translates each text; one that is too long for the model is translated clause by clause."""
        pieces = {text: clauses(text, lambda part: len(self.encode(part)) <= self.checkpoint.limit) for text in texts}
        parts = list(dict.fromkeys(part for cut in pieces.values() for part in cut or ()))
        sources = [self.encode(part.strip()) for part in parts]
        answers = self.checkpoint.generate(sources, self.params.beams, self.first, self.params.batch_tokens)
        by_part = dict(zip(parts, answers, strict=True))
        return {text: self._joined([by_part[part] for part in cut or ()]) for text, cut in pieces.items()}

    def _joined(self, answers: Sequence[Answer]) -> Answer:
        """Joins the translations of a sentence's clauses; without any (the sentence is too long), it is incomplete."""
        return Answer(
            BETWEEN[self.into].join(answer.text for answer in answers),
            bool(answers) and all(answer.complete for answer in answers),
            next((answer.failed for answer in answers if answer.failed), ""),
            sum(answer.tokens_in for answer in answers),
            sum(answer.tokens_out for answer in answers),
        )
