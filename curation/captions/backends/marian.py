"""Translates by OPUS-MT: small Marian networks, one for each direction.

Tiedemann and Thottingal, "OPUS-MT: Building open translation services for the World", 2020.
"""

from functools import cached_property

from pydantic import Field

from curation.captions.backends._sentencewise import CODES, Sentencewise, Seq2SeqParams
from curation.captions.base import Language
from curation.errors import UserError, nearest
from curation.models.checkpoints import Origin
from curation.models.text.seq2seq import Architecture, Seq2SeqCheckpoint

ARCHITECTURE = Architecture(
    "marian",
    "MarianMTModel",
    "MarianTokenizer",
    ("source.spm", "target.spm", "vocab.json"),
    decoding={"use_source_tokenizer": False},
)
TARGETS: dict[Language, str] = {"zh": "cmn_Hans", "en": "eng"}
"""The target language requested of a checkpoint that knows several."""
_FILES = "config.json generation_config.json tokenizer_config.json vocab.json source.spm target.spm model.safetensors"


class MarianParams(Seq2SeqParams):
    """Parameters of a checkpoint such as opus-mt-en-zh."""

    target: str | None = Field(None, description="language to write, of those that the checkpoint knows")


class Marian(Sentencewise):
    """Translates by a checkpoint of OPUS-MT: opus-mt-en-zh into Chinese, opus-mt-zh-en into English.

    opus-mt-en-zh writes several kinds of Chinese; each source begins with the token of the requested one.
    """

    name = "marian"
    version = 1
    Params = MarianParams
    params: MarianParams
    origins = (
        Origin(
            "Helsinki-NLP/opus-mt-en-zh (English to Chinese; refs/pr/6 holds its weights as safetensors)",
            "Apache-2.0",
            f"hf download Helsinki-NLP/opus-mt-en-zh {_FILES} --revision refs/pr/6 --local-dir MODELS/opus-mt-en-zh",
        ),
        Origin(
            "Helsinki-NLP/opus-mt-zh-en (Chinese to English; refs/pr/6 holds its weights as safetensors)",
            "CC-BY-4.0",
            f"hf download Helsinki-NLP/opus-mt-zh-en {_FILES} --revision refs/pr/6 --local-dir MODELS/opus-mt-zh-en",
        ),
    )

    @cached_property
    def checkpoint(self) -> Seq2SeqCheckpoint:
        """See Sentencewise. Also raises UserError if the checkpoint translates in the other direction."""
        key = f"{self.key}.checkpoint"
        checkpoint = Seq2SeqCheckpoint(key, self.models.find(key, self.params.checkpoint), ARCHITECTURE)
        config = checkpoint.json("tokenizer_config.json")
        source: Language = "en" if self.into == "zh" else "zh"
        if config.get("source_lang") in CODES[self.into] and config.get("target_lang") in CODES[source]:
            raise UserError(
                f"{checkpoint.folder}/tokenizer_config.json: expected a checkpoint from {source} into {self.into}, "
                f"found one from {config['source_lang']} into {config['target_lang']}",
                key,
            )
        return checkpoint

    @cached_property
    def prefix(self) -> str:
        """The token of the target language; "" if the checkpoint has only one. Raises UserError if it is unknown."""
        tokens = self.checkpoint.tokenizer.supported_language_codes
        languages = sorted(token.removeprefix(">>").removesuffix("<<") for token in tokens)
        wanted = self.params.target or (TARGETS[self.into] if languages else "")
        if wanted and wanted not in languages:
            listed = nearest(wanted, languages) or f"; for instance {', '.join(languages[:20])}"
            raise UserError(
                f"{self.checkpoint.folder}/vocab.json has no token >>{wanted}<<"
                + (listed if languages else ", nor one of any other language; leave `target` out"),
                f"{self.key}.target",
            )
        return f">>{wanted}<<" if wanted else ""
