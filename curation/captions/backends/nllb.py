"""Translates by NLLB-200: one model for two hundred languages.

NLLB Team, "No Language Left Behind: Scaling Human-Centered Machine Translation", 2022.
"""

from functools import cached_property

from curation.captions.backends._sentencewise import Sentencewise
from curation.captions.base import Language
from curation.errors import UserError
from curation.models.checkpoints import Origin
from curation.models.text.seq2seq import Architecture, Seq2SeqCheckpoint

ARCHITECTURE = Architecture(
    "m2m_100",
    "M2M100ForConditionalGeneration",
    "NllbTokenizer",
    ("tokenizer.json", "tokenizer_config.json"),
    ("special_tokens_map.json",),
)
LANGUAGES: dict[Language, str] = {"en": "eng_Latn", "zh": "zho_Hans"}


class Nllb(Sentencewise):
    """Translates by a checkpoint of NLLB-200 in M2M-100's architecture, in either direction."""

    name = "nllb"
    version = 1
    notice = (
        "nllb: the weights of NLLB-200 are under CC-BY-NC-4.0, which forbids commercial use; whether texts that they "
        "wrote may be used commercially is for you to find out"
    )
    origins = (
        Origin(
            "facebook/nllb-200-distilled-600M (refs/pr/39 holds its weights as safetensors)",
            "CC-BY-NC-4.0: no commercial use",
            "hf download facebook/nllb-200-distilled-600M config.json generation_config.json tokenizer.json "
            "tokenizer_config.json special_tokens_map.json model.safetensors --revision refs/pr/39 "
            "--local-dir MODELS/nllb-200-distilled-600M",
        ),
    )

    @cached_property
    def checkpoint(self) -> Seq2SeqCheckpoint:
        """See Sentencewise."""
        key = f"{self.key}.checkpoint"
        folder = self.models.find(key, self.params.checkpoint)
        return Seq2SeqCheckpoint(key, folder, ARCHITECTURE, src_lang=LANGUAGES["en" if self.into == "zh" else "zh"])

    @cached_property
    def first(self) -> int | None:
        """The id of the target language's token. Raises UserError if the tokenizer does not have it."""
        known = self.checkpoint.tokenizer.get_vocab()
        for language in LANGUAGES.values():
            if language not in known:
                folder = self.checkpoint.folder
                raise UserError(
                    f"{folder}/tokenizer.json: expected the token {language}, found none", self.checkpoint.key
                )
        return int(known[LANGUAGES[self.into]])
