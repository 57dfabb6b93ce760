"""Signals that compare the stored embedding with texts, which the text half of the same model encodes."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from curation.signals.base import Signal

if TYPE_CHECKING:
    from curation.signals.embedding import OpenClip


class ReadsTexts(Signal):
    """Base of them: no picture is looked at again, and the tokenizer is part of the fingerprint."""

    needs = ("embedding",)

    @property
    def embedding(self) -> "OpenClip":
        """The signal whose vectors are compared."""
        return cast("OpenClip", self.needed["embedding"])

    def files(self) -> dict[str, Path]:
        """See Signal."""
        return self.embedding.checkpoint.text_files()

    def check(self) -> None:
        """See Signal."""
        super().check()
        self.embedding.checkpoint.tokenizer()
